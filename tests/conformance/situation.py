"""From a case's objects to manifests, and to the sockets on which its Gateways are reached."""

import copy
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from tests.conformance.authority import Authority, encoded
from tests.conformance.case import Case, Change, Title
from tests.helpers.processes import free_port

Manifest = dict[str, Any]

GATEWAY_API = "gateway.networking.k8s.io/v1"
API_VERSIONS = {
    "Gateway": GATEWAY_API,
    "GatewayClass": GATEWAY_API,
    "ListenerSet": GATEWAY_API,
    "HTTPRoute": GATEWAY_API,
    "ReferenceGrant": GATEWAY_API,
    "BackendTLSPolicy": GATEWAY_API,
    "Service": "v1",
    "Secret": "v1",
    "ConfigMap": "v1",
    "Namespace": "v1",
    "EndpointSlice": "discovery.k8s.io/v1",
}
WITHOUT_NAMESPACE = {"Namespace", "GatewayClass"}
WITHOUT_SPEC = {"Namespace", "Secret", "ConfigMap", "EndpointSlice"}

#: What listeners' ports are bound to, on an address of each Gateway's own.
PORTS = (80, 443, 8080, 8090)

#: The namespace of what names none.
OWN = "infra"

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Place(NamedTuple):
    """Where a listener is reached."""

    address: str
    port: int


def addresses() -> Iterator[str]:
    """Loopback addresses, one for each Gateway."""
    return (f"127.0.{third}.{fourth}" for third in range(1, 255) for fourth in range(1, 255))


class Ports:
    """Which place each port of each Gateway has, through all cases."""

    def __init__(self) -> None:
        self.bound = {port: free_port() for port in PORTS}
        self._free = addresses()
        self._taken: dict[str, str] = {}

    def address(self, gateway: str) -> str:
        """That of the Gateway ``namespace/name``."""
        if gateway not in self._taken:
            self._taken[gateway] = next(self._free)
        return self._taken[gateway]

    def place(self, gateway: str, port: int) -> Place:
        """Where ``port`` of the Gateway ``namespace/name`` is reached."""
        return Place(self.address(gateway), self.bound[port])


class Situation:
    """The objects of a case, as they are now, as manifests with all namespaces the case's own."""

    def __init__(self, case: Case, backends: Mapping[str, int], ports: Ports, authorities: Mapping[str, Authority]):
        self.case = case
        self.ports = ports
        self._backends = backends
        self._authorities = authorities
        self._objects = dict(case.objects)
        self.generations = dict.fromkeys(self._objects, 1)
        self._secrets: dict[Title, Manifest] = {}

    def apply(self, change: Change) -> None:
        """Change the objects; what is put anew has another generation."""
        for title in change.remove:
            del self._objects[title]
        for title, spec in change.put.items():
            self._objects[title] = spec
            self.generations[title] = self.generations.get(title, 0) + 1

    def namespace(self, name: str = OWN) -> str:
        """What a namespace of the case is called in the manifests."""
        return self.case.name if name == OWN else f"{self.case.name}-{name}"

    def manifests(self) -> list[Manifest]:
        """All objects, with the Gateways' addresses."""
        made = [self._manifest(title, age) for age, title in enumerate(self._objects)]
        for backend in self.case.backends:
            namespace, _, name = backend.rpartition("/")
            made += self._backend(self.namespace(namespace or OWN), name)
        return made

    def gateways(self) -> list[str]:
        """``namespace/name`` of all Gateways."""
        return [self.place(title) for title in self._objects if title.startswith("Gateway/")]

    def place(self, title: Title) -> str:
        """``namespace/name`` of an object in the manifests."""
        _, *namespace, name = title.split("/")
        return f"{self.namespace(*namespace)}/{name}"

    def reach(self, to: str) -> Place:
        """The place that a row means."""
        gateway, _, port = to.rpartition(":")
        if gateway:
            return self.ports.place(self.place(f"Gateway/{gateway}"), int(port))
        (only,) = self.gateways()
        return self.ports.place(only, int(port or 80))

    def _manifest(self, title: Title, age: int) -> Manifest:
        kind, *namespace, name = title.split("/")
        body = self._filled(copy.deepcopy(self._objects[title]))
        metadata: Manifest = {
            "name": self.namespace(name) if kind == "Namespace" else name,
            "generation": self.generations[title],
            "creationTimestamp": (EPOCH + timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if kind not in WITHOUT_NAMESPACE:
            metadata["namespace"] = self.namespace(*namespace)
        metadata |= body.pop("metadata", {})
        head: Manifest = {"apiVersion": API_VERSIONS[kind], "kind": kind, "metadata": metadata}
        if kind == "Gateway":
            body.setdefault("gatewayClassName", "moongate")
            body["addresses"] = [{"type": "IPAddress", "value": self.ports.address(self.place(title))}]
        if kind == "EndpointSlice":
            metadata["labels"] = {"kubernetes.io/service-name": body.pop("service")}
        return head | (self._content(title, body) if kind in WITHOUT_SPEC else {"spec": body})

    def _content(self, title: Title, body: Manifest) -> Manifest:
        if "certificate" in body:
            if title not in self._secrets:
                certificate, key = self._authorities["trusted"].issue(*body["certificate"])
                data = {"tls.crt": encoded(certificate), "tls.key": encoded(key)}
                self._secrets[title] = {"type": "kubernetes.io/tls", "data": data}
            return self._secrets[title]
        if "authority" in body:
            return {"data": {"ca.crt": self._authorities[body["authority"]].pem.decode()}}
        return body

    def _filled(self, value: Any, key: str = "") -> Any:
        """``$name`` is a backend's port, and namespaces are the case's own."""
        if isinstance(value, dict):
            return {name: self._filled(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [self._filled(each) for each in value]
        if isinstance(value, str) and key == "namespace":
            return self.namespace(value)
        if isinstance(value, str) and value.startswith("$"):
            return self._backends[value[1:]]
        return value

    def _backend(self, namespace: str, name: str) -> list[Manifest]:
        metadata = {"name": name, "namespace": namespace}
        labels = {"kubernetes.io/service-name": name}
        return [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata,
                "spec": {"ports": [{"name": "http", "port": 8080, "targetPort": 3000}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": metadata | {"labels": labels},
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": self._backends[name]}],
                "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            },
        ]
