"""Which of many are asked for: paging, search, filters and order, by Traefik's parameters and with its errors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, TypeVar

from starlette.datastructures import QueryParams

from app.view.model import Health

#: Entries of a page where nobody says how many, and at most.
PER_PAGE: Final = 100
MOST_PER_PAGE: Final = 10_000
#: Says the number of the next page, 1 on the last one.
NEXT_PAGE: Final = "X-Next-Page"


class ParameterError(ValueError):
    """A parameter cannot be read; the message names it."""


class Named(Protocol):
    """What stands in a list."""

    @property
    def name(self) -> str: ...


T = TypeVar("T")
N = TypeVar("N", bound=Named)


@dataclass(frozen=True, slots=True)
class Criterion:
    """What is looked for; "" is all."""

    search: str = ""
    status: str = ""
    service: str = ""
    middleware: str = ""

    @classmethod
    def of(cls, query: QueryParams) -> Self:
        """The one that a query asks for."""
        return cls(
            query.get("search", "").lower(),
            query.get("status", "").lower(),
            query.get("serviceName", ""),
            query.get("middlewareName", ""),
        )

    def finds(self, status: str, *texts: str) -> bool:
        """Whether something has the status, and the search's words in one of its texts; neither minds case."""
        if self.status and self.status != status:
            return False
        return not self.search or any(self.search in text.lower() for text in texts)

    def leads_to(self, service: str, middlewares: Sequence[str]) -> bool:
        """Whether a router leads to the service and by the middleware."""
        return (not self.service or self.service == service) and (not self.middleware or self.middleware in middlewares)


def in_order(items: Iterable[N], query: QueryParams, keys: Mapping[str, Callable[[N], Any]]) -> list[N]:
    """``items`` by ``sortBy``, one of ``keys``, and then by name; backwards for any ``direction`` but ``asc``.

    By name alone where ``sortBy`` is none of them, as in Traefik.
    """
    key = keys.get(query.get("sortBy", ""))
    backwards = query.get("direction", "") not in ("", "asc")
    if key is None:
        return sorted(items, key=_name, reverse=backwards)
    return sorted(items, key=lambda item: (key(item), item.name), reverse=backwards)


def page(items: Sequence[T], query: QueryParams) -> tuple[Sequence[T], dict[str, str]]:
    """The part of ``items`` that ``page`` and ``per_page`` name, and the header that says which is next.

    Raises ParameterError, with Traefik's messages.
    """
    size = _number(query, "per_page", PER_PAGE)
    number = _number(query, "page", 1)
    if size > MOST_PER_PAGE:
        raise ParameterError(f"invalid request: per_page: {size}: at most {MOST_PER_PAGE}")
    start = (number - 1) * size
    if start and start >= len(items):
        raise ParameterError(f"invalid request: page: {number}, per_page: {size}")
    following = number + 1 if number * size < len(items) else 1
    return items[start : start + size], {NEXT_PAGE: str(following)}


def count(query: QueryParams, name: str, default: int) -> int:
    """A whole number of 0 or more. Raises ParameterError."""
    given = query.get(name, "")
    if not given:
        return default
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        raise ParameterError(f"invalid request: {name}: must be a whole number, 0 or more")
    return int(given)


def worst(statuses: Iterable[Health]) -> Health:
    """The worst of some statuses, enabled where there is none."""
    return max(statuses, key=_SEVERITY.__getitem__, default=Health.ENABLED)


_SEVERITY: Final = {Health.ENABLED: 0, Health.WARNING: 1, Health.DISABLED: 2}


def _name(item: Named) -> str:
    return item.name


def _number(query: QueryParams, name: str, default: int) -> int:
    given = query.get(name, "")
    if not given:
        return default
    sign, digits = (given[0], given[1:]) if given[0] in "+-" else ("", given)
    value = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
    if sign == "-":
        value = -value
    if value <= 0:
        raise ParameterError(f"invalid request: {name}: {value}")
    return value
