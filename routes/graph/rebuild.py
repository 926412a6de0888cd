"""From one graph to the next, in proportion to what changed in between.

:func:`~routes.graph.build.build_graph` says what a graph is; this gives an equal one, made of the nodes of the last one
where these cannot have become other ones. A route's node follows from the route, from the Gateways and ListenerSets
that it may be on and its namespace's labels, and from what its rules name: Services with their endpoints, policies for
them, objects of ExtensionRefs, and the ReferenceGrants of the namespaces that these are in.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from routes.graph.attachment import Parents, attach
from routes.graph.backends import SERVICE_NAME
from routes.graph.build import Frame, counted_on, references_of
from routes.graph.gateways import with_attached_routes
from routes.graph.listenersets import parent_of
from routes.graph.namespaces import Namespaces
from routes.graph.nodes import GatewayNode, Graph, ListenerNode, Options, RouteNode, Sockets
from routes.graph.policies import Policies, services_of, uses, with_ancestors
from routes.graph.routes import build_route, on_parents
from routes.resources.core import (
    ConfigMap,
    CustomResourceDefinition,
    Endpoints,
    EndpointSlice,
    Namespace,
    Secret,
    Service,
    Workload,
)
from routes.resources.extension import Extension
from routes.resources.filters import BackendObjectReference, HTTPRouteFilter, LocalObjectReference
from routes.resources.gateway import Gateway, GatewayClass, ListenerSet
from routes.resources.http import HTTPRoute, SelectedHTTPRoute
from routes.resources.meta import CORE_GROUP, Key, Resource
from routes.resources.policy import BackendTLSPolicy, ReferenceGrant
from routes.snapshot import Snapshot

#: What Gateways, their listeners and their conditions are made of.
_FRAME = (GatewayClass, CustomResourceDefinition, Gateway, ListenerSet, Secret, Namespace, ReferenceGrant)
#: What policies and backends are made of.
_POLICIES = (BackendTLSPolicy, ConfigMap, Service)
_BACKENDS = (*_POLICIES, EndpointSlice, Endpoints, Workload, ReferenceGrant, Extension)


@dataclass(frozen=True, slots=True)
class Step:
    """A graph, and what of it is not what it was in the graph before.

    ``routes`` are the keys of those that came, went, or have another node. ``others``: whether anything else has.
    """

    graph: Graph
    routes: Collection[Key]
    others: bool


_UNKNOWN = Sockets()
#: What stands for a kind where routes are found by their parents, and for those that any Gateway may be a parent of.
_PARENT = "parent"
_ANYWHERE = Key("", _PARENT, "", "")


class Rebuilding:
    """Builds one graph after the other. A graph that it gave is never changed afterwards."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._snapshot = Snapshot()
        self._sockets = Sockets()
        # The mutable state, changed by build alone.
        self._frame = Frame.of(self._snapshot, options, self._sockets)
        self._parents = Parents.of(self._frame.gateways, Namespaces.of(self._snapshot))
        self._policies = Policies.of(self._snapshot, options)
        self._references = references_of(self._snapshot, self._policies, options)
        self._graph = self._frame.completed({}, {}, {})
        #: Routes by what they name; most objects are named by one.
        self._users: dict[Key, Key | dict[Key, None]] = {}
        self._counts: Counter[tuple[Key, str]] = Counter()
        #: How many routes use a Service through a Gateway; kept while there are policies to tell it.
        self._uses: Counter[tuple[Key, Key]] = Counter()

    def weight(self, snapshot: Snapshot, changed: Collection[Key]) -> int:
        """About how many routes are built anew where ``changed`` are not as they were, with what copying costs."""
        if snapshot.unread != self._snapshot.unread:
            return len(self._graph.routes) + len(changed)
        copying = len(self._graph.routes) // 1000
        changes = [_Change(self._snapshot.get(key), snapshot.get(key)) for key in changed]
        if any(change.of(GatewayClass, Namespace) for change in changes):
            return len(self._graph.routes) + len(changed)
        parents: set[Key] = set()
        for change in changes:
            parents.update(*(_parents_in(resource) for resource in change if resource is not None))
        if any(change.of(Gateway) for change in changes):
            parents.add(_ANYWHERE)
        moved = sum(sum(1 for _ in self._named(parent)) for parent in parents)
        return moved + len(self._affected(changes, snapshot)) + len(changed) + copying

    def build(self, snapshot: Snapshot, changed: Collection[Key], sockets: Sockets = _UNKNOWN) -> Step:
        """The graph of ``snapshot``, in which of all objects only ``changed`` are not as they were in the last one."""
        changes = [_Change(self._snapshot.get(key), snapshot.get(key)) for key in changed]
        # What cannot be read changes when permissions do: hardly ever, and then it may concern everything.
        all_ = snapshot.unread != self._snapshot.unread
        stale = set(snapshot.of(HTTPRoute)) if all_ else set()
        stale |= self._affected(changes, snapshot)
        moved: set[Key] = set()
        frame, policies = self._frame, self._policies
        if all_ or sockets != self._sockets or any(change.of(*_FRAME) for change in changes):
            frame = Frame.of(snapshot, self._options, sockets)
            for key in frame.gateways.keys() & self._frame.gateways.keys():
                if frame.gateways[key] == self._frame.gateways[key]:
                    frame.gateways[key] = self._frame.gateways[key]
            moved = self._moved(frame, changes, snapshot)
            self._parents = Parents.of(frame.gateways, Namespaces.of(snapshot))
        if all_ or any(change.of(*_POLICIES) for change in changes):
            found = policies.after(snapshot, self._options, None if all_ else changed)
            if found is not policies and (found.nodes or policies.nodes):
                policies = found
                for key in found.nodes.keys() | self._policies.nodes.keys():
                    old, new = self._policies.nodes.get(key), found.nodes.get(key)
                    if old is not new and old != new:
                        for node in (old, new):
                            stale.update(*(self._named(service) for service in (services_of(node) if node else ())))
        if all_ or policies is not self._policies or any(change.of(*_BACKENDS) for change in changes):
            self._references = references_of(snapshot, policies, self._options, self._references, changed)
        self._snapshot, self._sockets = snapshot, sockets
        return self._step(frame, policies, stale, moved)

    def _step(self, frame: Frame, policies: Policies, stale: Collection[Key], moved: Collection[Key]) -> Step:
        """Build the routes of ``stale`` anew, attach those of ``moved``, and put all together."""
        before, routes = self._graph.routes, self._graph.routes
        anew = self._rebuilt(stale, moved)
        if anew:
            routes = dict(before)
            for key, node in anew.items():
                if node is None:
                    routes.pop(key, None)
                else:
                    routes[key] = node
        if bool(policies.nodes) != bool(self._policies.nodes):
            self._uses = Counter(use for node in before.values() for use in uses(node)) if policies.nodes else Counter()
        counted: set[tuple[Key, str]] = set()
        used: set[tuple[Key, Key]] = set()
        for key, node in anew.items():
            old = before.get(key)
            self._index(key, old, node)
            counted |= _recount(self._counts, counted_on(old) if old else (), counted_on(node) if node else ())
            if policies.nodes:
                used |= _recount(self._uses, uses(old) if old else (), uses(node) if node else ())
        gateways = self._counted(frame, counted)
        finished = self._graph.policies
        if policies is not self._policies or used:
            finished = with_ancestors(policies.nodes, self._uses)
        others = frame is not self._frame or policies is not self._policies
        self._frame, self._policies = frame, policies
        self._graph = Graph(frame.classes, gateways, routes, frame.foreign, frame.foreign_sets, finished)
        return Step(self._graph, anew.keys(), others)

    def _rebuilt(self, stale: Collection[Key], moved: Collection[Key]) -> dict[Key, RouteNode | None]:
        """Those nodes that have become others; None where the route is gone. Rules of ``moved`` are as they were."""
        anew: dict[Key, RouteNode | None] = {}
        sources = self._snapshot.of(HTTPRoute)
        # In the order of tuples, but in half the time, during which nothing else gets at the interpreter.
        for key in sorted({*stale, *moved}, key="\0".join):
            source, old = sources.get(key), self._graph.routes.get(key)
            node: RouteNode | None = None
            if source is not None and old is not None and key not in stale:
                node = on_parents(source, attach(source, self._parents), old.rules)
            elif source is not None:
                node = build_route(source, attach(source, self._parents), self._references)
            if node != old:
                anew[key] = node
        return anew

    def _counted(self, frame: Frame, counted: Collection[tuple[Key, str]]) -> dict[Key, GatewayNode]:
        """The Gateways with the numbers of their routes; those of which nothing changed as they were."""
        owners = {owner for owner, _ in counted}
        gateways: dict[Key, GatewayNode] = {}
        for key, node in frame.gateways.items():
            kept = self._graph.gateways.get(key)
            mine = {key, *(each.source.key for each in node.listener_sets)}
            if kept is None or node is not self._frame.gateways.get(key) or mine & owners:
                kept = with_attached_routes(node, self._counts)
            gateways[key] = kept
        return gateways

    def _affected(self, changes: "Iterable[_Change]", snapshot: Snapshot) -> set[Key]:
        """The routes among ``changes``, and those that name what is."""
        stale: set[Key] = set()
        workloads: set[str] = set()
        grants: set[str] = set()
        for each in (resource for change in changes for resource in change if resource is not None):
            namespace, name = each.metadata.namespace or "", each.metadata.name
            match each:
                case HTTPRoute():
                    stale.add(each.key)
                case Service() | Endpoints():
                    stale.update(self._named(Key(CORE_GROUP, "Service", namespace, name)))
                case EndpointSlice():
                    service = each.metadata.labels.get(SERVICE_NAME, "")
                    stale.update(self._named(Key(CORE_GROUP, "Service", namespace, service)))
                case Extension():
                    stale.update(self._named(each.key))
                case Workload():
                    workloads.add(namespace)
                case ReferenceGrant():
                    grants.add(namespace)
        for key in self._users if workloads or grants else ():
            if key.kind == _PARENT:
                continue
            if key.namespace in grants:
                stale.update(user for user in self._named(key) if user.namespace != key.namespace)
            if key.namespace in workloads and _names_ports(snapshot.of(Service).get(key)):
                stale.update(self._named(key))
        return stale

    def _moved(self, frame: Frame, changes: "Iterable[_Change]", snapshot: Snapshot) -> set[Key]:
        """The routes that may be on other listeners than before, or not for the same reasons."""
        moved: set[Key] = set()
        for key in frame.gateways.keys() | self._frame.gateways.keys():
            old, new = self._frame.gateways.get(key), frame.gateways.get(key)
            if old is new:
                continue
            before, after = (_attachable(gateway) if gateway is not None else {} for gateway in (old, new))
            for parent in before.keys() | after.keys():
                if before.get(parent) != after.get(parent):
                    moved.update(self._named(parent))
                    if parent == _parent(key):
                        moved.update(self._named(_ANYWHERE))
        relabelled = {
            resource.metadata.name for change in changes for resource in change if isinstance(resource, Namespace)
        }
        if relabelled:
            moved.update(key for key in snapshot.of(HTTPRoute) if key.namespace in relabelled)
        return moved

    def _named(self, key: Key) -> Iterable[Key]:
        """The routes that name an object."""
        found = self._users.get(key, ())
        return (found,) if isinstance(found, Key) else found

    def _index(self, user: Key, old: RouteNode | None, new: RouteNode | None) -> None:
        """Keep what ``user`` names."""
        if old is not None and new is not None and old.source is new.source:
            return
        for key in set(_named_by(old.source)) if old is not None else ():
            users = self._users.get(key)
            if isinstance(users, dict):
                users.pop(user, None)
            if not isinstance(users, dict) or not users:
                self._users.pop(key, None)
        for key in _named_by(new.source) if new is not None else ():
            users = self._users.setdefault(key, user)
            if isinstance(users, dict):
                users[user] = None
            elif users != user:
                self._users[key] = {users: None, user: None}


