"""A client's bytes at one end, a backend's at the other, and between them all that a rule does."""

import asyncio
from collections.abc import Callable

import pytest
from starlette.types import Receive, Scope, Send

from app.backend import Upstream
from app.direct import FAILURE
from app.listeners.cycle import Cycle
from app.proxy import RuleProxy
from app.upstream import exchange
from app.upstream.endpoints import Endpoints
from app.upstream.resolver import Resolver
from app.upstream.transport import UpstreamTransport
from middleware.errors import ErrorMiddleware
from middleware.scope import TARGET_PATH
from routes.graph.nodes import Address
from routes.resources.meta import Key
from routes.table.types import Backend, Rule
from tests.wire.harness import Loop, Server, Wire, cuts, undated
from tests.wire.test_requests import REFUSED

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_TRAILERS = b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip;q=0.5, Trailers\r\nConnection: te\r\n\r\n"
POST_CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class OneRule(ErrorMiddleware):
    """An application that is a rule, and forwards what it can on the spot, as the gateway does."""

    proxy: RuleProxy

    def at_once(self, cycle: Cycle) -> bool:
        scope = cycle.scope
        if FAILURE in scope:
            return False
        scope[TARGET_PATH] = scope["raw_path"]
        return self.proxy.at_once(cycle, scope["headers"], None)


def gateway(host: str = "192.0.2.9", port: int = 80) -> OneRule:
    """One rule for everything, with one endpoint. Must be made in the event loop that it is to run in."""
    rule = Rule(
        Key("gateway.networking.k8s.io", "HTTPRoute", "default", "r"), 0, (Backend("b", 1, (Address(host, port),)),)
    )
    transport = UpstreamTransport()
    proxy = RuleProxy(rule, Upstream(transport, Endpoints(Resolver(60), transport)))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if FAILURE in scope:
            raise scope[FAILURE]
        scope[TARGET_PATH] = scope["raw_path"]
        await proxy(scope, receive, send)

    one = OneRule(app)
    one.proxy = proxy
    return one


#: Fields whose names an underscore makes look like others stay themselves: only the forwarded ones are watched over.
MANY = b"".join(b"x_%d: %b\r\n" % (index, b"y" * (500 + index)) for index in range(98)) + b"z: 1\r\n"


class Between:
    """A gateway between clients and backends that the test plays."""

    #: Whether there is an idle connection already, so that a request without a body is forwarded on the spot.
    ready = False

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.server = Server(loop, loop.run(self._make()))
        if self.ready:
            before = self.client(GET)
            self.backend().feed(EMPTY)
            self.backend().written.clear()
            before.lose()

    async def _make(self) -> OneRule:
        return gateway()

    def client(self, *pieces: bytes) -> Wire:
        wire = self.server.connect()
        wire.feed(*pieces)
        return wire

    def backend(self, number: int = -1) -> Wire:
        return self.loop.wires[number]


