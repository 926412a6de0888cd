"""Ways to run the gateway: under uvicorn with its options, by itself, and with more listeners than one."""

import asyncio
import json
import re
import signal
import socket
import threading
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from tests.e2e.conftest import Backends
from tests.helpers.client import Answer, Connection, ask
from tests.helpers.manifests import backend, gateway_object, http_listener, route, write
from tests.helpers.processes import free_port, gateway, is_listening, moongate, process, settings
from tests.helpers.upstreams import serving
from tests.helpers.waiting import wait_until


def two_listeners(folder: Path, backends: Backends, left: int, right: int) -> Path:
    """Manifests of a Gateway with a route on each of two HTTP listeners: /left and /right."""
    write(
        folder / "two-listeners.yaml",
        *backend("whoami", *backends.whoami),
        gateway_object("two", http_listener(left, "left"), http_listener(right, "right")),
        route("left", "whoami", path="/left", gateway="two", section="left"),
        route("right", "whoami", path="/right", gateway="two", section="right"),
    )
    return folder


def statuses(port: int) -> dict[str, int]:
    with Connection(port) as connection:
        return {path: connection.ask(path).status for path in ("/left", "/right")}


class Slow:
    """A backend that keeps whoever asks for /slow waiting until it is told to answer."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.release = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            self.arrived.set()
            while not self.release.is_set():
                await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"done"})


LEFT = {"/left": 200, "/right": 404}
RIGHT = {"/left": 404, "/right": 200}


def test_each_of_two_http_listeners_serves_its_own_routes(tmp_path: Path, backends: Backends) -> None:
    left, right = free_port(), free_port()
    with gateway(two_listeners(tmp_path, backends, left, right), port=left) as running:
        wait_until(lambda: is_listening(right))
        assert statuses(left) == LEFT
        assert statuses(right) == RIGHT
        assert f"default/two:{right}: listening on 127.0.0.1:{right}, HTTP" in running.log


def test_two_workers_share_the_servers_port_and_every_other_listener(tmp_path: Path, backends: Backends) -> None:
    left, right = free_port(), free_port()
    manifests = two_listeners(tmp_path, backends, left, right)

    def ask_often(port: int, path: str) -> None:
        for connection in [Connection(port) for _ in range(8)]:
            with connection:
                assert connection.ask(path).status == 200

    def counters() -> int:
        """How many processes have counted a first request; those before were all for the second listener."""
        ask_often(right, "/right")
        return sum(json.loads(line)["RequestCount"] == 1 for line in running.output.splitlines())

    def speakers() -> int:
        """How many processes have said what the server's port stands for, as each does at its first request there."""
        ask_often(running.port, "/left")
        return running.log.count("stands for listener default/two/left")

    with gateway(manifests, "--workers", "2", access_log="json") as running:
        wait_until(lambda: running.log.count("Application startup complete") == 2)
        assert running.log.count(f"listening on 127.0.0.1:{right}, HTTP") == 2
        wait_until(lambda: counters() == 2, what="both workers have served the second listener")
        wait_until(lambda: speakers() == 2, what="both workers have served the server's own port")


def test_reload_starts_and_serves(tmp_path: Path, backends: Backends) -> None:
    write(tmp_path / "all.yaml", *backend("whoami", *backends.whoami), route("all", "whoami"))
    with gateway(tmp_path, "--reload") as running:
        assert ask(running.port).status == 200


def test_a_port_that_is_no_listeners_stands_for_the_first_http_listener(tmp_path: Path, backends: Backends) -> None:
    left, right = free_port(), free_port()
    with gateway(two_listeners(tmp_path, backends, left, right)) as running:
        assert statuses(running.port) == LEFT
        running.wait_for(
            rf"INFO: +port {running.port} \(http\) is no listener's and stands for listener default/two/left"
        )
        assert not is_listening(left)
        assert statuses(right) == RIGHT


def test_the_listener_that_the_servers_port_stands_for_can_be_chosen(tmp_path: Path, backends: Backends) -> None:
    left, right = free_port(), free_port()
    manifests = two_listeners(tmp_path, backends, left, right)
    with gateway(manifests, listener="default/two/right") as running:
        assert statuses(running.port) == RIGHT
        running.wait_for(
            rf"INFO: +port {running.port} \(http\) is no listener's and stands for listener default/two/right"
        )


