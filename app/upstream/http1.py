"""One HTTP/1.1 connection to an endpoint: one exchange after the other."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import cast

import httpx2

from app.upstream.body import Body
from app.upstream.codec import HttptoolsCodec, ProtocolError, ResponseCodec
from app.upstream.fields import Fields
from middleware.errors import BadGateway, GatewayError

logger = logging.getLogger(__name__)

#: When this many bytes wait for a client that reads slowly, the backend has to wait until they have been taken.
HIGH_WATER = 64 * 1024
#: Seconds after which a body is sent although the backend did not say that it agrees (RFC 9110 §10.1.1).
CONTINUE_TIMEOUT = 1.0
#: Interim responses (1xx) to one request; more are no use to anybody.
MAX_INTERIM = 32


class Http1Connection(asyncio.Protocol):
    """A connection, idle or with one :class:`Exchange` on it. ``released`` is called when it may be used again."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        released: Callable[["Http1Connection"], None],
        closed: Callable[["Http1Connection"], None],
    ) -> None:
        self.loop = loop
        self._released = released
        self._closed = closed
        self._codec: ResponseCodec = HttptoolsCodec(self)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else is called
        self._exchange: Exchange | None = None
        self._reading_paused = False
        self._write_paused = False
        self._write_waiter: asyncio.Future[None] | None = None
        #: Whether an exchange has ended well on it: only then can a request meet a connection that is being closed.
        self.used = False
        #: When it became idle, by the event loop's clock.
        self.idle_since = 0.0

    def start(self, method: str, head: bytes, body: Body | None) -> "Exchange":
        """Send the head of a request, and ``body`` as it comes."""
        exchange = self._exchange = Exchange(self, body)
        self._codec.expect(method)
        self._transport.write(head)
        return exchange

    @property
    def closing(self) -> bool:
        """Whether it can take no request any more."""
        return self._transport.is_closing()

    def close(self) -> None:
        """End it at once; what is under way on it fails."""
        self._transport.abort()

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            # Nothing was asked: whatever this is, the next answer could not be told from it.
            self._transport.abort()
            return
        self._exchange.unanswered = False
        try:
            self._codec.feed(data)
        except ProtocolError as error:
            self._fail(BadGateway(detail=str(error)))

    def eof_received(self) -> None:
        """Closes: a backend that sends no more can get no further request."""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._exchange is not None:
            try:
                if exc is not None:
                    raise ProtocolError(repr(exc))
                self._codec.eof()
            except ProtocolError as error:
                self._fail(BadGateway(detail=str(error)))
        self.resume_writing()
        self._codec.close()
        del self._codec
        self._closed(self)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._write_waiter is not None and not self._write_waiter.done():
            self._write_waiter.set_result(None)

    # The codec's callbacks

    def on_informational(self, status: int, fields: Fields) -> None:
        if self._exchange is not None:
            self._exchange.on_informational(status, fields)

    def on_head(self, status: int, fields: Fields) -> None:
        if self._exchange is not None:
            self._exchange.on_head(status, fields)

    def on_data(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.on_data(data) > HIGH_WATER and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def on_end(self, trailers: Fields, *, reusable: bool) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        exchange.on_end(trailers)
        self._resume_reading()
        if reusable and exchange.sent and not self._transport.is_closing():
            self.used = True
            self._released(self)
        else:
            # Where the answer came before the request was all sent, the rest would be taken for the next one; and a
            # backend that does not read it must not keep us.
            self._transport.abort()

    # What an exchange asks of its connection

    def consumed(self, exchange: "Exchange") -> None:
        """The client has taken what was waiting for it. Another's request may be on the connection by now."""
        if self._exchange is exchange:
            self._resume_reading()

    async def write(self, data: bytes) -> None:
        """Send, and wait while the backend does not take it."""
        self._transport.write(data)
        while self._write_paused:
            self._write_waiter = self.loop.create_future()
            try:
                await self._write_waiter
            finally:
                self._write_waiter = None

    def give_up(self, exchange: "Exchange") -> None:
        """``exchange`` is of no interest any more; with it the connection, unless it has ended already."""
        if self._exchange is exchange:
            self._exchange = None
            self._transport.abort()

    def fail(self, exchange: "Exchange", error: GatewayError) -> None:
        """``exchange`` cannot go on because of ``error``, and the connection with it."""
        if self._exchange is exchange:
            self._fail(error)

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _fail(self, error: GatewayError) -> None:
        exchange, self._exchange = self._exchange, None
        self._transport.abort()
        if exchange is not None:
            exchange.on_failure(error)


class Exchange(httpx2.AsyncByteStream):
    """A request and its response, which is also the stream of the response's body.

    The body of the request is sent by a task of its own, so that an answer can come before its end.
    """

    __slots__ = (
        "_body", "_chunks", "_connection", "_ended", "_failure", "_interim", "_patience", "_sender", "_size", "_waiter",
        "fields", "sent", "status", "trailers", "unanswered",
    )  # fmt: skip

    def __init__(self, connection: Http1Connection, body: Body | None) -> None:
        self._connection = connection
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
        self.status = 0
        self.fields: Fields = []
        self.trailers: Fields = []
        #: Whether not a byte has come back.
        self.unanswered = True
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._failure: GatewayError | None = None
        if body is not None:
            self._begin(body)

    # What the connection tells

    def on_informational(self, status: int, fields: Fields) -> None:
        """An interim response; 100 is what a waiting body waits for. Raises ProtocolError for too many."""
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise ProtocolError("too many interim responses")
        if status == 100 and self._patience is not None:
            self._patience.cancel()
            self._send()

    def on_head(self, status: int, fields: Fields) -> None:
        """The final response has begun."""
        self.status = status
        self.fields = fields
        self._wake()

    def on_data(self, data: bytes) -> int:
        """Keep ``data`` for the client. Answers how many bytes wait."""
        self._chunks.append(data)
        self._size += len(data)
        self._wake()
        return self._size

    def on_end(self, trailers: Fields) -> None:
        """The response is complete."""
        self.trailers = trailers
        self._ended = True
        self._stop_sending()
        self._wake()

    def on_failure(self, error: GatewayError) -> None:
        """Nothing more will come."""
        self._failure = error
        self._stop_sending()
        self._wake()

    # What the proxy asks

    async def head(self) -> None:
        """Wait for the final response's head: ``status`` and ``fields``.

        Raises BadGateway where the connection ends first or the answer is none, and what the request's body raised.
        """
        while not self.status:
            if self._failure is not None:
                raise self._failure
            await self._wait()

    @property
    def ready(self) -> bool:
        """Whether :meth:`take` would not wait."""
        return bool(self._chunks) or self._ended or self._failure is not None

    async def take(self) -> tuple[bytes, bool]:
        """Everything of the body that is there, and whether more is to come; waits until there is something.

        Raises BadGateway where the response was cut off: the client's must then be cut off too.
        """
        while not self._chunks:
            if self._ended:
                return b"", False
            if self._failure is not None:
                raise self._failure
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

    def _begin(self, body: Body) -> None:
        if body.asks:
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
            self.sent = True
        except GatewayError as error:
            self._connection.fail(self, error)
        except Exception as error:
            logger.exception("the request's body could not be had")
            self._connection.fail(self, GatewayError(detail=repr(error)))

    def _stop_sending(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if self._sender is not None:
            self._sender.cancel()
            self._sender = None
