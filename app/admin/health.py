"""``/ping`` and ``/ready``: is it there, and does it want requests."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route


def admin_app(serving: Callable[[], bool]) -> Starlette:
    """The application of the admin port. ``/ping`` and ``/ready`` answer 200 while ``serving()``, and 503 after.

    The port opens when everything that is known at the start is served, so that before it nobody answers. The first is
    Traefik's name for it, the second what Kubernetes' readiness is usually called.
    """

    async def answer(_: Request) -> PlainTextResponse:
        return PlainTextResponse("OK") if serving() else PlainTextResponse("not serving", 503)

    return Starlette(routes=[Route("/ping", answer), Route("/ready", answer)])
