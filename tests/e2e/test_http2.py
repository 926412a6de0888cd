"""HTTP/2 with clients of others, over real sockets."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from tests.e2e.conftest import Backends
from tests.helpers.client import Connection, insecure
from tests.helpers.manifests import backend, gateway_object, http_listener, https_listener, pair, route, secret, write
from tests.helpers.processes import Process, free_port, gateway, is_listening, moongate
from tests.helpers.upstreams import serving
from tests.helpers.waiting import wait_until

MIB = 2**20
CHUNK = bytes(range(256)) * 256
LARGE = 16 * MIB
DIGEST = sha256(CHUNK * (LARGE // len(CHUNK))).hexdigest()


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers GET with LARGE bytes, and anything else with the digest of what it got."""
    body = sha256(b"")
    more = True
    while more:
        message = await receive()
        body.update(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["method"] == "GET":
        for _ in range(LARGE // len(CHUNK)):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    else:
        await send({"type": "http.response.body", "body": body.hexdigest().encode()})


class Ports:
    """Those of the gateway: in plain text, and with TLS."""

    def __init__(self) -> None:
        self.plain, self.tls = free_port(), free_port()


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory, backends: Backends) -> Iterator[Ports]:
    folder = tmp_path_factory.mktemp("http2")
    ports = Ports()
    with ExitStack() as stack:
        streaming = stack.enter_context(serving(stream))
        write(
            folder / "all.yaml",
            *backend("whoami", *backends.whoami),
            *backend("stream", streaming),
            secret("one", *pair("localhost")),
            gateway_object("g", http_listener(ports.plain), https_listener(ports.tls, "one")),
            route("whoami", "whoami", host="localhost", gateway="g"),
            route("stream", "stream", host="localhost", path="/stream", gateway="g"),
        )
        stack.enter_context(moongate("run", manifests=str(folder)))
        wait_until(lambda: is_listening(ports.plain) and is_listening(ports.tls), what="the ports are open")
        yield ports


def https(port: int) -> tuple[httpx2.AsyncClient, str]:
    return httpx2.AsyncClient(http2=True, verify=insecure(), trust_env=False, timeout=60), f"https://localhost:{port}"


def test_many_requests_at_once_on_one_connection(ports: Ports) -> None:
    async def main() -> list[httpx2.Response]:
        client, url = https(ports.tls)
        async with client:
            await client.get(url)
            return await asyncio.gather(*(client.get(f"{url}/{index}") for index in range(100)))

    answers = asyncio.run(main())
    assert {(answer.http_version, answer.status_code) for answer in answers} == {("HTTP/2", 200)}
    for index, answer in enumerate(answers):
        assert f"GET /{index} HTTP/1.1\r\nHost: localhost:{ports.tls}\r\n" in answer.text
        assert "X-Forwarded-Proto: https" in answer.text


def test_large_bodies_both_ways_at_once(ports: Ports) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(LARGE // len(CHUNK)):
            yield CHUNK

    async def upload() -> str:
        answer = await client.post(f"{url}/stream", content=pieces())
        return answer.text

    async def download() -> str:
        digest = sha256()
        async with client.stream("GET", f"{url}/stream") as answer:
            async for piece in answer.aiter_bytes():
                digest.update(piece)
        return digest.hexdigest()

    async def main() -> list[str]:
        async with client:
            return list(await asyncio.gather(upload(), download(), upload(), download()))

    client, url = https(ports.tls)
    assert asyncio.run(main()) == [DIGEST] * 4


def curl(*arguments: str) -> str:
    program = shutil.which("curl")
    if program is None or "HTTP2" not in subprocess.run([program, "--version"], capture_output=True, text=True).stdout:
        pytest.skip("there is no curl that speaks HTTP/2")
    command = [program, "--silent", "--show-error", "--noproxy", "*", "--max-time", "60", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl_with_prior_knowledge(ports: Ports) -> None:
    answer = curl("--http2-prior-knowledge", "-i", f"http://localhost:{ports.plain}/x?y=z")
    assert answer.startswith("HTTP/2 200")
    assert "GET /x?y=z HTTP/1.1" in answer


def test_curl_that_would_upgrade_is_served_with_http1(ports: Ports) -> None:
    assert curl("--http2", "-i", f"http://localhost:{ports.plain}/").startswith("HTTP/1.1 200")


def test_curl_over_tls(ports: Ports) -> None:
    url = f"https://localhost:{ports.tls}/"
    assert curl("--http2", "-k", "-i", url).startswith("HTTP/2 200")
    assert curl("--http1.1", "-k", "-i", url).startswith("HTTP/1.1 200")


def test_curl_uploads(ports: Ports, tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(CHUNK * (LARGE // len(CHUNK)))
    url = f"http://localhost:{ports.plain}/stream"
    assert curl("--http2-prior-knowledge", "-T", str(file), url) == DIGEST


@pytest.mark.parametrize(("offered", "chosen"), [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), ([], None)])
def test_what_the_handshake_chooses(ports: Ports, offered: list[str], chosen: str | None) -> None:
    context = insecure()
    if offered:
        context.set_alpn_protocols(offered)
    assert shown_protocol(ports.tls, context) == chosen


def test_tls_1_1_is_refused(ports: Ports) -> None:
    """RFC 9113 §9.2."""
    context = insecure()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        shown_protocol(ports.tls, context)


def shown_protocol(port: int, context: ssl.SSLContext) -> str | None:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        return secured.selected_alpn_protocol()


@pytest.fixture
def under_uvicorn(tmp_path: Path, backends: Backends) -> Iterator[Process]:
    """``uvicorn app:gateway`` with its own socket speaking TLS."""
    certificate, key = pair("localhost")
    (tmp_path / "tls.crt").write_bytes(certificate)
    (tmp_path / "tls.key").write_bytes(key)
    folder = tmp_path / "manifests"
    folder.mkdir()
    port = free_port()
    listener = https_listener(port, "one")
    write(
        folder / "all.yaml",
        *backend("whoami", *backends.whoami),
        secret("one", certificate, key),
        gateway_object("g", listener),
        route("whoami", "whoami", host="localhost", gateway="g"),
    )
    options = ("--ssl-certfile", str(tmp_path / "tls.crt"), "--ssl-keyfile", str(tmp_path / "tls.key"))
    with gateway(folder, "--http", "app.listeners.http:GatewayProtocol", *options, port=port) as running:
        yield running


def test_uvicorns_own_socket_speaks_http2(under_uvicorn: Process) -> None:
    async def main() -> httpx2.Response:
        client, url = https(under_uvicorn.port)
        async with client:
            return await client.get(url)

    answer = asyncio.run(main())
    assert (answer.http_version, answer.status_code) == ("HTTP/2", 200)
    with Connection(under_uvicorn.port, tls=insecure(), server_name="localhost") as connection:
        assert connection.ask("/", host="localhost").status == 200
