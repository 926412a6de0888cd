"""Matches in the language of Traefik's rules: ``Host(`a`) && PathPrefix(`/`)``."""

import json
import re
from collections.abc import Iterator, Sequence

from routes.resources.http import HTTPPathMatch, HTTPRouteMatch
from routes.table.explain import shown


def rule_of(hostnames: Sequence[str], match: HTTPRouteMatch) -> str:
    """What asks for as much as ``match`` does for one of ``hostnames``, of which none is any host."""
    return " && ".join((*_hosts(hostnames), *_asked(match)))


def priority_of(match: HTTPRouteMatch) -> int:
    """A number that is the larger, the earlier of two matches for one host is tried.

    In the order of the API's criteria: type and length of the path, method, number of headers and of parameters.
    Between those that have the same number the older route wins, which no number says.
    """
    kind = ("PathPrefix", "RegularExpression", "Exact").index(match.path.type)
    asked = (match.method is not None, len(match.headers), len(match.query_params))
    return kind * 10**9 + len(match.path.value) * 10**5 + asked[0] * 10**4 + asked[1] * 100 + asked[2]


def _hosts(hostnames: Sequence[str]) -> Iterator[str]:
    if hostnames:
        text = " || ".join(map(_host, hostnames))
        yield f"({text})" if len(hostnames) > 1 else text


def _host(hostname: str) -> str:
    if not hostname.startswith("*."):
        return f"Host({_quoted(hostname)})"
    return "HostRegexp({})".format(_quoted(rf"^[a-z0-9-\.]+{re.escape(hostname[1:])}$"))


def _asked(match: HTTPRouteMatch) -> Iterator[str]:
    yield _path(match.path)
    if match.method is not None:
        yield f"Method({_quoted(match.method)})"
    for header in match.headers:
        word = "Header" if header.type == "Exact" else "HeaderRegexp"
        yield f"{word}({_quoted(header.name)}, {_quoted(shown(header.name, header.value))})"
    for parameter in match.query_params:
        word = "Query" if parameter.type == "Exact" else "QueryRegexp"
        yield f"{word}({_quoted(parameter.name)}, {_quoted(shown(parameter.name, parameter.value))})"


def _path(path: HTTPPathMatch) -> str:
    if path.type == "Exact":
        return f"Path({_quoted(path.value)})"
    if path.type == "RegularExpression":
        return f"PathRegexp({_quoted(path.value)})"
    prefix = path.value.removesuffix("/")
    if not prefix:
        return "PathPrefix(`/`)"
    # Traefik's PathPrefix goes by characters, the API's by elements.
    return f"(Path({_quoted(prefix)}) || PathPrefix({_quoted(f'{prefix}/')}))"


def _quoted(text: str) -> str:
    """As Go writes it: between backquotes, unless there is one in it."""
    return f"`{text}`" if "`" not in text and text.isprintable() else json.dumps(text, ensure_ascii=False)
