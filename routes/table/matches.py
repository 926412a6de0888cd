"""What of a match is left once host and path have been looked up: method, header and query predicates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import unquote_plus

from routes.regex import Pattern, compile_pattern
from routes.resources.http import HTTPRoute, HTTPRouteMatch

H = TypeVar("H")
Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, eq=False)
class Entry(Generic[H]):
    """One match of one rule. ``headers`` have lower-case names; ``method`` None is any.

    ``plain``: there is nothing left to ask, host and path have said it all. ``source``, ``rule`` and ``match``: where
    it is written, which decides between entries that ask for as much.
    """

    handler: H
    method: str | None
    headers: tuple[tuple[bytes, bytes | Pattern], ...]
    query: tuple[tuple[str, str | Pattern], ...]
    plain: bool
    source: HTTPRoute
    rule: int
    match: int

    @classmethod
    def of(cls, handler: H, source: HTTPRoute, rule: int, match: int) -> "Entry[H]":
        """Compile match number ``match`` of rule number ``rule`` of ``source``, which leads to ``handler``.

        Of a name given twice the first counts (``name`` of HTTPHeaderMatch and its sibling). Raises ValueError for a
        pattern that is none.
        """
        compiled = source.spec.rules[rule].matches[match]
        headers = _headers(compiled) if compiled.headers else ()
        query = _query(compiled) if compiled.query_params else ()
        plain = compiled.method is None and not headers and not query
        return cls(handler, compiled.method, headers, query, plain, source, rule, match)

    def accepts(self, method: str, headers: Headers, query: bytes) -> bool:
        """Whether method, header fields and query string fit; all must."""
        if self.method is not None and self.method != method:
            return False
        for name, wanted in self.headers:
            found = field_value(headers, name)
            if found != wanted and (found is None or isinstance(wanted, bytes) or not wanted.matches(found)):
                return False
        if self.query:
            parameters = first_values(query)
            for parameter, value in self.query:
                given = parameters.get(parameter)
                if given != value and (given is None or isinstance(value, str) or not value.matches(given.encode())):
                    return False
        return True


def _headers(match: HTTPRouteMatch) -> tuple[tuple[bytes, bytes | Pattern], ...]:
    found: dict[bytes, bytes | Pattern] = {}
    for header in match.headers:
        name = header.name.lower().encode()
        if name not in found:
            found[name] = header.value.encode() if header.type == "Exact" else compile_pattern(header.value)
    return tuple(found.items())


def _query(match: HTTPRouteMatch) -> tuple[tuple[str, str | Pattern], ...]:
    found: dict[str, str | Pattern] = {}
    for parameter in match.query_params:
        if parameter.name not in found:
            exact = parameter.type == "Exact"
            found[parameter.name] = parameter.value if exact else compile_pattern(parameter.value)
    return tuple(found.items())


def field_value(headers: Headers, name: bytes) -> bytes | None:
    """The value of a field; repeated lines are one value, joined by commas (RFC 9110 §5.3)."""
    values = [value for field, value in headers if field == name]
    if len(values) == 1:
        return values[0]
    return b",".join(values) if values else None


def first_values(query: bytes) -> dict[str, str]:
    """The parameters of a query string, decoded; of a repeated one the first value, as the API recommends."""
    parameters: dict[str, str] = {}
    for pair in query.decode("latin-1").split("&"):
        name, _, value = pair.partition("=")
        parameters.setdefault(unquote_plus(name), unquote_plus(value))
    return parameters
