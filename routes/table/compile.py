"""From graph to routing table."""

from bisect import insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Generic, TypeVar

from routes.graph.hostnames import meeting
from routes.graph.nodes import BackendNode, FilterNode, GatewayNode, Graph, ListenerNode, RouteNode, RuleNode
from routes.graph.support import can_look_up
from routes.resources.http import HTTPRoute, HTTPRouteMatch
from routes.resources.meta import Key
from routes.table.hostnames import HostMap
from routes.table.matches import Entry
from routes.table.paths import PathKey, path_key
from routes.table.precedence import precedence
from routes.table.types import Backend, Filter, ListenerTable, Port, PortKey, RoutingTable, Rule, VirtualHost

H = TypeVar("H")

#: A listener: the object in which it stands, and its name.
ListenerKey = tuple[Key, str]
#: More than this many new entries in one list are sorted with all others, rather than each put in its place.
_FEW = 8


def compile_table(graph: Graph, handler: Callable[[Rule], H]) -> RoutingTable[H]:
    """The table in which every match leads to ``handler(rule)``; ``handler`` is called once for each served rule."""
    return Compiler[H](lambda rule, _: handler(rule)).compile(graph, graph.routes)


class Compiler(Generic[H]):
    """Makes one table after the other, each from the one before: what did not change is shared, down to the lists.

    ``handler`` gets a rule and what its place was served by before, None for a new one. It is called for each rule of
    a route that changed, and answers with the same where the rule did not. ``handlers`` are what served before the
    first table, if anything.
    """

    def __init__(
        self, handler: Callable[[Rule, H | None], H], handlers: Mapping[Key, Sequence[H]] = MappingProxyType({})
    ) -> None:
        self._handler = handler
        # The mutable state, changed by compile alone.
        self._routes: Mapping[Key, RouteNode] = {}
        self._handlers: dict[Key, Sequence[H]] = dict(handlers)
        self._hosts: dict[ListenerKey, tuple[str, HostMap[VirtualHost[H]]]] = {}
        #: All listeners of the last graph, valid or not.
        self._there: set[ListenerKey] = set()

    @property
    def handlers(self) -> Mapping[Key, Sequence[H]]:
        """What the rules of each route in the table are served by."""
        return self._handlers

    def compile(self, graph: Graph, changed: Collection[Key]) -> RoutingTable[H]:
        """The table of ``graph``, in which of all routes only ``changed`` differ from those of the last one."""
        before, self._routes = self._routes, graph.routes
        for key in changed:
            self._serve(key, graph.routes.get(key))
        hosts: dict[ListenerKey, tuple[str, HostMap[VirtualHost[H]]]] = {}
        edits: dict[ListenerKey, _Edits[H]] = {}
        for listener in _served(graph):
            place, hostname = _key(listener), listener.source.hostname or ""
            known = self._hosts.get(place)
            # A listener that is new, or for another hostname, begins with nothing.
            hosts[place] = known if known is not None and known[0] == hostname else (hostname, HostMap({}))
            edits[place] = _Edits(hostname)
        # Whatever is on a listener that was not there before has changed itself.
        fresh = {place for place in hosts if hosts[place] is not self._hosts.get(place) and place in self._there}
        self._there = {_key(listener) for gateway in graph.gateways.values() for listener in gateway.all_listeners}
        if fresh:
            for route in graph.routes.values():
                self._add(route, {place: edits[place] for place in fresh & _listeners(route)})
        stale = edits.keys() - fresh
        for key in changed:
            if (old := before.get(key)) is not None:
                for place in stale & _listeners(old):
                    edits[place].remove(old)
            if (new := graph.routes.get(key)) is not None:
                self._add(new, {place: edits[place] for place in stale & _listeners(new)})
        self._hosts = {place: (hostname, edits[place].applied(known)) for place, (hostname, known) in hosts.items()}
        return self._table(graph)

    def _serve(self, key: Key, route: RouteNode | None) -> None:
        """Find what serves the rules of a route, if it is attached to anything."""
        before = self._handlers.pop(key, None) or ()
        if route is not None and any(parent.attachments for parent in route.parents):
            self._handlers[key] = tuple(
                self._handler(_rule(key, rule), before[index] if index < len(before) else None)
                for index, rule in enumerate(route.rules)
            )

    def _add(self, route: RouteNode, edits: "Mapping[ListenerKey, _Edits[H]]") -> None:
        if not edits:
            return
        handlers = self._handlers[route.source.key]
        entries = [
            (path_key(match.path), Entry.of(handler, route.source, rule.index, index))
            for rule, handler in zip(route.rules, handlers, strict=True)
            for index, match in enumerate(rule.source.matches)
            if can_look_up(match)
        ]
        for edit in edits.values():
            edit.add(route, entries)

    def _table(self, graph: Graph) -> RoutingTable[H]:
        ports: dict[PortKey, Port[H]] = {}
        names: dict[str, PortKey] = {}
        for gateway in graph.gateways.values():
            for key, listeners in _by_port(gateway).items():
                ports[key] = self._port(key, listeners, gateway.listens_on)
                for listener in listeners:
                    names.setdefault(f"{_key(listener)[0].qualified_name}/{listener.source.name}", key)
        return RoutingTable(ports, names)

    def _port(self, key: PortKey, listeners: Iterable[ListenerNode], addresses: tuple[str, ...]) -> Port[H]:
        tables: dict[str, ListenerTable[H]] = {}
        certificates = {}
        protocol = ""
        for listener in listeners:
            hostname, hosts = self._hosts[_key(listener)]
            tables[hostname] = ListenerTable(_name(listener), hosts)
            certificates[hostname] = listener.certificates
            protocol = listener.source.protocol
        return Port(key, protocol, HostMap(tables), HostMap(certificates), addresses)


