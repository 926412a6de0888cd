"""A WebSocket client for tests that are not asynchronous.

It runs in an event loop of its own thread: two threads on one TLS connection, as in websockets.sync, are not safe.
"""

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection, connect

from tests.helpers.client import insecure

T = TypeVar("T")

#: Seconds after which a test has waited for too long.
PATIENCE = 30.0


class Client:
    """An open WebSocket. What it cannot do raises what the websockets library raises."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: ClientConnection) -> None:
        self._loop = loop
        self.connection = connection

    def send(self, message: str | bytes | Iterable[str]) -> None:
        _run(self._loop, self.connection.send(message))

    def recv(self) -> str | bytes:
        return _run(self._loop, self.connection.recv())

    def ping(self) -> None:
        """Send a ping, and wait for the pong."""

        async def ping() -> None:
            await (await self.connection.ping(b"are you there"))

        _run(self._loop, ping())

    def close(self, code: int = 1000, reason: str = "") -> None:
        _run(self._loop, self.connection.close(code, reason))

    def vanish(self) -> None:
        """End the connection without a word."""
        self._loop.call_soon_threadsafe(self.connection.transport.abort)

    @property
    def closed(self) -> tuple[int | None, str | None]:
        """Code and reason of the close that was received."""
        return self.connection.close_code, self.connection.close_reason


@contextmanager
def dialled(
    scheme: str, port: int, path: str, host: str = "chat.example", *, address: str = "127.0.0.1", **options: Any
) -> Iterator[Client]:
    """A WebSocket to ``port`` of ``address``; ``options`` are those of websockets' ``connect``."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        options = {"max_size": None, "compression": None, "proxy": None} | options
        if scheme == "wss":
            options |= {"ssl": insecure(), "server_hostname": host}

        async def dial() -> ClientConnection:
            sock = socket.create_connection((address, port), PATIENCE)
            sock.setblocking(False)
            return await connect(f"{scheme}://{host}:{port}{path}", sock=sock, **options)

        client = Client(loop, _run(loop, dial()))
        try:
            yield client
        finally:
            client.close()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _run(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(PATIENCE)
