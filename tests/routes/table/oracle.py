"""The sections "Hostname", "Precedence" and "HTTPRouteMatch" of the Gateway API, read literally, without any index."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from routes.resources.gateway import Gateway
from routes.resources.http import HTTPRoute, HTTPRouteMatch

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Request:
    """What of a request decides."""

    host: str
    path: str
    method: str
    headers: Fields
    query: str


#: Where RegularExpression stands, and that among patterns of one length the alphabet decides, is our choice.
TYPES = ("Exact", "RegularExpression", "PathPrefix")


def fits_host(pattern: str, host: str) -> bool:
    """A wildcard stands for one or more labels; no hostname stands for all."""
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and host != pattern[1:]
    return pattern in ("", host)


def host_rank(pattern: str) -> tuple[int, int]:
    """Most characters in a matching non-wildcard hostname, then in a matching hostname."""
    return (0 if pattern.startswith("*.") else -len(pattern), -len(pattern))


def meets(type_: str, wanted: str, value: str | None) -> bool:
    """Exactly, or as a pattern for the whole value."""
    return value is not None and (wanted == value if type_ == "Exact" else bool(re.fullmatch(wanted, value)))


def fits(match: HTTPRouteMatch, request: Request) -> bool:
    """Path AND method AND all headers AND all query parameters; of a header name given twice the first entry."""
    if match.path.type != "PathPrefix":
        on_path = meets(match.path.type, match.path.value, request.path)
    else:
        elements = [element for element in match.path.value.split("/") if element]
        on_path = request.path.split("/")[1 : len(elements) + 1] == elements
    wanted = {header.name.lower(): header for header in reversed(match.headers)}
    there: dict[str, str] = {}
    for name, value in request.headers:
        there[name.decode()] = f"{there[name.decode()]},{value.decode()}" if name.decode() in there else value.decode()
    asked = dict(reversed(parse_qsl(request.query, keep_blank_values=True)))
    return (
        on_path
        and match.method in (None, request.method)
        and all(meets(header.type, header.value, there.get(name)) for name, header in wanted.items())
        and all(meets(each.type, each.value, asked.get(each.name)) for each in match.query_params)
    )


def ranked(routes: list[HTTPRoute], request: Request) -> Iterator[tuple[Any, str]]:
    """Every (route, rule, match) that fits, with its place in the order of precedence."""
    for route in routes:
        hosts = [name for name in route.spec.hostnames or ("",) if fits_host(name, request.host)]
        age = route.metadata.creation_timestamp
        for number, rule in enumerate(route.spec.rules) if hosts else ():
            for index, match in enumerate(rule.matches):
                if fits(match, request):
                    type_, path = match.path.type, match.path.value
                    place = (
                        min(map(host_rank, hosts)),
                        TYPES.index(type_),
                        -len(path.rstrip("/") if type_ == "PathPrefix" else path),
                        path if type_ == "RegularExpression" else "",
                        match.method is None,
                        -len({header.name.lower() for header in match.headers}),
                        -len(match.query_params),
                        age.timestamp() if age else float("inf"),
                        f"{route.metadata.namespace}/{route.metadata.name}",
                        number,
                        index,
                    )
                    yield place, f"{route.key.qualified_name}/{number}"


def by_the_spec(gateway: Gateway, routes: list[HTTPRoute], request: Request) -> str | None:
    """The most specific listener alone, and in it the best of all matches that fit."""
    listeners = [one for one in gateway.spec.listeners if fits_host(one.hostname or "", request.host)]
    if not listeners:
        return None
    best = min(listeners, key=lambda one: host_rank(one.hostname or ""))
    here = [route for route in routes if route.spec.parent_refs[0].section_name in (None, best.name)]
    return min(ranked(here, request), default=(None, None))[1]
