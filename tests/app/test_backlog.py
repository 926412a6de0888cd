"""Connections in the queue of a socket that stops listening, on real sockets."""

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any, cast

import pytest
import uvloop

from app.listeners.backlog import accept_all

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a filter on a listening socket is Linux's")

CLIENTS = 50


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def factory(request: pytest.FixtureRequest) -> Any:
    return request.param


def run(factory: Callable[[], asyncio.AbstractEventLoop], main: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_clients_that_wait_in_the_queue_are_served_and_later_ones_are_refused(factory: Any, host: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, host, 0)
        address = server.sockets[0].getsockname()[:2]
        # All of them are connected before the event loop has its turn, so that none has been accepted.
        clients = [socket.create_connection(address) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(b"hello")
        await accept_all([server])
        server.close()
        for client in clients:
            with client:
                client.setblocking(False)
                assert await loop.sock_recv(client, 5) == b"hello"
        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(socket.create_connection, address, 10)

    run(factory, main)


def test_a_unix_socket_is_left_as_it_is(factory: Any, tmp_path: Any) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_unix_server(Echo, str(tmp_path / "socket"))
        await accept_all([server])
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "socket"))
        server.close()

    run(factory, main)
