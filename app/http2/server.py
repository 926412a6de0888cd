"""The server's end: requests in, responses out."""

from collections.abc import Callable
from typing import Final, Protocol

from app.http2 import frames, rules
from app.http2.compression import Fields, encode, status
from app.http2.connection import Connection
from app.http2.frames import Code, ConnectionFailure, StreamFailure
from app.http2.rules import RequestHead
from app.http2.writer import Sink, Stream

#: Streams that a client may have open at once.
MAX_STREAMS: Final = 128
#: Bytes (RFC 9113 §10.5.1) and fields of a request that are served; up to four times as many bytes are read, so that it
#: can be told.
MAX_LIST: Final = 64 * 1024
MAX_FIELDS: Final = 100

#: Header blocks whose request is known, and how long they are.
_KNOWN_BLOCKS: Final = 32
_KNOWN_SIZE: Final = 512


class ServerSink(Sink, Protocol):
    """What a server is told besides."""

    def on_request(self, stream: Stream, head: RequestHead, *, ended: bool) -> None:
        """A request has begun; ``ended``: it has no body, and ``on_end`` will not be called."""

    def on_too_large(self, stream: Stream, head: RequestHead, *, ended: bool) -> None:
        """The same for a request with more or larger fields than are served."""

    def on_malformed(self, head: RequestHead, failure: StreamFailure) -> None:
        """A request was none, and its stream is being reset; ``head`` is what can be known of it."""


class ServerConnection(Connection):
    """A client's connection. Of streams that were reset the owner has to say when it has let go of them."""

    _sink: ServerSink

    def __init__(self, sink: ServerSink, clock: Callable[[], float]) -> None:
        super().__init__(
            sink,
            clock,
            max_list=MAX_LIST,
            local={
                frames.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                frames.MAX_HEADER_LIST_SIZE: MAX_LIST,
                frames.ENABLE_CONNECT_PROTOCOL: 1,
            },
        )
        self._preface = frames.PREFACE
        self._heads: dict[bytes, RequestHead] = {}
        #: Streams that ended early and whose request is still being worked on.
        self.lingering = 0

    def let_go(self) -> None:
        """The work for a stream of which ``on_reset`` told has ended: another may take its place."""
        self.lingering -= 1

    def send_head(self, stream: Stream, code: int, fields: Fields, *, end: bool = False) -> None:
        """Send the head of a response, or an interim one. Raises ValueError for what no field may be."""
        self.send_block(stream, status(code) + encode(fields), end=end)

    def drain(self) -> None:
        """Say that no further streams are wanted, without refusing those that are on their way (§6.8).

        When the peer has answered this PING, :meth:`goaway` names the last stream for good.
        """
        self.goaway_sent = frames.MAX_WINDOW
        self._put(frames.goaway(frames.MAX_WINDOW, Code.NO_ERROR))
        self.ping(b"draining")

    def _feed(self, data: bytes) -> None:
        preface = self._preface
        if preface:
            size = len(preface)
            if not data.startswith(preface[: len(data)]):
                raise ConnectionFailure(Code.PROTOCOL_ERROR, "no preface")
            self._preface = preface[len(data) :]
            data = data[size:]
        super()._feed(data)

    def _on_whole_block(self, stream_id: int, flags: int, block: bytes) -> None:
        head = self._heads.get(block)
        stream = self.streams.get(stream_id)
        ended = bool(flags & frames.END_STREAM)
        if head is None or stream is not None or stream_id <= self.last_id or not stream_id & 1:
            decoded = self._decoded(block)
            if self._decoder.changed:
                self._heads.clear()
            if stream is not None:
                self._on_trailers(stream, decoded, ended=ended)
                return
            self._check_new(stream_id)
            if stream_id in self._reset:
                return  # It did not know yet.
            self.last_id = stream_id
            try:
                head = rules.request(decoded, extended_connect=True)
            except StreamFailure as failure:
                self._sink.on_malformed(rules.guessed(decoded), failure)
                raise
            large = self._decoder.size > MAX_LIST or len(head.fields) > MAX_FIELDS
            if len(block) <= _KNOWN_SIZE and not large and not self._decoder.changed:
                if len(self._heads) >= _KNOWN_BLOCKS:
                    self._heads.clear()
                self._heads[block] = head
        else:
            self.last_id = stream_id
            large = False
        if len(self.streams) + self.lingering >= MAX_STREAMS or self._too_late(stream_id):
            raise StreamFailure(Code.REFUSED_STREAM, "too many streams")
        if ended and head.length:
            short = StreamFailure(Code.PROTOCOL_ERROR, "less than Content-Length says")
            self._sink.on_malformed(head, short)
            raise short
        stream = Stream(stream_id, self.initial_window)
        stream.left = head.length
        self.streams[stream_id] = stream
        stream.receiving = not ended
        if large:
            self._sink.on_too_large(stream, head, ended=ended)
        else:
            self._sink.on_request(stream, head, ended=ended)

    def _check_new(self, stream_id: int) -> None:
        """Raises ConnectionFailure where no request can be opened (§5.1.1)."""
        if not stream_id & 1:
            raise ConnectionFailure(Code.PROTOCOL_ERROR, "a stream that is not the client's")
        if stream_id <= self.last_id and stream_id not in self._reset:
            code = Code.STREAM_CLOSED if stream_id in self._ended else Code.PROTOCOL_ERROR
            raise ConnectionFailure(code, "HEADERS on a stream that has ended")

    def _too_late(self, stream_id: int) -> bool:
        return self.goaway_sent is not None and stream_id > self.goaway_sent

    def _on_trailers(self, stream: Stream, decoded: Fields, *, ended: bool) -> None:
        if not stream.receiving:
            raise StreamFailure(Code.STREAM_CLOSED, "HEADERS behind the end")
        if not ended:
            raise StreamFailure(Code.PROTOCOL_ERROR, "trailers without an end")
        if self._decoder.size > MAX_LIST or len(decoded) > MAX_FIELDS:
            raise StreamFailure(Code.ENHANCE_YOUR_CALM, "trailers that are too large")
        self._end_receiving(stream, rules.trailers(decoded))

    def _is_idle(self, stream_id: int) -> bool:
        return stream_id > self.last_id or not stream_id & 1

    def _drop(self, stream: Stream) -> None:
        super()._drop(stream)
        self.lingering += 1

    def reset(self, stream: Stream, code: Code) -> None:
        """End ``stream`` at once; nothing more is told of it, and it is let go of."""
        if self.streams.get(stream.id) is stream:
            super().reset(stream, code)
            self.lingering -= 1
