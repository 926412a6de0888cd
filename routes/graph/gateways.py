"""GatewayClasses and Gateways that are ours, and the Gateway that is there when nobody wrote one."""

from collections.abc import Sequence
from dataclasses import replace

from routes.graph import conditions
from routes.graph.grants import Grants
from routes.graph.listeners import build_listeners
from routes.graph.nodes import Condition, GatewayClassNode, GatewayNode, ListenerNode, Options
from routes.resources.gateway import (
    AllowedRoutes,
    Gateway,
    GatewayClass,
    GatewayClassSpec,
    GatewaySpec,
    ListenerTLSConfig,
    RouteNamespaces,
    SelectingListener,
)
from routes.resources.meta import GATEWAY_GROUP, Key, LabelSelector, ObjectMeta
from routes.snapshot import Snapshot

#: The class that is there without being written, and the name of the default Gateway.
BUILT_IN = "moongate"
HTTP_PORT = 8000
HTTPS_PORT = 8443


def our_classes(snapshot: Snapshot, options: Options) -> dict[str, GatewayClassNode]:
    """The accepted GatewayClasses by name: those of our controller, and ``moongate`` if nobody defines it."""
    written = snapshot.of(GatewayClass).values()
    ours = {
        source.metadata.name: source for source in written if source.spec.controller_name == options.controller_name
    }
    if all(source.metadata.name != BUILT_IN for source in written):
        ours[BUILT_IN] = GatewayClass(
            api_version=f"{GATEWAY_GROUP}/v1",
            kind="GatewayClass",
            metadata=ObjectMeta(name=BUILT_IN),
            spec=GatewayClassSpec(controller_name=options.controller_name),
        )
    return {
        name: GatewayClassNode(source, (conditions.class_accepted(source.metadata.generation),))
        for name, source in ours.items()
    }


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
    snapshot: Snapshot, classes: dict[str, GatewayClassNode], grants: Grants, options: Options
) -> tuple[dict[Key, GatewayNode], tuple[Gateway, ...]]:
    """Our Gateways by key, in alphabetical order, and those of classes that are not ours."""
    written = sorted(snapshot.of(Gateway).values(), key=lambda gateway: gateway.key)
    ours = [gateway for gateway in written if gateway.spec.gateway_class_name in classes]
    sources = ours if written else [default_gateway(options)]
    nodes = {
        source.key: _gateway(source, build_listeners(source, snapshot, grants, options), default=not written)
        for source in sources
    }
    return nodes, tuple(gateway for gateway in written if gateway.spec.gateway_class_name not in classes)


def with_attached_routes(gateway: GatewayNode, counts: dict[str, int]) -> GatewayNode:
    """The Gateway with the number of routes on each listener (by name)."""
    return replace(
        gateway,
        listeners=tuple(
            replace(listener, attached_routes=counts.get(listener.source.name, 0)) for listener in gateway.listeners
        ),
    )


def _gateway(source: Gateway, listeners: Sequence[ListenerNode], *, default: bool) -> GatewayNode:
    generation = source.metadata.generation
    bad = [listener.source.name for listener in listeners if not listener.valid]
    valid = len(bad) < len(listeners)
    accepted: Condition
    if bad:
        accepted = conditions.gateway_listeners_not_valid(generation, bad, some_good=valid)
    else:
        accepted = conditions.gateway_accepted(generation)
    programmed = conditions.gateway_programmed(generation) if valid else conditions.gateway_not_programmed(generation)
    return GatewayNode(source, tuple(listeners), (accepted, programmed), valid, default)
