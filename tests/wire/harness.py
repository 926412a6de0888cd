"""Connections without sockets and time without waiting.

A :class:`Loop` is a real event loop whose clock stands still until a test moves it, and whose connections are
:class:`Wire` objects: the test is the other end and decides what arrives, how it is cut, what is read and when.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.listeners.http import GatewayProtocol

T = TypeVar("T")
Fields = list[tuple[bytes, bytes]]

#: Bytes that a transport lets wait before it asks for a pause, and below which it goes on (asyncio's are the same).
HIGH, LOW = 64 * 1024, 16 * 1024
#: Bytes that a transport reads at once.
READ = 256 * 1024


class Loop(asyncio.SelectorEventLoop):
    """An event loop of the test's own time. What fails in it without being asked for is in ``failures``."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.failures: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.failures.append(context))
        #: What :meth:`create_connection` has made, in order, and where it was to lead.
        self.wires: list[Wire] = []
        self.asked: list[tuple[str, int]] = []
        #: Takes the place of connecting: raises, or waits, or does nothing.
        self.connecting: Callable[[], Coroutine[Any, Any, None]] | None = None

    def time(self) -> float:
        return self.now

    def turn(self) -> None:
        """One round of what is ready."""
        self.call_soon(self.stop)
        self.run_forever()

    def settle(self) -> None:
        """Run until everything waits for something else than its turn."""
        for _ in range(10_000):
            if not self._ready:  # type: ignore[attr-defined]  # the one thing that a loop does not tell
                return
            self.turn()
        raise AssertionError("the loop does not come to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass, in steps that no timer of the connections is finer than."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.5)
            self.turn()
            self.settle()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of ``coroutine``, which must not wait for anything that the test would have to do."""
        task = self.create_task(coroutine)
        self.settle()
        assert task.done(), "it waits"
        return task.result()

    async def create_connection(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        """A :class:`Wire` in the place of a socket; ``wires`` holds it for the test."""
        self.asked.append((host, port))
        if self.connecting is not None:
            await self.connecting()
        protocol = factory()
        wire = Wire(self, protocol)
        self.wires.append(wire)
        protocol.connection_made(wire)
        return wire, protocol

    def finish(self) -> None:
        """End what still runs. Raises AssertionError where something failed unseen."""
        self.settle()
        self.end()
        assert not self.failures, self.failures

    def end(self) -> None:
        """End what still runs."""
        for task in asyncio.all_tasks(self):
            task.cancel()
        self.settle()
        self.run(self.shutdown_asyncgens())
        self.close()


class Wire(asyncio.Transport):
    """A transport whose other end is the test.

    ``output`` is everything that was written to it and ``written`` each single write. While ``reading`` is False
    nobody takes what is written: it waits, and counts for the transport's limits.
    """

    def __init__(
        self, loop: Loop, protocol: asyncio.BaseProtocol, *, tls: bool = False, alpn: str | None = None
    ) -> None:
        super().__init__()
        self.loop = loop
        self.protocol: Any = protocol
        self.tls = tls
        #: What the handshake has chosen.
        self.alpn = alpn
        self.written: list[bytes] = []
        self.reading = True
        self.waiting = 0
        self.largest_wait = 0
        self.paused = False
        self.closed = self.aborted = self.ended = self.lost = False
        self._writing_paused = False
        self._kernel = bytearray()
        self._end_of_input = False

    # What the test does

    @property
    def output(self) -> bytes:
        return b"".join(self.written)

    def feed(self, *pieces: bytes) -> None:
        """Bytes arrive, in ``pieces``, each of which is worked off before the next."""
        for piece in pieces:
            self.arrive(piece)
            self.loop.settle()

    def arrive(self, data: bytes) -> None:
        """Bytes arrive, and nobody but the protocol gets a turn."""
        self._kernel += data
        self._deliver()

    def feed_eof(self) -> None:
        """The other end sends no more."""
        self._end_of_input = True
        self._deliver()
        self.loop.settle()

    def lose(self, error: Exception | None = None) -> None:
        """The connection breaks."""
        self.closed = True
        self._lose(error)
        self.loop.settle()

    def take(self, size: int | None = None) -> None:
        """The other end reads ``size`` of the bytes that wait, or all."""
        self.waiting = 0 if size is None else max(0, self.waiting - size)
        self._after_taking()
        self.loop.settle()

    @property
    def unread(self) -> int:
        """Bytes that have arrived and that nobody has read."""
        return len(self._kernel)

    @property
    def state(self) -> str:
        """``open``, ``ending`` (no more is sent), ``closed`` in order, or ``aborted``."""
        if self.aborted:
            return "aborted"
        return "closed" if self.closed else "ending" if self.ended else "open"

    # asyncio.Transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        known = {"peername": ("192.0.2.7", 40000), "sockname": ("192.0.2.1", 80)}
        if self.tls:
            known["sslcontext"] = object()  # type: ignore[assignment]
            known["ssl_object"] = self  # type: ignore[assignment]
        return known.get(name, default)

    def selected_alpn_protocol(self) -> str | None:
        """As ssl.SSLObject."""
        return self.alpn

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self.protocol
        return protocol

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: Any) -> None:
        assert not self.closed, "a write on a closed connection"
        assert not self.ended, "a write behind the end"
        self.written.append(bytes(data))
        if not self.reading:
            self.waiting += len(data)
            self.largest_wait = max(self.largest_wait, self.waiting)
            if self.waiting > HIGH and not self._writing_paused:
                self._writing_paused = True
                self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def can_write_eof(self) -> bool:
        return not self.tls

    def write_eof(self) -> None:
        assert not self.tls
        assert not self.closed
        self.ended = True

    def pause_reading(self) -> None:
        self.paused = True

    def is_reading(self) -> bool:
        return not self.paused

    def resume_reading(self) -> None:
        self.paused = False
        self.loop.call_soon(self._deliver)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if not self.waiting:
                self.loop.call_soon(self._lose, None)

    def abort(self) -> None:
        if not self.lost:
            self.closed = self.aborted = True
            self.waiting = 0
            self.loop.call_soon(self._lose, None)

    # Inside

    def _deliver(self) -> None:
        """Call the protocol as an event loop does, which is running then, in a test's own step or within the loop."""
        running = asyncio._get_running_loop()
        asyncio._set_running_loop(self.loop)
        try:
            self._deliver_now()
        finally:
            asyncio._set_running_loop(running)

    def _deliver_now(self) -> None:
        while self._kernel and not self.paused and not self.closed:
            if isinstance(self.protocol, asyncio.BufferedProtocol):
                buffer: Any = self.protocol.get_buffer(-1)
                size = min(len(buffer), len(self._kernel))
                buffer[:size] = self._kernel[:size]
                del self._kernel[:size]
                self.protocol.buffer_updated(size)
            else:
                data = bytes(self._kernel[:READ])
                del self._kernel[: len(data)]
                self.protocol.data_received(data)
        if self._end_of_input and not self.paused and not self.closed and not self.protocol.eof_received():
            self.close()

    def _after_taking(self) -> None:
        if self._writing_paused and self.waiting <= LOW:
            self._writing_paused = False
            self.protocol.resume_writing()
        if self.closed and not self.waiting and not self.lost:
            self.loop.call_soon(self._lose, None)

    def _lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            protocol, self.protocol = self.protocol, None
            protocol.connection_lost(error)


