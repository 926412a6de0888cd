"""Backends that run in a thread of the test, so that it can see what reaches them."""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

from tests.helpers.waiting import wait_until

Speaker = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def serving(app: ASGIApp, *, http: str = "httptools", lifespan: Literal["on", "off"] = "off") -> Iterator[int]:
    """Serve ``app`` with uvicorn; gives its port."""
    config = uvicorn.Config(
        app, port=0, lifespan=lifespan, log_config=None, access_log=False, timeout_graceful_shutdown=1, http=http
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, what="the backend has started")
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def speaking(speaker: Speaker, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Have ``speaker`` answer each connection, byte by byte as it likes, in TLS with ``context``; gives the port."""
    ports: list[int] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await speaker(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the gateway left, which is its right
        finally:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        ports.append(server.sockets[0].getsockname()[1])
        await stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_until(lambda: ports, what="the backend listens")
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def head_of(reader: asyncio.StreamReader) -> bytes:
    """A request's head."""
    return await reader.readuntil(b"\r\n\r\n")
