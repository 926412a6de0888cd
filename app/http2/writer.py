"""The writing half of a connection: output, streams that end, and windows in both directions (RFC 9113 §5.2, §6.9)."""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from app.http2 import frames
from app.http2.compression import Fields, encode
from app.http2.frames import HEADER, Code
from app.http2.limits import (
    IDLE_SPAN,
    MAX_IDLE_FRAMES,
    MAX_RESETS,
    PER_USEFUL_FRAME,
    RESET_SPAN,
    Allowance,
)

#: Bytes that a stream may send ahead of those that were consumed, and all streams together.
STREAM_WINDOW: Final = 256 * 1024
CONNECTION_WINDOW: Final = 1024 * 1024
#: Bytes of all streams that were not consumed or are still allowed to come: what a connection may make us keep.
MAX_HELD: Final = 4 * 1024 * 1024
#: Streams that we remember having reset, on which the peer may not know it yet; and those that ended, for good errors.
_RESET_REMEMBERED: Final = 1024
_ENDED_REMEMBERED: Final = 64
#: A piece of a body below which its frame is made one with its header.
_SMALL: Final = 1024


class Stream:
    """One request and its response. ``owner`` is for whoever uses the connection."""

    __slots__ = (
        "credit", "head_only", "headed", "held", "id", "interim", "left", "owner", "receive_window", "receiving",
        "send_window", "sending",
    )  # fmt: skip

    def __init__(self, stream_id: int, send_window: int) -> None:
        self.id = stream_id
        self.owner: Any = None
        #: Whether the peer, and whether we may still send a part of the message.
        self.receiving = self.sending = True
        self.send_window = send_window
        self.receive_window = STREAM_WINDOW
        #: Bytes that were not consumed, and those that were but that the peer was not told of.
        self.held = self.credit = 0
        #: Bytes of the body that are to come by Content-Length; None where it says nothing.
        self.left: int | None = None
        #: Of a client's stream: whether the final head has come, whether no body follows it, and how many interim came.
        self.headed = self.head_only = False
        self.interim = 0


class Sink(Protocol):
    """What a connection tells, in the order of the bytes. None of it may raise."""

    def on_output(self) -> None:
        """There is something to send now: :meth:`Connection.take` has it. Also called while bytes are fed."""

    def on_data(self, stream: Stream, data: bytes) -> None:
        """A piece of the body; its bytes have to be :meth:`Connection.consumed` at some time."""

    def on_end(self, stream: Stream, trailers: Fields) -> None:
        """The peer's message is complete."""

    def on_reset(self, stream: Stream, code: int) -> None:
        """The stream has ended before its messages, by the peer or because it broke the rules on it."""

    def on_window(self, stream: Stream) -> None:
        """There may be :meth:`Connection.room` again on a stream that waited for it."""

    def on_goaway(self, last_stream_id: int, code: int, reason: bytes) -> None:
        """The peer takes no new streams."""

    def on_settings(self) -> None:
        """The peer's settings have come or changed."""

    def on_ping(self, data: bytes) -> None:
        """The answer to a PING."""


