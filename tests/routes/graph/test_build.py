"""What a whole graph keeps to, whatever is in it."""

from datetime import UTC, datetime, timedelta

from routes.graph.build import build_graph
from routes.graph.nodes import Address, DNSName, Options
from routes.graph.seniority import seniority
from routes.resources.core import Service
from routes.resources.gateway import Gateway
from routes.resources.http import HTTPRoute
from routes.resources.meta import V1ALPHA1_GROUP, ObjectMeta
from routes.snapshot import Snapshot


def gateway(api_version: str = "gateway.networking.k8s.io/v1", port: int = 80) -> Gateway:
    return Gateway.model_validate(
        {
            "apiVersion": api_version,
            "metadata": {"name": "a", "namespace": "default"},
            "spec": {
                "gatewayClassName": "moongate",
                "listeners": [{"name": "http", "port": port, "protocol": "HTTP"}],
            },
        }
    )


def route(name: str, created: datetime | None = None) -> HTTPRoute:
    return HTTPRoute.model_validate(
        {
            "metadata": {"name": name, "namespace": "default", "creationTimestamp": created},
            "spec": {"parentRefs": [{"name": "a"}]},
        }
    )


def test_the_same_objects_in_any_order_make_the_same_graph() -> None:
    """What is served must not depend on which file was read first."""
    objects = [gateway(), route("b"), route("a"), Service(metadata=ObjectMeta(name="s", namespace="default"))]
    first, second = (build_graph(Snapshot(each), Options()) for each in (objects, reversed(objects)))
    assert first == second
    assert list(first.routes) == list(second.routes)


def test_a_parent_ref_means_the_v1_gateway_where_both_apis_hold_the_name() -> None:
    """parentRefs are v1's, and the group they name is v1's."""
    old, new = gateway(f"{V1ALPHA1_GROUP}/v1alpha1", 81), gateway()
    [node] = build_graph(Snapshot([old, new, route("a")]), Options()).routes.values()
    assert [parent.gateway for parent in node.parents] == [new.key]


def test_a_graph_of_nothing_is_the_default_gateway() -> None:
    """Nobody wrote one."""
    graph = build_graph(Snapshot(), Options())
    assert [(node.source.key.qualified_name, node.default) for node in graph.gateways.values()] == [
        ("default/moongate", True)
    ]
    assert not graph.routes


def test_the_older_object_is_senior_then_the_first_by_name_and_an_unknown_age_is_the_youngest() -> None:
    """The API's last resort where two objects want the same thing."""
    day = datetime(2024, 1, 1, tzinfo=UTC)
    in_order = [route("z", day), route("a", day + timedelta(days=1)), route("b", day + timedelta(days=1)), route("0")]
    shuffled = [in_order[index] for index in (2, 3, 0, 1)]
    assert sorted(shuffled, key=seniority) == in_order
    assert seniority(route("a", day.replace(tzinfo=None))) == seniority(route("a", day))


def test_addresses_are_written_as_in_urls() -> None:
    """IPv6 literals in brackets."""
    assert str(Address("10.0.0.1", 80)) == "10.0.0.1:80"
    assert str(Address("fd00::1", 80)) == "[fd00::1]:80"
    assert str(DNSName("whoami", 80)) == "whoami:80"
