"""421: a host of another listener on a connection that was opened for this one (RFC 9110 §15.5.20, RFC 9113 §9.1.2)."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest

from tests.e2e.conftest import Backends
from tests.helpers.client import Answer, Connection, insecure
from tests.helpers.manifests import backend, gateway_object, http_listener, https_listener, pair, route, secret, write
from tests.helpers.processes import free_port, gateway, is_listening, moongate
from tests.helpers.waiting import wait_until

#: The table of the official test: server name, host, status, and the backend's number where there is one.
TABLE = [
    ("example.org", "example.org", 200, 1),
    ("example.org", "second-example.org", 421, 0),
    ("example.org", "unknown-example.org", 404, 0),
    ("second-example.org", "second-example.org", 200, 2),
    ("second-example.org", "example.org", 421, 0),
    ("second-example.org", "unknown-example.org", 421, 0),
    ("third-example.wildcard.org", "third-example.wildcard.org", 200, 3),
    ("third-example.wildcard.org", "fith-example.wildcard.org", 200, 3),
    ("third-example.wildcard.org", "fourth-example.wildcard.org", 421, 0),
    ("third-example.wildcard.org", "second-example.org", 421, 0),
    ("third-example.wildcard.org", "unknown-example.org", 421, 0),
    ("fourth-example.wildcard.org", "fourth-example.wildcard.org", 200, 1),
    ("fourth-example.wildcard.org", "fith-example.wildcard.org", 421, 0),
    ("unknown-example.org", "example.org", 200, 1),
    ("unknown-example.org", "unknown-example.org", 404, 0),
]

LISTENERS = {
    "https": ("", "one", "example.org"),
    "https-with-hostname": ("second-example.org", "two", ""),
    "https-with-wildcard": ("*.wildcard.org", "three", ""),
    "https-below-the-wildcard": ("fourth-example.wildcard.org", "one", ""),
}


@pytest.fixture(scope="module", params=["uvicorn", "moongate run"])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, backends: Backends) -> Iterator[int]:
    """A port with the official test's listeners, on a socket of ours: in asyncio's event loop, and in uvloop's."""
    folder = tmp_path_factory.mktemp("misdirected")
    port, plain = free_port(), free_port()
    routes = [
        route(name, service, host=host, gateway="g", section=name) for name, (_, service, host) in LISTENERS.items()
    ]
    for made in routes:
        if made["spec"]["hostnames"] == [""]:
            del made["spec"]["hostnames"]
    whoami = (*backends.whoami, backends.nginx)
    write(
        folder / "all.yaml",
        *(each for name, at in zip(("one", "two", "three"), whoami, strict=True) for each in backend(name, at)),
        secret("s", *pair("example.org", "second-example.org", "*.wildcard.org", "fourth-example.wildcard.org")),
        gateway_object(
            "g",
            http_listener(plain),
            *(https_listener(port, "s", name=name, hostname=hostname) for name, (hostname, _, _) in LISTENERS.items()),
        ),
        *routes,
    )
    with ExitStack() as stack:
        if request.param == "uvicorn":
            protocol = "app.listeners.http:GatewayProtocol"
            stack.enter_context(gateway(folder, "--loop", "asyncio", "--http", protocol, port=plain))
        else:
            stack.enter_context(moongate("run", manifests=str(folder)))
        wait_until(lambda: is_listening(port), what="the port is open")
        yield port


def connection(port: int, server_name: str | None) -> Connection:
    return Connection(port, tls=insecure(), server_name=server_name)


NAMES = {1: "whoami-1", 2: "whoami-2", 3: "nginx"}


@pytest.mark.parametrize(("server_name", "host", "status", "number"), TABLE)
def test_the_official_table(port: int, server_name: str, host: str, status: int, number: int) -> None:
    with connection(port, server_name) as client:
        # The second request of a connection finds one to its backend, and takes the shorter way.
        for _ in range(2):
            answer: Answer = client.ask(host=f"{host}:{port}")
            assert answer.status == status
            assert number == 0 or answer.name == NAMES[number]


def test_a_connection_of_http2_that_is_used_for_all_hosts(port: int) -> None:
    async def ask(server_name: str, hosts: list[str]) -> list[int]:
        async with httpx2.AsyncClient(http2=True, verify=insecure(), trust_env=False) as client:
            found = []
            for host in hosts:
                extensions = {"sni_hostname": server_name}
                answer = await client.get(f"https://127.0.0.1:{port}", headers={"host": host}, extensions=extensions)
                assert answer.http_version == "HTTP/2"
                found.append(answer.status_code)
            return found

    for server_name in dict.fromkeys(row[0] for row in TABLE):
        rows = [(host, status) for name, host, status, _ in TABLE if name == server_name] * 2
        assert asyncio.run(ask(server_name, [host for host, _ in rows])) == [status for _, status in rows]


@pytest.mark.parametrize("server_name", ["SECOND-example.org", "second-example.org"])
def test_names_are_compared_without_regard_to_case(port: int, server_name: str) -> None:
    with connection(port, server_name) as client:
        assert client.ask(host="Second-Example.ORG").status == 200
        assert client.ask(host="example.org").status == 421


def test_who_names_nothing_in_the_handshake_may_ask_for_any_host(port: int) -> None:
    with connection(port, None) as client:
        assert [client.ask(host=host).status for host in ("example.org", "second-example.org")] == [200, 200]


def test_the_answer_says_what_it_is(port: int) -> None:
    with connection(port, "example.org") as client:
        answer = client.ask(host="second-example.org")
        assert answer.text == "421 Misdirected Request: this connection does not serve the requested host\n"
        assert client.ask(host="example.org").status == 200, "the connection goes on"