class Writer:
    """What is sent, and what may be. ``clock`` gives seconds that never go back."""

    def __init__(self, sink: Sink, clock: Callable[[], float]) -> None:
        self._sink: Any = sink
        self.streams: dict[int, Stream] = {}
        #: The highest stream that the peer has opened.
        self.last_id = 0
        #: Streams that we have reset, and the bytes that the peer may still send on them without knowing it.
        self._reset: dict[int, int] = {}
        self._ended: deque[int] = deque(maxlen=_ENDED_REMEMBERED)
        # What may still be received on the connection, and what was and was not consumed
        self._receive_window = CONNECTION_WINDOW
        self._held = 0
        self._max_held = MAX_HELD
        # What may be sent
        self._output: list[bytes | memoryview] = []
        self.send_window = frames.DEFAULT_WINDOW
        self.max_frame = frames.DEFAULT_FRAME
        self._waiting: dict[Stream, None] = {}
        #: What we said last with GOAWAY, None before.
        self.goaway_sent: int | None = None
        # What the peer may do for nothing
        self._idle = Allowance(MAX_IDLE_FRAMES, IDLE_SPAN, clock, "too many frames without use")
        self._resets = Allowance(MAX_RESETS, RESET_SPAN, clock, "too many streams reset")
        self._unread = 0

    def take(self) -> bytes:
        """What is to be sent, once."""
        output = self._output
        self._output = []
        return b"".join(output)

    def taken(self) -> None:
        """The peer reads: what was sent before it has taken, all but a bounded number of bytes."""
        self._unread = 0

    def close(self) -> None:
        """Let go of the sink: the connection is over."""
        self._waiting.clear()
        self._sink = None

    # What we send

    def room(self, stream: Stream) -> int:
        """How many bytes :meth:`send_data` takes now; not more than 0 where the caller has to keep them."""
        return min(stream.send_window, self.send_window)

    def wait(self, stream: Stream) -> None:
        """Call ``on_window`` once there is room. Who waits longest is called first."""
        self._waiting[stream] = None

    def send_data(self, stream: Stream, data: bytes | memoryview, *, end: bool = False) -> None:
        """Send a piece of the body, which must be no longer than its room."""
        size = len(data)
        stream.send_window -= size
        self.send_window -= size
        assert stream.sending
        assert not size or (stream.send_window >= 0 and self.send_window >= 0)
        stream_id = stream.id
        most = self.max_frame
        if self._idle.spent:
            # A peer may open both windows again for each frame.
            self._idle.earn(PER_USEFUL_FRAME * (1 + size // most))
        if size <= most:
            header = HEADER.pack(size >> 8, size & 0xFF, frames.DATA, end, stream_id)
            if size < _SMALL:
                self._put(header + data)
            else:
                self._put(header)
                self._output.append(data)
        else:
            view = memoryview(data)
            for start in range(0, size, most):
                piece = view[start : start + most]
                last = end and start + most >= size
                self._put(HEADER.pack(len(piece) >> 8, len(piece) & 0xFF, frames.DATA, last, stream_id))
                self._output.append(piece)
        if end:
            self._end_sending(stream)

    def send_trailers(self, stream: Stream, trailers: Fields) -> None:
        """End the message with ``trailers``. Raises ValueError for what no field may be, before anything is sent."""
        self.send_block(stream, encode(trailers), end=True)

    def send_block(self, stream: Stream, block: bytes, *, end: bool = False) -> None:
        """Send a head, or trailers, that were encoded before."""
        assert stream.sending
        self._put(frames.header_frames(stream.id, block, self.max_frame, end_stream=end))
        if end:
            self._end_sending(stream)

    def reset(self, stream: Stream, code: Code) -> None:
        """End ``stream`` at once; nothing more is told of it."""
        if self.streams.get(stream.id) is stream:
            self._remember_reset(stream.id, stream.receive_window if stream.receiving else 0)
            self._drop(stream)
            self._put(frames.rst_stream(stream.id, code))

    def goaway(self, code: Code = Code.NO_ERROR, reason: str = "") -> None:
        """Take no further streams; those that are open go on."""
        self.goaway_sent = self.last_id
        self._put(frames.goaway(self.last_id, code, reason.encode()))

    def ping(self, data: bytes) -> None:
        """Ask for an answer, which ``on_ping`` gets; ``data`` has 8 bytes."""
        self._put(frames.frame(frames.PING, 0, 0, data))

    def release(self, stream: Stream) -> None:
        """Nobody will consume what came on ``stream`` any more."""
        if stream.held:
            self.consumed(stream, stream.held)

    # What we receive

    def consumed(self, stream: Stream, size: int) -> None:
        """``size`` bytes of what came on ``stream`` are not kept any more: the peer may send as many again."""
        size = min(size, stream.held)
        stream.held -= size
        self._held -= size
        if stream.receiving:
            stream.credit += size
            if stream.credit >= STREAM_WINDOW // 4:
                self._put(frames.window_update(stream.id, stream.credit))
                stream.receive_window += stream.credit
                stream.credit = 0
        if self._receive_window <= CONNECTION_WINDOW // 2:
            self._refill()

    def _refill(self) -> None:
        """Open the connection's window again, as far as what is held allows."""
        credit = min(CONNECTION_WINDOW, self._max_held - self._held) - self._receive_window
        if credit >= CONNECTION_WINDOW // 4:
            self._receive_window += credit
            self._put(frames.window_update(0, credit))

    # Inside

    def _put(self, data: bytes) -> None:
        if self._output:
            self._output.append(data)
        elif self._sink is not None:  # nobody reads it any more
            self._output.append(data)
            self._sink.on_output()

    def _wake(self, stream: Stream) -> None:
        if self.send_window > 0 and stream.send_window > 0 and stream in self._waiting:
            del self._waiting[stream]
            self._sink.on_window(stream)

    def _end_sending(self, stream: Stream) -> None:
        stream.sending = False
        if not stream.receiving:
            self._finish(stream)

    def _finish(self, stream: Stream) -> None:
        """Both messages are complete."""
        del self.streams[stream.id]
        self._ended.append(stream.id)
        if self._resets.spent:
            self._resets.earn(1)
        if self._idle.spent:
            self._idle.earn(PER_USEFUL_FRAME)

    def _drop(self, stream: Stream) -> None:
        """The stream has ended early."""
        del self.streams[stream.id]
        self._waiting.pop(stream, None)
        stream.receiving = stream.sending = False
        self.release(stream)

    def _remember_reset(self, stream_id: int, window: int = 0) -> None:
        self._reset[stream_id] = window
        if len(self._reset) > _RESET_REMEMBERED:
            del self._reset[next(iter(self._reset))]
