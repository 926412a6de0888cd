"""What of a match is left once host and path have been looked up: method, header and query predicates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import unquote_plus

from routes.resources.http import HTTPRouteMatch

H = TypeVar("H")
Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Entry(Generic[H]):
    """One match of one rule. ``headers`` have lower-case names; ``method`` None is any.

    ``plain``: there is nothing left to ask, host and path have said it all.
    """

    handler: H
    method: str | None
    headers: tuple[tuple[bytes, bytes], ...]
    query: tuple[tuple[str, str], ...]
    plain: bool

    @classmethod
    def of(cls, match: HTTPRouteMatch, handler: H) -> "Entry[H]":
        """Compile ``match``. Of a name given twice the first counts (``name`` of HTTPHeaderMatch and its sibling)."""
        headers: dict[bytes, bytes] = {}
        for header in match.headers:
            headers.setdefault(header.name.lower().encode(), header.value.encode())
        query: dict[str, str] = {}
        for parameter in match.query_params:
            query.setdefault(parameter.name, parameter.value)
        plain = match.method is None and not headers and not query
        return cls(handler, match.method, tuple(headers.items()), tuple(query.items()), plain)

    def accepts(self, method: str, headers: Headers, query: bytes) -> bool:
        """Whether method, header fields and query string fit; all must."""
        if self.method is not None and self.method != method:
            return False
        if self.headers and not all(field_value(headers, name) == value for name, value in self.headers):
            return False
        if self.query:
            parameters = first_values(query)
            return all(parameters.get(name) == value for name, value in self.query)
        return True


def field_value(headers: Headers, name: bytes) -> bytes | None:
    """The value of a field; repeated lines are one value joined by ", " (RFC 9110 §5.3)."""
    values = [value for field, value in headers if field == name]
    return b", ".join(values) if values else None


def first_values(query: bytes) -> dict[str, str]:
    """The parameters of a query string, decoded; of a repeated one the first value, as the API recommends."""
    parameters: dict[str, str] = {}
    for pair in query.decode("latin-1").split("&"):
        name, _, value = pair.partition("=")
        parameters.setdefault(unquote_plus(name), unquote_plus(value))
    return parameters
