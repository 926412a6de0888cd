"""What ``/metrics`` tells after requests over sockets, of one process and of several."""

import os
import re
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from tests.e2e.conftest import Backends
from tests.helpers.client import Answer, Connection, ask
from tests.helpers.manifests import backend, gateway_object, http_listener, route, write
from tests.helpers.processes import Process, free_port, moongate
from tests.helpers.waiting import wait_until

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(admin: int) -> Series:
    """All samples of a scrape. That no series is there twice is checked by the way."""
    answer = ask(admin, "/metrics", host="localhost")
    assert answer.status == 200
    found: Series = {}
    for family in plain(answer.text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, key
            found[key] = sample.value
    return found


def value(series: Series, name: str, **labels: str) -> float:
    """The one sample by this name with exactly these labels, 0 for none."""
    return series.get((name, frozenset(labels.items())), 0.0)


def total(series: Series, name: str) -> float:
    return sum(number for (each, _), number in series.items() if each == name)


class Rig:
    """A gateway with a canary at ``shop.example``, and its admin port."""

    def __init__(self, folder: Path, backends: Backends) -> None:
        self.folder = folder
        self.listener, self.admin = free_port(), free_port()
        self.name = f"default/edge:{self.listener}"
        self._backends = backends
        self.write("shop")

    def write(self, *routes: str) -> None:
        write(
            self.folder / "a.yaml",
            *backend("whoami", *self._backends.whoami),
            gateway_object("edge", http_listener(self.listener)),
            *(route(name, "whoami", host=f"{name}.example", gateway="edge") for name in routes),
        )

    def ask(self, host: str = "shop.example", **more: str) -> Answer:
        return ask(self.listener, "/", host=host, **more)  # type: ignore[arg-type]

    @contextmanager
    def running(self, *arguments: str, **settings: str) -> Iterator[Process]:
        with moongate(
            "run", *arguments, manifests=str(self.folder), admin=f"127.0.0.1:{self.admin}", **settings
        ) as run:
            run.wait_for("Application startup complete")
            yield run


@pytest.fixture
def rig(tmp_path: Path, backends: Backends) -> Rig:
    return Rig(tmp_path, backends)


@pytest.mark.parametrize("log", ["off", "json"])
def test_every_family_after_a_few_requests(rig: Rig, log: str) -> None:
    with rig.running(access_log=log):
        sizes = [len(rig.ask().body) for _ in range(5)]
        rig.ask(method="PROPFIND")
        rig.ask("nowhere.example")
        with Connection(rig.listener) as refused:
            refused.socket.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            assert refused.socket.recv(65536).startswith(b"HTTP/1.1 400")
        with Connection(rig.listener) as open_:
            open_.ask(host="shop.example")
            series = scraped(rig.admin)
    name = rig.name
    requests = "moongate_listener_requests_total"
    kept = {"protocol": "HTTP/1.1", "listener": name}
    assert value(series, requests, code="200", method="GET", **kept) == 6
    assert value(series, requests, code="200", method="EXTENSION_METHOD", **kept) == 1
    assert value(series, requests, code="404", method="GET", **kept) == 1
    assert value(series, requests, code="400", method="GET", **kept) == 1
    assert total(series, requests) == 9
    sent = value(series, "moongate_listener_responses_bytes_total", code="200", method="GET", **kept)
    assert sum(sizes) < sent < sum(sizes) * 2
    ended = {"code": "200", "protocol": "HTTP/1.1", "listener": name}
    assert value(series, "moongate_listener_request_duration_seconds_bucket", le="+Inf", **ended) == 7
    assert value(series, "moongate_listener_request_duration_seconds_count", **ended) == 7
    assert 0 < value(series, "moongate_listener_request_duration_seconds_sum", **ended) < 7
    assert value(series, "moongate_route_requests_total", code="200", method="GET", route="default/shop") == 6
    assert value(series, "moongate_route_request_duration_seconds_count", route="default/shop") == 7
    (chosen,) = {dict(labels)["backend"] for each, labels in series if each == "moongate_rule_requests_total"}
    assert (
        value(series, "moongate_rule_requests_total", code="200", route="default/shop", rule="0", backend=chosen) == 7
    )
    assert value(series, "moongate_backend_requests_total", code="200", method="GET", backend=chosen) == 6
    assert value(series, "moongate_backend_request_duration_seconds_count", backend=chosen) == 7
    for gauge in ("retries_total", "ejections_total", "requests_in_flight"):
        assert series["moongate_backend_" + gauge, frozenset({("backend", chosen)})] == 0
    assert total(series, "moongate_endpoint_up") == 2
    assert value(series, "moongate_open_connections", **kept) == 1
    assert value(series, "moongate_config_reloads_total") >= 1
    assert value(series, "moongate_config_reload_failures_total") == 0
    assert value(series, "moongate_config_last_reload_successful") == 1
    assert value(series, "moongate_config_last_reload_success") > 1e9
    assert value(series, "moongate_config_build_duration_seconds_count") >= 1
    assert value(series, "moongate_resources", kind="HTTPRoute", accepted="true") == 1
    assert value(series, "moongate_resources", kind="Gateway", accepted="true") == 1
    assert total(series, "moongate_attached_routes") == 1
    assert total(series, "moongate_build_info") == 1
    assert value(series, "process_cpu_seconds_total") > 0


def test_both_formats_are_the_libraries_own(rig: Rig) -> None:
    with rig.running():
        rig.ask()
        with Connection(rig.admin) as connection:
            answer = connection.ask("/metrics", host="localhost", fields=(("Accept", "application/openmetrics-text"),))
    assert answer.values("content-type")[0].startswith("application/openmetrics-text")
    names = {family.name for family in openmetrics(answer.text)}  # type: ignore[no-untyped-call]
    assert {"moongate_listener_requests", "moongate_route_request_duration_seconds"} <= names


def test_what_clients_write_is_in_no_label(rig: Rig) -> None:
    with rig.running():
        rig.ask("secret-host.example")
        rig.ask(method="SECRETMETHOD")
        text = ask(rig.admin, "/metrics", host="localhost").text.lower()
    assert "secret" not in text


def test_a_route_that_is_gone_is_a_part_of_the_sums_alone(rig: Rig) -> None:
    with rig.running() as run:
        rig.write("shop", "other")
        run.wait_for("serving 2 routes")
        for host in ("shop.example", "other.example", "other.example"):
            assert rig.ask(host).status == 200
        assert (
            value(scraped(rig.admin), "moongate_route_requests_total", code="200", method="GET", route="default/other")
            == 2
        )
        rig.write("shop")
        answered = 3

        def gone() -> bool:
            nonlocal answered
            status = rig.ask("other.example").status
            answered += status == 200
            return status == 404

        wait_until(gone, what="the route to go")
        series = scraped(rig.admin)
    routes = {dict(labels)["route"] for name, labels in series if name == "moongate_route_requests_total"}
    assert routes == {"default/shop"}
    kept = {"protocol": "HTTP/1.1", "listener": rig.name}
    assert value(series, "moongate_listener_requests_total", code="200", method="GET", **kept) == answered
    assert total(series, "moongate_backend_requests_total") == answered


def test_nothing_is_counted_where_nobody_wants_it(rig: Rig) -> None:
    with rig.running(metrics="false"):
        assert rig.ask().status == 200
        assert ask(rig.admin, "/metrics", host="localhost").status == 404


def children(pid: int) -> set[int]:
    """The workers: uvicorn's processes have another beside them that looks after resources."""
    found = set()
    for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes():
            found.add(int(each))
    return found


def folders(pid: int) -> list[Path]:
    return list(Path("/dev/shm").glob(f"moongate-{os.getuid()}-{pid}-*"))


def test_any_worker_tells_of_all_of_them_and_of_those_that_were_killed(rig: Rig) -> None:
    def counted() -> float:
        return total(scraped(rig.admin), "moongate_listener_requests_total")

    with rig.running("--workers", "2") as run:
        wait_until(lambda: len(re.findall("Application startup complete", run.log)) == 2, what="both workers")
        for _ in range(40):
            assert rig.ask().status == 200
        wait_until(lambda: {counted() for _ in range(6)} == {40.0}, what="all to know of all")
        (folder,) = folders(run.pid)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        killed = min(children(run.pid))
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: len(re.findall("Application startup complete", run.log)) == 3, what="another worker")
        assert {counted() for _ in range(6)} == {40.0}
        for _ in range(10):
            assert rig.ask().status == 200
        wait_until(lambda: {counted() for _ in range(6)} == {50.0}, what="all to know of all")
        run.send(signal.SIGHUP)
        wait_until(lambda: len(re.findall("Application startup complete", run.log)) == 5, what="new workers")
        assert {counted() for _ in range(6)} == {50.0}
    assert not folders(run.pid)
