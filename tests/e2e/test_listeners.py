"""The listener manager over real sockets: what opens, moves and closes while traffic flows."""

import re
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Backends
from tests.helpers.client import Connection, ask, insecure
from tests.helpers.manifests import (
    backend,
    gateway_object,
    http_listener,
    https_listener,
    pair,
    route,
    secret,
    write,
)
from tests.helpers.processes import Process, free_port, gateway, is_listening, moongate
from tests.helpers.waiting import wait_until


@pytest.fixture
def folder(tmp_path: Path, backends: Backends) -> Path:
    write(tmp_path / "backends.yaml", *backend("whoami", *backends.whoami), *backend("nginx", backends.nginx))
    return tmp_path


@contextmanager
def running(folder: Path, *arguments: str, **names: str) -> Iterator[Process]:
    with moongate("run", *arguments, manifests=str(folder), **names) as process:
        process.wait_for("Application startup complete")
        yield process


def at(gateway: dict[str, Any], *addresses: str) -> dict[str, Any]:
    gateway["spec"]["addresses"] = [{"type": "IPAddress", "value": address} for address in addresses]
    return gateway


def status(address: str, port: int, path: str = "/", host: str = "whoami") -> int:
    """The answer of whoever listens on this address, 0 where nobody does."""
    try:
        connection = socket.create_connection((address, port), 10)
    except ConnectionRefusedError:
        return 0
    with closing(connection):
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            return int(answer.readline().split()[1])


def two_gateways(folder: Path, port: int) -> None:
    """Two Gateways on one port, at 127.0.0.2 and at 127.0.0.3, each with a path of its own."""
    write(
        folder / "gateways.yaml",
        at(gateway_object("one", http_listener(port)), "127.0.0.2"),
        at(gateway_object("two", http_listener(port)), "127.0.0.3"),
        route("one", "whoami", path="/one", gateway="one"),
        route("two", "whoami", path="/two", gateway="two"),
    )


def of_two_gateways(port: int) -> dict[str, int]:
    return {
        f"{address}{path}": status(address, port, path)
        for address in ("127.0.0.2", "127.0.0.3")
        for path in ("/one", "/two")
    }