class _Change(NamedTuple):
    """An object before and after; None is that it was not, or is not, there."""

    old: Resource | None
    new: Resource | None

    def of(self, *models: type[Resource]) -> bool:
        """Whether it is one of these models."""
        return isinstance(self.old, models) or isinstance(self.new, models)


T = TypeVar("T")


def _recount(counts: "Counter[T]", old: Iterable[T], new: Iterable[T]) -> set[T]:
    """Take ``old`` from ``counts`` and add ``new``; those that have another number now."""
    gone, come = set(old), set(new)
    for each in gone - come:
        counts[each] -= 1
        if not counts[each]:
            del counts[each]
    for each in come - gone:
        counts[each] += 1
    return gone ^ come


def _parent(key: Key) -> Key:
    """What routes that name a Gateway or ListenerSet are found by: of one name there may be several."""
    return Key("", _PARENT, key.namespace, key.name)


def _parents_in(resource: Resource) -> Iterator[Key]:
    """The parents that are not what they were where ``resource`` is not."""
    if isinstance(resource, Gateway | ListenerSet):
        yield _parent(resource.key)
    if isinstance(resource, ListenerSet):
        yield _parent(parent_of(resource))


def _attachable(gateway: GatewayNode) -> dict[Key, object]:
    """All of a Gateway and its ListenerSets that a route's attachments follow from: not what became of its sockets and
    certificates, nor its addresses."""

    def listeners(of: Iterable[ListenerNode]) -> object:
        return tuple((listener.source, listener.supported_kinds) for listener in of)

    found: dict[Key, object] = {
        _parent(each.source.key): (
            each.source.key,
            listeners(each.listeners),
            "" if each.listeners else each.conditions[0].message,
        )
        for each in gateway.listener_sets
    }
    mine = _parent(gateway.source.key)
    own = gateway.source.key, gateway.source.spec.default_scope, gateway.default, listeners(gateway.listeners)
    # A set may bear the name of its Gateway.
    return {**found, mine: (own, found.get(mine))}


