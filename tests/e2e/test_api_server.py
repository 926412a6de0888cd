"""``moongate run`` with the objects of an API server, which comes and goes."""

import signal
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from tests.e2e.conftest import Backends
from tests.helpers.apikinds import Object
from tests.helpers.apiserver import ApiServer
from tests.helpers.client import Connection, ask, insecure
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
def running(
    server: ApiServer, folder: Path, *, ready: bool = True, user: Object | None = None, **names: str
) -> Iterator[Process]:
    kubeconfig = server.kubeconfig(folder / "kubeconfig", user=user)
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


def test_without_a_way_into_a_cluster_it_says_so_and_ends(tmp_path: Path) -> None:
    environment = {**settings(provider="kubernetes"), "HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "none")}
    with process(["app", "run"], environment) as started:
        assert started.wait() != 0
        assert "no way into a cluster" in started.log
        assert "Traceback" not in started.log


def test_who_stops_gives_up_the_lease(server: ApiServer, tmp_path: Path) -> None:
    with running(server, tmp_path) as started:
        wait_until(lambda: server.objects("leases", "coordination.k8s.io"), what="there is a Lease")
        assert server.get(LEASE)["spec"]["holderIdentity"]
        started.send(signal.SIGTERM)
        started.wait()
        assert server.get(LEASE)["spec"]["holderIdentity"] in ("", None)


# What goes wrong is named, and all else serves


def secure(port: int, tls_port: int) -> Object:
    """The Gateway with an HTTPS listener beside the other."""
    found = gateway(port)
    tls = {"certificateRefs": [{"name": "pair"}]}
    found["spec"]["listeners"].append({"name": "secure", "port": tls_port, "protocol": "HTTPS", "tls": tls})
    return found


def listener_condition(server: ApiServer, listener: str, type_: str) -> Object:
    """A condition in the Gateway's status; nothing before there is one."""
    for each in server.get(gateway(0)).get("status", {}).get("listeners", []):
        for condition in each["conditions"] if each["name"] == listener else ():
            if condition["type"] == type_:
                return dict(condition)
    return {}


def test_secrets_that_may_not_be_read_are_named_and_cost_https_alone(
    server: ApiServer, port: int, tmp_path: Path
) -> None:
    tls_port = free_port()
    authority = trustme.CA()
    leaf = authority.issue_cert("one")
    pair = {"tls.crt": leaf.cert_chain_pems[0].bytes(), "tls.key": leaf.private_key_pem.bytes()}
    server.put(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "pair", "namespace": "default"},
            "type": "kubernetes.io/tls",
            "data": {name: b64encode(content).decode() for name, content in pair.items()},
        }
    )
    server.put(secure(port, tls_port))
    server.forbid("secrets")
    with running(server, tmp_path) as started:
        started.wait_for("secrets.*forbidden")
        assert ask(port, host="one").status == 200
        told = wait_until(
            lambda: listener_condition(server, "secure", "ResolvedRefs"), what="the listener has a status"
        )
        assert told["status"] == "False"
        assert "cannot be read" in told["message"]
        assert "forbidden" in told["message"]
        assert listener_condition(server, "web", "ResolvedRefs")["status"] == "True"
        assert pair["tls.key"].decode().splitlines()[1] not in started.log
        server.allow("secrets")
        wait_until(
            lambda: listener_condition(server, "secure", "ResolvedRefs")["status"] == "True",
            what="the Secret is read",
            seconds=60,
        )
        assert ask(tls_port, host="one", tls=insecure(), server_name="one").status == 200


def test_a_namespace_that_may_not_be_read_is_named_and_the_others_serve(
    server: ApiServer, port: int, tmp_path: Path
) -> None:
    server.forbid("httproutes", namespace="closed")
    with running(server, tmp_path, namespaces="default,closed") as started:
        started.wait_for('httproutes.*forbidden.*"closed"')
        assert ask(port, host="one").status == 200


def test_a_token_that_expires_is_named_and_a_new_one_taken(server: ApiServer, port: int, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    server.tokens = {"first"}
    with running(server, tmp_path, user={"tokenFile": str(token)}) as started:
        wait_until(lambda: is_accepted(server, "one"), what="the route has a status")
        server.tokens = {"second"}
        server.call(server.cut_watches)
        started.wait_for("(?i)unauthorized", seconds=60)
        assert ask(port, host="one").status == 200
        token.write_text("second")
        server.put(route("two"))
        wait_until(lambda: ask(port, host="two").status == 200, what="what is new is served", seconds=60)
        assert "second" not in started.log


def test_what_makes_no_sense_is_named_in_log_and_status_and_all_else_serves(
    server: ApiServer, port: int, tmp_path: Path
) -> None:
    broken = route("broken")
    broken["spec"]["rules"].insert(0, {"matches": [{"path": {"type": "Sideways", "value": "/x"}}]})
    server.put(broken)
    with running(server, tmp_path) as started:
        started.wait_for(r"broken.*spec\.rules\[0\].*Sideways")
        wait_until(lambda: server.get(broken).get("status"), what="the broken route has a status")
        (parent,) = server.get(broken)["status"]["parents"]
        told = [each for each in parent["conditions"] if "Sideways" in each["message"]]
        assert told, parent
        assert ask(port, host="broken").status == 200  # by its other rule
        assert ask(port, host="one").status == 200
