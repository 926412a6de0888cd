"""A WebSocket's handshake on its way to the backend and back, in HTTP/1.1 (RFC 6455 §4)."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.wire.apps import Steps
from tests.wire.harness import Loop, Outcome, Server, Wire, cuts, however_cut, outcome, undated
from tests.wire.websockets import (
    ACCEPT,
    BINARY,
    HANDSHAKE,
    KEY,
    PASSED_ON,
    SWITCHED,
    SWITCHING,
    TEXT,
    Gateway,
    frame,
)


@pytest.fixture
def gateway(loop: Loop) -> Gateway:
    return Gateway(loop)


def between(loop: Loop, to: list[bytes], back: list[bytes]) -> tuple[bytes, bytes, str, str]:
    """What backend and client get, and how their connections are, when they send ``to`` and ``back`` in pieces."""
    gateway = Gateway(loop)
    client = gateway.client(*to)
    backend = gateway.backend()
    backend.feed(*back)
    result = backend.output, client.output, client.state, backend.state
    client.lose()
    assert not gateway.server.state.connections
    return result


def test_a_handshake_is_passed_on_and_its_answer_back(loop: Loop) -> None:
    expected = (PASSED_ON, SWITCHED, "open", "open")
    for pieces in cuts(HANDSHAKE):
        assert between(loop, list(pieces), [SWITCHING]) == expected
    for pieces in cuts(SWITCHING):
        assert between(loop, [HANDSHAKE], list(pieces)) == expected


def test_frames_behind_the_answer_reach_the_client(loop: Loop) -> None:
    """… however the two are cut: a backend may speak first, and in the same packet."""
    sent = SWITCHING + frame(TEXT, b"hello")
    for pieces in cuts(sent):
        assert between(loop, [HANDSHAKE], list(pieces))[1] == SWITCHED + frame(TEXT, b"hello")


def test_frames_behind_the_handshake_reach_the_backend(loop: Loop) -> None:
    """… once it has switched, although a client should wait for that."""
    early = frame(TEXT, b"hello", masked=True)
    for pieces in cuts(HANDSHAKE + early):
        assert between(loop, list(pieces), [SWITCHING])[:2] == (PASSED_ON + early, SWITCHED)


def test_frames_that_follow_the_answer_at_once_reach_the_client(gateway: Gateway) -> None:
    """… also those of a second packet, which comes before anybody has had a turn to take the connection over."""
    client = gateway.client(HANDSHAKE)
    backend = gateway.backend()
    for data in (SWITCHING, frame(TEXT, b"hello")):
        backend.arrive(data)
    gateway.loop.settle()
    assert client.output == SWITCHED + frame(TEXT, b"hello")


def test_early_frames_are_not_sent_before_the_answer(gateway: Gateway) -> None:
    gateway.client(HANDSHAKE, frame(TEXT, b"hello", masked=True))
    assert gateway.backend().output == PASSED_ON


def test_a_client_that_says_too_much_too_early_has_to_wait(gateway: Gateway) -> None:
    client = gateway.client(HANDSHAKE)
    for _ in range(50):
        client.feed(frame(BINARY, b"x" * 100_000, masked=True))
    assert client.paused
    assert client.unread > 4_000_000
    gateway.backend().feed(SWITCHING)
    assert client.unread == 0
    assert len(gateway.backend().output) > 5_000_000


def test_a_handshake_can_follow_requests(gateway: Gateway) -> None:
    client = gateway.client(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    gateway.backend().feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    client.written.clear()
    client.feed(HANDSHAKE)
    gateway.backend().feed(SWITCHING)
    assert client.output == SWITCHED


def test_a_handshake_takes_an_idle_connection_and_does_not_give_it_back(gateway: Gateway) -> None:
    client = gateway.client(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    gateway.backend().feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    client.feed(HANDSHAKE)
    gateway.backend().feed(SWITCHING)
    assert len(gateway.loop.wires) == 1
    gateway.client(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(gateway.loop.wires) == 2


# What is no handshake


REFUSED: list[tuple[str, bytes, int]] = [
    ("no version", HANDSHAKE.replace(b"Sec-WebSocket-Version: 13\r\n", b""), 426),
    ("version 8", HANDSHAKE.replace(b"Version: 13", b"Version: 8"), 426),
    ("two versions", HANDSHAKE.replace(b"Version: 13", b"Version: 13, 8"), 426),
    ("the version twice", HANDSHAKE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Version: 13\r\n\r\n"), 426),
    ("no key", HANDSHAKE.replace(b"Sec-WebSocket-Key: " + KEY + b"\r\n", b""), 400),
    ("an empty key", HANDSHAKE.replace(KEY, b""), 400),
    ("a key that is not base64", HANDSHAKE.replace(KEY, b"dGhlIHNhbXBsZSBub25jZQ!!"), 400),
    ("a key of 15 bytes", HANDSHAKE.replace(KEY, b"dGhlIHNhbXBsZSBub25j"), 400),
    ("a key of 17 bytes", HANDSHAKE.replace(KEY, b"dGhlIHNhbXBsZSBub25jZWE="), 400),
    ("two keys", HANDSHAKE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Key: " + KEY + b"\r\n\r\n"), 400),
    ("another method", HANDSHAKE.replace(b"GET", b"POST"), 400),
    ("HEAD", HANDSHAKE.replace(b"GET", b"HEAD"), 400),
    ("a body", HANDSHAKE.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\nx"), 400),
    ("a chunked body", HANDSHAKE.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
    ("no host", HANDSHAKE.replace(b"Host: a\r\n", b""), 400),
]


@pytest.mark.parametrize(("data", "status"), [pytest.param(data, status, id=name) for name, data, status in REFUSED])
def test_a_bad_handshake_is_refused(loop: Loop, data: bytes, status: int) -> None:
    result = however_cut(data, lambda pieces: outcome(loop, pieces, ws="auto"))
    assert result == Outcome([], result.answers, "ending")
    assert result.status == status


def test_a_refused_version_is_told_what_is_served(loop: Loop) -> None:
    """RFC 6455 §4.4, RFC 9110 §15.5.22."""
    answers = outcome(loop, [HANDSHAKE.replace(b"Version: 13", b"Version: 8")], ws="auto").answers
    assert answers == (
        b"HTTP/1.1 426 Upgrade Required\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 61\r\n"
        b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nconnection: close\r\n\r\n"
        b"426 Upgrade Required: the version of WebSocket is not served\n"
    )


REQUESTS = [
    ("HTTP/1.0 cannot upgrade (RFC 9110 §7.8)", HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0")),
    ("to another protocol", HANDSHAKE.replace(b"Upgrade: websocket", b"Upgrade: h2c")),
    ("that Connection does not name", HANDSHAKE.replace(b", Upgrade", b"")),
    ("without Upgrade", HANDSHAKE.replace(b"Upgrade: websocket\r\n", b"")),
]


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in REQUESTS])
def test_a_request_is_no_handshake(loop: Loop, data: bytes) -> None:
    """… and is served as any other."""
    app = Steps()
    Server(loop, app, ws="auto").connect().feed(data)
    (call,) = app.calls
    assert call.scope["type"] == "http"
    call.answer()


def test_a_handshake_is_a_request_where_the_server_is_to_serve_no_websocket(loop: Loop) -> None:
    app = Steps()
    Server(loop, app, ws="none").connect().feed(HANDSHAKE)
    assert app.calls[0].scope["type"] == "http"
    app.calls[0].answer()


def test_a_handshake_ahead_of_an_answer_is_a_request(loop: Loop) -> None:
    """… since its connection belongs to the requests before it."""
    app = Steps()
    Server(loop, app, ws="auto").connect().feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + HANDSHAKE)
    app.calls[0].answer()
    assert [call.scope["type"] for call in app.calls] == ["http", "http"]
    app.calls[1].answer()


@pytest.mark.parametrize("upgrade", [b"WebSocket", b"h2c, websocket", b"websocket , x"])
def test_websocket_among_other_protocols_and_in_capitals_is_one(loop: Loop, upgrade: bytes) -> None:
    data = HANDSHAKE.replace(b"Upgrade: websocket", b"Upgrade: " + upgrade)
    assert between(loop, [data], [SWITCHING])[:2] == (PASSED_ON, SWITCHED)


# What a backend answers


WRONG: list[tuple[str, bytes]] = [
    ("another protocol", SWITCHING.replace(b"Upgrade: WebSocket", b"Upgrade: h2c")),
    ("two protocols", SWITCHING.replace(b"Upgrade: WebSocket", b"Upgrade: websocket, h2c")),
    ("no Upgrade", SWITCHING.replace(b"Upgrade: WebSocket\r\n", b"")),
    ("no Connection", SWITCHING.replace(b"Connection: Upgrade\r\n", b"")),
    ("no accept", SWITCHING.replace(b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n", b"")),
    ("the accept of another key", SWITCHING.replace(ACCEPT, b"HSmrc0sMlYUkAGmm5OPpG2HaGWk=")),
    ("two accepts", SWITCHING.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n")),
    ("a subprotocol that was not offered", SWITCHING.replace(b"superchat", b"other")),
    ("two subprotocols", SWITCHING.replace(b"superchat", b"chat, superchat")),
    ("a subprotocol twice", SWITCHING.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n")),
    ("a body", SWITCHING.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\nx")),
    ("HTTP/1.0", SWITCHING.replace(b"HTTP/1.1", b"HTTP/1.0")),
    ("no HTTP", b"\x81\x00\r\n\r\n"),
    ("half a head", SWITCHING[:-4]),
]


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in WRONG])
def test_a_wrong_answer_of_the_backend_is_502(gateway: Gateway, data: bytes) -> None:
    client = gateway.client(HANDSHAKE)
    gateway.backend().feed(data)
    if not gateway.backend().lost:
        gateway.backend().feed_eof()
    assert client.output.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert client.output.count(b"HTTP/1.1") == 1
    assert gateway.backend().lost
    assert gateway.endpoints[0].in_flight == 0


def test_no_subprotocol_is_an_answer_to_some(gateway: Gateway) -> None:
    client = gateway.client(HANDSHAKE)
    gateway.backend().feed(SWITCHING.replace(b"Sec-WebSocket-Protocol: superchat\r\n", b""))
    assert client.output == SWITCHED.replace(b"sec-websocket-protocol: superchat\r\n", b"")


def test_interim_answers_before_the_101_are_passed_over(gateway: Gateway) -> None:
    client = gateway.client(HANDSHAKE)
    gateway.backend().feed(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + SWITCHING)
    assert client.output == SWITCHED


def test_hop_by_hop_fields_stay_where_they_are(gateway: Gateway) -> None:
    client = gateway.client(
        HANDSHAKE.replace(b"Connection: keep-alive,", b"Keep-Alive: 5\r\nX-Hop: 1\r\nConnection: x-hop,")
    )
    assert gateway.backend().output == PASSED_ON
    gateway.backend().feed(SWITCHING.replace(b"Connection: Upgrade", b"X-Hop: 1\r\nConnection: x-hop, Upgrade"))
    assert client.output == SWITCHED


def test_a_refusal_of_the_backend_reaches_the_client(loop: Loop) -> None:
    """… status, fields and body; the client's connection then ends."""
    refusal = b"HTTP/1.1 403 No\r\nX-Why: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 5\r\n\r\nnever"
    for pieces in cuts(refusal):
        gateway = Gateway(loop)
        client = gateway.client(HANDSHAKE)
        gateway.backend().feed(*pieces)
        assert undated(client.output) == (
            b"HTTP/1.1 403 Forbidden\r\nx-why: x\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: 5\r\n"
            b"connection: close\r\n\r\nnever"
        )
        assert client.state == "closed"
        assert gateway.backend().state == "open", "the backend's connection can serve others"
        assert not gateway.server.state.connections


