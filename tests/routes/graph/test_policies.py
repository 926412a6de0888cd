"""Which Gateways a BackendTLSPolicy is told by, and that it fails closed wherever it is used."""

from typing import Any

from routes.graph.build import build_graph
from routes.graph.nodes import Graph, Options
from routes.resources.core import ConfigMap, Service
from routes.resources.http import HTTPRoute
from routes.resources.meta import Key, Resource
from routes.resources.policy import BackendTLSPolicy, UnreadableBackendTLSPolicy
from routes.snapshot import Snapshot

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
REF = {"group": "", "kind": "ConfigMap", "name": "ca"}


def policy(name: str = "p", service: str = "s", namespace: str = "default") -> BackendTLSPolicy:
    return BackendTLSPolicy.model_validate(
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": service}],
                "validation": {"hostname": "s.example.com", "caCertificateRefs": [REF]},
            },
        }
    )


def service(name: str = "s", namespace: str = "default") -> Service:
    return Service.model_validate(
        {"metadata": {"name": name, "namespace": namespace}, "spec": {"ports": [{"name": "tls", "port": 443}]}}
    )


def authorities(namespace: str = "default", text: str = CERTIFICATE) -> ConfigMap:
    return ConfigMap.model_validate({"metadata": {"name": "ca", "namespace": namespace}, "data": {"ca.crt": text}})


def route(rule: dict[str, Any]) -> HTTPRoute:
    return HTTPRoute.model_validate({"metadata": {"name": "r", "namespace": "default"}, "spec": {"rules": [rule]}})


def graph_of(*resources: Resource, fault: str = "") -> Graph:
    return build_graph(Snapshot(resources), Options(check_authorities=lambda text: fault))


def ancestors(graph: Graph, name: str = "p") -> list[str]:
    found = next(node for key, node in graph.policies.items() if key.name == name)
    return [gateway.qualified_name for gateway in found.ancestors]


def test_a_policy_of_a_service_that_a_rule_uses_is_told_by_the_routes_gateway() -> None:
    graph = graph_of(policy(), service(), authorities(), route({"backendRefs": [{"name": "s", "port": 443}]}))
    assert ancestors(graph) == ["default/moongate"]
    [backend] = next(iter(graph.routes.values())).rules[0].backends
    assert backend.tls is not None
    assert (backend.tls.server_name, backend.tls.authorities) == ("s.example.com", CERTIFICATE)


def test_of_a_bundle_the_certificates_alone_are_kept() -> None:
    """What stands between them may be in any script, which nobody who reads certificates has to know."""
    text = f"Főtanúsítvány\n{CERTIFICATE}\n\n# another\n{CERTIFICATE}\n"
    [node] = graph_of(policy(), service(), authorities(text=text)).policies.values()
    assert node.tls is not None
    assert node.tls.authorities == f"{CERTIFICATE}\n{CERTIFICATE}"


def test_a_policy_of_a_service_that_nobody_uses_has_no_ancestor() -> None:
    assert ancestors(graph_of(policy(), service(), authorities())) == []


def test_a_reference_that_is_not_permitted_is_no_use_of_the_service() -> None:
    """Else the policy's status would tell another namespace's people of routes that they did not let in."""
    ref = {"name": "s", "namespace": "shop", "port": 443}
    graph = graph_of(
        policy(namespace="shop"), service(namespace="shop"), authorities("shop"), route({"backendRefs": [ref]})
    )
    assert ancestors(graph) == []


def test_a_policy_counts_in_its_own_namespace_only() -> None:
    """targetRefs are local, and so is a ConfigMap."""
    graph = graph_of(
        policy(namespace="shop"),
        service(),
        service(namespace="shop"),
        authorities(),
        route({"backendRefs": [{"name": "s", "port": 443}]}),
    )
    [backend] = next(iter(graph.routes.values())).rules[0].backends
    assert (backend.tls, backend.reason) == (None, "")
    [node] = graph.policies.values()
    assert node.message == "caCertificateRefs[0]: ConfigMap shop/ca does not exist"


def test_where_a_policy_cannot_be_met_no_backend_mirror_or_authorization_server_is_reached() -> None:
    """Connections that it is about MUST fail, and never go in clear."""
    ref = {"name": "s", "port": 443}
    graph = graph_of(
        policy(),
        service(),
        authorities(),
        route(
            {
                "filters": [
                    {"type": "RequestMirror", "requestMirror": {"backendRef": ref}},
                    {"type": "ExternalAuth", "externalAuth": {"protocol": "HTTP", "http": {}, "backendRef": ref}},
                ],
                "backendRefs": [ref],
            }
        ),
        fault="is bad",
    )
    [rule] = next(iter(graph.routes.values())).rules
    mirror, auth = rule.filters
    for backend in (rule.backends[0], mirror.backend, auth.backend):
        assert backend is not None
        assert backend.reason == "UnsupportedProtocol"
        assert (backend.addresses, backend.dns) == ((), None)
    assert auth.unsupported
    assert not mirror.unsupported


def test_a_policy_of_a_newer_version_fails_closed() -> None:
    unreadable = UnreadableBackendTLSPolicy.model_validate({**policy().model_dump(by_alias=True), "fault": "no idea"})
    graph = graph_of(unreadable, service(), authorities(), route({"backendRefs": [{"name": "s", "port": 443}]}))
    [node] = graph.policies.values()
    assert (node.tls, node.message) == (None, "no idea")
    assert (node.conditions[0].status, node.conditions[0].message) == (False, "no idea")
    [backend] = next(iter(graph.routes.values())).rules[0].backends
    assert backend.reason == "UnsupportedProtocol"


def test_policies_are_the_same_in_whatever_order_they_come() -> None:
    resources = [policy("b"), policy("a"), policy("c"), service(), authorities()]
    first, second = graph_of(*resources), graph_of(*reversed(resources))
    assert first == second
    accepted = {key.name: node.conditions[0].reason for key, node in first.policies.items()}
    assert accepted == {"a": "Accepted", "b": "Conflicted", "c": "Conflicted"}
    assert list(first.policies) == [Key("gateway.networking.k8s.io", "BackendTLSPolicy", "default", n) for n in "abc"]
