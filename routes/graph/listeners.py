"""Listeners one by one: whether each is valid, what may attach to it, and its conditions."""

from collections.abc import Sequence
from dataclasses import dataclass

from routes.graph import certificates, conditions
from routes.graph.certificates import NoCertificate
from routes.graph.conflicts import Conflict
from routes.graph.grants import Grants
from routes.graph.nodes import CertificatePair, Condition, ListenerNode, Options, Sockets
from routes.graph.protocols import ROUTE_KINDS
from routes.graph.sentences import together
from routes.resources.gateway import Gateway, Listener, ListenerSet, RouteGroupKind, UnreadableListener
from routes.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a listener is judged by, beside the object that it stands in and its Gateway."""

    snapshot: Snapshot
    grants: Grants
    options: Options
    sockets: Sockets

    def reached(self, gateway: Gateway) -> bool:
        """Whether a Gateway has an address; see :func:`~routes.graph.addresses.not_reached`."""
        known = self.sockets.addresses.get(gateway.key)
        return bool(known) if known is not None else not self.options.cluster


def build_listeners(
    owner: Gateway | ListenerSet,
    gateway: Gateway,
    conflicts: Sequence[Conflict | None],
    waiting: str,
    surroundings: Surroundings,
) -> tuple[ListenerNode, ...]:
    """The nodes of all listeners of ``owner``, which are on the ports of ``gateway``, in its order.

    ``waiting`` is why the Gateway itself is not served, "" if it is.
    """
    return tuple(
        _listener(owner, gateway, listener, conflict, waiting, surroundings)
        for listener, conflict in zip(owner.spec.listeners, conflicts, strict=True)
    )


def refused(listener: ListenerNode, sockets: Sockets) -> str:
    """Why the port of a valid ``listener`` is not open, "" if it is or nothing is known yet."""
    return sockets.refused.get((listener.gateway, listener.source.port), "") if listener.valid else ""


def _listener(
    owner: Gateway | ListenerSet,
    gateway: Gateway,
    listener: Listener,
    conflict: Conflict | None,
    waiting: str,
    surroundings: Surroundings,
) -> ListenerNode:
    generation = owner.metadata.generation
    kinds, unknown = _supported_kinds(listener)
    pairs: list[CertificatePair] = []
    kept: list[str] = []
    unresolved: list[Condition] = []
    if unknown:
        message = f"allowedRoutes.kinds: {', '.join(unknown)} cannot be served on {listener.protocol}"
        unresolved.append(conditions.listener_invalid_route_kinds(generation, message))
    if listener.protocol == "HTTPS" and listener.tls is not None:
        for ref in listener.tls.certificate_refs:
            found = certificates.resolve(
                owner.key, ref, surroundings.snapshot, surroundings.grants, surroundings.options
            )
            if not isinstance(found, NoCertificate):
                pairs.append(found)
            elif not found.permitted:
                unresolved.append(conditions.listener_ref_not_permitted(generation, found.message))
            else:
                message = found.message
                if found.secret and (last := surroundings.sockets.certificates.get(found.secret)):
                    pairs.append(last)
                    kept.append(str(found.secret))
                    message += " (its last good certificate is kept)"
                unresolved.append(conditions.listener_invalid_certificate_ref(generation, message))
    refs_resolved = together(unresolved) if unresolved else conditions.listener_refs_resolved(generation)
    accepted = _accepted(generation, gateway, listener, conflict)
    servable = accepted.status and (bool(pairs) or listener.protocol == "HTTP")
    closed = surroundings.sockets.refused.get((gateway.key, listener.port), "")
    if not servable:
        programmed = conditions.listener_not_programmed(generation, conflict.reason if conflict else "Invalid")
    elif waiting:
        programmed = conditions.listener_pending(generation, waiting)
    elif closed:
        accepted = conditions.listener_port_unavailable(generation, f"port {listener.port}: {closed}")
        programmed = conditions.listener_not_programmed(generation, "PortUnavailable")
    elif not surroundings.reached(gateway):
        programmed = conditions.listener_pending(generation, "the Gateway has no address")
    else:
        programmed = conditions.listener_programmed(generation, kept)
    conflicted = (
        conditions.listener_conflict(generation, *conflict)
        if conflict
        else conditions.listener_no_conflicts(generation)
    )
    return ListenerNode(
        source=listener,
        owner=owner.key,
        gateway=gateway.key,
        supported_kinds=kinds,
        certificates=tuple(pairs),
        conditions=(accepted, conflicted, programmed, refs_resolved),
        valid=servable and not waiting,
    )


def _accepted(generation: int, gateway: Gateway, listener: Listener, conflict: Conflict | None) -> Condition:
    if isinstance(listener, UnreadableListener):
        return conditions.listener_unsupported_value(generation, listener.fault)
    if conflict:
        return conditions.listener_conflict_refused(generation, *conflict)
    if listener.protocol not in ROUTE_KINDS:
        return conditions.listener_unsupported_protocol(generation, listener.protocol)
    if listener.filters is not None and listener.filters.requests:
        # A request that would go by an authorization in vain must not go by it unnoticed.
        kind = listener.filters.requests[0].type
        return conditions.listener_unsupported_value(generation, f"filters.requests[0]: {kind} is not served here")
    if listener.protocol == "HTTPS":
        if listener.tls is None or not listener.tls.certificate_refs:
            return conditions.listener_unsupported_value(generation, "an HTTPS listener needs tls.certificateRefs")
        if listener.tls.mode != "Terminate":
            return conditions.listener_unsupported_value(
                generation, f"tls.mode {listener.tls.mode}: an HTTPS listener terminates TLS"
            )
        if _asks_for_client_certificates(gateway, listener):
            message = "client certificates (spec.tls.frontend) are not served"
            return conditions.listener_unsupported_value(generation, message)
        if listener.tls.options:
            return conditions.listener_accepted(generation, "tls.options")
    return conditions.listener_accepted(generation)


def _asks_for_client_certificates(gateway: Gateway, listener: Listener) -> bool:
    frontend = gateway.spec.tls.frontend if gateway.spec.tls else None
    if frontend is None:
        return False
    settings = next((each.tls for each in frontend.per_port if each.port == listener.port), frontend.default)
    return settings.validation is not None


def _supported_kinds(listener: Listener) -> tuple[tuple[RouteGroupKind, ...], list[str]]:
    """The kinds that may attach, and the names of those that allowedRoutes asks for in vain."""
    possible = ROUTE_KINDS.get(listener.protocol, ())
    if isinstance(listener, UnreadableListener):
        return (), []  # whom it would let in is not known
    wanted = listener.allowed_routes.kinds
    if not wanted:
        return possible, []
    fitting = tuple(kind for kind in possible if kind in wanted)
    return fitting, list(dict.fromkeys(kind.kind for kind in wanted if kind not in possible))
