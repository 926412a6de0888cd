"""What of a rule cannot be served. Never passed over in silence: the rule answers 500 and status says why.

Everything here follows from the rule alone. The API server's own rules (CEL) are the models' and come before.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from routes.regex import pattern_fault
from routes.resources.filters import HTTPHeaderFilter, HTTPRouteFilter
from routes.resources.http import (
    HTTPHeaderMatch,
    HTTPQueryParamMatch,
    HTTPRouteMatch,
    HTTPRouteRule,
    UnreadableRule,
)

UNSUPPORTED_VALUE = "UnsupportedValue"
INCOMPATIBLE_FILTERS = "IncompatibleFilters"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a rule cannot be served: a reason of the condition Accepted, and a sentence that begins with the place."""

    reason: str
    message: str


def can_look_up(match: HTTPRouteMatch) -> bool:
    """Whether it can be told which requests ``match`` means. Of other matches even the 500 finds no request."""
    return not any(True for _ in _pattern_faults(match))


def rule_fault(rule: HTTPRouteRule) -> Fault | None:
    """The first thing for which all of ``rule`` cannot be served; None if there is nothing."""
    return next(_faults(rule), None)


def _faults(rule: HTTPRouteRule) -> Iterator[Fault]:
    if isinstance(rule, UnreadableRule):
        yield Fault(UNSUPPORTED_VALUE, rule.fault)
    for index, match in enumerate(rule.matches):
        for place, fault in _pattern_faults(match):
            yield Fault(UNSUPPORTED_VALUE, f"matches[{index}].{place}: no regular expression of RE2: {fault}")
    yield from _filter_faults("filters", rule.filters)
    for index, backend in enumerate(rule.backend_refs):
        if backend.filters:
            place = f"backendRefs[{index}].filters"
            yield from _filter_faults(place, backend.filters)
            yield from _together(place, rule.filters, backend.filters)


def _pattern_faults(match: HTTPRouteMatch) -> Iterator[tuple[str, str]]:
    """The places of patterns that cannot be compiled, and what is wrong with them."""
    if match.path.type == "RegularExpression" and (fault := pattern_fault(match.path.value)):
        yield "path.value", fault
    predicates: tuple[tuple[str, Sequence[HTTPHeaderMatch | HTTPQueryParamMatch]], ...] = (
        ("headers", match.headers),
        ("queryParams", match.query_params),
    )
    for name, parts in predicates:
        for index, part in enumerate(parts):
            if part.type == "RegularExpression" and (fault := pattern_fault(part.value)):
                yield f"{name}[{index}].value", fault


def _filter_faults(place: str, filters: Iterable[HTTPRouteFilter]) -> Iterator[Fault]:
    for index, filter_ in enumerate(filters):
        if unsupported := filter_fault(filter_):
            yield Fault(UNSUPPORTED_VALUE, f"{place}[{index}].{unsupported}")
        for field, headers in (
            ("requestHeaderModifier", filter_.request_header_modifier),
            ("responseHeaderModifier", filter_.response_header_modifier),
        ):
            if headers is not None and (name := _named_twice(headers)):
                message = f"{place}[{index}].{field}: {name} is in more than one of set, add and remove"
                yield Fault(INCOMPATIBLE_FILTERS, message)


def filter_fault(filter_: HTTPRouteFilter) -> str:
    """What of a filter is not served, whatever it refers to; "" if all is."""
    if filter_.external_auth is not None and filter_.external_auth.protocol == "GRPC":
        return "externalAuth.protocol: GRPC is not served, only HTTP is"
    headers = filter_.request_header_modifier or filter_.response_header_modifier
    if headers is not None and headers.unmodifiable:
        names = ", ".join(headers.unmodifiable)
        return f"{names}: no filter changes what frames a message or belongs to a connection, and Host is only set"
    return ""


def _named_twice(headers: HTTPHeaderFilter) -> str:
    """A header that more than one of the lists names, in whatever case."""
    lists = ([each.name for each in headers.set], [each.name for each in headers.add], headers.remove)
    seen: set[str] = set()
    for names in lists:
        lower = {name.lower(): name for name in names}
        if both := seen & lower.keys():
            return lower[min(both)]
        seen |= lower.keys()
    return ""


def _together(place: str, of_rule: Sequence[HTTPRouteFilter], of_backend: Sequence[HTTPRouteFilter]) -> Iterator[Fault]:
    """What filters of a rule and of one of its backends do to each other; the models know only one list at a time."""
    rewritten = any(filter_.url_rewrite is not None for filter_ in of_rule)
    moved = any(filter_.path_modifier is not None for filter_ in of_rule)
    for index, filter_ in enumerate(of_backend):
        if filter_.request_redirect is not None and rewritten:
            message = f"{place}[{index}]: a RequestRedirect cannot stand behind the rule's URLRewrite"
            yield Fault(INCOMPATIBLE_FILTERS, message)
        elif moved and filter_.path_modifier is not None and filter_.path_modifier.type == "ReplacePrefixMatch":
            message = f"{place}[{index}]: the rule's URLRewrite has taken the prefix that ReplacePrefixMatch is about"
            yield Fault(INCOMPATIBLE_FILTERS, message)
