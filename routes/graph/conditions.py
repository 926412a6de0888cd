"""One constructor for each condition and reason that we write; no condition is spelled out anywhere else.

Types and reasons: Gateway API v1.7, ``apis/v1``.
"""

from collections.abc import Iterable

from routes.graph.nodes import Condition

#: The condition types that are ours wherever they stand in the status of our objects; all others are somebody else's.
TYPES = frozenset(
    {
        "Accepted",
        "SupportedVersion",
        "Programmed",
        "ResolvedRefs",
        "Conflicted",
        "OverlappingTLSConfig",
        "PartiallyInvalid",
    }
)


def class_accepted(generation: int) -> Condition:
    """A GatewayClass with our controller name is taken."""
    return Condition("Accepted", True, "Accepted", "served by Moongate", generation)


def class_invalid_parameters(generation: int, message: str) -> Condition:
    """A GatewayClass that names parameters."""
    return Condition("Accepted", False, "InvalidParameters", message, generation)


def class_supported_version(generation: int) -> Condition:
    """The API is installed in a release that is known here."""
    return Condition("SupportedVersion", True, "SupportedVersion", "the installed Gateway API is known", generation)


def class_unsupported_version(generation: int, message: str) -> Condition:
    """Some of the API is installed in a release that is not known here, or says nothing of its release."""
    return Condition("SupportedVersion", False, "UnsupportedVersion", message, generation)


def gateway_accepted(generation: int) -> Condition:
    """All listeners of the Gateway are good."""
    return Condition("Accepted", True, "Accepted", "all listeners are valid", generation)


def gateway_listeners_not_valid(generation: int, names: Iterable[str], *, some_good: bool) -> Condition:
    """Some or all listeners cannot be served; with one good one left the Gateway stays accepted."""
    return Condition("Accepted", some_good, "ListenersNotValid", f"not served: {', '.join(names)}", generation)


def gateway_invalid_parameters(generation: int, message: str) -> Condition:
    """The Gateway, or its class, names parameters."""
    return Condition("Accepted", False, "InvalidParameters", message, generation)


def gateway_invalid(generation: int, message: str) -> Condition:
    """A part of the Gateway cannot be read, so that nobody knows what was asked for."""
    return Condition("Accepted", False, "Invalid", message, generation)


def gateway_unsupported_address(generation: int, message: str) -> Condition:
    """An address is of a type that we do not have."""
    return Condition("Accepted", False, "UnsupportedAddress", message, generation)


def gateway_programmed(generation: int, closed: str = "") -> Condition:
    """At least one listener is in the routing table. ``closed`` names the ports that are not open, "" if all are."""
    message = f"in the routing table, without {closed}" if closed else "in the routing table"
    return Condition("Programmed", True, "Programmed", message, generation)


def gateway_not_programmed(generation: int, message: str = "no listener can be served") -> Condition:
    """No listener can be served, or the Gateway is not accepted."""
    return Condition("Programmed", False, "Invalid", message, generation)


def gateway_pending(generation: int, message: str) -> Condition:
    """The Gateway is good, and is not reached yet."""
    return Condition("Programmed", False, "Pending", message, generation)


def gateway_address_not_usable(generation: int, message: str) -> Condition:
    """An address that the Gateway asks for is not to be had."""
    return Condition("Programmed", False, "AddressNotUsable", message, generation)


def gateway_address_not_assigned(generation: int, message: str) -> Condition:
    """The Gateway asks for any address and got none."""
    return Condition("Programmed", False, "AddressNotAssigned", message, generation)


def gateway_no_open_port(generation: int, closed: str) -> Condition:
    """None of the Gateway's ports could be opened. ``closed`` names them with the operating system's reasons."""
    return Condition("Programmed", False, "NoResources", f"no port is open: {closed}", generation)


def gateway_refs_resolved(generation: int) -> Condition:
    """Everything that the Gateway and its listeners name is there."""
    return Condition("ResolvedRefs", True, "ResolvedRefs", "all references resolved", generation)


def gateway_listeners_not_resolved(generation: int, names: Iterable[str]) -> Condition:
    """Some listeners' references lead nowhere; their own conditions say which."""
    return Condition("ResolvedRefs", False, "ListenersNotResolved", f"see listeners {', '.join(names)}", generation)


def gateway_invalid_client_certificate_ref(generation: int, message: str) -> Condition:
    """The certificate for backends leads to nothing usable."""
    return Condition("ResolvedRefs", False, "InvalidClientCertificateRef", message, generation)


