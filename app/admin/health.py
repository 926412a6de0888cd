"""``/ping``: is it there, and does it want requests."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route


def admin_app(serving: Callable[[], bool]) -> Starlette:
    """The application of the admin port. ``/ping`` answers 200 while ``serving()`` and 503 before and after."""

    async def ping(_: Request) -> PlainTextResponse:
        return PlainTextResponse("OK") if serving() else PlainTextResponse("not serving", 503)

    return Starlette(routes=[Route("/ping", ping)])
