"""The admin port of a gateway that runs, over sockets: who is answered what, and where it is opened."""

import json
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest

from tests.e2e.conftest import Backends
from tests.helpers.client import Answer, Connection, ask
from tests.helpers.manifests import backend, gateway_object, http_listener, route, write
from tests.helpers.processes import Process, free_port, gateway, moongate
from tests.helpers.waiting import wait_until


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, backends: Backends) -> Iterator[tuple[Process, int, int]]:
    """A gateway with one route, its listener's port and its admin port."""
    folder = tmp_path_factory.mktemp("manifests")
    listener, admin = free_port(), free_port()
    write(
        folder / "a.yaml",
        *backend("whoami", *backends.whoami),
        gateway_object("edge", http_listener(listener)),
        route("shop", "whoami", host="shop.example", gateway="edge"),
    )
    with moongate("run", manifests=str(folder), admin=f"127.0.0.1:{admin}") as running:
        running.wait_for("Application startup complete")
        yield running, listener, admin


def told(port: int, path: str) -> Answer:
    return ask(port, path, host="localhost")


def raw(port: int, request: bytes) -> Answer:
    with Connection(port) as connection:
        connection.socket.sendall(request)
        with HTTPResponse(connection.socket, method=request.partition(b" ")[0].decode()) as response:
            response.begin()
            fields = tuple((name.lower(), value) for name, value in response.getheaders())
            return Answer(response.status, fields, response.read())


@pytest.mark.parametrize("path", ["/ping", "/ready", "/version", "/api/overview", "/api/rawdata", "/api/http/routers"])
def test_a_client_on_this_machine_is_answered(running: tuple[Process, int, int], path: str) -> None:
    assert told(running[2], path).status == 200


def test_what_is_served_is_what_is_told(running: tuple[Process, int, int]) -> None:
    _, listener, admin = running
    assert ask(listener, "/", host="shop.example").status == 200
    (router,) = json.loads(told(admin, "/api/http/routers").body)
    assert router["entryPoints"] == [f"default/edge:{listener}"]
    (explained,) = json.loads(told(admin, f"/api/explain?url=http://shop.example:{listener}/a").body)
    assert explained["taken"]["rule"] == "default/shop/0"
    servers = json.loads(told(admin, "/api/http/services?search=-svc-").body)[0]["serverStatus"]
    assert set(servers.values()) == {"UP"}


def test_the_article_s_dashboard_is_where_the_port_leads(running: tuple[Process, int, int]) -> None:
    answer = told(running[2], "/")
    assert (answer.status, answer.values("location")) == (307, ["/dashboard/"])


@pytest.mark.parametrize("path", ["/ping", "/api/rawdata"])
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"Host: evil.example\r\n", 421),
        (b"Host: 127.0.0.1.evil.example:9000\r\n", 421),
        (b"Host: localhost\r\nHost: evil.example\r\n", 400),
        (b"", 400),
        (b"Host: localhost\r\nOrigin: http://evil.example\r\n", 403),
        (b"Host: localhost\r\nOrigin: null\r\n", 403),
        (b"Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n", 403),
        (b"Host: LOCALHOST.:1234\r\n", 200),
        (b"Host: [::1]:9000\r\n", 200),
    ],
)
def test_a_foreign_name_or_page_is_refused(
    running: tuple[Process, int, int], path: str, fields: bytes, status: int
) -> None:
    answer = raw(running[2], b"GET %s HTTP/1.1\r\n%s\r\n" % (path.encode(), fields))
    assert answer.status == status
    assert not [name for name, _ in answer.fields if name.startswith("access-control")]


def test_the_host_of_an_absolute_target_is_the_one_that_counts(running: tuple[Process, int, int]) -> None:
    admin = running[2]
    assert raw(admin, b"GET http://evil.example/ping HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 421
    assert raw(admin, b"GET http://localhost/ping HTTP/1.1\r\nHost: evil.example\r\n\r\n").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"])
def test_no_other_method_is_taken(running: tuple[Process, int, int], method: str) -> None:
    request = f"{method} /api/rawdata HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    answer = raw(running[2], request)
    assert (answer.status, answer.values("allow")) == (405, ["GET, HEAD"])


def test_what_a_route_leads_to_the_admin_port_is_not_from_this_machine(tmp_path: Path) -> None:
    listener, admin = free_port(), free_port()
    inside = route("inside", "inside", gateway="edge")
    del inside["spec"]["hostnames"]
    write(tmp_path / "a.yaml", *backend("inside", admin), gateway_object("edge", http_listener(listener)), inside)
    with moongate("run", manifests=str(tmp_path), admin=f"127.0.0.1:{admin}") as running:
        running.wait_for("Application startup complete")
        assert told(admin, "/api/rawdata").status == 200
        assert ask(listener, "/api/rawdata", host="127.0.0.1").status == 403
        assert ask(listener, "/api/rawdata", host="shop.example").status == 421


def test_it_is_not_opened_where_a_listener_is(tmp_path: Path, backends: Backends) -> None:
    port = free_port()
    write(
        tmp_path / "a.yaml",
        *backend("whoami", *backends.whoami),
        gateway_object("edge", http_listener(port)),
        route("all", "whoami", host="*.example", gateway="edge"),
    )
    with moongate("run", manifests=str(tmp_path), admin=f"127.0.0.1:{port}", host="0.0.0.0") as running:
        running.wait_for("Application startup complete")
        running.wait_for(f"the admin port is not opened on 127.0.0.1:{port}: default/edge:{port} is on 0.0.0.0:{port}")
        assert ask(port, "/ping", host="a.example").name.startswith("whoami")


def test_no_listener_is_opened_where_it_is_afterwards_either(tmp_path: Path) -> None:
    listener, admin = free_port(), free_port()
    write(tmp_path / "a.yaml", gateway_object("edge", http_listener(listener)))
    with moongate("run", "--workers", "2", manifests=str(tmp_path), admin=f"127.0.0.1:{admin}") as running:
        wait_until(lambda: running.log.count("Application startup complete") == 2, what="both workers")
        write(tmp_path / "b.yaml", gateway_object("other", http_listener(admin)))
        wait_until(lambda: running.log.count(f"default/other:{admin}: not listening on") == 2, what="both refuse it")
        assert "the admin port, MOONGATE_ADMIN, has it already" in running.log
        assert told(admin, "/ping").status == 200


def test_it_is_not_opened_where_the_server_itself_is(tmp_path: Path) -> None:
    port = free_port()
    write(tmp_path / "a.yaml", gateway_object("edge", http_listener(port)))
    with gateway(tmp_path, port=port, admin=f"127.0.0.1:{port}") as running:
        running.wait_for(f"the admin port is not opened on 127.0.0.1:{port}: the server itself is on 127.0.0.1")
        assert told(port, "/ping").status == 404


def test_an_open_dashboard_on_an_open_address_is_told_once(tmp_path: Path) -> None:
    admin = free_port()
    with gateway(tmp_path, admin=f"0.0.0.0:{admin}", dashboard="on") as running:
        assert running.log.count("MOONGATE_DASHBOARD is on: whoever reaches") == 1
        assert told(admin, "/api/overview").status == 200
