"""From a Gateway to its Service and EndpointSlices: each pair of files in ``golden`` shows one rule.

``NAME.in.yaml`` holds manifests after a document with the replicas' ``endpoints`` by family, and ``settings`` where
they are not the usual ones; ``NAME.out.yaml`` is what comes of them. ``pytest --update-golden`` records it anew.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.exposure.objects import (
    addresses,
    differs,
    endpoint_slices,
    endpoints_by_family,
    service,
    service_names,
    static_address,
)
from app.exposure.ports import home
from app.settings import Settings
from routes.graph.nodes import GatewayNode
from routes.resources.gateway import Gateway
from routes.resources.meta import ObjectMeta
from tests.app.exposure.cluster import state_of

FOLDER = Path(__file__).parent / "golden"
INPUTS = sorted(FOLDER.glob("*.in.yaml"))


def objects_of(node: GatewayNode, endpoints: Mapping[str, list[Any]], settings: Settings) -> list[Any]:
    name, _ = service_names(node.source)
    address, _ = static_address(node.source, settings.static_addresses)
    return [
        service(node, name, home, settings.service_type, address, settings.controller_name),
        *endpoint_slices(node, name, home, endpoints, settings.controller_name),
    ]


def outcome(text: str) -> str:
    head, _, manifests = text.partition("\n---\n")
    given = yaml.safe_load(head)
    settings = Settings(provider="kubernetes", **given.get("settings", {}))
    [node] = state_of(manifests).graph.gateways.values()
    _, problem = static_address(node.source, settings.static_addresses)
    found = objects_of(node, given["endpoints"], settings)
    return yaml.safe_dump_all([*([{"unusable": problem}] if problem else []), *found], sort_keys=False, width=10_000)


@pytest.mark.parametrize("manifests", INPUTS, ids=lambda path: path.name)
def test_a_gateway_comes_to_what_was_recorded(manifests: Path, pytestconfig: pytest.Config) -> None:
    expected = manifests.with_name(manifests.name.replace(".in.", ".out."))
    found = outcome(manifests.read_text(encoding="utf-8"))
    if pytestconfig.getoption("--update-golden"):
        expected.write_text(found, encoding="utf-8")
    assert expected.exists(), f"{expected.name} is not there: write it, or record it with --update-golden"
    assert found == expected.read_text(encoding="utf-8")


def test_every_recorded_outcome_has_its_manifests() -> None:
    assert {path.name.replace(".out.", ".in.") for path in FOLDER.glob("*.out.yaml")} == {path.name for path in INPUTS}


def node_of(*ports: int) -> GatewayNode:
    listeners = ", ".join(f"{{name: l-{port}, port: {port}, protocol: HTTP}}" for port in ports)
    text = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: moongate}}
spec: {{controllerName: moongate.dev/gateway}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: web, namespace: shop, uid: uid-of-web}}
spec: {{gatewayClassName: moongate, listeners: [{listeners}]}}
"""
    [node] = state_of(text).graph.gateways.values()
    return node


def named(name: str, class_: str = "moongate") -> tuple[str, str]:
    source = node_of(80).source
    spec = source.spec.model_copy(update={"gateway_class_name": class_})
    return service_names(Gateway(api_version=source.api_version, metadata=ObjectMeta(name=name), spec=spec))


def test_names_that_become_one_without_dots_are_told_apart() -> None:
    assert len({*named("a.b"), named("a-b")[1], named("a", "b-moongate")[1]}) == 3
    assert named("a-b")[0] == "a-b-moongate"
    assert all(len(name) <= 63 and not name.startswith("0") for name in named("0" + "a" * 200))


def test_a_slice_holds_1000_endpoints_and_the_next_one_the_rest() -> None:
    every = [{"addresses": [f"10.0.{high}.{low}"]} for high in range(6) for low in range(200)]
    endpoints = endpoints_by_family([{"addressType": "IPv4", "endpoints": every}])
    _, first, second = objects_of(node_of(80), endpoints, Settings())
    assert [len(each["endpoints"]) for each in (first, second)] == [1000, 200]
    assert [each["metadata"]["name"] for each in (first, second)] == ["web-moongate-ipv4", "web-moongate-ipv4-2"]


def test_an_endpoint_in_two_slices_is_one_and_the_ready_one_counts() -> None:
    going = {"addresses": ["10.0.0.1"], "conditions": {"ready": False, "serving": True}}
    ready = {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "nodeName": "node-a", "hints": {"forZones": []}}
    for order in ([going, ready], [ready, going]):
        slices = [{"addressType": "IPv4", "endpoints": [each]} for each in order]
        assert endpoints_by_family(slices) == {
            "IPv4": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "nodeName": "node-a"}]
        }


def test_host_names_are_no_endpoints_and_a_slice_may_have_none() -> None:
    slices: list[dict[str, Any]] = [
        {"addressType": "FQDN", "endpoints": [{"addresses": ["a.example"]}]},
        {"addressType": "IPv6"},
    ]
    assert endpoints_by_family(slices) == {"IPv6": []}


@pytest.mark.parametrize(
    ("spec", "status", "expected"),
    [
        ({"type": "LoadBalancer", "clusterIP": "10.96.0.1"}, {}, ()),
        ({"type": "LoadBalancer"}, {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example"}]}},
         ("192.0.2.1", "lb.example")),
        ({"type": "ClusterIP", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"]}, {},
         ("10.96.0.1", "fd00::1")),
        ({"type": "NodePort", "clusterIP": "10.96.0.1"}, {}, ("10.96.0.1",)),
        ({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]}, {}, ()),
    ],
)  # fmt: skip
def test_a_service_is_reached_at_its_load_balancer_or_within_the_cluster(
    spec: dict[str, Any], status: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert addresses({"spec": spec, "status": status}) == expected


def test_only_what_is_ours_makes_a_difference() -> None:
    wanted, *_ = objects_of(node_of(80, 81), {}, Settings())
    stored = yaml.safe_load(yaml.safe_dump(wanted))
    stored["spec"] |= {"clusterIP": "10.96.0.1", "sessionAffinity": "None"}
    stored["spec"]["ports"].reverse()
    for port in stored["spec"]["ports"]:
        port["nodePort"] = 30_000
    stored["spec"]["ports"].append({"name": "theirs", "port": 99})
    stored["metadata"]["labels"]["theirs"] = "yes"
    stored["metadata"]["ownerReferences"].insert(0, {"uid": "another"})
    assert not differs(wanted, stored)
    stored["spec"]["ports"][0]["targetPort"] += 1
    assert differs(wanted, stored)


def test_a_field_that_is_not_wanted_any_more_makes_a_difference() -> None:
    node = node_of(80)
    before = service(node, "web", home, "LoadBalancer", "192.0.2.1", "moongate.dev/gateway")
    assert differs(service(node, "web", home, "LoadBalancer", "", "moongate.dev/gateway"), before)
    fewer, *_ = objects_of(node, {}, Settings())
    more, *_ = objects_of(node_of(80, 81), {}, Settings())
    assert differs(fewer, more)
