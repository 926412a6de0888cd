"""From what an application sends to a client's bytes, and what becomes of the connection."""

import re

import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.wire.apps import Script, Steps, body, length, start
from tests.wire.harness import Loop, Server, cuts, undated

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
OLD_HEAD = b"HEAD / HTTP/1.0\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"


ANSWERS: list[tuple[str, bytes, list[Message], bytes, str]] = [
    ("a length", GET, [start(200, length(2)), body(b"ok")], b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "open"),
    (
        "a length in pieces",
        GET,
        [start(200, length(4)), body(b"ab", True), body(b"cd")],
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd",
        "open",
    ),
    (
        "a length whose last piece is empty",
        GET,
        [start(200, length(2)), body(b"ab", True), body()],
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab",
        "open",
    ),
    (
        "an empty body of length 0",
        GET,
        [start(200, length(0)), body()],
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "open",
    ),
    (
        "without a length in chunks (RFC 9112 §7.1)",
        GET,
        [start(), body(b"ok")],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "open",
    ),
    (
        "each piece is a chunk",
        GET,
        [start(), body(b"a" * 16, True), body(b"b")],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n" + b"a" * 16 + b"\r\n1\r\nb\r\n0\r\n\r\n",
        "open",
    ),
    (
        "an empty piece is no chunk, which would be the last",
        GET,
        [start(), body(b"", True), body(b"a", True), body()],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "open",
    ),
    (
        "an empty body in chunks",
        GET,
        [start(), body()],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "open",
    ),
    (
        "the application's own coding is ours to choose",
        GET,
        [start(200, (b"Transfer-Encoding", b"gzip, chunked"), length(1)), body(b"a")],
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
        "open",
    ),
    # HTTP/1.0
    (
        "never in chunks to HTTP/1.0 (RFC 9112 §6.1)",
        OLD,
        [start(), body(b"ok", True), body(b"!")],
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok!",
        "closed",
    ),
    (
        "a length to HTTP/1.0",
        OLD,
        [start(200, length(2)), body(b"ok")],
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        "closed",
    ),
    ("HEAD in HTTP/1.0", OLD_HEAD, [start(), body(b"ok")], b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", "closed"),
    # No body: RFC 9110 §6.4.1, §8.6
    (
        "HEAD keeps the length and gets no body",
        HEAD,
        [start(200, length(2)), body(b"ok")],
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n",
        "open",
    ),
    (
        "HEAD with the body left out",
        HEAD,
        [start(200, length(2)), body()],
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n",
        "open",
    ),
    ("HEAD without a length", HEAD, [start(), body(b"ok", True), body(b"ok")], b"HTTP/1.1 200 OK\r\n\r\n", "open"),
    ("204", GET, [start(204), body()], b"HTTP/1.1 204 No Content\r\n\r\n", "open"),
    (
        "204 with a body and its length",
        GET,
        [start(204, length(2)), body(b"ok")],
        b"HTTP/1.1 204 No Content\r\n\r\n",
        "open",
    ),
    ("304", GET, [start(304, (b"etag", b'"x"')), body()], b'HTTP/1.1 304 Not Modified\r\netag: "x"\r\n\r\n', "open"),
    (
        "304 keeps the length of what it did not send",
        GET,
        [start(304, length(2)), body(b"ok")],
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n",
        "open",
    ),
    (
        "an empty answer of another status has a length",
        GET,
        [start(205, length(0)), body()],
        b"HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n",
        "open",
    ),
    # Status and fields
    (
        "a status without a phrase of its own",
        GET,
        [start(299, length(0)), body()],
        b"HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n",
        "open",
    ),
    ("the last status", GET, [start(599, length(0)), body()], b"HTTP/1.1 599 \r\ncontent-length: 0\r\n\r\n", "open"),
    (
        "names of fields in lower case",
        GET,
        [start(200, (b"X-A", b"V"), length(0)), body()],
        b"HTTP/1.1 200 OK\r\nx-a: V\r\ncontent-length: 0\r\n\r\n",
        "open",
    ),
    (
        "a field of the same name twice (RFC 6265 §3)",
        GET,
        [start(200, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), length(0)), body()],
        b"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n",
        "open",
    ),
    (
        "bytes beyond ASCII in a value",
        GET,
        [start(200, (b"x", b"\xe2\x82\xac"), length(0)), body()],
        b"HTTP/1.1 200 OK\r\nx: \xe2\x82\xac\r\ncontent-length: 0\r\n\r\n",
        "open",
    ),
    (
        "no fields at all",
        GET,
        [{"type": "http.response.start", "status": 204}, {"type": "http.response.body"}],
        b"HTTP/1.1 204 No Content\r\n\r\n",
        "open",
    ),
    # Ends of the connection: RFC 9112 §9.6
    (
        "the client's close",
        LAST,
        [start(200, length(0)), body()],
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "closed",
    ),
    (
        "the application's close",
        GET,
        [start(200, (b"Connection", b"Close"), length(0)), body()],
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "closed",
    ),
    (
        "other options of the application's connection are none of the client's",
        GET,
        [start(200, (b"connection", b"keep-alive, x"), length(0)), body()],
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "open",
    ),
]


@pytest.mark.parametrize(
    ("data", "messages", "expected", "state"), [pytest.param(*rest, id=name) for name, *rest in ANSWERS]
)
def test_answers(loop: Loop, data: bytes, messages: list[Message], expected: bytes, state: str) -> None:
    server = Server(loop, Script(*messages))
    for pieces in cuts(data):
        wire = server.connect()
        wire.feed(*pieces)
        assert (undated(wire.output), wire.state) == (expected, state)
        wire.lose()