def gateway_ref_not_permitted(generation: int, message: str) -> Condition:
    """The certificate for backends is in another namespace without a ReferenceGrant there."""
    return Condition("ResolvedRefs", False, "RefNotPermitted", message, generation)


def gateway_unsupported_value(generation: int, message: str) -> Condition:
    """The certificate for backends is there, and nothing is done with it."""
    return Condition("ResolvedRefs", False, "UnsupportedValue", message, generation)


def listener_accepted(generation: int, ignored: str = "") -> Condition:
    """The listener's own fields are good. ``ignored`` names those that have no effect, "" if all have."""
    message = f"valid, but {ignored} has no effect" if ignored else "valid"
    return Condition("Accepted", True, "Accepted", message, generation)


def listener_port_unavailable(generation: int, message: str) -> Condition:
    """The port could not be opened; ``message`` is the operating system's reason. It is tried again."""
    return Condition("Accepted", False, "PortUnavailable", message, generation)


def listener_unsupported_protocol(generation: int, protocol: str) -> Condition:
    """We do not speak this protocol."""
    return Condition("Accepted", False, "UnsupportedProtocol", f"protocol {protocol} is not served", generation)


def listener_unsupported_value(generation: int, message: str) -> Condition:
    """A field holds something that we do not serve."""
    return Condition("Accepted", False, "UnsupportedValue", message, generation)


def listener_conflict_refused(generation: int, reason: str, message: str) -> Condition:
    """A conflicted listener is not accepted, for the same reason."""
    return Condition("Accepted", False, reason, message, generation)


def listener_programmed(generation: int, kept: Iterable[str]) -> Condition:
    """The listener is in the routing table, with the last good certificates of the Secrets ``kept``."""
    names = " and ".join(kept)
    message = f"in the routing table, with the last good certificate of {names}" if names else "in the routing table"
    return Condition("Programmed", True, "Programmed", message, generation)


def listener_not_programmed(generation: int, reason: str = "Invalid") -> Condition:
    """Another condition of the listener says why it is not served."""
    return Condition("Programmed", False, reason, "not served, see the other conditions", generation)


def listener_pending(generation: int, message: str) -> Condition:
    """The listener is good, and waits for its Gateway."""
    return Condition("Programmed", False, "Pending", message, generation)


def listener_refs_resolved(generation: int) -> Condition:
    """Every certificate and route kind that the listener names is there."""
    return Condition("ResolvedRefs", True, "ResolvedRefs", "all references resolved", generation)


def listener_invalid_certificate_ref(generation: int, message: str) -> Condition:
    """A certificateRef leads to nothing usable."""
    return Condition("ResolvedRefs", False, "InvalidCertificateRef", message, generation)


def listener_ref_not_permitted(generation: int, message: str) -> Condition:
    """A certificateRef into another namespace without a ReferenceGrant there."""
    return Condition("ResolvedRefs", False, "RefNotPermitted", message, generation)


def listener_invalid_route_kinds(generation: int, message: str) -> Condition:
    """allowedRoutes names kinds that do not fit the protocol."""
    return Condition("ResolvedRefs", False, "InvalidRouteKinds", message, generation)


def listener_conflict(generation: int, reason: str, message: str) -> Condition:
    """Another listener of the Gateway wants the same port; ``reason`` is HostnameConflict or ProtocolConflict."""
    return Condition("Conflicted", True, reason, message, generation)


def listener_no_conflicts(generation: int) -> Condition:
    """The listener is distinct from all others."""
    return Condition("Conflicted", False, "NoConflicts", "distinct from all other listeners", generation)


def listener_overlapping(generation: int, reason: str, message: str) -> Condition:
    """Hosts of the listener may be asked for on another one's connections; never written with the status False."""
    return Condition("OverlappingTLSConfig", True, reason, message, generation)


def set_accepted(generation: int) -> Condition:
    """The ListenerSet is allowed, and all its listeners are good."""
    return Condition("Accepted", True, "Accepted", "all listeners are valid", generation)


def set_listeners_not_valid(generation: int, names: Iterable[str], *, some_good: bool) -> Condition:
    """Some or all listeners cannot be served; with one good one left the ListenerSet stays accepted."""
    return Condition("Accepted", some_good, "ListenersNotValid", f"not served: {', '.join(names)}", generation)


