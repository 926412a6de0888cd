"""WebSockets on streams of HTTP/2: the frames of RFC 8441 between a client and the gateway, HTTP/1.1 behind it."""

import gc
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from app.http2.frames import Code
from app.http2.writer import STREAM_WINDOW
from app.listeners.clock import WRITE_TIMEOUT
from app.listeners.connect import Http2Handshake
from app.listeners.stream import Http2Cycle
from app.listeners.tunnel import HIGH_WATER, StreamTransport
from app.listeners.websocket import GRACE, WebSocketCycle
from tests.wire.harness import HIGH, READ, Loop, Wire
from tests.wire.http2 import (
    ACK,
    DATA,
    GET,
    GOAWAY,
    HEADERS,
    NO_SETTINGS,
    PING,
    WINDOW,
    data,
    frame,
    headers,
    literal,
    request,
    rst,
    settings,
    stream_error,
    window,
)
from tests.wire.test_http2_front import Client, head, piece
from tests.wire.websockets import ACCEPT, KEY, SWITCHING, TEXT, Gateway, close
from tests.wire.websockets import frame as framed

#: The handshake of RFC 8441 §5.1.
FIELDS = (
    (b":protocol", b"websocket"),
    (b"origin", b"http://a"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-protocol", b"chat, superchat"),
    (b"sec-websocket-extensions", b"permessage-deflate"),
)
WEBSOCKET, VERSION = FIELDS[0], FIELDS[2]


def connect(*fields: tuple[bytes, bytes], stream: int = 1, path: bytes = b"/chat?a=b", end: bool = False) -> bytes:
    return headers(stream, request(*(fields or FIELDS), method=b"CONNECT", path=path), end=end)


#: What the backend gets of it.
PASSED_ON = (
    b"GET /chat?a=b HTTP/1.1\r\nhost: a\r\norigin: http://a\r\nsec-websocket-protocol: chat, superchat\r\n"
    b"sec-websocket-extensions: permessage-deflate\r\nsec-websocket-key: " + KEY + b"\r\n"
    b"sec-websocket-version: 13\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
)


@pytest.fixture
def gateway(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    monkeypatch.setattr("app.websocket.forwarding.new_key", lambda: KEY)
    return Gateway(loop)


def asking(loop: Loop, gateway: Gateway, *pieces: bytes, beginning: bytes = NO_SETTINGS) -> Client:
    """A client that has sent ``pieces``."""
    return Client(loop, None, beginning, server=gateway.server).feed(*pieces)


def opened(loop: Loop, gateway: Gateway, *, beginning: bytes = NO_SETTINGS) -> tuple[Client, Wire]:
    """An open WebSocket on stream 1: its client and its backend, of whose output the handshakes are taken away."""
    client = asking(loop, gateway, connect(), beginning=beginning)
    backend = gateway.backend()
    backend.feed(SWITCHING)
    assert [(kind, flags, stream) for kind, flags, stream, _ in client.frames()] == [(HEADERS, 4, 1)]
    backend.written.clear()
    return client, backend


def shut_down(gateway: Gateway) -> None:
    for connection in list(gateway.server.state.connections):
        connection.shutdown()


# Opening


def test_a_stream_becomes_a_connection_to_the_backend(loop: Loop, gateway: Gateway) -> None:
    client = asking(loop, gateway, connect())
    backend = gateway.backend()
    assert backend.output == PASSED_ON
    assert client.frames() == []
    backend.feed(SWITCHING)
    (answer,) = client.frames()
    assert answer[:3] == (HEADERS, 4, 1)
    for part in (b"superchat", b"permessage-deflate"):
        assert part in answer[3]
    for part in (b"upgrade", ACCEPT, b"content-length"):
        assert part not in answer[3]
    client.wire.lose()


def test_bytes_both_ways_as_they_are(loop: Loop, gateway: Gateway) -> None:
    client, backend = opened(loop, gateway)
    client.feed(data(1, framed(TEXT, b"hi", masked=True)))
    backend.feed(framed(TEXT, b"hello"))
    assert backend.output == framed(TEXT, b"hi", masked=True)
    assert client.frames() == [piece(1, framed(TEXT, b"hello"))]
    client.wire.lose()


def test_what_comes_with_the_answer_follows_it(loop: Loop, gateway: Gateway) -> None:
    """From the backend behind its 101, and from a client that did not wait for its 200."""
    client = asking(loop, gateway, connect(), data(1, b"ear"), data(1, b"ly"))
    backend = gateway.backend()
    assert backend.output == PASSED_ON
    backend.written.clear()
    backend.feed(SWITCHING + framed(TEXT, b"hello"))
    assert backend.output == b"early"
    assert client.frames()[1:] == [piece(1, framed(TEXT, b"hello"))]
    client.wire.lose()


def test_a_key_of_the_client_means_nothing(loop: Loop, gateway: Gateway) -> None:
    client = asking(loop, gateway, connect(*FIELDS, (b"sec-websocket-key", b"x")))
    assert gateway.backend().output == PASSED_ON
    client.wire.lose()


def test_messages_where_the_application_is_our_own(loop: Loop) -> None:
    scopes: list[Scope] = []

    async def shout(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "chat", "headers": [(b"X-Who", b"b")]})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"].upper()})

    client = Client(loop, shout, ws="auto", root_path="/root")
    client.feed(connect(WEBSOCKET, VERSION, (b"sec-websocket-protocol", b"other, chat"), path=b"/a%20b?c"))
    (scope,) = scopes
    assert (scope["type"], scope["http_version"], scope["scheme"]) == ("websocket", "2", "ws")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/root/a b", b"/root/a%20b", b"c")
    assert scope["subprotocols"] == ["other", "chat"]
    assert scope["headers"] == [(b"host", b"a"), VERSION, (b"sec-websocket-protocol", b"other, chat")]
    assert (scope["client"], scope["server"]) == (("192.0.2.7", 40000), ("192.0.2.1", 80))
    block = b"\x88" + literal((b"x-who", b"b"), (b"sec-websocket-protocol", b"chat"))
    assert client.frames() == [head(1, block)]
    client.feed(data(1, framed(TEXT, b"hi", masked=True)))
    assert client.frames() == [piece(1, framed(TEXT, b"HI")), piece(1, close(1000))]
    client.feed(data(1, close(1000, masked=True), end=True))
    assert client.frames() == [piece(1, b"", end=True)]
    client.wire.lose()


def test_streams_are_websockets_and_requests_beside_each_other(loop: Loop, gateway: Gateway) -> None:
    client, backend = opened(loop, gateway)
    client.feed(headers(3, GET, end=True), connect(stream=5))
    other, second = gateway.backend(-2), gateway.backend(-1)
    other.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    second.feed(SWITCHING)
    backend.feed(framed(TEXT, b"one"))
    second.feed(framed(TEXT, b"five"))
    assert [frame[2] for frame in client.frames()] == [3, 3, 5, 1, 5]
    client.wire.lose()


# Refusals


REFUSED = [
    ("an address", literal((b":method", b"CONNECT"), (b":authority", b"a:1")), b"501"),
    ("another protocol", request((b":protocol", b"connect-udp"), VERSION, method=b"CONNECT"), b"501"),
    ("no version", request(WEBSOCKET, method=b"CONNECT"), b"400"),
    ("another version", request(WEBSOCKET, (b"sec-websocket-version", b"8"), method=b"CONNECT"), b"400"),
    ("a body", request(WEBSOCKET, VERSION, (b"content-length", b"2"), method=b"CONNECT"), b"400"),
    ("no path", request(WEBSOCKET, VERSION, method=b"CONNECT", path=b"*"), b"400"),
    ("another host", request(WEBSOCKET, VERSION, (b"host", b"b"), method=b"CONNECT"), b"400"),
]


@pytest.mark.parametrize(("block", "status"), [pytest.param(*case[1:], id=case[0]) for case in REFUSED])
def test_what_is_refused(loop: Loop, gateway: Gateway, block: bytes, status: bytes) -> None:
    client = asking(loop, gateway, headers(1, block))
    answer, text, reset = client.frames()
    assert answer[3].startswith({b"400": b"\x8c"}.get(status, b"\x08\x03" + status))
    assert text[3].startswith(status + b" ")
    assert reset == stream_error(1, Code.NO_ERROR)
    assert loop.wires == []
    client.wire.lose()


def test_a_version_that_is_served_is_named(loop: Loop, gateway: Gateway) -> None:
    client = asking(loop, gateway, connect(WEBSOCKET))
    assert b"sec-websocket-version\x0213" in client.output()
    client.wire.lose()


def test_a_refusal_of_the_backend_is_the_answer(loop: Loop, gateway: Gateway) -> None:
    client = asking(loop, gateway, connect())
    gateway.backend().feed(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\nX-Who: b\r\n\r\nnot you")
    answer, *rest = client.frames()
    assert answer[3].startswith(b"\x08\x03403")
    assert rest == [piece(1, b"not you", end=True), stream_error(1, Code.NO_ERROR)]
    assert json.loads(gateway.lines[0])["DownstreamStatus"] == 403
    client.wire.lose()


def test_a_backend_that_accepts_another_key(loop: Loop, gateway: Gateway) -> None:
    client = asking(loop, gateway, connect())
    gateway.backend().feed(SWITCHING.replace(ACCEPT, b"HSmrc0sMlYUkAGmm5OPpG2HaGWk="))
    assert client.frames()[0][3].startswith(b"\x08\x03502")
    client.wire.lose()


def test_an_application_that_fails(loop: Loop) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError

    client = Client(loop, fails, ws="auto").feed(connect())
    answer, text, reset = client.frames()
    assert answer[3].startswith(b"\x8e")
    assert text[3] == b"500 Internal Server Error: the application failed\n"
    assert reset == stream_error(1, Code.NO_ERROR)
    client.wire.lose()


def test_a_field_that_none_may_be_is_no_answer(loop: Loop) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"x", b"a\nb")]})

    client = Client(loop, app, ws="auto").feed(connect())
    assert client.frames()[0][3].startswith(b"\x8e")
    client.wire.lose()


