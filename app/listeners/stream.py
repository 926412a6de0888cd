"""One stream of an HTTP/2 connection: a request and its response, and what waits for the client to take it."""

import asyncio
from typing import TYPE_CHECKING, Final, cast

from starlette.types import Scope

from app.http2.compression import encode
from app.http2.compression import status as encoded_status
from app.http2.writer import Stream
from app.listeners.answers import NO_BODY, answer_fields, with_added
from app.listeners.clock import NEVER, PACE, WRITE_TIMEOUT
from app.listeners.cycle import Cycle, CycleConnection, Fields
from middleware.connection import HOP_BY_HOP

if TYPE_CHECKING:
    from app.listeners.http2 import Http2Protocol

#: Pieces of a request's body that are kept as they came; small ones cost more than their bytes.
_MAX_PIECES: Final = 64


class Outlet:
    """The sending side of a stream: what its windows, the transport and the other streams let through.

    What they do not is kept here, and whoever puts more has to stop as long as something is.
    """

    if not TYPE_CHECKING:  # who mixes it in has the slots
        __slots__ = ()

    _http2: "Http2Protocol"
    stream: Stream
    #: What was put and not sent, its size, and whether nothing comes behind it but ``_tail``, the trailers' block.
    _parts: list[bytes]
    _kept: int
    _closing: bool
    _tail: bytes
    #: When the next piece of what the client is to send has to be there.
    deadline: float
    #: Fields behind what it sent.
    trailers: list[tuple[bytes, bytes]]
    #: What works on it: as long as that runs, the stream counts, also when it was reset.
    task: "asyncio.Task[None] | None"
    #: Until when the client has to take PACE bytes of what is kept, and how many of them it has not.
    write_deadline: float
    _pace: int
    #: What of that the connection knows of.
    counted: int

    def push(self, limit: int) -> int:
        """Send up to ``limit`` bytes of what is kept, and the end behind the last of them. Answers how many it were."""
        stream, core = self.stream, self._http2.core
        kept, room = self._kept, 0
        if kept:
            room = min(kept, limit, core.room(stream), self._http2.allowance)
            if room <= 0:
                self._http2.keep(self)
                return 0
            self._http2.allowance -= room
            parts = self._parts
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            self._kept = kept = kept - room
            if kept:
                rest = memoryview(data)[room:]
                if 2 * kept < len(cast(bytes, rest.obj)):  # else a little would hold on to much
                    rest = bytes(rest)  # type: ignore[assignment]
                self._parts = [rest]  # type: ignore[list-item]  # as good as bytes where it goes
                data = data[:room]
            else:
                self._parts = []
            core.send_data(stream, data, end=self._closing and not kept and not self._tail)
        elif self._closing and not self._tail:
            core.send_data(stream, b"", end=True)
        if kept:
            self._http2.keep(self, room)
            return room
        if self.counted:
            self._http2.count(self, 0)
        self.write_deadline = NEVER
        if self._closing:
            if self._tail:
                core.send_block(stream, self._tail, end=True)
            self._on_sent()
        return room

    def _push_or_keep(self) -> None:
        """Send what there is, unless that waits for the client anyway."""
        if self.write_deadline == NEVER:
            self.push(self._http2.share)
        else:
            self._http2.count(self, self._kept)

    def wait_for_client(self, sent: int, now: float) -> None:
        """Note that something is kept after ``sent`` bytes went: the client has its time to take more."""
        self._pace -= sent
        if self.write_deadline == NEVER or self._pace <= 0:
            self.write_deadline = now + WRITE_TIMEOUT
            self._pace = PACE

    def _on_sent(self) -> None:
        """Everything is sent, and the end of it."""
        self._http2.on_sent(self)

    def on_room(self, limit: int) -> None:
        """The client takes more, of which up to ``limit`` bytes may be this stream's."""
        raise NotImplementedError

    def on_body(self, data: bytes) -> bool:
        """A piece of what the client sends."""
        raise NotImplementedError

    def on_request_complete(self) -> None:
        """The client will send no more."""
        raise NotImplementedError

    def on_connection_lost(self) -> None:
        """The client has left, or the stream was reset."""
        raise NotImplementedError


