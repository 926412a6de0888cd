"""WebSockets over HTTP/2 over real sockets: h2 speaks the streams, websockets what is on them and the backend."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from websockets.frames import Close, Opcode

from tests.helpers.chatty import MIB, Chatty, Closed, chatty
from tests.helpers.client import insecure
from tests.helpers.http2 import Http2Client, WebSocketStream
from tests.helpers.manifests import backend, gateway_object, http_listener, https_listener, pair, route, secret, write
from tests.helpers.processes import Process, free_port, gateway, is_listening, peak_memory
from tests.helpers.waiting import wait_until

Dial = Callable[..., AbstractContextManager[WebSocketStream]]


@pytest.fixture(scope="module")
def chat() -> Iterator[Chatty]:
    with chatty() as backend:
        yield backend


@pytest.fixture
def mark(request: pytest.FixtureRequest) -> str:
    """A query of this test's own."""
    return sha256(request.node.name.encode()).hexdigest()


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {"h2c": free_port(), "h2": free_port()}


@contextmanager
def serving(folder: Path, chat: Chatty, ports: dict[str, int], *arguments: str) -> Iterator[Process]:
    write(
        folder / "all.yaml",
        gateway_object("g", http_listener(ports["h2c"]), https_listener(ports["h2"], "s")),
        secret("s", *pair("chat.example")),
        *backend("chat", chat.port),
        *backend("dead", free_port()),
        *[route(name, name, host=f"{name}.example", gateway="g") for name in ("chat", "dead")],
    )
    own = ("--http", "app.listeners.http:GatewayProtocol", *arguments)
    with gateway(folder, *own, port=ports["h2c"], access_log="json") as running:
        wait_until(lambda: is_listening(ports["h2"]), what="the HTTPS listener listens")
        yield running


