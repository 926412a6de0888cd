"""The reading half of a connection of either role: frames, their order and their streams (RFC 9113 §4 to §6)."""

from collections.abc import Callable
from typing import Any, Final

from app.http2 import frames
from app.http2.compression import CompressionError, FieldDecoder, Fields, ListTooLargeError
from app.http2.frames import HEADER, Code, ConnectionFailure, StreamFailure
from app.http2.limits import BLOCK_SLACK, MAX_CONTINUATIONS, MAX_UNREAD, PER_USEFUL_FRAME
from app.http2.writer import CONNECTION_WINDOW, STREAM_WINDOW, Sink, Stream, Writer


class Connection(Writer):
    """What both roles share. No sockets, and ``clock`` gives seconds that never go back."""

    def __init__(self, sink: Sink, clock: Callable[[], float], *, max_list: int, local: dict[int, int]) -> None:
        super().__init__(sink, clock)
        self._rest = b""
        self._block: list[bytes] | None = None
        self._block_size = self._block_id = self._block_flags = 0
        self._max_block = max_list + BLOCK_SLACK
        self._decoder = FieldDecoder(4 * max_list)
        # The peer's settings (§6.5.2), of which the first frame has to tell
        self._settled = False
        self.initial_window = frames.DEFAULT_WINDOW
        self.max_streams = 100
        self.extended_connect = False
        self.goaway_received = False
        self._output.append(
            frames.settings({frames.INITIAL_WINDOW_SIZE: STREAM_WINDOW, **local})
            + frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
        )

    # Bytes

    @property
    def in_head(self) -> bool:
        """Whether a header block has begun and not ended."""
        return self._block is not None or self._rest[3:4] == b"\1"

    @property
    def arriving(self) -> tuple[int, int] | None:
        """The stream of a DATA frame of which a part has come, and how many bytes; None where there is no such."""
        rest = self._rest
        if len(rest) < 9 or rest[3] != frames.DATA:
            return None
        return int.from_bytes(rest[5:9], "big") & frames.MAX_WINDOW, len(rest)

    def feed(self, data: bytes) -> None:
        """Take bytes and tell the sink.

        Raises ConnectionFailure, for which GOAWAY is in the output: it has to be sent, and the connection closed.
        """
        if self._rest:
            data = self._rest + data
            self._rest = b""
        try:
            self._feed(data)
        except ConnectionFailure as failure:
            self.goaway(failure.code, failure.reason)
            raise

    def _feed(self, data: bytes) -> None:
        position, end = 0, len(data)
        unpack = HEADER.unpack_from
        while end - position >= 9:
            high, low, kind, flags, stream_id = unpack(data, position)
            size = high << 8 | low
            if size > frames.DEFAULT_FRAME:
                raise ConnectionFailure(Code.FRAME_SIZE_ERROR, "a frame that is too large")
            start = position + 9
            stop = start + size
            if stop > end:
                break
            position = stop
            if not self._settled and (kind != frames.SETTINGS or flags & frames.ACK):
                raise ConnectionFailure(Code.PROTOCOL_ERROR, "no SETTINGS first")
            if self._block is not None and kind != frames.CONTINUATION:
                raise ConnectionFailure(Code.PROTOCOL_ERROR, "a frame in the middle of a header block")
            stream_id &= frames.MAX_WINDOW
            try:
                if kind == frames.DATA:
                    self._on_data(flags, stream_id, data, start, stop)
                elif kind == frames.HEADERS:
                    self._on_headers(flags, stream_id, data[start:stop])
                elif kind < 10:
                    _HANDLERS[kind](self, flags, stream_id, data[start:stop])
                else:
                    self._idle.spend()  # of an extension that we do not know (§5.5)
            except StreamFailure as failure:
                self._fail(stream_id, failure)
        if position < end:
            self._rest = data[position:]

    # Frames: HEADERS and CONTINUATION (§6.2, §6.10)

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFailure(Code.PROTOCOL_ERROR, "HEADERS on stream 0")
        if flags & (frames.PADDED | frames.PRIORITIZED):
            payload = self._unwrapped(flags, stream_id, payload)
        if flags & frames.END_HEADERS:
            self._on_whole_block(stream_id, flags, payload)
        else:
            self._block, self._block_size = [payload], len(payload)
            self._block_id, self._block_flags = stream_id, flags

    def _unwrapped(self, flags: int, stream_id: int, payload: bytes) -> bytes:
        """The header block without padding and priority. That a stream depends on itself is noticed, though nobody asks
        for priorities any more (§5.3.2): the block counts all the same."""
        start, end = 0, len(payload)
        if flags & frames.PADDED:
            start = 1
            end -= payload[0] if payload else end + 1
        if flags & frames.PRIORITIZED:
            if start + 5 <= end and int.from_bytes(payload[start : start + 4], "big") & frames.MAX_WINDOW == stream_id:
                raise ConnectionFailure(Code.PROTOCOL_ERROR, "a stream that depends on itself")
            start += 5
        if start > end:
            raise ConnectionFailure(Code.PROTOCOL_ERROR, "more padding than frame")
        return payload[start:end]

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = self._block
        if block is None or stream_id != self._block_id:
            raise ConnectionFailure(Code.PROTOCOL_ERROR, "a CONTINUATION of nothing")
        block.append(payload)
        self._block_size += len(payload)
        if self._block_size > self._max_block or len(block) > MAX_CONTINUATIONS:
            raise ConnectionFailure(Code.ENHANCE_YOUR_CALM, "a header block without end")
        if flags & frames.END_HEADERS:
            self._block = None
            self._on_whole_block(stream_id, self._block_flags, b"".join(block))

    def _on_whole_block(self, stream_id: int, flags: int, block: bytes) -> None:
        """A header block is complete. It has to be decoded, whatever becomes of it (§4.3)."""
        raise NotImplementedError

    def _decoded(self, block: bytes) -> Fields:
        try:
            return self._decoder.decode(block)
        except CompressionError as error:
            raise ConnectionFailure(Code.COMPRESSION_ERROR, str(error)) from None
        except ListTooLargeError:
            raise ConnectionFailure(Code.ENHANCE_YOUR_CALM, "a header list without end") from None

    # Frames: DATA (§6.1)

    def _on_data(self, flags: int, stream_id: int, data: bytes, start: int, stop: int) -> None:
        size = stop - start
        self._receive_window -= size
        if self._receive_window < 0:
            raise ConnectionFailure(Code.FLOW_CONTROL_ERROR, "more than the connection's window")
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id not in self._reset:
                raise self._misplaced(stream_id, "DATA")
            self._reset[stream_id] -= size
            if not size or self._reset[stream_id] < 0:
                self._idle.spend()
            self._refill()
            return
        if not stream.receiving:
            self._refill()
            raise StreamFailure(Code.STREAM_CLOSED, "DATA behind the end")
        stream.receive_window -= size
        if stream.receive_window < 0:
            raise StreamFailure(Code.FLOW_CONTROL_ERROR, "more than the stream's window")
        if flags & frames.PADDED:
            if not size or data[start] >= size:
                raise ConnectionFailure(Code.PROTOCOL_ERROR, "more padding than frame")
            stop -= data[start]
            start += 1
            stream.credit += size - (stop - start)
            self.consumed(stream, 0)
            size = stop - start
        self._check_body(stream, size)
        if stream.left is not None:
            stream.left -= size
            if stream.left < 0:
                raise StreamFailure(Code.PROTOCOL_ERROR, "more than Content-Length says")
        ended = flags & frames.END_STREAM
        if size:
            stream.held += size
            self._held += size
            if self._idle.spent:
                self._idle.earn(PER_USEFUL_FRAME)
            if self._receive_window <= CONNECTION_WINDOW // 2:
                self._refill()
            self._sink.on_data(stream, data[start:stop])
        elif not ended:
            self._idle.spend()
        if ended and stream.receiving:
            self._end_receiving(stream, [])

    def _check_body(self, stream: Stream, size: int) -> None:
        """Raises StreamFailure where there can be no body."""

    def _end_receiving(self, stream: Stream, trailers: Fields) -> None:
        if stream.left:
            raise StreamFailure(Code.PROTOCOL_ERROR, "less than Content-Length says")
        stream.receiving = False
        if not stream.sending:
            self._finish(stream)
        self._sink.on_end(stream, trailers)

    # Other frames

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFailure(Code.PROTOCOL_ERROR, "PRIORITY on stream 0")
        self._idle.spend()
        if len(payload) != 5:
            raise self._on_stream(stream_id, Code.FRAME_SIZE_ERROR, "a PRIORITY of another size")
        if int.from_bytes(payload[:4], "big") & frames.MAX_WINDOW == stream_id:
            raise self._on_stream(stream_id, Code.PROTOCOL_ERROR, "a stream that depends on itself")

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFailure(Code.FRAME_SIZE_ERROR, "a RST_STREAM of another size")
        stream = self.streams.get(stream_id)
        if stream is None:
            if not stream_id or self._is_idle(stream_id):
                raise ConnectionFailure(Code.PROTOCOL_ERROR, "RST_STREAM on a stream that is not there")
            self._idle.spend()
            return
        self._resets.spend()
        self._drop(stream)
        self._ended.append(stream_id)
        self._sink.on_reset(stream, int.from_bytes(payload, "big"))

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFailure(Code.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFailure(Code.FRAME_SIZE_ERROR, "a SETTINGS acknowledgement of another size")
            self._idle.spend()
            return
        if len(payload) % 6:
            raise ConnectionFailure(Code.FRAME_SIZE_ERROR, "a SETTINGS of another size")
        self._idle.spend(1 + len(payload) // 60)
        self._settled = True
        for start in range(0, len(payload), 6):
            self._apply(
                int.from_bytes(payload[start : start + 2], "big"), int.from_bytes(payload[start + 2 : start + 6], "big")
            )
        self._reply(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._sink.on_settings()

    def _apply(self, key: int, value: int) -> None:
        if key == frames.INITIAL_WINDOW_SIZE:
            if value > frames.MAX_WINDOW:
                raise ConnectionFailure(Code.FLOW_CONTROL_ERROR, "a window that is too large")
            change, self.initial_window = value - self.initial_window, value
            if change:
                self._idle.spend(1 + len(self.streams) // 16)
                for stream in list(self.streams.values()):
                    self._widen(stream, change)
        elif key == frames.MAX_FRAME_SIZE:
            if not frames.DEFAULT_FRAME <= value < 2**24:
                raise ConnectionFailure(Code.PROTOCOL_ERROR, "a frame size that is not allowed")
            self.max_frame = min(value, 4 * frames.DEFAULT_FRAME)
        elif key == frames.MAX_CONCURRENT_STREAMS:
            self.max_streams = value
        elif key == frames.ENABLE_PUSH:
            if value > 1:
                raise ConnectionFailure(Code.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
        elif key == frames.ENABLE_CONNECT_PROTOCOL:
            if value > 1 or (self.extended_connect and not value):
                raise ConnectionFailure(Code.PROTOCOL_ERROR, "ENABLE_CONNECT_PROTOCOL is not to be so")
            self.extended_connect = value == 1

    def _widen(self, stream: Stream, change: int) -> None:
        stream.send_window += change
        if stream.send_window > frames.MAX_WINDOW:
            raise ConnectionFailure(Code.FLOW_CONTROL_ERROR, "a window that is too large")
        self._wake(stream)

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFailure(Code.PROTOCOL_ERROR, "a push that nobody allowed")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFailure(Code.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFailure(Code.FRAME_SIZE_ERROR, "a PING of another size")
        self._idle.spend()
        if flags & frames.ACK:
            self._sink.on_ping(payload)
        else:
            self._reply(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFailure(Code.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFailure(Code.FRAME_SIZE_ERROR, "a GOAWAY of another size")
        self._idle.spend()
        self.goaway_received = True
        last = int.from_bytes(payload[:4], "big") & frames.MAX_WINDOW
        self._forget_behind(last)
        self._sink.on_goaway(last, int.from_bytes(payload[4:8], "big"), payload[8:])

    def _forget_behind(self, last: int) -> None:
        """The peer will work on no stream of ours behind ``last``."""

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFailure(Code.FRAME_SIZE_ERROR, "a WINDOW_UPDATE of another size")
        increment = int.from_bytes(payload, "big") & frames.MAX_WINDOW
        self._idle.spend()
        if not stream_id:
            self.send_window += increment
            if not increment:
                raise ConnectionFailure(Code.PROTOCOL_ERROR, "a WINDOW_UPDATE of nothing")
            if self.send_window > frames.MAX_WINDOW:
                raise ConnectionFailure(Code.FLOW_CONTROL_ERROR, "a window that is too large")
            for waiting in list(self._waiting):
                self._wake(waiting)
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._is_idle(stream_id):
                raise ConnectionFailure(Code.PROTOCOL_ERROR, "WINDOW_UPDATE on a stream that is not there")
            return
        if not increment:
            raise StreamFailure(Code.PROTOCOL_ERROR, "a WINDOW_UPDATE of nothing")
        stream.send_window += increment
        if stream.send_window > frames.MAX_WINDOW:
            raise StreamFailure(Code.FLOW_CONTROL_ERROR, "a window that is too large")
        self._wake(stream)

    # Inside

    def _reply(self, data: bytes) -> None:
        """Send what the peer made us send, unless it does not read it."""
        self._unread += 1
        if self._unread > MAX_UNREAD:
            raise ConnectionFailure(Code.ENHANCE_YOUR_CALM, "too many answers that are not read")
        self._put(data)

    def _fail(self, stream_id: int, failure: StreamFailure) -> None:
        """Reset a stream on which the peer broke the rules."""
        self._resets.spend()
        self._remember_reset(stream_id)
        self._reply(frames.rst_stream(stream_id, failure.code))
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._drop(stream)
            self._sink.on_reset(stream, failure.code)

    def _is_idle(self, stream_id: int) -> bool:
        """Whether nobody has opened ``stream_id`` yet (§5.1)."""
        raise NotImplementedError

    def _misplaced(self, stream_id: int, what: str) -> ConnectionFailure:
        """A frame that no stream is open for."""
        if not stream_id or self._is_idle(stream_id):
            return ConnectionFailure(Code.PROTOCOL_ERROR, f"{what} on a stream that is not there")
        return ConnectionFailure(Code.STREAM_CLOSED, f"{what} on a stream that has ended")

    def _on_stream(self, stream_id: int, code: Code, reason: str) -> Exception:
        """A failure of the stream, or where nobody has opened it, of the connection: it could not be reset (§6.4)."""
        return ConnectionFailure(code, reason) if self._is_idle(stream_id) else StreamFailure(code, reason)


_HANDLERS: Final[tuple[Callable[[Any, int, int, bytes], None], ...]] = (
    None,  # type: ignore[assignment]  # DATA and HEADERS, which are most of all frames, are told apart before
    None,
    Connection._on_priority,
    Connection._on_rst_stream,
    Connection._on_settings,
    Connection._on_push_promise,
    Connection._on_ping,
    Connection._on_goaway,
    Connection._on_window_update,
    Connection._on_continuation,
)
