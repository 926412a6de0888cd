"""Listeners of one Gateway: which are valid, which stand in each other's way, what may attach to them."""

from collections import Counter

from routes.graph import conditions
from routes.graph.grants import Grants
from routes.graph.nodes import CertificatePair, Condition, ListenerNode, Options
from routes.resources.core import Secret
from routes.resources.gateway import Gateway, Listener, RouteGroupKind, SecretObjectReference
from routes.resources.meta import CORE_GROUP, GATEWAY_GROUP, Key
from routes.snapshot import Snapshot

HTTP_ROUTE = RouteGroupKind(group=GATEWAY_GROUP, kind="HTTPRoute")
#: Which kinds of route each protocol that we serve can carry.
ROUTE_KINDS: dict[str, tuple[RouteGroupKind, ...]] = {"HTTP": (HTTP_ROUTE,), "HTTPS": (HTTP_ROUTE,)}


def build_listeners(gateway: Gateway, snapshot: Snapshot, grants: Grants, options: Options) -> tuple[ListenerNode, ...]:
    """The nodes of all listeners of ``gateway``, in its order."""
    conflicts = _conflicts(gateway)
    return tuple(
        _listener(gateway, listener, conflict, snapshot, grants, options)
        for listener, conflict in zip(gateway.spec.listeners, conflicts, strict=True)
    )


def _listener(
    gateway: Gateway,
    listener: Listener,
    conflict: tuple[str, str] | None,
    snapshot: Snapshot,
    grants: Grants,
    options: Options,
) -> ListenerNode:
    generation = gateway.metadata.generation
    kinds, unknown = _supported_kinds(listener)
    pairs: list[CertificatePair] = []
    refs_resolved = conditions.listener_refs_resolved(generation)
    if unknown:
        message = f"allowedRoutes.kinds: {', '.join(unknown)} cannot attach to {listener.protocol}"
        refs_resolved = conditions.listener_invalid_route_kinds(generation, message)
    if listener.protocol == "HTTPS" and listener.tls is not None:
        for ref in listener.tls.certificate_refs:
            found = _certificate(gateway, ref, snapshot, grants, options)
            if isinstance(found, Condition):
                refs_resolved = found
            else:
                pairs.append(found)
    accepted = _accepted(gateway, listener, conflict)
    servable = accepted.status and (bool(pairs) or listener.protocol == "HTTP")
    if servable:
        programmed = conditions.listener_programmed(generation)
    else:
        programmed = conditions.listener_not_programmed(generation, conflict[0] if conflict else "Invalid")
    conflicted = (
        conditions.listener_conflict(generation, *conflict)
        if conflict
        else conditions.listener_no_conflicts(generation)
    )
    return ListenerNode(
        source=listener,
        gateway=gateway.key,
        supported_kinds=kinds,
        certificates=tuple(pairs),
        conditions=(accepted, conflicted, programmed, refs_resolved),
        valid=servable,
    )


def _accepted(gateway: Gateway, listener: Listener, conflict: tuple[str, str] | None) -> Condition:
    generation = gateway.metadata.generation
    if listener.protocol not in ROUTE_KINDS:
        return conditions.listener_unsupported_protocol(generation, listener.protocol)
    if conflict:
        return conditions.listener_conflict_refused(generation, *conflict)
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
    wanted = listener.allowed_routes.kinds
    if not wanted or not possible:
        return possible, []
    fitting = tuple(kind for kind in wanted if kind in possible)
    return fitting, [kind.kind for kind in wanted if kind not in possible]


def _certificate(
    gateway: Gateway, ref: SecretObjectReference, snapshot: Snapshot, grants: Grants, options: Options
) -> CertificatePair | Condition:
    """The pair that ``ref`` leads to, or the condition that says why there is none."""
    generation = gateway.metadata.generation
    namespace = ref.namespace or gateway.metadata.namespace or ""
    target = Key(ref.group, ref.kind, namespace, ref.name)
    if (ref.group, ref.kind) != (CORE_GROUP, "Secret"):
        message = f"{ref.kind} of group {ref.group!r}: a certificate is a Secret of the core group"
        return conditions.listener_invalid_certificate_ref(generation, message)
    if not grants.permit(gateway.key, target):
        message = f"no ReferenceGrant in {namespace} lets {gateway.key} use {target}"
        return conditions.listener_ref_not_permitted(generation, message)
    secret = snapshot.of(Secret).get(target)
    if secret is None:
        return conditions.listener_invalid_certificate_ref(generation, f"{target} does not exist")
    certificate, key = secret.data.get("tls.crt", b""), secret.data.get("tls.key", b"")
    if not certificate or not key:
        missing = " and ".join(name for name in ("tls.crt", "tls.key") if not secret.data.get(name))
        return conditions.listener_invalid_certificate_ref(generation, f"{target} has no {missing}")
    fault = options.check_certificate(certificate, key)
    if fault:
        return conditions.listener_invalid_certificate_ref(generation, f"{target}: {fault}")
    return CertificatePair(target, certificate, key)


def _conflicts(gateway: Gateway) -> list[tuple[str, str] | None]:
    """For each listener the reason and the sentence of its conflict, if it has one.

    Inside one Gateway nobody wins: every listener of a conflict loses (GatewaySpec.listeners, "Distinct Listeners").
    HTTP and HTTPS do not share a port here; protocols that are not served take no part.
    """
    served = [listener for listener in gateway.spec.listeners if listener.protocol in ROUTE_KINDS]
    protocols: dict[int, set[str]] = {}
    for listener in served:
        protocols.setdefault(listener.port, set()).add(listener.protocol)
    names = Counter((listener.port, listener.hostname or "") for listener in served)
    found: list[tuple[str, str] | None] = []
    for listener in gateway.spec.listeners:
        if listener.protocol not in ROUTE_KINDS:
            found.append(None)
        elif len(protocols[listener.port]) > 1:
            others = " and ".join(sorted(protocols[listener.port]))
            found.append(("ProtocolConflict", f"port {listener.port} is wanted for {others}"))
        elif names[listener.port, listener.hostname or ""] > 1:
            host = listener.hostname or "any host"
            found.append(("HostnameConflict", f"several listeners want {host} on port {listener.port}"))
        else:
            found.append(None)
    return found
