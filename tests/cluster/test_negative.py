"""What may not be read, has expired or makes no sense is named in log and status, and all else serves."""

import base64
import copy
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
import yaml

from tests.cluster.lab import ROOT, Cluster, Object, Release, addresses
from tests.helpers.waiting import wait_until

pytestmark = pytest.mark.timeout(600)

NAMESPACE = "moongate-negative"
SOME = "moongate-negative-some"
CLOSED = "moongate-negative-closed"
API = "gateway.networking.k8s.io"


def route(name: str, namespace: str, *rules: Object, gateway: str = "moongate") -> Object:
    """A route that answers by itself: with a redirect, which needs no backend."""
    redirect = {"filters": [{"type": "RequestRedirect", "requestRedirect": {"hostname": f"to-{name}"}}]}
    return {
        "apiVersion": f"{API}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"parentRefs": [{"name": gateway}], "hostnames": [f"{name}.example"], "rules": [*rules, redirect]},
    }


def certificate(namespace: str) -> Object:
    leaf = trustme.CA().issue_cert("one.example")
    pair = {"tls.crt": leaf.cert_chain_pems[0].bytes(), "tls.key": leaf.private_key_pem.bytes()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "pair", "namespace": namespace},
        "type": "kubernetes.io/tls",
        "data": {name: base64.b64encode(content).decode() for name, content in pair.items()},
    }


def gateway_of(cluster: Cluster, namespace: str) -> Object:
    return cluster.get(f"gateways.{API}", "moongate", f"--namespace={namespace}")


def address_of(cluster: Cluster, namespace: str) -> str:
    return wait_until(
        lambda: next(iter(addresses(gateway_of(cluster, namespace).get("status", {}))), ""),
        seconds=90,
        what=f"the Gateway of {namespace} has an address",
        every=0.3,
    )


def until_served(cluster: Cluster, url: str, host: str) -> None:
    wait_until(
        lambda: cluster.status_of("--insecure", "--header", f"Host: {host}", url) == 302,
        seconds=60,
        what=f"{host} is served at {url}",
        every=0.3,
    )


def listener_condition(cluster: Cluster, listener: str, type_: str) -> Object:
    for each in gateway_of(cluster, NAMESPACE).get("status", {}).get("listeners", ()):
        for condition in each["conditions"] if each["name"] == listener else ():
            if condition["type"] == type_:
                return dict(condition)
    return {}


def processes(cluster: Cluster, namespace: str) -> dict[str, int]:
    """The replicas, without those that go, and how often each was started anew."""
    pods = cluster.get("pods", f"--namespace={namespace}", "--selector=app.kubernetes.io/instance=moongate")["items"]
    return {
        each["metadata"]["name"]: sum(part["restartCount"] for part in each["status"]["containerStatuses"])
        for each in pods
        if "deletionTimestamp" not in each["metadata"]
    }


def without(rules: list[Object], resource: str) -> list[Object]:
    """The rules of a role, from which one resource is taken."""
    left = copy.deepcopy(rules)
    for rule in left:
        rule["resources"] = [each for each in rule["resources"] if each != resource]
    return [rule for rule in left if rule["resources"]]


def set_rules(cluster: Cluster, role: str, rules: list[Object]) -> None:
    patch = json.dumps([{"op": "replace", "path": "/rules", "value": rules}])
    cluster.kubectl("patch", "clusterrole", role, "--type=json", f"--patch={patch}")


@pytest.fixture(scope="module")
def installed(cluster: Cluster, release: Callable[[str], Release]) -> Release:
    """A release with an HTTP and an HTTPS listener, and a route on both."""
    one = release(NAMESPACE)
    one.install(
        gateway__enabled="true",
        **{
            "gateway.listeners.websecure.port": "443",
            "gateway.listeners.websecure.protocol": "HTTPS",
            "gateway.listeners.websecure.certificateRefs[0].name": "pair",
        },
    )
    cluster.apply(certificate(NAMESPACE), route("one", NAMESPACE))
    return one


def test_secrets_that_may_not_be_read_cost_https_alone_until_they_may(cluster: Cluster, installed: Release) -> None:
    role = f"moongate-{NAMESPACE}"
    rules = cluster.get("clusterrole", role)["rules"]
    address = address_of(cluster, NAMESPACE)
    until_served(cluster, f"http://{address}/", "one.example")
    set_rules(cluster, role, without(rules, "secrets"))
    try:
        # Who has read them before goes on with what he has.
        cluster.kubectl("rollout", "restart", "deployment/moongate", f"--namespace={NAMESPACE}")
        cluster.kubectl("rollout", "status", "deployment/moongate", f"--namespace={NAMESPACE}", "--timeout=120s")

        def refused() -> Object:
            found = listener_condition(cluster, "websecure", "ResolvedRefs")
            return found if found.get("status") == "False" else {}

        told = wait_until(refused, seconds=60, what="the listener's status says it", every=0.3)
        assert "secrets is forbidden" in told["message"]
        assert "secrets is forbidden" in installed.logs()
        assert listener_condition(cluster, "web", "ResolvedRefs")["status"] == "True"
        until_served(cluster, f"http://{address}/", "one.example")
        cluster.apply(route("two", NAMESPACE))
        until_served(cluster, f"http://{address}/", "two.example")
        before = processes(cluster, NAMESPACE)
    finally:
        set_rules(cluster, role, rules)
    until_served(cluster, f"https://{address}/", "one.example")
    assert processes(cluster, NAMESPACE) == before


