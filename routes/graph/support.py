"""What of a rule cannot be served. Never passed over in silence: the rule answers 500 and status says why."""

from routes.regex import pattern_fault
from routes.resources.http import HTTPHeaderMatch, HTTPPathMatch, HTTPQueryParamMatch, HTTPRouteMatch, HTTPRouteRule


def can_look_up(match: HTTPRouteMatch) -> bool:
    """Whether it can be told which requests ``match`` means. Of other matches even the 500 finds no request."""
    parts: list[HTTPPathMatch | HTTPHeaderMatch | HTTPQueryParamMatch]
    parts = [match.path, *match.headers, *match.query_params]
    return not any(pattern_fault(part.value) for part in parts if part.type == "RegularExpression")


def unsupported(rule: HTTPRouteRule) -> str:
    """A sentence on what of ``rule`` is not served, "" if all is."""
    for index, match in enumerate(rule.matches):
        if not can_look_up(match):
            return f"matches[{index}] is not served"
    if rule.filters:
        return f"filters[0]: {rule.filters[0].type} is not served"
    for index, backend in enumerate(rule.backend_refs):
        if backend.filters:
            return f"backendRefs[{index}].filters[0]: {backend.filters[0].type} is not served"
    for field, name in (
        (rule.timeouts, "timeouts"),
        (rule.retry, "retry"),
        (rule.session_persistence, "sessionPersistence"),
    ):
        if field is not None:
            return f"{name} is not served"
    return ""
