"""Requests to a backend and its answers, byte for byte: the connection, the pool and the transport together."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx2
import pytest

from app.upstream import pool as pool_module
from app.upstream.exchange import CONTINUE_TIMEOUT, HIGH_WATER, MAX_INTERIM, Exchange
from app.upstream.how import HTTP1, How
from app.upstream.pool import IDLE, Pool
from app.upstream.timeouts import DEFAULT
from app.upstream.transport import UpstreamTransport
from middleware.errors import BadGateway, BadRequest, ClientDisconnected, ConnectFailed, GatewayError, UpstreamTimeout
from tests.wire.harness import Fields, Loop, Wire, however_cut

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"
HOST: Fields = [(b"host", b"a")]
CHUNKED: Fields = [*HOST, (b"transfer-encoding", b"chunked")]


def sized(size: int) -> Fields:
    return [*HOST, (b"content-length", b"%d" % size)]


def expecting(size: int) -> Fields:
    return [*sized(size), (b"expect", b"100-continue")]


class Source(httpx2.AsyncByteStream):
    """A request's body that the test gives piece by piece; an exception in the place of a piece is raised."""

    def __init__(self, *pieces: bytes | Exception, end: bool = True) -> None:
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.give(*pieces)
        if end:
            self.end()
        self.taken = 0

    def give(self, *pieces: bytes | Exception) -> None:
        for piece in pieces:
            self._queue.put_nowait(piece)

    def end(self) -> None:
        self._queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._queue.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            self.taken += 1
            yield piece


class Client:
    """The gateway's side: a transport, and one pool that its requests go through."""

    def __init__(self, loop: Loop, how: How = HTTP1) -> None:
        self.loop = loop
        self.transport, self.pool = loop.run(self._make(how))

    async def _make(self, how: How) -> tuple[UpstreamTransport, Pool]:
        transport = UpstreamTransport()
        return transport, transport.pool("b", 80, how)

    def ask(
        self,
        method: str = "GET",
        fields: Fields = HOST,
        body: httpx2.AsyncByteStream | None = None,
        target: bytes = b"/",
        **extensions: Any,
    ) -> "asyncio.Task[httpx2.Response]":
        """Begin a request. A failure of it is the test's to look at."""
        request = httpx2.Request(
            method,
            "http://b/",
            stream=body or httpx2.ByteStream(b""),
            extensions={"pool": self.pool, "target": target, "fields": fields, **extensions},
        )
        task = self.loop.create_task(self.transport.handle_async_request(request))
        self.loop.settle()
        return task

    def wire(self, number: int = -1) -> Wire:
        return self.loop.wires[number]

    def idle(self) -> Wire:
        """A connection that has served a request and waits for the next."""
        task = self.ask()
        self.wire().feed(EMPTY)
        assert answer(task) == (200, b"")
        self.wire().written.clear()
        return self.wire()


def exchange_of(task: "asyncio.Task[httpx2.Response]") -> Exchange:
    exchange = task.result().stream
    assert isinstance(exchange, Exchange)
    return exchange


def answer(task: "asyncio.Task[httpx2.Response]") -> tuple[int, bytes]:
    """Status and body of an answer that has come."""
    loop = task.get_loop()
    assert isinstance(loop, Loop)
    assert task.done(), "no answer"
    return task.result().status_code, loop.run(whole(exchange_of(task)))


async def whole(exchange: Exchange) -> bytes:
    return b"".join([data async for data in exchange])


def failure(task: "asyncio.Task[Any]") -> BaseException:
    assert task.done(), "it waits"
    error = task.exception()
    assert error is not None
    return error


@pytest.fixture
def client(loop: Loop) -> Client:
    return Client(loop)


# What is sent: RFC 9112 §3, §5, §7


