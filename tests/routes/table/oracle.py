"""The sections "Hostname", "Precedence" and "HTTPRouteMatch" of the Gateway API, read literally, without any index."""

import re
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from routes.resources.gateway import Gateway
from routes.resources.http import HTTPRoute, HTTPRouteMatch


class Request(NamedTuple):
    host: str
    path: str
    method: str
    headers: tuple[tuple[bytes, bytes], ...]
    query: str


def fits_host(pattern: str, host: str) -> bool:
    """A wildcard stands for one or more labels; no hostname stands for all."""
    return host.endswith(pattern[1:]) and host != pattern[1:] if pattern[:2] == "*." else pattern in ("", host)


def host_rank(pattern: str) -> tuple[int, int]:
    """Most characters in a matching non-wildcard hostname, then in a matching hostname."""
    return (0 if pattern.startswith("*.") else -len(pattern), -len(pattern))


def meets(wanted: Any, value: str | None) -> bool:
    """Exactly, or as a pattern for the whole value."""
    pattern = re.escape(wanted.value) if wanted.type == "Exact" else wanted.value
    return value is not None and re.fullmatch(pattern, value) is not None


def fits(match: HTTPRouteMatch, asked: Request) -> bool:
    """Path AND method AND all headers AND all query parameters; of a name given twice the first entry."""
    elements = [element for element in match.path.value.split("/") if element]
    by_elements = asked.path.split("/")[1 : len(elements) + 1] == elements
    lines: dict[str, list[str]] = {}
    for name, value in asked.headers:
        lines.setdefault(name.decode(), []).append(value.decode())
    headers = {header.name.lower(): header for header in reversed(match.headers)}
    parameters = dict(reversed(parse_qsl(asked.query, keep_blank_values=True)))
    return (
        (by_elements if match.path.type == "PathPrefix" else meets(match.path, asked.path))
        and match.method in (None, asked.method)
        and all(meets(header, ",".join(lines[name]) if name in lines else None) for name, header in headers.items())
        and all(meets(wanted, parameters.get(wanted.name)) for wanted in match.query_params)
    )


def place(route: HTTPRoute, rule: int, match: HTTPRouteMatch, asked: Request) -> tuple[Any, ...]:
    """Each line a sentence of the spec. Where RegularExpression stands, and by what among its like, is our choice."""
    path, created = match.path, route.metadata.creation_timestamp
    return (
        min(host_rank(name) for name in route.spec.hostnames or ("",) if fits_host(name, asked.host)),
        ("Exact", "RegularExpression", "PathPrefix").index(path.type),
        -len(path.value.rstrip("/") if path.type == "PathPrefix" else path.value),
        path.value if path.type == "RegularExpression" else "",
        match.method is None,
        -len({header.name.lower() for header in match.headers}),
        -len(match.query_params),
        created.timestamp() if created else float("inf"),
        f"{route.metadata.namespace}/{route.metadata.name}",
        rule,
    )


def by_the_spec(gateway: Gateway, routes: list[HTTPRoute], asked: Request) -> str | None:
    """The most specific listener alone, and in it of all routes for the host the best of all matches that fit."""
    listeners = [one for one in gateway.spec.listeners if fits_host(one.hostname or "", asked.host)]
    best = min(listeners, key=lambda one: host_rank(one.hostname or ""), default=None)
    found = [
        (place(route, number, match, asked), f"{route.key.qualified_name}/{number}")
        for route in routes
        if best is not None and route.spec.parent_refs[0].section_name in (None, best.name)
        if any(fits_host(name, asked.host) for name in route.spec.hostnames or ("",))
        for number, rule in enumerate(route.spec.rules)
        for match in rule.matches
        if fits(match, asked)
    ]
    return min(found, default=(None, None))[1]
