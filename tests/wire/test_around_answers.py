"""What comes before an answer and behind a body, from end to end: interim answers and trailers.

Each holds where the answer goes from connection to connection, and where somebody on the way listens to messages.
"""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.backend import Upstream
from app.listeners.cycle import Cycle
from app.rule import serve
from app.upstream.endpoints import Endpoints
from app.upstream.resolver import Resolver
from app.upstream.transport import UpstreamTransport
from middleware.answer import CYCLE
from middleware.errors import ErrorMiddleware
from middleware.scope import TARGET_PATH
from routes.graph.nodes import Address, BackendProtocol
from routes.resources.http import HTTPRouteRetry, HTTPRouteTimeouts
from routes.resources.meta import Key
from routes.table.types import Backend, Rule
from tests.wire.harness import Loop, Server, Wire, undated
from tests.wire.http2 import (
    DATA,
    END_STREAM,
    HEADERS,
    NO_SETTINGS,
    PREFACE,
    RST,
    WINDOW,
    data,
    headers,
    literal,
    request,
    rst,
    split_frames,
    window,
)  # fmt: skip
from tests.wire.http2 import OK as OK2
from tests.wire.test_upstream_http2 import Backend as Http2Backend

OK = b"HTTP/1.1 200 OK\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_TRAILERS = b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n"
POST_TRAILERS = b"POST / HTTP/1.1\r\nHost: a\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n"
ROUTE = Key("gateway.networking.k8s.io", "HTTPRoute", "default", "r")
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"


class Rig:
    """A gateway between clients and one backend, which the test plays.

    ``listened``: a middleware hears messages. ``rule``: what else the rule asks for.
    """

    def __init__(self, loop: Loop, protocol: BackendProtocol, *, listened: bool = False, **rule: Any) -> None:
        self.loop = loop
        self.messages: list[Message] = []
        app = loop.run(self._make(protocol, rule))
        self.app = self._listening(app) if listened else app
        self.server = Server(loop, self.app)
        self._http2: Http2Backend | None = None

    async def _make(self, protocol: BackendProtocol, rule: dict[str, Any]) -> ASGIApp:
        backend = Backend("b", 1, (Address("192.0.2.9", 80),), protocol=protocol)
        transport = UpstreamTransport()
        proxy = serve(Rule(ROUTE, 0, (backend,), **rule), Upstream(transport, Endpoints(Resolver(60), transport)))

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope[TARGET_PATH] = scope["raw_path"]
            await proxy(scope, receive, send)

        return ErrorMiddleware(app)

    def _listening(self, app: ASGIApp) -> ASGIApp:
        async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
            async def listen(message: Message) -> None:
                self.messages.append(message)
                await send(message)

            await app(scope, receive, listen)

        return middleware

    def client(self, *pieces: bytes) -> Wire:
        wire = self.server.connect()
        wire.feed(*pieces)
        return wire

    @property
    def backend(self) -> Wire:
        return self.loop.wires[-1]

    @property
    def http2(self) -> Http2Backend:
        if self._http2 is None:
            self._http2 = Http2Backend(self.backend)
            self._http2.feed(NO_SETTINGS)
        return self._http2

    def asgi(self, scope: dict[str, Any], *received: Message) -> list[Message]:
        """What another server's application call gets as its answer; more is only received when it has left."""
        sent: list[Message] = []
        queue = list(received)

        async def receive() -> Message:
            if not queue:
                await self.loop.create_future()
            return queue.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        whole = {
            "type": "http", "http_version": "1.1", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"",
            "headers": [(b"host", b"a")], **scope,
        }  # fmt: skip
        self.loop.create_task(self.app(whole, receive, send))  # type: ignore[arg-type]  # the call is a coroutine
        self.loop.settle()
        return sent


WAYS: dict[str, dict[str, Any]] = {
    "direct": {},
    "listened to": {"listened": True},
    "with retries": {"retry": HTTPRouteRetry(codes=(503,))},
    "with a time": {"timeouts": HTTPRouteTimeouts(request="10s", backend_request="10s")},
}


@pytest.fixture(params=list(WAYS))
def make(loop: Loop, request: pytest.FixtureRequest) -> Callable[[BackendProtocol], Rig]:
    return lambda protocol: Rig(loop, protocol, **WAYS[request.param])


@pytest.fixture
def rig(make: Callable[[BackendProtocol], Rig]) -> Rig:
    return make(BackendProtocol.HTTP)


@pytest.fixture
def rig2(make: Callable[[BackendProtocol], Rig]) -> Rig:
    return make(BackendProtocol.H2C)


# Before an answer: RFC 9110 §15.2, RFC 8297


