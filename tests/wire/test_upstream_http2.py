"""Requests to an HTTP/2 backend and its answers, frame by frame: connection, pool and transport together."""

import asyncio
import gc
import struct
import weakref
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from app.http2.client import MAX_STREAMS
from app.http2.writer import STREAM_WINDOW
from app.upstream.exchange import CONTINUE_TIMEOUT, Exchange
from app.upstream.how import H2C
from app.upstream.http2 import PIECE, Lane
from app.upstream.pool import IDLE
from app.upstream.timeouts import DEFAULT
from middleware.errors import BadGateway, BadRequest, ClientDisconnected, ConnectFailed
from tests.wire.harness import Fields, Loop, Wire, however_cut
from tests.wire.http2 import (
    ACK,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    NO_SETTINGS,
    OK,
    PING,
    PREFACE,
    RST,
    SETTINGS,
    WINDOW,
    data,
    frame,
    headers,
    literal,
    rst,
    settings,
    split_frames,
    window,
)
from tests.wire.test_upstream import HOST, Client, Source, answer, exchange_of, failure, sized, whole

#: The frames that a connection begins with, whatever is in them.
HELLO = [SETTINGS, WINDOW]
Frame = tuple[int, int, int, bytes]
EXPECTING: Fields = [*sized(2), (b"expect", b"100-continue")]
CANCEL = struct.pack(">L", 8)
#: A window for all streams that is larger than what any test sends.
WIDE = window(0, 2**30)
CHUNKED: Fields = [*HOST, (b"transfer-encoding", b"chunked")]


def goaway(last: int, code: int = 0) -> bytes:
    return frame(GOAWAY, 0, 0, struct.pack(">LL", last, code))


class Backend:
    """The test's end of one connection."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._seen = 0

    def frames(self) -> list[Frame]:
        """What was sent since the last look, without what a connection begins with and acknowledgements."""
        output = self.wire.output[self._seen :]
        if not self._seen and output:
            assert output.startswith(PREFACE)
            output = output[len(PREFACE) :]
            assert [kind for kind, *_ in split_frames(output)][:2] == HELLO
            self._seen = len(PREFACE) + sum(9 + len(payload) for *_, payload in split_frames(output)[:2])
            output = self.wire.output[self._seen :]
        self._seen += len(output)
        return [each for each in split_frames(output) if each[:2] != (SETTINGS, ACK)]

    def feed(self, *pieces: bytes) -> None:
        self.wire.feed(*pieces)


class Http2Client(Client):
    """The gateway's side of connections to a backend that speaks HTTP/2."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop, H2C)
        self._backends: dict[int, Backend] = {}

    def backend(self, number: int = -1) -> Backend:
        number %= len(self.loop.wires)
        return self._backends.setdefault(number, Backend(self.loop.wires[number]))

    def ready(self, greeting: bytes = NO_SETTINGS) -> Backend:
        """A backend that has served a request on stream 1."""
        task = self.ask()
        backend = self.backend()
        backend.feed(greeting + headers(1, OK, end=True))
        assert answer(task) == (200, b"")
        backend.frames()
        return backend


@pytest.fixture
def client(loop: Loop) -> Http2Client:
    return Http2Client(loop)


# Requests: RFC 9113 §8


def test_a_request_is_sent_at_once(client: Http2Client) -> None:
    """… before the backend has said anything."""
    client.ask(fields=[*HOST, (b"x", b"1"), (b"x", b"2")])
    assert client.backend().frames() == [
        (HEADERS, 5, 1, b"\x82\x86\x01\x01a\x84" + literal((b"x", b"1"), (b"x", b"2"))),
    ]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        pytest.param([(b"host", b"a:81")], b"\x82\x86\x01\x04a:81\x84", id="the host as the authority"),
        pytest.param([], b"\x82\x86\x01\x01b\x84", id="the endpoint's authority where there is no host"),
        pytest.param(
            [*HOST, (b"connection", b"x"), (b"x", b"y"), (b"upgrade", b"z"), (b"keep-alive", b"1"), (b"trailer", b"t")],
            b"\x82\x86\x01\x01a\x84",
            id="nothing of the connection",
        ),
        pytest.param([*HOST, (b"te", b"gzip, trailers")], b"\x82\x86\x01\x01a\x84\x00\x02te\x08trailers", id="te"),
        pytest.param([*HOST, (b"te", b"gzip")], b"\x82\x86\x01\x01a\x84", id="no te"),
        pytest.param(
            [*HOST, (b"cookie", b"a=1; b=2")], b"\x82\x86\x01\x01a\x84\x1f\x11\x08a=1; b=2", id="the cookie as it is"
        ),
    ],
)
def test_a_request_has(client: Http2Client, given: Fields, sent: bytes) -> None:
    client.ask(fields=given)
    assert client.backend().frames() == [(HEADERS, 5, 1, sent)]


