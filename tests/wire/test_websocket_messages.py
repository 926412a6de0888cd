"""A WebSocket for an application that speaks ASGI messages: literal frames at one end, messages at the other."""

import zlib
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.listeners.clock import WRITE_TIMEOUT
from app.listeners.websocket import GRACE
from app.websocket.splice import CLOSE_TIMEOUT
from tests.wire.apps import Call, Script, Steps
from tests.wire.harness import Loop, Server, Wire, cuts, undated
from tests.wire.websockets import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    KEY,
    PING,
    PONG,
    TEXT,
    close,
    frame,
)

PLAIN = HANDSHAKE.replace(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n", b"")
OPEN = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-accept: " + ACCEPT + b"\r\n"
)
ACCEPTED: Message = {"type": "websocket.accept"}
CONNECT: Message = {"type": "websocket.connect"}


def received(data: str | bytes) -> Message:
    return {"type": "websocket.receive", "text" if isinstance(data, str) else "bytes": data}


def sent(data: str | bytes) -> Message:
    return {"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data}


def disconnected(code: int, reason: str = "") -> Message:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


class Open:
    """An application that has accepted a WebSocket, and its client."""

    def __init__(self, loop: Loop, handshake: bytes = PLAIN, **options: Any) -> None:
        app = Steps(ACCEPTED)
        self.server = Server(loop, app, ws="auto", **options)
        self.client: Wire = self.server.connect()
        self.client.feed(handshake)
        self.app: Call = app.calls[0]
        assert self.app.receive() == CONNECT
        self.head = self.client.output
        self.client.written.clear()

    def end(self) -> None:
        self.client.lose()
        self.app.finish()
        assert not self.server.state.connections
        assert not self.server.state.tasks


@pytest.fixture
def opened(loop: Loop) -> Open:
    return Open(loop)


# The handshake


def test_the_scope(loop: Loop) -> None:
    app = Steps()
    wire = Server(loop, app, ws="auto", root_path="/root").connect(tls=True)
    wire.feed(PLAIN.replace(b"/chat", b"/ch%61t"))
    scope = {name: value for name, value in app.calls[0].scope.items() if not name.startswith("moongate")}
    assert scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss",
        "server": ("192.0.2.1", 80),
        "client": ("192.0.2.7", 40000),
        "root_path": "/root",
        "path": "/root/chat",
        "raw_path": b"/root/ch%61t",
        "query_string": b"a=b",
        "headers": [
            (b"host", b"a"),
            (b"origin", b"http://a"),
            (b"upgrade", b"websocket"),
            (b"connection", b"keep-alive, Upgrade"),
            (b"sec-websocket-key", KEY),
            (b"sec-websocket-protocol", b"chat, superchat"),
            (b"sec-websocket-version", b"13"),
        ],
        "subprotocols": ["chat", "superchat"],
        "state": {},
        "extensions": {"websocket.http.response": {}},
    }
    app.calls[0].send({"type": "websocket.close"})
    app.calls[0].finish()


def test_it_is_accepted_with_fields_and_a_subprotocol(loop: Loop) -> None:
    app = Steps({**ACCEPTED, "subprotocol": "chat", "headers": [(b"Set-Cookie", b"a"), (b"set-cookie", b"b")]})
    client = Server(loop, app, ws="auto").connect()
    client.feed(PLAIN)
    assert client.output == OPEN + b"set-cookie: a\r\nset-cookie: b\r\nsec-websocket-protocol: chat\r\n\r\n"
    app.calls[0].finish()


def test_a_line_break_in_a_field_is_the_applications_error(loop: Loop) -> None:
    app = Script({**ACCEPTED, "headers": [(b"x", b"a\r\nb: c")]})
    client = Server(loop, app, ws="auto").connect()
    client.feed(PLAIN)
    assert client.output.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert isinstance(app.errors[0], RuntimeError)


def test_a_close_instead_of_an_accept_is_403(loop: Loop) -> None:
    client = Server(loop, Script({"type": "websocket.close"}), ws="auto").connect()
    client.feed(PLAIN)
    assert undated(client.output) == b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    assert client.state == "closed"


