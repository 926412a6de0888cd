"""Gateways that are ours, with their ListenerSets, and the Gateway that is there when nobody wrote one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from routes.graph import conditions
from routes.graph.addresses import listens_on, not_reached, unsupported_type
from routes.graph.certificates import NoCertificate, resolve
from routes.graph.classes import BUILT_IN, class_of
from routes.graph.conflicts import inside
from routes.graph.listeners import Surroundings, build_listeners, refused
from routes.graph.listenersets import build_sets, by_gateway, set_conditions
from routes.graph.namespaces import Namespaces
from routes.graph.nodes import (
    Condition,
    GatewayClassNode,
    GatewayNode,
    ListenerNode,
    ListenerSetNode,
    Options,
    Sockets,
)
from routes.graph.overlaps import overlaps
from routes.resources.gateway import (
    AllowedRoutes,
    Gateway,
    GatewaySpec,
    ListenerSet,
    ListenerTLSConfig,
    RouteNamespaces,
    SelectingListener,
    UnreadableGateway,
)
from routes.resources.meta import GATEWAY_GROUP, Key, LabelSelector, ObjectMeta
from routes.snapshot import Snapshot

HTTP_PORT = 8000
HTTPS_PORT = 8443


def default_gateway(options: Options) -> Gateway:
    """The Gateway ``default/moongate``, as the article's Helm chart makes it.

    ``web`` is HTTP on 8000; with certificates there is ``websecure``, HTTPS on 8443 (the first of them where the
    client's name fits none). Both choose v1alpha1 routes by the label ``app``.
    """
    selector = LabelSelector(match_labels={"app": options.app_label_selector})
    everywhere = AllowedRoutes(namespaces=RouteNamespaces(from_="All"))
    listeners = [
        SelectingListener(
            name="web", port=HTTP_PORT, protocol="HTTP", allowed_routes=everywhere, route_selector=selector
        )
    ]
    if options.certificates:
        tls = ListenerTLSConfig(certificate_refs=options.certificates)
        listeners.append(
            SelectingListener(
                name="websecure",
                port=HTTPS_PORT,
                protocol="HTTPS",
                tls=tls,
                allowed_routes=everywhere,
                route_selector=selector,
            )
        )
    return Gateway(
        api_version=f"{GATEWAY_GROUP}/v1",
        kind="Gateway",
        metadata=ObjectMeta(name=BUILT_IN, namespace="default"),
        spec=GatewaySpec(gateway_class_name=BUILT_IN, listeners=tuple(listeners)),
    )


def build_gateways(
    snapshot: Snapshot, classes: Mapping[Key, GatewayClassNode], namespaces: Namespaces, surroundings: Surroundings
) -> dict[Key, GatewayNode]:
    """Our Gateways by key, in alphabetical order, with their ListenerSets.

    Outside of a cluster there is the default one if none is written.
    """
    written = sorted(snapshot.of(Gateway).values(), key=lambda gateway: gateway.key)
    ours = [gateway for gateway in written if class_of(gateway, classes) is not None]
    sets = by_gateway(snapshot.of(ListenerSet).values())
    default = not written and not surroundings.options.cluster
    return {
        source.key: _gateway(
            source,
            class_of(source, classes),
            sets.get(source.key, ()),
            namespaces,
            surroundings,
            default=default,
        )
        for source in ([default_gateway(surroundings.options)] if default else ours)
    }


def with_attached_routes(gateway: GatewayNode, counts: Mapping[tuple[Key, str], int]) -> GatewayNode:
    """The Gateway with the number of routes on each listener, by the listener's owner and name."""

    def counted(listeners: tuple[ListenerNode, ...]) -> tuple[ListenerNode, ...]:
        return tuple(
            replace(listener, attached_routes=counts.get((listener.owner, listener.source.name), 0))
            for listener in listeners
        )

    sets = tuple(replace(node, listeners=counted(node.listeners)) for node in gateway.listener_sets)
    return replace(gateway, listeners=counted(gateway.listeners), listener_sets=sets)


def _gateway(
    source: Gateway,
    class_: GatewayClassNode | None,
    sets: Iterable[ListenerSet],
    namespaces: Namespaces,
    surroundings: Surroundings,
    *,
    default: bool,
) -> GatewayNode:
    refusal = _refusal(source, class_)
    waiting = f"{source.key} is not accepted" if refusal is not None else ""
    listeners = build_listeners(source, source, inside(source.spec.listeners), waiting, surroundings)
    valid = any(listener.valid for listener in listeners)
    # A Gateway without a good listener is "rejected from processing as a whole" (GatewaySpec.listeners).
    waiting_sets = "" if valid else f"{source.key} is not accepted"
    nodes = build_sets(source, waiting_sets, sets, namespaces, surroundings)
    listeners, nodes = _with_overlaps(listeners, nodes, surroundings.options)
    accepted = refusal or _accepted(source, listeners, surroundings.sockets)
    every = [*listeners, *(listener for node in nodes for listener in node.listeners)]
    programmed = _programmed(source, accepted, every, surroundings)
    nodes = tuple(
        replace(node, conditions=set_conditions(node, waiting_sets, programmed, surroundings)) for node in nodes
    )
    resolved = _refs_resolved(source, listeners, surroundings)
    addresses = surroundings.sockets.addresses.get(source.key, ()) if valid else ()
    return GatewayNode(
        source,
        listeners,
        (accepted, programmed, resolved),
        valid,
        default,
        nodes,
        addresses,
        listens_on(source, surroundings.options),
    )


def _refusal(source: Gateway, class_: GatewayClassNode | None) -> Condition | None:
    """Why nothing of the Gateway is served, whatever its listeners are; None if nothing is in the way.

    ``class_`` is None for the default Gateway where its class is another controller's.
    """
    generation = source.metadata.generation
    if class_ is not None and not class_.accepted:
        message = f"{class_.source.key} is not accepted: {class_.conditions[0].message}"
        return conditions.gateway_invalid_parameters(generation, message)
    if isinstance(source, UnreadableGateway):
        return conditions.gateway_invalid(generation, f"spec.{source.fault}")
    infrastructure = source.spec.infrastructure
    if infrastructure is not None and infrastructure.parameters_ref is not None:
        ref = infrastructure.parameters_ref
        message = f"spec.infrastructure.parametersRef: {ref.kind} of group {ref.group!r}: Moongate takes no parameters"
        return conditions.gateway_invalid_parameters(generation, message)
    return unsupported_type(source)


def _accepted(source: Gateway, listeners: Sequence[ListenerNode], sockets: Sockets) -> Condition:
    bad = [one.source.name for one in listeners if not one.valid or refused(one, sockets)]
    if not bad:
        return conditions.gateway_accepted(source.metadata.generation)
    some_good = any(listener.valid for listener in listeners)
    return conditions.gateway_listeners_not_valid(source.metadata.generation, bad, some_good=some_good)


def _programmed(
    source: Gateway, accepted: Condition, listeners: Sequence[ListenerNode], surroundings: Surroundings
) -> Condition:
    generation, sockets = source.metadata.generation, surroundings.sockets
    if not accepted.status:
        if accepted.reason == "ListenersNotValid":
            return conditions.gateway_not_programmed(generation)
        return conditions.gateway_not_programmed(generation, "the Gateway is not accepted")
    lost = not_reached(source, sockets, surroundings.options)
    ports = {listener.source.port: refused(listener, sockets) for listener in listeners if listener.valid}
    closed = ", ".join(f"port {port} ({reason})" for port, reason in ports.items() if reason)
    if closed and all(ports.values()) and (lost is None or lost.reason != "AddressNotUsable"):
        return conditions.gateway_no_open_port(generation, closed)
    return lost or conditions.gateway_programmed(generation, closed)


def _refs_resolved(source: Gateway, listeners: Iterable[ListenerNode], surroundings: Surroundings) -> Condition:
    """What the Gateway itself names comes first, since its listeners' conditions say theirs already."""
    generation = source.metadata.generation
    ref = source.spec.tls.backend.client_certificate_ref if source.spec.tls and source.spec.tls.backend else None
    if ref is not None:
        field = "spec.tls.backend.clientCertificateRef"
        found = resolve(source.key, ref, surroundings.snapshot, surroundings.grants, surroundings.options)
        if not isinstance(found, NoCertificate):
            return conditions.gateway_unsupported_value(generation, f"{field}: backends are shown no certificate")
        if found.permitted:
            return conditions.gateway_invalid_client_certificate_ref(generation, f"{field}: {found.message}")
        return conditions.gateway_ref_not_permitted(generation, f"{field}: {found.message}")
    unresolved = [
        listener.source.name
        for listener in listeners
        if any(one.type == "ResolvedRefs" and not one.status for one in listener.conditions)
    ]
    if unresolved:
        return conditions.gateway_listeners_not_resolved(generation, unresolved)
    return conditions.gateway_refs_resolved(generation)


def _with_overlaps(
    own: tuple[ListenerNode, ...], sets: tuple[ListenerSetNode, ...], options: Options
) -> tuple[tuple[ListenerNode, ...], tuple[ListenerSetNode, ...]]:
    every = [*own, *(listener for node in sets for listener in node.listeners)]
    found = iter(
        listener if overlap is None else replace(listener, conditions=(*listener.conditions, overlap))
        for listener, overlap in zip(every, overlaps(every, options), strict=True)
    )
    listeners = tuple(islice(found, len(own)))
    return listeners, tuple(replace(node, listeners=tuple(islice(found, len(node.listeners)))) for node in sets)
