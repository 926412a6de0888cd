"""One connection of an HTTP/1.1 client: its requests one after the other, its time-outs, and its end."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.listeners.clock import BODY_TIMEOUT, HEAD_TIMEOUT, LINGER, Clock
from app.listeners.cycle import Cycle, begin
from app.listeners.reader import RequestReader
from app.listeners.response import Http1Cycle, refusal
from app.listeners.websocket import WebSocketCycle
from middleware.errors import GatewayError, RequestTimeout, TooManyConnections

#: Requests that a client may send ahead of their answers, beyond which it has to wait.
MAX_PIPELINED: Final = 32
#: Seconds, when the server stops, for a request that may be on its way on an idle connection.
GRACE: Final = 1.0


class SerialProtocol(asyncio.Protocol):
    """Answers requests in their order, one at a time. What they are, a subclass reads.

    It sets ``_reader``, ``_transport`` and ``_clock``, and with each request that it reads ``_reading`` and either
    ``_current``, which it starts, or one more ``_ahead``.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.loop = loop or asyncio.get_running_loop()
        self._config = config
        self._app = config.loaded_app
        #: What the application can do without a task; see app.direct.
        self._at_once: Callable[[Cycle], bool] | None = getattr(self._app, "at_once", None)
        #: Where the application wants to hear of requests that it never gets.
        self._on_refused = getattr(self._app, "on_refused", None)
        self._limit = config.limit_concurrency
        self._server_state = server_state
        self._reader: RequestReader  # set before anything else is called
        # The connection
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else is called
        #: Answers say that they are the last.
        self.draining = False
        self._stopping = False
        self.write_paused = False
        self._write_waiter: asyncio.Future[None] | None = None
        self._reading_paused = False
        self._clock: Clock = None  # type: ignore[assignment]  # as above
        #: Whether the clock runs for a head that has begun.
        self._awaits_head = False
        # The request that is being answered, the one whose body is being read, and those that came ahead
        self._current: Http1Cycle | None = None
        self._reading: Http1Cycle | None = None
        self._ahead: deque[Http1Cycle] = deque()
        #: Bytes of the present body, which nobody wants.
        self._discarded = 0
        #: Set when nothing more is taken from the client: what it gets after the answers that it is owed.
        self._farewell: bytes | None = None

    # asyncio's callbacks

    def connection_lost(self, exc: Exception | None) -> None:
        cycles = [cycle for cycle in (self._current, *self._ahead) if cycle is not None]
        self._current = self._reading = None
        self._ahead.clear()
        self.resume_writing()
        self._let_go()
        for cycle in cycles:
            cycle.on_connection_lost()

    def eof_received(self) -> None:
        """Closes: a client that is done sending is done with the connection."""

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

    def begun(self) -> Scope:
        """What is known of a request whose head is not complete."""
        raise NotImplementedError

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
            self._on_refused(self.begun() if reading is None else reading.scope, error)
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
