"""The place of a filter that cannot be run."""

from starlette.types import ASGIApp, Receive, Scope, Send

from middleware.errors import NoValidBackend


class InvalidFilterMiddleware:
    """Answers every request 500: one that cannot pass a filter must not go on without it (HTTPRouteFilter).

    ``detail`` says for the log what is wrong.
    """

    def __init__(self, app: ASGIApp, *, detail: str) -> None:
        self.app = app
        self._detail = detail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NoValidBackend("the matching route has a filter that cannot be run", detail=self._detail)
