"""From graph to routing table."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from routes.graph.hostnames import meeting
from routes.graph.nodes import BackendNode, FilterNode, GatewayNode, Graph, ListenerNode, RouteNode, RuleNode
from routes.graph.support import can_look_up
from routes.resources.http import HTTPRouteMatch
from routes.resources.meta import Key
from routes.table.hostnames import HostMap
from routes.table.matches import Entry
from routes.table.paths import exact_key, prefix_key
from routes.table.precedence import Precedence, precedence
from routes.table.types import Backend, Filter, ListenerTable, Port, PortKey, RoutingTable, Rule, VirtualHost

H = TypeVar("H")

Ranked = list[tuple[Precedence, Entry[H]]]


def compile_table(graph: Graph, handler: Callable[[Rule], H]) -> RoutingTable[H]:
    """The table in which every match leads to ``handler(rule)``; ``handler`` is called once for each served rule."""
    handlers = {
        key: [(rule, handler(_rule(key, rule))) for rule in route.rules]
        for key, route in graph.routes.items()
        if any(parent.attachments for parent in route.parents)
    }
    attached = _routes_by_listener(graph)
    ports: dict[PortKey, Port[H]] = {}
    names: dict[str, PortKey] = {}
    for gateway in graph.gateways.values():
        for key, listeners in _by_port(gateway).items():
            ports[key] = _port(key, listeners, graph.routes, attached, handlers, _addresses(gateway))
            for listener in listeners:
                names.setdefault(f"{listener.owner.qualified_name}/{listener.source.name}", key)
    return RoutingTable(ports, names)


def _by_port(gateway: GatewayNode) -> dict[PortKey, list[ListenerNode]]:
    """The valid listeners of each port. Listeners of one port have one protocol: others conflict and are not valid."""
    ports: dict[PortKey, list[ListenerNode]] = {}
    for listener in gateway.all_listeners:
        if listener.valid:
            key = PortKey(gateway.source.key, listener.source.port)
            ports.setdefault(key, []).append(listener)
    return ports


def _routes_by_listener(graph: Graph) -> Mapping[tuple[Key, str], list[Key]]:
    found: dict[tuple[Key, str], dict[Key, None]] = {}
    for key, route in graph.routes.items():
        for parent in route.parents:
            for attachment in parent.attachments:
                found.setdefault((parent.owner, attachment.listener), {})[key] = None
    return {listener: list(keys) for listener, keys in found.items()}


def _port(
    key: PortKey,
    listeners: Iterable[ListenerNode],
    routes: Mapping[Key, RouteNode],
    attached: Mapping[tuple[Key, str], list[Key]],
    handlers: Mapping[Key, list[tuple[RuleNode, H]]],
    addresses: tuple[str, ...],
) -> Port[H]:
    tables: dict[str, ListenerTable[H]] = {}
    certificates = {}
    protocol = ""
    for listener in listeners:
        hostname = listener.source.hostname or ""
        keys = attached.get((listener.owner, listener.source.name), ())
        served = [(routes[route], handlers[route]) for route in keys]
        tables[hostname] = ListenerTable(_name(listener), _hosts(served, hostname))
        certificates[hostname] = listener.certificates
        protocol = listener.source.protocol
    return Port(key, protocol, HostMap(tables), HostMap(certificates), addresses)


def _addresses(gateway: GatewayNode) -> tuple[str, ...]:
    wanted = gateway.source.spec.addresses
    return tuple(dict.fromkeys(each.value for each in wanted if each.type == "IPAddress" and each.value))


def _name(listener: ListenerNode) -> str:
    """A listener's name says enough in its Gateway; those of ListenerSets may be the same."""
    name = listener.source.name
    return name if listener.owner == listener.gateway else f"{listener.owner.qualified_name}/{name}"


def _hosts(routes: Iterable[tuple[RouteNode, list[tuple[RuleNode, H]]]], listener: str) -> HostMap[VirtualHost[H]]:
    """Virtual hosts by those of the routes' own hostnames that meet the listener's.

    Not by what they have in common with the listener's: that a request is on this listener says that its host fits it,
    and precedence counts the characters of the route's own hostname (GatewayRouteHostnameIntersectionPrecedence).
    """
    exact: dict[str, dict[str, Ranked[H]]] = {}
    prefixes: dict[str, dict[str, Ranked[H]]] = {}
    for route, handlers in routes:
        ranked = list(_entries(route, handlers))
        for hostname in route.source.spec.hostnames or ("",):
            if hostname and meeting(listener, (hostname,)) is None:
                continue
            exact.setdefault(hostname, {})
            prefixes.setdefault(hostname, {})
            for path_type, path, rank, entry in ranked:
                lists = exact[hostname] if path_type == "Exact" else prefixes[hostname]
                lists.setdefault(path, []).append((rank, entry))
    return HostMap({name: VirtualHost(_sorted(exact[name]), _sorted(prefixes[name])) for name in exact})


def _entries(
    route: RouteNode, handlers: Iterable[tuple[RuleNode, H]]
) -> Iterator[tuple[str, str, Precedence, Entry[H]]]:
    for rule, handler in handlers:
        for index, match in enumerate(rule.source.matches):
            if not can_look_up(match):
                continue
            entry = Entry.of(match, handler)
            path = exact_key(match.path.value) if match.path.type == "Exact" else prefix_key(match.path.value)
            yield match.path.type, path, precedence(entry, route.source, rule.index, index), entry


def _sorted(lists: Mapping[str, Ranked[H]]) -> dict[str, tuple[Entry[H], ...]]:
    return {
        path: tuple(entry for _, entry in sorted(ranked, key=lambda pair: pair[0])) for path, ranked in lists.items()
    }


def _rule(route: Key, node: RuleNode) -> Rule:
    source = node.source
    return Rule(
        route,
        node.index,
        tuple(_backend(backend) for backend in node.backends),
        node.unsupported,
        tuple(_filter(filter_) for filter_ in node.filters),
        _only_prefix(source.matches),
        source.timeouts,
        source.retry,
        source.session_persistence,
    )


def _only_prefix(matches: Sequence[HTTPRouteMatch]) -> str | None:
    path = matches[0].path
    return path.value if len(matches) == 1 and path.type == "PathPrefix" else None


def _backend(node: BackendNode) -> Backend:
    if node.reason:
        return Backend(node.name, node.weight, invalid=node.message)
    return Backend(
        node.name,
        node.weight,
        node.addresses,
        node.dns,
        protocol=node.protocol,
        tls=node.tls,
        filters=tuple(_filter(filter_) for filter_ in node.filters),
    )


def _filter(node: FilterNode) -> Filter:
    return Filter(
        node.source.type,
        node.source.config,
        _backend(node.backend) if node.backend is not None else None,
        node.extension,
        node.unsupported,
    )
