"""The gateway before backends that speak HTTP/2, told so by their Services' appProtocol."""

import http.client
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.client import Connection, ask
from tests.helpers.http2_backend import Http2Backend, Request, http2_backend
from tests.helpers.manifests import endpoint_slices, route, service, write
from tests.helpers.processes import Process, gateway, peak_memory
from tests.helpers.waiting import wait_until

MIB = 2**20
CHUNK = bytes(range(256)) * 256  # 64 KiB
LARGE = 64 * MIB
DIGEST = sha256(CHUNK * (LARGE // len(CHUNK))).hexdigest().encode()
#: What the gateway may need on top for a body of 64 MiB: far less than the body.
EXTRA = 16 * MIB


async def app(request: Request) -> None:
    await globals()[f"answer_{request.path.strip('/')}"](request)


async def answer_echo(request: Request) -> None:
    body = await request.body()
    fields = [field for field in request.fields if field[0] in (b"x-test", b"content-length", b"te", b"cookie")]
    request.respond(200, *fields, (b"x-authority", request.authority.encode()))
    await request.write(body)
    request.end(*request.trailers)


async def answer_hints(request: Request) -> None:
    request.inform(103, (b"link", b"</a>; rel=preload"))
    request.respond(200)
    await request.write(b"hi")
    request.end((b"grpc-status", b"0"))


async def answer_upload(request: Request) -> None:
    digest = sha256()
    async for data in request.pieces():
        digest.update(data)
    request.respond(200)
    await request.write(digest.hexdigest().encode(), end=True)


async def answer_download(request: Request) -> None:
    request.respond(200, (b"content-length", b"%d" % LARGE))
    for _ in range(LARGE // len(CHUNK)):
        await request.write(CHUNK)
    request.end()


async def answer_breaks(request: Request) -> None:
    request.respond(200, (b"content-length", b"10"))
    await request.write(b"half")
    request.reset(2)


async def answer_wait(request: Request) -> None:
    await request.never()


def h2c(name: str, *ports: int) -> list[dict[str, Any]]:
    """A Service of backends that speak HTTP/2 in clear, and a route to it by its name as host."""
    spoken = service(name)
    spoken["spec"]["ports"][0]["appProtocol"] = "kubernetes.io/h2c"
    return [spoken, *endpoint_slices(name, *ports), route(name, name, host=name)]


@pytest.fixture(scope="module")
def backend() -> Iterator[Http2Backend]:
    with http2_backend(app) as backend:
        yield backend


@pytest.fixture(scope="module", params=["auto", "app.listeners.http:GatewayProtocol"])
def running(
    request: pytest.FixtureRequest, backend: Http2Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """A gateway on uvicorn's own HTTP protocol, and one on ours."""
    folder = tmp_path_factory.mktemp("http2")
    write(folder / "a.yaml", *h2c("a", backend.port))
    with gateway(folder, "--http", request.param) as running:
        yield running


@pytest.fixture
def ours(tmp_path: Path, backend: Http2Backend) -> Iterator[Process]:
    write(tmp_path / "a.yaml", *h2c("a", backend.port))
    with gateway(tmp_path, "--http", "app.listeners.http:GatewayProtocol") as running:
        yield running


def raw(port: int, request: bytes) -> bytes:
    """Everything that comes back for ``request``, after which the connection ends."""
    with Connection(port) as connection:
        connection.socket.sendall(request)
        parts = []
        while part := connection.socket.recv(65536):
            parts.append(part)
        return b"".join(parts)


def test_what_was_sent_is_what_comes(running: Process) -> None:
    answer = ask(running.port, "/echo", "a", method="POST", fields=(("X-Test", "1"), ("Cookie", "b=c")), body=b"hello")
    assert (answer.status, answer.body) == (200, b"hello")
    assert {("x-test", "1"), ("cookie", "b=c"), ("content-length", "5"), ("x-authority", "a")} <= set(answer.fields)


def test_requests_share_one_connection(running: Process, backend: Http2Backend) -> None:
    before = backend.accepted
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ask(running.port, "/echo", "a", method="POST", body=b"x"), range(200)))
    assert [answer.body for answer in answers] == [b"x"] * 200
    assert backend.accepted <= before + 1


def test_interim_answers_and_trailers(ours: Process) -> None:
    answer = raw(ours.port, b"GET /hints HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te, close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n2\r\nhi\r\n0\r\ngrpc-status: 0\r\n\r\n")


def test_trailers_of_a_request(ours: Process) -> None:
    request = (
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    answer = raw(ours.port, request + b"2\r\nhi\r\n0\r\nX-Sum: 1\r\nHost: b\r\n\r\n")
    assert b"\r\nte: trailers\r\n" not in answer  # it is of a connection
    assert answer.endswith(b"\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n")


def test_64_mib_go_up_without_being_held(running: Process) -> None:
    before = peak_memory(running)
    with Connection(running.port, timeout=60) as connection:
        connection.begin("POST", "/upload", "a", ("Content-Length", str(LARGE)))
        for _ in range(LARGE // len(CHUNK)):
            connection.socket.sendall(CHUNK)
        assert connection.finish().body == DIGEST
    assert peak_memory(running) - before < EXTRA


def test_64_mib_come_down_without_being_held(running: Process) -> None:
    """… to a client that is slower than the backend, while others get theirs over the same connection."""
    before = peak_memory(running)
    with Connection(running.port, timeout=60) as slow:
        slow.begin("GET", "/download", "a")
        response = slow.response()
        digest = sha256()
        for _ in range(LARGE // MIB):
            digest.update(response.read(MIB))
            assert ask(running.port, "/echo", "a", method="POST", body=b"x").body == b"x"
        assert digest.hexdigest().encode() == DIGEST
    assert peak_memory(running) - before < EXTRA


def test_an_answer_that_breaks_off_is_broken_for_the_client(running: Process) -> None:
    with Connection(running.port) as connection:
        connection.begin("GET", "/breaks", "a")
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            connection.finish()
    assert ask(running.port, "/echo", "a", method="POST", body=b"x").status == 200


def test_a_client_that_leaves_takes_its_stream_with_it(running: Process, backend: Http2Backend) -> None:
    before = len(backend.resets)
    with Connection(running.port) as connection:
        connection.begin("GET", "/wait", "a")
        wait_until(lambda: backend.waiting, what="the backend has the request")
    wait_until(lambda: backend.resets[before:] == [8], what="the backend hears of it")
    assert ask(running.port, "/echo", "a", method="POST", body=b"x").status == 200


def kill_one(backend: Http2Backend) -> None:
    """End the connections to ``backend``, and wait for the next."""
    wait_until(lambda: backend.connections, what="there is a connection to kill")
    accepted = backend.accepted
    backend.drop()
    wait_until(lambda: backend.accepted > accepted, what="it is used again")


def test_connections_that_are_killed_under_load(tmp_path: Path) -> None:
    """What may be repeated is, on another connection or at another endpoint; of the rest some are answered 502. An
    answer that has begun is cut with its connection."""
    with ExitStack() as stack:
        backends = [stack.enter_context(http2_backend(app)) for _ in range(2)]
        write(tmp_path / "a.yaml", *h2c("a", *(backend.port for backend in backends)))
        running = stack.enter_context(gateway(tmp_path, "--http", "app.listeners.http:GatewayProtocol"))
        over = threading.Event()

        def load(method: str) -> list[int]:
            statuses = []
            with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)) as connection:
                while not over.is_set():
                    connection.request(method, "/echo", headers={"Host": "a"})
                    response = connection.getresponse()
                    statuses.append(response.status)
                    try:
                        response.read()
                    except (http.client.IncompleteRead, ConnectionResetError):
                        connection.close()
            return statuses

        pool = stack.enter_context(ThreadPoolExecutor(8))
        repeated = [pool.submit(load, "GET") for _ in range(6)]
        others = [pool.submit(load, "POST") for _ in range(2)]
        for turn in range(20):
            kill_one(backends[turn % 2])
        over.set()
        assert {status for future in repeated for status in future.result()} == {200}
        assert {status for future in others for status in future.result()} <= {200, 502}
