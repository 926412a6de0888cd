"""``moongate run`` with the objects of an API server, which comes and goes."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import Backends
from tests.helpers.apikinds import Object
from tests.helpers.apiserver import ApiServer
from tests.helpers.client import Connection, ask
from tests.helpers.processes import Process, free_port, process, settings
from tests.helpers.waiting import wait_until

API = "gateway.networking.k8s.io"
CLASS: Object = {
    "apiVersion": f"{API}/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "moongate"},
    "spec": {"controllerName": "moongate.dev/gateway"},
}
LEASE: Object = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": "moongate", "namespace": "default"},
}


def gateway(port: int) -> Object:
    return {
        "apiVersion": f"{API}/v1",
        "kind": "Gateway",
        "metadata": {"name": "edge", "namespace": "default"},
        "spec": {
            "gatewayClassName": "moongate",
            "listeners": [{"name": "web", "port": port, "protocol": "HTTP"}],
        },
    }


def route(name: str) -> Object:
    return {
        "apiVersion": f"{API}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "hostnames": [name],
            "rules": [{"backendRefs": [{"name": "whoami", "port": 80}]}],
        },
    }


def service() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "whoami", "namespace": "default"},
        "spec": {"ports": [{"port": 80}]},
    }


def endpoints(port: int) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "whoami-1",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "whoami"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"]}],
    }


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(port: int, backends: Backends) -> Iterator[ApiServer]:
    server = ApiServer()
    for each in (CLASS, gateway(port), service(), endpoints(backends.whoami[0]), route("one")):
        server.put(each)
    with server.in_thread():
        yield server


@contextmanager
def running(server: ApiServer, folder: Path, *, ready: bool = True, **names: str) -> Iterator[Process]:
    kubeconfig = server.kubeconfig(folder / "kubeconfig")
    environment = settings(provider="kubernetes", lease="moongate", **names)
    with process(["app", "run"], {**environment, "KUBECONFIG": str(kubeconfig)}) as started:
        if ready:
            started.wait_for("Application startup complete")
        yield started


def is_accepted(server: ApiServer, name: str) -> bool:
    parents = server.get(route(name)).get("status", {}).get("parents", [])
    return any(
        condition["type"] == "Accepted" and condition["status"] == "True"
        for parent in parents
        for condition in parent["conditions"]
    )


def test_its_objects_are_served_and_told_what_became_of_them(server: ApiServer, port: int, tmp_path: Path) -> None:
    with running(server, tmp_path):
        assert ask(port, host="one").name == "whoami-1"
        wait_until(lambda: is_accepted(server, "one"), what="the route has a status")
        server.put(route("two"))
        wait_until(lambda: ask(port, host="two").status == 200, what="a new route is served")
        wait_until(lambda: is_accepted(server, "two"), what="the new route has a status")


def test_endpoints_are_followed(server: ApiServer, port: int, tmp_path: Path, backends: Backends) -> None:
    with running(server, tmp_path), Connection(port) as client:
        assert client.ask(host="one").name == "whoami-1"
        server.put(endpoints(backends.whoami[1]))
        wait_until(lambda: client.ask(host="one").name == "whoami-2", what="the new endpoint answers")
        server.delete(endpoints(0))
        wait_until(lambda: client.ask(host="one").status == 503, what="there is none left")


def test_without_it_everything_goes_on_and_what_happened_meanwhile_is_found(
    server: ApiServer, port: int, tmp_path: Path
) -> None:
    with running(server, tmp_path) as started:
        wait_until(lambda: is_accepted(server, "one"), what="the route has a status")
        server.call(server.stop)
        started.wait_for("ERROR.*the API server cannot be followed", seconds=60)
        assert ask(port, host="one").status == 200
        server.put(route("two"))
        server.delete(route("one"))
        server.call(server.start)
        wait_until(lambda: ask(port, host="two").status == 200, what="the new route is served", seconds=60)
        wait_until(lambda: ask(port, host="one").status == 404, what="the deleted one is not", seconds=60)
        wait_until(lambda: is_accepted(server, "two"), what="the new route has a status", seconds=60)
        started.wait_for("mended: .*the API server cannot be followed", seconds=60)


def test_a_start_waits_for_it_and_ends_by_a_signal(server: ApiServer, port: int, tmp_path: Path) -> None:
    server.call(server.stop)
    with running(server, tmp_path, ready=False) as started:
        started.wait_for("WARNING.*API server")
        started.send(signal.SIGTERM)
        started.wait()
        assert "Traceback" not in started.log


def test_a_start_waits_for_it_and_serves_once_it_is_there(server: ApiServer, port: int, tmp_path: Path) -> None:
    server.call(server.stop)
    with running(server, tmp_path, ready=False) as started:
        started.wait_for("WARNING.*API server")
        server.call(server.start)
        started.wait_for("Application startup complete", seconds=60)
        assert ask(port, host="one").status == 200


def test_who_stops_gives_up_the_lease(server: ApiServer, tmp_path: Path) -> None:
    with running(server, tmp_path) as started:
        wait_until(lambda: server.objects("leases", "coordination.k8s.io"), what="there is a Lease")
        assert server.get(LEASE)["spec"]["holderIdentity"]
        started.send(signal.SIGTERM)
        started.wait()
        assert server.get(LEASE)["spec"]["holderIdentity"] in ("", None)
