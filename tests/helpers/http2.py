"""An HTTP/2 client of another make, for tests that are not asynchronous: one connection, many streams."""

import socket
import ssl
from types import TracebackType
from typing import Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from websockets.frames import Frame
from websockets.protocol import Protocol, Side, State

#: Seconds after which a test has waited for too long.
PATIENCE = 30.0

GOAWAY = 7


class Answer:
    """What has come on a stream."""

    def __init__(self) -> None:
        self.status = 0
        self.fields: dict[bytes, bytes] = {}
        #: The fields as they came, with those that are repeated.
        self.head: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.ended = False
        #: The code of a reset.
        self.reset: int | None = None

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class Http2Client:
    """A connection to ``port`` of ``address``. In TLS it names ``server_name``, or ``host`` where there is none."""

    def __init__(
        self,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "localhost",
        server_name: str = "",
        address: str = "127.0.0.1",
    ) -> None:
        self._socket = socket.create_connection((address, port), PATIENCE)
        self.scheme = b"http"
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
            self._socket = tls.wrap_socket(self._socket, server_hostname=server_name or host)
            self.scheme = b"https"
        self.authority = host.encode()
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None, validate_outbound_headers=False))
        self._rest = b""
        self.answers: dict[int, Answer] = {}
        #: Streams of which nothing is taken, and what has come on them.
        self.stalled: dict[int, int] = {}
        #: What each GOAWAY named as the last stream.
        self.last_named: list[int] = []
        #: Whether the server has closed.
        self.closed = False
        self.h2.initiate_connection()
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._socket.close()

    def open(
        self, path: str = "/", *fields: tuple[bytes, bytes], method: str = "GET", end: bool = True
    ) -> tuple[int, Answer]:
        """Ask; gives the stream, and what will come on it."""
        stream = self.h2.get_next_available_stream_id()
        pseudo = [(b":method", method.encode()), (b":scheme", self.scheme), (b":path", path.encode())]
        self.h2.send_headers(stream, [*pseudo, (b":authority", self.authority), *fields], end_stream=end)
        answer = self.answers[stream] = Answer()
        self.flush()
        return stream, answer

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send a piece of a body as the windows let it."""
        view = memoryview(data)
        while view and not self.answers[stream].over:
            size = min(len(view), self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if size:
                self.h2.send_data(stream, view[:size].tobytes())
                view = view[size:]
                self.flush()
            else:
                self.receive()
        if end and self.answers[stream].reset is None:
            self.h2.end_stream(stream)
            self.flush()

    def reset(self, stream: int) -> None:
        self.h2.reset_stream(stream)
        self.flush()

    def flush(self) -> None:
        """Send what h2 has to say."""
        if data := self.h2.data_to_send():
            self._socket.sendall(data)

    def receive(self) -> None:
        """Wait for something of the server, and take it. Raises OSError where the connection breaks."""
        data = self._socket.recv(65_536)
        if not data:
            self.closed = True
            return
        for event in self.h2.receive_data(self._without_goaway(data)):
            if isinstance(event, ResponseReceived):
                answer = self.answers[event.stream_id]
                answer.head = [(bytes(name), bytes(value)) for name, value in event.headers]
                answer.fields = dict(answer.head)
                answer.status = int(answer.fields[b":status"])
            elif isinstance(event, DataReceived):
                self.answers[event.stream_id].body += event.data
                if event.stream_id in self.stalled:
                    self.stalled[event.stream_id] += event.flow_controlled_length
                    self.h2.increment_flow_control_window(event.flow_controlled_length)
                else:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                self.answers[event.stream_id].ended = True
            elif isinstance(event, StreamReset):
                self.answers[event.stream_id].reset = int(event.error_code)
        self.flush()

    def take(self, stream: int) -> None:
        """Go on with one that was stalled."""
        self.h2.increment_flow_control_window(self.stalled.pop(stream), stream)
        self.flush()

    def _without_goaway(self, data: bytes) -> bytes:
        """The whole frames that have come, but for those behind which h2 would take nothing more."""
        frames = b""
        self._rest += data
        while len(self._rest) >= 9 and len(self._rest) >= (size := 9 + int.from_bytes(self._rest[:3], "big")):
            frame, self._rest = self._rest[:size], self._rest[size:]
            if frame[3] == GOAWAY:
                self.last_named.append(int.from_bytes(frame[9:13], "big"))
            else:
                frames += frame
        return frames

    def finish(self, *answers: Answer) -> None:
        """Receive until these are over."""
        while not self.closed and not all(answer.over for answer in answers):
            self.receive()
        assert all(answer.over for answer in answers), "the server has closed"


class WebSocketStream:
    """A WebSocket on a stream of its own (RFC 8441)."""

    def __init__(self, client: Http2Client, path: str, *fields: tuple[bytes, bytes]) -> None:
        self.client = client
        version = (b"sec-websocket-version", b"13")
        self.stream, self.answer = client.open(
            path, (b":protocol", b"websocket"), version, *fields, method="CONNECT", end=False
        )
        while not (self.answer.status or self.answer.over):
            client.receive()
        self.protocol = Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
        self._frames: list[Frame] = []

    def flush(self) -> None:
        for data in self.protocol.data_to_send():
            self.client.send(self.stream, data, end=not data)

    def receive(self) -> Frame | None:
        """The next frame, None behind the last."""
        while not self._frames:
            while not self.answer.body and not self.answer.over:
                self.client.receive()
            if self.answer.body:
                data = bytes(self.answer.body)
                self.answer.body.clear()
                self.protocol.receive_data(data)
            else:
                if self.answer.ended and self.protocol.state is not State.CLOSED:
                    self.protocol.receive_eof()
                    self.flush()
                return None
            self._frames += [event for event in self.protocol.events_received() if isinstance(event, Frame)]
            self.flush()
        return self._frames.pop(0)

    def message(self) -> bytes:
        """The next message, whole."""
        parts = b""
        while frame := self.receive():
            parts += bytes(frame.data)
            if frame.fin:
                return parts
        raise AssertionError("the stream has ended")
