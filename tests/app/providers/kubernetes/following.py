"""A consumer of a provider: applies changes, and checks what holds of each."""

import asyncio
import selectors
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from app.providers.base import Change
from app.providers.kubernetes.provider import KubernetesProvider
from routes.problems import Problem
from routes.resources.meta import Key, Resource
from tests.app.providers.kubernetes.memory import MemoryClient
from tests.helpers.apikinds import gateway_api
from tests.helpers.apistore import Store, collection_of

GATEWAY = "gateway.networking.k8s.io"


class Cluster:
    """A store and its client, with objects in few words."""

    def __init__(self, *definitions: dict[str, Any]) -> None:
        self.store = Store()
        self.client = MemoryClient(self.store)
        self.install(*(definitions or gateway_api()))

    def install(self, *definitions: dict[str, Any]) -> None:
        for each in definitions:
            self.put(each)

    def put(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Create the object, or replace it."""
        collection = collection_of(self.store, raw["apiVersion"], raw["kind"])
        kind = self.store.kinds[collection]
        namespace = raw["metadata"].get("namespace", "default") if kind.namespaced else ""
        name = raw["metadata"]["name"]
        found = [each for each in self.store.objects(collection, namespace) if each["metadata"]["name"] == name]
        if not found:
            return self.store.create(collection, namespace, raw)
        metadata = {**raw["metadata"], "resourceVersion": found[0]["metadata"]["resourceVersion"]}
        return self.store.replace(collection, namespace, name, {**raw, "metadata": metadata}, status=False)

    def status(self, raw: dict[str, Any], status: dict[str, Any]) -> None:
        collection = collection_of(self.store, raw["apiVersion"], raw["kind"])
        namespace = raw["metadata"].get("namespace", "default")
        self.store.merge(collection, namespace, raw["metadata"]["name"], {"status": status}, status=True)

    def delete(self, raw: dict[str, Any]) -> None:
        collection = collection_of(self.store, raw["apiVersion"], raw["kind"])
        namespace = raw["metadata"].get("namespace", "default") if self.store.kinds[collection].namespaced else ""
        self.store.delete(collection, namespace, raw["metadata"]["name"])


class Follower:
    """What came of all changes so far."""

    def __init__(self, provider: KubernetesProvider) -> None:
        self.provider = provider
        self.objects: dict[Key, Resource] = {}
        self.problems: tuple[Problem, ...] = ()
        self.unread: dict[tuple[str, str, str], str] = {}
        self.changes = 0
        self._changes: AsyncGenerator[Change, None] = provider.changes()
        self._coming: asyncio.Task[Change] | None = None

    def apply(self, change: Change) -> Change:
        assert not {resource.key for resource in change.upserts} & set(change.deletes)
        for gone in change.deletes:
            del self.objects[gone]
        for resource in change.upserts:
            assert self.objects.get(resource.key) != resource, "an upsert that changes nothing"
            self.objects[resource.key] = resource
        if change.problems is not None:
            assert change.problems != self.problems or not self.changes
            self.problems = change.problems
        if change.unread is not None:
            self.unread = dict(change.unread)
        assert change != Change()
        self.changes += 1
        return change

    async def next(self) -> Change:
        coming, self._coming = self._coming or asyncio.ensure_future(anext(self._changes)), None
        return self.apply(await coming)

    async def quiet(self, seconds: float = 1.0) -> None:
        """Nothing comes for so long."""
        self._coming = self._coming or asyncio.ensure_future(anext(self._changes))
        await asyncio.wait({self._coming}, timeout=seconds)
        assert not self._coming.done(), self._coming.result()

    async def settle(self, seconds: float) -> None:
        """Apply all that comes, until nothing comes for so long."""
        while True:
            self._coming = self._coming or asyncio.ensure_future(anext(self._changes))
            await asyncio.wait({self._coming}, timeout=seconds)
            if not self._coming.done():
                return
            await self.next()

    async def close(self) -> None:
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.wait({self._coming})
        await self._changes.aclose()
        await self.provider.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self.next()

    def names(self, kind: str = "HTTPRoute") -> list[str]:
        return sorted(key.name for key in self.objects if key.kind == kind)

    def said(self) -> list[str]:
        return [str(problem) for problem in self.problems]


@asynccontextmanager
async def following(cluster: Cluster, *namespaces: str, **options: Any) -> AsyncIterator[Follower]:
    provider = KubernetesProvider(cluster.client, namespaces, **options)
    follower = Follower(provider)
    try:
        follower.apply(await provider.load())
        yield follower
    finally:
        await follower.close()


class _Selector(selectors.DefaultSelector):
    now = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if not found:
            assert timeout is not None, "all wait for what never comes"
            self.now += max(timeout, 0.0)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop in which time passes only, and at once, where everything waits for it."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def scenario(play: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


def route(name: str, prefix: str = "/", namespace: str = "default", version: str = f"{GATEWAY}/v1") -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"rules": [{"matches": [{"path": {"type": "PathPrefix", "value": prefix}}]}]},
    }


def policy(name: str, *config_maps: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{GATEWAY}/v1",
        "kind": "BackendTLSPolicy",
        "metadata": {"name": name},
        "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": "web"}],
            "validation": {
                "hostname": "web.test",
                "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": each} for each in config_maps],
            },
        },
    }


def config_map(name: str, text: str = "x") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"ca.crt": text}}


def endpoint_slice(name: str, *hosts: str, service: str = "web") -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}, "nodeName": "a"} for host in hosts],
    }
