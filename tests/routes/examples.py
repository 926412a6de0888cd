"""The API's example manifests with what they leave to a cluster: our class, Gateways, Services, endpoints, Secrets."""

from collections.abc import Iterable
from typing import Any

from app.providers.manifests import Manifests, read_manifests
from routes.graph.build import build_graph
from routes.graph.nodes import Graph, Options
from routes.resources.gateway import Gateway, GatewayClass
from routes.resources.http import HTTPRoute
from routes.resources.meta import Resource
from routes.resources.scheme import parse
from routes.snapshot import Snapshot

V1 = "gateway.networking.k8s.io/v1"


def read(name: str, text: str) -> Manifests:
    """An example as the file provider reads it."""
    return read_manifests(text, name)


def completed(resources: Iterable[Resource]) -> Graph:
    """The graph of an example in a cluster that has what it refers to."""
    found = [_ours(each) for each in resources if not isinstance(each, GatewayClass)]
    there = {(each.kind, each.metadata.namespace, each.metadata.name) for each in found}
    wanted: dict[tuple[str, str, str], dict[str, Any]] = {}

    def want(kind: str, namespace: str | None, name: str, **parts: Any) -> None:
        key = (kind, namespace or "default", name)
        if key not in there:
            wanted.setdefault(key, parts)

    for each in found:
        home = each.metadata.namespace
        if isinstance(each, Gateway):
            for listener in each.spec.listeners:
                for secret in listener.tls.certificate_refs if listener.tls else ():
                    want("Secret", secret.namespace or home, secret.name, data={"tls.crt": "eA==", "tls.key": "eA=="})
        if isinstance(each, HTTPRoute):
            for parent in each.spec.parent_refs:
                if parent.kind == "Gateway":
                    want("Gateway", parent.namespace or home, parent.name, spec=_GATEWAY)
            for rule in each.spec.rules:
                mirrors = [filter_.request_mirror.backend_ref for filter_ in rule.filters if filter_.request_mirror]
                for backend in (*rule.backend_refs, *mirrors):
                    if backend.kind == "Service":
                        ports = {"ports": [{"port": backend.port}]}
                        want("Service", backend.namespace or home, backend.name, spec=ports)
    made = [parse(_document(*key, **parts)) for key, parts in wanted.items()]
    made += [parse(_endpoints(namespace, name)) for kind, namespace, name in wanted if kind == "Service"]
    return build_graph(Snapshot([*found, *(each for each in made if each is not None)]), Options())


_GATEWAY = {
    "gatewayClassName": "moongate",
    "listeners": [
        {"name": name, "port": port, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
        for name, port in (("http", 80), ("other", 8080))
    ],
}


def _ours(resource: Resource) -> Resource:
    if not isinstance(resource, Gateway):
        return resource
    spec = resource.spec.model_copy(update={"gateway_class_name": "moongate"})
    return resource.model_copy(update={"spec": spec})


def _document(kind: str, namespace: str, name: str, **parts: Any) -> dict[str, Any]:
    version = V1 if kind == "Gateway" else "v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, **parts}


def _endpoints(namespace: str, service: str) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": service, "namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"port": 8000}],
        "endpoints": [{"addresses": ["192.0.2.1"]}],
    }