class Http2Cycle(Cycle, Outlet):
    """A request that came over HTTP/2, and the response to it."""

    __slots__ = (
        "_closing", "_head", "_http2", "_kept", "_left", "_no_body", "_pace", "_tail", "_writer",
        "counted", "deadline", "stream", "write_deadline",
    )  # fmt: skip

    def __init__(self, protocol: "Http2Protocol", stream: Stream, scope: Scope, *, expects: bool) -> None:
        # Of a connection a cycle asks what it asks of a stream where it is alone on it; that is answered here.
        super().__init__(cast(CycleConnection, protocol), scope, expects=expects)
        self._http2 = protocol
        self.stream = stream
        self.trailers_wanted = True
        self.deadline = NEVER
        # The response
        self._head = b""
        self._no_body = False
        self._left: int | None = None
        self._kept = self._pace = self.counted = 0
        self._closing = False
        self._tail = b""
        self.write_deadline = NEVER
        self._writer: asyncio.Future[None] | None = None

    # What the protocol tells

    def early(self) -> list[bytes]:
        """What has come of the body, for whoever takes over the stream."""
        body, self._body = self._body, []
        return body

    def on_body(self, data: bytes) -> bool:
        if len(self._body) >= _MAX_PIECES:
            self._body = [b"".join(self._body)]
        return super().on_body(data)

    def on_connection_lost(self) -> None:
        self._parts = []
        self._kept = 0
        self._http2.count(self, 0)
        self.write_deadline = NEVER
        self._wake_writer()
        super().on_connection_lost()

    def on_room(self, limit: int) -> None:
        self.push(limit)
        if not self._kept:
            self._wake_writer()
            if self.on_writable is not None:
                self.on_writable()

    def _wake_writer(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def _give_up(self) -> None:
        if not self.complete and not self.disconnected:
            if self.started:
                self._http2.break_off(self)
            else:
                self._http2.refuse(self, 500, "the application failed")

    # The answer, directly

    def break_off(self) -> None:
        if not self.complete and not self.disconnected:
            self._http2.break_off(self)

    @property
    def blocked(self) -> bool:
        return self._kept > 0

    shares = True

    @property
    def crowded(self) -> bool:
        return self._http2.crowded

    def inform(self, status: int, fields: Fields) -> None:
        if not self.started and not self.disconnected and status != 101:
            try:
                self._http2.core.send_head(self.stream, status, told(fields))
            except ValueError as error:
                raise RuntimeError(str(error)) from None

    def respond(self, status: int, fields: Fields, *, relayed: bool = False) -> None:
        if not 200 <= status <= 599:
            raise RuntimeError(f"{status} is not the status of a response")
        kept, length, _ = answer_fields(status, fields, relayed=relayed)
        if self.adds:
            kept = with_added(kept, self.adds)
        self.fields = kept
        try:
            self._head = encoded_status(status) + encode(kept)
        except ValueError as error:
            raise RuntimeError(str(error)) from None
        # The response to HEAD and these have the fields of another and no body (RFC 9110 §6.4.1).
        self._no_body = self.head_only or status in NO_BODY
        self._left = None if self._no_body else length
        self.status = status
        self.started = True

    def put(self, data: bytes) -> None:
        size = len(data)
        if self._no_body or not size:
            return
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                raise RuntimeError("the response's body is longer than its Content-Length")
        self.sent += size
        self._parts.append(data)
        self._kept += size

    def flush(self) -> None:
        if self.disconnected:
            return
        if self._head:
            self._send_head(end=False)
        if self._kept:
            self._push_or_keep()

    def end(self, trailers: Fields = ()) -> None:
        if self._left:
            raise RuntimeError("the response's body is shorter than its Content-Length")
        if trailers and not self._no_body:
            try:
                self._tail = encode(told(trailers))
            except ValueError as error:
                raise RuntimeError(str(error)) from None
        self.complete = True
        if not self.disconnected:
            if self._head:
                whole = not self._kept and not self._tail
                self._send_head(end=whole)
                if whole:
                    self._http2.on_sent(self)
                    self._wake()
                    return
            self._closing = True
            self._push_or_keep()
        self._wake()

    def _send_head(self, *, end: bool) -> None:
        head, self._head = self._head, b""
        self._http2.core.send_block(self.stream, head, end=end)

    # ASGI

    async def _unblocked(self) -> None:
        while self._kept and not self.disconnected:
            await self._room()

    async def _room(self) -> None:
        self._writer = self._http2.loop.create_future()
        try:
            await self._writer
        finally:
            self._writer = None


def told(fields: Fields) -> list[tuple[bytes, bytes]]:
    """``fields`` as HTTP/2 may have them (RFC 9113 §8.2)."""
    lowered = [(name.lower(), value) for name, value in fields]
    return [field for field in lowered if field[0] not in HOP_BY_HOP]
