"""A backend that speaks HTTP/2 with the library h2, in a thread of the test."""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError

from tests.helpers.waiting import wait_until

Fields = list[tuple[bytes, bytes]]
App = Callable[["Request"], Awaitable[None]]


class Request:
    """One request on a stream, and the answer to it."""

    def __init__(self, connection: "_Connection", stream: int, fields: Fields) -> None:
        self._connection = connection
        self._stream = stream
        self.fields = [field for field in fields if field[0][:1] != b":"]
        pseudo = dict(field for field in fields if field[0][:1] == b":")
        self.method = pseudo[b":method"].decode()
        self.path = pseudo[b":path"].decode()
        self.authority = pseudo[b":authority"].decode()
        self.scheme = pseudo[b":scheme"].decode()
        self.trailers: Fields = []
        self._pieces: asyncio.Queue[tuple[bytes, int] | None] = asyncio.Queue()
        self.window = asyncio.Event()

    async def body(self) -> bytes:
        """All of the body."""
        return b"".join([data async for data in self.pieces()])

    async def pieces(self) -> Any:
        """The body, whose windows are opened as it is taken."""
        while (piece := await self._pieces.get()) is not None:
            data, size = piece
            self._connection.h2.acknowledge_received_data(size, self._stream)
            self._connection.flush()
            yield data

    def inform(self, status: int, *fields: tuple[bytes, bytes]) -> None:
        """Send an interim response."""
        self.respond(status, *fields)

    def respond(self, status: int, *fields: tuple[bytes, bytes], end: bool = False) -> None:
        """Send a head."""
        self._connection.h2.send_headers(self._stream, [(b":status", b"%d" % status), *fields], end_stream=end)
        self._connection.flush()

    async def write(self, data: bytes, *, end: bool = False) -> None:
        """Send a piece of the body, as the windows let it through."""
        h2 = self._connection.h2
        while data:
            room = min(h2.local_flow_control_window(self._stream), h2.max_outbound_frame_size)
            if room <= 0:
                self.window.clear()
                await self.window.wait()
                continue
            await self._connection.writable.wait()
            piece, data = data[:room], data[room:]
            h2.send_data(self._stream, piece, end_stream=end and not data)
            self._connection.flush()

    def end(self, *trailers: tuple[bytes, bytes]) -> None:
        """The answer's end."""
        if trailers:
            self._connection.h2.send_headers(self._stream, list(trailers), end_stream=True)
        else:
            self._connection.h2.end_stream(self._stream)
        self._connection.flush()

    def reset(self, code: int) -> None:
        """End the stream at once."""
        self._connection.h2.reset_stream(self._stream, code)
        self._connection.flush()

    async def never(self) -> None:
        """Do not answer."""
        self._connection.backend.waiting = True
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._connection.backend.waiting = False

    def feed(self, piece: tuple[bytes, int] | None) -> None:
        self._pieces.put_nowait(piece)


class _Connection(asyncio.Protocol):
    def __init__(self, backend: "Http2Backend") -> None:
        self.backend = backend
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.transport: Any = None
        self._requests: dict[int, Request] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.backend.connections.add(self)
        self.backend.accepted += 1
        self.h2.initiate_connection()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.backend.connections.discard(self)
        for task in self._tasks.values():
            task.cancel()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def flush(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        try:
            events = self.h2.receive_data(data)
        except ProtocolError as error:
            self.backend.complaints.append(str(error))
            self.flush()
            self.transport.close()
            return
        for event in events:
            self._on_event(event)
        self.flush()

    def _on_event(self, event: Any) -> None:
        if isinstance(event, RequestReceived):
            request = self._requests[event.stream_id] = Request(self, event.stream_id, list(event.headers))
            self._tasks[event.stream_id] = asyncio.get_running_loop().create_task(self._run(request, event.stream_id))
        elif isinstance(event, DataReceived):
            self._requests[event.stream_id].feed((event.data, event.flow_controlled_length))
        elif isinstance(event, TrailersReceived):
            self._requests[event.stream_id].trailers = list(event.headers)
        elif isinstance(event, StreamEnded):
            self._requests[event.stream_id].feed(None)
        elif isinstance(event, StreamReset):
            self.backend.resets.append(int(event.error_code))
            if event.stream_id in self._tasks:
                self._tasks[event.stream_id].cancel()
        elif isinstance(event, WindowUpdated):
            for request in self._requests.values():
                request.window.set()
        elif isinstance(event, ConnectionTerminated):
            self.backend.goodbyes += 1

    async def _run(self, request: Request, stream: int) -> None:
        try:
            await self.backend.app(request)
        except ProtocolError:
            pass  # the gateway has reset the stream, which is its right
        finally:
            del self._requests[stream], self._tasks[stream]


class Http2Backend:
    """What a test sees of it. ``drop`` ends all connections at once."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.port = 0
        self.accepted = 0
        self.goodbyes = 0
        self.resets: list[int] = []
        #: What h2 had to say against the gateway.
        self.complaints: list[str] = []
        self.connections: set[_Connection] = set()
        #: Whether a request is waited for that is never answered.
        self.waiting = False
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()

    def drop(self) -> None:
        def abort() -> None:
            for connection in list(self.connections):
                connection.transport.abort()

        self._loop.call_soon_threadsafe(abort)

    def run(self, context: ssl.SSLContext | None) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main(context))

    async def _main(self, context: ssl.SSLContext | None) -> None:
        server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        await self._stop.wait()
        server.close()
        for connection in list(self.connections):
            connection.transport.abort()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)


@contextmanager
def http2_backend(app: App, context: ssl.SSLContext | None = None) -> Iterator[Http2Backend]:
    """Serve ``app`` over HTTP/2, in clear where there is no ``context``."""
    backend = Http2Backend(app)
    thread = threading.Thread(target=backend.run, args=(context,))
    thread.start()
    try:
        wait_until(lambda: backend.port, what="the backend listens")
        yield backend
        assert not backend.complaints
    finally:
        backend.stop()
        thread.join()
