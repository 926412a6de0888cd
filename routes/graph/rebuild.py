"""From one graph to the next, in proportion to what changed in between.

``build_graph`` says what a graph is; this gives the same one, made of the nodes of the last one where these cannot have
become other ones. A route's node is made of the route itself, of the Gateways and ListenerSets that its parentRefs
name, of its namespace's labels, and of the Services, policies and extensions that its rules name.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from routes.graph.attachment import Parents, attach
from routes.graph.backends import SERVICE_NAME, Services
from routes.graph.build import build_frame, build_route, counted_on
from routes.graph.gateways import with_attached_routes
from routes.graph.nodes import GatewayNode, Graph, ListenerNode, Options, RouteNode, Sockets
from routes.resources.core import Endpoints, EndpointSlice, Namespace, Service, Workload
from routes.resources.filters import BackendObjectReference, LocalObjectReference
from routes.resources.http import HTTPRoute, SelectedHTTPRoute
from routes.resources.meta import CORE_GROUP, Key, Model, Resource
from routes.resources.policy import ReferenceGrant
from routes.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Step:
    """A graph, the keys of the routes whose nodes are not those of the graph before, and whether anything else is."""

    graph: Graph
    routes: Collection[Key]
    frame: bool


class Rebuilding:
    """Builds one graph after the other. What it gives is never changed afterwards."""

    def __init__(self, options: Options) -> None:
        self._options = options
        # The mutable state, changed by build alone.
        self._snapshot = Snapshot()
        self._graph: Graph | None = None
        self._sockets = Sockets()
        self._parents = Parents.of({}, Namespaces.of(self._snapshot))
        self._services: Services | None = None
        #: Which routes name an object, by its key; most objects are named by one.
        self._users: dict[Key, Key | dict[Key, None]] = {}
        self._counts: Counter[tuple[Key, str]] = Counter()