def test_a_chosen_listener_that_is_not_there_is_an_error_that_names_those_that_are(
    tmp_path: Path, backends: Backends
) -> None:
    left, right = free_port(), free_port()
    with gateway(two_listeners(tmp_path, backends, left, right), listener="default/two/middle") as running:
        assert statuses(running.port) == {"/left": 404, "/right": 404}
        running.wait_for(
            rf"ERROR: +port {running.port}: there is no listener default/two/middle; "
            r"there is default/two/left, default/two/right"
        )
        assert statuses(left) == LEFT


def test_a_port_that_somebody_has_is_reported_and_the_others_serve(tmp_path: Path, backends: Backends) -> None:
    left, right = free_port(), free_port()
    manifests = two_listeners(tmp_path, backends, left, right)
    with socket.create_server(("127.0.0.1", right)), gateway(manifests, port=left) as running:
        running.wait_for(
            rf"ERROR: +default/two:{right}: not listening on 127\.0\.0\.1:{right}: Address already in use\n"
        )
        assert statuses(left) == LEFT


def test_ping_answers_while_the_gateway_serves(tmp_path: Path) -> None:
    admin = free_port()
    with gateway(tmp_path, admin=f"127.0.0.1:{admin}"):
        answer = ask(admin, "/ping", "localhost")
        assert (answer.status, answer.text) == (200, "OK")


def test_the_common_access_log_is_on_standard_output(tmp_path: Path, backends: Backends) -> None:
    write(tmp_path / "all.yaml", *backend("nginx", backends.nginx), route("all", "nginx"))
    with gateway(tmp_path, access_log="common") as running:
        ask(running.port, "/a?b=c", fields=(("User-Agent", "curl/8"), ("Referer", "http://moon/")))
        wait_until(lambda: running.output.endswith("\n"))
        assert re.fullmatch(
            r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET /a\?b=c HTTP/1\.1" 200 \d+ '
            rf'"http://moon/" "curl/8" 1 "default/all/0" "127\.0\.0\.1:{backends.nginx}" \d+ms\n',
            running.output,
        )


def test_the_json_access_log_is_on_standard_output(tmp_path: Path, backends: Backends) -> None:
    write(tmp_path / "all.yaml", *backend("nginx", backends.nginx), route("all", "nginx", path="/a"))
    with gateway(tmp_path, access_log="json") as running:
        for path in ("/a", "/b"):
            ask(running.port, path)
        wait_until(lambda: running.output.count("\n") == 2)
        served, refused = [json.loads(line) for line in running.output.splitlines()]
    keys = (
        "RequestPath",
        "DownstreamStatus",
        "OriginStatus",
        "RouterName",
        "ServiceName",
        "ServiceURL",
        "ResponseFlags",
    )
    assert [served[key] for key in keys] == [
        "/a", 200, 200, "default/all/0", "default/nginx:80", f"127.0.0.1:{backends.nginx}", "-",
    ]  # fmt: skip
    assert [refused[key] for key in keys] == ["/b", 404, 0, "", "", "", "NR"]


def test_moongate_run_opens_every_listener(tmp_path: Path, backends: Backends) -> None:
    left, right = free_port(), free_port()
    manifests = two_listeners(tmp_path, backends, left, right)
    with moongate("run", "--manifests", str(manifests)) as running:
        running.wait_for("Application startup complete")
        assert statuses(left) == LEFT
        assert statuses(right) == RIGHT