@pytest.fixture(scope="module")
def running(chat: Chatty, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serving(tmp_path_factory.mktemp("http2-websocket"), chat, ports) as running:
        yield running


@contextmanager
def dialled(
    kind: str, port: int, path: str, host: str = "chat.example", *fields: tuple[bytes, bytes]
) -> Iterator[WebSocketStream]:
    with Http2Client(port, tls=insecure() if kind == "h2" else None, host=host) as client:
        yield WebSocketStream(client, path, *fields)


@pytest.fixture(params=["h2c", "h2"])
def dial(request: pytest.FixtureRequest, running: Process, ports: dict[str, int]) -> Dial:
    """Asks for a WebSocket, by prior knowledge or over TLS."""
    return lambda path, *options: dialled(request.param, ports[request.param], path, *options)


# Messages


def test_text_and_bytes_come_back(dial: Dial) -> None:
    with dial("/echo") as websocket:
        assert websocket.answer.status == 200
        for message in ("grüß".encode(), b"", b"x" * 70_000):
            websocket.protocol.send_text(message)
            websocket.flush()
            assert websocket.message() == message
        websocket.protocol.send_binary(b"\0\xff")
        websocket.flush()
        frame = websocket.receive()
        assert frame is not None
        assert (frame.opcode, bytes(frame.data)) == (Opcode.BINARY, b"\0\xff")


def test_a_large_message_comes_back(dial: Dial) -> None:
    message = os.urandom(4 * 2**20)
    with dial("/echo") as websocket:
        websocket.protocol.send_binary(message)
        websocket.flush()
        assert websocket.message() == message


def test_pings_of_both_are_answered(dial: Dial) -> None:
    with dial("/ping") as websocket:
        websocket.protocol.send_ping(b"mine")
        websocket.flush()
        frames = [websocket.receive() for _ in range(3)]
        assert all(frames)
        assert {(frame.opcode, bytes(frame.data)) for frame in frames if frame} == {
            (Opcode.PING, b"are you there"), (Opcode.PONG, b"mine"), (Opcode.TEXT, b"answered"),
        }  # fmt: skip


def test_a_subprotocol_is_agreed_on(dial: Dial) -> None:
    with dial("/echo", "chat.example", (b"sec-websocket-protocol", b"other, chat")) as websocket:
        assert websocket.answer.fields[b"sec-websocket-protocol"] == b"chat"


def test_the_backend_is_told_who_asks(dial: Dial, request: pytest.FixtureRequest) -> None:
    with dial("/request?a", "chat.example", (b"origin", b"http://o"), (b"x-forwarded-for", b"evil")) as websocket:
        told = json.loads(websocket.message())
    fields = dict(told["fields"])
    assert len(fields) == len(told["fields"])
    assert told["path"] == "/request?a"
    assert (fields["host"], fields["origin"]) == ("chat.example", "http://o")
    scheme = "wss" if request.node.callspec.params["dial"] == "h2" else "ws"
    assert (fields["x-forwarded-proto"], fields["x-forwarded-for"]) == (scheme, "127.0.0.1")


def test_many_on_one_connection(running: Process, ports: dict[str, int]) -> None:
    with Http2Client(ports["h2c"], host="chat.example") as client:
        websockets = [WebSocketStream(client, "/echo") for _ in range(50)]
        for number, websocket in enumerate(websockets):
            websocket.protocol.send_text(b"%d" % number)
            websocket.flush()
        assert [websocket.message() for websocket in websockets] == [b"%d" % number for number in range(50)]


def test_a_client_that_does_not_take_what_comes_fills_no_memory(running: Process, ports: dict[str, int]) -> None:
    with Http2Client(ports["h2c"], host="chat.example") as client:
        other = WebSocketStream(client, "/echo")
        before = peak_memory(running)
        flooded = WebSocketStream(client, "/flood/64")
        client.stalled[flooded.stream] = 0
        # While nothing of it is taken, others on the same connection are served as ever.
        for _ in range(200):
            other.protocol.send_text(b"hello")
            other.flush()
            while len(other.answer.body) < 7:
                client.receive()
            other.answer.body.clear()
        client.take(flooded.stream)
        assert [flooded.message() for _ in range(64)] == [MIB] * 64
        assert peak_memory(running) - before < 16 * 2**20


# Ends


def test_the_client_closes(dial: Dial, chat: Chatty, mark: str) -> None:
    with dial(f"/echo?{mark}") as websocket:
        websocket.protocol.send_close(4000, "grüß")
        websocket.flush()
        frame = websocket.receive()
        assert frame is not None
        assert Close.parse(bytes(frame.data)) == Close(4000, "grüß")
        assert websocket.receive() is None
        assert websocket.answer.ended
        assert wait_until(lambda: chat.ends.get(mark)) == Closed(4000, "grüß")


def test_the_backend_closes(dial: Dial) -> None:
    with dial("/close/3000/why") as websocket:
        frame = websocket.receive()
        assert frame is not None
        assert Close.parse(bytes(frame.data)) == Close(3000, "why")
        assert websocket.receive() is None
        assert websocket.answer.ended


def test_a_stream_that_is_reset_takes_the_backends_connection_with_it(dial: Dial, chat: Chatty, mark: str) -> None:
    with dial(f"/echo?{mark}") as websocket:
        websocket.protocol.send_text(b"hello")
        websocket.flush()
        assert websocket.message() == b"hello"
        websocket.client.reset(websocket.stream)
        assert wait_until(lambda: chat.ends.get(mark)) == Closed(1006, "")


def test_a_client_that_vanishes_takes_the_backends_connection_with_it(dial: Dial, chat: Chatty, mark: str) -> None:
    with dial(f"/echo?{mark}"):
        pass
    assert wait_until(lambda: chat.ends.get(mark)) == Closed(1006, "")


def test_a_backend_that_vanishes_ends_the_stream(dial: Dial) -> None:
    with dial("/vanish") as websocket:
        assert websocket.receive() is None
        assert websocket.answer.over


# Refusals


@pytest.mark.parametrize(
    ("host", "path", "status", "body"),
    [
        ("chat.example", "/refuse", 403, b"not you"),
        ("nobody.example", "/", 404, b"404 Not Found"),
        ("dead.example", "/", 502, b"502 Bad Gateway"),
    ],
)
def test_what_cannot_be_served_is_an_answer(dial: Dial, host: str, path: str, status: int, body: bytes) -> None:
    with dial(path, host) as websocket:
        websocket.client.finish(websocket.answer)
        assert websocket.answer.status == status
        assert websocket.answer.body.startswith(body)


# The log, and the end


def test_the_access_log_has_one_line(running: Process, ports: dict[str, int], mark: str) -> None:
    with dialled("h2c", ports["h2c"], f"/echo?{mark}") as websocket:
        websocket.protocol.send_text(b"x" * 100)
        websocket.flush()
        assert websocket.message() == b"x" * 100
        websocket.protocol.send_close(1000)
        websocket.flush()
        while websocket.receive():
            pass
    wait_until(lambda: mark in running.output, what="a line in the access log")
    (line,) = [json.loads(line) for line in running.output.splitlines() if mark in line]
    assert (line["DownstreamStatus"], line["OriginStatus"], line["ResponseFlags"]) == (200, 101, "-")
    assert (line["RequestContentSize"], line["DownstreamContentSize"]) == (106 + 8, 102 + 4)
    assert line["RequestProtocol"] == "HTTP/2.0"


def test_open_websockets_are_told_to_leave_when_the_server_stops(
    chat: Chatty, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ports = {"h2c": free_port(), "h2": free_port()}
    folder = tmp_path_factory.mktemp("stopping")
    with (
        serving(folder, chat, ports, "--timeout-graceful-shutdown", "2") as stopping,
        dialled("h2c", ports["h2c"], "/echo") as websocket,
    ):
        stopping.send(signal.SIGTERM)
        frame = websocket.receive()
        assert frame is not None
        assert Close.parse(bytes(frame.data)).code == 1001
        assert websocket.receive() is None
        assert stopping.wait() in (0, -signal.SIGTERM)
        assert "Traceback" not in stopping.log
