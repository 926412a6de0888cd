"""HTTP/2 on a client's connection: each stream is a request of its own, with the limits that HTTP/1.1 has.

A protocol that :class:`app.listeners.http.GatewayProtocol` hands a connection over to, where the client has chosen
HTTP/2 in its TLS handshake or begins to speak it at once (RFC 9113 §3).
"""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.http2.frames import Code, StreamFailure
from app.http2.rules import RequestHead
from app.http2.writer import Stream
from app.listeners.clock import BODY_TIMEOUT
from app.listeners.connect import Http2Handshake
from app.listeners.cycle import Cycle, begin
from app.listeners.multiplex import MultiplexProtocol
from app.listeners.peer import Peer
from app.listeners.scopes import Scopes
from app.listeners.stream import Http2Cycle, Outlet, told
from app.listeners.target import Fields
from app.listeners.websocket import WebSocketCycle
from middleware.date import date_field
from middleware.errors import (
    BadRequest,
    GatewayError,
    HeadTooLarge,
    NotImplementedHere,
    TooManyConnections,
)

logger = logging.getLogger(__name__)


class Http2Protocol(MultiplexProtocol):
    """One connection of a client."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(server_state, config.timeout_keep_alive, loop)
        self._config = config
        self._app = config.loaded_app
        #: What the application can do without a task; see app.direct.
        self._at_once: Callable[[Cycle], bool] | None = getattr(self._app, "at_once", None)
        #: Where the application wants to hear of requests that it never gets.
        self._on_refused: Callable[[Scope, GatewayError], object] | None = getattr(self._app, "on_refused", None)
        self.app_state = app_state
        self._limit = config.limit_concurrency
        self._scopes: Scopes = None  # type: ignore[assignment]  # set before anything is asked
        self._stopping = False

    def on_peer(self, peer: Peer) -> None:
        self._scopes = Scopes(peer, self._config.root_path, self.app_state)

    # What uvicorn's server asks

    def shutdown(self) -> None:
        """The server is going to stop: end what is under way and on its way."""
        self._stopping = self.draining = True

    # What a cycle asks

    def serve(self, cycle: Cycle) -> None:
        """Have the application answer what it could not forward on the spot."""
        begin(cycle, self._app, self._server_state, self.loop, eager=False)

    def go_on(self, cycle: Cycle) -> None:
        """Tell the client that its body is wanted (RFC 9110 §10.1.1)."""
        mine = cast(Http2Cycle, cycle)
        self.core.send_head(mine.stream, 100, [])
        mine.deadline = self.loop.time() + BODY_TIMEOUT

    def consumed(self, cycle: Cycle) -> None:
        """The application has taken what there was of the body."""
        mine = cast(Http2Cycle, cycle)
        self.core.release(mine.stream)
        if not cycle.request_complete:
            mine.deadline = self.loop.time() + BODY_TIMEOUT

    def refuse(self, cycle: Cycle, status: int, message: str) -> None:
        """Answer a request whose response has not begun, and take no more of it."""
        mine = cast(Http2Cycle, cycle)
        cycle.complete = True
        self._answer(mine.stream, status, message, head_only=cycle.head_only)
        self.forget(mine, Code.NO_ERROR)

    # What a handshake asks

    def on_websocket(self, websocket: WebSocketCycle) -> None:
        """A stream has become a WebSocket: it counts as a connection of its own, and is told when the server stops."""
        self._server_state.connections.add(websocket)  # type: ignore[arg-type]  # as ourselves
        if self._stopping:
            websocket.shutdown()

    def on_websocket_end(self, websocket: WebSocketCycle) -> None:
        """It has ended."""
        self._server_state.connections.discard(websocket)

    # The core's callbacks

    def on_request(self, stream: Stream, head: RequestHead, *, ended: bool) -> None:
        if head.method == "CONNECT":
            self._on_connect(stream, head)
            return
        try:
            scope, expects = self._scopes.http(head, ended=ended)
        except GatewayError as error:
            self._refuse(stream, head, error)
            return
        cycle = Http2Cycle(self, stream, scope, expects=expects)
        self.adopt(cycle)
        if ended:
            cycle.request_complete = True
        elif not expects:
            cycle.deadline = self.loop.time() + BODY_TIMEOUT
        cycle.running = True
        if self._is_full:
            self._refuse_for_now(cycle, scope)
        elif not (ended and self._at_once is not None and self._at_once(cycle)):
            begin(cycle, self._app, self._server_state, self.loop)

    def on_too_large(self, stream: Stream, head: RequestHead, *, ended: bool) -> None:
        self._refuse(stream, head, HeadTooLarge())

    def on_malformed(self, head: RequestHead, failure: StreamFailure) -> None:
        self._tell(self._scopes.refused(head), BadRequest(detail=str(failure)))

    def on_data(self, stream: Stream, data: bytes) -> None:
        outlet = stream.owner
        if outlet is None:
            self.core.consumed(stream, len(data))
        else:
            outlet.on_body(data)

    def on_end(self, stream: Stream, trailers: Fields) -> None:
        outlet = stream.owner
        if outlet is not None:
            outlet.trailers = trailers
            outlet.on_request_complete()

    # Time-outs and ends

    def on_failure(self, error: GatewayError) -> None:
        self._tell(self._scopes.refused(None), error)

    def on_late(self, outlet: Outlet, error: GatewayError) -> None:
        if isinstance(outlet, Http2Cycle) and not outlet.started:
            self._answer(outlet.stream, error.status, error.message, head_only=outlet.head_only)

    # Inside

    def _on_connect(self, stream: Stream, head: RequestHead) -> None:
        """A tunnel is asked for, to an address or (RFC 8441) for another protocol: ``websocket`` is served."""
        protocol = (head.protocol or b"").lower()
        try:
            if protocol != b"websocket" or self._config.ws_protocol_class is None:
                raise NotImplementedHere
            scope = self._scopes.websocket(head)
        except GatewayError as error:
            self._refuse(stream, head, error)
            return
        response = Http2Cycle(self, stream, {"method": "CONNECT"}, expects=False)
        self.adopt(response)
        response.request_complete = not stream.receiving
        if self._is_full:
            self._refuse_for_now(response, {**scope, "method": head.method})
            return
        handshake = Http2Handshake(self, response)
        websocket = handshake.websocket = WebSocketCycle(handshake, scope, self._config, self.loop)
        response.on_disconnect = websocket.on_connection_lost
        begin(websocket, self._app, self._server_state, self.loop, eager=False)
        response.task = websocket.task

    @property
    def _is_full(self) -> bool:
        state, limit = self._server_state, self._limit
        return limit is not None and (len(state.connections) > limit or len(state.tasks) >= limit)

    def _refuse_for_now(self, cycle: Http2Cycle, scope: Scope) -> None:
        error = TooManyConnections()
        self._tell(scope, error)
        self.refuse(cycle, error.status, error.message)

    def _refuse(self, stream: Stream, head: RequestHead, error: GatewayError) -> None:
        self._tell(self._scopes.refused(head), error)
        self._answer(stream, error.status, error.message, head_only=head.method == "HEAD", fields=error.headers)
        self.core.reset(stream, Code.NO_ERROR)
        self._rest()

    def _tell(self, scope: Scope, error: GatewayError) -> None:
        """What the application never gets it is at least told of."""
        logger.debug("refused: %d: %s", error.status, error)
        if self._on_refused is not None:
            self._on_refused(scope, error)

    def _answer(
        self,
        stream: Stream,
        status: int,
        message: str,
        *,
        head_only: bool,
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        """A whole answer in plain text."""
        body = f"{status} {HTTPStatus(status).phrase}: {message}\n".encode()
        described = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
        general = [date_field(), *told(fields)]
        if head_only:
            self.core.send_head(stream, status, described + general, end=True)
        elif self.core.room(stream) < len(body):
            self.core.send_head(stream, status, general, end=True)  # nor is this worth waiting for
        else:
            self.core.send_head(stream, status, described + general)
            self.core.send_data(stream, body, end=True)