def test_a_response_instead_of_an_accept(loop: Loop) -> None:
    app = Script(
        {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x", b"y")]},
        {"type": "websocket.http.response.body", "body": b"no", "more_body": True},
        {"type": "websocket.http.response.body", "body": b"t you"},
    )
    client = Server(loop, app, ws="auto").connect()
    client.feed(PLAIN)
    assert undated(client.output) == (
        b"HTTP/1.1 401 Unauthorized\r\nx: y\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        b"2\r\nno\r\n5\r\nt you\r\n0\r\n\r\n"
    )
    assert client.state == "closed"


RESPONSE: Message = {"type": "websocket.http.response.start", "status": 401}
WRONG: list[tuple[str, list[Message], bytes]] = [
    ("no answer", [], b"HTTP/1.1 500 "),
    ("a message before the accept", [sent("x")], b"HTTP/1.1 500 "),
    ("an answer to a request", [{"type": "http.response.start", "status": 200}], b"HTTP/1.1 500 "),
    ("half a response", [RESPONSE, {"type": "websocket.http.response.body", "more_body": True}], b"HTTP/1.1 401 "),
    ("a second start", [RESPONSE, RESPONSE], b""),
]


@pytest.mark.parametrize(("messages", "answer"), [pytest.param(*rest, id=name) for name, *rest in WRONG])
def test_an_application_that_makes_no_sense(loop: Loop, messages: list[Message], answer: bytes) -> None:
    server = Server(loop, Script(*messages), ws="auto")
    client = server.connect()
    client.feed(PLAIN)
    assert client.output.startswith(answer)
    assert client.state == ("aborted" if len(messages) == 2 else "ending")
    client.lose()
    assert not server.state.connections


def test_malformed_extensions_are_refused(loop: Loop) -> None:
    """RFC 6455 §9.1."""
    app = Script(ACCEPTED)
    client = Server(loop, app, ws="auto").connect()
    client.feed(HANDSHAKE.replace(b"permessage-deflate;", b"permessage-deflate;;"))
    assert client.output.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert client.output.count(b"HTTP/1.1") == 1


# Messages


MESSAGES: list[tuple[str, bytes, list[Message]]] = [
    ("text", frame(TEXT, "grüß".encode(), masked=True), [received("grüß")]),
    ("binary", frame(BINARY, b"\0\xff", masked=True), [received(b"\0\xff")]),
    ("nothing", frame(TEXT, masked=True) + frame(BINARY, masked=True), [received(""), received(b"")]),
    ("126 bytes", frame(BINARY, b"x" * 126, masked=True), [received(b"x" * 126)]),
    (
        "fragments, cut within a character, and a ping between them",
        frame(TEXT, b"gr\xc3", masked=True, fin=False)
        + frame(PING, b"p", masked=True)
        + frame(CONTINUATION, b"\xbc", masked=True, fin=False)
        + frame(CONTINUATION, b"\xc3\x9f", masked=True),
        [received("grüß")],
    ),
    (
        "binary fragments, some of them empty",
        frame(BINARY, b"", masked=True, fin=False)
        + frame(CONTINUATION, b"ab", masked=True, fin=False)
        + frame(CONTINUATION, b"", masked=True),
        [received(b"ab")],
    ),
    ("an unasked pong", frame(PONG, b"p", masked=True) + frame(TEXT, b"a", masked=True), [received("a")]),
]


@pytest.mark.parametrize(("data", "expected"), [pytest.param(*rest, id=name) for name, *rest in MESSAGES])
def test_messages_are_received(loop: Loop, data: bytes, expected: list[Message]) -> None:
    for pieces in cuts(data):
        opened = Open(loop)
        opened.client.feed(*pieces)
        assert [opened.app.receive() for _ in expected] == expected
        assert opened.client.output == (frame(PONG, b"p") if b"\x89" in data[:20] else b"")
        opened.end()


def test_messages_behind_the_handshake(loop: Loop) -> None:
    opened = Open(loop, PLAIN + frame(TEXT, b"early", masked=True))
    assert opened.app.receive() == received("early")
    opened.end()


def test_messages_are_sent(opened: Open) -> None:
    opened.app.send(sent("grüß"), sent(b"\0" * 300), {**sent(b"x"), "text": None}, {**sent("y"), "bytes": None})
    assert opened.client.output == (
        frame(TEXT, "grüß".encode()) + frame(BINARY, b"\0" * 300) + frame(BINARY, b"x") + frame(TEXT, b"y")
    )


def test_who_waits_for_a_message_gets_it(opened: Open) -> None:
    result = opened.app.wants()
    opened.client.feed(frame(TEXT, b"at last", masked=True))
    assert result() == received("at last")


def test_a_ping_is_answered(opened: Open) -> None:
    opened.client.feed(frame(PING, b"are you there", masked=True))
    assert opened.client.output == frame(PONG, b"are you there")


def inflated(data: bytes) -> bytes:
    """The payload of one compressed frame with a short head (RFC 7692 §7.2.2)."""
    assert data[0] == 0xC1
    return zlib.decompressobj(wbits=-12).decompress(data[2:] + b"\0\0\xff\xff")


def test_compression(loop: Loop) -> None:
    opened = Open(loop, HANDSHAKE)
    assert opened.head == (
        OPEN + b"sec-websocket-extensions: permessage-deflate; server_max_window_bits=12; "
        b"client_max_window_bits=12\r\n\r\n"
    )
    opened.client.feed(frame(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00", masked=True, rsv1=True))  # RFC 7692 §7.2.3.1
    assert opened.app.receive() == received("Hello")
    opened.app.send(sent("a" * 1000))
    assert len(opened.client.output) < 50
    assert inflated(opened.client.output) == b"a" * 1000
    opened.end()


def test_no_compression_where_the_server_is_to_have_none(loop: Loop) -> None:
    opened = Open(loop, HANDSHAKE, ws_per_message_deflate=False)
    assert opened.head == OPEN + b"\r\n"
    opened.end()


# Limits


def test_a_message_that_is_too_long(loop: Loop) -> None:
    for data in (
        frame(BINARY, b"x" * 1001, masked=True),
        frame(BINARY, b"x" * 600, masked=True, fin=False) + frame(CONTINUATION, b"x" * 401, masked=True),
    ):
        opened = Open(loop, ws_max_size=1000)
        opened.client.feed(data)
        assert opened.client.output[2:4] == b"\x03\xf1"  # 1009
        assert opened.app.receive()["code"] == 1009
        assert opened.client.state == "ending"
        opened.end()


def test_a_small_message_that_is_compressed_and_too_long(loop: Loop) -> None:
    opened = Open(loop, HANDSHAKE, ws_max_size=1000)
    compressor = zlib.compressobj(wbits=-12)
    data = compressor.compress(b"x" * 100_000) + compressor.flush(zlib.Z_SYNC_FLUSH)
    opened.client.feed(frame(BINARY, data[:-4], masked=True, rsv1=True))
    assert opened.app.receive()["code"] == 1009
    opened.end()


BAD: list[tuple[str, bytes, int]] = [
    ("text that is not UTF-8", frame(TEXT, b"\xff", masked=True), 1007),
    ("text in fragments that is not UTF-8", frame(TEXT, b"\xc3", masked=True, fin=False)
     + frame(CONTINUATION, b"\x28", masked=True), 1007),
    ("no mask", frame(TEXT, b"a"), 1002),
    ("an opcode that is not known", frame(3, b"a", masked=True), 1002),
    ("a reserved bit", frame(TEXT, b"a", masked=True, rsv1=True), 1002),
    ("a continuation of nothing", frame(CONTINUATION, b"a", masked=True), 1002),
    ("a message within another", frame(TEXT, b"a", masked=True, fin=False) + frame(TEXT, b"a", masked=True), 1002),
    ("a long ping", frame(PING, b"x" * 126, masked=True), 1002),
    ("a ping in fragments", frame(PING, b"x", masked=True, fin=False), 1002),
    ("a close with one byte", frame(CLOSE, b"x", masked=True), 1002),
    ("a close with a code that must not be sent", close(1005, masked=True), 1002),
    ("a close whose reason is not UTF-8", frame(CLOSE, b"\x03\xe8\xff", masked=True), 1007),
]  # fmt: skip


@pytest.mark.parametrize(("data", "code"), [pytest.param(*rest, id=name) for name, *rest in BAD])
def test_frames_that_break_the_rules(loop: Loop, data: bytes, code: int) -> None:
    for pieces in cuts(data):
        opened = Open(loop)
        opened.client.feed(*pieces)
        assert opened.client.output[:1] == b"\x88"
        assert int.from_bytes(opened.client.output[2:4]) == code
        assert opened.client.state == "ending"
        assert opened.app.receive()["code"] == code
        opened.client.feed(frame(TEXT, b"ignored", masked=True))
        assert opened.app.receive()["type"] == "websocket.disconnect"
        opened.end()


def test_messages_that_the_application_does_not_take_hold_the_client_up(opened: Open) -> None:
    client = opened.client
    for _ in range(50):
        client.feed(frame(BINARY, b"x" * 100_000, masked=True))
    assert client.paused
    assert client.unread > 4_000_000
    for _ in range(50):
        assert len(opened.app.receive()["bytes"]) == 100_000
    assert client.unread == 0
    assert not client.paused


def test_many_tiny_messages_are_not_kept_either(opened: Open) -> None:
    """… each costs a few hundred bytes, though it has but two."""
    opened.client.feed(frame(BINARY, masked=True) * 20_000)
    assert opened.client.paused
    messages = opened.app.scope["moongate.cycle"]._messages
    assert len(messages._queue) < 5_000
    for _ in range(20_000):
        assert opened.app.receive() == received(b"")
    assert not opened.client.paused


def test_a_client_that_does_not_read_holds_the_application_up(opened: Open) -> None:
    opened.client.reading = False
    opened.app.send(sent(b"x" * 60_000))
    done = opened.app.sends(sent(b"x" * 60_000))
    assert not done()
    opened.client.take()
    assert done()


def test_pongs_that_nobody_takes_do_not_pile_up(opened: Open) -> None:
    opened.client.reading = False
    for _ in range(1000):
        opened.client.feed(frame(PING, b"x" * 125, masked=True) * 20)
    assert opened.client.paused
    assert opened.client.largest_wait < 500_000
    while opened.client.waiting:
        opened.client.take()
    assert opened.client.output == frame(PONG, b"x" * 125) * 20_000


def test_a_client_that_never_reads_is_cut_off(opened: Open, loop: Loop) -> None:
    opened.client.reading = False
    done = opened.app.sends(sent(b"x" * 300_000))
    loop.advance(WRITE_TIMEOUT + 1)
    assert opened.client.state == "aborted"
    assert done()
    assert opened.app.receive() == disconnected(1006)


# Ends


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (3000, "x" * 123), (4999, "grüß")])
def test_the_client_closes(loop: Loop, code: int, reason: str) -> None:
    for pieces in cuts(close(code, reason, masked=True)):
        opened = Open(loop)
        opened.client.feed(*pieces)
        assert opened.client.output == close(code, reason)
        assert opened.client.state == "ending"
        assert opened.app.receive() == disconnected(code, reason)
        opened.client.feed_eof()
        assert opened.client.state == "closed"
        opened.end()


def test_the_client_closes_without_a_code(opened: Open) -> None:
    opened.client.feed(frame(CLOSE, masked=True))
    assert opened.client.output == frame(CLOSE)
    assert opened.app.receive() == disconnected(1005)


def test_messages_before_the_close_are_still_received(opened: Open) -> None:
    opened.client.feed(frame(TEXT, b"last", masked=True) + close(1000, masked=True))
    assert opened.app.receive() == received("last")
    assert opened.app.receive() == disconnected(1000)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (3000, "x"), (4999, "grüß")])