def _names_ports(service: Service | None) -> bool:
    """Whether it takes a look at workloads to know a Service's ports."""
    return service is not None and any(isinstance(port.target_port, str) for port in service.spec.ports)


def _named_by(route: HTTPRoute) -> Iterator[Key]:
    """The objects that a route names: its parents, and those that its rules name."""
    home = route.metadata.namespace or ""
    if isinstance(route, SelectedHTTPRoute) or not route.spec.parent_refs or route.spec.use_default_gateways == "All":
        yield _ANYWHERE
    for parent in route.spec.parent_refs:
        yield Key("", _PARENT, parent.namespace or home, parent.name)
    for rule in route.spec.rules:
        filters = (*rule.filters, *(filter_ for backend in rule.backend_refs for filter_ in backend.filters))
        for ref in (*rule.backend_refs, *_references(filters)):
            namespace = ref.namespace if isinstance(ref, BackendObjectReference) else None
            yield Key(ref.group, ref.kind, namespace or home, ref.name)


def _references(filters: Iterable[HTTPRouteFilter]) -> "Iterator[BackendObjectReference | LocalObjectReference]":
    for filter_ in filters:
        if filter_.request_mirror is not None:
            yield filter_.request_mirror.backend_ref
        if filter_.external_auth is not None:
            yield filter_.external_auth.backend_ref
        if filter_.extension_ref is not None:
            yield filter_.extension_ref
