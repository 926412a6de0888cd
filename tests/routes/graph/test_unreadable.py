"""Objects of an API server of which a part makes no sense: their status names the field, and all else is served."""

from typing import Any

from app.status.patches import statuses
from routes.graph.build import build_graph
from routes.graph.nodes import Graph, Options
from routes.graph.review import review
from routes.resources.meta import GATEWAY_GROUP, Key
from routes.resources.scheme import parse
from routes.snapshot import Snapshot
from routes.table.compile import compile_table

CLASS: dict[str, Any] = {"kind": "GatewayClass", "metadata": {"name": "c"}, "spec": {"controllerName": "example.com/c"}}
OPTIONS = Options(controller_name="example.com/c", cluster=True)
#: No schema of the API's names the operators that there are.
NOBODYS = {"matchExpressions": [{"key": "team", "operator": "Near"}]}
WEB = {"name": "web", "port": 80, "protocol": "HTTP"}


def of(kind: str, **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "a", "namespace": "default", "generation": 2}, "spec": spec}


def gateway(*listeners: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return of("Gateway", gatewayClassName="c", listeners=list(listeners), **spec)


def route(**spec: Any) -> dict[str, Any]:
    return of("HTTPRoute", parentRefs=[{"name": "a"}], **spec)


def graph_of(*objects: dict[str, Any]) -> Graph:
    resources = [parse({"apiVersion": f"{GATEWAY_GROUP}/v1", **each}, strict=False) for each in (CLASS, *objects)]
    return build_graph(Snapshot([each for each in resources if each is not None]), OPTIONS)


def status_of(graph: Graph, kind: str) -> dict[str, Any]:
    namespace, name = ("", "c") if kind == "GatewayClass" else ("default", "a")
    return statuses(graph, OPTIONS.controller_name)[Key(GATEWAY_GROUP, kind, namespace, name)]


def accepted(status: dict[str, Any]) -> tuple[str, str, str, int]:
    [found] = [each for each in status["conditions"] if each["type"] == "Accepted"]
    return found["status"], found["reason"], found["message"], found["observedGeneration"]


def served(graph: Graph) -> list[str]:
    return [str(key) for key in compile_table(graph, lambda rule: rule).ports]


def test_a_listener_that_makes_no_sense_costs_itself_alone() -> None:
    bad = {**WEB, "name": "bad", "allowedRoutes": {"namespaces": {"from": "Selector", "selector": NOBODYS}}}
    graph = graph_of(gateway(bad, WEB, {**bad, "name": "worse", "port": 81}), route())
    status = status_of(graph, "Gateway")
    assert accepted(status)[:2] == ("True", "ListenersNotValid")
    first, web, last = status["listeners"]
    for listener in (first, last):
        state, reason, message, generation = accepted(listener)
        assert (state, reason, generation) == ("False", "UnsupportedValue", 2)
        assert message.startswith("allowedRoutes.namespaces.selector.matchExpressions[0].operator: ")
        assert (listener["supportedKinds"], listener["attachedRoutes"]) == ([], 0)
    assert accepted(web)[:2] == ("True", "Accepted")
    assert web["attachedRoutes"] == 1
    assert served(graph) == ["default/a:80"]
    assert any("operator" in str(problem) for problem in review(graph))


def test_where_no_listener_makes_sense_the_gateway_is_not_accepted() -> None:
    graph = graph_of(gateway({**WEB, "port": 0}, {"name": "other", "port": "x", "protocol": 7}), route())
    status = status_of(graph, "Gateway")
    assert accepted(status)[:2] == ("False", "ListenersNotValid")
    assert [accepted(listener)[2].partition(":")[0] for listener in status["listeners"]] == ["port", "port"]
    assert served(graph) == []


def test_a_gateway_of_which_another_field_makes_no_sense_is_invalid() -> None:
    """What it lets in, or asks of its clients, cannot be guessed."""
    allowed = {"namespaces": {"from": "Selector", "selector": NOBODYS}}
    graph = graph_of(gateway(WEB, allowedListeners=allowed), route())
    status, reason, message, generation = accepted(status_of(graph, "Gateway"))
    assert (status, reason, generation) == ("False", "Invalid", 2)
    assert message.startswith("spec.allowedListeners.namespaces.selector.matchExpressions[0].operator: ")
    assert served(graph) == []
    assert any("allowedListeners" in str(problem) for problem in review(graph))


def test_a_listener_of_a_set_that_makes_no_sense_costs_itself_alone() -> None:
    bad = {"name": "bad", "port": 82, "protocol": "HTTP", "hostname": "10.0.0.1"}
    good = {"name": "good", "port": 82, "protocol": "HTTP"}
    allowed = {"namespaces": {"from": "Same"}}
    graph = graph_of(
        gateway(WEB, allowedListeners=allowed), of("ListenerSet", parentRef={"name": "a"}, listeners=[bad, good])
    )
    status = status_of(graph, "ListenerSet")
    assert accepted(status)[:2] == ("True", "ListenersNotValid")
    assert [accepted(listener)[1] for listener in status["listeners"]] == ["UnsupportedValue", "Accepted"]
    assert served(graph) == ["default/a:80", "default/a:82"]


def test_a_route_of_which_a_field_makes_no_sense_is_not_accepted_by_its_parents() -> None:
    graph = graph_of(gateway(WEB), route(hostnames=["good.example", "10.0.0.1"]))
    [parent] = status_of(graph, "HTTPRoute")["parents"]
    status, reason, message, generation = accepted(parent)
    assert (status, reason, generation) == ("False", "UnsupportedValue", 2)
    assert message.startswith("spec.hostnames[1]: ")
    assert status_of(graph, "Gateway")["listeners"][0]["attachedRoutes"] == 0
    assert [str(problem) for problem in review(graph) if problem.field == "spec"] == [
        f"error: HTTPRoute default/a spec: UnsupportedValue: {message.removeprefix('spec.')}"
    ]


def test_a_class_of_which_a_field_makes_no_sense_is_not_accepted() -> None:
    graph = graph_of({**CLASS, "spec": {**CLASS["spec"], "parametersRef": {"kind": "ConfigMap"}}}, gateway(WEB))
    status, reason, message, _ = accepted(status_of(graph, "GatewayClass"))
    assert (status, reason) == ("False", "InvalidParameters")
    assert message.startswith("spec.parametersRef.")
    assert accepted(status_of(graph, "Gateway"))[:2] == ("False", "InvalidParameters")


def test_a_policy_of_which_a_target_makes_no_sense_fails_closed_for_the_others() -> None:
    targets = [{"group": "", "kind": "Service", "name": "s"}, {"group": "", "kind": "Service"}]
    validation = {"hostname": "s.example.com", "wellKnownCACertificates": "System"}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 443}]}}
    graph = graph_of(
        gateway(WEB),
        route(rules=[{"backendRefs": [{"name": "s", "port": 443}]}]),
        of("BackendTLSPolicy", targetRefs=targets, validation=validation),
        service,
    )
    [ancestor] = status_of(graph, "BackendTLSPolicy")["ancestors"]
    status, reason, message, _ = accepted(ancestor)
    assert (status, reason) == ("False", "Invalid")
    assert message.startswith("targetRefs[1].name: ")
    [backend] = next(iter(graph.routes.values())).rules[0].backends
    assert backend.reason == "UnsupportedProtocol"