@pytest.mark.parametrize("fields", [[*HOST, (b"x", b"a\r\nb: c")], [*HOST, (b"x\n", b"a")], [*HOST, (b"x", b"\0")]])
def test_what_no_field_may_be_is_not_sent(client: Http2Client, fields: Fields) -> None:
    backend = client.ready()
    assert isinstance(failure(client.ask(fields=fields)), BadRequest)
    assert backend.frames() == []
    client.ask()
    assert backend.frames()[0][2] == 3, "and the connection is as good as before"


def bodies(backend: Backend) -> list[Frame]:
    """The frames of requests' bodies, and what ends them."""
    return [each for each in backend.frames() if each[0] in (DATA, RST) or (each[0] == HEADERS and each[1] == 5)]


def test_a_body_ends_its_stream(client: Http2Client) -> None:
    client.ask("POST", sized(5), Source(b"he", b"llo"))
    assert bodies(client.backend()) == [(DATA, 0, 1, b"he"), (DATA, 0, 1, b"llo"), (DATA, END_STREAM, 1, b"")]


def test_a_body_of_unknown_length_has_no_chunks(client: Http2Client) -> None:
    client.ask("POST", CHUNKED, Source(b"hello"))
    head, *rest = client.backend().frames()
    assert b"chunked" not in head[3]
    assert rest == [(DATA, 0, 1, b"hello"), (DATA, END_STREAM, 1, b"")]


@pytest.mark.parametrize("pieces", [[b"h"], [b"hell", b"o!"], []])
def test_a_body_that_is_not_as_long_as_it_said_has_no_end(client: Http2Client, pieces: list[bytes]) -> None:
    task = client.ask("POST", sized(5), Source(*pieces))
    assert isinstance(failure(task), BadRequest)
    assert bodies(client.backend())[-1] == (RST, 0, 1, CANCEL)


def test_requests_share_a_connection(client: Http2Client) -> None:
    """… and answers come in any order, in pieces between each other."""
    tasks = [client.ask() for _ in range(3)]
    assert [each[2] for each in client.backend().frames()] == [1, 3, 5]
    client.backend().feed(
        NO_SETTINGS + headers(5, OK) + headers(1, OK) + data(5, b"c") + data(1, b"a") + headers(3, OK, end=True)
        + data(5, b"C", end=True) + data(1, b"A", end=True)
    )  # fmt: skip
    assert [answer(task) for task in tasks] == [(200, b"aA"), (200, b""), (200, b"cC")]
    assert len(client.loop.wires) == 1


def test_requests_of_one_turn_are_one_write(client: Http2Client) -> None:
    backend = client.ready()
    backend.wire.written.clear()

    async def both() -> None:
        asyncio.gather(*(client.transport.handle_async_request(request()) for _ in range(2)))

    def request() -> httpx2.Request:
        return httpx2.Request("GET", "http://b/", extensions={"pool": client.pool, "fields": HOST})

    client.loop.run(both())
    assert [len(split_frames(written)) for written in backend.wire.written] == [2]
    backend.feed(headers(3, OK, end=True) + headers(5, OK, end=True))


# Answers


ANSWERS: list[tuple[str, bytes, tuple[int, bytes]]] = [
    ("an empty one", headers(1, OK, end=True), (200, b"")),
    ("one in pieces", headers(1, OK) + data(1, b"a") + data(1, b"b") + data(1, end=True), (200, b"ab")),
    ("one with a length", headers(1, OK + literal((b"content-length", b"2"))) + data(1, b"hi", end=True), (200, b"hi")),
    (
        "one behind others",
        headers(1, literal((b":status", b"103"), (b"link", b"x")))
        + headers(1, literal((b":status", b"404")), end=True),
        (404, b""),
    ),
    ("one with trailers", headers(1, OK) + data(1, b"hi") + headers(1, literal((b"x", b"1")), end=True), (200, b"hi")),
]


