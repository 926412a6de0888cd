"""The whole way on real sockets, on each event loop that may serve."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.listeners.http import GatewayProtocol
from app.upstream import exchange
from tests.wire.harness import Server
from tests.wire.test_proxy_wire import CONTINUE, GET, OK, expecting, gateway


def loops() -> Iterator[Any]:
    yield pytest.param(asyncio.new_event_loop, id="asyncio")
    try:
        import uvloop
    except ImportError:
        return
    yield pytest.param(uvloop.new_event_loop, id="uvloop")


LOOPS = list(loops())


class Sockets:
    """A gateway on a socket, with ``speaker`` as its backend on another."""

    def __init__(self, speaker: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> None:
        self._speaker = speaker

    async def __aenter__(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        self._backend = await asyncio.start_server(self._speaker, "127.0.0.1", 0)
        config = Server(loop, gateway("127.0.0.1", self._backend.sockets[0].getsockname()[1]))  # type: ignore[arg-type]
        self._front = await loop.create_server(lambda: GatewayProtocol(config.config, config.state, {}), "127.0.0.1", 0)
        port = self._front.sockets[0].getsockname()[1]
        self.state = config.state
        reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        return reader, self._writer

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        self._front.close()
        self._backend.close()


def run_on(factory: Callable[[], asyncio.AbstractEventLoop], main: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("factory", LOOPS)
def test_100_continue_on_sockets(factory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """… is what the body waits for, and not the time-out: that is the event loop's own kind of timer."""
    monkeypatch.setattr(exchange, "CONTINUE_TIMEOUT", 3600.0)

    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CONTINUE)
        assert await reader.readexactly(2) == b"hi"
        writer.write(OK + b"Content-Length: 2\r\n\r\nok")
        writer.close()

    async def main() -> None:
        async with Sockets(backend) as (reader, writer):
            writer.write(expecting(2))
            assert await reader.readuntil(b"\r\n\r\n") == CONTINUE
            writer.write(b"hi")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
            assert await reader.readexactly(2) == b"ok"

    run_on(factory, main)


@pytest.mark.parametrize("factory", LOOPS)
def test_a_refusal_on_sockets_can_be_read(factory: Any) -> None:
    """… to its end, although more was sent than was read of it (RFC 9112 §9.6)."""

    async def backend(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def main() -> None:
        async with Sockets(backend) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 1_000_000)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 431 ")
            assert answer.endswith(b"\n")

    run_on(factory, main)


@pytest.mark.parametrize("factory", LOOPS)
def test_a_large_body_comes_back_on_sockets(factory: Any) -> None:
    size = 8 * 2**20

    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % size)
        left = size
        while left:
            data = await reader.read(65536)
            left -= len(data)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def main() -> None:
        sockets = Sockets(backend)
        async with sockets as (reader, writer):
            sending = asyncio.create_task(_send(writer, size))
            await reader.readuntil(b"\r\n\r\n")
            got = await reader.readexactly(size)
            await sending
            assert got == bytes(range(256)) * (size // 256)
        while sockets.state.connections or sockets.state.tasks:
            await asyncio.sleep(0)

    async def _send(writer: asyncio.StreamWriter, size: int) -> None:
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            writer.write(bytes(range(256)) * 256)
            await writer.drain()

    run_on(factory, main)


@pytest.mark.parametrize("factory", LOOPS)
@pytest.mark.parametrize("answered", [False, True])
def test_a_client_that_leaves_on_sockets(factory: Any, answered: bool) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        if answered:
            writer.write(OK + b"Content-Length: 100\r\n\r\nsome")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        left.set()
        writer.close()

    async def main() -> None:
        async with Sockets(backend) as (reader, writer):
            writer.write(GET)
            await asked.wait()
            if answered:
                await reader.readuntil(b"some")
            writer.close()
            await left.wait()

    run_on(factory, main)
