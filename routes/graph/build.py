"""From snapshot to graph, step by step."""

from collections import Counter
from dataclasses import replace

from routes.graph import conditions
from routes.graph.attachment import Parents, attach
from routes.graph.backends import Services
from routes.graph.gateways import build_gateways, our_classes, with_attached_routes
from routes.graph.grants import Grants
from routes.graph.nodes import Condition, GatewayNode, Graph, Options, ParentNode, RouteNode, RuleNode
from routes.graph.support import unsupported
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
    services = Services.of(snapshot, grants, options.service_dns)
    routes = {
        route.key: _route(route, attach(route, parents), services)
        for route in sorted(snapshot.of(HTTPRoute).values(), key=lambda route: route.key)
    }
    return Graph(tuple(classes.values()), _with_counts(gateways, routes), routes, foreign)


def _route(route: HTTPRoute, parents: tuple[ParentNode, ...], services: Services) -> RouteNode:
    rules = tuple(
        RuleNode(rule, index, tuple(services.resolve(route, ref) for ref in rule.backend_refs), unsupported(rule))
        for index, rule in enumerate(route.spec.rules)
    )
    refused, about_rules = _about_rules(route.metadata.generation, rules)
    # A refused route stays attached: its requests are answered 500 rather than by another route's less specific match.
    finished = (
        replace(parent, conditions=((refused,) if refused and parent.attachments else parent.conditions) + about_rules)
        for parent in parents
    )
    return RouteNode(route, tuple(finished), rules)


def _about_rules(generation: int, rules: tuple[RuleNode, ...]) -> tuple[Condition | None, tuple[Condition, ...]]:
    """The conditions that are the same for every parent of a route: Accepted, if no rule can be served, and others."""
    refused: Condition | None = None
    found: list[Condition] = []
    bad = [f"rules[{rule.index}]: {rule.unsupported}" for rule in rules if rule.unsupported]
    if bad and len(bad) == len(rules):
        refused = conditions.route_unsupported_value(generation, "; ".join(bad))
    broken = next((backend for rule in rules for backend in rule.backends if backend.reason), None)
    if broken is None:
        found.append(conditions.route_refs_resolved(generation))
    else:
        found.append(conditions.route_refs_not_resolved(generation, broken.reason, broken.message))
    if bad and len(bad) < len(rules):
        found.append(conditions.route_partially_invalid(generation, "; ".join(bad)))
    return refused, tuple(found)


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
