"""What all rows stand on: namespaces, two backend pods, Services that lead to them, a Gateway, and routes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cluster.api import APPS, CORE, DISCOVERY, GATEWAY, Api, Object, at_once
from benchmarks.cluster.report import Progress

#: Of our namespaces and objects.
NAME = "gateway-bench"
PORT = 8080
#: Seconds until pods run, Gateways have addresses, or namespaces are gone.
PATIENCE = 300.0


@dataclass
class Bed:
    """A Gateway of the class that is measured, with one HTTP listener; ``address`` and ``port`` reach it."""

    api: Api
    gateway_class: str
    image: str
    progress: Progress
    address: str = ""
    port: int = 80
    #: Name and address of each backend pod.
    pods: list[tuple[str, str]] = field(default_factory=list)

    async def make(self) -> None:
        """Make everything, and wait until it is ready; TimeoutError."""
        await self.api.create(f"{CORE}/namespaces", {"metadata": {"name": NAME, "labels": {NAME: ""}}})
        await self.api.create(f"{APPS}/namespaces/{NAME}/deployments", _deployment(self.image))
        await self.api.create(f"{GATEWAY}/namespaces/{NAME}/gateways", _gateway(self.gateway_class))
        async with _patience("no backend pods"):
            while len(self.pods) < 2:
                await asyncio.sleep(0.5)
                found = await self.api.get(f"{CORE}/namespaces/{NAME}/pods")
                self.pods = [(pod["metadata"]["name"], pod["status"]["podIP"]) for pod in found["items"] if _ready(pod)]
        async with _patience("the Gateway is not programmed, or has no address"):
            while not self.address:
                await asyncio.sleep(0.2)
                status = (await self.gateway()).get("status", {})
                if any(c["type"] == "Programmed" and c["status"] == "True" for c in status.get("conditions", ())):
                    self.address = next((a["value"] for a in status.get("addresses", ())), "")
        await self.service(NAME)

    async def gateway(self) -> Any:
        """The Gateway as it is stored."""
        return await self.api.get(f"{GATEWAY}/namespaces/{NAME}/gateways/{NAME}")

    async def service(self, name: str, namespace: str = NAME, *, pods: Sequence[int] = (0, 1)) -> None:
        """A headless Service, which costs kube-proxy nothing, and its EndpointSlice."""
        service = {
            "metadata": {"name": name},
            "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": PORT, "targetPort": PORT}]},
        }
        await self.api.create(f"{CORE}/namespaces/{namespace}/services", service)
        endpoints = [self.endpoint(pod, ready=True) for pod in pods]
        path = f"{DISCOVERY}/namespaces/{namespace}/endpointslices"
        await self.api.create(path, _slice(name, endpoints))

    def endpoint(self, pod: int, *, ready: bool) -> Object:
        """An endpoint of a slice that is a backend pod."""
        return {"addresses": [self.pods[pod][1]], "conditions": {"ready": ready}}

    async def endpoints(self, name: str, endpoints: Sequence[Object], namespace: str = NAME) -> None:
        """Change the endpoints of a Service."""
        path = f"{DISCOVERY}/namespaces/{namespace}/endpointslices/{name}"
        await self.api.merge(path, {"endpoints": list(endpoints)})

    async def route(self, name: str, host: str, service: str = NAME, namespace: str = NAME) -> None:
        """A route of a host to a Service in the same namespace."""
        await self.api.create(f"{GATEWAY}/namespaces/{namespace}/httproutes", route(name, host, service))

    async def routes(self, numbers: range, told: str) -> None:
        """Routes by these numbers, many at once, each of a host of its own."""
        tell = self.progress.count(told, len(numbers))
        await at_once((self.route(f"route-{n}", host(n)) for n in numbers), tell)

    async def no_routes(self, numbers: range) -> None:
        """Remove the routes by these numbers."""
        path = f"{GATEWAY}/namespaces/{NAME}/httproutes"
        tell = self.progress.count("routes removed", len(numbers))
        await at_once((self.api.delete(f"{path}/route-{n}") for n in numbers), tell)

    async def attached(self) -> int:
        """What the Gateway's status says of routes."""
        status = (await self.gateway()).get("status", {})
        return sum(listener["attachedRoutes"] for listener in status.get("listeners", ()))

    async def clear(self) -> None:
        """Remove all our namespaces, and wait until they are gone; TimeoutError."""
        path = f"{CORE}/namespaces"
        async with _patience("namespaces do not go"):
            while names := await self._namespaces():
                self.progress(f"{len(names)} namespaces left to go")
                for name in names:
                    await self.api.delete(f"{path}/{name}")
                await asyncio.sleep(1)

    async def _namespaces(self) -> list[str]:
        found = await self.api.get(f"{CORE}/namespaces?labelSelector={NAME}")
        return [namespace["metadata"]["name"] for namespace in found["items"]]


def host(number: int) -> str:
    """The host of a route."""
    return f"route-{number}.bench.test"


def route(name: str, host: str, service: str) -> Object:
    """An HTTPRoute to the Gateway."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {
            "parentRefs": [{"name": NAME, "namespace": NAME}],
            "hostnames": [host],
            "rules": [{"backendRefs": [{"name": service, "port": PORT}]}],
        },
    }


def _gateway(gateway_class: str) -> Object:
    listener = {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": {"namespaces": {"from": "All"}}}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": NAME},
        "spec": {"gatewayClassName": gateway_class, "listeners": [listener]},
    }


def _deployment(image: str) -> Object:
    container = {
        "name": "echo",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "env": [
            {"name": "HTTP_PORT", "value": str(PORT)},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "NAMESPACE", "value": NAME},
        ],
    }
    labels = {"app": NAME}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    return {
        "metadata": {"name": NAME},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod},
    }


def _slice(service: str, endpoints: Sequence[Object]) -> Object:
    return {
        "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


def _ready(pod: Any) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


@contextlib.asynccontextmanager
async def _patience(otherwise: str) -> AsyncIterator[None]:
    begun = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError:
        raise TimeoutError(f"{otherwise} after {time.monotonic() - begun:.0f} s") from None
