"""What a person should know of a graph: every part that is not served, and what is probably not meant."""

from collections.abc import Hashable, Iterable, Iterator

from routes.graph.nodes import BackendNode, FilterNode, GatewayNode, Graph, PolicyNode, RouteNode
from routes.graph.seniority import seniority
from routes.graph.support import can_look_up
from routes.problems import Problem, Severity
from routes.resources.http import HTTPRouteMatch, SelectedHTTPRoute
from routes.resources.meta import GATEWAY_GROUP, Key

#: Reasons for which a parent refuses a route that are told rule by rule.
_ABOUT_RULES = ("UnsupportedValue", "IncompatibleFilters")


def review(graph: Graph) -> tuple[Problem, ...]:
    """All problems, in the order of Gateways and routes. Files and lines are added by whoever knows them."""
    return tuple(_all(graph))


def _all(graph: Graph) -> Iterator[Problem]:
    for gateway in graph.foreign:
        name = gateway.spec.gateway_class_name
        message = f"not served: GatewayClass {name!r} is not there, or another controller's"
        yield Problem(message, Severity.WARNING, gateway.key, "spec.gatewayClassName")
    for class_ in graph.classes:
        if class_.source.spec.parameters_ref is not None:
            message = "has no effect: there are no parameters to set"
            yield Problem(message, Severity.WARNING, class_.source.key, "spec.parametersRef")
    for node in graph.gateways.values():
        yield from _in_vain(node)
        yield from _listeners(node)
    known = {(key.namespace, key.name) for key in graph.gateways}
    others = {(gateway.key.namespace, gateway.key.name) for gateway in graph.foreign}
    for route in graph.routes.values():
        yield from _parents(route, known, others)
        if route.parents:
            yield from _rules(route)
    for policy in graph.policies.values():
        yield from _policy(policy)
    yield from _shadowed(graph)


def _in_vain(gateway: GatewayNode) -> Iterator[Problem]:
    """What the Gateway asks for and does not get."""
    spec = gateway.source.spec
    asked = (
        (spec.addresses, "addresses", "listeners are opened where MOONGATE_HOST says"),
        (spec.allowed_listeners.namespaces.from_ != "None", "allowedListeners", "ListenerSets are not served"),
        (spec.tls and spec.tls.backend, "tls.backend", "backends are spoken to without TLS"),
    )
    for value, field, message in asked:
        if value:
            yield Problem(f"has no effect: {message}", Severity.WARNING, gateway.source.key, f"spec.{field}")


def _listeners(gateway: GatewayNode) -> Iterator[Problem]:
    for index, listener in enumerate(gateway.listeners):
        for condition in listener.conditions:
            # Programmed only repeats that another condition is bad; Conflicted is the one whose True is bad.
            bad = condition.status if condition.type == "Conflicted" else not condition.status
            repeated = condition.type == "Programmed" or condition.reason.endswith("Conflict") != (
                condition.type == "Conflicted"
            )
            if bad and not repeated:
                yield Problem(
                    f"{condition.reason}: {condition.message}",
                    Severity.ERROR,
                    gateway.source.key,
                    f"spec.listeners[{index}]",
                )


def _parents(route: RouteNode, known: set[tuple[str, str]], others: set[tuple[str, str]]) -> Iterator[Problem]:
    source = route.source
    attached = any(parent.attachments for parent in route.parents)
    for parent in route.parents:
        if parent.index < 0 and attached:
            continue  # Nobody named this Gateway, and another one has the route.
        for condition in parent.conditions:
            if condition.type == "Accepted" and not condition.status and condition.reason not in _ABOUT_RULES:
                field = f"spec.parentRefs[{parent.index}]" if parent.index >= 0 else "spec.hostnames"
                yield Problem(f"{condition.reason}: {condition.message}", Severity.ERROR, source.key, field)
    if not route.parents and isinstance(source, SelectedHTTPRoute):
        message = (
            "attaches to no Gateway: no listener selects its labels and namespace, or its gateways.allow forbids it"
        )
        yield Problem(message, Severity.WARNING, source.key, "spec.gateways")
    elif not route.parents and not source.spec.parent_refs:
        yield Problem("attaches to no Gateway: it names none", Severity.WARNING, source.key, "spec.parentRefs")
    for index, ref in enumerate(source.spec.parent_refs):
        name = (ref.namespace or source.metadata.namespace or "", ref.name)
        if (ref.group, ref.kind) == (GATEWAY_GROUP, "Gateway") and name not in known and name not in others:
            message = f"Gateway {name[0]}/{name[1]} does not exist"
            yield Problem(message, Severity.WARNING, source.key, f"spec.parentRefs[{index}]")


