"""HTTP/2 on a client's connection: each stream is a request of its own, with the limits that HTTP/1.1 has.

A protocol that :class:`app.listeners.http.GatewayProtocol` hands a connection over to, where the client has chosen
HTTP/2 in its TLS handshake or begins to speak it at once (RFC 9113 §3).
"""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, NamedTuple, cast

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.http2.frames import Code, ConnectionFailure
from app.http2.rules import RequestHead
from app.http2.server import ServerConnection
from app.http2.writer import Stream
from app.listeners.clock import LINGER, NEVER, StreamsClock
from app.listeners.cycle import ANSWER_EXTENSIONS, Cycle, begin
from app.listeners.http import BODY_TIMEOUT, HEAD_TIMEOUT, address_of
from app.listeners.reader import MAX_TARGET
from app.listeners.response import Date
from app.listeners.stream import Http2Cycle, Outlet
from app.listeners.target import Fields, check_authority, decoded, split_target
from middleware.errors import (
    BadRequest,
    GatewayError,
    HeadTooLarge,
    NotImplementedHere,
    RequestTimeout,
    TargetTooLong,
    TooManyConnections,
)

logger = logging.getLogger(__name__)

#: Bytes that all streams may send in one turn of the event loop, and one of several.
TURN: Final = 256 * 1024
PIECE: Final = 64 * 1024

_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}
_CHUNKED: Final = (b"transfer-encoding", b"chunked")


class _Target(NamedTuple):
    """What a request is for, in the words of ASGI."""

    path: str
    raw_path: bytes
    query: bytes
    #: The request's fields behind its Host, which :authority is here.
    fields: Fields
    expects: bool