SENT: list[tuple[str, str, Fields, list[bytes], bytes]] = [
    ("no body", "GET", [*HOST, (b"x", b"1"), (b"y", b""), (b"x", b"2")], [], b"host: a\r\nx: 1\r\ny: \r\nx: 2\r\n\r\n"),
    ("another method", "DELETE", HOST, [], b"host: a\r\n\r\n"),
    ("bytes beyond ASCII", "GET", [*HOST, (b"x", b"\xff\xc3")], [], b"host: a\r\nx: \xff\xc3\r\n\r\n"),
    ("length 0", "POST", sized(0), [], b"host: a\r\ncontent-length: 0\r\n\r\n"),
    ("a length", "POST", sized(5), [b"he", b"", b"llo"], b"host: a\r\ncontent-length: 5\r\n\r\nhello"),
    (
        "chunks",
        "POST",
        CHUNKED,
        [b"a" * 16, b"", b"b"],
        b"host: a\r\ntransfer-encoding: chunked\r\n\r\n10\r\n" + b"a" * 16 + b"\r\n1\r\nb\r\n0\r\n\r\n",
    ),
    ("no chunk but the last", "POST", CHUNKED, [], b"host: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("GET with a body", "GET", sized(2), [b"hi"], b"host: a\r\ncontent-length: 2\r\n\r\nhi"),
]


@pytest.mark.parametrize(
    ("method", "fields", "pieces", "expected"), [pytest.param(*rest, id=name) for name, *rest in SENT]
)
def test_sent(client: Client, method: str, fields: Fields, pieces: list[bytes], expected: bytes) -> None:
    task = client.ask(method, fields, Source(*pieces), b"/%2F?q")
    wire = client.wire()
    assert wire.output == method.encode() + b" /%2F?q HTTP/1.1\r\n" + expected
    wire.feed(EMPTY)
    assert answer(task) == (200, b"")
    assert wire.state == "open"


@pytest.mark.parametrize(
    ("target", "field"),
    [
        pytest.param(b"/", (b"x", b"a\r\nb: c"), id="a line break in a value"),
        pytest.param(b"/", (b"x", b"a\nb"), id="a line feed in a value"),
        pytest.param(b"/", (b"x", b"a\rb"), id="a carriage return in a value"),
        pytest.param(b"/", (b"x", b"a\0b"), id="NUL in a value"),
        pytest.param(b"/", (b"x\r\ny", b"a"), id="a line break in a name"),
        pytest.param(b"/ HTTP/1.1\r\nx: y\r\n\r\n", (b"x", b"a"), id="a line break in the target"),
    ],
)
def test_what_would_break_out_of_its_line_is_refused(client: Client, target: bytes, field: tuple[bytes, bytes]) -> None:
    """… before anything is sent."""
    task = client.ask(fields=[*HOST, field], target=target)
    assert isinstance(failure(task), BadRequest)
    assert client.wire().output == b""
    assert client.wire().state == "aborted"


def test_fields_of_the_request_itself(client: Client) -> None:
    request = httpx2.Request("GET", "http://b/x?y", headers={"Host": "b", "X-Y": "Z"}, extensions={"pool": client.pool})
    client.loop.create_task(client.transport.handle_async_request(request))
    client.loop.settle()
    assert client.wire().output == b"GET /x?y HTTP/1.1\r\nhost: b\r\nx-y: Z\r\n\r\n"


def test_a_pool_is_found_by_the_url(client: Client) -> None:
    request = httpx2.Request("GET", "http://c:81/")
    task = client.loop.create_task(client.transport.handle_async_request(request))
    client.loop.settle()
    assert client.loop.asked == [("c", 81)]
    client.wire().feed(EMPTY)
    assert answer(task) == (200, b"")


# What comes back


ANSWERS: list[tuple[str, str, bytes, int, bytes, bool]] = [
    ("a length", "GET", OK + b"Content-Length: 5\r\n\r\nhello", 200, b"hello", True),
    (
        "chunks",
        "GET",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nX: 1\r\n\r\n",
        200,
        b"abcde",
        True,
    ),
    ("an answer to HEAD", "HEAD", OK + b"Content-Length: 5\r\n\r\n", 200, b"", True),
    ("an answer to HEAD in chunks", "HEAD", OK + b"Transfer-Encoding: chunked\r\n\r\n", 200, b"", True),
    ("204", "GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    ("304 with a length", "GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b"", True),
    (
        "interim answers before",
        "GET",
        b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n" + EMPTY,
        200,
        b"",
        True,
    ),
    ("an error", "GET", b"HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\nx", 503, b"x", True),
    ("close", "GET", OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", False),
    ("HTTP/1.0", "GET", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", False),
    (
        "HTTP/1.0 that stays",
        "GET",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
        200,
        b"hi",
        True,
    ),
]


@pytest.mark.parametrize(
    ("method", "data", "status", "body", "stays"), [pytest.param(*rest, id=name) for name, *rest in ANSWERS]
)
def test_answers(loop: Loop, method: str, data: bytes, status: int, body: bytes, stays: bool) -> None:
    def run(pieces: Sequence[bytes]) -> tuple[int, bytes, bool]:
        client = Client(loop)
        task = client.ask(method)
        wire = client.wire()
        wire.feed(*pieces)
        result = *answer(task), wire.state == "open"
        client.pool.close()
        loop.settle()
        assert wire.lost
        return result

    assert however_cut(data, run) == (status, body, stays)


def test_trailers_are_kept_apart(client: Client) -> None:
    task = client.ask()
    client.wire().feed(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n")
    exchange = exchange_of(task)
    assert answer(task) == (200, b"a")
    assert exchange.trailers == [(b"x-sum", b"1")]
    assert exchange.fields == [(b"transfer-encoding", b"chunked")]


def test_a_body_lasts_until_the_end_of_the_connection(client: Client) -> None:
    task = client.ask()
    client.wire().feed(OK + b"\r\n", b"abc", b"def")
    client.wire().feed_eof()
    assert answer(task) == (200, b"abcdef")
    assert client.wire().lost


def test_a_body_that_lasts_until_the_end_and_breaks_off_is_cut(client: Client) -> None:
    task = client.ask()
    client.wire().feed(OK + b"\r\nabc")
    client.wire().lose(ConnectionResetError())
    assert client.loop.run(exchange_of(task).take()) == (b"abc", True)
    with pytest.raises(BadGateway):
        client.loop.run(exchange_of(task).take())


BAD = [
    ("garbage", b"garbage\r\n\r\n"),
    ("a length beside chunks", OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("two lengths", OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    ("a bare line feed", OK + b"X: a\nY: b\r\n\r\n"),
    ("a folded line", OK + b"X: a\r\n b\r\n\r\n"),
    ("101 that was not asked for", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    ("too many interim answers", b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1) + EMPTY),
    ("a head that is too large", OK + b"X: " + b"y" * 900_000),
]


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in BAD])
def test_no_answer(client: Client, data: bytes, used: bool) -> None:
    """… is BadGateway and the end of the connection, reused or not: something came, so nothing is sent again."""
    if used:
        client.idle()
    task = client.ask()
    client.wire().feed(data)
    assert type(failure(task)) is BadGateway
    assert client.wire().lost
    assert len(client.loop.wires) == 1


CUT = [
    ("in a length", OK + b"Content-Length: 5\r\n\r\nhell", b"hell"),
    ("before the body", OK + b"Content-Length: 5\r\n\r\n", b""),
    ("in a chunk", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhell", b"hell"),
    ("before the last chunk", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"hello"),
    ("in the trailers", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: 1\r\n", b"hello"),
]


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(("data", "before"), [pytest.param(data, before, id=name) for name, data, before in CUT])
def test_cut_off(client: Client, data: bytes, before: bytes, reset: bool) -> None:
    task = client.ask()
    wire = client.wire()
    wire.feed(data)
    if reset:
        wire.lose(ConnectionResetError())
    else:
        wire.feed_eof()
    exchange = exchange_of(task)
    if before:
        assert client.loop.run(exchange.take()) == (before, True)
    for _ in range(2):
        with pytest.raises(BadGateway):
            client.loop.run(exchange.take())
    assert wire.lost


def test_a_bad_chunk_is_cut_off(client: Client) -> None:
    task = client.ask()
    client.wire().feed(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\nx\r\n")
    assert client.loop.run(exchange_of(task).take()) == (b"a", True)
    with pytest.raises(BadGateway):
        client.loop.run(exchange_of(task).take())
    assert client.wire().state == "aborted"


# Reuse: RFC 9112 §9.3


def test_a_connection_is_used_again(client: Client) -> None:
    first = client.ask()
    client.wire().feed(OK + b"Content-Length: 1\r\n\r\n1")
    assert answer(first) == (200, b"1")
    second = client.ask("HEAD")
    client.wire().feed(OK + b"Content-Length: 1\r\n\r\n")
    assert answer(second) == (200, b"")
    third = client.ask()
    client.wire().feed(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n3\r\n0\r\n\r\n")
    assert answer(third) == (200, b"3")
    assert len(client.loop.wires) == 1


def test_one_request_at_a_time(client: Client) -> None:
    tasks = [client.ask() for _ in range(3)]
    assert len(client.loop.wires) == 3
    for wire in reversed(client.loop.wires):
        wire.feed(EMPTY)
    assert [answer(task) for task in tasks] == [(200, b"")] * 3
    client.ask()
    assert len(client.loop.wires) == 3
    assert client.wire(0).output.count(b"GET") == 2, "the one that was used last"


def test_a_response_that_nobody_has_read_does_not_keep_the_connection(client: Client) -> None:
    first = client.ask()
    client.wire().feed(OK + b"Content-Length: 1\r\n\r\n1")
    second = client.ask()
    client.wire().feed(OK + b"Content-Length: 1\r\n\r\n2")
    assert len(client.loop.wires) == 1
    assert (answer(first), answer(second)) == ((200, b"1"), (200, b"2"))


EXTRA = [b"H", EMPTY, b"x" * 1000]


@pytest.mark.parametrize("data", EXTRA)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("together", [False, True])
def test_bytes_on_an_idle_connection_end_it(client: Client, data: bytes, method: str, together: bool) -> None:
    """… for they would be taken for the next answer."""
    task = client.ask(method)
    wire = client.wire()
    if together:
        wire.feed(EMPTY + data)
    else:
        wire.feed(EMPTY, data)
    assert wire.state == "aborted"
    assert answer(task) == (200, b"")
    client.ask()
    assert len(client.loop.wires) == 2


@pytest.mark.parametrize("extra", [b"hello", b"hel", b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n", b"5"])
@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X: y"])
def test_a_body_in_an_answer_to_head_ends_the_connection(client: Client, extra: bytes, framing: bytes) -> None:
    task = client.ask("HEAD")
    client.wire().feed(OK + framing + b"\r\n\r\n" + extra)
    assert answer(task) == (200, b"")
    assert client.wire().lost


def test_bytes_before_any_request_end_a_connection(client: Client) -> None:
    async def connect() -> object:
        return await client.pool.connect(None)

    client.loop.run(connect())
    client.wire().feed(EMPTY)
    assert client.wire().state == "aborted"


def test_an_idle_connection_that_ends_is_forgotten(client: Client) -> None:
    client.idle().feed_eof()
    task = client.ask()
    assert len(client.loop.wires) == 2
    client.wire().feed(EMPTY)
    assert answer(task) == (200, b"")


def test_an_idle_connection_that_is_being_closed_is_not_used(client: Client) -> None:
    client.idle().close()  # its end has not been told yet
    client.ask()
    assert len(client.loop.wires) == 2


# Stale connections: RFC 9110 §9.2.2


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])
@pytest.mark.parametrize("error", [None, ConnectionResetError(), BrokenPipeError()])
def test_a_stale_connection_is_not_shown(client: Client, method: str, error: Exception | None) -> None:
    client.idle()
    task = client.ask(method)
    assert len(client.loop.wires) == 1
    sent = client.wire().output
    client.wire().lose(error)
    assert len(client.loop.wires) == 2
    assert client.wire().output == sent
    client.wire().feed(EMPTY)
    assert answer(task) == (200, b"")


def test_all_stale_connections_are_tried(client: Client) -> None:
    tasks = [client.ask() for _ in range(3)]
    for wire in client.loop.wires:
        wire.feed(EMPTY)
    assert [answer(task) for task in tasks] == [(200, b"")] * 3
    task = client.ask()
    for number in (2, 1, 0):
        client.wire(number).lose()
    client.wire(3).feed(EMPTY)
    assert answer(task) == (200, b"")


NOT_AGAIN: list[tuple[str, str, Fields, bytes, bool]] = [
    ("with a body", "PUT", sized(2), b"", True),
    ("of a method that must not be repeated", "POST", HOST, b"", True),
    ("of another such method", "PATCH", HOST, b"", True),
    ("on a connection that is new", "GET", HOST, b"", False),
    ("that was answered in part", "GET", HOST, b"H", True),
    ("that had an interim answer", "GET", HOST, b"HTTP/1.1 103 E\r\n\r\n", True),
]


@pytest.mark.parametrize(
    ("method", "fields", "data", "used"), [pytest.param(*rest, id=name) for name, *rest in NOT_AGAIN]
)
def test_a_request_is_not_sent_again(client: Client, method: str, fields: Fields, data: bytes, used: bool) -> None:
    if used:
        client.idle()
    task = client.ask(method, fields, Source(b"hi"))
    client.wire().feed(data)
    client.wire().lose()
    assert type(failure(task)) is BadGateway
    assert len(client.loop.wires) == 1


# Bodies of requests


def test_a_body_is_sent_as_it_comes(client: Client) -> None:
    source = Source(b"he", end=False)
    client.ask("POST", sized(5), source)
    assert client.wire().output.endswith(b"\r\n\r\nhe")
    source.give(b"llo")
    client.loop.settle()
    assert client.wire().output.endswith(b"\r\n\r\nhello")


def test_a_body_waits_for_a_backend_that_does_not_read(client: Client) -> None:
    source = Source(*[b"x" * 50_000] * 20, end=False)

    async def connect() -> object:
        connection = await client.pool.connect(None)
        client.pool._release(connection)
        return connection

    client.loop.run(connect())
    wire = client.wire()
    wire.reading = False
    client.ask("POST", sized(1_000_000), source)
    assert source.taken == 2
    assert wire.largest_wait < 64 * 1024 + 51_000
    wire.take(50_000)
    assert source.taken == 2
    while source.taken < 20:
        wire.take()
    assert wire.largest_wait < 64 * 1024 + 51_000


@pytest.mark.parametrize(
    ("fields", "pieces"),
    [
        pytest.param(sized(5), [b"hell"], id="shorter than its length"),
        pytest.param(sized(5), [], id="nothing of its length"),
        pytest.param(sized(5), [b"hello!"], id="longer than its length"),
        pytest.param(sized(5), [b"hello", b"!"], id="longer than its length in another piece"),
    ],
)
def test_a_body_not_as_long_as_it_says(client: Client, fields: Fields, pieces: list[bytes]) -> None:
    """… is refused, and no byte beyond its length is sent."""
    task = client.ask("POST", fields, Source(*pieces))
    assert isinstance(failure(task), BadRequest)
    assert client.wire().state == "aborted"
    assert not client.wire().output.endswith(b"!")


@pytest.mark.parametrize("error", [ClientDisconnected(), BadRequest()])
def test_a_body_that_fails_ends_the_connection(client: Client, error: GatewayError) -> None:
    task = client.ask("POST", CHUNKED, Source(b"a", error))
    assert failure(task) is error
    assert client.wire().state == "aborted"
    assert not client.wire().output.endswith(b"0\r\n\r\n")


def test_a_body_that_fails_by_a_bug_ends_the_connection(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    task = client.ask("POST", CHUNKED, Source(b"a", ValueError("a bug")))
    assert isinstance(failure(task), GatewayError)
    assert client.wire().state == "aborted"
    assert "a bug" in caplog.text


def test_a_body_that_fails_when_the_answer_has_begun_cuts_the_answer(client: Client) -> None:
    source = Source(b"a", end=False)
    task = client.ask("POST", CHUNKED, source)
    client.wire().feed(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
    source.give(ClientDisconnected())
    client.loop.settle()
    assert client.loop.run(exchange_of(task).take()) == (b"x", True)
    with pytest.raises(ClientDisconnected):
        client.loop.run(exchange_of(task).take())


def test_an_answer_can_begin_before_the_body_ends(client: Client) -> None:
    source = Source(b"a", end=False)
    task = client.ask("POST", CHUNKED, source)
    client.wire().feed(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    assert client.loop.run(exchange_of(task).take()) == (b"a", True)
    source.give(b"b")
    client.loop.settle()
    assert client.wire().output.endswith(b"\r\n1\r\nb\r\n")
    source.end()
    client.loop.settle()
    client.wire().feed(b"0\r\n\r\n")
    assert answer(task) == (200, b"")
    assert client.wire().state == "open"


@pytest.mark.parametrize("waits", [False, True])
def test_an_early_answer_ends_the_body_and_the_connection(client: Client, waits: bool) -> None:
    source = Source(*[b"x" * 100_000] * 3, end=False)
    if waits:

        async def connect() -> None:
            client.pool._release(await client.pool.connect(None))

        client.loop.run(connect())
        client.wire().reading = False
    task = client.ask("POST", sized(1_000_000), source)
    client.wire().feed(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
    assert answer(task) == (413, b"big")
    assert client.wire().lost
    taken = source.taken
    source.give(b"x" * 100)
    client.loop.settle()
    assert source.taken == taken


# Expect: RFC 9110 §10.1.1


def test_a_body_waits_for_100(client: Client) -> None:
    task = client.ask("POST", expecting(2), Source(b"hi"))
    assert client.wire().output.endswith(b"expect: 100-continue\r\n\r\n")
    client.wire().feed(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert client.wire().output.endswith(b"\r\n\r\n")
    client.wire().feed(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.wire().output.endswith(b"\r\n\r\nhi")
    client.wire().feed(EMPTY)
    assert answer(task) == (200, b"")
    assert client.wire().state == "open"


def test_a_body_does_not_wait_for_ever(client: Client) -> None:
    client.ask("POST", expecting(2), Source(b"hi"))
    client.loop.advance(CONTINUE_TIMEOUT + 0.5)
    assert client.wire().output.count(b"hi") == 1
    client.wire().feed(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.wire().output.count(b"hi") == 1


def test_100_twice_sends_the_body_once(client: Client) -> None:
    client.ask("POST", expecting(2), Source(b"hi"))
    client.wire().feed(b"HTTP/1.1 100 Continue\r\n\r\n" * 2)
    client.loop.advance(CONTINUE_TIMEOUT + 0.5)
    assert client.wire().output.count(b"hi") == 1


def test_a_final_answer_instead_of_100_saves_the_body(client: Client) -> None:
    source = Source(b"hi")
    task = client.ask("POST", expecting(2), source)
    client.wire().feed(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
    assert answer(task) == (417, b"")
    client.loop.advance(CONTINUE_TIMEOUT + 0.5)
    assert source.taken == 0
    assert client.wire().lost


# Back pressure


def test_reading_waits_for_a_client_that_is_slow(client: Client) -> None:
    task = client.ask()
    wire = client.wire()
    wire.feed(OK + b"Content-Length: 10000000\r\n\r\n")
    fed = 0
    while not wire.paused:
        wire.feed(b"x" * 10_000)
        fed += 10_000
    assert HIGH_WATER < fed < HIGH_WATER + 20_000
    wire.feed(b"x" * (10_000_000 - fed))
    taken = 0
    exchange = exchange_of(task)
    more = True
    while more:
        data, more = client.loop.run(exchange.take())
        assert len(data) <= HIGH_WATER + 300_000
        taken += len(data)
    assert taken == 10_000_000
    assert not wire.paused
    assert wire.state == "open"


def test_another_clients_slowness_is_its_own(client: Client) -> None:
    """The connection of a response that waits to be read may serve the next request meanwhile."""
    first = client.ask()
    client.wire().feed(OK + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000)
    second = client.ask()
    client.wire().feed(OK + b"Content-Length: 1000000\r\n\r\n", b"x" * 100_000)
    assert client.wire().paused
    client.loop.run(exchange_of(first).take())
    assert client.wire().paused
    client.loop.run(exchange_of(second).take())
    assert not client.wire().paused


def test_the_end_is_seen_while_a_response_waits_to_be_read(client: Client) -> None:
    client.ask()
    client.wire().feed(OK + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000)
    assert not client.wire().paused
    client.wire().feed_eof()
    assert client.wire().lost


# Ends


def test_a_response_that_is_let_go_ends_its_connection(client: Client) -> None:
    task = client.ask()
    client.wire().feed(OK + b"Content-Length: 5\r\n\r\nhe")
    client.loop.run(exchange_of(task).aclose())
    assert client.wire().lost


def test_a_whole_response_that_is_let_go_keeps_its_connection(client: Client) -> None:
    task = client.ask()
    client.wire().feed(OK + b"Content-Length: 5\r\n\r\nhello")
    client.loop.run(exchange_of(task).aclose())
    assert client.wire().state == "open"


@pytest.mark.parametrize("fields", [HOST, CHUNKED, expecting(5)])
def test_cancellation_ends_the_connection(client: Client, fields: Fields) -> None:
    source = Source(b"a", end=False)
    task = client.ask("POST", fields, source)
    task.cancel()
    client.loop.settle()
    assert task.cancelled()
    assert client.wire().lost
    source.give(b"b")
    client.loop.advance(CONTINUE_TIMEOUT + 0.5)
    assert source.taken <= 1


def test_cancellation_of_a_body_that_waits_to_be_written(client: Client) -> None:
    """… and the connection's end afterwards."""

    async def connect() -> None:
        client.pool._release(await client.pool.connect(None))

    client.loop.run(connect())
    client.wire().reading = False
    task = client.ask("POST", sized(1_000_000), Source(b"x" * 500_000, end=False))
    task.cancel()
    client.loop.settle()
    assert client.wire().lost


def test_a_backend_that_leaves_while_a_body_waits_to_be_written(client: Client) -> None:
    async def connect() -> None:
        client.pool._release(await client.pool.connect(None))

    client.loop.run(connect())
    client.wire().reading = False
    task = client.ask("POST", sized(1_000_000), Source(b"x" * 500_000, end=False))
    client.wire().lose(ConnectionResetError())
    assert type(failure(task)) is BadGateway


def test_closing_the_transport_ends_all_connections(client: Client) -> None:
    idle = client.idle()
    busy = [client.ask() for _ in range(2)]
    client.loop.run(client.transport.aclose())
    client.loop.settle()
    assert idle.lost
    assert all(wire.lost for wire in client.loop.wires)
    assert all(isinstance(failure(task), BadGateway) for task in busy)
    assert isinstance(failure(client.ask()), ConnectFailed)


# Time


def raising(error: Exception) -> Callable[[], Any]:
    async def connecting() -> None:
        raise error

    return connecting


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        OSError("Multiple exceptions: …"),
        UnicodeError("label empty or too long"),
    ],
)
def test_no_connection(client: Client, error: Exception) -> None:
    client.loop.connecting = raising(error)
    assert isinstance(failure(client.ask()), ConnectFailed)


def test_a_connection_that_is_closed_at_once(client: Client, loop: Loop) -> None:
    """It was lost before anybody could use it, and nobody would hear of that again."""

    async def create(factory: Callable[[], Any], *_: Any, **__: Any) -> Any:
        wire = Wire(loop, factory())
        wire.protocol.connection_made(wire)
        protocol = wire.protocol
        wire.abort()
        await asyncio.sleep(0)
        return wire, protocol

    loop.create_connection = create  # type: ignore[method-assign]
    assert isinstance(failure(client.ask()), ConnectFailed)
    assert not client.pool._open


def test_a_connection_takes_too_long(client: Client) -> None:
    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    client.loop.connecting = never
    task = client.ask()
    assert DEFAULT.connect is not None
    client.loop.advance(DEFAULT.connect - 1)
    assert not task.done()
    client.loop.advance(2)
    assert isinstance(failure(task), ConnectFailed)
    hurried = client.ask(timeout={"connect": 2.0})
    client.loop.advance(3)
    assert isinstance(failure(hurried), ConnectFailed)


def test_an_answer_takes_too_long(client: Client) -> None:
    task = client.ask(timeout={"read": 5.0})
    client.loop.advance(4)
    client.wire().feed(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.loop.advance(2)
    assert isinstance(failure(task), UpstreamTimeout)
    assert client.wire().lost


def test_an_answer_takes_as_long_as_it_likes(client: Client) -> None:
    task = client.ask()
    client.loop.advance(7200)
    client.wire().feed(OK + b"Content-Length: 2\r\n\r\nh")
    client.loop.advance(7200)
    client.wire().feed(b"i")
    assert answer(task) == (200, b"hi")


def test_idle_connections_are_closed_when_they_are_old(client: Client) -> None:
    tasks = [client.ask() for _ in range(2)]
    client.wire(0).feed(EMPTY)
    client.loop.advance(IDLE / 2)
    client.wire(1).feed(EMPTY)
    assert [answer(task) for task in tasks] == [(200, b"")] * 2
    client.loop.advance(IDLE / 2 + 1)
    assert (client.wire(0).lost, client.wire(1).lost) == (True, False)
    client.loop.advance(IDLE / 2)
    assert client.wire(1).lost
    client.loop.advance(IDLE)
    client.idle()
    client.loop.advance(IDLE + 1)
    assert client.wire().lost


def test_no_more_than_a_bound_of_idle_connections_is_kept(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MAX_IDLE", 2)
    tasks = [client.ask() for _ in range(3)]
    for wire in client.loop.wires:
        wire.feed(EMPTY)
    assert [answer(task) for task in tasks] == [(200, b"")] * 3
    assert [wire.lost for wire in client.loop.wires] == [False, False, True]


# Nothing is left


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n", id="an answer"),
        pytest.param(OK + b"Content-Length: 0\r\n\r\nH", id="more than an answer"),
    ],
)
def test_a_connection_is_gone_with_its_end(client: Client, data: bytes) -> None:
    """… without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        task = client.ask()
        wire = client.loop.wires.pop()
        connection = weakref.ref(wire.get_protocol())
        wire.feed(data)
        assert answer(task) == (200, b"")
        assert wire.lost
        del task
        client.loop.settle()
        assert connection() is None
    finally:
        gc.enable()
