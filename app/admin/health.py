"""``/ping`` and ``/ready``: is it there, and does it want requests."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route


def routes(serving: Callable[[], bool]) -> list[BaseRoute]:
    """``/ping`` and ``/ready``, which answer 200 while ``serving()``, and 503 after.

    The port opens when everything that is known at the start is served, so that before it nobody answers. The first is
    Traefik's name for it, the second what Kubernetes' readiness is usually called.
    """

    async def answer(_: Request) -> PlainTextResponse:
        return PlainTextResponse("OK") if serving() else PlainTextResponse("not serving", 503)

    return [Route("/ping", answer), Route("/ready", answer)]
