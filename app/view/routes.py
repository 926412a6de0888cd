"""Routes: a line for each of thousands, or all that is known of one."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from app.admin.source import Source
from app.backend import BackendProxy
from app.inspect.printing import flat
from app.observability.numbers import Totals
from app.proxy import RuleProxy
from app.upstream.health import Endpoint
from app.view.model import (
    BackendView,
    EndpointView,
    Health,
    MatchView,
    ParentView,
    RouteSummary,
    RouteView,
    RuleView,
)
from app.view.words import conditions, id_of, key_of, trouble
from routes.graph.nodes import ParentNode, RouteNode
from routes.resources.http import HTTPRouteMatch
from routes.table.explain import shown
from routes.table.features import describe_features, describe_filters
from routes.table.types import Backend

_NOTHING = Totals()


def summaries(source: Source) -> Sequence[RouteSummary]:
    """All routes by namespace and name. While the graph is the same, so is the sequence."""
    state, memory = source.state(), source.memory
    if state is None or state.graph is memory.summarised:
        return memory.summaries
    before = memory.by_route
    memory.by_route = {
        key: known if (known := before.get(key)) is not None and known[0] is node else (node, _summary(node))
        for key, node in state.graph.routes.items()
    }
    found = sorted((summary for _, summary in memory.by_route.values()), key=lambda each: (each.name, each.id))
    memory.summarised, memory.summaries = state.graph, tuple(found)
    return memory.summaries


def route(source: Source, id: str) -> RouteView | None:
    """The one of that id, with its rules, their backends and what these do now."""
    state, key = source.state(), key_of(id, "HTTPRoute")
    node = state.graph.routes.get(key) if state is not None and key is not None else None
    if state is None or key is None or node is None:
        return None
    problems = tuple(str(problem) for problem in state.problems if problem.key == key)
    return RouteView(
        _summary(node),
        tuple(_parent(parent) for parent in node.parents),
        tuple(_rules(source, node, source.proxies(key))),
        problems,
    )


# A line


def _summary(node: RouteNode) -> RouteSummary:
    key = node.source.key
    hostnames = tuple(node.source.spec.hostnames)
    backends = [backend.name for rule in node.rules for backend in rule.backends]
    return RouteSummary(
        id=id_of(key),
        name=key.qualified_name,
        namespace=key.namespace,
        kind=key.kind,
        api_version=node.source.api_version,
        hostnames=hostnames,
        gateways=tuple(dict.fromkeys(parent.gateway.qualified_name for parent in node.parents)),
        rules=len(node.rules),
        health=_health(node),
        problem=_problem(node),
        text="\n".join((key.qualified_name, *hostnames, *backends)).lower(),
    )


def _health(node: RouteNode) -> Health:
    on = [parent for parent in node.parents if parent.accepted and parent.attachments]
    if not on or (node.rules and all(_fault(rule) for rule in node.rules)):
        return Health.DISABLED
    return Health.WARNING if _problem(node) else Health.ENABLED


def _fault(rule: Any) -> str:
    """Why all requests to a rule are answered 500."""
    if rule.unsupported:
        return str(rule.unsupported)
    weighted = [backend for backend in rule.backends if backend.weight]
    if weighted and all(backend.reason for backend in weighted):
        return str(weighted[0].message)
    return ""


def _problem(node: RouteNode) -> str:
    if not node.parents:
        return "it names no Gateway of ours"
    for parent in node.parents:
        if found := trouble(parent.conditions):
            return found
    faults = (_fault(rule) for rule in node.rules)
    refs = (backend.message for rule in node.rules for backend in rule.backends if backend.reason)
    return next((each for each in (*faults, *refs) if each), "")


# All of one


def _parent(parent: ParentNode) -> ParentView:
    return ParentView(
        gateway=parent.gateway.qualified_name,
        gateway_id=id_of(parent.gateway),
        section=parent.ref.section_name or "",
        listeners=tuple(each.listener for each in parent.attachments),
        conditions=conditions(parent.conditions),
    )


def _rules(source: Source, node: RouteNode, proxies: Sequence[RuleProxy]) -> Iterator[RuleView]:
    """What is served of the rules; where the route is on no listener, what they say."""
    numbers = source.numbers
    for rule in node.rules:
        proxy = proxies[rule.index] if rule.index < len(proxies) else None
        name = f"{node.source.key.qualified_name}/{rule.index}"
        features = describe_features(proxy.rule) if proxy is not None else {}
        used = numbers.rule_backends(name) if numbers is not None else {}
        yield RuleView(
            name=name,
            index=rule.index,
            invalid=rule.unsupported,
            matches=tuple(map(_match, rule.source.matches)),
            filters=tuple(_words(features.get("filters", ()))),
            timeouts=flat(features.get("timeouts", "")),
            retry=flat(features.get("retry", "")),
            session=flat(features.get("session", "")),
            backends=tuple(_backends(proxy, used)) if proxy is not None else (),
            totals=numbers.rule(name) if numbers is not None else _NOTHING,
        )


def _match(match: HTTPRouteMatch) -> MatchView:
    asked = [f"method {match.method}"] if match.method is not None else []
    for header in match.headers:
        mark = "~ " if header.type == "RegularExpression" else ""
        asked.append(f"header {header.name}: {shown(header.name, mark + header.value)}")
    for parameter in match.query_params:
        mark = "~ " if parameter.type == "RegularExpression" else ""
        asked.append(f"query {parameter.name}={shown(parameter.name, mark + parameter.value)}")
    return MatchView(f"{match.path.type} {match.path.value}", tuple(asked))


def _backends(proxy: RuleProxy, used: Any) -> Iterator[BackendView]:
    whole = sum(backend.weight for backend in proxy.backends)
    for backend in proxy.backends:
        share = backend.weight / whole if whole else 0.0
        yield _backend(backend, share, used.get(backend.backend.name, _NOTHING))


def _backend(proxy: BackendProxy, share: float, totals: Totals) -> BackendView:
    backend = proxy.backend
    return BackendView(
        name=backend.name,
        weight=backend.weight,
        share=share,
        invalid=backend.invalid,
        protocol=str(backend.protocol),
        tls=backend.tls is not None,
        source=_source(backend),
        filters=tuple(_words(describe_filters(backend.filters))),
        endpoints=tuple(_endpoint(each) for each in proxy.known_endpoints) or tuple(_unasked(backend)),
        totals=totals,
    )


def _source(backend: Backend) -> str:
    if backend.dns is not None:
        return f"DNS name {backend.dns}"
    if backend.service is not None:
        return f"EndpointSlices of {backend.service}"
    return "EndpointSlices in the manifests" if backend.addresses else ""


def _endpoint(endpoint: Endpoint) -> EndpointView:
    return EndpointView(
        address=endpoint.name,
        state=_state(endpoint, endpoint.clock()),
        in_flight=endpoint.in_flight,
        requests=endpoint.requests,
        failures=endpoint.failures,
        ejections=endpoint.ejections,
        duration_ns=endpoint.duration_ns,
    )


def _unasked(backend: Backend) -> Iterable[EndpointView]:
    """Endpoints to which nothing has been sent yet."""
    return (EndpointView(str(each), "healthy", 0, 0, 0, 0, 0) for each in backend.addresses)


def _state(endpoint: Endpoint, now: float) -> str:
    if not endpoint.reachable:
        return "unreachable"
    if endpoint.ejected_until > now:
        return "ejected"
    if endpoint.ejected_until:
        return "on trial"
    return "healthy" if endpoint.settled or endpoint.share(now) >= 1 else "warming up"


def _words(described: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Filters in words: ``RequestHeaderModifier set: x-a``."""
    for each in described:
        for name, config in each.items():
            yield f"{name} {flat(config)}".strip()
