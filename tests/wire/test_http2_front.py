"""A client of HTTP/2 and the application: from frames to requests, and from responses to frames."""

import gc
import re
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from app.http2.frames import Code
from app.http2.writer import STREAM_WINDOW
from app.listeners.clock import BODY_TIMEOUT, HEAD_TIMEOUT, LINGER, WRITE_TIMEOUT
from app.listeners.multiplex import PIECE, TURN
from tests.wire.apps import Script, Steps, body, length, start
from tests.wire.harness import HIGH, Loop, Recorder, Seen, Server, however_cut
from tests.wire.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_STREAM,
    GET,
    GOAWAY,
    HEADERS,
    NO_SETTINGS,
    PING,
    POST,
    PREFACE,
    RST,
    SETTINGS_ACK,
    data,
    frame,
    headers,
    literal,
    request,
    rst,
    settings,
    split_frames,
    stream_error,
    window,
)

HOST = (b"host", b"a")
#: What a server begins with: SETTINGS and WINDOW_UPDATE.
GREETING = 33 + 13
#: date, as it is encoded
_DATE = re.compile(rb"\x0f\x12\x1d[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")

Frame = tuple[int, int, int, bytes]


class Client:
    """A client that has said hello to a server of ``app``."""

    def __init__(
        self, loop: Loop, app: Any, beginning: bytes = NO_SETTINGS, *, server: Server | None = None, **options: Any
    ) -> None:
        self.server = server or Server(loop, app, **options)
        self.loop = loop
        self.wire = self.server.connect()
        self.wire.feed(PREFACE + beginning)
        assert self.wire.output[GREETING:] == SETTINGS_ACK
        self._read = len(self.wire.output)

    def feed(self, *pieces: bytes) -> "Client":
        self.wire.feed(*pieces)
        return self

    def output(self) -> bytes:
        """What came since it was asked last."""
        self.loop.settle()
        output = self.wire.output[self._read :]
        self._read += len(output)
        return output

    def frames(self) -> list[Frame]:
        """The same as frames, heads without their dates, of which each final one has one."""
        frames = []
        for kind, flags, stream, payload in split_frames(self.output()):
            if kind == HEADERS and payload[:1] != b"\x08" and not payload.startswith(b"\x00\x0b"):
                payload, dates = _DATE.subn(b"", payload)
                assert dates == 1, payload
            frames.append((kind, flags, stream, payload))
        return frames


def head(stream: int, block: bytes = b"\x88", *, end: bool = False) -> Frame:
    return HEADERS, 5 if end else 4, stream, block


def piece(stream: int, payload: bytes, *, end: bool = False) -> Frame:
    return DATA, END_STREAM if end else 0, stream, payload


#: content-length: 2
LENGTH_2 = b"\x0f\x0d\x012"
OK = [head(1, b"\x88" + LENGTH_2), piece(1, b"ok", end=True)]


@pytest.fixture
def steps(loop: Loop) -> Iterator[tuple[Client, Steps]]:
    """A client, and an application that the test plays."""
    app = Steps()
    client = Client(loop, app)
    yield client, app
    client.wire.lose()


# From HTTP/1.1 to HTTP/2


def test_prior_knowledge(loop: Loop) -> None:
    """However the beginning is cut (RFC 9113 §3.3)."""

    def run(pieces: Any) -> tuple[list[Seen], bytes]:
        recorder = Recorder()
        server = loop.__dict__.setdefault("kept", {}).setdefault("h2", Server(loop, recorder))
        server.config.loaded_app = recorder
        wire = server.connect()
        wire.feed(*pieces)
        output = _DATE.sub(b"", wire.output)
        wire.lose()
        return recorder.seen, output[GREETING:]

    seen, output = however_cut(PREFACE + NO_SETTINGS + headers(1, GET, end=True), run)
    assert seen == [Seen("GET", b"/", [HOST], b"", "2")]
    head_size = bytes((len(LENGTH_2) + 1 + 32,))
    assert output == SETTINGS_ACK + b"\0\0" + head_size + b"\1\4\0\0\0\1\x88" + LENGTH_2 + data(1, b"ok", end=True)


