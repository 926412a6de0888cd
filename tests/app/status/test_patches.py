"""Statuses keep to what the API takes."""

from dataclasses import replace
from typing import Any

from app.status import patches
from app.status.patches import statuses
from routes.graph.build import build_graph
from routes.graph.nodes import Options, Sockets
from routes.resources.gateway import Gateway
from routes.resources.meta import Resource
from routes.snapshot import Snapshot

LISTENERS = [{"name": f"p{port}", "port": port, "protocol": "HTTP"} for port in range(80, 144)]
GATEWAY = Gateway.model_validate(
    {"metadata": {"name": "a"}, "spec": {"gatewayClassName": "moongate", "listeners": LISTENERS}}
)


def status(sockets: Sockets) -> dict[str, Any]:
    objects: list[Resource] = [GATEWAY]
    return statuses(build_graph(Snapshot(objects), Options(), sockets), "moongate.dev/gateway")[GATEWAY.key]


def test_at_most_16_addresses_are_told() -> None:
    """``status.addresses`` has no room for more."""
    addresses = tuple(f"10.0.0.{number}" for number in range(20))
    told = status(Sockets(addresses={GATEWAY.key: addresses}))["addresses"]
    assert told == [{"type": "IPAddress", "value": address} for address in addresses[:16]]


def test_an_address_that_is_a_name_is_told_as_one() -> None:
    """Some clouds' load balancers have no IP address that stays."""
    [node] = build_graph(Snapshot([GATEWAY]), Options()).gateways.values()
    values = ("10.0.0.1", "2001:db8::1", "lb.example.com")
    assert patches.status(replace(node, addresses=values), "moongate.dev/gateway")["addresses"] == [
        {"type": "IPAddress", "value": "10.0.0.1"},
        {"type": "IPAddress", "value": "2001:db8::1"},
        {"type": "Hostname", "value": "lb.example.com"},
    ]


def test_where_no_address_is_known_none_is_told() -> None:
    assert "addresses" not in status(Sockets())
    assert "addresses" not in status(Sockets(addresses={GATEWAY.key: ()}))


def test_a_message_is_never_longer_than_a_condition_takes() -> None:
    """32,768 characters, of metav1.Condition."""
    reasons = {(GATEWAY.key, port): "x" * 1000 for port in range(80, 144)}
    lengths = {len(condition["message"]) for condition in status(Sockets(refused=reasons))["conditions"]}
    assert max(lengths) == 32768
