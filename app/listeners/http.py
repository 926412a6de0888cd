"""HTTP/1.1 on a client's connection, with the limits that the open internet asks for.

A protocol class for uvicorn: ``uvicorn app:gateway --http app.listeners.http:GatewayProtocol``. A request that could
mean two things to us and to a backend is refused with 400 and its connection closed (RFC 9112 §6, §11); a head has a
size, a number of fields and a time in which it must arrive; who does not read or does not send costs a bounded amount
of memory.
"""

import asyncio
import logging
from collections import deque
from http import HTTPStatus
from typing import Any, Final, cast

import httptools
from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.listeners.cycle import CYCLE, Cycle
from app.listeners.target import Fields, checked_host, decoded, split_target
from middleware.errors import (
    BadRequest,
    GatewayError,
    HeadTooLarge,
    NotImplementedHere,
    RequestTimeout,
    TargetTooLong,
)

logger = logging.getLogger(__name__)

#: Bytes of a request line and of a whole head, and fields in it (Envoy's are 60 KiB and 100).
MAX_TARGET: Final = 16 * 1024
MAX_HEAD: Final = 64 * 1024
MAX_FIELDS: Final = 100
#: Requests that a client may send ahead of their answers, beyond which it has to wait.
MAX_PIPELINED: Final = 32
#: Bytes of a body that nobody wants which are read to keep the connection.
MAX_DISCARDED: Final = 1024 * 1024

#: Seconds for a head to arrive, for the next piece of a body, and for a client to read some 50 kB of an answer.
HEAD_TIMEOUT: Final = 15.0
BODY_TIMEOUT: Final = 60.0
WRITE_TIMEOUT: Final = 120.0
#: How exact all of these are.
TICK: Final = 1.0

