"""What a person should know of a graph: every part that is not served, and what is probably not meant."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from routes.graph.listenersets import is_for_gateway, parent_of
from routes.graph.nodes import (
    BackendNode,
    Condition,
    FilterNode,
    GatewayNode,
    Graph,
    ListenerNode,
    ListenerSetNode,
    PolicyNode,
    RouteNode,
)
from routes.graph.shadows import Shadows
from routes.graph.support import can_look_up
from routes.problems import Problem, Severity
from routes.resources.gateway import ListenerSet, UnreadableGateway
from routes.resources.http import SelectedHTTPRoute, UnreadableHTTPRoute
from routes.resources.meta import GATEWAY_GROUP, Key

#: Reasons for which a parent refuses a route that are told rule by rule.
_ABOUT_RULES = ("UnsupportedValue", "IncompatibleFilters")


def review(graph: Graph) -> tuple[Problem, ...]:
    """All problems, in the order of Gateways and routes. Files and lines are added by whoever knows them."""
    return tuple(_all(graph))


def _all(graph: Graph) -> Iterator[Problem]:
    yield from review_parents(graph)
    names = Names.of(graph)
    for route in graph.routes.values():
        yield from review_route(route, names)
    for problems in Shadows().follow(graph.routes, graph.routes).values():
        yield from problems


def review_parents(graph: Graph) -> Iterator[Problem]:
    """The problems of everything but routes."""
    for gateway in graph.foreign:
        name = gateway.spec.gateway_class_name
        message = f"not served: GatewayClass {name!r} is not there, or another controller's"
        yield Problem(message, Severity.WARNING, gateway.key, "spec.gatewayClassName")
    for source in graph.foreign_sets:
        yield from _foreign_set(source, graph)
    for class_ in graph.classes:
        for condition in class_.conditions:
            if condition.type == "SupportedVersion" and not condition.status:
                yield Problem(f"{condition.reason}: {condition.message}", Severity.WARNING, class_.source.key, "spec")
            elif not condition.status:
                yield _problem(condition, class_.source.key, "spec.parametersRef")
    for node in graph.gateways.values():
        yield from _gateway(node)
        yield from _listeners(node.source.key, node.listeners)
        for listener_set in node.listener_sets:
            yield from _listener_set(listener_set)
            yield from _listeners(listener_set.source.key, listener_set.listeners)
    for policy in graph.policies.values():
        yield from _policy(policy)


@dataclass(frozen=True, slots=True)
class Names:
    """What parentRefs may name, as (kind, namespace, name): what is ours, and what others have."""

    known: frozenset[tuple[str, str, str]]
    others: frozenset[tuple[str, str, str]]

    @classmethod
    def of(cls, graph: Graph) -> "Names":
        """Those of ``graph``."""
        known = {key[1:] for key in graph.gateways}
        known |= {node.source.key[1:] for gateway in graph.gateways.values() for node in gateway.listener_sets}
        others = {source.key[1:] for source in (*graph.foreign, *graph.foreign_sets)}
        return cls(frozenset(known), frozenset(others))


def review_route(route: RouteNode, names: Names) -> Iterator[Problem]:
    """The problems of one route, but for what other routes keep from it (:class:`~routes.graph.shadows.Shadows`)."""
    if isinstance(route.source, UnreadableHTTPRoute):
        yield Problem(f"UnsupportedValue: {route.source.fault}", key=route.source.key, field="spec")
        return
    yield from _parents(route, names)
    if route.parents:
        yield from _rules(route)


#: Where a Gateway's own conditions lead a person, by reason; others are told at its listeners.
_GATEWAY_FIELDS = {
    "InvalidParameters": "spec.infrastructure.parametersRef",
    "UnsupportedAddress": "spec.addresses",
    "AddressNotUsable": "spec.addresses",
    "AddressNotAssigned": "spec.addresses",
    "InvalidClientCertificateRef": "spec.tls.backend.clientCertificateRef",
    "RefNotPermitted": "spec.tls.backend.clientCertificateRef",
    "UnsupportedValue": "spec.tls.backend.clientCertificateRef",
}


def _problem(condition: Condition, key: Key, field: str) -> Problem:
    """What a condition says, without the field, which stands before it already."""
    return Problem(f"{condition.reason}: {condition.message.removeprefix(f'{field}: ')}", key=key, field=field)


def _gateway(gateway: GatewayNode) -> Iterator[Problem]:
    if isinstance(gateway.source, UnreadableGateway):
        yield Problem(f"Invalid: {gateway.source.fault}", key=gateway.source.key, field="spec")
    for condition in gateway.conditions:
        field = _GATEWAY_FIELDS.get(condition.reason)
        if condition.status or field is None:
            continue
        if condition.reason == "InvalidParameters" and not condition.message.startswith(field):
            field = "spec.gatewayClassName"  # the class's parameters
        yield _problem(condition, gateway.source.key, field)


def _foreign_set(source: ListenerSet, graph: Graph) -> Iterator[Problem]:
    parent = parent_of(source)
    if not is_for_gateway(parent):
        message = f"not served: its parent is a {parent.kind} of group {parent.group!r}, and no Gateway"
    elif all(parent != gateway.key for gateway in graph.foreign):
        message = f"{parent} does not exist"
    else:
        message = f"not served: {parent} is another controller's"
    yield Problem(message, Severity.WARNING, source.key, "spec.parentRef")


def _listener_set(node: ListenerSetNode) -> Iterator[Problem]:
    accepted = node.conditions[0]
    if accepted.reason in ("NotAllowed", "ParentNotAccepted"):
        yield _problem(accepted, node.source.key, "spec.parentRef")


def _listeners(key: Key, listeners: Iterable[ListenerNode]) -> Iterator[Problem]:
    for index, listener in enumerate(listeners):
        field = f"spec.listeners[{index}]"
        for condition in _told(listener.conditions):
            yield _problem(condition, key, field)
        tls = listener.source.tls
        if tls is not None and tls.options:
            message = "has no effect: there are no options"
            yield Problem(message, Severity.WARNING, key, f"{field}.tls.options")


def _told(found: tuple[Condition, ...]) -> Iterator[Condition]:
    """Each thing that is wrong with a listener once.

    Programmed only repeats that another condition is bad, and so does Accepted with a conflict. An overlap is no
    mistake: a request on a connection that was meant for another listener is answered 421.
    """
    unserved = any(condition.reason == "UnsupportedProtocol" for condition in found)
    for condition in found:
        match condition.type:
            case "Conflicted":
                told = condition.status
            case "Accepted":
                told = not condition.status and not condition.reason.endswith("Conflict")
            case "ResolvedRefs":
                told = not condition.status and not (unserved and condition.reason == "InvalidRouteKinds")
            case _:
                told = False
        if told:
            yield condition


def _parents(route: RouteNode, names: Names) -> Iterator[Problem]:
    source = route.source
    attached = any(parent.attachments for parent in route.parents)
    for parent in route.parents:
        if parent.index < 0 and attached:
            continue  # Nobody named this Gateway, and another one has the route.
        for condition in parent.conditions:
            if condition.type == "Accepted" and not condition.status and condition.reason not in _ABOUT_RULES:
                field = f"spec.parentRefs[{parent.index}]" if parent.index >= 0 else "spec.hostnames"
                if parent.index < 0 and source.spec.use_default_gateways == "All":
                    field = "spec.useDefaultGateways"
                yield Problem(f"{condition.reason}: {condition.message}", Severity.ERROR, source.key, field)
    if not route.parents and isinstance(source, SelectedHTTPRoute):
        message = (
            "attaches to no Gateway: no listener selects its labels and namespace, or its gateways.allow forbids it"
        )
        yield Problem(message, Severity.WARNING, source.key, "spec.gateways")
    elif not route.parents and not source.spec.parent_refs:
        yield Problem("attaches to no Gateway: it names none", Severity.WARNING, source.key, "spec.parentRefs")
    for index, ref in enumerate(source.spec.parent_refs):
        name = (ref.kind, ref.namespace or source.metadata.namespace or "", ref.name)
        ours = ref.group == GATEWAY_GROUP and ref.kind in ("Gateway", "ListenerSet")
        if ours and name not in names.known and name not in names.others:
            message = f"{ref.kind} {name[1]}/{name[2]} does not exist"
            yield Problem(message, Severity.WARNING, source.key, f"spec.parentRefs[{index}]")


def _rules(route: RouteNode) -> Iterator[Problem]:
    key = route.source.key
    # Where a person finds them: v1alpha1 has another name for the list.
    refs = "forwardTo" if isinstance(route.source, SelectedHTTPRoute) else "backendRefs"
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


class Reviewing:
    """Follows graphs as they change, and tells all problems of each; those of what did not change are kept."""

    def __init__(self) -> None:
        # The mutable state, changed by follow alone.
        self._names = Names(frozenset(), frozenset())
        self._others: tuple[Problem, ...] = ()
        self._of_routes: dict[Key, tuple[Problem, ...]] = {}
        self._shadows = Shadows()

    def follow(self, graph: Graph, changed: Collection[Key], *, others: bool) -> Iterator[Problem]:
        """What :func:`review` says, in another order. Of all routes only ``changed`` differ from those of the last
        graph, and nothing else does unless ``others`` says so."""
        if others:
            self._others = tuple(review_parents(graph))
            names = Names.of(graph)
            # A route that named what is there now has a problem that says so; one that named a Gateway of ours that is
            # gone has changed itself.
            come = (names.known | names.others) - self._names.known - self._names.others
            gone = self._names.others - names.known - names.others
            self._names = names
            for other, keys in ((come, list(self._of_routes)), (gone, list(graph.routes))):
                if other:
                    self._review(graph, [key for key in keys if _names_any(graph.routes.get(key), other)])
        self._review(graph, changed)
        shadowed = self._shadows.follow(graph.routes, changed)
        return chain(self._others, *self._of_routes.values(), *shadowed.values())

    def _review(self, graph: Graph, keys: Iterable[Key]) -> None:
        for key in keys:
            node = graph.routes.get(key)
            problems = tuple(review_route(node, self._names)) if node is not None else ()
            if problems:
                self._of_routes[key] = problems
            else:
                self._of_routes.pop(key, None)


def _names_any(route: RouteNode | None, names: Collection[tuple[str, str, str]]) -> bool:
    """Whether one of a route's parentRefs is among ``names``."""
    if route is None:
        return False
    home = route.source.metadata.namespace or ""
    return any((ref.kind, ref.namespace or home, ref.name) in names for ref in route.source.spec.parent_refs)
