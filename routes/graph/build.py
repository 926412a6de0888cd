"""From snapshot to graph, step by step."""

from collections import Counter

from routes.graph.attachment import Parents, attach
from routes.graph.backends import Services
from routes.graph.filters import References
from routes.graph.gateways import build_gateways, our_classes, with_attached_routes
from routes.graph.grants import Grants
from routes.graph.nodes import GatewayNode, Graph, Options, RouteNode
from routes.graph.policies import Policies, with_ancestors
from routes.graph.routes import build_route
from routes.resources.extension import Extension
from routes.resources.http import HTTPRoute
from routes.resources.meta import Key
from routes.resources.policy import ReferenceGrant
from routes.snapshot import Snapshot


def build_graph(snapshot: Snapshot, options: Options) -> Graph:
    """Everything that the objects of ``snapshot`` mean together. A bad part costs only itself."""
    grants = Grants(snapshot.of(ReferenceGrant).values())
    classes = our_classes(snapshot, options)
    gateways, foreign = build_gateways(snapshot, classes, grants, options)
    parents = Parents.of(gateways, snapshot)
    policies = Policies.of(snapshot, options)
    services = Services.of(snapshot, grants, policies, options.service_dns)
    references = References(services, snapshot.of(Extension), options.extensions)
    routes = {
        route.key: build_route(route, attach(route, parents), references)
        for route in sorted(snapshot.of(HTTPRoute).values(), key=lambda route: route.key)
    }
    finished = with_ancestors(policies.nodes, routes.values())
    return Graph(tuple(classes.values()), _with_counts(gateways, routes), routes, foreign, finished)


def _with_counts(gateways: dict[Key, GatewayNode], routes: dict[Key, RouteNode]) -> dict[Key, GatewayNode]:
    counts: dict[Key, Counter[str]] = {key: Counter() for key in gateways}
    for route in routes.values():
        # By route, not by parentRef: two refs that reach the same listener are one route on it.
        reached = {
            (parent.gateway, attachment.listener)
            for parent in route.parents
            if parent.accepted
            for attachment in parent.attachments
        }
        for gateway, listener in reached:
            counts[gateway][listener] += 1
    return {key: with_attached_routes(gateway, counts[key]) for key, gateway in gateways.items()}
