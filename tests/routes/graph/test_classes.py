"""GatewayClasses: whose they are, and what they promise."""

from app.status.patches import statuses
from routes.graph.build import build_graph
from routes.graph.features import FEATURES
from routes.graph.nodes import Options
from routes.resources.gateway import GatewayClass
from routes.snapshot import Snapshot


def class_(name: str, controller: str = "moongate.dev/gateway") -> GatewayClass:
    return GatewayClass.model_validate({"metadata": {"name": name}, "spec": {"controllerName": controller}})


def names(*classes: GatewayClass) -> list[str]:
    return [node.source.metadata.name for node in build_graph(Snapshot(classes), Options()).classes]


def test_every_class_of_our_controller_is_ours() -> None:
    assert names(class_("a"), class_("b"), class_("c", "example.com/other")) == ["a", "b", "moongate"]


def test_the_built_in_class_gives_way_to_a_written_one_of_its_name_even_to_another_controllers() -> None:
    assert names(class_("moongate")) == ["moongate"]
    assert names(class_("moongate", "example.com/other")) == []


def test_the_default_gateway_is_served_though_its_class_is_another_controllers() -> None:
    [gateway] = build_graph(Snapshot([class_("moongate", "example.com/other")]), Options()).gateways.values()
    assert gateway.default
    assert gateway.valid


def test_a_class_says_what_is_implemented_in_alphabetical_order() -> None:
    """``status.supportedFeatures`` is a sorted list of at most 64 names."""
    status = statuses(build_graph(Snapshot(), Options()), "moongate.dev/gateway")
    [features] = [found["supportedFeatures"] for found in status.values() if "supportedFeatures" in found]
    assert features == [{"name": name} for name in FEATURES]
    assert list(FEATURES) == sorted(set(FEATURES))
    assert len(FEATURES) <= 64