def test_what_we_cannot_make_sense_of_is_named_and_all_else_serves(cluster: Cluster, installed: Release) -> None:
    """RE2 refuses what the definitions take."""
    looking_ahead = {"matches": [{"path": {"type": "RegularExpression", "value": "/(?=a)"}}]}
    redirect = {"filters": [{"type": "RequestRedirect", "requestRedirect": {"hostname": "elsewhere"}}]}
    cluster.apply(route("broken", NAMESPACE, looking_ahead | redirect), route("three", NAMESPACE))
    address = address_of(cluster, NAMESPACE)
    until_served(cluster, f"http://{address}/", "three.example")

    def said() -> list[Object]:
        found = cluster.get(f"httproutes.{API}", "broken", f"--namespace={NAMESPACE}")
        parents = found.get("status", {}).get("parents", ())
        return [each for parent in parents for each in parent["conditions"] if "(?=" in each["message"]]

    assert wait_until(said, seconds=60, what="the route's status says it", every=0.3)
    assert f"HTTPRoute {NAMESPACE}/broken spec.rules[0]: UnsupportedValue: matches[0].path.value" in installed.logs()
    until_served(cluster, f"http://{address}/", "broken.example")  # by its other rule


def test_a_namespace_that_may_not_be_read_is_named_and_the_others_serve(
    cluster: Cluster, release: Callable[[str], Release]
) -> None:
    one = release(SOME)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CLOSED}})
    try:
        namespaces = {
            "providers.kubernetesGateway.namespaces[0]": SOME,
            "providers.kubernetesGateway.namespaces[1]": CLOSED,
        }
        one.install(gateway__enabled="true", **namespaces)
        cluster.kubectl("delete", "rolebinding", f"moongate-{SOME}", f"--namespace={CLOSED}")
        cluster.kubectl("rollout", "restart", "deployment/moongate", f"--namespace={SOME}")
        cluster.kubectl("rollout", "status", "deployment/moongate", f"--namespace={SOME}", "--timeout=120s")
        cluster.apply(route("one", SOME))
        until_served(cluster, f"http://{address_of(cluster, SOME)}/", "one.example")
        logs = one.logs()
        assert "forbidden" in logs
        assert f'"{CLOSED}"' in logs
    finally:
        cluster.kubectl("delete", "namespace", CLOSED, "--wait=false")


@pytest.fixture
def kubeconfig(cluster: Cluster, installed: Release, tmp_path: Path) -> Path:
    """One whose token is in the file ``token`` beside it, of an account that may what the release may."""
    config = yaml.safe_load(Path(cluster.environment["KUBECONFIG"]).read_text())
    config["users"] = [{"name": "us", "user": {"tokenFile": str(tmp_path / "token")}}]
    for each in config["contexts"]:
        each["context"] |= {"user": "us", "namespace": NAMESPACE}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def token(cluster: Cluster, bound_to: str) -> str:
    """A token that is good for as long as the Secret ``bound_to`` is there."""
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": bound_to, "namespace": NAMESPACE}})
    return cluster.kubectl(
        *("create", "token", "moongate", f"--namespace={NAMESPACE}"),
        *("--bound-object-kind=Secret", f"--bound-object-name={bound_to}"),
    ).strip()


def test_a_token_that_is_good_no_more_is_named_and_a_new_one_taken(
    cluster: Cluster, kubeconfig: Path, tmp_path: Path
) -> None:
    """With a process beside the cluster: those in pods get new tokens long before the old ones expire."""
    port = 18_480
    file = kubeconfig.with_name("token")
    file.write_text(token(cluster, "first"))
    name = f"{NAMESPACE}-process"
    cluster.apply(
        {
            "apiVersion": f"{API}/v1",
            "kind": "GatewayClass",
            "metadata": {"name": name},
            "spec": {"controllerName": f"moongate.dev/{name}"},
        },
        {
            "apiVersion": f"{API}/v1",
            "kind": "Gateway",
            "metadata": {"name": "process", "namespace": NAMESPACE},
            "spec": {"gatewayClassName": name, "listeners": [{"name": "web", "port": port, "protocol": "HTTP"}]},
        },
        route("before", NAMESPACE, gateway="process"),
    )
    environment = {
        "KUBECONFIG": str(kubeconfig),
        "MOONGATE_PROVIDER": "kubernetes",
        "MOONGATE_CONTROLLER_NAME": f"moongate.dev/{name}",
        "MOONGATE_HOST": "127.0.0.1",
        "MOONGATE_ADMIN": "off",
    }
    log = tmp_path / "log"
    assignments = [f"{key}={value}" for key, value in environment.items()]
    command = f"cd {ROOT} && exec {sys.executable} -m app run >{log} 2>&1"
    running = cluster.popen("env", *assignments, f"PATH={os.environ['PATH']}", "sh", "-c", command)
    url = f"http://127.0.0.1:{port}/"
    try:
        until_served(cluster, url, "before.example")
        cluster.kubectl("delete", "secret", "first", f"--namespace={NAMESPACE}")
        # Watches outlive their token: what is asked anew is refused. They end within six minutes.
        wait_until(lambda: "nauthorized" in log.read_text(), seconds=420, what="the log names it", every=1.0)
        assert cluster.status_of("--header", "Host: before.example", url) == 302
        file.write_text(token(cluster, "second"))
        cluster.apply(route("after", NAMESPACE, gateway="process"))
        until_served(cluster, url, "after.example")
        assert file.read_text() not in log.read_text()
    finally:
        running.terminate()
        running.communicate(timeout=30)
        cluster.kubectl("delete", "gatewayclass", name, "--ignore-not-found")
