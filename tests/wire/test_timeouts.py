"""How long an endpoint is waited for, over either version of HTTP. Time is the test's own."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.upstream.how import H2C, HTTP1
from app.upstream.timeouts import DEFAULT, Timeouts
from middleware.errors import ConnectFailed, UpstreamTimeout
from tests.wire.harness import Loop, Wire
from tests.wire.http2 import NO_SETTINGS, data, headers
from tests.wire.http2 import OK as OK2
from tests.wire.test_upstream import CHUNKED, EMPTY, OK, Client, Source, answer, exchange_of, failure, sized, whole

Feed = Callable[[Wire], None]


class Spoken:
    """What a backend says, in one version of HTTP."""

    def __init__(self, head: bytes, piece: bytes, end: bytes, interim: bytes) -> None:
        self.head, self.piece, self.end, self.interim = head, piece, end, interim


SPOKEN = {
    HTTP1: Spoken(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", b"0\r\n\r\n", b"HTTP/1.1 103 Hints\r\n\r\n"
    ),
    H2C: Spoken(
        NO_SETTINGS + headers(1, OK2), data(1, b"x"), data(1, end=True), NO_SETTINGS + headers(1, b"\x08\x03103")
    ),
}


@pytest.fixture(params=list(SPOKEN), ids=["HTTP/1.1", "HTTP/2"])
def client(loop: Loop, request: pytest.FixtureRequest) -> Client:
    return Client(loop, request.param)


@pytest.fixture
def spoken(client: Client) -> Spoken:
    return SPOKEN[client.pool.how]


def timed_out(client: Client, task: "asyncio.Task[Any]") -> bool:
    """Whether the request has ended with the time, and the backend was told that nobody waits."""
    if not task.done():
        return False
    assert isinstance(failure(task), UpstreamTimeout)
    if client.pool.how is HTTP1:
        assert client.wire().lost
    else:
        assert client.wire().output.endswith(b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08")
        assert client.wire().state == "open", "others may be on it"
    return True


def test_by_default_only_a_connection_is_waited_for_with_a_limit() -> None:
    assert Timeouts(connect=10.0, head=None, idle=None, total=None) == DEFAULT


def test_without_a_limit_there_is_no_timer(client: Client) -> None:
    def timers() -> int:
        return sum(not timer.cancelled() for timer in client.loop._scheduled)  # type: ignore[attr-defined]

    task = client.ask()
    before = timers()
    client.ask()
    assert timers() == before
    task.cancel()
    client.ask(limits=Timeouts(total=5))
    assert timers() == before + 1


def test_httpx2s_read_is_the_longest_silence() -> None:
    given = {"connect": 1.0, "read": 2.0, "write": 3.0, "pool": 4.0}
    assert Timeouts.of(given) == Timeouts(connect=1.0, head=2.0, idle=2.0)


def test_the_head_has_its_time(client: Client, spoken: Spoken) -> None:
    task = client.ask(limits=Timeouts(head=5))
    client.loop.advance(4)
    client.wire().feed(spoken.interim)
    client.loop.advance(0.5)
    assert not timed_out(client, task)
    client.loop.advance(1)
    assert timed_out(client, task)


def test_the_heads_time_begins_with_the_end_of_the_request(client: Client, spoken: Spoken) -> None:
    source = Source(b"a", end=False)
    task = client.ask("POST", CHUNKED, source, limits=Timeouts(head=5))
    client.loop.advance(60)
    source.end()
    client.loop.settle()
    client.loop.advance(4)
    assert not timed_out(client, task)
    client.loop.advance(2)
    assert timed_out(client, task)


def test_a_head_that_has_come_ends_its_time(client: Client, spoken: Spoken) -> None:
    task = client.ask(limits=Timeouts(head=5))
    client.wire().feed(spoken.head)
    client.loop.advance(3600)
    client.wire().feed(spoken.piece + spoken.end)
    assert answer(task) == (200, b"x")


def test_a_silent_answer(client: Client, spoken: Spoken) -> None:
    task = client.ask(limits=Timeouts(idle=5))
    client.loop.advance(60)
    client.wire().feed(spoken.head)
    reading = client.loop.create_task(whole(exchange_of(task)))
    for _ in range(10):
        client.loop.advance(4)
        client.wire().feed(spoken.piece)
    assert not timed_out(client, reading)
    client.loop.advance(6)
    assert timed_out(client, reading)


def test_a_silent_upload(client: Client) -> None:
    source = Source(b"a", end=False)
    task = client.ask("POST", CHUNKED, source, limits=Timeouts(idle=5))
    for _ in range(10):
        client.loop.advance(4)
        source.give(b"x")
    client.loop.advance(4)
    assert not timed_out(client, task)
    client.loop.advance(2)
    assert timed_out(client, task)


def test_what_waits_for_the_client_is_not_idle(client: Client, spoken: Spoken) -> None:
    task = client.ask(limits=Timeouts(idle=5))
    client.wire().feed(spoken.head + spoken.piece)
    client.loop.advance(60)
    exchange = exchange_of(task)
    assert client.loop.run(exchange.take()) == (b"x", True)
    reading = client.loop.create_task(exchange.take())
    client.loop.advance(12)
    assert timed_out(client, reading)


def test_everything_has_its_time(client: Client, spoken: Spoken) -> None:
    task = client.ask(limits=Timeouts(total=10))
    client.wire().feed(spoken.head)
    reading = client.loop.create_task(whole(exchange_of(task)))
    for _ in range(9):
        client.loop.advance(1)
        client.wire().feed(spoken.piece)
    assert not timed_out(client, reading)
    client.loop.advance(2)
    assert timed_out(client, reading)


def test_connecting_counts_into_the_total(client: Client) -> None:
    async def slow() -> None:
        await asyncio.sleep(3)

    client.loop.connecting = slow
    task = client.ask(limits=Timeouts(total=5))
    client.loop.advance(4)
    assert not timed_out(client, task)
    client.loop.advance(2)
    assert timed_out(client, task)


def test_a_total_that_ends_while_connecting(client: Client) -> None:
    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    client.loop.connecting = never
    total, connect = client.ask(limits=Timeouts(total=5)), client.ask(limits=Timeouts(connect=5, total=60))
    client.loop.advance(6)
    assert isinstance(failure(total), UpstreamTimeout)
    assert isinstance(failure(connect), ConnectFailed)


def test_an_answer_in_time_leaves_no_timer(client: Client, spoken: Spoken) -> None:
    task = client.ask("POST", sized(2), Source(b"hi"), limits=Timeouts(head=5, idle=5, total=5))
    client.wire().feed(EMPTY if client.pool.how is HTTP1 else spoken.head + spoken.end)
    assert answer(task) == (200, b"")
    client.loop.advance(60)
    assert client.wire().state in ("open", "aborted", "closed")
    assert task.result().status_code == 200
