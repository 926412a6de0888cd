"""A WebSocket whose server keeps the client's connection to itself: messages are carried from one to another.

The server is ours, behind a middleware that hides that; tests/e2e has uvicorn's own.
"""

import asyncio
import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.websocket import handshake as handshakes
from app.websocket.splice import CLOSE_TIMEOUT
from middleware.answer import CYCLE
from tests.wire.harness import Loop, Wire, undated
from tests.wire.websockets import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    KEY,
    PING,
    PONG,
    SWITCHING,
    TEXT,
    Gateway,
    close,
    frame,
)

ANSWER = SWITCHING.replace(b"Sec-WebSocket-Extensions: permessage-deflate\r\n", b"")


class Hiding(Gateway):
    """A gateway behind a middleware that looks at each message, for which it takes the cycle out of the scope."""

    def __init__(self, loop: Loop, **options: Any) -> None:
        self.seen: list[str] = []
        self.without: tuple[str, ...] = (CYCLE,)
        super().__init__(loop, **options)

    async def _make(self) -> ASGIApp:
        app = await super()._make()

        async def hide(scope: Scope, receive: Receive, send: Send) -> None:
            async def receiving() -> Message:
                message = await receive()
                self.seen.append(message["type"])
                return message

            await app({name: scope[name] for name in scope if name not in self.without}, receiving, send)

        return hide