class _Edits(Generic[H]):
    """What becomes different in the virtual hosts of one listener.

    They are known by those of the routes' own hostnames that meet the listener's, not by what the two have in common:
    that a request is on this listener says that its host fits it, and precedence counts the characters of the route's
    own hostname (GatewayRouteHostnameIntersectionPrecedence).
    """

    __slots__ = ("_gone", "_hostname", "_lists")

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        #: The objects of which nothing stays in the lists that are touched.
        self._gone: set[int] = set()
        #: What comes to the lists that are touched, by hostname and path.
        self._lists: dict[str, dict[PathKey, list[Entry[H]]]] = {}

    def remove(self, route: RouteNode) -> None:
        """Take away what ``route`` has."""
        self._gone.add(id(route.source))
        for hostname in self._hostnames(route.source):
            lists = self._lists.setdefault(hostname, {})
            for rule in route.rules:
                for match in rule.source.matches:
                    lists.setdefault(path_key(match.path), [])

    def add(self, route: RouteNode, entries: Iterable[tuple[PathKey, Entry[H]]]) -> None:
        """Add the ``entries`` of ``route``."""
        for hostname in self._hostnames(route.source):
            lists = self._lists.setdefault(hostname, {})
            for path, entry in entries:
                lists.setdefault(path, []).append(entry)

    def _hostnames(self, route: HTTPRoute) -> Iterator[str]:
        for hostname in route.spec.hostnames or ("",):
            if not hostname or meeting(self._hostname, (hostname,)) is not None:
                yield hostname

    def applied(self, hosts: HostMap[VirtualHost[H]]) -> HostMap[VirtualHost[H]]:
        """The virtual hosts with all this done; those that are left without a path go."""
        if not self._lists:
            return hosts
        changes: dict[str, VirtualHost[H] | None] = {}
        for hostname, lists in self._lists.items():
            host = hosts.get(hostname) or VirtualHost[H]()
            changed = host.with_({path: self._merged(host.get(path), new) for path, new in lists.items()})
            changes[hostname] = changed if changed else None
        return hosts.with_(changes)

    def _merged(self, old: Sequence[Entry[H]], new: list[Entry[H]]) -> tuple[Entry[H], ...]:
        entries = [entry for entry in old if id(entry.source) not in self._gone] if self._gone else [*old]
        if len(new) > _FEW or not entries:
            entries += new
            if len(entries) > 1:
                entries.sort(key=precedence)
        else:
            for entry in new:
                insort(entries, entry, key=precedence)
        return tuple(entries)


def _key(listener: ListenerNode) -> ListenerKey:
    return listener.owner, listener.source.name


def _name(listener: ListenerNode) -> str:
    """A listener's name says enough in its Gateway; those of ListenerSets may be the same."""
    name = listener.source.name
    return name if listener.owner == listener.gateway else f"{listener.owner.qualified_name}/{name}"


def _listeners(route: RouteNode) -> set[ListenerKey]:
    """The listeners that a route is on."""
    return {(parent.owner, attachment.listener) for parent in route.parents for attachment in parent.attachments}


def _served(graph: Graph) -> Iterator[ListenerNode]:
    for gateway in graph.gateways.values():
        for listener in gateway.all_listeners:
            if listener.valid:
                yield listener


def _by_port(gateway: GatewayNode) -> dict[PortKey, list[ListenerNode]]:
    """The valid listeners of each port. Listeners of one port have one protocol: others conflict and are not valid."""
    ports: dict[PortKey, list[ListenerNode]] = {}
    for listener in gateway.all_listeners:
        if listener.valid:
            key = PortKey(gateway.source.key, listener.source.port)
            ports.setdefault(key, []).append(listener)
    return ports


def _rule(route: Key, node: RuleNode) -> Rule:
    source = node.source
    return Rule(
        route,
        node.index,
        tuple(_backend(backend) for backend in node.backends),
        node.unsupported,
        _filters(node.filters),
        _only_prefix(source.matches),
        source.timeouts,
        source.retry,
        source.session_persistence,
    )


def _only_prefix(matches: Sequence[HTTPRouteMatch]) -> str | None:
    if len(matches) != 1 or matches[0].path.type != "PathPrefix":
        return None
    return matches[0].path.value


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
        filters=_filters(node.filters),
        service=node.service,
    )


def _filters(nodes: Iterable[FilterNode]) -> tuple[Filter, ...]:
    """What is run. A mirror that leads nowhere is left out: the request itself is served (HTTPRequestMirrorFilter)."""
    return tuple(
        Filter(
            node.source.type,
            node.source.config,
            _backend(node.backend) if node.backend is not None else None,
            node.extension,
            node.unsupported,
        )
        for node in nodes
        if node.source.request_mirror is None or (node.backend is not None and not node.backend.reason)
    )
