"""A stream of HTTP/2 as a transport: bytes both ways for another protocol within it (RFC 8441 §4, RFC 9113 §8.5)."""

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from app.http2.frames import Code
from app.http2.writer import Stream
from app.listeners.clock import NEVER
from app.listeners.stream import Outlet

if TYPE_CHECKING:
    from app.listeners.http2 import Http2Protocol

#: Bytes that may wait before the protocol is asked to pause, and below which it goes on (asyncio's are the same).
HIGH_WATER: Final = 64 * 1024
LOW_WATER: Final = 16 * 1024


class StreamTransport(asyncio.Transport, Outlet):
    """What a protocol of its own has for a connection. The response's head has to be sent before anything is written.

    ``connection_made`` is not called: who makes it calls that. What the client sends before a protocol is set waits.
    """

    def __init__(self, http2: "Http2Protocol", stream: Stream) -> None:
        super().__init__()
        self._http2 = http2
        self.stream = stream
        self._protocol: asyncio.Protocol | None = None
        self.task: asyncio.Task[None] | None = None
        self.deadline = NEVER
        self.trailers = []
        # What comes
        self._incoming: list[bytes] = []
        self._reading_paused = False
        self._eof = False
        # What goes
        self._parts = []
        self._kept = self._pace = self.counted = 0
        self._closing = self._closed = self._lost = False
        self._tail = b""
        self.write_deadline = NEVER
        self._writing_paused = False
        self._high, self._low = HIGH_WATER, LOW_WATER
        http2.adopt(self)

    # asyncio.Transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._http2.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        first, self._protocol = self._protocol is None, cast(asyncio.Protocol, protocol)
        if first:
            self._http2.loop.call_soon(self._deliver)

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def is_closing(self) -> bool:
        return self._closed

    def is_reading(self) -> bool:
        return not self._reading_paused and not self._closed

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._http2.loop.call_soon(self._deliver)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self._closed or not data:
            return
        self._parts.append(bytes(data))
        self._kept += len(data)
        self._push_or_keep()
        if self._kept > self._high and not self._writing_paused:
            self._writing_paused = True
            if self._protocol is not None:
                self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._closing and not self._closed:
            self._closing = True
            self._push_or_keep()

    def close(self) -> None:
        """End the stream when everything is sent; what the client still sends is of no interest."""
        if self._closed:
            return
        self._closed = True
        self._incoming.clear()
        if not self.stream.sending:
            self._on_sent()
        elif not self._closing:
            self._closing = True
            self._push_or_keep()

    def abort(self) -> None:
        """Reset the stream."""
        if not self._lost:
            self._http2.break_off(self, Code.CANCEL)
            self._lose(None)

    def get_write_buffer_size(self) -> int:
        return self._kept

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high if high is not None else 4 * low if low is not None else HIGH_WATER
        self._low = low if low is not None else self._high // 4

    # What the connection tells

    def on_body(self, data: bytes) -> bool:
        if self._closed:
            self._http2.core.consumed(self.stream, len(data))
            return False
        self._incoming.append(data)
        if len(self._incoming) > 64:
            self._incoming = [b"".join(self._incoming)]
        self._deliver()
        return False

    def on_request_complete(self) -> None:
        self._eof = True
        self._deliver()

    def on_connection_lost(self) -> None:
        # Behind our end a reset takes nothing away: many clients leave so what is over for them.
        whole = self._closing and not self._kept
        self._lose(None if whole else ConnectionResetError("the client has reset the stream"))

    def on_room(self, limit: int) -> None:
        self.push(limit)
        if self._writing_paused and self._kept <= self._low and self._protocol is not None:
            self._writing_paused = False
            self._protocol.resume_writing()

    # Inside

    def _deliver(self) -> None:
        while self._incoming and not self._reading_paused and not self._closed and self._protocol is not None:
            data = b"".join(self._incoming)
            self._incoming.clear()
            self._http2.core.consumed(self.stream, len(data))
            self._protocol.data_received(data)
        if not self._eof or self._incoming or self._reading_paused or self._closed or self._protocol is None:
            return
        self._eof = False
        if not self._protocol.eof_received():
            self.close()
        elif not self.stream.sending:
            self._on_sent()

    def _on_sent(self) -> None:
        """Our end is sent: that is the stream's end, unless the client may still send, and somebody listens."""
        if self._closed or not self.stream.receiving:
            self._http2.on_sent(self)
            self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closed = True
        self._parts, self._kept = [], 0
        self._http2.count(self, 0)
        self.write_deadline = NEVER
        if self._protocol is not None:
            self._http2.loop.call_soon(self._protocol.connection_lost, error)
            self._protocol = None