EACH_ITS_OWN = {"127.0.0.2/one": 200, "127.0.0.2/two": 404, "127.0.0.3/one": 404, "127.0.0.3/two": 200}


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["alone", "2-workers"])
def test_two_gateways_on_one_port_serve_each_its_own_routes_at_its_own_address(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    port = free_port()
    two_gateways(folder, port)
    with running(folder, *arguments):
        assert of_two_gateways(port) == EACH_ITS_OWN
        assert status("127.0.0.1", port) == 0


def test_a_servers_own_socket_on_every_address_serves_each_gateway_at_its_address(folder: Path) -> None:
    port = free_port()
    two_gateways(folder, port)
    with gateway(folder, "--host", "0.0.0.0", port=port) as process:
        assert of_two_gateways(port) == EACH_ITS_OWN
        assert "not listening" not in process.log


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["alone", "2-workers"])
def test_of_two_gateways_that_want_one_socket_the_second_is_refused_and_the_first_serves(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    port = free_port()
    write(
        folder / "gateways.yaml",
        gateway_object("one", http_listener(port)),
        gateway_object("two", http_listener(port)),
        route("one", "whoami", path="/one", gateway="one"),
        route("two", "whoami", path="/two", gateway="two"),
    )
    with running(folder, *arguments) as process:
        process.wait_for(
            rf"ERROR: +default/two:{port}: not listening on 127\.0\.0\.1:{port}: "
            rf"Gateway default/one, port {port}, has it already\n"
        )
        assert (status("127.0.0.1", port, "/one"), status("127.0.0.1", port, "/two")) == (200, 404)


def test_the_second_gateway_has_the_socket_as_soon_as_the_first_leaves_it(folder: Path) -> None:
    port = free_port()
    write(folder / "one.yaml", gateway_object("one", http_listener(port)), route("one", "whoami", gateway="one"))
    write(
        folder / "two.yaml",
        gateway_object("two", http_listener(port)),
        route("two", "whoami", path="/two", gateway="two"),
    )
    with running(folder) as process, Connection(port) as kept:
        assert kept.ask("/one").status == 200
        (folder / "one.yaml").unlink()
        process.wait_for(rf"127\.0\.0\.1:{port}: now for default/two:{port}\n")
        # The socket was never closed, and whoever was connected still is.
        assert [kept.ask(path).status for path in ("/one", "/two")] == [404, 200]


def test_a_listener_that_is_added_opens_and_one_that_is_taken_away_closes(folder: Path) -> None:
    first, second = free_port(), free_port()
    write(folder / "route.yaml", route("all", "whoami", gateway="one"))
    write(folder / "gateway.yaml", gateway_object("one", http_listener(first)))
    with running(folder) as process:
        write(folder / "gateway.yaml", gateway_object("one", http_listener(first), http_listener(second, "other")))
        wait_until(lambda: is_listening(second))
        assert ask(second).status == 200
        with Connection(first) as kept:
            assert kept.ask("/").status == 200
            write(folder / "gateway.yaml", gateway_object("one", http_listener(second, "other")))
            process.wait_for(rf"default/one:{first}: 127\.0\.0\.1:{first} closed")
            assert not is_listening(first)
            # An idle connection is closed from our side, not left to time out.
            assert kept.socket.recv(1) == b""
        assert ask(second).status == 200


def test_a_connection_in_tls_moves_and_ends_with_its_listener_as_one_in_clear_does(folder: Path) -> None:
    port, other = free_port(), free_port()
    certificate = secret("named", *pair("named.example"))
    one, two = (gateway_object(name, https_listener(port, "named")) for name in ("one", "two"))
    write(folder / "one.yaml", certificate, one, route("one", "whoami", host="named.example", gateway="one"))
    write(folder / "two.yaml", two, route("two", "whoami", host="named.example", path="/two", gateway="two"))
    with running(folder) as process, Connection(port, tls=insecure(), server_name="named.example") as kept:
        assert kept.ask("/one", "named.example").status == 200
        write(folder / "one.yaml", certificate, gateway_object("one", http_listener(other)))
        process.wait_for(rf"127\.0\.0\.1:{port}: now for default/two:{port}\n")
        assert [kept.ask(path, "named.example").status for path in ("/one", "/two")] == [404, 200]
        (folder / "two.yaml").unlink()
        process.wait_for(rf"default/two:{port}: 127\.0\.0\.1:{port} closed")
        assert kept.socket.recv(1) == b""


def test_an_answer_under_way_comes_to_its_end_when_its_listener_is_taken_away(folder: Path) -> None:
    port, other = free_port(), free_port()
    with socket.create_server(("127.0.0.1", 0)) as slow:
        write(folder / "slow.yaml", *backend("slow", slow.getsockname()[1]), route("slow", "slow", gateway="one"))
        write(folder / "gateway.yaml", gateway_object("one", http_listener(port), http_listener(other, "other")))
        with running(folder) as process, Connection(port) as client:
            client.begin("GET", "/", "whoami")
            with closing(slow.accept()[0]) as upstream:
                assert upstream.recv(65536).startswith(b"GET / ")
                upstream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhe")
                write(folder / "gateway.yaml", gateway_object("one", http_listener(other, "other")))
                process.wait_for(rf"default/one:{port}: 127\.0\.0\.1:{port} closed")
                upstream.sendall(b"re")
                assert client.finish().body == b"here"
                assert client.socket.recv(1) == b""


def test_a_port_that_changes_from_http_to_https_is_opened_anew(folder: Path) -> None:
    port = free_port()
    write(folder / "secret.yaml", secret("cert", *pair("whoami")), route("all", "whoami", gateway="one"))
    write(folder / "gateway.yaml", gateway_object("one", http_listener(port)))
    with running(folder) as process:
        assert ask(port).status == 200
        write(folder / "gateway.yaml", gateway_object("one", https_listener(port, "cert")))
        process.wait_for(rf"listening on 127\.0\.0\.1:{port}, HTTPS")
        with Connection(port, tls=insecure(), server_name="whoami") as connection:
            assert connection.ask("/").status == 200
        write(folder / "gateway.yaml", gateway_object("one", http_listener(port)))
        wait_until(lambda: len(re.findall(rf"listening on 127\.0\.0\.1:{port}, HTTP\n", process.log)) == 2)
        assert ask(port).status == 200


def test_a_port_that_somebody_has_is_opened_when_it_is_free_without_any_change(folder: Path) -> None:
    free, taken = free_port(), free_port()
    write(
        folder / "gateway.yaml",
        gateway_object("one", http_listener(free), http_listener(taken, "taken")),
        route("all", "whoami", gateway="one"),
    )
    with socket.create_server(("127.0.0.1", taken)) as somebody, running(folder) as process:
        process.wait_for(rf"not listening on 127\.0\.0\.1:{taken}: Address already in use\n")
        assert ask(free).status == 200
        somebody.close()
        process.wait_for(rf"default/one:{taken}: listening on 127\.0\.0\.1:{taken}, HTTP\n")
        assert ask(taken).status == 200
        assert process.log.count("not listening on") == 1


def test_an_address_that_this_machine_has_not_is_reported_and_the_others_serve(folder: Path) -> None:
    port = free_port()
    write(
        folder / "gateway.yaml",
        at(gateway_object("one", http_listener(port)), "127.0.0.2", "192.0.2.1"),
        route("all", "whoami", gateway="one"),
    )
    with running(folder) as process:
        process.wait_for(rf"not listening on 192\.0\.2\.1:{port}: Cannot assign requested address\n")
        assert status("127.0.0.2", port) == 200


def test_the_ports_of_listeners_are_bound_where_the_mapping_says(folder: Path) -> None:
    web, secure = free_port(), free_port()
    write(
        folder / "gateway.yaml",
        secret("cert", *pair("whoami")),
        gateway_object("one", http_listener(80), https_listener(443, "cert")),
        route("all", "whoami", gateway="one"),
    )
    with running(folder, ports=f"80={web},443={secure}") as process:
        process.wait_for(rf"default/one:80: listening on 127\.0\.0\.1:{web}, HTTP\n")
        assert ask(web).status == 200
        with Connection(secure, tls=insecure(), server_name="whoami") as connection:
            assert connection.ask("/").status == 200


def test_a_servers_own_port_is_that_of_the_listener_that_is_mapped_onto_it(folder: Path) -> None:
    other = free_port()
    write(
        folder / "gateway.yaml",
        gateway_object("one", http_listener(other, "first"), http_listener(80, "web")),
        route("web", "whoami", gateway="one", section="web"),
    )
    port = free_port()
    with gateway(folder, port=port, ports=f"80={port}") as process:
        assert ask(port).status == 200
        assert ask(other).status == 404
        assert "stands for" not in process.log


def test_two_ports_that_are_mapped_onto_one_are_not_served_by_one_socket(folder: Path) -> None:
    port = free_port()
    write(
        folder / "gateway.yaml",
        gateway_object("one", http_listener(80, "web"), http_listener(port, "other")),
        route("web", "whoami", gateway="one", section="web"),
    )
    with running(folder, ports=f"80={port}") as process:
        process.wait_for(rf"default/one:{port}: not listening on .*: Gateway default/one, port 80, has it already\n")
        assert ask(port).status == 200


def test_requests_go_on_while_listeners_come_and_go(folder: Path) -> None:
    port, others = free_port(), [free_port() for _ in range(5)]
    write(folder / "route.yaml", route("all", "whoami", gateway="one"))
    write(folder / "gateway.yaml", gateway_object("one", http_listener(port)))
    with running(folder), Connection(port) as kept:
        for other in others:
            write(folder / "gateway.yaml", gateway_object("one", http_listener(port), http_listener(other, "other")))

            def served(other: int = other) -> bool:
                assert (kept.ask("/").status, ask(port).status) == (200, 200)
                return is_listening(other)

            wait_until(served)
        assert not any(is_listening(other) for other in others[:-1])