@pytest.mark.parametrize(("sent", "got"), [pytest.param(sent, got, id=name) for name, sent, got in ANSWERS])
def test_an_answer(sent: bytes, got: tuple[int, bytes]) -> None:
    def run(pieces: Sequence[bytes]) -> tuple[int, bytes]:
        loop = Loop()
        client = Http2Client(loop)
        task = client.ask()
        client.backend().feed(*pieces)
        found = answer(task)
        loop.finish()
        return found

    assert however_cut(NO_SETTINGS + sent, run) == got


def test_trailers_that_may_stand_there(client: Http2Client) -> None:
    task = client.ask()
    trailers = literal((b"grpc-status", b"0"), (b"content-length", b"2"), (b"x-forwarded-for", b"x"), (b"x", b"y"))
    client.backend().feed(NO_SETTINGS + headers(1, OK) + data(1, b"hi") + headers(1, trailers, end=True))
    assert answer(task) == (200, b"hi")
    assert exchange_of(task).trailers == [(b"grpc-status", b"0"), (b"x", b"y")]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(data(1, b"a"), id="a body without a head"),
        pytest.param(headers(1, literal((b"x", b"1"))), id="a head without a status"),
        pytest.param(headers(1, literal((b":status", b"101"))), id="101"),
        pytest.param(headers(1, OK + literal((b"connection", b"close"))), id="a field of a connection"),
        pytest.param(headers(1, literal((b":status", b"103"))) * 33, id="too many interim answers"),
        pytest.param(rst(1, 2), id="a reset"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 600, id="HTTP/1.1"),
        pytest.param(frame(PING, 0, 1, bytes(8)), id="a frame on a wrong stream"),
        pytest.param(frame(PING, 0, 0, bytes(8)) * 1001, id="a flood of PING"),
        pytest.param(NO_SETTINGS * 1001, id="a flood of SETTINGS"),
    ],
)
def test_no_answer(client: Http2Client, sent: bytes) -> None:
    task = client.ask()
    client.backend().feed((b"" if sent[:4] == b"HTTP" else NO_SETTINGS) + sent)
    assert type(failure(task)) is BadGateway
    assert len(client.loop.wires) == 1, "it is not tried again"


def test_a_reset_costs_its_own_stream_only(client: Http2Client) -> None:
    broken, other = client.ask(), client.ask()
    client.backend().feed(NO_SETTINGS + rst(1, 2))
    assert isinstance(failure(broken), BadGateway)
    client.backend().feed(headers(3, OK) + data(3, b"hi", end=True))
    assert answer(other) == (200, b"hi")
    assert client.wire().state == "open"


def test_an_answer_that_is_cut_off_is_never_whole(client: Http2Client) -> None:
    task = client.ask()
    client.backend().feed(NO_SETTINGS + headers(1, OK) + data(1, b"hi"))
    exchange = exchange_of(task)
    assert client.loop.run(exchange.take()) == (b"hi", True)
    client.wire().lose(ConnectionResetError())
    with pytest.raises(BadGateway):
        client.loop.run(exchange.take())


def test_an_early_answer_ends_an_upload(client: Http2Client) -> None:
    source = Source(b"a", end=False)
    task = client.ask("POST", sized(1_000_000), source)
    client.backend().frames()
    client.backend().feed(NO_SETTINGS + headers(1, literal((b":status", b"413"))) + data(1, b"big", end=True))
    assert answer(task) == (413, b"big")
    assert client.backend().frames() == [(RST, 0, 1, CANCEL)]
    source.give(b"more")
    client.loop.settle()
    assert client.backend().frames() == []
    assert client.wire().state == "open"


# Expect: 100-continue


def test_a_body_waits_for_100(client: Http2Client) -> None:
    task = client.ask("POST", EXPECTING, Source(b"hi"))
    assert bodies(client.backend()) == []
    client.backend().feed(NO_SETTINGS + headers(1, literal((b":status", b"100"))))
    assert bodies(client.backend()) == [(DATA, 0, 1, b"hi"), (DATA, END_STREAM, 1, b"")]
    client.backend().feed(headers(1, OK, end=True))
    assert answer(task) == (200, b"")