def test_a_long_refusal_waits_for_the_client(gateway: Gateway) -> None:
    client = gateway.client(HANDSHAKE)
    client.reading = False
    gateway.backend().feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(50):
        gateway.backend().feed(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
    assert gateway.backend().paused
    assert client.largest_wait < 1_000_000
    client.lose()
    assert gateway.backend().state == "aborted"


def test_a_refusal_that_breaks_off_breaks_the_client(gateway: Gateway) -> None:
    client = gateway.client(HANDSHAKE)
    gateway.backend().feed(b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nne")
    gateway.backend().feed_eof()
    assert client.output.endswith(b"\r\n\r\nne")
    assert client.state == "aborted"


def test_a_middleware_that_spoils_the_answer(gateway: Gateway, loop: Loop) -> None:
    """… gets an error of its own, and the backend's connection is let go."""
    inside = gateway.server.config.loaded_app

    async def spoiling(scope: Scope, receive: Receive, send: Send) -> None:
        async def spoil(message: Message) -> None:
            await send({**message, "headers": [(b"x", b"a\r\nb: c")]} if "headers" in message else message)

        await inside(scope, receive, spoil)

    gateway.server.config.loaded_app = spoiling
    client = gateway.client(HANDSHAKE)
    gateway.backend().feed(SWITCHING)
    assert client.output.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert gateway.backend().state == "aborted"
    assert gateway.endpoints[0].in_flight == 0


# Which endpoint


def test_an_endpoint_that_cannot_be_reached_is_left_for_another(loop: Loop) -> None:
    gateway = Gateway(loop, "192.0.2.8", "192.0.2.9")
    tried: list[str] = []

    async def connecting() -> None:
        tried.append(loop.asked[-1][0])
        if len(tried) == 1:
            raise ConnectionRefusedError

    loop.connecting = connecting
    client = gateway.client(HANDSHAKE)
    gateway.backend().feed(SWITCHING)
    assert client.output == SWITCHED
    assert sorted(tried) == ["192.0.2.8", "192.0.2.9"]
    by_name = {endpoint.address.host: endpoint for endpoint in gateway.endpoints}
    assert by_name[tried[0]].ejected_until > 0
    assert [by_name[host].in_flight for host in tried] == [0, 1]


def test_no_endpoint_that_can_be_reached_is_502(gateway: Gateway, loop: Loop) -> None:
    async def refused() -> None:
        raise ConnectionRefusedError

    loop.connecting = refused
    assert gateway.client(HANDSHAKE).output.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")


def test_an_endpoint_is_busy_for_as_long_as_its_websocket_is_open(gateway: Gateway) -> None:
    client, _ = gateway.opened()
    assert gateway.endpoints[0].in_flight == 1
    client.lose()
    assert gateway.endpoints[0].in_flight == 0


# Who leaves before the answer


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_leaves_takes_its_handshake_with_it(gateway: Gateway, reset: bool) -> None:
    client = gateway.client(HANDSHAKE)
    client.lose(ConnectionResetError()) if reset else client.feed_eof()
    assert gateway.backend().state == "aborted"
    assert not gateway.server.state.tasks
    assert not gateway.server.state.connections
    assert gateway.endpoints[0].in_flight == 0
    (line,) = gateway.lines
    assert '"DownstreamStatus":499' in line


def test_a_client_that_leaves_while_a_connection_is_made(gateway: Gateway, loop: Loop) -> None:
    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    loop.connecting = never
    gateway.client(HANDSHAKE).lose()
    assert not gateway.server.state.tasks
    assert not loop.wires


def test_a_backend_that_ends_behind_its_101(gateway: Gateway) -> None:
    client = gateway.client(HANDSHAKE)
    gateway.backend().feed(SWITCHING)
    gateway.backend().feed_eof()
    assert client.output == SWITCHED
    gateway.loop.advance(11)
    assert client.lost


def test_too_many_connections_are_refused(loop: Loop) -> None:
    gateway = Gateway(loop, limit_concurrency=1)
    first: Wire = gateway.opened()[0]
    second = gateway.client(HANDSHAKE)
    assert second.output.startswith(b"HTTP/1.1 503 ")
    assert first.state == "open"
