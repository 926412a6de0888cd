"""Status of objects that are written in networking.x-k8s.io/v1alpha1."""

from dataclasses import replace
from typing import Any

from app.status.patches import frame, status
from routes.graph.build import build_graph
from routes.graph.nodes import Options, Sockets
from routes.resources.meta import V1ALPHA1_GROUP, Key
from routes.resources.scheme import parse
from routes.snapshot import Snapshot
from tests.app.status.world import OURS, Server, leading, wait

VERSION = f"{V1ALPHA1_GROUP}/v1alpha1"
CLASS = Key(V1ALPHA1_GROUP, "GatewayClass", "", "c")
GATEWAY = Key(V1ALPHA1_GROUP, "Gateway", "a", "g")
ROUTE = Key(V1ALPHA1_GROUP, "HTTPRoute", "a", "r")
WAITING = {"lastTransitionTime": "1970-01-01T00:00:00Z", "message": "Waiting for controller", "status": "False"}


def of(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    namespace = {} if kind == "GatewayClass" else {"namespace": "a"}
    return {"apiVersion": VERSION, "kind": kind, "metadata": {"name": name, **namespace}, **fields}


def gateway_class(**fields: Any) -> dict[str, Any]:
    return of("GatewayClass", "c", spec={"controller": OURS, **fields})


def gateway(*listeners: dict[str, Any], name: str = "g") -> dict[str, Any]:
    usual = {"protocol": "HTTP", "routes": {"kind": "HTTPRoute"}}
    spec = {"gatewayClassName": "c", "listeners": [{**usual, **each} for each in listeners or ({"port": 80},)]}
    return of("Gateway", name, spec=spec)


def route(*hostnames: str) -> dict[str, Any]:
    forward = [{"forwardTo": [{"serviceName": "s", "port": 80}]}]
    return of("HTTPRoute", "r", spec={"hostnames": list(hostnames), "rules": forward})


def told(key: Key, *documents: dict[str, Any], sockets: Sockets = Sockets()) -> dict[str, Any]:  # noqa: B008
    """The status of ``key``, as it is without a server."""
    resources = [resource for each in documents if (resource := parse(each)) is not None]
    graph = build_graph(Snapshot(resources), Options(), sockets)
    return status({**frame(graph), **graph.routes}[key], OURS)


def conditions(place: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in place["conditions"]}


def test_a_class_is_admitted() -> None:
    assert told(CLASS, gateway_class())["conditions"] == [
        {
            "type": "Admitted",
            "status": "True",
            "reason": "Admitted",
            "message": "served by Moongate",
            "observedGeneration": 0,
        }
    ]
    parameters = {"group": "example.com", "kind": "A", "name": "b"}
    assert conditions(told(CLASS, gateway_class(parametersRef=parameters))) == {
        "Admitted": ("False", "InvalidParameters")
    }


def test_a_gateway_is_scheduled_and_ready() -> None:
    found = told(GATEWAY, gateway_class(), gateway({"port": 80, "hostname": "a.example.com"}))
    assert conditions(found) == {"Scheduled": ("True", "Scheduled"), "Ready": ("True", "Ready")}
    [listener] = found["listeners"]
    assert {name: listener[name] for name in ("port", "protocol", "hostname")} == {
        "port": 80,
        "protocol": "HTTP",
        "hostname": "a.example.com",
    }
    assert conditions(listener) == {
        "Conflicted": ("False", "NoConflicts"),
        "Detached": ("False", "Attached"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
        "Ready": ("True", "Ready"),
    }


def test_a_listener_that_cannot_be_served_is_detached() -> None:
    found = told(GATEWAY, gateway_class(), gateway({"port": 80, "protocol": "SCTP"}))
    assert conditions(found)["Ready"] == ("False", "ListenersNotValid")
    assert conditions(found["listeners"][0])["Detached"] == ("True", "UnsupportedProtocol")
    assert conditions(found["listeners"][0])["Ready"][0] == "False"
    refused = Sockets(refused={(GATEWAY, 80): "in use"})
    found = told(GATEWAY, gateway_class(), gateway(), sockets=refused)
    assert conditions(found)["Ready"] == ("False", "ListenersNotReady")
    assert conditions(found["listeners"][0])["Detached"] == ("True", "PortUnavailable")


def test_a_listener_in_conflict_is_conflicted_and_not_detached() -> None:
    tls = {"certificateRef": {"group": "core", "kind": "Secret", "name": "s"}}
    listeners = ({"port": 443, "protocol": "HTTPS", "tls": tls}, {"port": 443})
    [entry] = told(GATEWAY, gateway_class(), gateway(*listeners))["listeners"]
    assert conditions(entry)["Conflicted"] == ("True", "ProtocolConflict")
    assert conditions(entry)["Detached"] == ("False", "Attached")


def test_the_listeners_of_a_port_are_one_entry_with_the_worst_of_each_condition() -> None:
    """The schema tells entries apart by port alone."""
    bad = {"port": 80, "hostname": "b.example.com", "routes": {"kind": "TCPRoute"}}
    good = {"port": 80, "hostname": "a.example.com"}
    for listeners in ((good, bad), (bad, good)):
        [entry] = told(GATEWAY, gateway_class(), gateway(*listeners))["listeners"]
        assert "hostname" not in entry
        assert conditions(entry)["ResolvedRefs"] == ("False", "InvalidRoutesRef")
        assert conditions(entry)["Conflicted"] == ("False", "NoConflicts")


def test_addresses_are_ip_addresses_or_named() -> None:
    resources = [parse(gateway_class()), parse(gateway())]
    [node] = build_graph(Snapshot(each for each in resources if each), Options()).gateways.values()
    assert status(replace(node, addresses=("10.0.0.1", "lb.example.com")), OURS)["addresses"] == [
        {"type": "IPAddress", "value": "10.0.0.1"},
        {"type": "NamedAddress", "value": "lb.example.com"},
    ]


def test_a_route_is_admitted_by_each_gateway() -> None:
    found = told(ROUTE, gateway_class(), gateway(), gateway(name="h"), route())
    assert [each["gatewayRef"] for each in found["gateways"]] == [
        {"namespace": "a", "name": "g"},
        {"namespace": "a", "name": "h"},
    ]
    assert conditions(found["gateways"][0]) == {
        "Admitted": ("True", "Admitted"),
        "ResolvedRefs": ("False", "BackendNotFound"),
    }


def written(server: Server) -> Any:
    """The article's objects as they are after they were created, and were seen by us."""
    server.apply(gateway_class())
    waiting = [{**WAITING, "type": "InvalidParameters", "status": "Unknown", "reason": "Waiting"}]
    server.set_status(CLASS, {"conditions": waiting})
    server.apply(gateway())
    server.set_status(GATEWAY, {"conditions": [{**WAITING, "type": "Scheduled", "reason": "NotReconciled"}]})
    server.apply(route())
    return leading(server)


def test_what_the_schema_has_instead_of_news_is_replaced(server: Server) -> None:
    written(server)
    assert conditions(server.status(CLASS)) == {"Admitted": ("True", "Admitted")}
    assert conditions(server.status(GATEWAY)) == {"Scheduled": ("True", "Scheduled"), "Ready": ("True", "Ready")}
    assert [each["gatewayRef"]["name"] for each in server.status(ROUTE)["gateways"]] == ["g"]


def test_entries_for_gateways_that_are_not_ours_stay_as_they_are(server: Server) -> None:
    controller = written(server)
    theirs = {"gatewayRef": {"namespace": "b", "name": "g"}, "conditions": [{"type": "Admitted", "more": 1}]}
    server.set_status(ROUTE, {"gateways": [theirs, *server.status(ROUTE)["gateways"]]})
    server.apply(route("a.example.com"))
    controller.reconcile()
    wait(server.loop, 2)
    first, second = server.status(ROUTE)["gateways"]
    assert first == theirs
    assert second["conditions"][0]["observedGeneration"] == 2


def test_the_entry_for_a_gateway_that_is_gone_goes(server: Server) -> None:
    controller = written(server)
    server.delete_object(GATEWAY)
    controller.reconcile()
    wait(server.loop, 2)
    assert server.status(ROUTE)["gateways"] == []


def test_the_entry_for_a_gateway_that_is_anothers_now_is_that_ones(server: Server) -> None:
    controller = written(server)
    before = server.status(ROUTE)
    elsewhere = gateway()
    elsewhere["spec"]["gatewayClassName"] = "theirs"
    server.apply(elsewhere)
    controller.reconcile()
    wait(server.loop, 2)
    assert server.status(ROUTE) == before