class Http2Protocol(asyncio.Protocol):
    """One connection of a client."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.loop = loop
        self._app = config.loaded_app
        #: What the application can do without a task; see app.direct.
        self._at_once: Callable[[Cycle], bool] | None = getattr(self._app, "at_once", None)
        #: Where the application wants to hear of requests that it never gets.
        self._on_refused: Callable[[Scope, GatewayError], object] | None = getattr(self._app, "on_refused", None)
        self._app_state = app_state
        self._keep_alive: float = config.timeout_keep_alive
        self._limit = config.limit_concurrency
        self._root_path: str = config.root_path
        self._raw_root_path = self._root_path.encode()
        self._server_state = server_state
        self.core = ServerConnection(self, loop.time)
        # The connection
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else is called
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int | None] | None = None
        self._scheme = "http"
        self._clock: StreamsClock = None  # type: ignore[assignment]  # as above
        #: Whether the client was told that the server stops, and what the last stream is that is served.
        self._draining = self._last_named = False
        #: Whether nothing more is taken from the client.
        self._ended = False
        #: Whether the clock runs for a header block that has begun.
        self._awaits_head = False
        # Streams on which not everything was sent, and of those the ones that wait for their turn
        self._outlets: dict[Outlet, None] = {}
        self._ready: dict[Outlet, None] = {}
        # Writing
        self.write_paused = False
        self._reading = self._flushing = False
        #: Bytes of bodies that may still be sent in this turn.
        self.allowance = TURN

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn lists its own classes
        self._client = address_of(transport.get_extra_info("peername"))
        self._server = address_of(transport.get_extra_info("sockname"))
        if transport.get_extra_info("sslcontext") is not None:
            self._scheme = "https"
        self._clock = StreamsClock(self.loop, self._transport, self._on_timeout, self._on_tick)
        self._clock.wait(HEAD_TIMEOUT)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._server_state.connections.discard(self)
        self._clock.stop()
        streams = list(self.core.streams.values())
        self.core.close()
        self._outlets.clear()
        self._ready.clear()
        for stream in streams:
            outlet, stream.owner = stream.owner, None
            if outlet is not None:
                outlet.on_connection_lost()

    def eof_received(self) -> None:
        """Closes: a client that is done sending is done with the connection."""

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._reading = True
        try:
            self.core.feed(data)
        except ConnectionFailure as failure:
            logger.debug("refused: %s", failure)
            self._end()
        except Exception:
            logger.exception("a client's bytes were not understood")
            self.core.goaway(Code.INTERNAL_ERROR)
            self._end()
        else:
            if self.core.in_head != self._awaits_head:
                self._on_head_begun_or_ended()
        finally:
            self._reading = False
        self._flush()

    def pause_writing(self) -> None:
        self.write_paused = True
        self.allowance = 0

    def resume_writing(self) -> None:
        self.write_paused = False
        self.allowance = TURN
        self._clock.on_taken()
        self._schedule()

    # What uvicorn's server asks

    @property
    def draining(self) -> bool:
        """Whether the server is going to stop: the client is told at once, and what is on its way is still served."""
        return self._draining

    @draining.setter
    def draining(self, value: bool) -> None:
        if value and not self._draining and not self._ended:
            self._draining = True
            self.core.drain()
            self._rest()

    def shutdown(self) -> None:
        """The server is going to stop: end what is under way and on its way."""
        self.draining = True

    # What a stream asks

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the connection's transport knows."""
        return self._transport.get_extra_info(name, default)

    def adopt(self, outlet: Outlet) -> None:
        """A stream is used from now on by ``outlet``."""
        outlet.stream.owner = outlet
        if not self._outlets:
            self._clock.rest()
            self._awaits_head = False
        self._outlets[outlet] = None

    @property
    def share(self) -> int:
        """How many bytes of a body may go now where others wait or do not."""
        return PIECE if self._ready else TURN

    def keep(self, outlet: Outlet, sent: int = 0) -> None:
        """``outlet`` could not send all: tell it when it can."""
        outlet.wait_for_client(sent, self.loop.time())
        if self.core.room(outlet.stream) <= 0:
            self.core.wait(outlet.stream)
        else:
            self._ready[outlet] = None
            self._schedule()

    def on_sent(self, outlet: Outlet) -> None:
        """All that ``outlet`` had to send is sent. What the client still has to send is of no interest any more."""
        self._server_state.total_requests += 1
        self._forget(outlet, Code.NO_ERROR)

    def break_off(self, outlet: Outlet, code: Code = Code.INTERNAL_ERROR) -> None:
        """End a stream in the middle of its response."""
        self._forget(outlet, code)

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
        self._forget(mine, Code.NO_ERROR)

    # The core's callbacks

    def on_output(self) -> None:
        """There is something to send: with all that comes in this turn."""
        self._schedule()

    def on_request(self, stream: Stream, head: RequestHead, *, ended: bool) -> None:
        if head.method == "CONNECT":
            self._on_connect(stream, head)
            return
        target = head.memo
        if target is None:
            try:
                head.memo = target = self._target(head)
            except GatewayError as error:
                self._refuse(stream, head, error)
                return
        fields = target.fields.copy()
        if not ended and head.length is None:
            fields.append(_CHUNKED)  # By this a proxy knows that there is a body, as with HTTP/1.1.
        scope: Scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "2",
            "method": head.method,
            "scheme": self._scheme,
            "server": self._server,
            "client": self._client,
            "root_path": self._root_path,
            "path": target.path,
            "raw_path": target.raw_path,
            "query_string": target.query,
            "headers": fields,
            "state": self._app_state.copy(),
            "extensions": ANSWER_EXTENSIONS,
        }
        cycle = Http2Cycle(self, stream, scope, expects=target.expects)
        self.adopt(cycle)
        if ended:
            cycle.request_complete = True
        elif not target.expects:
            cycle.deadline = self.loop.time() + BODY_TIMEOUT
        cycle.running = True
        state = self._server_state
        if self._limit is not None and (len(state.connections) > self._limit or len(state.tasks) >= self._limit):
            if self._on_refused is not None:
                self._on_refused(cycle.scope, TooManyConnections())
            self.refuse(cycle, TooManyConnections.status, TooManyConnections.message)
            return
        if ended and self._at_once is not None and self._at_once(cycle):
            return
        begin(cycle, self._app, state, self.loop)

    def on_too_large(self, stream: Stream, head: RequestHead, *, ended: bool) -> None:
        self._refuse(stream, head, HeadTooLarge())

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

    def on_reset(self, stream: Stream, code: int) -> None:
        outlet, stream.owner = stream.owner, None
        task = None
        if outlet is not None:
            self._outlets.pop(outlet, None)
            self._ready.pop(outlet, None)
            task = outlet.task
            outlet.on_connection_lost()
        if task is None or task.done():
            self.core.let_go()
        else:
            task.add_done_callback(self._on_let_go)
        self._rest()

    def on_window(self, stream: Stream) -> None:
        if stream.owner is not None:
            stream.owner.on_room(self.share)

    def on_goaway(self, last_stream_id: int, code: int, reason: bytes) -> None:
        if code:
            logger.debug("the client leaves: %d: %r", code, reason)

    def on_settings(self) -> None:
        pass

    def on_ping(self, data: bytes) -> None:
        if self.draining:
            self._name_the_last()

    # Inside: requests

    def _target(self, head: RequestHead) -> _Target:
        """Raises GatewayError for a request that is well-formed and not served."""
        if head.scheme not in (b"http", b"https"):
            raise BadRequest("another scheme")
        assert head.path is not None
        if len(head.path) > MAX_TARGET:
            raise TargetTooLong
        if head.path[:1] != b"/" and head.path != b"*":
            raise BadRequest("the request target is no path")
        _, path, query = split_target(head.method, head.path)
        authority = head.authority
        expects = False
        fields: Fields = []
        for field in head.fields:
            if field[0] == b"host":
                if authority is None:
                    authority = field[1]
                elif authority.lower() != field[1].lower():
                    raise BadRequest("more than one host")
                continue
            if field[0] == b"expect":
                expects = field[1].lower() == b"100-continue"
            fields.append(field)
        if authority is None:
            raise BadRequest("no host")
        check_authority(authority)
        fields.insert(0, (b"host", authority))
        return _Target(self._root_path + decoded(path), self._raw_root_path + path, query, fields, expects)

    def _on_connect(self, stream: Stream, head: RequestHead) -> None:
        """A tunnel is asked for, to an address or (RFC 8441) for another protocol, such as ``websocket``.

        Who serves one makes a :class:`app.listeners.tunnel.StreamTransport` of ``stream``.
        """
        self._refuse(stream, head, NotImplementedHere())

    def _refuse(self, stream: Stream, head: RequestHead, error: GatewayError) -> None:
        logger.debug("refused: %d: %s", error.status, error)
        if self._on_refused is not None:
            self._on_refused(self._scope_of(head), error)
        self._answer(stream, error.status, error.message, head_only=head.method == "HEAD")
        self.core.reset(stream, Code.NO_ERROR)
        self._rest()

    def _scope_of(self, head: RequestHead) -> Scope:
        """What is known of a request that is not served."""
        return {
            "type": "http",
            "http_version": "2",
            "method": head.method,
            "scheme": self._scheme,
            "client": self._client,
            "raw_path": head.path or b"",
            "headers": [(b"host", head.authority or b""), *head.fields],
            "state": self._app_state,
        }

    def _answer(self, stream: Stream, status: int, message: str, *, head_only: bool) -> None:
        """A whole answer in plain text."""
        body = f"{status} {HTTPStatus(status).phrase}: {message}\n".encode()
        fields = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            Date.field(),
        ]
        if head_only:
            self.core.send_head(stream, status, fields, end=True)
        elif self.core.room(stream) < len(body):
            self.core.send_head(stream, status, fields[2:], end=True)  # nor is this worth waiting for
        else:
            self.core.send_head(stream, status, fields)
            self.core.send_data(stream, body, end=True)

    def _forget(self, outlet: Outlet, code: Code) -> None:
        """``outlet`` has ended for us."""
        stream = outlet.stream
        stream.owner = None
        self.core.release(stream)
        self.core.reset(stream, code)
        self._outlets.pop(outlet, None)
        self._ready.pop(outlet, None)
        self._rest()

    def _on_let_go(self, _: object) -> None:
        self.core.let_go()

    # Inside: turns

    def _schedule(self) -> None:
        if not self._flushing and not self._reading:
            self._flushing = True
            self.loop.call_soon(self._on_turn)

    def _on_turn(self) -> None:
        self._flushing = False
        self._flush()

    def _flush(self) -> None:
        """Send what there is, and then a piece of each body that waits, in turns."""
        transport = self._transport
        if self._ended or transport.is_closing():
            return
        ready = self._ready
        while ready and self.allowance > 0:
            outlet = next(iter(ready))
            del ready[outlet]
            outlet.on_room(self.share)
        if data := self.core.take():
            if not self.write_paused:
                self.core.taken()
                self.allowance = TURN
            transport.write(data)
            if ready and not self.write_paused:
                self._schedule()

    # Inside: time, and ends

    def _on_head_begun_or_ended(self) -> None:
        self._awaits_head = self.core.in_head
        if self._awaits_head:
            self._clock.wait(HEAD_TIMEOUT)
        else:
            self._clock.rest()
            self._rest()

    def _rest(self) -> None:
        """Go on behind the last of the streams, if it was that."""
        if self._outlets or self.core.streams or self._ended:
            return
        if self.draining:
            if self._last_named:
                self._close()
            else:
                self._clock.wait(LINGER)
        elif not self._awaits_head:
            self._clock.wait(self._keep_alive)

    def _name_the_last(self) -> None:
        if not self._last_named:
            self._last_named = True
            self.core.goaway()
        self._rest()

    def _on_timeout(self) -> None:
        """The client did not send what it was to send."""
        if self._ended:
            self._transport.abort()
        elif self.core.in_head:
            self.core.goaway(Code.ENHANCE_YOUR_CALM, "a header block that takes too long")
            self._end()
        elif not self.core.streams:
            self._name_the_last()
            self._close()

    def _on_tick(self, now: float) -> None:
        for outlet in list(self._outlets):
            stream = outlet.stream
            if now >= outlet.write_deadline:
                logger.debug("stream %d: the client does not take its answer", stream.id)
                self.break_off(outlet, Code.CANCEL)
                outlet.on_connection_lost()
            elif now >= outlet.deadline and stream.receiving and not stream.held:
                logger.debug("stream %d: the request's body does not come", stream.id)
                outlet.deadline = NEVER
                outlet.on_connection_lost()
                if isinstance(outlet, Http2Cycle) and not outlet.started:
                    error = RequestTimeout()
                    self._answer(stream, error.status, error.message, head_only=outlet.head_only)
                self.break_off(outlet, Code.CANCEL if stream.sending else Code.NO_ERROR)

    def _end(self) -> None:
        """Take nothing more, and close when what is owed was sent, or after a moment (RFC 9112 §9.6)."""
        self._flush()
        self._ended = True
        for stream in list(self.core.streams.values()):
            outlet, stream.owner = stream.owner, None
            if outlet is not None:
                outlet.on_connection_lost()
        self._outlets.clear()
        self._ready.clear()
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._clock.wait(LINGER)
        else:
            self._close()

    def _close(self) -> None:
        """Close when everything has been sent; the clock still runs for a client that does not take it."""
        self._flush()
        self._ended = True
        self._transport.close()
        self._clock.wait(LINGER)