def test_a_body_waits_for_100_not_for_ever(client: Http2Client) -> None:
    client.ask("POST", EXPECTING, Source(b"hi"))
    client.loop.advance(CONTINUE_TIMEOUT + 0.5)
    assert bodies(client.backend()) == [(DATA, 0, 1, b"hi"), (DATA, END_STREAM, 1, b"")]


# Windows: RFC 9113 §5.2


def test_a_body_keeps_to_the_streams_window(client: Http2Client) -> None:
    backend = client.ready(settings((4, 3)) + WIDE)
    client.ask("POST", sized(8), Source(b"abcdefgh"))
    assert bodies(backend) == [(DATA, 0, 3, b"abc")]
    backend.feed(window(3, 4))
    assert bodies(backend) == [(DATA, 0, 3, b"defg")]
    backend.feed(settings((4, 4)))
    assert bodies(backend) == [(DATA, 0, 3, b"h"), (DATA, END_STREAM, 3, b"")]


def test_bodies_keep_to_the_connections_window(client: Http2Client) -> None:
    backend = client.ready(settings((4, 2**20)))
    for _ in range(2):
        client.ask("POST", sized(50_000), Source(b"x" * 50_000))
    sent = bodies(backend)
    assert sum(len(payload) for *_, payload in sent) == 65_535
    backend.feed(window(0, 100_000))
    sent += bodies(backend)
    for stream in (3, 5):
        assert sum(len(payload) for _, _, number, payload in sent if number == stream) == 50_000
        assert (DATA, END_STREAM, stream, b"") in sent


def test_a_backend_that_does_not_read_holds_bodies_up(client: Http2Client) -> None:
    backend = client.ready(settings((4, 2**30)) + WIDE)
    sources = [Source(end=False) for _ in range(5)]
    for source in sources:
        client.ask("POST", CHUNKED, source)
    backend.wire.reading = False
    for source in sources:
        source.give(*[b"x" * PIECE] * 100)
    client.loop.settle()
    assert backend.wire.largest_wait < 3 * PIECE
    assert sum(source.taken for source in sources) < 10
    while backend.wire.waiting:
        backend.wire.take()
        taken = [source.taken for source in sources]
        assert max(taken) - min(taken) <= 5, "each has its share"
    assert backend.wire.largest_wait < 3 * PIECE
    assert taken == [100] * 5


def test_bodies_share_the_connections_window(client: Http2Client) -> None:
    backend = client.ready(settings((4, 2**30)))
    sources = [Source(*[b"x" * 2**14] * 10) for _ in range(3)]
    for source in sources:
        client.ask("POST", CHUNKED, source)
    while min(source.taken for source in sources) < 10:
        backend.feed(window(0, 2**14))
        taken = [source.taken for source in sources]
        assert max(taken) - min(taken) <= 5, "each has its share"


def test_a_backend_that_does_not_read_gets_no_further_requests(client: Http2Client) -> None:
    backend = client.ready(settings((4, 2**30)) + WIDE)
    backend.wire.reading = False
    client.ask("POST", CHUNKED, Source(b"x" * 200_000, end=False))
    client.ask()
    assert len(client.loop.wires) == 2
    backend.wire.take()
    client.loop.settle()


