"""What has been made of a graph, kept until there is another: pages at 5,000 routes are made of it."""

from collections.abc import Sequence

from app.view.model import RouteSummary
from routes.graph.nodes import Graph, ParentNode, RouteNode
from routes.resources.meta import Key

#: A listener: the object that it stands in, and its name.
Place = tuple[Key, str]
#: A route that names a listener's owner, and what came of it.
Named = tuple[RouteNode, ParentNode]


class Memory:
    """One for a run. A route's summary stays the same object for as long as the route's node does."""

    def __init__(self) -> None:
        self.summarised: Graph | None = None
        self.summaries: Sequence[RouteSummary] = ()
        self.by_route: dict[Key, tuple[RouteNode, RouteSummary]] = {}
        self._sorted_by: Graph | None = None
        self._attached: dict[Place, list[tuple[RouteNode, tuple[str, ...]]]] = {}
        self._refused: dict[Key, list[Named]] = {}

    def attached(self, graph: Graph, place: Place) -> Sequence[tuple[RouteNode, tuple[str, ...]]]:
        """The routes on a listener, each with the hostnames that it has there."""
        self._sort(graph)
        return self._attached.get(place, ())

    def refused(self, graph: Graph, gateway: Key) -> Sequence[Named]:
        """The routes that name a Gateway, or a ListenerSet of it, and by that name are on no listener."""
        self._sort(graph)
        return self._refused.get(gateway, ())

    def _sort(self, graph: Graph) -> None:
        if graph is self._sorted_by:
            return
        attached: dict[Place, list[tuple[RouteNode, tuple[str, ...]]]] = {}
        refused: dict[Key, list[Named]] = {}
        for route in graph.routes.values():
            for parent in route.parents:
                for each in parent.attachments:
                    attached.setdefault((parent.owner, each.listener), []).append((route, each.hostnames))
                if not parent.attachments or not parent.accepted:
                    refused.setdefault(parent.gateway, []).append((route, parent))
        self._sorted_by, self._attached, self._refused = graph, attached, refused
