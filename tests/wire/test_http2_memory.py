"""What a connection of HTTP/2 makes us keep, however many streams its client opens and does not take."""

import gc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from app.http2.server import MAX_STREAMS
from app.listeners.clock import BODY_TIMEOUT
from app.listeners.multiplex import MUCH, MultiplexProtocol
from app.upstream.http1 import LARGE_READ, SMALL_READ
from tests.wire.harness import Loop, Wire
from tests.wire.http2 import DATA, GET, NO_SETTINGS, POST, RST, data, headers, many, rst, settings, window
from tests.wire.test_http2_front import Client
from tests.wire.websockets import Gateway

SIZE = 1 << 20
STREAMS = range(1, 2 * MAX_STREAMS, 2)
#: What is kept when everything is waited for.
MOST = MUCH + LARGE_READ + MAX_STREAMS * SMALL_READ


@pytest.fixture(autouse=True)
def backends_that_leave(loop: Loop) -> Iterator[None]:
    yield
    for wire in loop.wires:
        wire.lose()
    loop.wires.clear()
    gc.collect()


def answer(size: int = SIZE) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size


def asking(loop: Loop, beginning: bytes = NO_SETTINGS, size: int = SIZE) -> tuple[Client, list[Wire]]:
    """A client that has as many streams as it may, each with an answer on its way, and the backends."""
    client = Client(loop, None, beginning, server=Gateway(loop).server)
    client.feed(many(headers(stream, GET, end=True) for stream in STREAMS))
    backends = list(loop.wires)
    assert len(backends) == MAX_STREAMS
    for backend in backends:
        backend.feed(answer(size))
    return client, backends


def taken(backends: list[Wire]) -> int:
    return sum(len(answer()) - backend.unread for backend in backends)


@pytest.mark.parametrize("allowed", [0, 1, SMALL_READ])
def test_a_client_that_takes_nothing(loop: Loop, allowed: int) -> None:
    client, backends = asking(loop, settings((4, allowed)))
    assert taken(backends) <= MOST + MAX_STREAMS * allowed
    assert all(backend.paused for backend in backends if allowed < SMALL_READ)
    client.wire.lose()


def test_a_little_that_waits_holds_on_to_no_more_than_twice_as_much(loop: Loop) -> None:
    """Of each large read all but a little is taken, so that never much seems to wait."""
    client, _ = asking(loop, settings((4, LARGE_READ - 200)) + window(0, 1 << 30))
    outlets: Any = client.wire.protocol._outlets
    parts: list[Any] = [part for outlet in outlets for part in outlet._parts]
    assert parts
    assert sum(len(getattr(part, "obj", part)) for part in parts) <= 2 * MOST
    client.wire.lose()


def test_all_of_it_comes_in_the_end(loop: Loop) -> None:
    size = 3 * SMALL_READ
    client, backends = asking(loop, settings((4, 0)), size)
    client.output()
    client.feed(window(0, 1 << 30), many(window(stream, size) for stream in STREAMS))
    loop.advance(1)
    sizes: Counter[int] = Counter()
    for kind, _, stream, payload in client.frames():
        assert kind != RST
        if kind == DATA:
            sizes[stream] += len(payload)
    assert sizes == dict.fromkeys(STREAMS, size)
    assert not any(backend.unread for backend in backends)
    assert isinstance(client.wire.protocol, MultiplexProtocol)
    assert (client.wire.protocol._kept, client.wire.protocol.crowded) == (0, False)
    client.wire.lose()


def test_streams_that_are_reset_count_no_more(loop: Loop) -> None:
    client, _ = asking(loop, settings((4, 0)))
    assert client.wire.protocol.crowded
    client.feed(many(rst(stream) for stream in STREAMS))
    assert (client.wire.protocol._kept, client.wire.protocol.crowded) == (0, False)
    client.wire.lose()


def test_alone_a_stream_is_read_in_large_pieces(loop: Loop) -> None:
    client = Client(loop, None, settings((4, 0)), server=Gateway(loop).server).feed(headers(1, GET, end=True))
    (backend,) = loop.wires
    backend.feed(answer())
    assert taken([backend]) == LARGE_READ
    client.wire.lose()


def test_a_frame_that_comes_slowly_keeps_its_stream(loop: Loop) -> None:
    """As each byte of a body does in HTTP/1.1."""
    client = Client(loop, None, server=Gateway(loop).server).feed(headers(1, POST))
    whole = data(1, b"abcd", end=True)
    for at in range(9, len(whole)):
        client.feed(whole[:10] if at == 9 else whole[at : at + 1])
        loop.advance(BODY_TIMEOUT - 5)
    assert loop.wires[0].output.endswith(b"4\r\nabcd\r\n0\r\n\r\n")
    client.wire.lose()


def test_a_frame_that_stops_coming_does_not(loop: Loop) -> None:
    client = Client(loop, None, server=Gateway(loop).server).feed(headers(1, POST), data(1, b"abcd")[:11])
    loop.advance(BODY_TIMEOUT + 3)
    assert client.frames()[-1][0] == RST
    client.wire.lose()