def test_the_application_closes(opened: Open, code: int, reason: str) -> None:
    opened.app.send({"type": "websocket.close", "code": code, "reason": reason})
    assert opened.client.output == close(code, reason)
    assert opened.client.state == "open", "the client's close is still to come"
    opened.client.feed(close(code, reason, masked=True))
    assert opened.client.state == "ending"
    assert opened.app.receive() == disconnected(code, reason)


def test_a_client_that_does_not_answer_the_close(opened: Open, loop: Loop) -> None:
    opened.app.send({"type": "websocket.close"})
    loop.advance(CLOSE_TIMEOUT + 1)
    assert opened.client.state == "aborted"
    assert opened.app.receive() == disconnected(1006)


def test_nothing_can_be_sent_behind_the_close(opened: Open, loop: Loop) -> None:
    opened.client.feed(close(1000, masked=True))
    with pytest.raises(OSError, match="closed"):
        opened.app.send(sent("x"))
    opened.app.send({"type": "websocket.close"})
    assert opened.client.output == close(1000)


def test_a_code_that_cannot_be_sent_is_the_applications_error(opened: Open) -> None:
    with pytest.raises(RuntimeError, match="1006"):
        opened.app.send({"type": "websocket.close", "code": 1006})


@pytest.mark.parametrize("reset", [False, True])
def test_the_client_leaves(opened: Open, reset: bool) -> None:
    result = opened.app.wants()
    opened.client.lose(ConnectionResetError()) if reset else opened.client.feed_eof()
    assert result() == disconnected(1006)
    assert not opened.server.state.connections
    with pytest.raises(OSError, match="closed"):
        opened.app.send(sent("x"))


