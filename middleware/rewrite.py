"""URLRewrite: the backend sees another host or path than the client asked for."""

from starlette.types import ASGIApp, Receive, Scope, Send

from middleware.headers import with_host
from middleware.pathmodifier import PathChange
from middleware.scope import TARGET_PATH


class URLRewriteMiddleware:
    """Replaces Host by ``hostname`` and the path as ``path`` says, each where it is given; the query stays.

    The path is the one below the gateway's mount, :data:`~middleware.scope.TARGET_PATH`. What the scope says of the
    client's own path stays, and so does ``X-Forwarded-Host``.
    """

    def __init__(self, app: ASGIApp, *, hostname: str | None = None, path: PathChange | None = None) -> None:
        self.app = app
        self._host = hostname.encode() if hostname else None
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = {**scope}
        if self._host is not None:
            scope["headers"] = with_host(scope["headers"], self._host)
        if self._path is not None:
            scope[TARGET_PATH] = self._path(scope[TARGET_PATH])
        await self.app(scope, receive, send)