def test_a_client_that_chose_http2_in_its_handshake(loop: Loop) -> None:
    server = Server(loop, Recorder())
    wire = server.connect(tls=True, alpn="h2")
    assert len(wire.output) == GREETING, "the server speaks at once"
    wire.feed(PREFACE + NO_SETTINGS + headers(1, GET, end=True))
    assert [frame[0] for frame in split_frames(wire.output[GREETING:])] == [4, HEADERS, DATA]
    wire.lose()


def test_a_client_that_chose_http1_in_its_handshake(loop: Loop) -> None:
    server = Server(loop, Recorder())
    wire = server.connect(tls=True, alpn="http/1.1")
    wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert wire.output.startswith(b"HTTP/1.1 200 OK\r\n")
    wire.lose()


@pytest.mark.parametrize("beginning", [b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n"])
def test_a_beginning_that_is_not_finished(loop: Loop, beginning: bytes) -> None:
    wire = Server(loop, Recorder()).connect()
    wire.feed(beginning)
    loop.advance(HEAD_TIMEOUT + 1)
    assert wire.state == "closed"
    loop.advance(LINGER + 1)


def test_a_method_that_begins_like_http2(loop: Loop) -> None:
    recorder = Recorder()
    wire = Server(loop, recorder).connect()
    wire.feed(b"P", b"R", b"OPFIND /x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert recorder.seen[0].method == "PROPFIND"
    wire.lose()


def test_upgrade_is_not_served(loop: Loop) -> None:
    """RFC 9113 §3.1 has taken it back."""
    recorder = Recorder()
    wire = Server(loop, recorder).connect()
    wire.feed(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n"
    )
    assert wire.output.startswith(b"HTTP/1.1 200 OK\r\n")
    wire.lose()


# Requests


def test_the_scope_of_a_request(loop: Loop) -> None:
    recorder = Recorder()
    client = Client(loop, recorder, root_path="/root")
    client.feed(headers(1, request((b"x", b"1"), method=b"GET", path=b"/a%20b?c=d"), end=True))
    scope = recorder.scopes[0]
    assert scope["type"] == "http"
    assert scope["http_version"] == "2"
    assert (scope["method"], scope["scheme"]) == ("GET", "http")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/root/a b", b"/root/a%20b", b"c=d")
    assert scope["headers"] == [HOST, (b"x", b"1")]
    assert (scope["client"], scope["server"]) == (("192.0.2.7", 40000), ("192.0.2.1", 80))
    assert scope["extensions"] == {"http.response.early_hint": {}, "http.response.trailers": {}}
    client.wire.lose()


def test_requests_with_the_same_block_have_fields_of_their_own(loop: Loop) -> None:
    recorder = Recorder()
    client = Client(loop, recorder).feed(headers(1, GET, end=True), headers(3, GET, end=True))
    first, second = (scope["headers"] for scope in recorder.scopes)
    assert first == second
    assert first is not second
    client.wire.lose()


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param(GET + literal((b"host", b"a")), [HOST], id="host beside :authority"),
        pytest.param(GET + literal((b"host", b"A")), [HOST], id="in another case"),
        pytest.param(literal((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b"host", b"b:1")),
                     [(b"host", b"b:1")], id="host alone"),
        pytest.param(GET + literal((b"x", b"1"), (b"x", b"2")), [HOST, (b"x", b"1"), (b"x", b"2")], id="twice"),
    ],
)  # fmt: skip
def test_the_host_comes_first(loop: Loop, block: bytes, expected: Any) -> None:
    recorder = Recorder()
    client = Client(loop, recorder).feed(headers(1, block, end=True))
    assert recorder.seen[0].fields == expected
    client.wire.lose()


def test_a_body_of_unknown_length_is_told_as_chunked(loop: Loop) -> None:
    recorder = Recorder()
    client = Client(loop, recorder).feed(headers(1, POST), data(1, b"ab"), data(1, b"c", end=True))
    assert recorder.seen == [Seen("POST", b"/", [HOST, (b"transfer-encoding", b"chunked")], b"abc", "2")]
    client.wire.lose()


def test_a_body_of_known_length(loop: Loop) -> None:
    recorder = Recorder()
    client = Client(loop, recorder)
    client.feed(headers(1, request((b"content-length", b"2"), method=b"PUT")), data(1, b"ab", end=True))
    assert recorder.seen == [Seen("PUT", b"/", [HOST, (b"content-length", b"2")], b"ab", "2")]
    client.wire.lose()


REFUSED = [
    ("CONNECT (RFC 9110 §9.3.6)", literal((b":method", b"CONNECT"), (b":authority", b"a:1")), b"501"),
    ("extended CONNECT", request((b":protocol", b"websocket"), method=b"CONNECT"), b"501"),
    ("a path that does not begin with a slash", request(path=b"a"), b"400"),
    ("an absolute URL", request(path=b"http://a/"), b"400"),
    ("the asterisk of another method", request(path=b"*"), b"400"),
    ("bytes that must be encoded", request(path=b"/\xc3"), b"400"),
    ("a blank in the path", request(path=b"/a b"), b"400"),
    ("a fragment", request(path=b"/#a"), b"400"),
    ("a backslash", request(path=b"/\\a"), b"400"),
    ("an authority with a user", literal((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"),
                                         (b":authority", b"u@a")), b"400"),
    ("two hosts that differ", GET + literal((b"host", b"b")), b"400"),
    ("no host", literal((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")), b"400"),
    ("another scheme", literal((b":method", b"GET"), (b":scheme", b"ftp"), (b":path", b"/"), (b":authority", b"a")),
     b"400"),
    ("101 fields", GET + b"\x90" * 101, b"431"),
    ("a path of 16 KiB and one byte", GET[:2] + b"\x04\x7f\x82\x7f/" + b"x" * 16384 + GET[3:], b"414"),
]  # fmt: skip


@pytest.mark.parametrize(("block", "status"), [pytest.param(*case[1:], id=case[0]) for case in REFUSED])
def test_what_is_refused(loop: Loop, block: bytes, status: bytes) -> None:
    recorder = Recorder()
    client = Client(loop, recorder)
    pieces = [block[at : at + 16384] for at in range(0, len(block), 16384)]
    blocks = [frame(CONTINUATION, 4 if at + 1 == len(pieces) else 0, 1, piece) for at, piece in enumerate(pieces)]
    blocks[0] = frame(HEADERS, END_STREAM | (4 if len(pieces) == 1 else 0), 1, pieces[0])
    client.feed(*blocks)
    head, text = client.frames()
    block = {b"400": b"\x8c"}.get(status, b"\x08\x03" + status)
    assert head[3].startswith(block)
    assert text[3].startswith(status + b" ")
    assert text[1] == END_STREAM
    assert recorder.seen == []
    assert client.feed(headers(3, GET, end=True)).frames() == [(*frame[:2], 3, frame[3]) for frame in OK]
    client.wire.lose()


def test_a_refused_request_with_a_body(loop: Loop) -> None:
    """The answer is whole, and the rest of the request of no interest (RFC 9113 §8.1)."""
    client = Client(loop, Recorder()).feed(headers(1, request(path=b"a", method=b"POST")))
    assert [frame[:3] for frame in client.frames()] == [(HEADERS, 4, 1), (DATA, 1, 1), (RST, 0, 1)]
    client.wire.lose()


def test_a_refusal_of_head_has_no_body(loop: Loop) -> None:
    client = Client(loop, Recorder()).feed(headers(1, request(path=b"a", method=b"HEAD"), end=True))
    assert [frame[:3] for frame in client.frames()] == [(HEADERS, 5, 1)]
    client.wire.lose()


def test_a_refusal_for_which_there_is_no_window(loop: Loop) -> None:
    client = Client(loop, Recorder(), settings((4, 0))).feed(headers(1, request(path=b"a"), end=True))
    assert [frame[:3] for frame in client.frames()] == [(HEADERS, 5, 1)]
    client.wire.lose()


def test_a_body_comes_as_the_application_takes_it(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(headers(1, POST), data(1, b"ab"))
    call = app.calls[0]
    assert call.receive() == {"type": "http.request", "body": b"ab", "more_body": True}
    wants = call.wants()
    client.feed(data(1, b"c", end=True))
    assert wants() == {"type": "http.request", "body": b"c", "more_body": False}
    call.answer()


def test_trailers_of_a_request_are_on_its_cycle(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(headers(1, POST), data(1, b"ab"), headers(1, literal((b"x", b"1")), end=True))
    call = app.calls[0]
    assert call.receive() == {"type": "http.request", "body": b"ab", "more_body": False}
    assert call.scope["moongate.cycle"].trailers == [(b"x", b"1")]
    call.answer()


def test_an_upload_that_nobody_takes_is_bounded_and_stalls_no_other(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    full = b"x" * 16384
    client.feed(headers(1, POST), *[data(1, full)] * 16, headers(3, POST))
    for _ in range(64):
        client.feed(data(3, full))
        assert len(app.calls[1].receive()["body"]) == 16384
    updates = [frame[2] for frame in client.frames() if frame[0] == 8]
    assert 1 not in updates
    assert 3 in updates
    assert 0 in updates
    assert len(app.calls[0].receive()["body"]) == STREAM_WINDOW
    assert (8, 0, 1, struct.pack(">L", STREAM_WINDOW)) in client.frames()
    client.feed(data(1, b"", end=True), data(3, b"", end=True))
    app.calls[0].answer()
    app.calls[1].answer()


def test_an_upload_in_tiny_pieces_is_kept_in_large_ones(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(headers(1, POST), *[data(1, b"x")] * 500)
    cycle = app.calls[0].scope["moongate.cycle"]
    assert len(cycle._body) <= 65
    assert app.calls[0].receive()["body"] == b"x" * 500
    client.feed(data(1, b"", end=True))
    app.calls[0].answer()


def test_100_continue(steps: tuple[Client, Steps]) -> None:
    """RFC 9110 §10.1.1: when the body is wanted, and not before."""
    client, app = steps
    client.feed(headers(1, request((b"expect", b"100-continue"), method=b"POST")))
    assert client.output() == b""
    wants = app.calls[0].wants()
    assert client.frames() == [head(1, b"\x08\x03100")]
    client.feed(data(1, b"hi", end=True))
    assert wants()["body"] == b"hi"
    app.calls[0].answer()


# Responses


def responses(loop: Loop, *messages: Any, block: bytes = GET) -> list[Frame]:
    client = Client(loop, Script(*messages)).feed(headers(1, block, end=True))
    frames = client.frames()
    client.wire.lose()
    return frames


def test_a_response_is_one_write(loop: Loop) -> None:
    client = Client(loop, Recorder())
    before = len(client.wire.written)
    client.feed(headers(1, GET, end=True))
    assert len(client.wire.written) == before + 1
    assert client.frames() == OK
    client.wire.lose()


def test_responses_of_one_turn_are_one_write(loop: Loop) -> None:
    client = Client(loop, Recorder())
    before = len(client.wire.written)
    client.feed(b"".join(headers(stream, GET, end=True) for stream in (1, 3, 5, 7)))
    assert len(client.wire.written) == before + 1
    assert [frame[:3] for frame in client.frames()][::2] == [(HEADERS, 4, stream) for stream in (1, 3, 5, 7)]
    client.wire.lose()


def test_a_response_without_a_body_ends_with_its_head(loop: Loop) -> None:
    assert responses(loop, start(200), body()) == [head(1, end=True)]


def test_a_body_in_pieces(loop: Loop) -> None:
    assert responses(loop, start(200), body(b"a", more=True), body(b"b", more=True), body()) == [
        head(1), piece(1, b"a"), piece(1, b"b"), piece(1, b"", end=True),
    ]  # fmt: skip


def test_trailers(loop: Loop) -> None:
    announced = {**start(200), "trailers": True}
    trailers = {"type": "http.response.trailers", "headers": [(b"Grpc-Status", b"0")]}
    assert responses(loop, announced, body(b"a"), trailers) == [
        head(1), piece(1, b"a"), head(1, b"\x00\x0bgrpc-status\x010", end=True),
    ]  # fmt: skip


def test_trailers_in_two_messages_and_no_body(loop: Loop) -> None:
    announced = {**start(200), "trailers": True}
    first = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")], "more_trailers": True}
    second = {"type": "http.response.trailers", "headers": [(b"x", b"y")]}
    assert responses(loop, announced, body(), first, second) == [
        head(1), head(1, b"\x00\x0bgrpc-status\x010\x00\x01x\x01y", end=True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [(204, b"GET", b"\x89"), (304, b"GET", b"\x8b" + LENGTH_2), (200, b"HEAD", b"\x88" + LENGTH_2)],
)
def test_responses_that_have_no_body(loop: Loop, status: int, method: bytes, expected: bytes) -> None:
    assert responses(loop, start(status, length(2)), body(b"ok"), block=request(method=method)) == [
        head(1, expected, end=True)
    ]


@pytest.mark.parametrize(
    "dropped", [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te", b"Upgrade"]
)
def test_fields_of_the_connection_are_dropped(loop: Loop, dropped: bytes) -> None:
    assert responses(loop, start(200, (dropped, b"close"), (b"X", b"y")), body()) == [
        head(1, b"\x88\x00\x01x\x01y", end=True)
    ]


def test_a_date_of_the_applications_own_stays(loop: Loop) -> None:
    date = b"Mon, 01 Jan 2024 00:00:00 GMT"
    client = Client(loop, Script(start(200, (b"date", date), (b"date", date)), body())).feed(headers(1, GET, end=True))
    assert client.output() == frame(HEADERS, 5, 1, b"\x88\x0f\x12\x1d" + date)
    client.wire.lose()


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([start(99)], id="a status that is none"),
        pytest.param([start(200, (b"x", b"a\r\nb"))], id="a line break in a field"),
        pytest.param([start(200, (b"x y", b"a"))], id="a name that is none"),
        pytest.param([start(200, length(1), length(1))], id="two lengths"),
        pytest.param([body(b"x")], id="a body before the head"),
        pytest.param([], id="nothing"),
    ],
)
def test_an_application_that_fails_before_its_answer(loop: Loop, messages: Any) -> None:
    frames = responses(loop, *messages)
    assert [frame[:3] for frame in frames] == [(HEADERS, 4, 1), (DATA, 1, 1)]
    assert frames[0][3].startswith(b"\x8e")


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([start(200), body(b"a", more=True)], id="no end"),
        pytest.param([start(200, length(2)), body(b"a")], id="too short"),
        pytest.param([start(200, length(2)), body(b"a", more=True), body(b"bc")], id="too long"),
    ],
)
def test_an_application_that_fails_within_its_answer(loop: Loop, messages: Any) -> None:
    assert responses(loop, *messages)[-1] == stream_error(1, Code.INTERNAL_ERROR)


def test_an_answer_before_the_request_is_complete(steps: tuple[Client, Steps]) -> None:
    """RFC 9113 §8.1."""
    client, app = steps
    client.feed(headers(1, POST), data(1, b"ab"))
    app.calls[0].answer()
    assert client.frames() == [*OK, stream_error(1, Code.NO_ERROR)]
    client.feed(data(1, b"more"), data(1, b"", end=True), headers(3, GET, end=True))
    app.calls[1].answer()
    assert [frame[:3] for frame in client.frames()] == [(HEADERS, 4, 3), (DATA, 1, 3)]


def test_many_requests_at_once_are_answered_in_any_order(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(headers(1, GET, end=True), headers(3, GET, end=True))
    app.calls[1].answer()
    app.calls[0].answer()
    assert [frame[2] for frame in client.frames()] == [3, 3, 1, 1]


# Back pressure


def test_a_body_waits_for_the_clients_window(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(settings((4, 10)), headers(1, GET, end=True))
    client.output()
    call = app.calls[0]
    call.send(start(200))
    sent = call.sends(body(b"x" * 25, more=True))
    assert client.frames() == [head(1), piece(1, b"x" * 10)]
    client.feed(window(1, 10))
    assert client.frames() == [piece(1, b"x" * 10)]
    assert not sent()
    client.feed(window(1, 10))
    assert client.frames() == [piece(1, b"x" * 5)]
    assert sent()
    call.send(body())
    assert client.frames() == [piece(1, b"", end=True)]
    call.finish()


def test_the_last_piece_waits_without_the_application(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(settings((4, 1)), headers(1, GET, end=True))
    client.output()
    app.calls[0].answer(b"abc")
    assert client.frames()[-1] == piece(1, b"a")
    client.feed(window(1, 2))
    assert client.frames() == [piece(1, b"bc", end=True)]


def test_a_body_waits_for_the_transport(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(window(0, 1 << 24), settings((4, 1 << 24)), headers(1, GET, end=True))
    client.wire.reading = False
    call = app.calls[0]
    call.send(start(200))
    size = 0
    while call.sends(body(b"x" * 10_000, more=True))():
        size += 10_000
        assert size < 1 << 20
    assert client.wire.largest_wait <= HIGH + TURN
    client.wire.reading = True
    client.wire.take()
    call.send(body())
    call.finish()


def test_one_stream_does_not_starve_another(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(window(0, 1 << 24), settings((4, 1 << 24)), headers(1, GET, end=True), headers(3, GET, end=True))
    client.output()
    client.wire.reading = False
    for call in app.calls:
        call.send(start(200))
        call.sends(body(b"x" * (1 << 20)))
    client.wire.reading = True
    client.wire.take()
    order = [frame[2] for frame in client.frames() if frame[0] == DATA]
    turns = [stream for index, stream in enumerate(order) if index == 0 or order[index - 1] != stream]
    assert len(turns) >= (1 << 20) // TURN
    assert order.count(1) == order.count(3)
    assert PIECE < TURN
    for call in app.calls:
        call.finish()


# Ends


def test_a_reset_is_told_as_the_clients_leave(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(headers(1, POST), headers(3, GET, end=True), rst(1))
    call, other = app.calls
    assert call.left == 1
    assert call.receive() == {"type": "http.disconnect"}
    with pytest.raises(OSError, match="left"):
        call.send(start(200))
    other.answer()
    call.finish()
    assert [frame[2] for frame in client.frames()] == [3, 3]


def test_a_reset_wakes_an_application_that_waits_for_the_window(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(settings((4, 1)), headers(1, GET, end=True))
    call = app.calls[0]
    call.send(start(200))
    sent = call.sends(body(b"abc", more=True))
    client.feed(rst(1))
    assert sent()
    assert call.left == 1
    call.finish()
    assert client.frames()[-1] == piece(1, b"a")


def test_a_malformed_body_is_told_as_the_clients_leave(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(headers(1, request((b"content-length", b"1"), method=b"POST")), data(1, b"ab"))
    assert app.calls[0].left == 1
    assert client.frames() == [stream_error(1, Code.PROTOCOL_ERROR)]
    app.calls[0].finish()


def test_streams_that_were_reset_count_as_long_as_their_requests_run(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    for stream in range(1, 257, 2):
        client.feed(headers(stream, GET, end=True), rst(stream))
    client.feed(headers(257, GET, end=True))
    assert client.frames() == [stream_error(257, Code.REFUSED_STREAM)]
    for call in app.calls:
        call.finish()
    client.feed(headers(259, GET, end=True))
    app.calls[-1].answer()
    assert [frame[2] for frame in client.frames()] == [259, 259]


def test_a_lost_connection_is_told_to_all(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(headers(1, GET, end=True), headers(3, POST))
    client.wire.lose()
    assert [call.left for call in app.calls] == [1, 1]
    assert not client.server.state.connections
    for call in app.calls:
        call.finish()
    assert not client.server.state.tasks


def test_a_broken_connection_ends_with_goaway(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(headers(1, GET, end=True), frame(PING, 0, 0, b"short"))
    kind, _, _, payload = client.frames()[-1]
    assert (kind, payload[:8]) == (GOAWAY, struct.pack(">LL", 1, Code.FRAME_SIZE_ERROR))
    assert app.calls[0].left == 1
    assert client.wire.state == "ending"
    client.feed(headers(3, GET, end=True))
    assert len(app.calls) == 1
    client.loop.advance(LINGER + 1)
    assert client.wire.state == "aborted"
    app.calls[0].finish()


def test_too_many_connections(loop: Loop) -> None:
    client = Client(loop, Recorder(), limit_concurrency=0).feed(headers(1, GET, end=True))
    assert client.frames()[0][3].startswith(b"\x08\x03503")
    client.wire.lose()


# Draining


def test_draining_ends_what_is_under_way_and_on_its_way(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(headers(1, GET, end=True))
    for connection in list(client.server.state.connections):
        connection.shutdown()
    assert client.frames() == [
        (GOAWAY, 0, 0, b"\x7f\xff\xff\xff\0\0\0\0"), (PING, 0, 0, b"draining"),
    ]  # fmt: skip
    client.feed(headers(3, GET, end=True), frame(PING, ACK, 0, b"draining"))
    assert client.frames() == [(GOAWAY, 0, 0, b"\0\0\0\3\0\0\0\0")]
    client.feed(headers(5, GET, end=True))
    assert client.frames() == [stream_error(5, Code.REFUSED_STREAM)]
    app.calls[0].answer()
    assert client.wire.state == "open"
    app.calls[1].answer()
    assert [frame[2] for frame in client.frames()] == [1, 1, 3, 3]
    assert client.wire.state == "ending"


def test_draining_an_idle_connection(steps: tuple[Client, Steps]) -> None:
    client, _ = steps
    for connection in list(client.server.state.connections):
        connection.shutdown()
    client.feed(frame(PING, ACK, 0, b"draining"))
    assert [frame[0] for frame in client.frames()] == [GOAWAY, PING, GOAWAY]
    assert client.wire.state == "ending"


def test_draining_a_client_that_says_nothing(steps: tuple[Client, Steps]) -> None:
    client, _ = steps
    for connection in list(client.server.state.connections):
        connection.shutdown()
    client.loop.advance(LINGER + 1)
    assert [frame[0] for frame in client.frames()] == [GOAWAY, PING, GOAWAY]
    assert client.wire.state == "ending"


def test_draining_a_client_that_goes_on_and_says_nothing(steps: tuple[Client, Steps]) -> None:
    """It has its moment, and then what it opens is refused."""
    client, app = steps
    client.feed(headers(1, GET, end=True))
    for connection in list(client.server.state.connections):
        connection.shutdown()
    client.loop.advance(LINGER - 1)
    client.feed(headers(3, GET, end=True))
    client.output()
    client.loop.advance(2)
    client.feed(headers(5, GET, end=True))
    assert client.frames() == [(GOAWAY, 0, 0, b"\0\0\0\3\0\0\0\0"), stream_error(5, Code.REFUSED_STREAM)]
    for call in app.calls:
        call.answer()
    assert [frame[2] for frame in client.frames()] == [1, 1, 3, 3]


def test_behind_the_end_what_the_client_still_sends_is_read(steps: tuple[Client, Steps]) -> None:
    """Left unread it would have the kernel take back what was sent."""
    client, _ = steps
    for connection in list(client.server.state.connections):
        connection.shutdown()
    client.feed(frame(PING, ACK, 0, b"draining"))
    assert client.wire.state == "ending"
    client.feed(headers(1, GET, end=True), window(0, 1))
    assert client.wire.unread == 0
    client.wire.feed_eof()
    assert client.wire.state == "closed"


def test_the_end_of_tls_comes_when_the_client_had_time_to_close(loop: Loop) -> None:
    server = Server(loop, Recorder())
    wire = server.connect(tls=True, alpn="h2")
    wire.feed(PREFACE + NO_SETTINGS)
    for connection in list(server.state.connections):
        connection.shutdown()
    wire.feed(frame(PING, ACK, 0, b"draining"))
    assert wire.state == "open"
    loop.advance(LINGER + 1)
    assert wire.state == "closed"


# Time


def test_an_idle_connection_is_closed(loop: Loop) -> None:
    client = Client(loop, Recorder(), timeout_keep_alive=20).feed(headers(1, GET, end=True))
    client.output()
    loop.advance(19)
    assert client.wire.state == "open"
    loop.advance(2)
    assert [frame[0] for frame in client.frames()] == [GOAWAY]
    assert client.wire.state == "ending"


def test_a_header_block_that_does_not_end(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(headers(1, GET, end=True), frame(HEADERS, 1, 3, GET))
    client.loop.advance(HEAD_TIMEOUT + 1)
    assert client.frames()[-1][0] == GOAWAY
    assert client.wire.state == "ending"
    client.loop.advance(LINGER + 1)
    app.calls[0].finish()


def test_a_body_that_does_not_come(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(headers(1, POST), headers(3, GET, end=True))
    client.loop.advance(BODY_TIMEOUT - 1)
    client.feed(data(1, b"x"))
    app.calls[0].receive()
    client.loop.advance(BODY_TIMEOUT - 1)
    assert app.calls[0].left == 0
    client.loop.advance(2)
    assert app.calls[0].left == 1
    frames = client.frames()
    assert frames[0][3].startswith(b"\x08\x03408")
    assert frames[-1] == stream_error(1, Code.NO_ERROR)
    app.calls[1].answer()
    app.calls[0].finish()
    assert [frame[2] for frame in client.frames()] == [3, 3]


def test_a_body_that_the_application_does_not_take_has_no_time(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(headers(1, POST), data(1, b"x"))
    client.loop.advance(2 * BODY_TIMEOUT)
    assert app.calls[0].left == 0
    client.feed(data(1, b"", end=True))
    app.calls[0].answer()


def test_a_client_that_does_not_take_its_answer(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(settings((4, 1)), headers(1, GET, end=True), headers(3, GET, end=True))
    call, other = app.calls
    call.send(start(200))
    call.sends(body(b"x" * 100, more=True))
    client.output()
    client.loop.advance(WRITE_TIMEOUT - 1)
    client.feed(window(1, 1))
    client.loop.advance(2)
    assert call.left == 1, "a byte now and then is not taking it"
    assert client.frames() == [piece(1, b"x"), stream_error(1, Code.CANCEL)]
    other.answer(b"")
    call.finish()


def test_a_client_that_reads_nothing_at_all(steps: tuple[Client, Steps]) -> None:
    client, app = steps
    client.feed(window(0, 1 << 24), settings((4, 1 << 24)), headers(1, GET, end=True))
    client.wire.reading = False
    call = app.calls[0]
    call.send(start(200))
    call.sends(body(b"x" * 1_000_000, more=True))
    client.loop.advance(WRITE_TIMEOUT + 3)
    assert call.left == 1
    call.finish()


def test_nothing_is_left_for_the_garbage_collector(loop: Loop) -> None:
    """Requests that ended well, were refused, reset, or broken off: no circle of references is left behind."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fail":
            return
        await send(start(200))
        await send(body(b"x" * 100, more=scope["path"] == "/break"))
        if scope["path"] == "/wait":
            await receive()
            await receive()

    paths = [b"/", b"/fail", b"/break", b"/wait", b"\\"]
    client = Client(loop, app).feed(headers(1, GET, end=True))
    for index, path in enumerate(paths * 2, 1):
        if index == len(paths) + 1:
            while gc.collect():  # what other tests left may have generators that are to be ended first
                pass
            gc.disable()
        stream = 1 + 2 * index
        client.feed(headers(stream, request(path=path), end=True), rst(stream))
    try:
        assert gc.collect() == 0
    finally:
        gc.enable()
        client.wire.lose()


def test_a_connection_leaves_nothing_for_the_garbage_collector(loop: Loop) -> None:
    server = Server(loop, Recorder())
    for turn in range(2):
        if turn:
            while gc.collect():  # what other tests left may have generators that are to be ended first
                pass
            gc.disable()
        wire = server.connect()
        wire.feed(PREFACE + NO_SETTINGS + headers(1, GET, end=True))
        wire.lose()
        loop.settle()
        del wire
    try:
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_being_told_of_the_end_before_it_comes(steps: tuple[Client, Steps]) -> None:
    """While the server still takes connections its clients are told, and those that are idle may go."""
    client, app = steps
    client.feed(headers(1, GET, end=True))
    connection: Any = next(iter(client.server.state.connections))
    connection.draining = True
    connection.draining = True
    assert [frame[0] for frame in client.frames()] == [GOAWAY, PING]
    client.feed(frame(PING, ACK, 0, b"draining"))
    connection.shutdown()
    assert [frame[0] for frame in client.frames()] == [GOAWAY]
    app.calls[0].answer()
    assert client.wire.state == "ending"


@pytest.mark.parametrize("how", ["lost", "broken"])
def test_what_an_application_takes_after_the_end(steps: tuple[Client, Steps], how: str) -> None:
    """It may still get what had come, and nothing is sent for it."""
    client, app = steps
    client.feed(headers(1, POST), *[data(1, b"x" * 16384)] * 16)
    client.output()
    if how == "lost":
        client.wire.lose()
    else:
        client.feed(frame(PING, 0, 0, b"short"))
        assert [frame[0] for frame in client.frames()] == [GOAWAY]
    call = app.calls[0]
    assert len(call.receive()["body"]) == STREAM_WINDOW
    assert call.receive() == {"type": "http.disconnect"}
    call.finish()
    assert client.output() == b""
