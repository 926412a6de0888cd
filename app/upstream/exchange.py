"""One request to an endpoint and its answer, whatever version of HTTP they are sent in."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import httpx2

from app.listeners.cycle import Cycle
from app.upstream.body import Body
from app.upstream.codec import ProtocolError
from app.upstream.fields import Fields, end_to_end, trailing
from app.upstream.timeouts import Timeouts, Watch
from middleware.errors import GatewayError

logger = logging.getLogger(__name__)

#: When this many bytes wait for a client that reads slowly, the backend has to wait until they have been taken.
HIGH_WATER = 64 * 1024
#: Seconds after which a body is sent although the backend did not say that it agrees (RFC 9110 §10.1.1).
CONTINUE_TIMEOUT = 1.0
#: Interim responses (1xx) to one request; more are no use to anybody.
MAX_INTERIM = 32

#: Passes on an interim response.
Inform = Callable[[int, Fields], Awaitable[None]]
#: Gives a connection that changed its protocol, and what came behind its 101.
Detach = Callable[[], tuple[asyncio.Transport, bytes]]


class ExchangeConnection(Protocol):
    """What an exchange asks of the connection, or of the stream, that it is on."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that it is in."""

    async def write(self, data: bytes) -> None:
        """Send a piece of the request's body, and wait while the backend does not take it."""

    def end_body(self, trailers: Fields) -> None:
        """The request's body ends, with ``trailers`` where its framing has a place for them."""

    def consumed(self, exchange: "Exchange") -> None:
        """The client has taken what was waiting for it. Another's request may be on the connection by now."""

    def give_up(self, exchange: "Exchange") -> None:
        """``exchange`` is of no interest any more."""

    def fail(self, exchange: "Exchange", error: GatewayError) -> None:
        """``exchange`` cannot go on because of ``error``."""