def test_the_head_goes_out_with_the_first_piece_of_the_body(loop: Loop) -> None:
    wire = Server(loop, Script(start(200, length(4)), body(b"ab", True), body(b"cd"))).connect()
    wire.feed(GET)
    assert len(wire.written) == 2
    assert wire.written[0].endswith(b"\r\n\r\nab")


def test_an_empty_piece_sends_the_head_on_its_way(loop: Loop) -> None:
    app = Steps(start(), body(b"", True))
    wire = Server(loop, app).connect()
    wire.feed(GET)
    assert undated(wire.output) == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def test_the_applications_date_stays_and_is_the_only_one(loop: Loop) -> None:
    date = (b"Date", b"Thu, 01 Jan 1970 00:00:00 GMT")
    wire = Server(loop, Script(start(200, date, length(0), date), body())).connect()
    wire.feed(GET)
    assert re.findall(rb"date: .*\r\n", wire.output) == [b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"]


# What an application gets wrong


INVALID: list[tuple[str, list[Message]]] = [
    *[
        (f"{what} in a value", [start(200, (b"x", b"a" + byte + b"b")), body()])
        for what, byte in (
            ("a line break", b"\r\n"),
            ("a line feed", b"\n"),
            ("a carriage return", b"\r"),
            ("NUL", b"\0"),
        )
    ],
    ("a line break in a name", [start(200, (b"x\r\ny", b"a")), body()]),
    ("a whole response in a value", [start(200, (b"x", b"a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")), body()]),
    ("an interim status", [start(103), body()]),
    ("a switch of protocols", [start(101), body()]),
    ("a status below 100", [start(99), body()]),
    ("a status above 599", [start(600), body()]),
    ("two lengths", [start(200, length(1), length(1)), body(b"a")]),
    *[
        (f"the length {value!r}", [start(200, (b"content-length", value)), body(b"a")])
        for value in (b"", b"-1", b"+1", b"1, 1", b"x", b"1_0")
    ],
    ("a body before the start", [body(b"a")]),
    ("a message of another protocol", [{"type": "websocket.accept"}]),
    ("nothing at all", []),
]


@pytest.mark.parametrize("messages", [pytest.param(messages, id=name) for name, messages in INVALID])
def test_what_is_no_response_becomes_500(loop: Loop, messages: list[Message], caplog: pytest.LogCaptureFixture) -> None:
    app = Script(*messages)
    wire = Server(loop, app).connect()
    wire.feed(GET)
    assert undated(wire.output).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"\r\nx:" not in wire.output
    assert wire.output.count(b"HTTP/1.1") == 1
    assert wire.state == "ending"
    assert all(isinstance(error, RuntimeError) for error in app.errors)
    assert "the application" in caplog.text


CUT: list[tuple[str, bytes, list[Message]]] = [
    ("ends before its body does, in chunks", GET, [start(), body(b"ab", True)]),
    ("ends before its body does, with a length", GET, [start(200, length(5)), body(b"ab", True)]),
    ("ends before its body does, to HTTP/1.0", OLD, [start(), body(b"ab", True)]),
    ("has less than its length", GET, [start(200, length(5)), body(b"ab")]),
    ("has more than its length", GET, [start(200, length(1)), body(b"ab")]),
    ("has more than its length in a later piece", GET, [start(200, length(2)), body(b"ab", True), body(b"c")]),
    ("ends with its start", GET, [start(200, length(5))]),
    ("starts twice", GET, [start(), body(b"a", True), start()]),
]


@pytest.mark.parametrize(("data", "messages"), [pytest.param(data, messages, id=name) for name, data, messages in CUT])
def test_a_response_that(loop: Loop, data: bytes, messages: list[Message]) -> None:
    """… breaks the connection, so that it never looks like a whole one."""
    wire = Server(loop, Script(*messages)).connect()
    wire.feed(data)
    assert wire.state == "aborted"
    assert b"0\r\n\r\n" not in wire.output
    assert not wire.output.endswith(b"abc")


def test_an_application_that_fails_in_its_body_breaks_the_connection(loop: Loop) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"ab", True))
        raise ValueError("a bug")

    wire = Server(loop, app).connect()
    wire.feed(GET)
    assert wire.state == "aborted"
    assert wire.output.endswith(b"2\r\nab\r\n")


def test_an_application_that_is_cancelled_breaks_the_connection(loop: Loop) -> None:
    app = Steps(start(), body(b"ab", True))
    server = Server(loop, app)
    wire = server.connect()
    wire.feed(GET)
    for task in server.state.tasks:
        task.cancel()
    loop.settle()
    assert wire.state == "aborted"
    assert not server.state.tasks


def test_an_application_that_is_cancelled_before_its_answer_gives_500(loop: Loop) -> None:
    server = Server(loop, Steps())
    wire = server.connect()
    wire.feed(GET)
    for task in server.state.tasks:
        task.cancel()
    loop.settle()
    assert b"HTTP/1.1 500 " in wire.output
    assert wire.state == "ending"


def test_head_that_fails_is_answered_without_a_body(loop: Loop) -> None:
    wire = Server(loop, Script()).connect()
    wire.feed(HEAD)
    assert wire.output.endswith(b"connection: close\r\n\r\n")
