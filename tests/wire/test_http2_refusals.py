"""The access log's lines for what an HTTP/2 connection refuses: as with HTTP/1.1, and few however much comes."""

from collections.abc import Iterator

import pytest

from app.http2.frames import Code
from app.http2.limits import MAX_RESETS
from app.listeners.clock import BODY_TIMEOUT, HEAD_TIMEOUT
from middleware.observe import MAX_REFUSED
from tests.wire.harness import Loop, Server
from tests.wire.http2 import (
    CONTINUATION,
    GET,
    GOAWAY,
    HEADERS,
    POST,
    data,
    frame,
    headers,
    literal,
    many,
    request,
    rst,
    window,
)
from tests.wire.test_http2_front import Client
from tests.wire.test_refusals_logged import Logged

UPPER_CASE = GET + literal((b"X", b"1"))


@pytest.fixture
def app() -> Logged:
    return Logged(format="json")


@pytest.fixture
def client(loop: Loop, app: Logged) -> Iterator[Client]:
    client = Client(loop, app)
    yield client
    client.wire.lose()


TOLD: list[tuple[str, bytes, int, str, str]] = [
    ("a name in upper case", headers(1, UPPER_CASE, end=True), 400, "GET", "/"),
    ("a field of the connection", headers(1, request((b"connection", b"close"), path=b"/a?b")), 400, "GET", "/a?b"),
    ("no method", headers(1, literal((b":path", b"/a"))), 400, "-", "/a"),
    ("no path", headers(1, literal((b":method", b"GET"))), 400, "GET", "-"),
    ("no word for a method", headers(1, request(method=b"G T")), 400, "-", "/"),
    ("a method without end", headers(1, request((b"X", b""), method=b"G" * 33)), 400, "-", "/"),
    ("less than Content-Length says", headers(1, request((b"content-length", b"1"), path=b"/a"), end=True), 400, "GET",
     "/a"),
    ("a target that must be encoded", headers(1, request(path=b"/a b")), 400, "GET", "/a b"),
    ("a tunnel", headers(1, literal((b":method", b"CONNECT"), (b":authority", b"a:1"))), 501, "CONNECT", ""),
    ("101 fields", headers(1, GET + b"\x90" * 101), 431, "GET", "/"),
    ("no stream of a client's", headers(2, GET), 400, "-", "-"),
    ("a header block that cannot be decoded", headers(1, b"\x80"), 400, "-", "-"),
    ("a window that is too large", window(0, 0x7FFFFFFF), 400, "-", "-"),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "status", "method", "target"), [pytest.param(*case[1:], id=case[0]) for case in TOLD])
def test_a_refusal_is_told_as_far_as_it_is_known(
    client: Client, app: Logged, sent: bytes, status: int, method: str, target: str
) -> None:
    client.feed(sent)
    (line,) = app.objects
    assert (line["DownstreamStatus"], line["ResponseFlags"]) == (status, "DPE")
    assert (line["RequestMethod"], line["RequestPath"]) == (method, target)
    assert (line["RequestProtocol"], line["ClientHost"]) == ("HTTP/2.0", "192.0.2.7")


def test_a_client_that_chose_http2_and_speaks_something_else(loop: Loop, app: Logged) -> None:
    wire = Server(loop, app).connect(tls=True, alpn="h2")
    wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    (line,) = app.objects
    assert (line["DownstreamStatus"], line["ResponseFlags"], line["RequestMethod"]) == (400, "DPE", "-")
    wire.lose()


def test_a_header_block_that_takes_too_long_is_told(client: Client, app: Logged, loop: Loop) -> None:
    client.feed(frame(HEADERS, 0, 1, GET))
    loop.advance(HEAD_TIMEOUT + 1)
    (line,) = app.objects
    assert (line["DownstreamStatus"], line["ResponseFlags"]) == (408, "SI")


def test_one_connection_too_many_is_told(loop: Loop, app: Logged) -> None:
    client = Client(loop, app, limit_concurrency=1)
    client.server.connect()
    client.feed(headers(1, request(path=b"/a"), end=True))
    (line,) = app.objects
    assert (line["DownstreamStatus"], line["RequestMethod"], line["RequestPath"]) == (503, "GET", "/a")
    client.wire.lose()


@pytest.mark.parametrize("sent", [b"", rst(1), data(1, b"a" * 10, end=True)])
def test_a_request_that_the_application_has_is_its_own_to_tell(
    client: Client, app: Logged, loop: Loop, sent: bytes
) -> None:
    """… whatever becomes of its body."""
    client.feed(headers(1, request((b"content-length", b"2"), method=b"POST")), sent)
    loop.advance(BODY_TIMEOUT + 1)
    assert not app.lines
    app.steps.calls[0].finish()
    assert len(app.lines) == 1


def test_who_leaves_or_is_idle_for_too_long_is_not_refused(client: Client, app: Logged, loop: Loop) -> None:
    loop.advance(1000)
    assert client.wire.lost
    assert not app.lines


def test_a_stream_that_is_refused_for_now_is_not_told(client: Client, app: Logged) -> None:
    """It may be sent again as it is, to whom it will."""
    client.feed(many(headers(stream, POST) for stream in range(1, 2 * 130, 2)))
    assert not app.lines
    assert len(app.steps.calls) == 128


def test_malformed_requests_are_told_as_long_as_they_are_borne(client: Client, app: Logged) -> None:
    client.feed(many(headers(stream, UPPER_CASE, end=True) for stream in range(1, 4001, 2)))
    assert client.frames()[-1][3][4:8] == Code.ENHANCE_YOUR_CALM.to_bytes(4, "big")
    assert len(app.lines) == MAX_RESETS + 2


def test_a_connection_that_is_cut_off_has_one_line(client: Client, app: Logged) -> None:
    client.feed(*[frame(CONTINUATION, 0, 1, GET)] * 100)
    assert [frame[0] for frame in client.frames()] == [GOAWAY]
    assert len(app.lines) == 1


def test_no_byte_of_it_can_break_a_line_or_fill_the_log(loop: Loop) -> None:
    app = Logged(format="common")
    client = Client(loop, app)
    longest = b"\xff" * 126
    fields = [(b"user-agent", b'"\\' + longest[2:]), (b"referer", b"a\tb"), (b"X", b"")]
    long = b"\x00\x05:path\x7f\x81\x7d" + b"\xff" * 380
    client.feed(headers(1, literal((b":method", b'"'), (b":authority", b'"')) + long + literal(*fields)))
    (line,) = app.lines
    assert line.isascii()
    assert line.isprintable()
    assert line.count('"') == 10
    assert len(line) < 10 * MAX_REFUSED
    client.wire.lose()