def test_a_client_that_reads_slowly_stops_its_own_stream_only(client: Http2Client) -> None:
    slow = [client.ask() for _ in range(MAX_STREAMS - 1)]
    other = client.ask()
    backend = client.backend()
    backend.feed(NO_SETTINGS)
    last = 2 * MAX_STREAMS - 1
    connection_window = 2**20
    for stream in range(1, last, 2):
        backend.feed(headers(stream, OK))
        for _ in range(STREAM_WINDOW // 2**14):
            backend.feed(data(stream, b"x" * 2**14))
            connection_window -= 2**14
            connection_window += sum(
                int.from_bytes(payload, "big")
                for kind, _, number, payload in backend.frames()
                if (kind, number) == (WINDOW, 0)
            )
            assert connection_window > 0, "the connection is closed for all of them"
    backend.feed(headers(last, OK) + data(last, b"hi", end=True))
    assert answer(other) == (200, b"hi")
    exchange = exchange_of(slow[0])
    assert client.loop.run(exchange.take()) == (b"x" * STREAM_WINDOW, True)
    client.loop.settle()
    assert (WINDOW, 0, 1, struct.pack(">L", STREAM_WINDOW)) in backend.frames()


def test_more_than_the_window_is_an_error(client: Http2Client) -> None:
    task = client.ask()
    backend = client.backend()
    backend.feed(NO_SETTINGS + headers(1, OK) + data(1, b"x" * 2**14) * 16)
    exchange = exchange_of(task)
    backend.frames()
    backend.feed(data(1, b"x"))
    assert [each[0] for each in backend.frames()] == [RST]
    with pytest.raises(BadGateway):
        client.loop.run(whole(exchange))


# Several connections


def test_more_streams_than_the_backend_allows_go_on_another_connection(client: Http2Client) -> None:
    client.ready(settings((3, 2)))
    tasks = [client.ask() for _ in range(3)]
    assert [[each[2] for each in client.backend(number).frames()] for number in (0, 1)] == [[3, 5], [1]]
    client.backend(0).feed(headers(5, OK, end=True))
    assert answer(tasks[1]) == (200, b"")
    client.ask()
    client.ask()
    client.ask()
    assert [[each[2] for each in client.backend(number).frames()] for number in (0, 1)] == [[7], [3, 5]]


def test_requests_that_come_together_wait_for_one_connection(client: Http2Client) -> None:
    go = client.loop.create_future()

    async def connecting() -> None:
        await go

    client.loop.connecting = connecting
    tasks = [client.ask() for _ in range(MAX_STREAMS + 1)]
    assert len(client.loop.asked) == 2, "as many as are needed for all of them"
    go.set_result(None)
    client.loop.settle()
    for number in (0, 1):
        backend = client.backend(number)
        backend.feed(NO_SETTINGS + b"".join(headers(each[2], OK, end=True) for each in backend.frames()))
    assert [answer(task) for task in tasks] == [(200, b"")] * len(tasks)


def test_no_more_connections_than_are_needed_are_opened(client: Http2Client) -> None:
    """… also where the last of a connection that is going away have just ended."""
    backend = client.ready(settings((3, 5)))
    tasks = [client.ask() for _ in range(5)]
    backend.feed(goaway(11) + b"".join(headers(stream, OK, end=True) for stream in range(3, 11, 2)))
    go = client.loop.create_future()

    async def connecting() -> None:
        await go

    client.loop.connecting = connecting
    tasks += [client.ask() for _ in range(5)]
    assert len(client.loop.asked) == 2
    go.set_result(None)
    client.loop.settle()
    backend.feed(headers(11, OK, end=True))
    client.backend(1).feed(NO_SETTINGS + b"".join(headers(stream, OK, end=True) for stream in range(1, 11, 2)))
    assert [answer(task) for task in tasks] == [(200, b"")] * 10


def test_a_connection_that_is_made_while_the_gateway_stops_is_closed(client: Http2Client) -> None:
    go = client.loop.create_future()

    async def connecting() -> None:
        await go

    client.loop.connecting = connecting
    task = client.ask()
    client.loop.run(client.transport.aclose())
    go.set_result(None)
    client.loop.settle()
    assert isinstance(failure(task), ConnectFailed)
    assert client.wire().closed


def test_who_waits_for_a_connection_may_leave(client: Http2Client) -> None:
    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    client.loop.connecting = never
    first, second = client.ask(), client.ask(timeout={"connect": 2.0})
    first.cancel()
    client.loop.settle()
    assert first.cancelled()
    client.loop.connecting = None
    client.loop.advance(3)
    assert isinstance(failure(second), ConnectFailed)
    third = client.ask()
    client.backend().feed(NO_SETTINGS + headers(1, OK, end=True))
    assert answer(third) == (200, b"")


def test_no_connection_is_told_to_all_that_wait(client: Http2Client) -> None:
    async def refused() -> None:
        raise ConnectionRefusedError

    client.loop.connecting = refused
    tasks = [client.ask() for _ in range(3)]
    assert all(isinstance(failure(task), ConnectFailed) for task in tasks)
    errors = {id(failure(task)) for task in tasks}
    assert len(errors) == 3, "each has its own"


# Ends: RFC 9113 §6.8, §8.7


def test_a_connection_that_is_going_away_takes_no_more_and_ends_with_its_last(client: Http2Client) -> None:
    backend = client.ready()
    first = client.ask()
    backend.feed(goaway(3))
    second = client.ask()
    assert len(client.loop.wires) == 2
    assert backend.wire.state == "open"
    backend.feed(headers(3, OK) + data(3, b"hi", end=True))
    assert answer(first) == (200, b"hi")
    assert backend.wire.state == "closed"
    client.backend(1).feed(NO_SETTINGS + headers(1, OK, end=True))
    assert answer(second) == (200, b"")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("end", [goaway(1), rst(3, 7)])
def test_what_was_not_worked_on_is_sent_again(client: Http2Client, method: str, end: bytes) -> None:
    """… whatever its method, as the backend has said it."""
    backend = client.ready()
    task = client.ask(method, sized(0) if method == "POST" else HOST)
    backend.feed(end)
    number = 1 if end[3] == GOAWAY else 0
    again = client.backend(number)
    stream = again.frames()[-1][2]
    again.feed((NO_SETTINGS if number else b"") + headers(stream, OK + literal((b"content-length", b"2"))))
    again.feed(data(stream, b"hi", end=True))
    assert answer(task) == (200, b"hi")


def test_what_is_refused_again_is_for_another_endpoint(client: Http2Client) -> None:
    backend = client.ready()
    task = client.ask("POST", sized(0))
    backend.feed(rst(3, 7))
    backend.feed(rst(5, 7))
    error = failure(task)
    assert isinstance(error, BadGateway)
    assert error.retryable
    assert [each[2] for each in backend.frames() if each[0] == HEADERS] == [3, 5]


def test_what_a_new_connection_refuses_is_for_another_endpoint(client: Http2Client) -> None:
    task = client.ask("POST", sized(0))
    client.backend().feed(NO_SETTINGS + goaway(0))
    error = failure(task)
    assert isinstance(error, BadGateway)
    assert error.retryable
    assert client.wire().state == "closed"


def test_a_body_that_was_begun_is_not_sent_again(client: Http2Client) -> None:
    backend = client.ready()
    task = client.ask("PUT", sized(2), Source(b"h", end=False))
    backend.feed(rst(3, 7))
    error = failure(task)
    assert isinstance(error, BadGateway)
    assert not error.retryable
    assert len(client.loop.wires) == 1


def test_a_body_that_waits_is_sent_again(client: Http2Client) -> None:
    backend = client.ready()
    task = client.ask("POST", EXPECTING, Source(b"hi"))
    backend.feed(goaway(1))
    client.backend(1).feed(NO_SETTINGS + headers(1, literal((b":status", b"100"))))
    assert bodies(client.backend(1)) == [(DATA, 0, 1, b"hi"), (DATA, END_STREAM, 1, b"")]
    client.backend(1).feed(headers(1, OK, end=True))
    assert answer(task) == (200, b"")


def test_a_connection_that_breaks(client: Http2Client) -> None:
    """What may be repeated and was not answered is, on another connection; all else fails."""
    backend = client.ready()
    repeatable, post, begun = client.ask(), client.ask("POST", sized(0)), client.ask()
    backend.feed(headers(7, OK) + data(7, b"h"))
    backend.wire.lose(ConnectionResetError())
    client.backend(1).feed(NO_SETTINGS + headers(1, OK, end=True))
    assert answer(repeatable) == (200, b"")
    assert type(failure(post)) is BadGateway
    with pytest.raises(BadGateway):
        client.loop.run(whole(exchange_of(begun)))
    assert len(client.loop.wires) == 2


def test_a_new_connection_that_breaks_is_not_tried_again(client: Http2Client) -> None:
    task = client.ask()
    client.wire().lose(ConnectionResetError())
    error = failure(task)
    assert isinstance(error, BadGateway)
    assert error.retryable
    assert len(client.loop.wires) == 1


def test_a_backend_that_sends_no_more(client: Http2Client) -> None:
    backend = client.ready()
    backend.wire.feed_eof()
    assert backend.wire.lost
    task = client.ask()
    client.backend(1).feed(NO_SETTINGS + headers(1, OK, end=True))
    assert answer(task) == (200, b"")


# Who leaves


@pytest.mark.parametrize(
    ("fields", "source", "back"),
    [
        pytest.param(HOST, None, b"", id="before the answer"),
        pytest.param(HOST, None, headers(1, OK) + data(1, b"h"), id="within the answer"),
        pytest.param(CHUNKED, Source(b"a", end=False), b"", id="within the body"),
        pytest.param(CHUNKED, Source(b"x" * 70_000), b"", id="while the body waits for the window"),
        pytest.param(EXPECTING, Source(b"hi"), b"", id="before the body that it waits to send"),
    ],
)
def test_who_leaves_takes_its_stream_with_it(loop: Loop, fields: Fields, source: Any, back: bytes) -> None:
    client = Http2Client(loop)
    task = client.ask("POST", fields, source)
    client.backend().feed(NO_SETTINGS + back)
    client.backend().frames()
    if task.done():
        client.loop.run(exchange_of(task).aclose())
    else:
        task.cancel()
    client.loop.settle()
    assert client.backend().frames() == [(RST, 0, 1, CANCEL)]
    client.backend().feed(window(0, 100_000) + headers(1, OK, end=True))
    client.loop.advance(2)
    assert client.backend().frames() == []
    assert client.wire().state == "open"


def test_a_client_that_is_gone_is_told_as_such(client: Http2Client) -> None:
    task = client.ask("POST", sized(10), Source(b"a", ClientDisconnected()))
    assert isinstance(failure(task), ClientDisconnected)
    assert client.backend().frames()[-1] == (RST, 0, 1, CANCEL)


# Time


def test_idle_connections_are_closed_when_they_are_old(client: Http2Client) -> None:
    backend = client.ready()
    client.loop.advance(IDLE / 2)
    task = client.ask()
    client.loop.advance(IDLE)
    assert backend.wire.state == "open", "it is not idle"
    backend.feed(headers(3, OK, end=True))
    assert answer(task) == (200, b"")
    client.loop.advance(IDLE - 1)
    assert backend.wire.state == "open"
    backend.frames()
    client.loop.advance(2)
    assert backend.wire.lost
    assert [each[0] for each in backend.frames()] == [GOAWAY]


def test_a_pool_that_nobody_holds_keeps_no_connection(client: Http2Client) -> None:
    client.pool.hold()
    backend = client.ready()
    task = client.ask()
    client.pool.let_go()
    assert backend.wire.state == "open"
    backend.feed(headers(3, OK, end=True))
    assert answer(task) == (200, b"")
    assert backend.wire.lost


def test_closing_the_transport_ends_all_connections(client: Http2Client) -> None:
    busy = client.ask()
    client.loop.run(client.transport.aclose())
    client.loop.settle()
    assert client.wire().lost
    assert isinstance(failure(busy), BadGateway)
    assert isinstance(failure(client.ask()), ConnectFailed)


# Nothing is left


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(headers(1, OK, end=True), id="an answer"),
        pytest.param(headers(1, OK) + data(1, b"a", end=True) + goaway(1), id="an answer and an end"),
    ],
)
def test_an_exchange_is_gone_with_its_end(client: Http2Client, sent: bytes) -> None:
    """… without the garbage collector, and so is a connection."""

    def kept() -> int:
        return sum(isinstance(each, Lane | Exchange) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = kept()
        task = client.ask()
        wire = client.loop.wires.pop()
        connection = weakref.ref(wire.get_protocol())
        wire.feed(NO_SETTINGS + sent)
        assert answer(task)[0] == 200
        del task
        client.loop.settle()
        assert kept() == before
        assert (connection() is None) == wire.lost
    finally:
        gc.enable()


def test_another_protocol_is_asked_for_over_http1(client: Http2Client) -> None:
    """HTTP/2 has no upgrade; a WebSocket needs a connection of its own in any case."""
    fields: Fields = [*HOST, (b"connection", b"upgrade"), (b"upgrade", b"websocket")]
    asked = client.transport.exchange(client.pool, "GET", b"/", fields, None, DEFAULT, upgrade=True)
    task = client.loop.create_task(asked)
    client.loop.settle()
    assert client.wire().output.startswith(b"GET / HTTP/1.1\r\n")
    client.wire().feed(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    assert task.result().status == 403
    client.ask()
    assert client.wire().output.startswith(PREFACE)
