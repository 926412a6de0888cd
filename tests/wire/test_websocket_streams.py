"""What a WebSocket needs of the version of HTTP that it came by: no more than a handshake and a transport."""

import json

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.listeners.websocket import EXTENSIONS, WebSocketCycle
from tests.wire.harness import Loop, Wire
from tests.wire.websockets import ACCEPT, KEY, SWITCHING, TEXT, Gateway, close, frame

Fields = list[tuple[bytes, bytes]]


class Stream:
    """A handshake as HTTP/2 has it (RFC 8441 §5): a CONNECT without a key, answered with a status."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.said: list[object] = []
        self.wire: Wire
        self.over = 0

    async def respond(self, message: Message) -> None:
        self.said.append(message)

    def accept(self, fields: Fields, protocol: object) -> None:
        self.said.append((200, fields))
        self.wire = Wire(self.loop, protocol)  # type: ignore[arg-type]
        protocol.connection_made(self.wire)  # type: ignore[attr-defined]

    def refuse(self, status: int, message: str) -> None:
        self.said.append((status, message))

    def abort(self) -> None:
        self.said.append("abort")

    def on_end(self) -> None:
        self.over += 1


def open_on(loop: Loop, stream: Stream, app: ASGIApp, gateway: Gateway) -> WebSocketCycle:
    scope: Scope = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "2",
        "scheme": "wss",
        "path": "/chat",
        "raw_path": b"/chat",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"a"), (b"sec-websocket-version", b"13"), (b"sec-websocket-protocol", b"superchat")],
        "subprotocols": ["superchat"],
        "extensions": EXTENSIONS,
    }
    cycle = WebSocketCycle(stream, scope, gateway.server.config, loop)
    cycle.task = loop.create_task(cycle.run(app, gateway.server.state))
    loop.settle()
    return cycle


@pytest.fixture
def gateway(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    monkeypatch.setattr("app.websocket.forwarding.new_key", lambda: KEY)
    return Gateway(loop)


def test_a_stream_becomes_a_connection_to_the_backend(loop: Loop, gateway: Gateway) -> None:
    stream = Stream(loop)
    open_on(loop, stream, gateway.server.config.loaded_app, gateway)
    backend = gateway.backend()
    assert backend.output == (
        b"GET /chat HTTP/1.1\r\nhost: a\r\nsec-websocket-protocol: superchat\r\nsec-websocket-key: " + KEY + b"\r\n"
        b"sec-websocket-version: 13\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
    )
    backend.written.clear()
    backend.feed(SWITCHING + frame(TEXT, b"hello"))
    assert stream.said == [
        (200, [
            (b"sec-websocket-extensions", b"permessage-deflate"), (b"x-who", b"b"),
            (b"sec-websocket-protocol", b"superchat"),
        ])
    ]  # fmt: skip
    stream.wire.feed(frame(TEXT, b"hi", masked=True))
    assert (stream.wire.output, backend.output) == (frame(TEXT, b"hello"), frame(TEXT, b"hi", masked=True))
    backend.lose()
    assert stream.wire.state == "closed"
    assert stream.over == 1
    assert json.loads(gateway.lines[0])["DownstreamStatus"] == 200


def test_the_backends_accept_is_checked_all_the_same(loop: Loop, gateway: Gateway) -> None:
    stream = Stream(loop)
    open_on(loop, stream, gateway.server.config.loaded_app, gateway)
    gateway.backend().feed(SWITCHING.replace(ACCEPT, b"HSmrc0sMlYUkAGmm5OPpG2HaGWk="))
    start, _ = stream.said
    assert isinstance(start, dict)
    assert (start["type"], start["status"]) == ("http.response.start", 502)
    assert stream.over == 1


def test_messages_on_a_stream(loop: Loop, gateway: Gateway) -> None:
    async def shout(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"].upper()})

    stream = Stream(loop)
    cycle = open_on(loop, stream, shout, gateway)
    assert (cycle.status, cycle.started) == (200, True)
    stream.wire.feed(frame(TEXT, b"hi", masked=True))
    assert stream.wire.output == frame(TEXT, b"HI") + close(1000)
    stream.wire.feed(close(1000, masked=True))
    stream.wire.feed_eof()
    assert stream.over == 1


def test_a_client_that_leaves_a_stream_before_the_answer(loop: Loop, gateway: Gateway) -> None:
    stream = Stream(loop)
    cycle = open_on(loop, stream, gateway.server.config.loaded_app, gateway)
    cycle.on_connection_lost()
    loop.settle()
    assert gateway.backend().state == "aborted"
    assert (stream.said, stream.over) == ([], 1)
