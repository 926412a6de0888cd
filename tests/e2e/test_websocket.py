"""WebSockets over real sockets: under our protocol, which tunnels them, and uvicorn's own, where messages pass."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from hashlib import sha256

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.helpers.chatty import MIB, Chatty, Closed, chatty
from tests.helpers.manifests import backend, gateway_object, http_listener, https_listener, pair, route, secret, write
from tests.helpers.processes import Process, free_port, gateway, is_listening, peak_memory
from tests.helpers.waiting import wait_until
from tests.helpers.websocket import Client, dialled

Dial = Callable[..., AbstractContextManager[Client]]


@pytest.fixture(scope="module", params=["auto", "app.listeners.http:GatewayProtocol"], autouse=True)
def protocol(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UVICORN_HTTP", request.param)
        yield request.param


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
    return {"ws": free_port(), "wss": free_port()}


@pytest.fixture(scope="module")
def running(
    protocol: str, chat: Chatty, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("websocket")
    write(
        folder / "all.yaml",
        gateway_object("g", http_listener(ports["ws"]), https_listener(ports["wss"], "s")),
        secret("s", *pair("chat.example")),
        *backend("chat", chat.port),
        *backend("dead", free_port()),
        *backend("half-dead", free_port(), chat.port),
        *[route(name, name, host=f"{name}.example", gateway="g") for name in ("chat", "dead", "half-dead")],
        route("missing", "missing", host="missing.example", gateway="g"),
        route("below", "chat", host="below.example", path="/echo", gateway="g"),
    )
    with gateway(folder, port=ports["ws"], access_log="json") as running:
        wait_until(lambda: is_listening(ports["wss"]), what="the HTTPS listener listens")
        yield running


@pytest.fixture(params=["ws", "wss"])
def dial(request: pytest.FixtureRequest, running: Process, ports: dict[str, int]) -> Dial:
    """Opens a WebSocket to a path; over TLS with ``wss``."""
    return partial(dialled, request.param, ports[request.param])


# Messages


def test_text_and_bytes_come_back(dial: Dial) -> None:
    with dial("/echo") as client:
        for message in ("grüß", b"\0\xff", "", b"", "x" * 70_000):
            client.send(message)
            assert client.recv() == message


def test_a_message_in_fragments_comes_back(dial: Dial) -> None:
    with dial("/echo") as client:
        client.send(iter(["frag", "men", "ted"]))
        assert client.recv() == "fragmented"


def test_a_message_of_10_mib_comes_back(dial: Dial) -> None:
    message = os.urandom(10 * 2**20)
    with dial("/echo") as client:
        client.send(message)
        assert client.recv() == message


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_many_messages_come_back_in_their_order(dial: Dial, compression: str | None) -> None:
    with dial("/echo", compression=compression) as client:
        messages = [f"message {number}" for number in range(500)]

        def send() -> None:
            for message in messages:
                client.send(message)

        sender = threading.Thread(target=send)
        sender.start()
        assert [client.recv() for _ in messages] == messages
        sender.join()


def test_compression_is_agreed_on(dial: Dial) -> None:
    with dial("/echo", compression="deflate") as client:
        assert [extension.name for extension in client.connection.protocol.extensions] == ["permessage-deflate"]
        client.send("a" * 100_000)
        assert client.recv() == "a" * 100_000


def test_a_subprotocol_is_agreed_on(dial: Dial) -> None:
    with dial("/echo", subprotocols=[Subprotocol("other"), Subprotocol("chat")]) as client:
        assert client.connection.subprotocol == "chat"


def test_a_ping_of_the_client_is_answered(dial: Dial) -> None:
    with dial("/echo") as client:
        client.ping()


def test_a_ping_of_the_backend_is_answered(dial: Dial) -> None:
    with dial("/ping") as client:
        assert client.recv() == "answered"


def test_the_backend_is_told_who_asks(dial: Dial, request: pytest.FixtureRequest) -> None:
    with dial("/request", origin="http://o", additional_headers={"X-Forwarded-For": "evil", "Cookie": "c"}) as client:
        told = json.loads(client.recv())
    fields = dict(told["fields"])
    assert len(fields) == len(told["fields"])
    scheme = request.node.callspec.params["dial"]
    assert (fields["origin"], fields["cookie"]) == ("http://o", "c")
    assert (fields["x-forwarded-proto"], fields["x-forwarded-for"]) == (scheme, "127.0.0.1")
    assert (fields["upgrade"], fields["connection"], fields["sec-websocket-version"]) == ("websocket", "Upgrade", "13")


def test_a_client_that_does_not_read_fills_no_memory(dial: Dial, running: Process) -> None:
    with dial("/echo") as other:
        before = peak_memory(running)
        with dial("/flood/64") as client:
            assert client.recv() == MIB
            # While it takes nothing more, others are served as ever.
            for _ in range(200):
                other.send("hello")
                assert other.recv() == "hello"
            assert [client.recv() for _ in range(63)] == [MIB] * 63
        assert peak_memory(running) - before < 16 * 2**20


# Ends


CODES = [(1000, ""), (1001, "away"), (3000, "why"), (4000, "grüß")]


@pytest.mark.parametrize(("code", "reason"), CODES)
def test_the_client_closes(dial: Dial, chat: Chatty, mark: str, code: int, reason: str) -> None:
    with dial(f"/echo?{mark}") as client:
        client.close(code, reason)
        assert client.closed == (code, reason)
    assert wait_until(lambda: chat.ends.get(mark)) == Closed(code, reason)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "away"), (3000, "why"), (4000, "enough")])
def test_the_backend_closes(dial: Dial, code: int, reason: str) -> None:
    with dial(f"/close/{code}/{reason}") as client, pytest.raises(ConnectionClosed) as caught:
        client.recv()
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (code, reason)


def test_a_client_that_vanishes_takes_the_backends_connection_with_it(
    dial: Dial, chat: Chatty, mark: str, protocol: str
) -> None:
    with dial(f"/echo?{mark}") as client:
        client.send("hello")
        assert client.recv() == "hello"
        client.vanish()
        # uvicorn's protocol takes the end of a connection for a close without a code.
        assert wait_until(lambda: chat.ends.get(mark)) == Closed(1005 if protocol == "auto" else 1006, "")


def test_a_backend_that_vanishes_takes_the_clients_connection_with_it(dial: Dial, protocol: str) -> None:
    with dial("/vanish") as client, pytest.raises(ConnectionClosed):
        client.recv()
    assert client.closed[0] == (1014 if protocol == "auto" else 1006)


# Refusals


def refused(dial: Dial, path: str, host: str = "chat.example") -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as caught, dial(path, host):
        pass
    return caught.value.response.status_code, bytes(caught.value.response.body or b"")


def test_a_refusal_of_the_backend_reaches_the_client(dial: Dial) -> None:
    assert refused(dial, "/refuse") == (403, b"not you")


@pytest.mark.parametrize(
    ("host", "status"),
    [("nobody.example", 404), ("below.example", 404), ("missing.example", 500), ("dead.example", 502)],
)
def test_what_cannot_be_served_is_an_answer(dial: Dial, host: str, status: int) -> None:
    code, body = refused(dial, "/elsewhere", host)
    assert code == status
    assert body.startswith(b"%d " % status)


def test_a_path_decides(dial: Dial) -> None:
    with dial("/echo", "below.example") as client:
        client.send("hello")
        assert client.recv() == "hello"


def test_a_dead_endpoint_costs_no_websocket_while_another_lives(dial: Dial) -> None:
    for _ in range(16):
        with dial("/echo", "half-dead.example") as client:
            client.send("hello")
            assert client.recv() == "hello"


# The log, and the end


def test_the_access_log_has_one_line(running: Process, ports: dict[str, int], protocol: str, mark: str) -> None:
    with dialled("ws", ports["ws"], f"/echo?{mark}") as client:
        client.send("x" * 100)
        assert client.recv() == "x" * 100
    wait_until(lambda: mark in running.output, what="a line in the access log")
    (line,) = [json.loads(line) for line in running.output.splitlines() if mark in line]
    assert (line["DownstreamStatus"], line["OriginStatus"], line["ResponseFlags"]) == (101, 101, "-")
    if protocol == "auto":
        assert (line["RequestContentSize"], line["DownstreamContentSize"]) == (100, 100)
    else:
        assert (line["RequestContentSize"], line["DownstreamContentSize"]) == (106 + 8, 102 + 4)


def test_open_websockets_are_told_to_leave_when_the_server_stops(
    protocol: str, chat: Chatty, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("stopping")
    write(folder / "all.yaml", *backend("chat", chat.port), route("chat", "chat", host="chat.example"))
    with gateway(folder, "--timeout-graceful-shutdown", "2") as stopping:
        with dialled("ws", stopping.port, "/echo") as client:
            client.send("hello")
            assert client.recv() == "hello"
            stopping.send(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as caught:
                client.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == (1012 if protocol == "auto" else 1001)
        stopping.wait()
