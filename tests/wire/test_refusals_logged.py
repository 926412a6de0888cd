"""The access log's lines for what a connection refuses, and that each request has one line at most."""

import json
from typing import Any

import pytest

from app.listeners.clock import BODY_TIMEOUT, HEAD_TIMEOUT
from middleware.accesslog import AccessLogMiddleware
from middleware.errors import GatewayError
from middleware.observe import MAX_REFUSED
from tests.wire.apps import Steps
from tests.wire.harness import Loop, Server, Wire
from tests.wire.test_connection import UPLOAD
from tests.wire.test_responses import GET


class Logged(AccessLogMiddleware):
    """An application with an access log, as the gateway is one."""

    def __init__(self, **options: Any) -> None:
        self.lines: list[str] = []
        self.steps = Steps()
        super().__init__(self.steps, write=self.lines.append, **options)

    def on_refused(self, scope: Any, error: GatewayError) -> None:
        self.refused(scope, error.status, error.flag)

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def app() -> Logged:
    return Logged(format="json")


@pytest.fixture
def wire(loop: Loop, app: Logged) -> Wire:
    return Server(loop, app).connect()


TOLD: list[tuple[bytes, int, str, str, str]] = [
    (b"GET /a?b HTTP/1.1\r\n\r\n", 400, "DPE", "GET", "/a?b"),
    (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, "DPE", "POST", "/a"),
    (b"GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "DPE", "-", "-"),
    (b"nonsense\r\n\r\n", 400, "DPE", "-", "-"),
    (b"\x16\x03\x01\x02\x00", 400, "DPE", "-", "-"),
    (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 501, "DPE", "CONNECT", "a:80"),
    (b"GET /" + b"a" * 17_000, 414, "DPE", "GET", "/" + "a" * (MAX_REFUSED - 1)),
    (b"GET /a HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * 101 + b"\r\n", 431, "DPE", "GET", "/a"),
    (b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "DPE", "GET", "/a"),
]


@pytest.mark.parametrize(("data", "status", "flag", "method", "target"), TOLD)
def test_a_refusal_is_told_as_far_as_it_is_known(
    wire: Wire, app: Logged, data: bytes, status: int, flag: str, method: str, target: str
) -> None:
    wire.feed(data)
    assert wire.output.startswith(b"HTTP/1.1 %d " % status)
    (line,) = app.objects
    assert (line["DownstreamStatus"], line["ResponseFlags"]) == (status, flag)
    assert (line["RequestMethod"], line["RequestPath"]) == (method, target)
    assert line["ClientHost"] == "192.0.2.7"


def test_a_head_that_takes_too_long_is_told(wire: Wire, app: Logged, loop: Loop) -> None:
    wire.feed(b"GET /slow HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nY: ")
    loop.advance(HEAD_TIMEOUT + 1)
    (line,) = app.objects
    assert (line["DownstreamStatus"], line["ResponseFlags"]) == (408, "SI")
    assert (line["RequestMethod"], line["RequestPath"], line["RequestHost"]) == ("GET", "/slow", "a")


WEBSOCKET = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize("request_", [GET, WEBSOCKET], ids=["request", "websocket"])
def test_one_connection_too_many_is_told(loop: Loop, app: Logged, request_: bytes) -> None:
    server = Server(loop, app, limit_concurrency=1, ws="auto")
    server.connect()
    wire = server.connect()
    wire.feed(request_)
    assert wire.output.startswith(b"HTTP/1.1 503 ")
    (line,) = app.objects
    assert (line["DownstreamStatus"], line["RequestMethod"], line["RequestHost"]) == (503, "GET", "a")


def test_a_later_request_has_its_own_line(wire: Wire, app: Logged) -> None:
    wire.feed(GET + b"GET /b HTTP/1.0 x\r\n\r\n")
    assert [line["DownstreamStatus"] for line in app.objects] == [400]
    app.steps.calls[0].answer()
    assert [line["DownstreamStatus"] for line in app.objects] == [400, 200]


def test_the_body_of_a_later_request_is_its_own(wire: Wire, app: Logged) -> None:
    wire.feed(GET + b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx")
    (line,) = app.objects
    assert (line["DownstreamStatus"], line["RequestMethod"], line["RequestPath"]) == (400, "POST", "/b")


@pytest.mark.parametrize("data", [UPLOAD, UPLOAD + b"x"])
def test_a_request_that_the_application_has_is_its_own_to_tell(
    wire: Wire, app: Logged, loop: Loop, data: bytes
) -> None:
    """… whatever becomes of its body."""
    wire.feed(data)
    loop.advance(BODY_TIMEOUT + 1)
    assert wire.output.count(b"HTTP/1.1 408") == 1
    assert not app.lines
    app.steps.calls[0].finish()
    assert len(app.lines) == 1


@pytest.mark.parametrize("data", [b"", GET])
def test_who_leaves_or_says_nothing_is_not_refused(wire: Wire, app: Logged, loop: Loop, data: bytes) -> None:
    wire.feed(data)
    for call in app.steps.calls:
        call.answer()
    loop.advance(HEAD_TIMEOUT + 1)
    assert wire.lost
    assert len(app.lines) == bool(data)


def test_no_byte_of_it_can_break_a_line_or_fill_the_log(loop: Loop) -> None:
    app = Logged(format="common")
    wire = Server(loop, app).connect()
    wire.feed(b'GET /"\\ HTTP/1.1\r\nUser-Agent: "\\' + b"\xff" * 60_000 + b"\r\nReferer: a\tb\r\n\r\n")
    (line,) = app.lines
    assert line.isascii()
    assert line.isprintable()
    assert line.count('"') == 10
    assert len(line) < 10 * MAX_REFUSED


def test_however_much_follows_there_is_one_line(wire: Wire, app: Logged) -> None:
    wire.feed(*[b"bad\r\n\r\n"] * 100)
    assert len(app.lines) == 1
