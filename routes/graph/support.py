"""What of a rule cannot be served. Never passed over in silence: the rule answers 500 and status says why."""

from routes.resources.http import HTTPRouteMatch, HTTPRouteRule

PATH_TYPES = ("Exact", "PathPrefix")


def can_look_up(match: HTTPRouteMatch) -> bool:
    """Whether it can be told which requests ``match`` means. Of other matches even the 500 finds no request."""
    types = [header.type for header in match.headers] + [query.type for query in match.query_params]
    return match.path.type in PATH_TYPES and all(type_ == "Exact" for type_ in types)


def unsupported(rule: HTTPRouteRule) -> str:
    """A sentence on what of ``rule`` is not served, "" if all is."""
    for index, match in enumerate(rule.matches):
        if match.path.type not in PATH_TYPES:
            return f"matches[{index}].path.type {match.path.type} is not served"
        types = [("headers", position, header.type) for position, header in enumerate(match.headers)]
        types += [("queryParams", position, query.type) for position, query in enumerate(match.query_params)]
        for name, position, type_ in types:
            if type_ != "Exact":
                return f"matches[{index}].{name}[{position}].type {type_} is not served"
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
