"""HTTP/1.1 on a client's connection, with the limits that the open internet asks for.

A protocol class for uvicorn: ``uvicorn app:gateway --http app.listeners.http:GatewayProtocol``. Requests are answered
in their order, one at a time; a head has a time in which it must arrive; who does not read or does not send costs a
bounded amount of memory, and loses the connection in the end.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.http2.frames import PREFACE
from app.listeners.clock import BODY_TIMEOUT, HEAD_TIMEOUT, LINGER, Clock
from app.listeners.cycle import ANSWER_EXTENSIONS, BODY_HIGH_WATER, Cycle, begin
from app.listeners.http2 import Http2Protocol
from app.listeners.peer import address_of
from app.listeners.reader import RequestReader
from app.listeners.response import Http1Cycle, refusal
from app.listeners.target import Fields, decoded
from app.listeners.upgrade import Http1Handshake
from app.listeners.websocket import EXTENSIONS, WebSocketCycle
from app.websocket.handshake import checked_key, offered
from middleware.errors import BadRequest, GatewayError, RequestTimeout, TooManyConnections

logger = logging.getLogger(__name__)

#: Requests that a client may send ahead of their answers, beyond which it has to wait.
MAX_PIPELINED: Final = 32
#: Bytes of a body that nobody wants which are read to keep the connection.
MAX_DISCARDED: Final = 1024 * 1024

#: Seconds, when the server stops, for a request that may be on its way on an idle connection.
GRACE: Final = 1.0

_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}


class GatewayProtocol(asyncio.Protocol):
    """One connection of a client."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.loop = _loop or asyncio.get_running_loop()
        self._config = config
        self._app = config.loaded_app
        #: What the application can do without a task; see app.direct.
        self._at_once: Callable[[Cycle], bool] | None = getattr(self._app, "at_once", None)
        self._app_state = app_state
        #: Where the application wants to hear of requests that it never gets.
        self._on_refused = getattr(self._app, "on_refused", None)
        self._limit = config.limit_concurrency
        self._root_path: str = config.root_path
        self._raw_root_path = self._root_path.encode()
        self._server_state = server_state
        self._reader = RequestReader(self)
        # The connection
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else is called
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int | None] | None = None
        self._scheme = "http"
        #: Answers say that they are the last.
        self.draining = False
        self._stopping = False
        self.write_paused = False
        self._write_waiter: asyncio.Future[None] | None = None
        self._reading_paused = False
        self._clock: Clock = None  # type: ignore[assignment]  # as above
        #: What has come as long as it may be the beginning of HTTP/2 (RFC 9113 §3.4).
        self._opening: bytes | None = b""
        #: Whether the clock runs for a head that has begun.
        self._awaits_head = False
        # The request that is being answered, the one whose body is being read, and those that came ahead
        self._current: Http1Cycle | None = None
        self._reading: Http1Cycle | None = None
        self._ahead: deque[Http1Cycle] = deque()
        self._discarded = 0
        #: Set while a WebSocket handshake waits for its answer.
        self._handshake: Http1Handshake | None = None
        #: Set when nothing more is taken from the client: what it gets after the answers that it is owed.
        self._farewell: bytes | None = None

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        secured = transport.get_extra_info("ssl_object")
        if secured is not None and secured.selected_alpn_protocol() == "h2":
            self._transport = cast(asyncio.Transport, transport)
            self._reader.close()
            self._speak_http2(b"")
            return
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn lists its own classes
        self._client = address_of(transport.get_extra_info("peername"))
        self._server = address_of(transport.get_extra_info("sockname"))
        if transport.get_extra_info("sslcontext") is not None:
            self._scheme = "https"
        self._clock = Clock(self.loop, self._transport, self._on_timeout)
        self._clock.wait(HEAD_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        cycles = [cycle for cycle in (self._current, *self._ahead) if cycle is not None]
        self._current = self._reading = self._handshake = None
        self._ahead.clear()
        self.resume_writing()
        self._let_go()
        for cycle in cycles:
            cycle.on_connection_lost()

    def eof_received(self) -> None:
        """Closes: a client that is done sending is done with the connection."""

    def data_received(self, data: bytes) -> None:
        if self._farewell is not None:
            return
        if self._opening is not None:
            data = self._opening + data
            if PREFACE.startswith(data[: len(PREFACE)]):
                self._opening = data
                if len(data) >= len(PREFACE):
                    self._let_go()
                    self._speak_http2(data)
                return
            self._opening = None
        try:
            self._reader.feed(data)
        except GatewayError as error:
            logger.debug("refused: %d: %s", error.status, error)
            self._refuse(error)
        except Exception:
            logger.exception("a client's bytes were not understood")
            self._refuse(GatewayError())
        else:
            if not self._awaits_head and self._current is None and self._farewell is None and self._reader.in_head:
                self._awaits_head = True
                self._clock.wait(HEAD_TIMEOUT)

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        self._clock.on_taken()
        if self._write_waiter is not None and not self._write_waiter.done():
            self._write_waiter.set_result(None)
        cycle = self._current
        if cycle is None:
            return
        if cycle.on_writable is not None:
            cycle.on_writable()
        if cycle.complete and cycle.request_complete and not cycle.close:
            self._next()

    # What uvicorn's server asks

    def shutdown(self) -> None:
        """The server is going to stop: end what is under way, and say so in its answer."""
        if self._stopping:
            return
        self.draining = self._stopping = True
        if self._farewell is None and not self._ahead:
            if self._current is not None and self._current.complete:
                self._close()
            elif self._current is None and not self._reader.in_head:
                self._clock.wait(GRACE)

    # What a cycle asks

    def write(self, data: bytes) -> None:
        """Send bytes of a response."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def write_all(self, parts: list[bytes]) -> None:
        """Send the bytes of a response that come in several pieces."""
        if not self._transport.is_closing():
            self._transport.writelines(parts)

    async def writable(self) -> None:
        """Wait until the client has read of what was sent, or has left."""
        while self.write_paused:
            self._write_waiter = self.loop.create_future()
            try:
                await self._write_waiter
            finally:
                self._write_waiter = None

    def go_on(self, cycle: Cycle) -> None:
        """Tell the client that its body is wanted (RFC 9110 §10.1.1)."""
        self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._reading is cycle:
            self._clock.wait(BODY_TIMEOUT)

    def consumed(self, cycle: Cycle) -> None:
        """The application has taken what there was of the body."""
        if len(self._ahead) < MAX_PIPELINED:
            self._resume_reading()
        if self._reading is cycle:
            self._clock.wait(BODY_TIMEOUT)

    def abort(self) -> None:
        """Break the connection in the middle of a response."""
        self._transport.abort()

    def refuse(self, cycle: Cycle, status: int, message: str) -> None:
        """Answer the current request, whose response has not begun, and end the connection."""
        self._say_farewell(refusal(status, message, head_only=cycle.head_only))

    def on_response_complete(self, cycle: Http1Cycle) -> None:
        """The response has been sent: go on with the next request, or end."""
        self._server_state.total_requests += 1
        if not cycle.close:
            if cycle.request_complete:
                self._next()
            else:
                # Nobody wants the rest of this body; it is read to get at the next request.
                self._discarded = 0
                self._resume_reading()
                self._clock.wait(BODY_TIMEOUT)
        elif cycle.request_complete and not self._ahead:
            self._close()
        else:
            self._linger()

    # The reader's callbacks

    def on_begin(self) -> None:
        if self._farewell is not None:
            raise BadRequest  # The end came among these bytes; whoever is to stop reading them learns it so.

    def on_head(
        self,
        method: str,
        version: str,
        path: bytes,
        query: bytes,
        fields: Fields,
        *,
        keep_alive: bool,
        has_body: bool,
        expects: bool,
    ) -> None:
        scope: Scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": method,
            "scheme": self._scheme,
            "server": self._server,
            "client": self._client,
            "root_path": self._root_path,
            "path": self._root_path + decoded(path),
            "raw_path": self._raw_root_path + path,
            "query_string": query,
            "headers": fields,
            "state": self._app_state.copy(),
            "extensions": ANSWER_EXTENSIONS,
        }
        cycle = self._reading = Http1Cycle(self, scope, keep_alive=keep_alive, expects=expects)
        cycle.trailers_wanted = self._reader.takes_trailers
        self._awaits_head = False
        self._clock.rest()
        if self._current is None:
            self._current = cycle
            if has_body:
                if not expects:
                    self._clock.wait(BODY_TIMEOUT)
                self._start(cycle)
            return
        self._ahead.append(cycle)
        if len(self._ahead) >= MAX_PIPELINED:
            self._pause_reading()
        if len(self._ahead) > 8 * MAX_PIPELINED:
            raise BadRequest("too many requests ahead of their answers")

    def on_body(self, data: bytes) -> None:
        cycle = self._reading
        if cycle is None:
            return
        if cycle.complete:
            self._discarded += len(data)
            if self._discarded > MAX_DISCARDED:
                self._linger()
        elif cycle.on_body(data) or cycle is not self._current:
            self._pause_reading()
            self._clock.rest()
        else:
            self._clock.wait(BODY_TIMEOUT)

    def on_end(self, trailers: Fields) -> None:
        cycle, self._reading = self._reading, None
        if cycle is None:
            return
        cycle.trailers = trailers
        self._clock.rest()
        cycle.on_request_complete()
        if cycle is not self._current:
            return
        if cycle.complete:
            self._next()
        elif not cycle.running:
            self._start(cycle)

    def takes_websocket(self) -> bool:
        return self._config.ws_protocol_class is not None and self._current is None and not self._stopping

    def on_websocket(self, path: bytes, query: bytes, fields: Fields) -> None:
        key = checked_key(fields)
        scope: Scope = {
            "type": "websocket",
            "asgi": _ASGI,
            "http_version": "1.1",
            "scheme": "wss" if self._scheme == "https" else "ws",
            "server": self._server,
            "client": self._client,
            "root_path": self._root_path,
            "path": self._root_path + decoded(path),
            "raw_path": self._raw_root_path + path,
            "query_string": query,
            "headers": fields,
            "subprotocols": offered(fields),
            "state": self._app_state.copy(),
            "extensions": EXTENSIONS,
        }
        response = Http1Cycle(self, {"http_version": "1.1", "method": "GET"}, keep_alive=False, expects=False)
        response.on_request_complete()
        self._current = response
        self._handshake = handshake = Http1Handshake(self, response, key)
        websocket = handshake.websocket = WebSocketCycle(handshake, scope, self._config, self.loop)
        response.on_disconnect = websocket.on_connection_lost
        self._awaits_head = False
        self._clock.rest()
        self._start(response, websocket, at_once=False)  # else it could be answered before its last bytes are read

    def on_early(self, data: bytes) -> None:
        if self._handshake is not None and self._handshake.on_early(data) > BODY_HIGH_WATER:
            self._pause_reading()

    # What a handshake asks

    def switch(self, head: bytes, websocket: WebSocketCycle, protocol: asyncio.Protocol, early: bytes) -> None:
        """Send the answer to a WebSocket handshake, and leave the connection to ``protocol``."""
        transport = self._transport
        self._current = self._handshake = None
        self._server_state.total_requests += 1
        self._server_state.connections.add(websocket)  # type: ignore[arg-type]  # as ourselves
        self._let_go()
        transport.write(head)
        transport.set_protocol(protocol)
        self._resume_reading()
        protocol.connection_made(transport)
        if self.write_paused:
            protocol.pause_writing()  # the pause began before the connection was its own
        if early:
            protocol.data_received(early)
        if self._stopping:
            websocket.shutdown()

    def on_websocket_end(self, websocket: WebSocketCycle) -> None:
        """The connection that was left to a WebSocket has ended."""
        self._server_state.connections.discard(websocket)

    def _speak_http2(self, data: bytes) -> None:
        protocol = Http2Protocol(self._config, self._server_state, self._app_state, self.loop)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if data:
            protocol.data_received(data)

    # Inside: from one request to the next

    def _start(self, cycle: Http1Cycle, websocket: WebSocketCycle | None = None, *, at_once: bool = True) -> None:
        cycle.running = True
        state = self._server_state
        if self._limit is not None and len(state.connections) > self._limit:
            if self._on_refused is not None:
                self._on_refused(cycle.scope, TooManyConnections())
            self.refuse(cycle, TooManyConnections.status, TooManyConnections.message)
            return
        if at_once and cycle.request_complete and self._at_once is not None and self._at_once(cycle):
            return
        begin(websocket or cycle, self._app, state, self.loop, eager=at_once)

    def serve(self, cycle: Cycle) -> None:
        """Have the application answer what it could not forward on the spot."""
        begin(cycle, self._app, self._server_state, self.loop, eager=False)

    def _next(self) -> None:
        """Go on behind a request that was read and answered; not while its answer waits for the client."""
        if self.write_paused:
            return
        self._current = None
        if self._ahead:
            cycle = self._current = self._ahead.popleft()
            if len(self._ahead) < MAX_PIPELINED:
                self._resume_reading()
            if self._reading is cycle and not cycle.asked_to_continue:
                self._clock.wait(BODY_TIMEOUT)
            self._start(cycle, at_once=False)  # else each of them would run inside the one before
        elif self._farewell is not None:
            self._say_farewell(self._farewell)
        else:
            self._resume_reading()
            idle = GRACE if self._stopping else self._config.timeout_keep_alive
            self._clock.wait(HEAD_TIMEOUT if self._reader.in_head else idle)

    # Inside: ends

    def _refuse(self, error: GatewayError) -> None:
        """Take nothing more from the client, and tell it why once what came before is answered."""
        if self._farewell is not None:
            return
        cycle = self._current
        reading, self._reading = self._reading, None
        head_only = self._reader.head_only if reading is None else reading.head_only
        self._farewell = refusal(error.status, error.message, head_only=head_only, fields=error.headers)
        if self._on_refused is not None and (reading is None or not reading.running):
            self._on_refused(self._scope_of_begun() if reading is None else reading.scope, error)
        self._clock.rest()
        if cycle is None:
            self._say_farewell(self._farewell)
        elif reading is None:
            pass  # The head of a later request is at fault: it is refused in its turn.
        elif reading is not cycle:
            self._ahead.pop()  # So is the body of a later one.
        elif cycle.complete:
            self._linger()  # There is one answer to a request, and this one has it.
        elif cycle.started:
            self._transport.abort()
        else:
            cycle.on_connection_lost()
            self._say_farewell(self._farewell)

    def _scope_of_begun(self) -> Scope:
        method, version, target, fields = self._reader.begun
        return {
            "type": "http",
            "http_version": version,
            "method": method,
            "scheme": self._scheme,
            "client": self._client,
            "raw_path": target,
            "headers": fields,
            "state": self._app_state,
        }

    def _say_farewell(self, data: bytes) -> None:
        self.write(data)
        self._linger()

    def _linger(self) -> None:
        """Close, but read on for a moment: unread bytes would make the kernel reset what was sent (RFC 9112 §9.6)."""
        self._farewell = b""
        self._current = self._reading = None
        self._ahead.clear()
        self._resume_reading()
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._clock.wait(LINGER)
        else:
            self._close()

    def _close(self) -> None:
        """Close when everything has been sent; the clock still runs for a client that does not take it."""
        self._farewell = b""
        self._transport.close()
        self._clock.wait(LINGER)

    def _let_go(self) -> None:
        """The connection is over for this protocol."""
        self._farewell = b""
        self._server_state.connections.discard(self)
        self._clock.stop()
        # The reader holds this protocol as we hold it: without a circle of references both go at once.
        self._reader.close()
        del self._reader

    def _on_timeout(self) -> None:
        """The client did not send what it was to send."""
        cycle = self._current
        if self._farewell is not None:
            self._transport.abort()
        elif cycle is None:
            if self._reader.in_head:
                self._refuse(RequestTimeout())
            else:
                self._close()
        elif cycle.complete:
            self._close()
        else:
            self._refuse(RequestTimeout())

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
