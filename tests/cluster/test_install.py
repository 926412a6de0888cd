"""The chart in a cluster: what the API server says of it, and what comes of installing it."""

from collections.abc import Callable

import pytest

from tests.cluster.lab import CHART, Cluster, Release
from tests.helpers.waiting import wait_until

pytestmark = pytest.mark.timeout(900)

#: Everything that the chart can make, but for what needs definitions of other projects.
EVERYTHING = {
    "autoscaling.enabled": "true",
    "gateway.enabled": "true",
    "gateway.listeners.websecure.protocol": "HTTPS",
    "gateway.listeners.websecure.certificateRefs[0].name": "mysecret",
    "experimental.kubernetesGateway.enabled": "true",
    "experimental.kubernetesGateway.certificates[0].name": "mysecret",
    "providers.kubernetesGateway.namespaces[0]": "default",
    "service.annotations.example\\.com/a": "b",
}
NAMESPACE = "moongate-install"


def test_the_api_server_takes_all_that_the_chart_can_make(cluster: Cluster) -> None:
    installed = set(cluster.kubectl("api-versions").split())
    versions = [each for each in installed if each.split("/")[0].endswith("k8s.io")]
    rendered = cluster.helm(
        *("template", "moongate", str(CHART), "--namespace", "default"),
        *(argument for each in versions for argument in ("--api-versions", each)),
        *(argument for name, value in EVERYTHING.items() for argument in ("--set", f"{name}={value}")),
    )
    answer = cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename", "-", stdin=rendered
    )
    kinds = {line.split("/")[0].split(".")[0] for line in answer.splitlines()}
    assert {"deployment", "service", "clusterrole", "role", "poddisruptionbudget", "horizontalpodautoscaler"} <= kinds


@pytest.fixture(scope="module")
def installed(release: Callable[[str], Release]) -> Release:
    """A release as it is by default, but for its class's name and its controller's."""
    one = release(NAMESPACE)
    one.install()
    return one


def test_replicas_become_ready_and_are_the_endpoints_of_the_replicas_service(
    cluster: Cluster, installed: Release
) -> None:
    def ready() -> list[str]:
        slices = cluster.get(
            *("endpointslices", "--namespace", NAMESPACE),
            "--selector=kubernetes.io/service-name=moongate-replicas",
        )["items"]
        return sorted(
            f"pod/{endpoint['targetRef']['name']}"
            for each in slices
            for endpoint in each["endpoints"]
            if endpoint["conditions"]["ready"]
        )

    # Installed is when the pods are ready; the slices are written by another controller, a moment later.
    wait_until(lambda: ready() == sorted(installed.pods()), seconds=60, what="every replica among the endpoints")
    assert len(ready()) == 2


def test_the_key_of_sessions_outlives_an_upgrade(cluster: Cluster, installed: Release) -> None:
    def key() -> str:
        return str(cluster.get("secret", "--namespace", NAMESPACE, "moongate-session")["data"]["key"])

    before = key()
    installed.install(deployment__podAnnotations__upgraded="yes")
    assert key() == before


def test_an_account_may_do_what_is_needed_and_no_more(cluster: Cluster, installed: Release) -> None:
    account = f"system:serviceaccount:{NAMESPACE}:moongate"

    def may(verb: str, resource: str, namespace: str = "default", part: str = "") -> bool:
        question = ("auth", "can-i", verb, resource, "--namespace", namespace, "--as", account, "--subresource", part)
        # It says no by its exit status as well.
        return cluster.run("sh", "-c", '"$@" || true', "sh", cluster.kubectl_path, *question).strip() == "yes"

    assert may("list", "httproutes.gateway.networking.k8s.io")
    assert may("patch", "gateways.gateway.networking.k8s.io", part="status")
    assert may("create", "services")
    assert may("update", "leases.coordination.k8s.io/moongate", NAMESPACE)
    assert not may("update", "leases.coordination.k8s.io/moongate")
    assert not may("patch", "gateways.gateway.networking.k8s.io")
    assert not may("get", "secrets")
    assert not may("create", "secrets")
    assert not may("get", "pods")