NEVER: Final = float("inf")

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
        self._app_state = app_state
        self._root_path: str = config.root_path
        self._server_state = server_state
        self._parser = httptools.HttpRequestParser(self)
        # The connection
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else is called
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int | None] | None = None
        self._scheme = "http"
        self.draining = False
        self.write_paused = False
        self._write_waiter: asyncio.Future[None] | None = None
        self._reading_paused = False
        #: Set when nothing more is taken from the client.
        self._refusal: GatewayError | None = None
        # What it has to do next, and until when
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        # The head that is being read
        self._target = b""
        self._fields: Fields = []
        self._head_size = 0
        self._head_bytes = 0
        self._in_head = False
        # The request that is being answered, the one whose body is being read, and those that came ahead
        self._current: Cycle | None = None
        self._reading: Cycle | None = None
        self._ahead: deque[Cycle] = deque()
        self._discarded = 0

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn lists its own classes
        self._client = _address(transport.get_extra_info("peername"))
        self._server = _address(transport.get_extra_info("sockname"))
        if transport.get_extra_info("sslcontext") is not None:
            self._scheme = "https"
        self._wait_for(HEAD_TIMEOUT)
        self._timer = self.loop.call_later(TICK, self._on_tick)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        for cycle in (self._current, *self._ahead):
            if cycle is not None and not cycle.complete:
                cycle.on_connection_lost()
        self.resume_writing()
        # The parser holds this connection as we hold it: without a circle of references both go at once.
        del self._parser

    def eof_received(self) -> None:
        """Closes: a client that is done sending is done with the connection."""

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
            if self._in_head and self._head_bytes > MAX_HEAD + len(data):
                raise HeadTooLarge
        except httptools.HttpParserUpgrade:
            self._upgrade()
        except GatewayError as error:
            self._refuse_with(error)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse_with(cause if isinstance(cause, GatewayError) else BadRequest(detail=str(error)))

    def pause_writing(self) -> None:
        self.write_paused = True
        self._wait_for(WRITE_TIMEOUT)

    def resume_writing(self) -> None:
        self.write_paused = False
        self._deadline = NEVER
        if self._write_waiter is not None:
            self._write_waiter.set_result(None)
            self._write_waiter = None

    # What uvicorn's server asks

    def shutdown(self) -> None:
        """The server is going to stop: end what is under way, and say so in its answer."""
        self.draining = True
        if self._current is None:
            self._transport.close()

    # What a cycle asks

    def write(self, data: bytes) -> None:
        """Send bytes of a response."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def writable(self) -> None:
        """Wait until the client has read of what was sent, or has left."""
        while self.write_paused:
            if self._write_waiter is None:
                self._write_waiter = self.loop.create_future()
            await asyncio.shield(self._write_waiter)

    def consumed(self) -> None:
        """The application has taken what there was of the body."""
        self._resume_reading()
        if self._reading is self._current and self._reading is not None and not self._reading.request_complete:
            self._wait_for(BODY_TIMEOUT)

    def abort(self) -> None:
        """Break the connection in the middle of a response."""
        self._transport.abort()

    def refuse(self, status: int, message: str) -> None:
        """Answer the current request, whose response has not begun, and close the connection."""
        self._current = None
        error = GatewayError(message)
        error.status = status
        self._refuse_with(error)

    def on_response_complete(self, cycle: Cycle) -> None:
        """The response has been sent: go on with the next request, or end."""
        self._server_state.total_requests += 1
        if cycle.close:
            if cycle.request_complete:
                self._transport.close()
            else:
                self._linger()
        elif cycle.request_complete:
            self._next()
        else:
            # Nobody wants the rest of this body; it is read to get at the next request.
            self._discarded = 0
            self._resume_reading()
            self._wait_for(BODY_TIMEOUT)

    # The parser's callbacks

    def on_message_begin(self) -> None:
        self._target, self._fields = b"", []
        self._head_size = self._head_bytes = 0
        self._in_head = True
        if self._current is None:
            self._wait_for(HEAD_TIMEOUT)

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > MAX_TARGET:
            raise TargetTooLong

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # A trailer: there is no place for it in ASGI, and among the fields it must not come.
        self._head_size += len(name) + len(value)
        if self._head_size > MAX_HEAD or len(self._fields) >= MAX_FIELDS:
            raise HeadTooLarge
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        method = self._parser.get_method().decode("ascii")
        version = self._parser.get_http_version()
        if method == "CONNECT":
            raise NotImplementedHere
        authority, path, query = split_target(method, self._target)
        checked_host(self._fields, version, authority)
        expects = self._check_fields(version)
        upgrade = self._parser.should_upgrade()
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
            "raw_path": self._root_path.encode() + path,
            "query_string": query,
            "headers": self._fields,
            "state": self._app_state.copy(),
        }
        keep_alive = version != "1.0" and not upgrade and self._parser.should_keep_alive()
        cycle = Cycle(self, scope, keep_alive=keep_alive, expects=expects)
        scope[CYCLE] = cycle
        self._reading = cycle
        self._deadline = NEVER
        if upgrade and self._upgrades_to_websocket():
            return
        if self._current is None:
            self._start(cycle)
        else:
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
        elif cycle.on_body(data):
            self._pause_reading()
            self._deadline = NEVER
        else:
            self._wait_for(BODY_TIMEOUT)

    def on_message_complete(self) -> None:
        cycle, self._reading = self._reading, None
        if cycle is None:
            return
        cycle.on_request_complete()
        self._deadline = NEVER
        if cycle.complete and cycle is self._current and not cycle.close:
            self._next()

    # Inside

    def _check_fields(self, version: str) -> bool:
        """Whether the client waits to be told to go on. Raises for a body that could be read in two ways."""
        expects = False
        codings = 0
        for name, value in self._fields:
            if name == b"transfer-encoding":
                codings += 1
                if value.lower() != b"chunked":
                    raise NotImplementedHere("the transfer coding is not served")
            elif name == b"expect":
                expects = value.lower() == b"100-continue"
        if codings and (codings > 1 or version == "1.0"):
            raise BadRequest("a transfer coding in doubt")
        return expects

    def _start(self, cycle: Cycle) -> None:
        self._current = cycle
        limit = self._config.limit_concurrency
        if limit is not None and len(self._server_state.connections) > limit:
            self.refuse(503, "too many connections")
            return
        cycle.task = task = self.loop.create_task(cycle.run(self._app))
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)

    def _next(self) -> None:
        self._current = None
        if self._ahead:
            cycle = self._ahead.popleft()
            if len(self._ahead) < MAX_PIPELINED:
                self._resume_reading()
            self._start(cycle)
        elif self._refusal is not None:
            self._send_refusal(self._refusal)
        elif self.draining:
            self._transport.close()
        else:
            self._resume_reading()
            self._wait_for(self._config.timeout_keep_alive)

    def _upgrades_to_websocket(self) -> bool:
        wanted = any(name == b"upgrade" and value.lower() == b"websocket" for name, value in self._fields)
        return wanted and self._config.ws_protocol_class is not None and self._current is None

    def _upgrade(self) -> None:
        """The head asked for another protocol: uvicorn's WebSocket protocol takes the connection, or nobody does."""
        cycle, self._reading = self._reading, None
        if cycle is None or cycle is self._current or cycle in self._ahead:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._server_state.connections.discard(self)
        lines = [b"%b %b HTTP/1.1" % (cycle.scope["method"].encode(), self._target)]
        lines += [b"%b: %b" % field for field in self._fields]
        protocol = cast(Any, self._config.ws_protocol_class)(
            config=self._config, server_state=self._server_state, app_state=self._app_state
        )
        protocol.connection_made(self._transport)
        protocol.data_received(b"\r\n".join(lines) + b"\r\n\r\n")
        self._transport.set_protocol(protocol)

    def _refuse_with(self, error: GatewayError) -> None:
        """Take nothing more from the client, and tell it why once what came before is answered."""
        self._refusal = error
        self._reading = None
        if self._current is None or self._current.complete:
            self._send_refusal(error)
        elif not self._current.request_complete:
            # The body that is being read has no end that could be trusted.
            if self._current.started:
                self._transport.abort()
            else:
                self._current.on_connection_lost()
                self._send_refusal(error)

    def _send_refusal(self, error: GatewayError) -> None:
        phrase = HTTPStatus(error.status).phrase
        body = f"{error.status} {phrase}: {error.message}\n".encode()
        head = (
            f"HTTP/1.1 {error.status} {phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.write(head.encode() + body)
        self._linger()

    def _linger(self) -> None:
        """Close, but read on for a moment: unread bytes would make the kernel reset what was sent (RFC 9112 §9.6)."""
        self._refusal = self._refusal or BadRequest()
        self._resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._wait_for(0)

    def _wait_for(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds

    def _on_tick(self) -> None:
        """One coarse timer for all of the connection's time-outs; moving a deadline costs nothing."""
        if self.loop.time() < self._deadline:
            self._timer = self.loop.call_later(TICK, self._on_tick)
        elif self._current is not None and not self._current.started and not self._current.request_complete:
            self._deadline = NEVER
            self._timer = self.loop.call_later(TICK, self._on_tick)
            self._refuse_with(RequestTimeout())
        elif self._in_head and self._refusal is None and self._current is None:
            self._timer = self.loop.call_later(TICK, self._on_tick)
            self._refuse_with(RequestTimeout())
        else:
            self._transport.abort()

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()


def _address(name: Any) -> tuple[str, int] | None:
    """Host and port of a socket's name, None for a Unix socket."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