def test_hints_come_before_the_answer_does(rig: Rig) -> None:
    wire = rig.client(GET)
    rig.backend.feed(HINT)
    assert wire.output == b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    rig.backend.feed(HINT + EMPTY)
    assert wire.output.count(b"HTTP/1.1 103") == 2
    assert undated(wire.output).endswith(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


def test_hints_of_an_http2_backend(rig2: Rig) -> None:
    wire = rig2.client(GET)
    rig2.http2.feed(headers(1, literal((b":status", b"103"), (b"link", b"x"))))
    assert wire.output == b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    rig2.http2.feed(headers(1, OK2, end=True))
    assert wire.output.count(b"HTTP/1.1 200") == 1


def test_no_hints_for_http_1_0(rig: Rig) -> None:
    wire = rig.client(GET.replace(b"1.1", b"1.0"))
    rig.backend.feed(HINT + EMPTY)
    assert wire.output.startswith(b"HTTP/1.1 200 OK\r\n")


def test_hints_are_not_kept_for_a_client_that_does_not_read(loop: Loop) -> None:
    """… for a backend could make them large."""
    rig = Rig(loop, BackendProtocol.HTTP)
    wire = rig.client(GET)
    wire.reading = False
    rig.backend.feed(HINT.replace(b"Link: x", b"Link: " + b"x" * 60_000) * 30 + EMPTY)
    while wire.waiting:
        wire.take()
    assert wire.largest_wait < 130_000
    assert 1 < wire.output.count(b"HTTP/1.1 103") < 30
    assert wire.output.count(b"HTTP/1.1 200") == 1


def test_100_comes_once_and_only_where_it_was_asked_for(rig: Rig) -> None:
    wire = rig.client(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    rig.backend.feed(HINT + b"HTTP/1.1 100 Continue\r\n\r\n" * 2)
    assert wire.output == b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    wire.feed(b"hi")
    rig.backend.feed(EMPTY)
    assert wire.output.count(b"HTTP/1.1 100") == 1


def test_another_server_gets_hints_as_its_extension_has_them(loop: Loop) -> None:
    rig = Rig(loop, BackendProtocol.HTTP)
    offered = rig.asgi({"extensions": {"http.response.early_hint": {}}}, {"type": "http.request"})
    rig.backend.feed(b"HTTP/1.1 102 Processing\r\n\r\n" + HINT)
    assert offered == [{"type": "http.response.early_hint", "links": [b"x"]}]
    rig.backend.feed(EMPTY)
    assert [message["type"] for message in offered[1:]] == ["http.response.start", "http.response.body"]


def test_another_server_that_takes_no_hints_gets_none(loop: Loop) -> None:
    rig = Rig(loop, BackendProtocol.HTTP)
    sent = rig.asgi({"extensions": None}, {"type": "http.request"})
    rig.backend.feed(HINT + EMPTY)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


# Behind an answer: RFC 9110 §6.5

TRAILERS = b"Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nhi\r\n0\r\nX: 1\r\nCookie: c\r\n\r\n"


def test_trailers_of_an_answer(rig: Rig) -> None:
    wire = rig.client(GET_TRAILERS)
    assert b"\r\nte: trailers\r\nconnection: te\r\n" in rig.backend.output
    rig.backend.feed(OK + TRAILERS)
    assert undated(wire.output) == (
        OK + b"transfer-encoding: chunked\r\ntrailer: X\r\n\r\n2\r\nhi\r\n0\r\nx: 1\r\n\r\n"
    )
    assert wire.state == "open"


def test_no_trailers_for_who_does_not_take_them(rig: Rig) -> None:
    wire = rig.client(GET)
    rig.backend.feed(OK + TRAILERS)
    assert undated(wire.output) == OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"


def test_trailers_of_an_http2_backend(rig2: Rig) -> None:
    wire = rig2.client(GET_TRAILERS)
    rig2.http2.feed(headers(1, OK2) + data(1, b"hi"))
    rig2.http2.feed(headers(1, literal((b"grpc-status", b"0"), (b"content-length", b"2")), end=True))
    assert wire.output.endswith(b"\r\n\r\n2\r\nhi\r\n0\r\ngrpc-status: 0\r\n\r\n")
    assert wire.state == "open"


def test_trailers_alone(rig2: Rig) -> None:
    wire = rig2.client(GET_TRAILERS)
    rig2.http2.feed(headers(1, OK2) + headers(1, literal((b"grpc-status", b"5")), end=True))
    assert wire.output.endswith(b"\r\n\r\n0\r\ngrpc-status: 5\r\n\r\n")


def test_trailers_that_have_no_place(rig2: Rig) -> None:
    """… behind an answer of known length, of which HTTP/1.1 says no more when it has ended."""
    wire = rig2.client(GET_TRAILERS)
    rig2.http2.feed(headers(1, OK2 + literal((b"content-length", b"2"))) + data(1, b"hi"))
    rig2.http2.feed(headers(1, literal((b"x", b"1")), end=True))
    assert wire.output.endswith(b"\r\n\r\nhi")
    assert wire.state == "open"


@pytest.mark.parametrize("version", ["2", "3"])
def test_another_server_gets_trailers_as_its_extension_has_them(loop: Loop, version: str) -> None:
    rig = Rig(loop, BackendProtocol.HTTP)
    scope = {"extensions": {"http.response.trailers": {}}, "http_version": version}
    sent = rig.asgi(scope, {"type": "http.request"})
    rig.backend.feed(OK + TRAILERS)
    start, *_, last = sent
    assert start["trailers"] is True
    assert (b"trailer", b"X") in start["headers"]
    assert last == {"type": "http.response.trailers", "headers": [(b"x", b"1")], "more_trailers": False}


def test_an_application_sends_trailers_and_hints(loop: Loop) -> None:
    """Our own server takes ASGI's extensions from any application."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert set(scope["extensions"]) >= {"http.response.trailers", "http.response.early_hint"}
        await send({"type": "http.response.early_hint", "links": [b"x"]})
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"hi"})
        await send({"type": "http.response.trailers", "headers": [(b"A", b"1")], "more_trailers": True})
        await send({"type": "http.response.trailers", "headers": [(b"B", b"2")]})

    server = Server(loop, app)
    wire = server.connect()
    wire.feed(GET_TRAILERS)
    assert undated(wire.output) == (
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK
        + b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\na: 1\r\nb: 2\r\n\r\n"
    )  # fmt: skip
    wire.feed(GET)
    assert wire.output.endswith(b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n")


@pytest.mark.parametrize("kind", ["http.response.early_hint", "http.response.trailers"])
def test_a_line_break_in_them_breaks_nothing_else(loop: Loop, kind: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if kind == "http.response.early_hint":
            await send({"type": kind, "links": [b"x\r\ny: z"]})
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"hi"})
        await send({"type": kind, "headers": [(b"a", b"x\r\ny: z")]})

    wire = Server(loop, app).connect()
    wire.feed(GET_TRAILERS)
    assert b"y: z" not in wire.output
    assert wire.state in ("aborted", "ending")


# Behind a request


def test_trailers_of_a_request(rig: Rig) -> None:
    rig.client(POST_TRAILERS + b"2\r\nhi\r\n0\r\nX: 1\r\nHost: b\r\nX-Forwarded-For: c\r\n\r\n")
    assert b"\r\ntrailer: X\r\n" in rig.backend.output
    assert rig.backend.output.endswith(b"\r\n\r\n2\r\nhi\r\n0\r\nx: 1\r\n\r\n")


def test_trailers_of_a_request_to_an_http2_backend(rig2: Rig) -> None:
    rig2.client(POST_TRAILERS + b"2\r\nhi\r\n0\r\nX: 1\r\nHost: b\r\n\r\n")
    head, body, trailers = rig2.http2.frames()
    assert head[0] == HEADERS
    assert body == (DATA, 0, 1, b"hi")
    assert trailers == (HEADERS, 5, 1, literal((b"x", b"1")))


# Bodies that only frames delimit: RFC 9113 §8.1.1


def test_a_body_without_a_length_over_http2(loop: Loop) -> None:
    rig = Rig(loop, BackendProtocol.HTTP)
    body = {"type": "http.request", "body": b"hi", "more_body": True}
    rig.asgi({"http_version": "2", "method": "POST"}, body, {"type": "http.request", "body": b"!"})
    assert rig.backend.output.endswith(b"\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n")


def test_a_body_without_a_length_from_http2_to_http2(loop: Loop) -> None:
    rig = Rig(loop, BackendProtocol.H2C)
    rig.asgi({"http_version": "2", "method": "POST"}, {"type": "http.request", "body": b"hi"})
    assert [each[:2] for each in rig.http2.frames()] == [(HEADERS, 4), (DATA, 0), (DATA, END_STREAM)]


@pytest.mark.parametrize("fields", [[], [(b"content-length", b"0")]])
def test_no_body_over_http2(loop: Loop, fields: list[tuple[bytes, bytes]]) -> None:
    rig = Rig(loop, BackendProtocol.HTTP)
    rig.asgi({"http_version": "2", "headers": [(b"host", b"a"), *fields]}, {"type": "http.request"})
    assert b"transfer-encoding" not in rig.backend.output
    assert rig.backend.output.endswith(b"\r\n\r\n")


def test_our_own_server_knows_whether_there_is_a_body(loop: Loop) -> None:
    """… over HTTP/2, from the request's first frame."""
    rig = Rig(loop, BackendProtocol.HTTP)
    seen: list[Cycle] = []

    async def over_http2(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope[CYCLE])
        scope["http_version"] = "2"
        scope["headers"] = [(b"host", b"a")]
        await rig.app(scope, receive, send)

    server = Server(loop, over_http2)
    server.connect().feed(POST_TRAILERS + b"2\r\nhi\r\n")
    assert b"\r\ntransfer-encoding: chunked\r\n" in rig.backend.output
    server.connect().feed(GET)
    assert len(loop.wires) == 2
    assert b"transfer-encoding" not in rig.backend.output
    assert [cycle.request_complete for cycle in seen] == [False, True]


# From HTTP/2 to HTTP/2, as gRPC is


def over_http2(rig: Rig, *fields: tuple[bytes, bytes]) -> "Http2Client":
    """A client that has begun a POST on stream 1; what it gets is read frame by frame."""
    wire = rig.client(PREFACE + NO_SETTINGS + headers(1, request((b"te", b"trailers"), *fields, method=b"POST")))
    return Http2Client(wire)


class Http2Client(Http2Backend):
    """The test's end of a client's connection, which begins without a preface."""

    def frames(self) -> list[tuple[int, int, int, bytes]]:
        output, self._seen = self.wire.output[self._seen :], len(self.wire.output)
        return [each for each in split_frames(output) if each[0] in (DATA, HEADERS)]


def test_both_directions_at_once(rig2: Rig) -> None:
    client = over_http2(rig2, (b"grpc-timeout", b"1S"))
    client.feed(data(1, b"a"))
    head, first = rig2.http2.frames()
    assert b"\x0cgrpc-timeout\x021S" in head[3]
    assert b"\x02te\x08trailers" in head[3]
    assert first == (DATA, 0, 1, b"a")
    rig2.http2.feed(headers(1, OK2) + data(1, b"A"))
    assert [each[:2] + each[3:] for each in client.frames()[1:]] == [(DATA, 0, b"A")]
    client.feed(data(1, b"b"))
    assert rig2.http2.frames() == [(DATA, 0, 1, b"b")]
    rig2.http2.feed(data(1, b"B"))
    assert [each[:2] + each[3:] for each in client.frames()] == [(DATA, 0, b"B")]
    client.feed(data(1, end=True))
    assert rig2.http2.frames() == [(DATA, END_STREAM, 1, b"")]
    rig2.http2.feed(headers(1, literal((b"grpc-status", b"0")), end=True))
    [(kind, flags, _, block)] = client.frames()
    assert (kind, flags & END_STREAM) == (HEADERS, END_STREAM)
    assert b"grpc-status\x010" in block


def test_an_answer_of_nothing_but_a_head(rig2: Rig) -> None:
    client = over_http2(rig2)
    client.feed(data(1, b"a", end=True))
    assert [each[:2] for each in rig2.http2.frames()] == [(HEADERS, 4), (DATA, 0), (DATA, END_STREAM)]
    rig2.http2.feed(headers(1, OK2 + literal((b"grpc-status", b"5")), end=True))
    frames = client.frames()
    assert b"grpc-status\x015" in frames[0][3]
    assert frames[-1][1] & END_STREAM


def test_a_client_that_resets_its_stream_takes_the_backends_with_it(rig2: Rig) -> None:
    client = over_http2(rig2)
    rig2.http2.frames()
    client.feed(rst(1))
    assert rig2.http2.frames() == [(RST, 0, 1, b"\0\0\0\x08")]
    assert (client.wire.state, rig2.backend.state) == ("open", "open")


def test_a_backend_that_resets_its_stream_takes_the_clients_with_it(rig2: Rig) -> None:
    client = over_http2(rig2)
    rig2.http2.feed(headers(1, OK2) + data(1, b"half"))
    client.frames()
    rig2.http2.feed(rst(1, 2))
    assert split_frames(client.wire.output)[-1][:3] == (RST, 0, 1)
    assert client.wire.state == "open"


def test_a_slow_client_stops_only_its_own_stream_of_the_backend(rig2: Rig) -> None:
    slow = over_http2(rig2)
    quick = rig2.client(GET)
    rig2.http2.feed(headers(1, OK2) + headers(3, OK2))
    for _ in range(16):
        rig2.http2.feed(data(1, b"x" * 2**14))
    rig2.http2.frames()
    rig2.http2.feed(data(3, b"hi", end=True))
    assert quick.output.endswith(b"2\r\nhi\r\n0\r\n\r\n")
    assert sum(len(each[3]) for each in slow.frames() if each[0] == DATA) == 65_535
    slow.feed(window(0, 2**20) + window(1, 2**20))
    rig2.loop.settle()
    assert any(each[:3] == (WINDOW, 0, 1) for each in rig2.http2.frames()), "the backend may go on"
