"""What a person should know of a graph: every part that is not served, and what is probably not meant."""

from collections.abc import Iterable, Iterator

from routes.graph.listenersets import is_for_gateway, parent_of
from routes.graph.nodes import Condition, GatewayNode, Graph, ListenerNode, ListenerSetNode, RouteNode
from routes.graph.seniority import seniority
from routes.graph.support import can_look_up
from routes.problems import Problem, Severity
from routes.resources.gateway import ListenerSet
from routes.resources.http import HTTPRouteMatch, SelectedHTTPRoute
from routes.resources.meta import GATEWAY_GROUP, Key


def review(graph: Graph) -> tuple[Problem, ...]:
    """All problems, in the order of Gateways and routes. Files and lines are added by whoever knows them."""
    return tuple(_all(graph))


def _all(graph: Graph) -> Iterator[Problem]:
    for gateway in graph.foreign:
        name = gateway.spec.gateway_class_name
        message = f"not served: GatewayClass {name!r} is not there, or another controller's"
        yield Problem(message, Severity.WARNING, gateway.key, "spec.gatewayClassName")
    for source in graph.foreign_sets:
        yield from _foreign_set(source, graph)
    for class_ in graph.classes:
        for condition in class_.conditions:
            if not condition.status:
                message = f"{condition.reason}: {condition.message}"
                yield Problem(message, key=class_.source.key, field="spec.parametersRef")
    for node in graph.gateways.values():
        yield from _gateway(node)
        yield from _listeners(node.source.key, node.listeners)
        for listener_set in node.listener_sets:
            yield from _listener_set(listener_set)
            yield from _listeners(listener_set.source.key, listener_set.listeners)
    known = {key[1:] for key in graph.gateways}
    known |= {node.source.key[1:] for gateway in graph.gateways.values() for node in gateway.listener_sets}
    others = {source.key[1:] for source in (*graph.foreign, *graph.foreign_sets)}
    for route in graph.routes.values():
        yield from _parents(route, known, others)
        if route.parents:
            yield from _rules(route)
    yield from _shadowed(graph)


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


def _gateway(gateway: GatewayNode) -> Iterator[Problem]:
    infrastructure = gateway.source.spec.infrastructure
    for condition in gateway.conditions:
        field = _GATEWAY_FIELDS.get(condition.reason)
        if condition.status or field is None:
            continue
        if condition.reason == "InvalidParameters" and (infrastructure is None or not infrastructure.parameters_ref):
            field = "spec.gatewayClassName"
        yield Problem(f"{condition.reason}: {condition.message}", key=gateway.source.key, field=field)


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
        yield Problem(f"{accepted.reason}: {accepted.message}", key=node.source.key, field="spec.parentRef")


def _listeners(key: Key, listeners: Iterable[ListenerNode]) -> Iterator[Problem]:
    for index, listener in enumerate(listeners):
        field = f"spec.listeners[{index}]"
        for condition in _told(listener.conditions):
            yield Problem(f"{condition.reason}: {condition.message}", key=key, field=field)
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


def _parents(
    route: RouteNode, known: set[tuple[str, str, str]], others: set[tuple[str, str, str]]
) -> Iterator[Problem]:
    source = route.source
    attached = any(parent.attachments for parent in route.parents)
    for parent in route.parents:
        if parent.index < 0 and attached:
            continue  # Nobody named this Gateway, and another one has the route.
        for condition in parent.conditions:
            if condition.type == "Accepted" and not condition.status and condition.reason != "UnsupportedValue":
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
        name = (ref.kind, ref.namespace or source.metadata.namespace or "", ref.name)
        ours = ref.group == GATEWAY_GROUP and ref.kind in ("Gateway", "ListenerSet")
        if ours and name not in known and name not in others:
            message = f"{ref.kind} {name[1]}/{name[2]} does not exist"
            yield Problem(message, Severity.WARNING, source.key, f"spec.parentRefs[{index}]")


def _rules(route: RouteNode) -> Iterator[Problem]:
    key = route.source.key
    # Where a person finds them: v1alpha1 has another name for the list.
    refs = "forwardTo" if isinstance(route.source, SelectedHTTPRoute) else "backendRefs"
    for rule in route.rules:
        field = f"spec.rules[{rule.index}]"
        if rule.unsupported:
            known = any(can_look_up(match) for match in rule.source.matches)
            result = "its requests are answered 500" if known else "it takes no requests"
            yield Problem(f"UnsupportedValue: {rule.unsupported}; {result}", key=key, field=field)
        elif not rule.backends:
            yield Problem(f"no {refs}: its requests are answered 500", Severity.WARNING, key, field)
        elif all(backend.weight == 0 for backend in rule.backends):
            yield Problem("all weights are 0: its requests are answered 500", Severity.WARNING, key, field)
        for index, backend in enumerate(rule.backends):
            place = f"{field}.{refs}[{index}]"
            if backend.reason:
                message = f"{backend.reason}: {backend.message}; its share of the requests is answered 500"
                yield Problem(message, key=key, field=place)
            if backend.hint:
                yield Problem(backend.hint, Severity.WARNING, key, place)


def _shadowed(graph: Graph) -> Iterator[Problem]:
    """Matches that say the same as one that wins over them on the same listener, and so are never reached."""
    first: dict[tuple[Key, str, str, HTTPRouteMatch], tuple[Key, int]] = {}
    for route in sorted(graph.routes.values(), key=lambda route: seniority(route.source)):
        told: set[tuple[int, int]] = set()
        for parent in route.parents:
            for attachment in parent.attachments:
                for hostname in route.source.spec.hostnames or ("",):
                    for rule in route.rules:
                        for index, match in enumerate(rule.source.matches):
                            place = (parent.owner, attachment.listener, hostname, match)
                            winner = first.setdefault(place, (route.source.key, rule.index))
                            if winner != (route.source.key, rule.index) and (rule.index, index) not in told:
                                told.add((rule.index, index))
                                message = f"never reached: rule {winner[1]} of {winner[0]} has the same match and wins"
                                field = f"spec.rules[{rule.index}].matches[{index}]"
                                yield Problem(message, Severity.WARNING, route.source.key, field)
