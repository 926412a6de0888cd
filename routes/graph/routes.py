"""One route, from what it says to what it comes to.

A node follows from the route, its parents and the objects that its rules name: Services with their endpoints, policies
and those policies' ConfigMaps, objects of ExtensionRefs, and the ReferenceGrants of the namespaces they are in.
"""

from collections.abc import Iterator
from dataclasses import replace

from routes.graph import conditions
from routes.graph.filters import References
from routes.graph.nodes import BackendNode, Condition, FilterNode, ParentNode, RouteNode, RuleNode
from routes.graph.sentences import sentences
from routes.graph.support import UNSUPPORTED_VALUE, rule_fault
from routes.resources.http import HTTPRoute, HTTPRouteRule


def build_route(route: HTTPRoute, parents: tuple[ParentNode, ...], references: References) -> RouteNode:
    """The node of ``route`` on ``parents``, whose conditions are completed by what its rules add to them."""
    rules = tuple(_rule(route, index, rule, references) for index, rule in enumerate(route.spec.rules))
    return on_parents(route, parents, rules)


def on_parents(route: HTTPRoute, parents: tuple[ParentNode, ...], rules: tuple[RuleNode, ...]) -> RouteNode:
    """The same where the nodes of its rules are known."""
    generation = route.metadata.generation
    refused = _refused(generation, rules)
    resolved, partially = _resolved(generation, rules), tuple(_partially_invalid(generation, rules))
    # A refused route stays attached: its requests are answered 500 rather than by another route's less specific match.
    # "Dropped Rule" is said beside Accepted=True alone: where the parent does not take the route there is none to drop.
    finished = (
        replace(parent, conditions=((refused,) if refused else parent.conditions) + (resolved, *partially))
        if parent.attachments
        else replace(parent, conditions=(*parent.conditions, resolved))
        for parent in parents
    )
    return RouteNode(route, tuple(finished), rules)


def _rule(route: HTTPRoute, index: int, rule: HTTPRouteRule, references: References) -> RuleNode:
    fault = rule_fault(rule)
    return RuleNode(
        rule,
        index,
        tuple(references.backend(route, ref) for ref in rule.backend_refs),
        fault.message if fault else "",
        references.filters(route, rule.filters),
        fault.reason if fault else UNSUPPORTED_VALUE,
    )


def _refused(generation: int, rules: tuple[RuleNode, ...]) -> Condition | None:
    """Accepted, where no rule can be served."""
    if not all(rule.unsupported for rule in rules):
        return None
    reasons = {rule.reason for rule in rules}
    reason = reasons.pop() if len(reasons) == 1 else UNSUPPORTED_VALUE
    return conditions.route_refused(generation, reason, _bad_rules(rules))


def _partially_invalid(generation: int, rules: tuple[RuleNode, ...]) -> Iterator[Condition]:
    if any(rule.unsupported for rule in rules) and not all(rule.unsupported for rule in rules):
        yield conditions.route_partially_invalid(generation, _bad_rules(rules))


def _bad_rules(rules: tuple[RuleNode, ...]) -> str:
    return sentences(f"rules[{rule.index}]: {rule.unsupported}" for rule in rules if rule.unsupported)


def _resolved(generation: int, rules: tuple[RuleNode, ...]) -> Condition:
    """One condition for all references; where several lead nowhere, for different reasons, it has that of the first."""
    broken = [fault for rule in rules for fault in _broken(rule)]
    if not broken:
        return conditions.route_refs_resolved(generation)
    message = sentences(message for _, message in broken)
    return conditions.route_refs_not_resolved(generation, broken[0][0], message)


def _broken(rule: RuleNode) -> Iterator[tuple[str, str]]:
    """Reason and message of every reference of a rule that leads nowhere."""
    yield from _broken_filters(rule.filters)
    for backend in rule.backends:
        yield from _broken_backend(backend)
        yield from _broken_filters(backend.filters)


def _broken_filters(filters: tuple[FilterNode, ...]) -> Iterator[tuple[str, str]]:
    for filter_ in filters:
        if filter_.reason:
            yield filter_.reason, filter_.unsupported
        if filter_.backend is not None:
            yield from _broken_backend(filter_.backend)


def _broken_backend(backend: BackendNode) -> Iterator[tuple[str, str]]:
    if backend.reason:
        yield backend.reason, backend.message
