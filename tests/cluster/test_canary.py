"""The README's steps from an empty cluster to the canary, in today's API: 3 of 4 requests to whoami, 1 to nginx."""

import re
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.lab import ROOT, Cluster, Release
from tests.helpers.waiting import wait_until

pytestmark = pytest.mark.timeout(600)

EXAMPLE = ROOT / "deploy" / "examples" / "canary.yaml"
#: As the README asks for it.
ADDRESS = ("get", "gateways.gateway.networking.k8s.io", "moongate", "--output=jsonpath={.status.addresses[0].value}")


@pytest.fixture(scope="module")
def address(cluster: Cluster, release: Callable[[str], Release]) -> Iterator[str]:
    one = release("moongate-canary")
    try:
        one.install(gateway__enabled="true", gateway__namespace="default")
        cluster.apply_file(EXAMPLE)
        for name in ("whoami", "nginx"):
            cluster.kubectl("rollout", "status", f"deployment/{name}", "--namespace=default", "--timeout=120s")
        yield wait_until(lambda: cluster.kubectl(*ADDRESS), seconds=60, what="the Gateway has an address", every=0.2)
    finally:
        cluster.delete_file(EXAMPLE)


def test_the_example_is_served_3_to_1(cluster: Cluster, address: str) -> None:
    wait_until(
        lambda: cluster.status_of("--header", "Host: whoami", f"http://{address}/") == 200,
        seconds=30,
        what="the example is served",
        every=0.2,
    )
    # On one connection: each replica of the gateway has a count of its own.
    answers = cluster.curl("--header", "Host: whoami", f"http://{address}/?[1-400]")
    counts = Counter(re.findall(r"^Hostname: whoami|^<title>Welcome to nginx!", answers, re.MULTILINE))
    assert counts == {"Hostname: whoami": 300, "<title>Welcome to nginx!": 100}
