"""From snapshot to graph, step by step."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from routes.graph.attachment import Parents, attach
from routes.graph.backends import Services
from routes.graph.classes import our_classes
from routes.graph.filters import References
from routes.graph.gateways import build_gateways, with_attached_routes
from routes.graph.grants import Grants
from routes.graph.listeners import Surroundings
from routes.graph.listenersets import parent_of
from routes.graph.namespaces import Namespaces
from routes.graph.nodes import GatewayClassNode, GatewayNode, Graph, Options, PolicyNode, RouteNode, Sockets
from routes.graph.policies import Policies, uses, with_ancestors
from routes.graph.routes import build_route
from routes.resources.gateway import Gateway, ListenerSet
from routes.resources.http import HTTPRoute
from routes.resources.meta import Key
from routes.snapshot import Snapshot

_UNKNOWN = Sockets()


def build_graph(snapshot: Snapshot, options: Options, sockets: Sockets = _UNKNOWN) -> Graph:
    """Everything that the objects of ``snapshot`` mean together. A bad part costs only itself.

    ``sockets`` is what came of the table before. It is told in conditions and changes nothing of what is to be served,
    but that a certificate that is served goes on where its Secret turns bad: a port that could not be opened stays in
    the table, and so it is tried again.
    """
    frame = Frame.of(snapshot, options, sockets)
    parents = Parents.of(frame.gateways, Namespaces.of(snapshot))
    policies = Policies.of(snapshot, options)
    references = references_of(snapshot, policies, options)
    written = sorted(snapshot.of(HTTPRoute).items())
    routes = {key: build_route(route, attach(route, parents), references) for key, route in written}
    counts = Counter(place for route in routes.values() for place in counted_on(route))
    used = (use for route in routes.values() for use in uses(route)) if policies.nodes else ()
    return frame.completed(routes, counts, with_ancestors(policies.nodes, used))


@dataclass(frozen=True, slots=True)
class Frame:
    """A graph without its routes, and what is counted of them."""

    classes: tuple[GatewayClassNode, ...]
    gateways: dict[Key, GatewayNode]
    foreign: tuple[Gateway, ...]
    foreign_sets: tuple[ListenerSet, ...]

    @classmethod
    def of(cls, snapshot: Snapshot, options: Options, sockets: Sockets) -> "Frame":
        """GatewayClasses, Gateways and their listeners."""
        grants = Grants.of(snapshot)
        classes = our_classes(snapshot, options)
        surroundings = Surroundings(snapshot, grants, options, sockets)
        gateways = build_gateways(snapshot, classes, Namespaces.of(snapshot), surroundings)
        written = sorted(snapshot.of(Gateway).items())
        sets = sorted(snapshot.of(ListenerSet).items())
        return cls(
            tuple(classes.values()),
            gateways,
            tuple(gateway for key, gateway in written if key not in gateways),
            tuple(source for _, source in sets if parent_of(source) not in gateways),
        )

    def completed(
        self,
        routes: Mapping[Key, RouteNode],
        counts: Mapping[tuple[Key, str], int],
        policies: Mapping[Key, PolicyNode],
    ) -> Graph:
        """The graph with ``routes``, of which there are so many on each listener (by its owner and name)."""
        gateways = {key: with_attached_routes(gateway, counts) for key, gateway in self.gateways.items()}
        return Graph(self.classes, gateways, routes, self.foreign, self.foreign_sets, policies)


def references_of(
    snapshot: Snapshot,
    policies: Policies,
    options: Options,
    before: References | None = None,
    changed: Iterable[Key] = (),
) -> References:
    """What the rules of routes may name; of what ``before`` has indexed only ``changed`` are not as they were."""
    grants = Grants.of(snapshot)
    known = before.services if before is not None else None
    services = Services.of(snapshot, grants, policies, options, known, changed)
    return References(services, snapshot, options.extensions)


def counted_on(route: RouteNode) -> Iterable[tuple[Key, str]]:
    """The listeners that count a route: by route, not by parentRef, so that two of these to one listener are one."""
    return {
        (parent.owner, attachment.listener)
        for parent in route.parents
        if parent.accepted
        for attachment in parent.attachments
    }
