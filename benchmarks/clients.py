"""``python -m benchmarks.clients``: the load that neither wrk nor h2load makes, as a process of its own.

Prints one line of JSON when it is done, or, for what only holds connections, when all are there; those it keeps until
its input ends.
"""

import argparse
import asyncio
import contextlib
import json
import ssl
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, cast

from benchmarks.websocket import KEY, Frames, accept_key, frame, upgrade

Found = dict[str, Any]


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, path: str, fields: str = ""
) -> bytes:
    """Send a GET and read its answer. Raises ValueError where that is not a 200 with a Content-Length."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200 "):
        raise ValueError(head.partition(b"\r\n")[0].decode())
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if not found:
        raise ValueError("an answer without Content-Length")
    return await reader.readexactly(int(rest.partition(b"\r\n")[0]))


class Talker(asyncio.Protocol):
    """A WebSocket that sends a message whenever it has the last one back."""

    def __init__(self, host: str, path: str, message: bytes, until: float, done: asyncio.Future[None]) -> None:
        self.request = upgrade(host, path)
        self.message, self.frame = message, frame(1, message, mask=True)
        self.until = until
        self.done = done
        self.latencies: list[float] = []
        self.frames: Frames | None = None
        self.head = b""
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if self.frames is None:
            self.head += data
            head, end, data = self.head.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101 ") or accept_key(KEY) not in head:
                self.fail(f"no WebSocket: {head.splitlines()[0].decode('latin-1')}")
                return
            self.frames = Frames()
            self.send()
        for opcode, payload in self.frames.feed(data):
            if opcode == 9:
                self.transport.write(frame(10, payload, mask=True))
            elif opcode != 1 or payload != self.message:
                self.fail(f"wrong message: opcode {opcode}, {len(payload)} bytes")
            else:
                self.latencies.append(time.perf_counter() - self.sent)
                self.send()

    def send(self) -> None:
        self.sent = time.perf_counter()
        if self.sent < self.until:
            self.transport.write(self.frame)
        elif not self.done.done():
            self.done.set_result(None)

    def fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(ValueError(why))

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail("the connection was closed")


async def websocket(options: argparse.Namespace) -> Found:
    """Messages to and fro over all connections."""
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    talkers = []
    for _ in range(options.connections):
        done: asyncio.Future[None] = loop.create_future()
        talker = Talker(options.host, options.path, b"m" * options.size, start + options.seconds, done)
        await loop.create_connection(lambda talker=talker: talker, "127.0.0.1", options.port)  # type: ignore[misc]
        talkers.append(talker)
    await asyncio.gather(*(asyncio.wait_for(talker.done, options.seconds + 10) for talker in talkers))
    seconds = time.perf_counter() - start
    for talker in talkers:
        talker.transport.abort()
    return _summary([one for talker in talkers for one in talker.latencies], seconds)


async def handshakes(options: argparse.Namespace) -> Found:
    """A new TLS connection for every request, never resumed."""
    latencies: list[float] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    start = time.perf_counter()

    async def repeat() -> None:
        while (before := time.perf_counter()) < start + options.seconds:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", options.port, ssl=context, server_hostname=options.host
            )
            body = await ask(reader, writer, options.host, options.path, "Connection: close\r\n")
            if len(body) != options.size:
                raise ValueError(f"{len(body)} bytes for {options.size}")
            writer.transport.abort()
            latencies.append(time.perf_counter() - before)

    await asyncio.gather(*(repeat() for _ in range(options.connections)))
    return _summary(latencies, time.perf_counter() - start)


async def idle(options: argparse.Namespace) -> Found:
    """Connections that have had one answer and ask for no more."""
    latencies: list[float] = []
    kept: list[asyncio.StreamReader] = []
    writers: list[asyncio.StreamWriter] = []
    turn = asyncio.Semaphore(50)
    start = time.perf_counter()

    async def open_one() -> None:
        async with turn:
            before = time.perf_counter()
            reader, writer = await asyncio.open_connection("127.0.0.1", options.port)
            kept.append(reader)
            writers.append(writer)  # or it would be closed
            if len(await ask(reader, writer, options.host, options.path)) != options.size:
                raise ValueError("an answer of the wrong length")
            latencies.append(time.perf_counter() - before)

    await asyncio.gather(*(open_one() for _ in range(options.connections)))
    _print(_summary(latencies, time.perf_counter() - start))
    await _end_of_input()
    if gone := await _ended(kept):
        raise ValueError(f"{gone} of {len(kept)} connections were not kept open")
    return {}


async def sockets(options: argparse.Namespace) -> Found:
    """WebSockets that say nothing."""
    kept: list[asyncio.StreamReader] = []
    writers = []  # or they would be closed
    for _ in range(options.connections):
        reader, writer = await asyncio.open_connection("127.0.0.1", options.port)
        writer.write(upgrade(options.host, options.path))
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ValueError(f"no WebSocket: {head.splitlines()[0].decode('latin-1')}")
        kept.append(reader)
        writers.append(writer)
    _print({"open": len(kept)})
    await _end_of_input()
    return {"open": len(kept) - await _ended(kept)}


async def slow(options: argparse.Namespace) -> Found:
    """Half of the connections send a head, half a body, a byte a second; who is cut off comes again."""
    heads = f"GET {options.path} HTTP/1.1\r\nHost: {options.host}\r\nX-Slow: "
    bodies = f"POST {options.path} HTTP/1.1\r\nHost: {options.host}\r\nContent-Length: 1000000\r\n\r\n"
    cut = 0

    async def trickle(number: int) -> None:
        nonlocal cut
        await asyncio.sleep(number / options.connections)  # spread over the second
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", options.port)
                writer.write((heads if number % 2 else bodies).encode())
                while True:
                    try:
                        if not await asyncio.wait_for(reader.read(65536), 1):
                            break
                    except TimeoutError:
                        writer.write(b"x")
                writer.transport.abort()
            cut += 1

    tasks = [asyncio.create_task(trickle(number)) for number in range(options.connections)]
    await asyncio.sleep(2)
    _print({"open": len(tasks)})
    await _end_of_input()
    for task in tasks:
        task.cancel()
    return {"cut": cut}


async def _ended(readers: list[asyncio.StreamReader]) -> int:
    """How many have come to their end."""
    done, rest = await asyncio.wait([asyncio.create_task(reader.read()) for reader in readers], timeout=0.5)
    for task in rest:
        task.cancel()
    for task in done:
        task.exception()  # has been seen
    return len(done)


def _summary(latencies: list[float], seconds: float) -> Found:
    ranked = sorted(latencies)
    if not ranked:
        raise ValueError("no answers")
    return {
        "requests": len(ranked),
        "seconds": seconds,
        "p50": ranked[len(ranked) // 2] * 1e3,
        "p99": ranked[len(ranked) * 99 // 100] * 1e3,
    }


def _print(found: Found) -> None:
    print(json.dumps(found), flush=True)


async def _end_of_input() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


KINDS: dict[str, Callable[[argparse.Namespace], Coroutine[Any, Any, Found]]] = {
    one.__name__: one for one in (websocket, handshakes, idle, sockets, slow)
}


def main() -> None:
    """Run one kind of client. Exits with 1 and says why where an answer was not the right one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    for name, kind in (("port", int), ("host", str), ("path", str), ("connections", int), ("size", int)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--seconds", type=float, default=0.0)
    options = parser.parse_args()
    try:
        _print(asyncio.run(KINDS[options.kind](options)))
    except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError) as error:
        sys.exit(str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