class Exchange(httpx2.AsyncByteStream):
    """A request and its response.

    The response goes to ``cycle`` as it comes, without anybody waiting for its pieces; or, where that is None, it is
    taken from here: :meth:`head`, then :meth:`take`. The request's body is sent by a task of its own, so that an answer
    can come before its end.
    """

    __slots__ = (
        "_body", "_chunks", "_connection", "_cycle", "_ended", "_hints", "_interim", "_patience", "_sender", "_size",
        "_waiter", "_watch", "answered_at", "detach", "failure", "fields", "on_done", "refused", "sent", "status",
        "trailers", "unanswered",
    )  # fmt: skip

    def __init__(self, connection: ExchangeConnection, body: Body | None, cycle: Cycle | None) -> None:
        self._connection = connection
        self._cycle = cycle
        self._waiter: asyncio.Future[None] | None = None
        # The request
        self._body = body
        self._sender: asyncio.Task[None] | None = None
        #: Runs while the body waits for the backend's agreement.
        self._patience: asyncio.TimerHandle | None = None
        self._interim = 0
        #: Whether the whole request has been sent.
        self.sent = body is None
        # The response: its head, the pieces of its body that were not taken yet, and its end, good or bad
        self._watch: Watch | None = None
        #: Interim responses that wait for :meth:`head`, None where nobody asks for them.
        self._hints: list[tuple[int, Fields]] | None = None
        self.status = 0
        #: When the head came, by ``time.perf_counter_ns``.
        self.answered_at = 0
        self.fields: Fields = []
        self.trailers: Fields = []
        #: After a 101 gives the connection itself, which does not read, and what came behind the answer. It must get
        #: another protocol at once. Raises BadGateway where it has ended.
        self.detach: Detach | None = None
        #: Whether not a byte has come back.
        self.unanswered = True
        #: Whether the backend has said that it did not work on the request.
        self.refused = False
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        #: Why there will be no (whole) response.
        self.failure: GatewayError | None = None
        #: Called when the response is complete, or will never be.
        self.on_done: Callable[[], object] | None = None

    # What the connection tells

    def on_informational(self, status: int, fields: Fields) -> None:
        """An interim response; 100 is what a waiting body waits for. Raises ProtocolError for too many.

        The client gets any other, unless it reads too slowly, or is one that nobody could tell of it.
        """
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise ProtocolError("too many interim responses")
        if status == 100:
            if self._patience is not None:
                self._patience.cancel()
                self._send()
        elif self._cycle is not None:
            if not self._cycle.blocked:
                self._cycle.inform(status, end_to_end(fields))
        elif self._hints is not None:
            self._hints.append((status, end_to_end(fields)))
            self._wake()

    def on_head(self, status: int, fields: Fields) -> None:
        """The final response has begun."""
        self.status = status
        self.fields = fields if self._cycle is not None else fields.copy()  # which others than we may change
        self.answered_at = time.perf_counter_ns()
        if self._watch is not None:
            self._watch.answered = True
            self._watch.moved()
        if self._cycle is not None:
            self._cycle.respond(status, fields, relayed=True)
        else:
            self._wake()

    def on_switch(self, fields: Fields, detach: Detach) -> None:
        """101 to a request that asked for another protocol. What is said in that has no limits."""
        self.detach = detach
        self.on_head(101, fields)
        self._stop_watching()

    def on_data(self, data: bytes) -> None:
        """A piece of its body."""
        if self._watch is not None:
            self._watch.moved()
        if self._cycle is not None:
            self._cycle.put(data)
        else:
            self._chunks.append(data)
            self._size += len(data)
            self._wake()

    def on_end(self, trailers: Fields) -> None:
        """The response is complete."""
        if trailers:
            trailers = trailing(trailers)
        self.trailers = trailers
        self._ended = True
        self._stop_sending()
        if self._cycle is not None:
            self._cycle.end(trailers)
        self._finish()

    def on_failure(self, error: GatewayError) -> None:
        """Nothing more will come."""
        self.failure = error
        self._stop_sending()
        self._finish()

    def _finish(self) -> None:
        if self.on_done is not None:
            self.on_done()
        else:
            self._wake()

    def waiting(self) -> int:
        """How many bytes wait for the client, of those that have come; what has come is sent."""
        cycle = self._cycle
        if cycle is None:
            return self._size
        cycle.flush()
        if not cycle.blocked:
            return 0
        cycle.on_writable = self._go_on
        return HIGH_WATER + 1

    @property
    def crowded(self) -> bool:
        """Whether so much waits for the client already, of this and of others, that only a little should come."""
        return self._cycle is not None and self._cycle.crowded

    def _go_on(self) -> None:
        if self._cycle is not None:
            self._cycle.on_writable = None
        self._connection.consumed(self)

    # What the proxy asks

    def watch(self, limits: Timeouts, deadline: float | None) -> None:
        """Fail with UpstreamTimeout where one of ``limits`` is reached, or the event loop's ``deadline``."""
        loop = self._connection.loop
        self._watch = Watch(loop, limits, deadline, self._is_blocked, self._expire, sent=self.sent)

    def _is_blocked(self) -> bool:
        return self._size > 0 if self._cycle is None else self._cycle.blocked

    def _expire(self, error: GatewayError) -> None:
        self._connection.fail(self, error)

    async def head(self, inform: Inform | None = None) -> None:
        """Wait for the final response's head: ``status`` and ``fields``. ``inform`` gets what comes before it.

        Raises BadGateway where the connection ends first or the answer is none, and what the request's body raised.
        """
        if inform is not None:
            self._hints = []
        while not self.status or self._hints:
            if inform is not None and self._hints:
                await inform(*self._hints.pop(0))
                continue
            if self.failure is not None:
                raise self.failure
            await self._wait()

    async def end(self) -> None:
        """Wait until ``cycle`` has got the whole response. Raises as :meth:`head` and :meth:`take`."""
        while not self._ended:
            if self.failure is not None:
                raise self.failure
            await self._wait()

    @property
    def ready(self) -> bool:
        """Whether :meth:`take` would not wait."""
        return bool(self._chunks) or self._ended or self.failure is not None

    async def take(self) -> tuple[bytes, bool]:
        """Everything of the body that is there, and whether more is to come; waits until there is something.

        Raises BadGateway where the response was cut off: the client's must then be cut off too.
        """
        while not self._chunks:
            if self._ended:
                return b"", False
            if self.failure is not None:
                raise self.failure
            await self._wait()
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        self._size = 0
        self._connection.consumed(self)
        return data, not self._ended

    async def __aiter__(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            data, more = await self.take()
            if data:
                yield data

    async def aclose(self) -> None:
        """:meth:`close`, as httpx2 wants it."""
        self.close()

    def close(self) -> None:
        """Let the connection go; without the whole response it is closed."""
        self._stop_sending()
        self.detach = None
        self._connection.give_up(self)

    async def _wait(self) -> None:
        self._waiter = self._connection.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The request's body

    def begin(self) -> None:
        """The head is sent: send the body, if there is one, when the backend may have it."""
        if self._body is None:
            return
        if self._body.asks:
            self._patience = self._connection.loop.call_later(CONTINUE_TIMEOUT, self._send)
        else:
            self._send()

    def _send(self) -> None:
        self._patience = None
        self._sender = self._connection.loop.create_task(self._send_all())

    async def _send_all(self) -> None:
        assert self._body is not None
        try:
            async for piece in self._body.pieces():
                await self._connection.write(piece)
                if self._watch is not None:
                    self._watch.moved()
            self._connection.end_body([] if self._body.trailers is None else self._body.trailers())
            self.sent = True
            if self._watch is not None:
                self._watch.sent = True
                self._watch.moved()
        except GatewayError as error:
            self._connection.fail(self, error)
        except Exception as error:
            logger.exception("the request's body could not be had")
            self._connection.fail(self, GatewayError(detail=repr(error)))

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _stop_sending(self) -> None:
        if self._watch is not None:
            self._stop_watching()
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if self._sender is not None:
            self._sender.cancel()
            self._sender = None