def set_not_allowed(generation: int, message: str) -> tuple[Condition, Condition]:
    """The Gateway takes no ListenerSets, or none from this namespace."""
    return (
        Condition("Accepted", False, "NotAllowed", message, generation),
        Condition("Programmed", False, "NotAllowed", message, generation),
    )


def set_parent_not_accepted(generation: int, message: str) -> tuple[Condition, Condition]:
    """The Gateway itself is not accepted."""
    return (
        Condition("Accepted", False, "ParentNotAccepted", message, generation),
        Condition("Programmed", False, "ParentNotProgrammed", message, generation),
    )


def set_programmed(generation: int) -> Condition:
    """At least one listener is in the routing table."""
    return Condition("Programmed", True, "Programmed", "in the routing table", generation)


def set_not_programmed(generation: int) -> Condition:
    """No listener can be served."""
    return Condition("Programmed", False, "ListenersNotValid", "no listener can be served", generation)


def set_parent_not_programmed(generation: int, message: str) -> Condition:
    """The Gateway has nothing on which it could be reached."""
    return Condition("Programmed", False, "ParentNotProgrammed", message, generation)


def set_port_unavailable(generation: int) -> Condition:
    """None of the ports could be opened."""
    return Condition("Programmed", False, "PortUnavailable", "no port is open, see the listeners", generation)


def route_accepted(generation: int) -> Condition:
    """At least one listener of the parent takes the route."""
    return Condition("Accepted", True, "Accepted", "attached", generation)


def route_no_matching_parent(generation: int, message: str) -> Condition:
    """The Gateway has no such listener."""
    return Condition("Accepted", False, "NoMatchingParent", message, generation)


def route_not_allowed(generation: int, message: str) -> Condition:
    """The listener takes no routes of this kind or from this namespace."""
    return Condition("Accepted", False, "NotAllowedByListeners", message, generation)


def route_no_matching_hostname(generation: int, message: str) -> Condition:
    """No hostname of the route meets the listener's."""
    return Condition("Accepted", False, "NoMatchingListenerHostname", message, generation)


def route_refused(generation: int, reason: str, message: str) -> Condition:
    """No rule of the route can be served: UnsupportedValue, what they ask for is not done, or IncompatibleFilters."""
    return Condition("Accepted", False, reason, message, generation)


def route_partially_invalid(generation: int, message: str) -> Condition:
    """Some rules of the route cannot be served and answer 500."""
    return Condition("PartiallyInvalid", True, "UnsupportedValue", f"Dropped Rule: {message}", generation)


def route_refs_resolved(generation: int) -> Condition:
    """Everything that the rules name is there."""
    return Condition("ResolvedRefs", True, "ResolvedRefs", "all references resolved", generation)


def route_refs_not_resolved(generation: int, reason: str, message: str) -> Condition:
    """A reference leads nowhere: BackendNotFound, InvalidKind, RefNotPermitted or UnsupportedProtocol."""
    return Condition("ResolvedRefs", False, reason, message, generation)


def policy_accepted(generation: int, remarks: str = "") -> Condition:
    """The policy is in effect; ``remarks`` are what of it is not."""
    return Condition("Accepted", True, "Accepted", f"in effect; {remarks}" if remarks else "in effect", generation)


def policy_conflicted(generation: int, message: str) -> Condition:
    """Another policy wants the same target and comes first."""
    return Condition("Accepted", False, "Conflicted", message, generation)


def policy_target_not_found(generation: int, message: str) -> Condition:
    """Nothing that the policy is for is there."""
    return Condition("Accepted", False, "TargetNotFound", message, generation)


def policy_invalid(generation: int, message: str) -> Condition:
    """A set of well-known certificates that we do not have, or something that only a newer version of the API knows."""
    return Condition("Accepted", False, "Invalid", message, generation)


def policy_no_valid_authority(generation: int, message: str) -> Condition:
    """No caCertificateRef leads to certificates, so that nothing can be believed of a backend."""
    return Condition("Accepted", False, "NoValidCACertificate", message, generation)


def policy_refs_resolved(generation: int) -> Condition:
    """Every caCertificateRef leads to certificates."""
    return Condition("ResolvedRefs", True, "ResolvedRefs", "all references resolved", generation)


def policy_refs_not_resolved(generation: int, reason: str, message: str) -> Condition:
    """A caCertificateRef leads to nothing usable: InvalidKind or InvalidCACertificateRef."""
    return Condition("ResolvedRefs", False, reason, message, generation)