def test_one_websocket_too_many(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each counts as a connection; who is refused is in the log."""
    gateway = Gateway(loop, limit_concurrency=2)
    monkeypatch.setattr("app.websocket.forwarding.new_key", lambda: KEY)
    told: list[tuple[Any, Any]] = []
    gateway.server.config.loaded_app.on_refused = lambda *what: told.append(what)
    client, _ = opened(loop, gateway)
    client.feed(connect(stream=3))
    gateway.backend().feed(SWITCHING)
    client.output()
    client.feed(connect(stream=5))
    answer, *_ = client.frames()
    assert answer[3].startswith(b"\x08\x03503")
    ((scope, error),) = told
    assert (scope["method"], scope["raw_path"], scope["http_version"], error.status) == ("CONNECT", b"/chat", "2", 503)
    client.wire.lose()


# Ends


def test_the_backend_ends(loop: Loop, gateway: Gateway) -> None:
    client, backend = opened(loop, gateway)
    backend.feed(close(1000))
    backend.feed_eof()
    assert client.frames() == [piece(1, close(1000)), piece(1, b"", end=True)]
    client.feed(data(1, close(1000, masked=True), end=True))
    assert backend.output == close(1000, masked=True)
    assert backend.state == "closed"
    (line,) = [json.loads(line) for line in gateway.lines]
    assert (line["DownstreamStatus"], line["OriginStatus"], line["ResponseFlags"]) == (200, 101, "-")
    assert (line["RequestProtocol"], line["RequestPath"]) == ("HTTP/2.0", "/chat?a=b")
    assert (line["RequestContentSize"], line["DownstreamContentSize"]) == (8, 4)
    assert list(gateway.server.state.connections) == [client.wire.protocol]
    client.wire.lose()


def test_the_client_ends(loop: Loop, gateway: Gateway) -> None:
    client, backend = opened(loop, gateway)
    client.feed(data(1, close(1000, masked=True), end=True))
    assert backend.state == "ending"
    backend.feed(close(1000))
    backend.lose()
    assert client.frames() == [piece(1, close(1000)), piece(1, b"", end=True)]
    assert client.feed(headers(3, GET, end=True)).wire.state == "open"
    client.wire.lose()


def test_a_client_that_has_ended_before_it_began(loop: Loop, gateway: Gateway) -> None:
    client = asking(loop, gateway, connect(end=True))
    gateway.backend().feed(SWITCHING)
    assert gateway.backend().state == "ending"
    gateway.backend().lose()
    assert [frame[1] for frame in client.frames()] == [4, 1]
    client.wire.lose()


@pytest.mark.parametrize("leave", [lambda client: client.feed(rst(1)), lambda client: client.wire.lose()])
def test_a_client_that_leaves_takes_the_backends_connection_with_it(
    loop: Loop, gateway: Gateway, leave: Callable[[Client], object]
) -> None:
    client, backend = opened(loop, gateway)
    leave(client)
    loop.settle()
    assert backend.state == "aborted"
    assert len(gateway.lines) == 1
    assert client.server.state.tasks == set()
    client.wire.lose()
    assert client.server.state.connections == set()


@pytest.mark.parametrize("leave", [lambda client: client.feed(rst(1)), lambda client: client.wire.lose()])
def test_a_client_that_leaves_before_the_answer(
    loop: Loop, gateway: Gateway, leave: Callable[[Client], object]
) -> None:
    client = asking(loop, gateway, connect())
    leave(client)
    loop.settle()
    assert gateway.backend().state == "aborted"
    assert json.loads(gateway.lines[0])["DownstreamStatus"] == 499
    client.wire.lose()


def test_the_backend_breaks(loop: Loop, gateway: Gateway) -> None:
    client, backend = opened(loop, gateway)
    backend.lose(ConnectionResetError())
    assert client.frames() == [stream_error(1, Code.CANCEL)]
    assert json.loads(gateway.lines[0])["ResponseFlags"] == "UC"
    client.wire.lose()


def test_the_server_stops(loop: Loop, gateway: Gateway) -> None:
    """The WebSocket has its time; the connection ends behind it."""
    client, backend = opened(loop, gateway)
    shut_down(gateway)
    client.feed(frame(PING, ACK, 0, b"draining"))
    assert [frame[0] for frame in client.frames()] == [GOAWAY, PING, GOAWAY]
    backend.feed(framed(TEXT, b"still"))
    assert client.frames() == [piece(1, framed(TEXT, b"still"))]
    loop.advance(GRACE + 1)
    assert client.frames() == [piece(1, close(1001))]
    client.feed(data(1, close(1001, masked=True), end=True))
    backend.lose()
    assert client.frames() == [piece(1, b"", end=True)]
    assert client.wire.state == "ending"


def test_a_websocket_that_opens_while_the_server_stops(loop: Loop, gateway: Gateway) -> None:
    client = asking(loop, gateway, connect())
    shut_down(gateway)
    gateway.backend().feed(SWITCHING)
    client.output()
    loop.advance(GRACE + 1)
    assert piece(1, close(1001)) in client.frames()
    client.wire.lose()


def test_nothing_is_left_for_the_collector(loop: Loop, gateway: Gateway) -> None:
    client, backend = opened(loop, gateway)
    gc.collect()
    gc.disable()
    try:
        backend.feed_eof()
        client.feed(data(1, b"", end=True))
        gc.collect()
        kinds = (WebSocketCycle, Http2Handshake, StreamTransport, Http2Cycle)
        assert not [each for each in gc.get_objects() if isinstance(each, kinds)]
    finally:
        gc.enable()
    client.wire.lose()


# Windows


def test_a_client_that_takes_nothing_holds_the_backend_up(loop: Loop, gateway: Gateway) -> None:
    client, backend = opened(loop, gateway, beginning=settings((4, 1000)))
    client.output()
    message = framed(TEXT, b"x" * (1 << 20))
    backend.feed(message)
    assert backend.paused
    assert backend.unread >= len(message) - READ
    assert sum(len(payload) for *_, payload in client.frames()) == 1000
    received = 1000
    while received < len(message):
        client.feed(window(1, 65_536), window(0, 65_536))
        received += sum(len(payload) for kind, *_, payload in client.frames() if kind == DATA)
    assert not backend.paused
    client.wire.lose()


def test_a_client_that_takes_nothing_for_too_long(loop: Loop, gateway: Gateway) -> None:
    client, backend = opened(loop, gateway, beginning=settings((4, 0)))
    backend.feed(framed(TEXT, b"x" * HIGH_WATER))
    loop.advance(WRITE_TIMEOUT + 2)
    assert client.frames() == [stream_error(1, Code.CANCEL)]
    assert backend.lost
    client.wire.lose()


def test_a_backend_that_takes_nothing_holds_the_client_up(loop: Loop, gateway: Gateway) -> None:
    """… by the stream's window, of which no more than one is kept besides what waits in the transport."""
    client, backend = opened(loop, gateway)
    backend.reading = False
    sent, window_left = 0, STREAM_WINDOW
    while window_left:
        client.feed(data(1, b"x" * 16_384))
        sent += 16_384
        window_left -= 16_384
        window_left += credit_of(client)
    assert len(backend.output) <= HIGH + 16_384
    assert sent - len(backend.output) <= STREAM_WINDOW
    backend.take()
    assert len(backend.output) == sent
    assert credit_of(client) == STREAM_WINDOW
    client.wire.lose()


def credit_of(client: Client) -> int:
    return sum(int.from_bytes(frame[3], "big") for frame in client.frames() if (frame[0], frame[2]) == (WINDOW, 1))
