"""HTTP/2 by its bytes: frames as a test writes them, and sinks that write down what they are told."""

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from app.http2.client import ClientConnection
from app.http2.compression import Fields
from app.http2.frames import Code, ConnectionFailure, StreamFailure
from app.http2.rules import RequestHead
from app.http2.server import ServerConnection
from app.http2.writer import Stream

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: Types
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
#: Flags
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32

NO_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
SETTINGS_ACK = b"\x00\x00\x00\x04\x01\x00\x00\x00\x00"

#: GET, http, /, a: three fields of the static table and one literal.
GET = b"\x82\x86\x84\x01\x01a"
#: POST, http, /, a
POST = b"\x83\x86\x84\x01\x01a"
#: 200
OK = b"\x88"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">L", len(payload))[1:] + struct.pack(">BBL", kind, flags, stream) + payload


def headers(stream: int, block: bytes, *, end: bool = False) -> bytes:
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)


def data(stream: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    return frame(DATA, END_STREAM if end else 0, stream, payload)


def window(stream: int, increment: int) -> bytes:
    return frame(WINDOW, 0, stream, struct.pack(">L", increment))


def rst(stream: int, code: int = 8) -> bytes:
    return frame(RST, 0, stream, struct.pack(">L", code))


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HL", *pair) for pair in pairs))


def literal(*fields: tuple[bytes, bytes]) -> bytes:
    """Fields as literals with short names and values, in no table."""
    return b"".join(b"\x00%c%b%c%b" % (len(name), name, len(value), value) for name, value in fields)


def request(*fields: tuple[bytes, bytes], method: bytes = b"GET", path: bytes = b"/") -> bytes:
    """A block of a request to ``a``."""
    return literal((b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"a"), *fields)


def split_frames(output: bytes) -> list[tuple[int, int, int, bytes]]:
    """Type, flags, stream and payload of each frame."""
    found = []
    while output:
        size = int.from_bytes(output[:3], "big")
        kind, flags, stream = struct.unpack_from(">BBL", output, 3)
        found.append((kind, flags, stream, output[9 : 9 + size]))
        assert len(output) >= 9 + size, "a frame that is cut off"
        output = output[9 + size :]
    return found


class Heard:
    """What a connection told, in order; pieces of a body are put together."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.streams: dict[int, Stream] = {}
        self.outputs = 0

    def on_output(self) -> None:
        self.outputs += 1

    def on_request(self, stream: Stream, head: RequestHead, *, ended: bool) -> None:
        self.streams[stream.id] = stream
        self.told.append((stream.id, head.method, head.path, list(head.fields), ended))

    def on_too_large(self, stream: Stream, head: RequestHead, *, ended: bool) -> None:
        self.streams[stream.id] = stream
        self.told.append((stream.id, "too large"))

    def on_malformed(self, head: RequestHead, failure: StreamFailure) -> None:
        self.told.append(("malformed", head.method, head.path))

    def on_response(self, stream: Stream, status: int, fields: Fields, *, ended: bool) -> None:
        self.told.append((stream.id, status, list(fields), ended))

    def on_informational(self, stream: Stream, status: int, fields: Fields) -> None:
        self.told.append((stream.id, "interim", status, list(fields)))

    def on_data(self, stream: Stream, data: bytes) -> None:
        last: Any = self.told[-1] if self.told else ()
        if last[:2] == (stream.id, "data"):
            self.told[-1] = (stream.id, "data", last[2] + data)
        else:
            self.told.append((stream.id, "data", data))

    def on_end(self, stream: Stream, trailers: Fields) -> None:
        self.told.append((stream.id, "end", list(trailers)))

    def on_reset(self, stream: Stream, code: int) -> None:
        self.told.append((stream.id, "reset", code))

    def on_window(self, stream: Stream) -> None:
        self.told.append((stream.id, "window"))

    def on_goaway(self, last_stream_id: int, code: int, reason: bytes) -> None:
        self.told.append(("goaway", last_stream_id, code, reason))

    def on_settings(self) -> None:
        self.told.append("settings")

    def on_ping(self, data: bytes) -> None:
        self.told.append(("ping", data))


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Peer:
    """A connection and what it told. ``failure`` is what ended it."""

    def __init__(self, make: Callable[[Any, Callable[[], float]], Any], beginning: bytes) -> None:
        self.heard = Heard()
        self.clock = Clock()
        self.connection: Any = make(self.heard, self.clock)
        self.failure: Code | None = None
        #: What it sent before anything came.
        self.greeting = self.connection.take()
        if beginning:
            self.feed(beginning)
            assert self.output() == SETTINGS_ACK
            self.heard.told.clear()

    def feed(self, *pieces: bytes) -> "Peer":
        for piece in pieces:
            try:
                self.connection.feed(piece)
            except ConnectionFailure as failure:
                self.failure = failure.code
                break
        return self

    @property
    def told(self) -> list[Any]:
        """What was told since it was asked last."""
        told, self.heard.told = self.heard.told, []
        return told

    def output(self) -> bytes:
        output: bytes = self.connection.take()
        return output

    def frames(self) -> list[tuple[int, int, int, bytes]]:
        return split_frames(self.output())


def server(beginning: bytes = PREFACE + NO_SETTINGS) -> Peer:
    """A server whose client has said hello, which was answered."""
    return Peer(ServerConnection, beginning)


def client(beginning: bytes = NO_SETTINGS) -> Peer:
    """A client whose server has said hello, which was answered."""
    return Peer(ClientConnection, beginning)


def stream_error(stream: int, code: Code) -> tuple[int, int, int, bytes]:
    return RST, 0, stream, struct.pack(">L", code)


def result(peer: Peer, pieces: Sequence[bytes]) -> tuple[list[Any], Code | None, bytes]:
    """What is told and sent for ``pieces``."""
    peer.feed(*pieces)
    return peer.told, peer.failure, peer.output()


def many(frames: Iterable[bytes]) -> bytes:
    return b"".join(frames)
