"""RequestRedirect: the client is sent elsewhere."""

import re
from typing import Final
from urllib.parse import quote

from starlette.types import ASGIApp, Receive, Scope, Send

from middleware.errors import BadRequest, respond
from middleware.forwarded import split_port
from middleware.pathmodifier import PathChange
from middleware.scope import LISTENER_PORT, TARGET_PATH
from routes.resources.filters import HTTPRequestRedirectFilter

#: The ports that are left out of a URL.
_WELL_KNOWN: Final = {"http": 80, "https": 443}

_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\]")
#: Our own server lets none of these come so far.
_NOT_IN_LOCATION: Final = re.compile(rb'[^!-~]|["<>\\]')


class RequestRedirectMiddleware:
    """Answers every request, a WebSocket's handshake as well, with where to go instead; nothing passes.

    What ``config`` leaves open is as in the request: the scheme, the host, the path with the gateway's mount, and
    always the query. The port follows the scheme where that is given, and is else the listener's; it is never the
    one of ``Host``. Where the scheme stands for the port it is left out. ``Location`` is always a whole URL, so that a
    path that begins with ``//`` leads to no other host. Raises BadRequest for a request whose host nobody knows.
    """

    def __init__(self, app: ASGIApp, *, config: HTTPRequestRedirectFilter, path: PathChange | None = None) -> None:
        self.app = app
        self._config = config
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = self._config.status_code
        location = self._location(scope)
        websocket = scope["type"] == "websocket"
        if websocket and "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close"})  # such a server can only answer 403
            return
        text = f"look at {location.decode('ascii')}"
        headers = [(b"location", location)]
        await respond(send, status, text, method=scope.get("method", "GET"), headers=headers, websocket=websocket)

    def _location(self, scope: Scope) -> bytes:
        config = self._config
        scheme = config.scheme or ("https" if scope.get("scheme") in ("https", "wss") else "http")
        port = config.port or (_WELL_KNOWN[scheme] if config.scheme else scope.get(LISTENER_PORT))
        if config.hostname is not None:
            host = config.hostname.encode()
        else:
            host = split_port(next((value for name, value in scope["headers"] if name == b"host"), b""))[0]
            if _HOST.fullmatch(host) is None:
                raise BadRequest("a redirect needs to know the host")
        if port is not None and port != _WELL_KNOWN[scheme]:
            host = b"%b:%d" % (host, port)
        path: bytes = scope[TARGET_PATH]
        if not path.startswith(b"/"):
            path = b"/"  # OPTIONS * is for the server as a whole
        if self._path is not None:
            path = self._path(path)
        if root := scope.get("root_path", ""):
            path = quote(root).encode() + path
        query: bytes = scope["query_string"]
        location = b"%b://%b%b%b" % (scheme.encode(), host, path, b"?" + query if query else b"")
        return _NOT_IN_LOCATION.sub(lambda match: b"%%%02X" % match[0][0], location)
