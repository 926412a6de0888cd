"""One HTTP/2 connection to an endpoint: many exchanges at once, each with a stream and windows of its own.

A client that reads slowly stops its own stream only: what may wait for it is bounded by the stream's window, and the
connection's window is never the smaller one (:data:`app.http2.client.MAX_HELD`). What all of them send in one turn of
the event loop is one write.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, cast

from app.http2.client import MAX_STREAMS, ClientConnection
from app.http2.frames import Code, ConnectionFailure
from app.http2.writer import Stream
from app.listeners.cycle import Cycle
from app.upstream.body import Body
from app.upstream.exchange import Exchange
from app.upstream.fields import Fields
from middleware.errors import BadGateway, BadRequest, GatewayError

logger = logging.getLogger(__name__)

#: Bytes of a body that one stream sends before it looks whether the connection takes more.
PIECE: Final = 64 * 1024

NEVER: Final = float("inf")


class Http2Connection(asyncio.Protocol):
    """A connection with as many exchanges on it as the endpoint allows.

    ``released`` is called when it may take more of them, or has none any more; ``closed`` at its end.
    """

    shared: Final = True

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        authority: bytes,
        scheme: bytes,
        released: Callable[[Any], None],
        closed: Callable[[Any], None],
    ) -> None:
        self.loop = loop
        self._authority = authority
        self._scheme = scheme
        self._released = released
        self._closed = closed
        self.core = ClientConnection(self, loop.time)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else is called
        #: Exchanges that got something in this turn.
        self._touched: dict[Lane, None] = {}
        # Writing: whether it has to wait, who does, and what bodies have sent since
        self.write_paused = False
        self._writers: dict[asyncio.Future[None], None] = {}
        self._unwritten = 0
        #: Bodies that wait, for the connection or for a window.
        self.waiting = 0
        self._reading = self._scheduled = False
        #: Whether an exchange has ended well on it: only then can a request meet a connection that is being closed.
        self.used = False
        # The pool's: whether it may be asked for more, and when it became idle, by the event loop's clock
        self.listed = False
        self.idle_since = NEVER

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

        Raises BadRequest for what no field may be. HTTP/2 has no ``upgrade``, and nobody must ask for one here.
        """
        assert not upgrade
        authority = self._authority
        kept: Fields = []
        for field in fields:
            if field[0] == b"host":
                authority = field[1]
            else:
                kept.append(field)
        try:
            stream = self.core.send_request(method.encode(), self._scheme, authority, target, kept, end=body is None)
        except ValueError:
            self._released(self)
            raise BadRequest("a line break in a header field") from None
        self.idle_since = NEVER
        lane = Lane(self, stream)
        exchange = lane.exchange = Exchange(lane, body, cycle)
        stream.owner = lane
        exchange.begin()
        return exchange

    @property
    def free(self) -> int:
        """How many requests it takes now: none while the endpoint does not even read those that were sent."""
        return 0 if self.write_paused or self._transport.is_closing() else self.core.free

    @property
    def capacity(self) -> int:
        """How many requests it takes when there is none."""
        return max(1, min(self.core.max_streams, MAX_STREAMS))

    @property
    def busy(self) -> bool:
        """Whether there is an exchange on it."""
        return bool(self.core.streams)

    def close(self) -> None:
        """End it at once; what is under way on it fails."""
        if not self.busy and not self.write_paused:
            self.core.goaway()
            self._flush()
        self._transport.abort()

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self.on_output()

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        self._reading = True
        try:
            self.core.feed(data)
            touched, self._touched = self._touched, {}
            for lane in touched:
                lane.pass_on()
        except ConnectionFailure as failure:
            self._break(str(failure))
        except Exception:
            logger.exception("an answer could not be passed on")
            self.core.goaway(Code.INTERNAL_ERROR)
            self._break("an answer could not be passed on")
        finally:
            self._reading = False
        if self.core.exhausted and not self.busy:
            self._end()
        else:
            self._flush()

    def eof_received(self) -> None:
        """Closes: a backend that sends no more can answer nothing."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail_all("the connection ended" if exc is None else repr(exc))
        self._wake_writers()
        self.core.close()
        self._closed(self)

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        self.core.taken()
        self._wake_writers()
        self._released(self)

    # The core's callbacks

    def on_output(self) -> None:
        """There is something to send: with everything else of this turn."""
        if not self._reading and not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._on_turn)

    def on_informational(self, stream: Stream, status: int, fields: Fields) -> None:
        exchange = self._exchange_of(stream)
        if exchange is not None:
            exchange.unanswered = False
            exchange.on_informational(status, fields)

    def on_response(self, stream: Stream, status: int, fields: Fields, *, ended: bool) -> None:
        exchange = self._exchange_of(stream)
        if exchange is not None:
            exchange.unanswered = False
            exchange.on_head(status, fields)
            if ended:
                self.on_end(stream, [])
            else:
                self._touched[stream.owner] = None

    def on_data(self, stream: Stream, data: bytes) -> None:
        exchange = self._exchange_of(stream)
        if exchange is not None:
            exchange.on_data(data)
            self._touched[stream.owner] = None

    def on_end(self, stream: Stream, trailers: Fields) -> None:
        lane: Lane | None = stream.owner
        if lane is None:
            return
        exchange = self.detach(lane)
        self.used = True
        # The answer may come before the request is all sent: nobody wants the rest.
        self.core.release(stream)
        self.core.reset(stream, Code.CANCEL)
        self._released(self)
        exchange.on_end(trailers)

    def on_reset(self, stream: Stream, code: int) -> None:
        lane: Lane | None = stream.owner
        if lane is not None:
            exchange = self.detach(lane)
            # RFC 9113 §8.7: nothing of it was worked on; GOAWAY says so, too, of the streams that it leaves out.
            exchange.refused = code == Code.REFUSED_STREAM
            self._released(self)
            exchange.on_failure(BadGateway(detail=f"the stream was reset: {_name(code)}"))

    def on_window(self, stream: Stream) -> None:
        if stream.owner is not None:
            stream.owner.wake()

    def on_goaway(self, last_stream_id: int, code: int, reason: bytes) -> None:
        if code:
            logger.debug("%s goes away: %s: %r", self._authority, _name(code), reason)

    def on_settings(self) -> None:
        self._released(self)

    def on_ping(self, data: bytes) -> None:
        """Nobody asks."""

    # What a lane asks

    def detach(self, lane: "Lane") -> Exchange:
        """``lane`` carries its exchange no longer."""
        exchange, lane.exchange = lane.exchange, None
        lane.stream.owner = None
        self._touched.pop(lane, None)
        assert exchange is not None
        return exchange

    def cancel(self, lane: "Lane") -> Exchange:
        """The exchange of ``lane`` is of no interest any more."""
        exchange = self.detach(lane)
        self.core.reset(lane.stream, Code.CANCEL)
        self._released(self)
        if self.core.exhausted and not self.busy and not self._reading:
            self._end()
        return exchange

    def send(self, stream: Stream, piece: memoryview) -> None:
        """Send a piece of a body: soon, or at once where much of them waits."""
        self.core.send_data(stream, piece)
        self._unwritten += len(piece)
        if self._unwritten >= PIECE:
            self._flush()

    async def writable(self) -> None:
        """Wait until the endpoint has read of what was sent."""
        while self.write_paused:
            writer = self.loop.create_future()
            self._writers[writer] = None
            self.waiting += 1
            try:
                await writer
            finally:
                self.waiting -= 1
                self._writers.pop(writer, None)

    # Inside

    def _exchange_of(self, stream: Stream) -> Exchange | None:
        lane: Lane | None = stream.owner
        return None if lane is None else lane.exchange

    def _on_turn(self) -> None:
        self._scheduled = False
        self._flush()

    def _flush(self) -> None:
        self._unwritten = 0
        if not self._transport.is_closing() and (data := self.core.take()):
            self._transport.write(data)
            if not self.write_paused:
                self.core.taken()

    def _end(self) -> None:
        """Send what there is, and close."""
        self._flush()
        self._transport.close()

    def _break(self, detail: str) -> None:
        """The connection cannot go on."""
        self._fail_all(detail)
        self._end()

    def _fail_all(self, detail: str) -> None:
        for stream in list(self.core.streams.values()):
            if stream.owner is not None:
                self.detach(stream.owner).on_failure(BadGateway(detail=detail))

    def _wake_writers(self) -> None:
        for writer in self._writers:
            if not writer.done():
                writer.set_result(None)


class Lane:
    """A stream, as the exchange on it knows it."""

    __slots__ = ("_connection", "_waiter", "exchange", "stream")

    def __init__(self, connection: Http2Connection, stream: Stream) -> None:
        self._connection = connection
        self.stream = stream
        #: None when it has ended.
        self.exchange: Exchange | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that it is in."""
        return self._connection.loop

    def pass_on(self) -> None:
        """Send what has come on to the client; what it takes, the endpoint may send again."""
        if self.exchange is not None and not self.exchange.waiting():
            self._connection.core.release(self.stream)

    def wake(self) -> None:
        """The endpoint takes more of the request's body."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def write(self, data: bytes) -> None:
        """Send a piece of the request's body, and wait while the backend does not take it."""
        connection, stream = self._connection, self.stream
        rest = memoryview(data)
        while rest:
            await connection.writable()
            room = min(connection.core.room(stream), PIECE)
            if room > 0:
                connection.send(stream, rest[:room])
                rest = rest[room:]
                if connection.waiting:
                    await asyncio.sleep(0)  # Those that waited go on before this one does.
            else:
                await self._room()

    async def _room(self) -> None:
        connection = self._connection
        connection.core.wait(self.stream)
        self._waiter = connection.loop.create_future()
        connection.waiting += 1
        try:
            await self._waiter
        finally:
            connection.waiting -= 1
            self._waiter = None

    def end_body(self, trailers: Fields) -> None:
        """The request's body ends."""
        if trailers:
            self._connection.core.send_trailers(self.stream, trailers)
        else:
            self._connection.core.send_data(self.stream, b"", end=True)

    def consumed(self, exchange: Exchange) -> None:
        """The client has taken what was waiting for it."""
        if self.exchange is exchange:
            self._connection.core.release(self.stream)

    def give_up(self, exchange: Exchange) -> None:
        """``exchange`` is of no interest any more."""
        if self.exchange is exchange:
            self._connection.cancel(self)

    def fail(self, exchange: Exchange, error: GatewayError) -> None:
        """``exchange`` cannot go on because of ``error``."""
        if self.exchange is exchange:
            self._connection.cancel(self).on_failure(error)


def _name(code: int) -> str:
    try:
        return Code(code).name
    except ValueError:
        return str(code)
