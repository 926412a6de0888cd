"""Gateways, their listeners, and which routes are on them or not and why."""

from collections.abc import Iterator

from app.admin.source import Source
from app.view.model import AttachedRoute, GatewayView, Health, ListenerView
from app.view.words import conditions, id_of, is_good, key_of, trouble
from routes.graph.nodes import GatewayNode, Graph, ListenerNode, ParentNode, RouteNode
from routes.table.types import PortKey


def gateways(source: Source) -> list[GatewayView]:
    """All that are ours, in the order of precedence."""
    state = source.state()
    if state is None:
        return []
    return [_view(source, state.graph, node) for node in state.graph.gateways.values()]


def gateway(source: Source, id: str) -> GatewayView | None:
    """The one of that id."""
    state, key = source.state(), key_of(id, "Gateway")
    node = state.graph.gateways.get(key) if state is not None and key is not None else None
    return _view(source, state.graph, node) if state is not None and node is not None else None


def health_of(node: GatewayNode) -> Health:
    """Disabled where nothing of it is served, a warning where something of it is not as it should be."""
    if not node.valid or not any(listener.valid for listener in node.all_listeners):
        return Health.DISABLED
    every = (*node.conditions, *(each for listener in node.all_listeners for each in listener.conditions))
    return Health.ENABLED if all(map(is_good, every)) else Health.WARNING


def listener_health(node: ListenerNode) -> Health:
    """The same of a listener."""
    if not node.valid or any(not each.status for each in node.conditions if each.type == "Programmed"):
        return Health.DISABLED
    return Health.ENABLED if all(map(is_good, node.conditions)) else Health.WARNING


def _view(source: Source, graph: Graph, node: GatewayNode) -> GatewayView:
    key = node.source.key
    return GatewayView(
        id=id_of(key),
        name=key.qualified_name,
        class_name=node.source.spec.gateway_class_name,
        default=node.default,
        addresses=node.addresses,
        health=health_of(node),
        conditions=conditions(node.conditions),
        listeners=tuple(_listeners(source, graph, node)),
        refused=tuple(_refused(route, parent) for route, parent in source.memory.refused(graph, key)),
    )


def _listeners(source: Source, graph: Graph, node: GatewayNode) -> Iterator[ListenerView]:
    bound = source.bound()
    for listener in node.all_listeners:
        port = PortKey(listener.gateway, listener.source.port)
        own = source.memory.attached(graph, (listener.owner, listener.source.name))
        yield ListenerView(
            name=listener.source.name,
            owner=str(listener.owner),
            port=listener.source.port,
            port_name=str(port),
            protocol=listener.source.protocol,
            hostname=listener.source.hostname or "",
            bound=bound.get(port, 0),
            problem=trouble(listener.conditions),
            certificates=tuple(pair.secret.qualified_name for pair in listener.certificates),
            attached_routes=listener.attached_routes,
            conditions=conditions(listener.conditions),
            routes=tuple(_attached(route, hostnames) for route, hostnames in own),
        )


def _attached(route: RouteNode, hostnames: tuple[str, ...]) -> AttachedRoute:
    key = route.source.key
    return AttachedRoute(id_of(key), key.qualified_name, key.kind, hostnames, "")


def _refused(route: RouteNode, parent: ParentNode) -> AttachedRoute:
    key = route.source.key
    why = trouble(each for each in parent.conditions if each.type == "Accepted") or trouble(parent.conditions)
    return AttachedRoute(id_of(key), key.qualified_name, key.kind, tuple(route.source.spec.hostnames), why)