def _rules(route: RouteNode) -> Iterator[Problem]:
    key = route.source.key
    # Where a person finds them: v1alpha1 has another name for the list.
    refs = "forwardTo" if isinstance(route.source, SelectedHTTPRoute) else "backendRefs"
    if route.source.spec.use_default_gateways == "All":
        message = "has no effect: no Gateway is a default one"
        yield Problem(message, Severity.WARNING, key, "spec.useDefaultGateways")
    for rule in route.rules:
        field = f"spec.rules[{rule.index}]"
        # A redirect answers by itself, and what somebody's own filter does nobody here knows.
        answers = any(filter_.source.type in ("RequestRedirect", "ExtensionRef") for filter_ in rule.filters)
        if rule.unsupported:
            known = any(can_look_up(match) for match in rule.source.matches)
            result = "its requests are answered 500" if known else "it takes no requests"
            yield Problem(f"{rule.reason}: {rule.unsupported}; {result}", key=key, field=field)
        elif not rule.backends and not answers:
            yield Problem(f"no {refs}: its requests are answered 500", Severity.WARNING, key, field)
        elif rule.backends and all(backend.weight == 0 for backend in rule.backends):
            yield Problem("all weights are 0: its requests are answered 500", Severity.WARNING, key, field)
        yield from _filters(rule.filters, key, f"{field}.filters", "requests are answered 500")
        for index, backend in enumerate(rule.backends):
            place = f"{field}.{refs}[{index}]"
            yield from _backend(backend, key, place, "its share of the requests is answered 500")
            yield from _filters(backend.filters, key, f"{place}.filters", "its requests are answered 500")


def _filters(filters: Iterable[FilterNode], key: Key, place: str, result: str) -> Iterator[Problem]:
    for index, filter_ in enumerate(filters):
        type_ = filter_.source.type
        field = f"{place}[{index}].{type_[0].lower()}{type_[1:]}"
        if filter_.reason:
            yield Problem(f"{filter_.reason}: {filter_.unsupported}; {result}", key=key, field=field)
        if filter_.backend is not None:
            mirrored = filter_.source.request_mirror is not None
            lost = "no requests are mirrored to it" if mirrored else result
            yield from _backend(filter_.backend, key, f"{field}.backendRef", lost)


def _backend(backend: BackendNode, key: Key, place: str, result: str) -> Iterator[Problem]:
    if backend.reason:
        yield Problem(f"{backend.reason}: {backend.message}; {result}", key=key, field=place)
    if backend.hint:
        yield Problem(backend.hint, Severity.WARNING, key, place)


def _policy(policy: PolicyNode) -> Iterator[Problem]:
    """A policy that is not in effect is an error even where nobody uses its Service yet: it was meant to protect."""
    key = policy.source.key
    for condition in policy.conditions:
        if not condition.status and condition.reason != "NoValidCACertificate":
            field = "spec.validation" if condition.type == "ResolvedRefs" else "spec.targetRefs"
            field = "spec.validation.wellKnownCACertificates" if condition.reason == "Invalid" else field
            yield Problem(f"{condition.reason}: {condition.message}", key=key, field=field)
    for name in policy.source.spec.options:
        yield Problem(f"{name} is not known and has no effect", Severity.WARNING, key, "spec.options")


def _shadowed(graph: Graph) -> Iterator[Problem]:
    """Matches that say the same as one that wins over them on the same listener, and so are never reached."""
    first: dict[tuple[Key, str, str, Hashable], tuple[Key, int]] = {}
    for route in sorted(graph.routes.values(), key=lambda route: seniority(route.source)):
        told: set[tuple[int, int]] = set()
        for parent in route.parents:
            for attachment in parent.attachments:
                for hostname in route.source.spec.hostnames or ("",):
                    for rule in route.rules:
                        for index, match in enumerate(rule.source.matches):
                            place = (parent.gateway, attachment.listener, hostname, _meaning(match))
                            winner = first.setdefault(place, (route.source.key, rule.index))
                            if winner != (route.source.key, rule.index) and (rule.index, index) not in told:
                                told.add((rule.index, index))
                                message = f"never reached: rule {winner[1]} of {winner[0]} has the same match and wins"
                                field = f"spec.rules[{rule.index}].matches[{index}]"
                                yield Problem(message, Severity.WARNING, route.source.key, field)


def _meaning(match: HTTPRouteMatch) -> Hashable:
    """Equal for matches that take the same requests: headers and parameters in any order, of a name only the first."""
    path = match.path.value.rstrip("/") if match.path.type == "PathPrefix" else match.path.value
    if not match.headers and not match.query_params:
        return match.path.type, path, match.method
    headers: dict[str, tuple[str, str]] = {}
    for header in match.headers:
        headers.setdefault(header.name.lower(), (header.type, header.value))
    parameters = frozenset((each.name, each.type, each.value) for each in match.query_params)
    return match.path.type, path, match.method, frozenset(headers.items()), parameters
