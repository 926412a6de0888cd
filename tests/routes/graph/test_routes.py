"""What rules come to that no file can hold, and what a route's node depends on."""

from typing import Any

from routes.graph.build import build_graph
from routes.graph.nodes import Condition, Options, RouteNode
from routes.resources.core import Service
from routes.resources.http import HTTPRoute
from routes.resources.meta import ObjectMeta, Resource
from routes.resources.scheme import parse
from routes.snapshot import Snapshot

NEWER: dict[str, Any] = {"filters": [{"type": "Teleport"}], "backendRefs": [{"name": "s", "port": 80}]}
GOOD: dict[str, Any] = {"matches": [{"path": {"value": "/good"}}], "backendRefs": [{"name": "s", "port": 80}]}


def service() -> Service:
    return Service.model_validate(
        {"metadata": {"name": "s", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}}
    )


def route(*rules: dict[str, Any], name: str = "a") -> HTTPRoute:
    value = parse(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": name, "generation": 3},
            "spec": {"rules": list(rules)},
        },
        strict=False,
    )
    assert isinstance(value, HTTPRoute)
    return value


def node_of(source: HTTPRoute, *others: Resource) -> RouteNode:
    return build_graph(Snapshot([source, *others]), Options()).routes[source.key]


def conditions_of(node: RouteNode) -> dict[str, Condition]:
    [parent] = node.parents
    return {condition.type: condition for condition in parent.conditions}


def test_a_route_of_a_newer_version_alone_is_not_accepted() -> None:
    """An enum's value that is not known is UnsupportedValue (RouteReasonUnsupportedValue), and nothing crashes."""
    conditions = conditions_of(node_of(route(NEWER), service()))
    assert (conditions["Accepted"].status, conditions["Accepted"].reason) == (False, "UnsupportedValue")
    assert "PartiallyInvalid" not in conditions


def test_a_rule_of_a_newer_version_is_dropped_from_among_good_ones() -> None:
    """PartiallyInvalid says which, beginning with Dropped Rule, and has the generation that it is about."""
    node = node_of(route(GOOD, NEWER), service())
    conditions = conditions_of(node)
    assert conditions["Accepted"].status
    assert conditions["PartiallyInvalid"].status
    assert conditions["PartiallyInvalid"].message.startswith("Dropped Rule: rules[1]: filters[0].type: must be ")
    assert {condition.observed_generation for condition in conditions.values()} == {3}
    assert [bool(rule.unsupported) for rule in node.rules] == [False, True]


def test_a_message_ends_before_it_is_too_long_for_status() -> None:
    """The API takes 32,768 characters; the problems of a route tell all of them."""
    refs = [{"name": f"absent-{number}-{'x' * 200}", "port": 80} for number in range(16)]
    resolved = conditions_of(node_of(route(*({"backendRefs": refs} for _ in range(16)))))["ResolvedRefs"]
    assert resolved.reason == "BackendNotFound"
    assert len(resolved.message) < 32768
    assert resolved.message.endswith("; and 8 more")


def test_a_node_does_not_change_with_what_the_route_does_not_name() -> None:
    """So that a change costs only the routes that it is about."""
    source = route(GOOD)
    others = (Service(metadata=ObjectMeta(name="other", namespace="default")), route(NEWER, name="b"))
    assert node_of(source, service()) == node_of(source, service(), *others)
