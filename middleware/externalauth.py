"""ExternalAuth: another server is asked whether a request may pass (GEP-1494), over plain HTTP."""

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.connection import HOP_BY_HOP, Fields, settled
from middleware.errors import BadGateway, ClientDisconnected, GatewayError, Source, UpstreamTimeout
from middleware.record import record_of
from middleware.scope import DECIDED, TARGET_PATH, dashed, decided, detached
from routes.resources.filters import HTTPExternalAuthFilter

#: Seconds in which an authorization server has to begin its answer.
PATIENCE: Final = 10.0

#: Envoy's response flag for a request that was not authorized.
DENIED: Final = "UAEX"

_ALWAYS: Final = frozenset({b"host", b"authorization"})
#: Fields that are never asked for or told: those of a connection, and those that speak of one message's body.
_OWN: Final = HOP_BY_HOP | {b"content-length", b"expect", b"host", b"http2-settings"}


class BodyTooLarge(GatewayError):  # noqa: N818 - as its fellows in middleware.errors
    """The body is larger than what the authorization server is to see, and may not pass unseen."""

    status = 413
    source = Source.CLIENT
    flag = DENIED
    message = "the body is too large"


class ExternalAuthMiddleware:
    """Lets a request pass where ``server`` answers 200 to its method, path and some of its fields.

    Asked is with the client's method and query (a WebSocket's handshake is a GET), the path behind ``http.path``, Host,
    Authorization and ``http.allowedHeaders``. With a 200 the fields in ``http.allowedResponseHeaders`` go into the
    request in the place of any that the client sent by these names, which never pass, even where the server gives none;
    without such a list all do but Host and those that speak of the answer itself. Names that differ in ``_`` for ``-``
    are the same here, as they are to a backend behind CGI or WSGI. Any other answer is the client's, redirects to a
    login and ``WWW-Authenticate`` included.

    It fails closed: without an answer, or after :data:`PATIENCE` seconds, the request is answered 502, 503 or 504, as
    the same failure of a backend would be. Of ``forwardBody.maxSize`` bytes of body the server gets all; since it would
    else decide on what it has not seen, more are answered 413.

    WebSockets are denied with the server's answer where the server around us can send it, else 403.
    """

    def __init__(self, app: ASGIApp, *, server: ASGIApp, config: HTTPExternalAuthFilter) -> None:
        self.app = app
        self._server = server
        http = config.http
        asked = http.allowed_headers if http is not None else ()
        told = http.allowed_response_headers if http is not None else ()
        self._asked = (_ALWAYS | {name.lower().encode() for name in asked}) - _OWN | {b"host"}
        self._told = frozenset(name.lower().encode() for name in told) - _OWN
        self._replaced = dashed(self._told)
        self._tells_all = not told
        path = (http.path or "").strip("/") if http is not None else ""
        self._prefix = f"/{path}".encode() if path else b""
        self._max_body = config.forward_body.max_size if config.forward_body is not None else 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        if self._max_body and scope["type"] == "http":
            body = await self._body(scope, receive)
            receive = _Again(body, receive).receive
        answer = _Answer(scope, send)
        try:
            async with asyncio.timeout(PATIENCE) as limit:
                answer.limit = limit
                await self._server(self._question(scope, body), _Again(body, _forever).receive, answer.send)
        except TimeoutError:
            raise UpstreamTimeout(detail="authorization") from None
        if not answer.status:
            raise BadGateway(detail="no answer from the authorization server")
        if answer.status == 200:
            await self.app(self._granted(scope, answer.fields), receive, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body. Raises BodyTooLarge, ClientDisconnected."""
        if any(name == b"content-length" and int(value) > self._max_body for name, value in scope["headers"]):
            raise BodyTooLarge
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            body += message.get("body", b"")
            if len(body) > self._max_body:
                raise BodyTooLarge
            more = message.get("more_body", False)
        return bytes(body)

    def _question(self, scope: Scope, body: bytes) -> Scope:
        headers = [field for field in settled(scope["headers"]) if field[0] in self._asked]
        path: bytes = self._prefix + scope[TARGET_PATH]
        return {
            **detached(scope),
            "type": "http",
            "http_version": "1.1",
            "method": scope.get("method", "GET"),
            "scheme": "https" if scope.get("scheme") in ("https", "wss") else "http",
            "raw_path": path,
            TARGET_PATH: path,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
        }

    def _granted(self, scope: Scope, answer: Fields) -> Scope:
        """The request's ``scope`` with what the authorization server has to say."""
        if not self._tells_all:
            added = [field for field in answer if field[0] in self._told]
            replaced = self._replaced
        else:
            added = [field for field in answer if field[0] not in _OWN and not field[0].startswith(b"content-")]
            replaced = dashed(name for name, _ in added)
        if not replaced:
            return scope
        kept = [field for field in settled(scope["headers"]) if field[0].replace(b"_", b"-") not in replaced]
        return {**scope, "headers": [*kept, *added], DECIDED: decided(scope, replaced)}


class _Answer:
    """What the authorization server answers: kept where it is 200, else the client's."""

    __slots__ = ("_scope", "_send", "fields", "limit", "status")

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self.status = 0
        self.fields: Fields = []
        self.limit: asyncio.Timeout | None = None

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
            self.fields = [(name.lower(), value) for name, value in message.get("headers", ())]
            if self.status == 200:
                return
            if self.limit is not None:
                self.limit.reschedule(None)  # From here it is an answer like any other.
            if record := record_of(self._scope):
                record.add_flag(DENIED)
        elif self.status == 200 or kind != "http.response.body":
            return
        if self._scope["type"] == "http":
            await self._send(message)
        elif "websocket.http.response" in (self._scope.get("extensions") or {}):
            await self._send({**message, "type": f"websocket.{kind}"})
        elif kind == "http.response.start":
            await self._send({"type": "websocket.close"})


class _Again:
    """A body that was received already, and what comes behind it."""

    __slots__ = ("_body", "_receive")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def receive(self) -> Message:
        body, self._body = self._body, None
        if body is None:
            return await self._receive()
        return {"type": "http.request", "body": body, "more_body": False}


async def _forever() -> Message:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]
