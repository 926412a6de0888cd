"""A rule's filters as ASGI middleware around what serves the rule."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from starlette.types import ASGIApp

from routes.table.types import Backend, Filter

#: Where a request's scope says which of the Gateway's ports it came to, by the number in the Gateway's ``listeners``.
LISTENER_PORT: Final = "moongate.port"

#: Makes the application that sends requests to a backend: for filters that have one of their own.
ProxyTo = Callable[[Backend], ASGIApp]

#: Makes the middleware of a filter: the application behind it, the filter, the rule's matched prefix, and proxies.
FilterFactory = Callable[[ASGIApp, Filter, str | None, ProxyTo], ASGIApp]

FILTERS: Final[Mapping[str, FilterFactory]] = {}


def around(app: ASGIApp, filters: Sequence[Filter], prefix: str | None, proxy_to: ProxyTo) -> ASGIApp:
    """``app`` behind ``filters``, which requests pass in the order of the list."""
    for filter_ in reversed(filters):
        app = FILTERS[filter_.type](app, filter_, prefix, proxy_to)
    return app