@pytest.fixture(autouse=True, params=[False, True], ids=["connecting", "on the spot"])
def ready(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """All of it holds either way."""
    monkeypatch.setattr(Between, "ready", request.param)
    return bool(request.param)


connecting = pytest.mark.parametrize("ready", [False], indirect=True, ids=["connecting"])


@pytest.fixture
def between(loop: Loop) -> Between:
    return Between(loop)


def passed(client: bytes, backend: bytes) -> Callable[[Loop], tuple[bytes, bytes]]:
    """Runs both through a gateway; gives what the backend got and what the client got."""

    def run(loop: Loop) -> tuple[bytes, bytes]:
        between = Between(loop)
        wire = between.client(client)
        between.backend().feed(backend)
        return between.backend().output, undated(wire.output)

    return run


# Requests on their way: RFC 9110 §7.6


REQUESTS: list[tuple[str, bytes, bytes]] = [
    (
        "as it came",
        b"GET /a%2Fb/./c?d=%20 HTTP/1.1\r\nHost: a:80\r\nX-A: B  c\r\nX-A: d\r\n\r\n",
        b"GET /a%2Fb/./c?d=%20 HTTP/1.1\r\nhost: a:80\r\nx-a: B  c\r\nx-a: d\r\n\r\n",
    ),
    *[
        (
            f"without {name}",
            f"GET / HTTP/1.1\r\nHost: a\r\n{name}: x\r\nY: z\r\n\r\n".encode(),
            b"GET / HTTP/1.1\r\nhost: a\r\ny: z\r\n\r\n",
        )
        for name in ("Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Trailer", "Upgrade")
    ],
    (
        "without what Connection names",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B: 2\r\nConnection: x-b, X-C\r\nX-C: 3\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx-a: 1\r\n\r\n",
    ),
    (
        "without what the second Connection names",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nX-B: 2\r\nConnection: x-b\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "with what backends decide on, although Connection names it",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: 1\r\nCookie: c\r\nConnection: host, x-real-ip, cookie\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx-real-ip: 1\r\ncookie: c\r\n\r\n",
    ),
    *[
        (
            f"with {name}, although Connection names it",
            f"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, {name.upper()}\r\n{name}: 1\r\n\r\n".encode(),
            f"GET / HTTP/1.1\r\nhost: a\r\n{name}: 1\r\n\r\n".encode(),
        )
        for name in (
            *(
                "authorization",
                "x-forwarded-for",
                "x-forwarded-proto",
                "forwarded",
                "via",
                "origin",
                "if-match",
                "range",
            ),
            *(
                "cache-control",
                "accept-encoding",
                "sec-fetch-site",
                "traceparent",
                "x-request-id",
                "user-agent",
                "date",
            ),
        )
    ],
    (
        "with empty values and bytes beyond ASCII in others (RFC 9110 §5.5)",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A:\r\nX-B: caf\xc3\xa9 \xff\r\nX-C: \t \r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx-a: \r\nx-b: caf\xc3\xa9 \xff\r\nx-c: \r\n\r\n",
    ),
    (
        "with as many fields as may be, and long ones",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + MANY + b"\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n" + MANY + b"\r\n",
    ),
    (
        "with its length, although Connection names it",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: content-length\r\n\r\nhi",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi",
    ),
    (
        "in chunks, although Connection names their field",
        POST_CHUNKED.replace(b"Host", b"Connection: transfer-encoding\r\nHost") + b"2\r\nhi\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
    (
        "of HTTP/1.0 as of HTTP/1.1",
        b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    ),
    (
        "of HTTP/1.0 without a host to the endpoint's",
        b"GET / HTTP/1.0\r\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: y\r\nhost: 192.0.2.9\r\n\r\n",
    ),
    (
        "with the host of an absolute target",
        b"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /x HTTP/1.1\r\nhost: b\r\n\r\n",
    ),
    ("of the whole server", b"OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nhost: b\r\n\r\n"),
    (
        "with a length",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 005\r\n\r\nhello",
    ),
    (
        "with length 0",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "with an empty body in chunks",
        POST_CHUNKED + b"0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "without extensions and trailers",
        POST_CHUNKED + b"2;x=y\r\nhi\r\n0\r\nHost: evil\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
    (
        "with a body, but not to another protocol",
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, X\r\nUpgrade: h2c\r\nX: z\r\nContent-Length: 2\r\n\r\nhi",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi",
    ),
]


@pytest.mark.parametrize(("sent", "got"), [pytest.param(sent, got, id=name) for name, sent, got in REQUESTS])
def test_a_request_is_passed_on(loop: Loop, sent: bytes, got: bytes) -> None:
    assert passed(sent, EMPTY)(loop)[0] == got


@connecting
@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data, _ in REFUSED])
def test_nothing_whole_is_passed_on_of(loop: Loop, data: bytes) -> None:
    """… a request that is refused, however it is cut: what a backend has got by then it cannot take for a request."""
    between = Between(loop)
    for pieces in cuts(data):
        wire = between.client(*pieces)
        assert wire.state == "ending"
        wire.lose()
        for backend in loop.wires:
            assert backend.state == "aborted"
            assert backend.output.count(b"\r\n\r\n") == 1, "a head, of which the body has no end"
            assert b"transfer-encoding: chunked" in backend.output
            assert not backend.output.endswith(b"0\r\n\r\n")
        loop.wires.clear()


# Answers on their way


ANSWERS: list[tuple[str, bytes, bytes, bytes]] = [
    (
        "as it came",
        GET,
        b"HTTP/1.1 404 Nowhere\r\nX-A: B  c\r\nX-A: d\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 404 Not Found\r\nx-a: B  c\r\nx-a: d\r\ncontent-length: 2\r\n\r\nno",
    ),
    (
        "with each Set-Cookie",
        GET,
        OK + b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n",
    ),
    *[
        (
            f"without {name}",
            GET,
            OK + f"{name}: x\r\nY: z\r\nContent-Length: 0\r\n\r\n".encode(),
            b"HTTP/1.1 200 OK\r\ny: z\r\ncontent-length: 0\r\n\r\n",
        )
        for name in ("Connection", "Keep-Alive", "Proxy-Authenticate", "Trailer", "Upgrade")
    ],
    (
        "without what Connection names",
        GET,
        OK + b"Connection: x-b\r\nX-B: 1\r\nX-C: 2\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-c: 2\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "with what is for the client, although Connection names it",
        GET,
        OK + b"Connection: set-cookie, vary, strict-transport-security, x-y\r\nSet-Cookie: a\r\nVary: b\r\nX-Y: z\r\n"
        b"Strict-Transport-Security: c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nset-cookie: a\r\nvary: b\r\nstrict-transport-security: c\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "with fields of the backend's own, none of ours beside them",
        GET,
        OK + b"Server: x/1\r\nVia: 1.0 y\r\nX-A:\r\nX-B: caf\xc3\xa9 \xff\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nserver: x/1\r\nvia: 1.0 y\r\nx-a: \r\nx-b: caf\xc3\xa9 \xff\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "with as many fields as a backend sends, and long ones",
        GET,
        OK + MANY * 4 + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + MANY * 4 + b"content-length: 0\r\n\r\n",
    ),
    (
        "without the end of the backend's connection",
        GET,
        OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "in chunks",
        GET,
        OK + b"Transfer-Encoding: chunked\r\n\r\n2;x\r\nhi\r\n0\r\nX: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ),
    (
        "in chunks, but not to HTTP/1.0",
        b"GET / HTTP/1.0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhi",
    ),
    (
        "to HEAD",
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        OK + b"Content-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
    ),
    ("204", GET, b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
    (
        "205",
        GET,
        b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "304 in chunks that do not come",
        GET,
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\nETag: x\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n",
    ),
    (
        "to HEAD, in chunks that do not come",
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ),
    (
        "304",
        GET,
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
    ),
    (
        "behind interim answers",
        GET,
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\nConnection: y\r\nY: z\r\n\r\nHTTP/1.1 150 Odd\r\n\r\n" + EMPTY,
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 150 \r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "without interim answers to HTTP/1.0",
        b"GET / HTTP/1.0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + EMPTY,
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    ),
    (
        "without a 100 that nobody asked for",
        GET,
        b"HTTP/1.1 100 Continue\r\n\r\n" + EMPTY,
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "with trailers, for who takes them",
        GET_TRAILERS,
        OK + b"Trailer: X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: 1\r\nContent-Type: x\r\n"
        b"Set-Cookie: a\r\nX-Forwarded-For: b\r\nY: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: X\r\n\r\n2\r\nhi\r\n0\r\nx: 1\r\ny: 2\r\n\r\n",
    ),
    (
        "without trailers that it has no place for",
        GET_TRAILERS.replace(b"1.1", b"1.0"),
        OK + b"Trailer: X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhi",
    ),
]


@pytest.mark.parametrize(
    ("request_", "sent", "got"), [pytest.param(asked, sent, got, id=name) for name, asked, sent, got in ANSWERS]
)
def test_an_answer_is_passed_on(loop: Loop, request_: bytes, sent: bytes, got: bytes) -> None:
    assert passed(request_, sent)(loop)[1] == got


def test_the_backends_date_is_the_only_one(between: Between) -> None:
    wire = between.client(GET)
    between.backend().feed(OK + b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n")
    assert wire.output.lower().count(b"\r\ndate:") == 1
    assert b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" in wire.output


def test_a_body_until_the_end_of_the_connection_becomes_one_in_chunks(between: Between) -> None:
    wire = between.client(GET)
    between.backend().feed(OK + b"\r\nabc", b"de")
    between.backend().feed_eof()
    assert wire.output.endswith(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert wire.state == "open"


def test_the_head_goes_on_before_there_is_a_body(between: Between) -> None:
    """A stream of events may be silent for long, and its client has to know that it is there."""
    wire = between.client(GET)
    between.backend().feed(OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert undated(wire.output) == OK + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    between.loop.advance(3600)
    between.backend().feed(b"6\r\ndata\n\n\r\n")
    assert wire.output.endswith(b"6\r\ndata\n\n\r\n")
    assert wire.state == "open"


def test_a_small_answer_is_one_write(between: Between) -> None:
    wire = between.client(GET)
    between.backend().feed(OK + b"Content-Length: 2\r\n\r\nhi")
    assert len(wire.written) == 1


def test_requests_in_a_row_are_answered_in_theirs(between: Between) -> None:
    wire = between.client(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(3)))
    for number in range(3):
        assert between.backend().output.count(b"GET") == number + 1
        between.backend().feed(OK + b"Content-Length: 1\r\n\r\n%d" % number)
    assert [part[:1] for part in wire.output.split(b"\r\n\r\n")[1:]] == [b"0", b"1", b"2"]
    assert len(between.loop.wires) == 1


# Expect: 100-continue


def expecting(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n" % size


def test_100_comes_from_the_backend(between: Between) -> None:
    wire = between.client(expecting(2))
    assert between.backend().output.endswith(b"\r\nexpect: 100-continue\r\n\r\n")
    assert wire.output == b""
    between.backend().feed(CONTINUE)
    assert wire.output == CONTINUE
    wire.feed(b"hi")
    assert between.backend().output.endswith(b"\r\n\r\nhi")
    between.backend().feed(EMPTY)
    assert wire.output.count(b"HTTP/1.1 200") == 1
    assert (wire.state, between.backend().state) == ("open", "open")


def test_a_backend_that_says_nothing_gets_the_body_all_the_same(between: Between) -> None:
    wire = between.client(expecting(2))
    between.loop.advance(exchange.CONTINUE_TIMEOUT + 0.5)
    assert wire.output == CONTINUE
    wire.feed(b"hi")
    assert between.backend().output.endswith(b"\r\n\r\nhi")


def test_a_refusal_instead_of_100_reaches_the_client_without_one(between: Between) -> None:
    wire = between.client(expecting(1_000_000))
    between.backend().feed(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
    assert undated(wire.output).startswith(b"HTTP/1.1 417 Expectation Failed\r\n")
    assert b"\r\nconnection: close\r\n" in wire.output
    assert CONTINUE not in wire.output
    assert between.backend().lost


# Early answers


@pytest.mark.parametrize("size", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
def test_an_early_answer_ends_an_upload(between: Between, size: bytes) -> None:
    wire = between.client(b"POST / HTTP/1.1\r\nHost: a\r\n" + size + b"\r\n\r\n")
    wire.feed(b"5\r\nhello\r\n" if b"chunked" in size else b"hello")
    between.backend().feed(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
    assert wire.output.endswith(b"\r\n\r\nbig")
    assert between.backend().lost
    wire.feed(b"5\r\nhello\r\n0\r\n\r\n" if b"chunked" in size else b"x" * (1_000_000 - 5))
    wire.feed(GET)
    assert len(between.loop.wires) == 2, "the next request is served, on another connection"


# What breaks off


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_an_answer_that_breaks_off_is_broken_for_the_client(between: Between, framing: bytes, reset: bool) -> None:
    wire = between.client(GET)
    between.backend().feed(OK + framing + b"\r\n\r\n" + (b"3\r\nabc\r\n" if b"chunked" in framing else b"abc"))
    if reset:
        between.backend().lose(ConnectionResetError())
    else:
        between.backend().feed_eof()
    assert wire.state == "aborted"
    assert not wire.output.endswith(b"0\r\n\r\n")


def test_a_bad_chunk_breaks_the_clients_answer(between: Between) -> None:
    wire = between.client(GET)
    between.backend().feed(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n")
    assert wire.state == "aborted"
    assert not wire.output.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 2", b"garbage\r\n\r\n", OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"]
)
def test_a_bad_answer_is_502(between: Between, data: bytes) -> None:
    wire = between.client(GET)
    between.backend().feed(data)
    if not between.backend().lost:
        between.backend().feed_eof()
    assert wire.output.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert wire.state == "open"
    assert len(between.loop.wires) == 1


@connecting
def test_no_answer_is_502(between: Between) -> None:
    """… on a connection that was made for the request; another may have been closed before it came."""
    wire = between.client(GET)
    between.backend().feed_eof()
    assert wire.output.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert wire.state == "open"
    assert len(between.loop.wires) == 1


@connecting
def test_no_connection_is_502(between: Between) -> None:
    async def refused() -> None:
        raise ConnectionRefusedError

    between.loop.connecting = refused
    assert between.client(GET).output.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")


def test_a_stale_connection_is_not_shown(between: Between) -> None:
    wire = between.client(GET)
    between.backend().feed(EMPTY)
    wire.feed(GET)
    between.backend().lose(ConnectionResetError())
    between.backend().feed(OK + b"Content-Length: 5\r\n\r\nfresh")
    assert wire.output.endswith(b"fresh")
    assert len(between.loop.wires) == 2


def test_a_bad_body_is_400_and_the_backend_is_left(between: Between) -> None:
    wire = between.client(POST_CHUNKED + b"2\r\nhi\r\n", b"!\r\n")
    assert wire.output.startswith(b"HTTP/1.1 400 ")
    assert wire.output.count(b"HTTP/1.1") == 1
    assert between.backend().state == "aborted"


def test_a_bad_body_behind_the_beginning_of_an_answer_breaks_both(between: Between) -> None:
    wire = between.client(POST_CHUNKED + b"2\r\nhi\r\n")
    between.backend().feed(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    wire.feed(b"!\r\n")
    assert (wire.state, between.backend().state) == ("aborted", "aborted")


# Who leaves


LEAVING: list[tuple[str, bytes, bytes]] = [
    ("before the answer", GET, b""),
    ("within the answer", GET, OK + b"Content-Length: 5\r\n\r\nhe"),
    ("within the body", POST_CHUNKED + b"2\r\nhi\r\n", b""),
    ("before the body", POST_CHUNKED, b""),
    ("before the body that it waits to send", expecting(5), b""),
    ("between body and answer", POST_CHUNKED + b"0\r\n\r\n", b""),
    ("within both", POST_CHUNKED + b"2\r\nhi\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"),
]


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(("data", "back"), [pytest.param(data, back, id=name) for name, data, back in LEAVING])
def test_a_client_that_leaves(between: Between, data: bytes, back: bytes, reset: bool) -> None:
    """… takes its request to the backend with it."""
    wire = between.client(data)
    between.backend().feed(back)
    if reset:
        wire.lose(ConnectionResetError())
    else:
        wire.feed_eof()
    assert between.backend().state == "aborted"
    assert not between.server.state.tasks
    assert not between.backend().output.endswith(b"0\r\n\r\n") or data.endswith(b"0\r\n\r\n")


@connecting
def test_a_client_that_leaves_while_a_connection_is_made(between: Between, loop: Loop) -> None:
    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    loop.connecting = never
    between.client(GET).lose()
    assert not between.server.state.tasks
    assert not loop.wires


def test_a_client_that_leaves_after_its_answer_leaves_the_backend_in_peace(between: Between) -> None:
    wire = between.client(GET)
    between.backend().feed(EMPTY)
    wire.lose()
    assert between.backend().state == "open"


# Who is slow


def test_a_client_that_reads_slowly_holds_the_backend_up(between: Between) -> None:
    wire = between.client(GET)
    wire.reading = False
    between.backend().feed(OK + b"Content-Length: 5000000\r\n\r\n")
    for _ in range(50):
        between.backend().feed(b"x" * 100_000)
    assert between.backend().paused
    assert between.backend().unread > 4_000_000
    assert wire.largest_wait < 1_000_000
    while wire.waiting:
        wire.take()
    assert sum(map(len, wire.written)) > 5_000_000
    assert wire.largest_wait < 1_000_000
    assert (wire.state, between.backend().state) == ("open", "open")


def test_a_backend_that_reads_slowly_holds_the_client_up(between: Between, loop: Loop) -> None:
    between.client(GET)
    backend = between.backend()
    backend.feed(EMPTY)
    backend.reading = False
    wire = between.client(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n")
    for _ in range(50):
        wire.feed(b"x" * 100_000)
    assert wire.paused
    assert wire.unread > 4_000_000
    loop.advance(600)  # … for as long as it takes
    assert wire.state == "open"
    while backend.waiting:
        backend.take()
    assert wire.unread == 0
    assert backend.largest_wait < 1_000_000
    assert sum(map(len, backend.written)) > 5_000_000


def test_a_client_that_does_not_read_is_cut_off_and_its_backend_let_go(between: Between, loop: Loop) -> None:
    wire = between.client(GET)
    wire.reading = False
    between.backend().feed(OK + b"Content-Length: 5000000\r\n\r\n" + b"x" * 1_000_000)
    loop.advance(130)
    assert (wire.state, between.backend().state) == ("aborted", "aborted")
