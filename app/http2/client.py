"""The client's end: requests out, responses in."""

from collections.abc import Callable
from typing import Final, Protocol

from app.http2 import frames, rules
from app.http2.compression import Fields, encode
from app.http2.connection import Connection
from app.http2.frames import Code, ConnectionFailure, StreamFailure
from app.http2.writer import STREAM_WINDOW, Sink, Stream

#: More than any real head has; a backend that sends more is broken or hostile.
MAX_LIST: Final = 256 * 1024
MAX_FIELDS: Final = 1000
#: Streams that are used at once, whatever the peer allows, and bytes that wait on all of them: what each may make us
#: keep, so that one whose client reads slowly never takes the connection's window from the others.
MAX_STREAMS: Final = 100
MAX_HELD: Final = MAX_STREAMS * STREAM_WINDOW
#: Interim responses (1xx) to one request; more are no use to anybody.
MAX_INTERIM: Final = 32

_NO_BODY: Final = frozenset({204, 304})
#: Header blocks whose response is known, and how long they are.
_KNOWN_BLOCKS: Final = 32
_KNOWN_SIZE: Final = 512


class ClientSink(Sink, Protocol):
    """What a client is told besides."""

    def on_response(self, stream: Stream, status: int, fields: Fields, *, ended: bool) -> None:
        """The final response has begun; ``ended``: it has no body, and ``on_end`` will not be called.

        ``fields`` may not be changed.
        """

    def on_informational(self, stream: Stream, status: int, fields: Fields) -> None:
        """An interim response (1xx)."""


class ClientConnection(Connection):
    """A connection to a server, which may be used at once: its settings come with its first answer."""

    _sink: ClientSink

    def __init__(self, sink: ClientSink, clock: Callable[[], float]) -> None:
        super().__init__(
            sink, clock, max_list=MAX_LIST, local={frames.ENABLE_PUSH: 0, frames.MAX_HEADER_LIST_SIZE: MAX_LIST}
        )
        self._max_held = MAX_HELD
        self._output.insert(0, frames.PREFACE)
        self._next_id = 1
        self._heads: dict[bytes, rules.ResponseHead] = {}

    @property
    def free(self) -> int:
        """How many streams may be opened now; 0 for good where ``exhausted``."""
        return 0 if self.exhausted else min(self.max_streams, MAX_STREAMS) - len(self.streams)

    @property
    def exhausted(self) -> bool:
        """Whether no further stream will ever be opened on this connection."""
        return self.goaway_received or self.goaway_sent is not None or self._next_id > frames.MAX_WINDOW

    def send_request(
        self,
        method: bytes,
        scheme: bytes,
        authority: bytes,
        path: bytes,
        fields: Fields,
        *,
        end: bool = False,
        protocol: bytes | None = None,
    ) -> Stream:
        """Open a stream with a request; there must be a ``free`` one. ``protocol`` is that of an extended CONNECT.

        ``fields`` are in lower case and without Host, which is ``authority``. Raises ValueError for what no field may
        be.
        """
        assert self.free > 0
        head = [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path)]
        if protocol is not None:
            head.append((b":protocol", protocol))
        block = encode(head + fields)
        stream = Stream(self._next_id, self.initial_window)
        stream.head_only = method == b"HEAD"
        self.streams[stream.id] = stream
        self._next_id += 2
        self.send_block(stream, block, end=end)
        return stream

    def _on_whole_block(self, stream_id: int, flags: int, block: bytes) -> None:
        stream = self.streams.get(stream_id)
        ended = bool(flags & frames.END_STREAM)
        head = self._heads.get(block)
        if head is None or stream is None or stream.headed or not stream.receiving:
            decoded = self._decoded(block)
            if self._decoder.changed:
                self._heads.clear()
            if stream is None:
                if stream_id not in self._reset:
                    raise self._misplaced(stream_id, "HEADERS")
                return  # It did not know yet.
            if not stream.receiving:
                raise StreamFailure(Code.STREAM_CLOSED, "HEADERS behind the end")
            if self._decoder.size > MAX_LIST or len(decoded) > MAX_FIELDS:
                raise StreamFailure(Code.ENHANCE_YOUR_CALM, "a head that is too large")
            if stream.headed:
                if not ended:
                    raise StreamFailure(Code.PROTOCOL_ERROR, "trailers without an end")
                self._end_receiving(stream, rules.trailers(decoded))
                return
            head = rules.response(decoded)
            if len(block) <= _KNOWN_SIZE and not self._decoder.changed:
                if len(self._heads) >= _KNOWN_BLOCKS:
                    self._heads.clear()
                self._heads[block] = head
        status = head.status
        if status < 200:
            self._on_interim(stream, head, ended=ended)
            return
        stream.headed = True
        if stream.head_only or status in _NO_BODY:
            stream.head_only = True
        else:
            stream.left = head.length
            if ended and head.length:
                raise StreamFailure(Code.PROTOCOL_ERROR, "less than Content-Length says")
        if ended:
            stream.receiving = False
            if not stream.sending:
                self._finish(stream)
        self._sink.on_response(stream, status, head.fields, ended=ended)

    def _on_interim(self, stream: Stream, head: rules.ResponseHead, *, ended: bool) -> None:
        if ended or head.length is not None:
            raise StreamFailure(Code.PROTOCOL_ERROR, "an interim response with a body")
        stream.interim += 1
        if stream.interim > MAX_INTERIM:
            raise StreamFailure(Code.ENHANCE_YOUR_CALM, "too many interim responses")
        self._sink.on_informational(stream, head.status, head.fields)

    def _check_body(self, stream: Stream, size: int) -> None:
        if not stream.headed or (stream.head_only and size):
            raise StreamFailure(Code.PROTOCOL_ERROR, "a body where there can be none")

    def _apply(self, key: int, value: int) -> None:
        if key == frames.ENABLE_PUSH and value:
            raise ConnectionFailure(Code.PROTOCOL_ERROR, "a server that allows pushes")
        super()._apply(key, value)

    def _forget_behind(self, last: int) -> None:
        for stream in [stream for stream in self.streams.values() if stream.id > last]:
            self._drop(stream)
            self._remember_reset(stream.id)
            self._sink.on_reset(stream, Code.REFUSED_STREAM)

    def _is_idle(self, stream_id: int) -> bool:
        return stream_id >= self._next_id or not stream_id & 1