@pytest.fixture
def gateway(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Hiding:
    monkeypatch.setattr("app.websocket.forwarding.new_key", lambda: KEY)
    return Hiding(loop)


class Pair:
    """An open WebSocket, and the frames on it behind the handshakes."""

    def __init__(self, gateway: Hiding, *behind: bytes) -> None:
        self.gateway = gateway
        self.client: Wire = gateway.client(HANDSHAKE.replace(b"permessage-deflate", b"other"))
        self.backend = gateway.backend()
        self.asked = self.backend.output
        self.backend.written.clear()
        self.backend.feed(ANSWER + b"".join(behind))
        head, _, rest = self.client.output.partition(b"\r\n\r\n")
        self.answered = head + b"\r\n\r\n"
        self.client.written[:] = [rest]

    @property
    def to_backend(self) -> list[tuple[int, bytes]]:
        """Opcodes and payloads of the frames, which must be masked."""
        return list(unmasked(self.backend.output))

    def ended(self) -> None:
        assert not asyncio.all_tasks(self.gateway.loop)
        assert (self.client.lost, self.backend.lost) == (True, True)
        assert not self.gateway.server.state.connections
        assert not self.gateway.server.state.tasks
        assert self.gateway.endpoints[0].in_flight == 0


def unmasked(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        assert data[0] & 0xF0 == 0x80
        assert data[1] & 0x80
        size, start = data[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(data[2:4]), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10]), 10
        mask, payload = data[start : start + 4], data[start + 4 : start + 4 + size]
        key = int.from_bytes((mask * (size // 4 + 1))[:size])
        yield data[0] & 15, (int.from_bytes(payload) ^ key).to_bytes(size)
        data = data[start + 4 + size :]


@pytest.fixture
def pair(gateway: Hiding) -> Pair:
    return Pair(gateway)


def test_the_handshakes_are_two(pair: Pair) -> None:
    """… each with its own key and no extensions, but the same subprotocol."""
    assert pair.asked == (
        b"GET /chat?a=b HTTP/1.1\r\nhost: a\r\norigin: http://a\r\nsec-websocket-protocol: chat, superchat\r\n"
        b"sec-websocket-key: " + KEY + b"\r\nsec-websocket-version: 13\r\n"
        b"connection: Upgrade\r\nupgrade: websocket\r\n\r\n"
    )
    assert pair.answered == (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-accept: " + ACCEPT + b"\r\nx-who: b\r\nsec-websocket-protocol: superchat\r\n\r\n"
    )


def test_keys_are_new_each_time() -> None:
    keys = {handshakes.new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {handshakes.checked_key([(b"sec-websocket-key", key), (b"sec-websocket-version", b"13")]) for key in keys}


def test_messages_are_carried_both_ways(pair: Pair) -> None:
    pair.client.feed(frame(TEXT, "grüß".encode(), masked=True), frame(BINARY, b"\0" * 70_000, masked=True))
    assert pair.to_backend == [(TEXT, "grüß".encode()), (BINARY, b"\0" * 70_000)]
    pair.backend.feed(frame(TEXT, b"gr", fin=False), frame(PING, b"p"), frame(CONTINUATION, b"eat"), frame(BINARY))
    assert pair.client.output == frame(TEXT, b"great") + frame(BINARY)
    assert pair.to_backend[2:] == [(PONG, b"p")]
    assert pair.gateway.seen == ["websocket.connect", "websocket.receive", "websocket.receive"]


def test_messages_behind_the_answer(gateway: Hiding) -> None:
    assert Pair(gateway, frame(TEXT, b"hello")).client.output == frame(TEXT, b"hello")


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (3000, "x"), (4000, "grüß")])
def test_the_client_closes(pair: Pair, code: int, reason: str) -> None:
    pair.client.feed(close(code, reason, masked=True))
    assert pair.client.output == close(code, reason)
    ((opcode, payload),) = pair.to_backend
    assert frame(opcode, payload) == close(code, reason)
    pair.client.feed_eof()
    pair.backend.feed(close(code, reason))
    pair.backend.feed_eof()
    pair.ended()


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (3000, "x"), (4000, "grüß")])
def test_the_backend_closes(pair: Pair, code: int, reason: str) -> None:
    pair.backend.feed(close(code, reason))
    assert pair.client.output == close(code, reason)
    ((opcode, payload),) = pair.to_backend
    assert frame(opcode, payload) == close(code, reason)
    pair.backend.feed_eof()
    pair.client.feed(close(code, reason, masked=True))
    pair.client.feed_eof()
    pair.ended()


def test_a_close_without_a_code(gateway: Hiding) -> None:
    pair = Pair(gateway)
    pair.client.feed(frame(CLOSE, masked=True))
    assert pair.to_backend == [(CLOSE, b"")]
    pair = Pair(gateway)
    pair.backend.feed(frame(CLOSE))
    assert pair.client.output == close(1000)


@pytest.mark.parametrize("reset", [False, True])
def test_the_client_leaves(pair: Pair, reset: bool) -> None:
    pair.client.lose(ConnectionResetError()) if reset else pair.client.feed_eof()
    assert pair.backend.state == "aborted"
    pair.ended()


@pytest.mark.parametrize("reset", [False, True])
def test_the_backend_leaves(pair: Pair, reset: bool) -> None:
    pair.backend.lose(ConnectionResetError()) if reset else pair.backend.feed_eof()
    assert pair.client.output == close(1014)
    pair.client.feed(close(1014, masked=True))
    pair.client.feed_eof()
    pair.ended()
    assert json.loads(pair.gateway.lines[0])["ResponseFlags"] == "UC"


def test_a_backend_that_does_not_answer_the_close(pair: Pair, loop: Loop) -> None:
    pair.client.feed(close(1000, masked=True))
    pair.client.feed_eof()
    loop.advance(CLOSE_TIMEOUT + 1)
    pair.ended()


def test_a_message_of_the_backend_that_is_too_long(pair: Pair) -> None:
    pair.backend.feed(b"\x82\x7f" + (16 * 1024 * 1024 + 1).to_bytes(8))
    assert pair.to_backend[0][1].startswith(b"\x03\xf1")  # 1009
    assert pair.client.output.startswith(b"\x88")
    assert pair.client.output[2:4] == b"\x03\xf1"


def test_a_frame_of_the_backend_that_breaks_the_rules(pair: Pair) -> None:
    pair.backend.feed(frame(TEXT, b"masked", masked=True))
    assert pair.client.output[2:4] == b"\x03\xea"  # 1002


def test_a_client_that_reads_slowly_holds_the_backend_up(pair: Pair) -> None:
    pair.client.reading = False
    for _ in range(50):
        pair.backend.feed(frame(BINARY, b"x" * 100_000))
    assert pair.backend.paused
    assert pair.backend.unread > 3_000_000
    assert pair.client.largest_wait < 500_000
    while pair.client.waiting:
        pair.client.take()
    assert pair.client.output == frame(BINARY, b"x" * 100_000) * 50


def test_a_backend_that_reads_slowly_holds_the_client_up(pair: Pair) -> None:
    pair.backend.reading = False
    for _ in range(50):
        pair.client.feed(frame(BINARY, b"x" * 100_000, masked=True))
    assert pair.client.paused
    assert pair.client.unread > 3_000_000
    assert pair.backend.largest_wait < 500_000
    while pair.backend.waiting:
        pair.backend.take()
    assert pair.to_backend == [(BINARY, b"x" * 100_000)] * 50


def test_the_access_log_counts_messages(pair: Pair) -> None:
    pair.client.feed(frame(TEXT, b"abc", masked=True))
    pair.backend.feed(frame(TEXT, b"hello"), close(1000))
    pair.backend.feed_eof()
    pair.client.feed(close(1000, masked=True))
    entry = json.loads(pair.gateway.lines[0])
    assert (entry["DownstreamStatus"], entry["OriginStatus"], entry["ResponseFlags"]) == (101, 101, "-")
    assert (entry["RequestContentSize"], entry["DownstreamContentSize"]) == (3, 5)


#: What a WebSocket needs for itself. Idle connections are their pools', which other tests leave as well.
OURS = ("app.websocket", "app.listeners", "app.upstream.exchange", "websockets")


def test_nothing_is_left_of_it(gateway: Hiding) -> None:
    """… not even a circle of references: the collector comes by rarely."""

    def once() -> None:
        pair = Pair(gateway, frame(TEXT, b"hello"))
        pair.client.feed(frame(TEXT, b"hi", masked=True), close(1000, masked=True))
        pair.client.feed_eof()
        pair.backend.feed(close(1000))
        pair.backend.feed_eof()
        pair.ended()
        gateway.loop.wires.clear()

    once()
    while gc.collect():  # what other tests left, which has generators to be ended first
        pass
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        once()
        gc.collect()
        left = {type(thing).__name__ for thing in gc.garbage if type(thing).__module__.startswith(OURS)}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert left == set()


# What comes instead


def test_a_refusal_of_the_backend_reaches_the_client(gateway: Hiding) -> None:
    client = gateway.client(HANDSHAKE)
    gateway.backend().feed(b"HTTP/1.1 403 No\r\nX-Why: x\r\nContent-Length: 5\r\n\r\nnever")
    assert not asyncio.all_tasks(gateway.loop)
    assert undated(client.output) == (
        b"HTTP/1.1 403 Forbidden\r\nx-why: x\r\ncontent-length: 5\r\nconnection: close\r\n\r\nnever"
    )


def test_a_refusal_behind_a_server_that_can_only_close(gateway: Hiding) -> None:
    gateway.without = (CYCLE, "extensions")
    client = gateway.client(HANDSHAKE)
    gateway.backend().feed(b"HTTP/1.1 401 No\r\nContent-Length: 5\r\n\r\nnever")
    assert undated(client.output) == b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def test_a_wrong_answer_of_the_backend_is_502(gateway: Hiding) -> None:
    client = gateway.client(HANDSHAKE)
    gateway.backend().feed(ANSWER.replace(ACCEPT, b"HSmrc0sMlYUkAGmm5OPpG2HaGWk="))
    assert client.output.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")


def test_a_client_that_leaves_before_the_answer(gateway: Hiding) -> None:
    client = gateway.client(HANDSHAKE)
    client.lose()
    assert gateway.backend().state == "aborted"
    assert not gateway.server.state.tasks
    assert gateway.endpoints[0].in_flight == 0


def test_a_bridge_that_the_server_cancels(pair: Pair, loop: Loop) -> None:
    for task in list(pair.gateway.server.state.tasks):
        task.cancel()
    loop.settle()
    assert pair.client.output == close(1012)
    assert pair.backend.state == "aborted"
