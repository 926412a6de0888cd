"""The article in a cluster: the chart with its values, its manifests unchanged, and what it asks curl for.

Its images are stand-ins in the development cluster, under the same names. Everything is in the namespace ``default``,
as the manifests have it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.lab import Cluster, Object, Release, addresses, conditions
from tests.helpers.waiting import wait_until

pytestmark = pytest.mark.timeout(600)

SEED = Path(__file__).parents[1] / "e2e" / "seed"
V1ALPHA1 = "networking.x-k8s.io"
WHOAMI, SECRET, NGINX = (SEED / f"{name}.yaml" for name in ("01-whoami", "04-tls-dummy-cert", "06-nginx"))
ROUTE, PATHS, CANARY = (
    SEED / f"{name}.yaml" for name in ("02-whoami-httproute", "03-whoami-httproute-paths", "07-whoami-nginx-canary")
)
VALUES = SEED / "05-values.yaml"

IMAGES = "moongate-article-images"
#: The manifests name `nginx` without a version, which has the kubelet ask a registry even for what it holds.
USE_WHAT_IS_THERE = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingAdmissionPolicy",
    "metadata": {"name": IMAGES},
    "spec": {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
            ],
        },
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {
                    "expression": "Object{spec: Object.spec{containers: object.spec.containers.map(each, "
                    'Object.spec.containers{name: each.name, imagePullPolicy: "IfNotPresent"})}}'
                },
            }
        ],
    },
}
BINDING = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingAdmissionPolicyBinding",
    "metadata": {"name": IMAGES},
    "spec": {"policyName": IMAGES},
}


@pytest.fixture(scope="module")
def article(cluster: Cluster, release: Callable[[str], Release]) -> Iterator[Cluster]:
    """The article's backends and its Secret, and Moongate installed with its values."""
    try:
        if cluster.offline:
            cluster.apply(USE_WHAT_IS_THERE, BINDING)
            wait_until(lambda: uses_what_is_there(cluster), what="the policy for images is in force", every=0.2)
        cluster.apply_file(WHOAMI)
        cluster.apply_file(SECRET)
        cluster.apply_file(NGINX)
        release("moongate-article").install(VALUES)
        for name in ("whoami", "nginx"):
            cluster.kubectl("rollout", "status", f"deployment/{name}", "--namespace=default", "--timeout=120s")
            # The article's pods have no probes: they count as ready before they listen.
            for pod in cluster.get("pods", "--namespace=default", f"--selector=app={name}")["items"]:
                wait_until(partial(answers, cluster, pod["status"]["podIP"]), what=f"{name} answers", every=0.2)
        yield cluster
    finally:
        for manifest in (CANARY, NGINX, SECRET, WHOAMI):
            cluster.delete_file(manifest)
        if cluster.offline:
            for kind in ("mutatingadmissionpolicybinding", "mutatingadmissionpolicy"):
                cluster.kubectl("delete", kind, IMAGES, "--ignore-not-found")


@pytest.fixture(scope="module")
def address(article: Cluster) -> str:
    """What the article calls localhost: where the Gateway is."""
    return wait_until(
        lambda: next(iter(addresses(gateway(article).get("status", {}))), ""),
        seconds=60,
        what="the Gateway has an address",
        every=0.2,
    )


def uses_what_is_there(cluster: Cluster) -> bool:
    pod = ("run", "probe", "--image=nginx", "--namespace=default", "--dry-run=server")
    return cluster.kubectl(*pod, "--output=jsonpath={.spec.containers[0].imagePullPolicy}") == "IfNotPresent"


def answers(cluster: Cluster, address: str) -> bool:
    return cluster.status_of(f"http://{address}/") == 200


def gateway(cluster: Cluster) -> Object:
    return cluster.get(f"gateways.{V1ALPHA1}", "traefik-gateway", "--namespace=default")


def lay(cluster: Cluster, route: Path, url: str) -> None:
    """Apply the route and wait until ``url`` is answered as it says."""
    cluster.apply_file(route)
    wait_until(
        lambda: cluster.status_of("--insecure", "--header", "Host: whoami", url) == 200,
        seconds=30,
        what=f"{url} is answered 200",
        every=0.1,
    )


def test_the_routes_host_and_path_reach_whoami(article: Cluster, address: str) -> None:
    lay(article, ROUTE, f"http://{address}/")
    answer = article.curl("--header", "Host: whoami", f"http://{address}")
    assert re.search(r"^Hostname: whoami-", answer, re.MULTILINE)
    assert "X-Forwarded-Host: whoami" in answer
    assert "X-Forwarded-Port: 80" in answer
    assert "X-Forwarded-Proto: http" in answer
    assert "X-Forwarded-Server: moongate-" in answer
    assert "X-Real-Ip: " in answer


def test_another_path_or_host_is_answered_404(article: Cluster, address: str) -> None:
    lay(article, ROUTE, f"http://{address}/")
    assert article.status_of("--header", "Host: whoami", f"http://{address}/foo") == 404
    assert article.status_of(f"http://{address}/") == 404


def test_a_new_path_takes_the_place_of_the_old_one(article: Cluster, address: str) -> None:
    lay(article, PATHS, f"http://{address}/foo")
    for path in ("/", "/foo/", "/foobar"):
        assert article.status_of("--header", "Host: whoami", f"http://{address}{path}") == 404


def test_the_secret_serves_https(article: Cluster, address: str) -> None:
    lay(article, PATHS, f"https://{address}/foo")
    answer = article.curl("--insecure", "--header", "Host: whoami", f"https://{address}/foo")
    assert "X-Forwarded-Port: 443" in answer
    assert "X-Forwarded-Proto: https" in answer
    # By its name, as a browser asks; the certificate has expired, but it is mysecret's.
    named = ("--connect-to", f"whoami:443:{address}:443", "--insecure", "--verbose", "--stderr", "-")
    shown = article.curl(*named, "https://whoami/foo")
    assert re.search(r"expire date: Mar  ?4 \S+ 2023", shown), shown


def test_a_canary_gets_exactly_one_of_four(article: Cluster, address: str) -> None:
    lay(article, CANARY, f"http://{address}/")
    # 400 requests on one connection; each replica of the gateway has a count of its own.
    answers = article.curl("--header", "Host: whoami", f"http://{address}/?[1-400]")
    counts = Counter(re.findall(r"^Hostname: whoami|^<title>Welcome to nginx!", answers, re.MULTILINE))
    assert counts == {"Hostname: whoami": 300, "<title>Welcome to nginx!": 100}


def test_status_is_told_in_the_words_of_v1alpha1(article: Cluster, address: str) -> None:
    lay(article, CANARY, f"http://{address}/")
    found = gateway(article)["status"]
    assert conditions(found) == {"Scheduled": "True", "Ready": "True"}
    assert sorted(each["port"] for each in found["listeners"]) == [80, 443]
    for each in found["listeners"]:
        assert conditions(each).items() >= {"Ready": "True", "ResolvedRefs": "True", "Detached": "False"}.items()
    (entry,) = article.get(f"httproutes.{V1ALPHA1}", "http-app-1", "--namespace=default")["status"]["gateways"]
    assert entry["gatewayRef"] == {"name": "traefik-gateway", "namespace": "default"}
    assert conditions(entry).items() >= {"Admitted": "True"}.items()
    assert conditions(article.get(f"gatewayclasses.{V1ALPHA1}", "traefik")["status"])["Admitted"] == "True"