def test_an_application_that_ends_closes(opened: Open) -> None:
    opened.app.finish()
    assert opened.client.output == close(1000)


def test_an_application_that_fails_closes_with_1011(loop: Loop) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPTED)
        raise RuntimeError

    client = Server(loop, fails, ws="auto").connect()
    client.feed(PLAIN)
    assert client.output == OPEN + b"\r\n" + close(1011)


def test_the_client_leaves_before_the_answer(loop: Loop) -> None:
    app = Steps()
    client = Server(loop, app, ws="auto").connect()
    client.feed(PLAIN)
    (call,) = app.calls
    assert call.receive() == CONNECT
    result = call.wants()
    client.lose()
    assert result()["type"] == "websocket.disconnect"
    assert call.left == 1
    with pytest.raises(OSError, match="left"):
        call.send(ACCEPTED)
    call.finish()


def test_the_server_stops(opened: Open, loop: Loop) -> None:
    for connection in list(opened.server.state.connections):
        connection.shutdown()
    loop.advance(GRACE - 1)
    assert opened.client.output == b""
    loop.advance(1)
    assert opened.client.output == close(1012)
    opened.client.feed(close(1012, masked=True))
    assert opened.app.receive() == disconnected(1012)
    opened.end()


def test_an_application_that_the_server_cancels(opened: Open, loop: Loop) -> None:
    for task in list(opened.server.state.tasks):
        task.cancel()
    loop.settle()
    assert opened.client.output == close(1012)
