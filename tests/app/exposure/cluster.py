"""As much of a cluster as an Exposure sees: objects by path, whoever follows them, and refusals."""

import asyncio
import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from app.providers.kubernetes.api import ApiError, Object
from app.providers.manifests import read_manifests
from app.reconciler import State
from routes.graph.build import build_graph
from routes.graph.nodes import Options
from routes.snapshot import Snapshot
from routes.table.compile import compile_table

Tell = Callable[[str, str, dict[str, Any] | None], None]


class Following:
    """A follower that is told each change at once, after what is ``present`` when it begins."""

    def __init__(self, on_change: Tell, on_state: Callable[[Any], None], present: Callable[[], None]) -> None:
        self.present = present
        self.settled = asyncio.Event()
        self.why = ""
        self.on_change = on_change
        self.on_state = on_state
        self.running = False

    async def run(self) -> None:
        self.running = True
        self.present()
        self.settled.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.running = False

    def say(self, why: str) -> None:
        """Be unable to follow, or able again."""
        self.why = why
        self.on_state(self)


class Cluster:
    """An API server in memory. ``writes`` are the requests that changed something or were to, in their order."""

    namespace = "moongate-system"

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.followers: dict[str, list[Following]] = {}
        self.writes: list[str] = []
        self.asked = 0
        self.refusals: dict[str, ApiError] = {}
        self.defaults = True
        self._version = 0

    def follow(self, path: str, params: Mapping[str, str], on_change: Tell, *, on_state: Callable[[Any], None]) -> Any:
        label, _, value = params["labelSelector"].partition("=")

        def tell(namespace: str, name: str, stored: dict[str, Any] | None) -> None:
            if stored is None or stored["metadata"].get("labels", {}).get(label) == value:
                on_change(namespace, name, stored)

        def present() -> None:
            for each, stored in list(self.objects.items()):
                if _is_in(each, path):  # in a list objects do not say their kind
                    tell(*_name(each), {name: stored[name] for name in stored.keys() - {"apiVersion", "kind"}})

        follower = Following(tell, on_state, present)
        self.followers.setdefault(path, []).append(follower)
        return follower

    def follower_of(self, path: str) -> Following:
        """The first that follows ``path``."""
        return self.followers[path][0]

    # The requests

    async def get(self, path: str) -> Object:
        await self._asked(path)
        if path not in self.objects:
            raise ApiError(404, "NotFound", f"{path} not found")
        return self.objects[path]

    async def create(self, path: str, body: Object) -> Object:
        raise AssertionError("objects are applied, so that fields have one manager")

    async def replace(self, path: str, body: Object) -> Object:
        raise AssertionError("objects are applied, so that others' fields stay")

    async def merge(self, path: str, body: Object) -> Object:
        raise AssertionError("objects are applied")

    async def apply(self, path: str, body: Object) -> Object:
        self.writes.append(f"apply {path.rpartition('/')[2]}")
        await self._asked(path)
        uid = body["metadata"].get("uid")
        stored = self.objects.get(path)
        if uid is not None and (stored is None or stored["metadata"]["uid"] != uid):
            raise ApiError(409, "Conflict", "uid mismatch")
        return self.put(path, dict(copy.deepcopy(body)))

    async def delete(self, path: str) -> None:
        self.writes.append(f"delete {path.rpartition('/')[2]}")
        await self._asked(path)
        self.remove(path)

    async def _asked(self, path: str) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        for start, refusal in self.refusals.items():
            if start in path:
                raise refusal

    # What others do

    def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Store ``body``, with what a server adds, and tell whoever follows it."""
        before = self.objects.get(path)
        body = copy.deepcopy(body)
        if body["kind"] == "Service" and self.defaults:
            given = (before or {}).get("spec", {})
            body["spec"].setdefault("clusterIP", given.get("clusterIP", f"10.96.0.{len(self.objects) + 1}"))
            body["spec"].setdefault("clusterIPs", [body["spec"]["clusterIP"]])
            body["spec"].setdefault("sessionAffinity", "None")
            for number, port in enumerate(body["spec"].get("ports", [])):
                port.setdefault("nodePort", 30_000 + number)
            if before is not None and "status" in before:
                body.setdefault("status", before["status"])
        if before is not None:
            body["metadata"]["uid"] = before["metadata"]["uid"]
            if body | {"metadata": body["metadata"] | {"resourceVersion": ""}} == before | {
                "metadata": before["metadata"] | {"resourceVersion": ""}
            }:
                return before
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        body["metadata"].setdefault("uid", f"uid-{self._version}")
        self.objects[path] = body
        self._tell(path, body)
        return body

    def edit(self, path: str, **spec: Any) -> None:
        """Change fields of an object's spec."""
        stored = copy.deepcopy(self.objects[path])
        stored["spec"] |= spec
        self.put(path, stored)

    def remove(self, path: str) -> None:
        """Take an object away, and tell."""
        if self.objects.pop(path, None) is not None:
            self._tell(path, None)

    def balance(self, path: str, *ingress: dict[str, str]) -> None:
        """Give the Service at ``path`` addresses of a load balancer."""
        stored = copy.deepcopy(self.objects[path])
        stored["status"] = {"loadBalancer": {"ingress": list(ingress)}}
        self.put(path, stored)

    def _tell(self, path: str, stored: dict[str, Any] | None) -> None:
        for collection, followers in self.followers.items():
            for follower in followers:
                if follower.running and _is_in(path, collection):
                    follower.on_change(*_name(path), stored)

    @contextmanager
    def refusing(self, part: str, status: int, message: str) -> Iterator[None]:
        """Refuse all requests for paths with ``part``."""
        self.refusals[part] = ApiError(status, "Forbidden" if status == 403 else "", message)
        try:
            yield
        finally:
            del self.refusals[part]


def state_of(text: str) -> State:
    """The state that manifests come to in a cluster. Objects have the uid ``uid-of-<name>`` unless they say theirs."""
    read = read_manifests(text, "in.yaml")
    assert not read.problems, read.problems
    graph = build_graph(Snapshot(each.resource for each in read.objects), Options(cluster=True))
    return State(graph, compile_table(graph, lambda rule: rule), frozenset(), 0, (), ())  # type: ignore[arg-type, return-value]


def _is_in(path: str, collection: str) -> bool:
    """Whether an object is in a collection, be it that of all namespaces."""
    parts = path.split("/")
    everywhere = "/".join([*parts[: parts.index("namespaces")], parts[-2]])
    return collection in (path.rpartition("/")[0], everywhere)


def _name(path: str) -> tuple[str, str]:
    parts = path.split("/")
    return parts[-3], parts[-1]


def replicas(*addresses: str, **conditions: bool) -> dict[str, Any]:
    """The EndpointSlice of our own pods."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "moongate-x7k2p",
            "namespace": "moongate-system",
            "labels": {"kubernetes.io/service-name": "moongate"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [each], "conditions": conditions or {"ready": True}} for each in addresses],
        "ports": [],
    }
