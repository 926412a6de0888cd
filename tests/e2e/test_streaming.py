"""What passes through the gateway as it comes: bodies both ways, broken ones too, and what is not its own."""

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256

import pytest
from starlette.types import Receive, Scope, Send

from tests.e2e.conftest import Backends
from tests.helpers.client import Connection, ask
from tests.helpers.manifests import backend, route, service, write
from tests.helpers.processes import Process, free_port, gateway, peak_memory
from tests.helpers.upstreams import head_of, serving, speaking

MIB = 2**20
CHUNK = bytes(range(256)) * 256  # 64 KiB
LARGE = 64 * MIB
DIGEST = sha256(CHUNK * (LARGE // len(CHUNK))).hexdigest()
#: What the gateway may need on top for a body of 64 MiB: far less than the body.
EXTRA = 16 * MIB


class Upstream:
    """A backend that streams, and tells the test what it sees."""

    def __init__(self) -> None:
        self.first_bytes = threading.Event()
        self.client_left = threading.Event()
        self.release = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await getattr(self, scope["path"].strip("/"))(scope, receive, send)

    async def upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        digest, size, more = sha256(), 0, True
        while more:
            message = await receive()
            digest.update(message.get("body", b""))
            size += len(message.get("body", b""))
            if size:
                self.first_bytes.set()
            more = message.get("more_body", False)
        fields = {name.decode(): value.decode() for name, value in scope["headers"]}
        await answer(send, json.dumps({"size": size, "digest": digest.hexdigest(), "fields": fields}).encode())

    async def download(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(LARGE // len(CHUNK)):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def events(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
        while not self.release.is_set():
            await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"data: last\n\n"})

    async def wait(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            self.first_bytes.set()
        self.client_left.set()

    async def endless(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not self.client_left.is_set():
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
            try:
                async with asyncio.timeout(0.001):
                    if (await receive())["type"] == "http.disconnect":
                        self.client_left.set()
            except TimeoutError:
                pass

    async def cookies(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"", [(b"set-cookie", b"a=1"), (b"x-other", b"between"), (b"set-cookie", b"b=2")])


async def answer(send: Send, body: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    headers = [(b"content-length", b"%d" % len(body)), *(headers or [])]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def breaks_its_length(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await head_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.")
    await writer.drain()


async def breaks_its_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await head_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nten bytes.\r\n")
    await writer.drain()


async def speaks_no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await head_of(reader)
    writer.write(b"220 mail.example ESMTP\r\n")
    await writer.drain()


#: The methods whose requests meet an endpoint that hangs up beside one that answers.
REPEATED = ("get", "post", "patch")


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await head_of(reader)


class Current:
    """The backend behind host ``upstream``: the present test's own."""

    upstream: Upstream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.upstream(scope, receive, send)


@pytest.fixture(scope="module")
def current() -> Current:
    return Current()


@pytest.fixture(scope="module", params=["auto", "app.listeners.http:GatewayProtocol"], autouse=True)
def protocol(request: pytest.FixtureRequest) -> Iterator[None]:
    """uvicorn's own HTTP protocol and ours: everything here holds with either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UVICORN_HTTP", request.param)
        yield


@pytest.fixture(scope="module")
def running(
    protocol: None, current: Current, tmp_path_factory: pytest.TempPathFactory, backends: Backends
) -> Iterator[Process]:
    """One gateway, with a route for each kind of backend, by host."""
    folder = tmp_path_factory.mktemp("streaming")
    dead = free_port()
    with ExitStack() as stack:
        ports: dict[str, tuple[int, ...]] = {
            "upstream": (stack.enter_context(serving(current)),),
            "echo": (backends.nginx,),
            "breaks-its-length": (stack.enter_context(speaking(breaks_its_length)),),
            "breaks-its-chunks": (stack.enter_context(speaking(breaks_its_chunks)),),
            "speaks-no-http": (stack.enter_context(speaking(speaks_no_http)),),
            "hangs-up": (stack.enter_context(speaking(hangs_up)),),
            # One each: an endpoint that does this is soon passed over.
            **{f"{method}-hangs-up": (stack.enter_context(speaking(hangs_up)), backends.nginx) for method in REPEATED},
            "half-dead": (dead, backends.nginx),
            "dead": (dead,),
        }
        manifests = [manifest for name, own in ports.items() for manifest in backend(name, *own)]
        write(folder / "backends.yaml", *manifests, *(route(name, name, host=name) for name in ports))
        none = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "empty"}}
        write(folder / "empty.yaml", service("empty"), none, route("empty", "empty", host="empty"))
        named = service("by-name", backends.nginx)
        write(folder / "by-name.yaml", named, route("by-name", "by-name", host="by-name", port=backends.nginx))
        yield stack.enter_context(gateway(folder, service_dns="127.0.0.1"))


@pytest.fixture
def upstream(current: Current, running: Process) -> Iterator[Upstream]:
    current.upstream = Upstream()
    yield current.upstream
    current.upstream.release.set()
    current.upstream.client_left.set()


# Bodies, as they come


def test_64_mib_go_up_without_being_held(running: Process, upstream: Upstream) -> None:
    before = peak_memory(running)
    with Connection(running.port) as connection:
        connection.begin("POST", "/upload", "upstream", ("Content-Length", str(LARGE)))
        connection.socket.sendall(CHUNK)
        assert upstream.first_bytes.wait(10), "the backend has the beginning while the end is not sent yet"
        for _ in range(LARGE // len(CHUNK) - 1):
            connection.socket.sendall(CHUNK)
        told = json.loads(connection.finish().body)
    assert (told["size"], told["digest"]) == (LARGE, DIGEST)
    assert told["fields"]["content-length"] == str(LARGE)
    assert peak_memory(running) - before < EXTRA


def test_64_mib_come_down_without_being_held(running: Process, upstream: Upstream) -> None:
    before = peak_memory(running)
    answer = ask(running.port, "/download", "upstream")
    assert sha256(answer.body).hexdigest() == DIGEST
    assert peak_memory(running) - before < EXTRA


def test_a_slow_client_holds_up_the_backend_and_fills_no_memory(running: Process, upstream: Upstream) -> None:
    before = peak_memory(running)
    with Connection(running.port) as slow:
        slow.begin("GET", "/download", "upstream")
        slow.socket.recv(1)
        # While it takes nothing more, others are served as ever.
        for _ in range(200):
            assert ask(running.port, "/", "echo").status == 200
        assert peak_memory(running) - before < EXTRA


def test_a_chunked_request_stays_chunked(running: Process, upstream: Upstream) -> None:
    with Connection(running.port) as connection:
        connection.begin("POST", "/upload", "upstream", ("Transfer-Encoding", "chunked"))
        connection.socket.sendall(b"5\r\nhello\r\n")
        assert upstream.first_bytes.wait(10)
        connection.socket.sendall(b"7\r\n, world\r\n0\r\n\r\n")
        told = json.loads(connection.finish().body)
    assert told["digest"] == sha256(b"hello, world").hexdigest()
    assert told["fields"]["transfer-encoding"] == "chunked"
    assert "content-length" not in told["fields"]


def test_an_event_arrives_before_the_response_ends(running: Process, upstream: Upstream) -> None:
    with Connection(running.port) as connection:
        connection.begin("GET", "/events", "upstream")
        response = connection.response()
        assert response.getheader("content-type") == "text/event-stream"
        assert response.readline() == b"data: first\n"
        upstream.release.set()
        assert response.read() == b"\ndata: last\n\n"


# Ends that come early


def test_a_client_that_leaves_while_it_waits_ends_the_request_to_the_backend(
    running: Process, upstream: Upstream
) -> None:
    with Connection(running.port) as connection:
        connection.begin("GET", "/wait", "upstream")
        assert upstream.first_bytes.wait(10)
    assert upstream.client_left.wait(10)


def test_a_client_that_leaves_within_its_body_ends_the_request_to_the_backend(
    running: Process, upstream: Upstream
) -> None:
    with Connection(running.port) as connection:
        connection.begin("POST", "/wait", "upstream", ("Content-Length", "1000"))
        connection.socket.sendall(b"a part")
        assert upstream.first_bytes.wait(10)
    assert upstream.client_left.wait(10)


def test_a_client_that_leaves_within_the_answer_ends_the_request_to_the_backend(
    running: Process, upstream: Upstream
) -> None:
    with Connection(running.port) as connection:
        connection.begin("GET", "/endless", "upstream")
        connection.socket.recv(1000)
    assert upstream.client_left.wait(10)


@pytest.mark.parametrize("host", ["breaks-its-length", "breaks-its-chunks"])
def test_an_answer_that_breaks_off_is_broken_for_the_client_too(running: Process, host: str) -> None:
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(running.port, host=host)
    assert caught.value.partial == b"ten bytes."


@pytest.mark.parametrize("host", ["speaks-no-http", "hangs-up", "dead"])
def test_a_backend_without_an_answer_is_a_bad_gateway(running: Process, host: str) -> None:
    assert ask(running.port, host=host).status == 502


def test_a_backend_without_endpoints_is_unavailable(running: Process) -> None:
    assert ask(running.port, host="empty").status == 503


# What is not the gateway's own


def test_each_set_cookie_stays_a_field_of_its_own(running: Process, upstream: Upstream) -> None:
    assert ask(running.port, "/cookies", "upstream").values("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize(
    "target", ["/a%2Fb%20c", "/%7Euser/%e2%82%ac", "//double//slash", "/q?a=%20b&&c", "/semi;colon"]
)
def test_the_target_reaches_the_backend_as_it_was_sent(running: Process, target: str) -> None:
    assert f"\nGET {target} HTTP/1.1\r\n" in ask(running.port, target, "echo").text


def test_repeated_request_fields_reach_the_backend_each(running: Process) -> None:
    text = ask(running.port, "/", "echo", fields=(("X-Twice", "1"), ("X-Twice", "2"))).text
    assert "X-Twice: 1\r\nX-Twice: 2\r\n" in text


def test_head_has_the_length_and_no_body(running: Process) -> None:
    with Connection(running.port) as connection:
        head = connection.ask("/", "echo", method="HEAD")
        # The next answer would begin with whatever was sent as a body.
        following = connection.ask("/", "echo")
    assert (head.status, head.body) == (200, b"")
    assert int(head.values("content-length")[0]) == len(following.body) + 1  # "HEAD" is a letter longer than "GET"


def test_the_gateway_adds_no_fields_to_an_answer(running: Process) -> None:
    assert [name for name, _ in ask(running.port, "/", "echo").fields if name != "date"] == [
        "content-type",
        "content-length",
    ]


# Endpoints


def test_a_request_that_may_be_repeated_goes_to_another_endpoint_when_it_gets_no_answer(running: Process) -> None:
    assert {ask(running.port, host="get-hangs-up").status for _ in range(32)} == {200}


def test_a_request_that_may_not_be_repeated_is_never_sent_twice(running: Process) -> None:
    """RFC 9110 §9.2.2: with a body, or of a method that is not idempotent."""
    for method in ("POST", "PATCH"):
        host = f"{method.lower()}-hangs-up"
        assert {ask(running.port, host=host, method=method).status for _ in range(32)} == {200, 502}


def test_a_dead_endpoint_costs_no_request_while_another_lives(running: Process) -> None:
    assert {ask(running.port, host="half-dead").status for _ in range(32)} == {200}


def test_a_service_without_endpoints_in_the_manifests_is_found_by_its_host_name(running: Process) -> None:
    assert ask(running.port, host="by-name").name == "nginx"
