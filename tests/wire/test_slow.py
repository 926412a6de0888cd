"""A thousand clients that send or read a byte a second, and what they cost. Time is the test's own."""

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

from app.listeners.clock import BODY_TIMEOUT, HEAD_TIMEOUT, WRITE_TIMEOUT
from tests.wire.apps import Steps, body, start
from tests.wire.harness import Loop, Recorder, Server
from tests.wire.test_responses import GET

CLIENTS = 1000
#: Bytes of memory that one of them may cost while it is there, its end of the wire included.
EACH = 10 * 1024


@contextmanager
def bounded() -> Iterator[None]:
    """Inside, no more memory is taken than ``CLIENTS`` may cost; afterwards none is left over."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < CLIENTS * EACH
    assert after - before < CLIENTS * 512


def test_slow_heads(loop: Loop) -> None:
    """… end with 408 when their time is over, however far they have come; who is not slow is served meanwhile."""
    app = Recorder()
    server = Server(loop, app)
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n"
    with bounded():
        wires = [server.connect() for _ in range(CLIENTS)]
        for second in range(int(HEAD_TIMEOUT) - 1):
            for wire in wires:
                wire.feed(head[second : second + 1])
            loop.advance(1)
        assert {wire.state for wire in wires} == {"open"}
        quick = server.connect()
        quick.feed(GET)
        assert quick.output.endswith(b"\r\n\r\nok")
        quick.lose()
        loop.advance(2)
        assert {wire.state for wire in wires} == {"ending"}
        assert {wire.output[: len(b"HTTP/1.1 408 ")] for wire in wires} == {b"HTTP/1.1 408 "}
        loop.advance(5)
        assert all(wire.lost for wire in wires)
        assert len(app.seen) == 1
        assert not server.state.connections
        del wires, wire, quick
        app.seen.clear()
        app.scopes.clear()


def test_slow_bodies(loop: Loop) -> None:
    """… may come for as long as something comes, and wait for nothing but themselves; then they end with 408."""
    app = Recorder()
    server = Server(loop, app)
    with bounded():
        wires = [server.connect() for _ in range(CLIENTS)]
        for wire in wires:
            wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(10):
            for wire in wires:
                wire.feed(b"x")
            loop.advance(1)
        quick = server.connect()
        quick.feed(GET)
        assert quick.output.endswith(b"\r\n\r\nok")
        quick.lose()
        assert {wire.state for wire in wires} == {"open"}
        loop.advance(BODY_TIMEOUT)
        assert {wire.state for wire in wires} == {"ending"}
        assert {wire.output[: len(b"HTTP/1.1 408 ")] for wire in wires} == {b"HTTP/1.1 408 "}
        assert app.disconnects == CLIENTS
        loop.advance(5)
        assert all(wire.lost for wire in wires)
        assert not server.state.connections
        assert not server.state.tasks
        del wires, wire, quick
        app.seen.clear()
        app.scopes.clear()


def test_a_client_that_reads_a_byte_a_second_is_cut_off(loop: Loop) -> None:
    """It reads, but not at a pace at which it would ever end; until then the application waits."""
    app = Steps()
    wire = Server(loop, app).connect()
    wire.feed(GET)
    (call,) = app.calls
    wire.reading = False
    call.send(start())
    taken = call.sends(body(b"x" * 1_000_000, True))
    for _ in range(int(WRITE_TIMEOUT) - 1):
        loop.advance(1)
        wire.take(1)
    assert wire.state == "open"
    assert not taken()
    loop.advance(3)
    assert wire.state == "aborted"
    assert call.left == 1
    assert wire.largest_wait < 1_001_000


def test_connections_beyond_the_limit_are_refused_and_let_go(loop: Loop) -> None:
    """… each with 503 to its first request; those within it go on."""
    app = Steps()
    server = Server(loop, app, limit_concurrency=10)
    within = [server.connect() for _ in range(10)]
    for wire in within:
        wire.feed(GET)
    beyond = [server.connect() for _ in range(100)]
    for wire in beyond:
        wire.feed(GET)
    assert len(app.calls) == 10
    assert {wire.output[: len(b"HTTP/1.1 503 ")] for wire in beyond} == {b"HTTP/1.1 503 "}
    assert {wire.state for wire in beyond} == {"ending"}
    loop.advance(5)
    assert all(wire.lost for wire in beyond)
    for call in app.calls:
        call.answer()
    assert all(wire.output.endswith(b"\r\n\r\nok") for wire in within)
