"""One HTTP/1.1 connection to an endpoint: one exchange after the other."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Final, cast

from app.listeners.cycle import Cycle
from app.upstream.body import Body
from app.upstream.codec import HttptoolsCodec, ProtocolError, ResponseCodec
from app.upstream.exchange import HIGH_WATER, Exchange
from app.upstream.fields import TE_TRAILERS, Fields, KeptFields
from middleware.errors import BadGateway, BadRequest, GatewayError

TE_LINE = b"\r\n%b\r\n" % b": ".join(TE_TRAILERS)

#: Bytes that are read at once: of one backend, and where much waits for the client already.
LARGE_READ: Final = 256 * 1024
SMALL_READ: Final = 16 * 1024


class _Buffers(threading.local):
    """What is read into, one for all connections of an event loop: it is copied from before the next read."""

    def __init__(self) -> None:
        self.large = memoryview(bytearray(LARGE_READ))
        self.small = self.large[:SMALL_READ]


_buffers = _Buffers()


class _Sparing(asyncio.BufferedProtocol):
    """Reads for a connection whose client has others' answers beside: only a little where much waits already.

    A read cannot be taken back, so how much it may bring has to be said before. It costs more than being given bytes.
    """

    def __init__(self, connection: "Http1Connection") -> None:
        self._connection = connection
        self._large, self._small = _buffers.large, _buffers.small
        self.eof_received = connection.eof_received  # type: ignore[method-assign]
        self.connection_lost = connection.connection_lost  # type: ignore[method-assign]
        self.pause_writing = connection.pause_writing  # type: ignore[method-assign]
        self.resume_writing = connection.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._small if self._connection.crowded else self._large

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.data_received(bytes(self._large[:nbytes]))


class Http1Connection(asyncio.Protocol):
    """A connection, idle or with one :class:`Exchange` on it. ``released`` is called when it may be used again."""

    shared: Final = False

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        authority: bytes,
        released: Callable[[Any], None],
        closed: Callable[[Any], None],
    ) -> None:
        self.loop = loop
        self._authority = authority
        self._released = released
        self._closed = closed
        self._codec: ResponseCodec = HttptoolsCodec(self)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else is called
        self._exchange: Exchange | None = None
        #: Whether the request's body goes in chunks.
        self._chunked = False
        self._spares = False
        self._reading_paused = False
        self._write_paused = False
        self._write_waiter: asyncio.Future[None] | None = None
        #: Whether an exchange has ended well on it: only then can a request meet a connection that is being closed.
        self.used = False
        # The pool's: whether it may be asked for, and when it became idle, by the event loop's clock
        self.listed = False
        self.idle_since = 0.0

    def start(
        self,
        method: str,
        target: bytes,
        fields: Fields,
        body: Body | None,
        cycle: Cycle | None = None,
        *,
        upgrade: bool = False,
    ) -> Exchange:
        """Send the head of a request, and ``body`` as it comes. The answer goes to ``cycle`` if there is one.

        ``upgrade``: it asks for another protocol.

        Raises BadRequest where a field or the target would break out of its line.
        """
        self._chunked = body is not None and body.length is None
        if self._chunked:
            fields = [*fields, (b"transfer-encoding", b"chunked")]
        try:
            head = request_head(method, target, fields, self._authority)
        except BadRequest:
            self._transport.abort()  # it was taken from the pool for this request
            raise
        exchange = self._exchange = Exchange(self, body, cycle)
        spares = cycle is not None and cycle.shares
        if spares is not self._spares:
            self._spares = spares
            self._transport.set_protocol(_Sparing(self) if spares else self)
        self._codec.expect(method, upgrade=upgrade)
        self._transport.write(head)
        exchange.begin()
        return exchange

    @property
    def free(self) -> int:
        """How many requests it takes now."""
        return 0 if self._exchange is not None or self._transport.is_closing() else 1

    @property
    def capacity(self) -> int:
        """How many requests it takes when there is none."""
        return 1

    @property
    def busy(self) -> bool:
        """Whether there is an exchange on it."""
        return self._exchange is not None

    @property
    def crowded(self) -> bool:
        """Whether only a little should come."""
        return self._exchange is not None and self._exchange.crowded

    def close(self) -> None:
        """End it at once; what is under way on it fails."""
        self._transport.abort()

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            # Nothing was asked: whatever this is, the next answer could not be told from it.
            self._transport.abort()
            return
        exchange.unanswered = False
        try:
            self._codec.feed(data)
        except ProtocolError as error:
            self._fail(BadGateway(detail=str(error)))
            return
        if self._exchange is exchange and exchange.waiting() > HIGH_WATER and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

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

    def on_switch(self, fields: Fields, behind: bytes) -> None:
        if self._exchange is not None:
            # What comes now is for whoever detaches the connection.
            self._transport.pause_reading()
            self._exchange.on_switch(fields, lambda: (self._detach(), behind))

    def on_data(self, data: bytes) -> None:
        if self._exchange is not None:
            self._exchange.on_data(data)

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

    def consumed(self, exchange: Exchange) -> None:
        """The client has taken what was waiting for it. Another's request may be on the connection by now."""
        if self._exchange is exchange:
            self._resume_reading()

    async def write(self, data: bytes) -> None:
        """Send, and wait while the backend does not take it."""
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        while self._write_paused:
            self._write_waiter = self.loop.create_future()
            try:
                await self._write_waiter
            finally:
                self._write_waiter = None

    def end_body(self, trailers: Fields) -> None:
        """The request's body ends. One that has a length has no place for ``trailers``."""
        if self._chunked:
            self._transport.write(b"\r\n".join((b"0", *map(b": ".join, trailers), b"", b"")))

    def give_up(self, exchange: Exchange) -> None:
        """``exchange`` is of no interest any more; with it the connection, unless it has ended already."""
        if self._exchange is exchange:
            self._exchange = None
            self._transport.abort()

    def fail(self, exchange: Exchange, error: GatewayError) -> None:
        """``exchange`` cannot go on because of ``error``, and the connection with it."""
        if self._exchange is exchange:
            self._fail(error)

    def _detach(self) -> asyncio.Transport:
        """Give the connection away."""
        if self._exchange is None or self._transport.is_closing():
            raise BadGateway(detail="the connection ended behind its 101")
        self._exchange = None
        self._codec.close()
        del self._codec
        self._closed(self)
        return self._transport

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


def request_head(method: str, target: bytes, fields: Fields, authority: bytes) -> bytes:
    """The bytes of a request's head. Raises BadRequest where a field or the target would break out of its line.

    A client of HTTP/1.0 may have named no host, where HTTP/1.1 must (RFC 9112 §3.2): then it is ``authority``. TE is of
    this connection, and says so.
    """
    first = b"%b %b HTTP/1.1" % (method.encode(), target)
    kept = fields if type(fields) is KeptFields else None
    if kept is not None and kept.lines is not None:
        if b"\n" in first or b"\r" in first or b"\0" in first:
            raise BadRequest("a line break in the request line")
        return first + kept.lines
    lines = [first, *map(b": ".join, fields), b"", b""]
    ours = len(lines)
    head = b"\r\n".join(lines)
    if b"\r\nhost: " not in head:
        lines.insert(-2, b"host: " + authority)
        head = b"\r\n".join(lines)
    if TE_LINE in head:
        lines.insert(-2, b"connection: te")
        head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
        raise BadRequest("a line break in a header field")
    if kept is not None and len(lines) == ours:
        kept.lines = head[len(first) :]
    return head
