"""Requests through the gateway, each client on a connection that it keeps."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

#: Clients that go on asking, and seconds between two requests of each.
CLIENTS, PAUSE = 4, 0.004
#: Seconds between two questions whether a route is served, and until one gives up.
ASK, GIVE_UP = 0.002, 60.0


class Answer(NamedTuple):
    """A status, the pod that answered if one did, and when the request was sent (``time.perf_counter``)."""

    status: int
    pod: str
    sent: float


class Asking:
    """Requests on one connection, one after the other; OSError and EOFError where it breaks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def __call__(self, host: str) -> Answer:
        sent = time.perf_counter()
        self._writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        _, _, rest = head.partition(b"content-length:")
        body = await self._reader.readexactly(int(rest.partition(b"\r\n")[0]))
        status = int(head.split(b" ", 2)[1])
        return Answer(status, json.loads(body).get("pod", "") if status == 200 else "", sent)


@contextlib.asynccontextmanager
async def connection(address: str, port: int) -> AsyncIterator[Asking]:
    """A connection that is kept for the block."""
    reader, writer = await asyncio.open_connection(address, port)
    try:
        yield Asking(reader, writer)
    finally:
        writer.close()


class Steady:
    """Clients that go on asking for a host while the block lasts: their answers, and what went wrong."""

    def __init__(self, address: str, port: int, host: str, clients: int = CLIENTS) -> None:
        self._place = (address, port, host)
        self._clients = clients
        self.answers: list[Answer] = []
        self.faults: list[str] = []

    async def __aenter__(self) -> "Steady":
        self._tasks = [asyncio.create_task(self._client(*self._place)) for _ in range(self._clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _client(self, address: str, port: int, host: str) -> None:
        while True:
            try:
                async with connection(address, port) as ask:
                    while True:
                        answer = await ask(host)
                        self.answers.append(answer)
                        if answer.status != 200:
                            self.faults.append(f"status {answer.status}")
                        await asyncio.sleep(PAUSE)
            except (OSError, EOFError) as error:
                self.faults.append(repr(error))
                await asyncio.sleep(PAUSE)


async def served(ask: Asking, host: str, errors: list[str]) -> None:
    """Ask until the answer is 200; other answers than 404 before it are ``errors``. TimeoutError."""
    async with asyncio.timeout(GIVE_UP):
        while (answer := await ask(host)).status != 200:
            if answer.status != 404:
                errors.append(f"{answer.status} before 200")
            await asyncio.sleep(ASK)