def test_control_c_ends_moongate_run_as_if_nothing_had_happened(tmp_path: Path, backends: Backends) -> None:
    with moongate("run", manifests=str(two_listeners(tmp_path, backends, free_port(), free_port()))) as running:
        running.wait_for("Application startup complete")
        running.send(signal.SIGINT)
        assert running.wait() == 0
        assert "Traceback" not in running.log
        assert running.output == ""


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["alone", "2-workers"])
def test_moongate_run_without_a_port_to_open_says_why_and_ends(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    port = free_port()
    write(tmp_path / "all.yaml", gateway_object("one", http_listener(port)))
    with (
        socket.create_server(("127.0.0.1", port)),
        moongate("run", *arguments, manifests=str(tmp_path)) as running,
    ):
        assert running.wait() == 3
        assert f"default/one:{port}: not listening on 127.0.0.1:{port}: Address already in use\n" in running.log
        assert "ERROR:    no listener could be opened\n" in running.log
        assert "Traceback" not in running.log


def test_a_unix_socket_stands_for_the_first_http_listener(tmp_path: Path, backends: Backends) -> None:
    path = tmp_path / "gateway.sock"
    manifests = two_listeners(tmp_path, backends, free_port(), free_port())
    with process(["uvicorn", "app:gateway", "--uds", str(path)], settings(manifests=str(manifests))) as running:
        running.wait_for("Uvicorn running on unix socket")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /left HTTP/1.1\r\nHost: whoami\r\nConnection: close\r\n\r\n")
            with client.makefile("rb") as answer:
                assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
                assert b"X-Forwarded-For" not in answer.read()
        running.wait_for(r"this socket \(http\) is no listener's and stands for listener default/two/left")


@pytest.mark.parametrize("kept_alive", [False, True], ids=["idle-clients-gone", "idle-client-kept-alive"])
def test_on_term_requests_under_way_are_finished_and_no_new_ones_are_taken(tmp_path: Path, kept_alive: bool) -> None:
    slow = Slow()
    port = free_port()
    answers: list[Answer] = []
    with serving(slow) as upstream:
        write(
            tmp_path / "all.yaml",
            *backend("slow", upstream),
            gateway_object("one", http_listener(port)),
            route("all", "slow", gateway="one"),
        )
        with moongate("run", manifests=str(tmp_path), access_log="common") as running:
            running.wait_for("Application startup complete")
            client = threading.Thread(target=lambda: answers.append(ask(port, "/slow")))
            client.start()
            idle = Connection(port)
            assert idle.ask("/").status == 200
            if not kept_alive:
                idle.close()
            assert slow.arrived.wait(10)
            running.send(signal.SIGTERM)
            wait_until(lambda: not is_listening(port), what="no new connection is taken")
            assert not running.ended
            slow.release.set()
            client.join()
            assert running.wait() in (0, -signal.SIGTERM)
            idle.close()
            assert running.output.count('"GET /slow HTTP/1.1" 200') == 1
    assert [answer.body for answer in answers] == [b"done"]


def test_a_request_under_way_on_a_listener_that_goes_away_is_finished(tmp_path: Path) -> None:
    slow = Slow()
    first, second = free_port(), free_port()
    answers: list[Answer] = []

    def listen_on(*ports: int) -> None:
        listeners = [http_listener(port, f"port-{port}") for port in ports]
        write(tmp_path / "gateway.yaml", gateway_object("some", *listeners), route("all", "slow", gateway="some"))

    with serving(slow) as upstream:
        write(tmp_path / "backend.yaml", *backend("slow", upstream))
        listen_on(first, second)
        with gateway(tmp_path, port=first):
            client = threading.Thread(target=lambda: answers.append(ask(second, "/slow")))
            client.start()
            assert slow.arrived.wait(10)
            listen_on(first)
            wait_until(lambda: not is_listening(second))
            slow.release.set()
            client.join()
    assert [answer.body for answer in answers] == [b"done"]


def test_a_rule_sees_the_forwarded_fields_that_its_backend_gets(tmp_path: Path, backends: Backends) -> None:
    """… and not those that a client made up, whichever way a request takes."""
    secured = route("secured", "whoami")
    secured["spec"]["rules"][0]["matches"] = [{"headers": [{"name": "X-Forwarded-Proto", "value": "https"}]}]
    write(tmp_path / "all.yaml", *backend("whoami", backends.nginx), secured, route("plain", "whoami", path="/plain"))
    forged = (("X-Forwarded-Proto", "https"),)
    ours = ("--http", "app.listeners.http:GatewayProtocol")
    with gateway(tmp_path, *ours) as running, Connection(running.port) as client:
        assert client.ask("/plain").status == 200, "now there is a connection to the backend"
        assert [client.ask(fields=forged).status for _ in range(3)] == [404] * 3
    with gateway(tmp_path, *ours, trusted_proxies="127.0.0.1") as running, Connection(running.port) as client:
        assert [client.ask(fields=forged).status for _ in range(3)] == [200] * 3