# The front


@dataclass(frozen=True)
class Seen:
    """A request as the application saw it."""

    method: str
    target: bytes
    fields: Fields
    body: bytes = b""
    version: str = "1.1"


@dataclass
class Recorder:
    """An application that takes whole requests and answers each with 200 and ``ok``."""

    seen: list[Seen] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)
    disconnects: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects += 1
                return
            body += message["body"]
            more = message["more_body"]
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        self.seen.append(Seen(scope["method"], target, list(scope["headers"]), body, scope["http_version"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


class Server:
    """A server's state and settings, and connections to it."""

    def __init__(self, loop: Loop, app: ASGIApp, **options: Any) -> None:
        self.loop = loop
        self.config = Config(
            app, http=GatewayProtocol, ws=options.pop("ws", "none"), lifespan="off", interface="asgi3", log_config=None,
            proxy_headers=False, **options,
        )  # fmt: skip
        self.config.load()
        self.state = ServerState()

    def connect(self, *, tls: bool = False, alpn: str | None = None) -> Wire:
        """A new client; the test is its end of the wire."""
        protocol = GatewayProtocol(self.config, self.state, {}, self.loop)
        wire = Wire(self.loop, protocol, tls=tls, alpn=alpn)
        protocol.connection_made(wire)
        return wire


_DATE = re.compile(rb"date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n")


def undated(answers: bytes) -> bytes:
    """``answers`` without their Date fields, of which each final one must have one."""
    stripped, dates = _DATE.subn(b"", answers)
    finals = len(re.findall(rb"HTTP/1\.1 [2-5]\d\d ", answers))
    assert dates == finals, f"{dates} dates in {finals} answers"
    return stripped


@dataclass(frozen=True)
class Outcome:
    """What came of a client's bytes: the requests that the application got whole, the answers, and the connection."""

    seen: list[Seen]
    answers: bytes
    state: str

    @property
    def status(self) -> int:
        """The status of the last final answer; 0 where there is none."""
        found = re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", self.answers)
        return int(found[-1]) if found else 0


def outcome(loop: Loop, pieces: Sequence[bytes], **options: Any) -> Outcome:
    """What a :class:`Recorder` and a client that sends ``pieces`` see of each other."""
    recorder = Recorder()
    server = _server(loop, options)
    server.config.loaded_app = recorder
    wire = server.connect()
    wire.feed(*pieces)
    result = Outcome(recorder.seen, undated(wire.output), wire.state)
    wire.lose()
    return result


def _server(loop: Loop, options: dict[str, Any]) -> Server:
    """One for each loop and its options: loading the settings takes longer than most requests."""
    key = repr(options)
    kept: dict[str, Server] = loop.__dict__.setdefault("kept", {})
    if key not in kept:
        kept[key] = Server(loop, Recorder(), **options)
    return kept[key]


def cuts(data: bytes) -> Iterator[tuple[bytes, ...]]:
    """``data`` whole, byte by byte, and in two at every place."""
    yield (data,)
    yield tuple(data[index : index + 1] for index in range(len(data)))
    for index in range(1, len(data)):
        yield data[:index], data[index:]


def however_cut(data: bytes, run: Callable[[Sequence[bytes]], T]) -> T:
    """The result of ``run`` for ``data``, which must be the same for all of its :func:`cuts`."""
    whole: T | None = None
    for pieces in cuts(data):
        result = run(pieces)
        if whole is None:
            whole = result
        assert result == whole, f"cut as {pieces if len(pieces) == 2 else 'single bytes'}: {result}\nwhole: {whole}"
    assert whole is not None
    return whole
