"""From snapshot to graph, step by step."""

from collections import Counter
from dataclasses import replace

from routes.graph import conditions
from routes.graph.attachment import Parents, attach
from routes.graph.backends import Services
from routes.graph.classes import our_classes
from routes.graph.gateways import build_gateways, with_attached_routes
from routes.graph.grants import Grants
from routes.graph.listeners import Surroundings
from routes.graph.listenersets import parent_of
from routes.graph.namespaces import Namespaces
from routes.graph.nodes import Condition, GatewayNode, Graph, Options, ParentNode, RouteNode, RuleNode, Sockets
from routes.graph.support import unsupported
from routes.resources.core import Secret
from routes.resources.gateway import Gateway, ListenerSet
from routes.resources.http import HTTPRoute
from routes.resources.meta import Key
from routes.resources.policy import ReferenceGrant
from routes.snapshot import Snapshot

_UNKNOWN = Sockets()


def build_graph(snapshot: Snapshot, options: Options, sockets: Sockets = _UNKNOWN) -> Graph:
    """Everything that the objects of ``snapshot`` mean together. A bad part costs only itself.

    ``sockets`` is what came of the table before. It is told in conditions and changes nothing of what is to be served:
    a port that could not be opened stays in the table, and so it is tried again.
    """
    grants = Grants(snapshot.of(ReferenceGrant).values())
    classes = our_classes(snapshot, options)
    namespaces = Namespaces.of(snapshot)
    surroundings = Surroundings(snapshot.of(Secret), grants, options, sockets)
    gateways = build_gateways(snapshot, classes, namespaces, surroundings)
    parents = Parents.of(gateways, namespaces)
    services = Services.of(snapshot, grants, options.service_dns)
    routes = {
        route.key: _route(route, attach(route, parents), services)
        for route in sorted(snapshot.of(HTTPRoute).values(), key=lambda route: route.key)
    }
    written = sorted(snapshot.of(Gateway).values(), key=lambda gateway: gateway.key)
    sets = sorted(snapshot.of(ListenerSet).values(), key=lambda source: source.key)
    return Graph(
        tuple(classes.values()),
        _with_counts(gateways, routes),
        routes,
        tuple(gateway for gateway in written if gateway.key not in gateways),
        tuple(source for source in sets if parent_of(source) not in gateways),
    )


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
    counts: Counter[tuple[Key, str]] = Counter()
    for route in routes.values():
        # By route, not by parentRef: two refs that reach the same listener are one route on it.
        counts.update(
            {
                (parent.owner, attachment.listener)
                for parent in route.parents
                if parent.accepted
                for attachment in parent.attachments
            }
        )
    return {key: with_attached_routes(gateway, counts) for key, gateway in gateways.items()}
