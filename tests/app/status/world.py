"""An API server in memory, what a provider would know of it, and the graph of its objects, in a test's own time."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from app.providers.kubernetes.api import ApiError, Stored
from app.reconciler import State
from app.status.writer import StatusWriter
from routes.graph.nodes import Graph, Options, Sockets
from routes.graph.rebuild import Rebuilding
from routes.resources.meta import Key
from routes.resources.scheme import parse
from routes.snapshot import Snapshot
from tests.wire.harness import Loop

OURS, THEIRS = "moongate.dev/gateway", "example.com/other"
GROUP = "gateway.networking.k8s.io"

Object = dict[str, Any]


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def path_of(key: Key) -> str:
    version = "v1alpha1" if key.group == "networking.x-k8s.io" else "v1"
    plural = f"{key.kind.lower()[:-1]}ies" if key.kind.endswith("y") else f"{key.kind.lower()}s"
    plural = f"{key.kind.lower()}es" if key.kind.endswith("s") else plural
    place = f"/namespaces/{key.namespace}" if key.namespace else ""
    return f"/apis/{key.group}/{version}{place}/{plural}/{key.name}"


def key_of(document: Object) -> Key:
    metadata = document["metadata"]
    return Key(
        document["apiVersion"].rpartition("/")[0], document["kind"], metadata.get("namespace", ""), metadata["name"]
    )


class Server:
    """An API server with statuses as subresources. ``refuse`` may raise for a request; ``during`` runs while one is
    under way, after it was read and before it is done. ``log`` are the patches with the time they came."""

    namespace = "moongate-system"

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.objects: dict[str, Object] = {}
        self.version = 0
        self.log: list[tuple[float, str, Mapping[str, Any]]] = []
        self.gets: list[str] = []
        self.refuse: Callable[[str], None] = lambda path: None
        self.during: Callable[[str], Any] | None = None
        self.watchers: list[Known | Controller] = []
        self.under_way = self.most_under_way = 0

    @property
    def written(self) -> list[str]:
        """The names of the objects whose status was patched, in order."""
        return [path.removesuffix("/status").rpartition("/")[2] for _, path, _ in self.log]

    def _store(self, path: str, document: Object) -> None:
        self.version += 1
        document["metadata"]["resourceVersion"] = str(self.version)
        self.objects[path] = document
        for watcher in self.watchers:
            watcher.hear(key_of(document), document)

    def apply(self, document: Object) -> None:
        """Create or change an object's spec, as kubectl does."""
        path, old = path_of(key_of(document)), self.objects.get(path_of(key_of(document)))
        new = deepcopy(document)
        if old is None:
            new["metadata"] |= {"uid": f"uid-{self.version}", "generation": 1}
        else:
            generation = old["metadata"]["generation"] + (old.get("spec") != new.get("spec"))
            new["metadata"] |= {"uid": old["metadata"]["uid"], "generation": generation}
            new["status"] = old.get("status", {})
        self._store(path, new)

    def set_status(self, key: Key, status: Object) -> None:
        """Somebody else writes a status."""
        self._store(path_of(key), deepcopy(self.objects[path_of(key)]) | {"status": deepcopy(status)})

    def delete_object(self, key: Key) -> None:
        self.version += 1
        if self.objects.pop(path_of(key), None) is not None:
            for watcher in self.watchers:
                watcher.hear(key, None)

    def status(self, key: Key) -> Object:
        found: Object = self.objects[path_of(key)].get("status", {})
        return found

    async def get(self, path: str) -> Object:
        self.gets.append(path)
        self.refuse(path)
        if path not in self.objects:
            raise ApiError(404, "NotFound", f"{path} not found")
        return deepcopy(self.objects[path])

    async def merge(self, path: str, body: Mapping[str, Any]) -> Object:
        place, _, subresource = path.rpartition("/")
        assert subresource == "status", path
        self.log.append((self.loop.time(), path, deepcopy(dict(body))))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.during is not None:
                await self.during(place)
            self.refuse(path)
            old = self.objects.get(place)
            if old is None:
                raise ApiError(404, "NotFound", f"{place} not found")
            for field in ("uid", "resourceVersion"):
                if body["metadata"][field] != old["metadata"][field]:
                    raise ApiError(409, "Conflict", f"the {field} of {place} is another one")
            new = deepcopy(old) | {"status": merge_patch(old.get("status"), body["status"])}
            if new != old:
                self._store(place, new)
            return deepcopy(self.objects[place])
        finally:
            self.under_way -= 1

    async def create(self, path: str, body: Mapping[str, Any]) -> Object:
        raise NotImplementedError

    replace = apply_ = create

    async def delete(self, path: str) -> None:
        raise NotImplementedError


class Known:
    """What a provider has heard of a :class:`Server`. While ``deaf``, news waits."""

    def __init__(self, server: Server) -> None:
        self.deaf = False
        self.asked = 0
        self._entries: dict[Key, Stored] = {}
        self._changed: set[Key] = set()
        self._waiting: list[tuple[Key, Object | None]] = []
        for document in server.objects.values():
            self.hear(key_of(document), document)
        server.watchers.append(self)

    def hear(self, key: Key, document: Object | None) -> None:
        self._waiting.append((key, deepcopy(document)))
        if not self.deaf:
            self.listen()

    def listen(self, most: int | None = None) -> None:
        """Hear what waits, all of it or the first ``most``."""
        most = len(self._waiting) if most is None else most
        news, self._waiting = self._waiting[:most], self._waiting[most:]
        for key, document in news:
            self._changed.add(key)
            if document is None:
                self._entries.pop(key, None)
                continue
            metadata = document["metadata"]
            version, generation = metadata["resourceVersion"], metadata["generation"]
            status = document.get("status", {})
            self._entries[key] = Stored(
                path_of(key), metadata["uid"], version, generation, document["apiVersion"], status
            )

    def stored(self, key: Key) -> Stored | None:
        self.asked += 1
        return self._entries.get(key)

    def keys(self) -> list[Key]:
        return list(self._entries)

    def take_changed(self) -> set[Key]:
        changed, self._changed = self._changed, set()
        return changed


class Controller:
    """A gateway's control plane on a :class:`Server`: graph and writer."""

    def __init__(self, server: Server, controller_name: str = OURS) -> None:
        self.server = server
        self.known = Known(server)
        self.graph = Graph((), {}, {})
        self.sockets = Sockets()
        self.writer = StatusWriter(
            cast(Any, server), self.known, controller_name, clock=server.loop.time, now=self._now, chance=lambda: 0.0
        )
        self._rebuilding = Rebuilding(Options(controller_name=controller_name))
        self._task = server.loop.create_task(self.writer.run())
        self._snapshot = Snapshot()
        self._news: dict[Key, Object | None] = {}
        self._specs: dict[Key, Object | None] = {}
        for document in server.objects.values():
            self.hear(key_of(document), document)
        server.watchers.append(self)

    def hear(self, key: Key, document: Object | None) -> None:
        """What a provider tells: all but new statuses."""
        bare = _without_status(document)
        if bare != self._specs.get(key):
            self._specs[key] = bare
            self._news[key] = document

    def _now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.server.loop.time())

    def reconcile(self) -> None:
        """Build the graph of what is on the server now, and publish it."""
        news, self._news = self._news, {}
        parsed = (parse(document, strict=False) for document in news.values() if document is not None)
        changed = [resource for resource in parsed if resource is not None]
        self._snapshot = self._snapshot.without(news.keys()).with_(changed)
        step = self._rebuilding.build(self._snapshot, news.keys(), self.sockets)
        self.graph = step.graph
        self.writer.publish(State(step.graph, cast(Any, None), frozenset(), 0, (), step.routes))


def _without_status(document: Object | None) -> Object | None:
    if document is None:
        return None
    metadata = {name: value for name, value in document["metadata"].items() if name != "resourceVersion"}
    return {name: value for name, value in document.items() if name != "status"} | {"metadata": metadata}


def wait(loop: Loop, seconds: float) -> None:
    """Let time pass, from one timer to the next."""
    loop.settle()
    end = loop.now + seconds
    while loop.now < end:
        timers = loop._scheduled  # type: ignore[attr-defined]  # a loop does not tell when it would wake up
        loop.now = min(end, max(loop.now + 1e-6, min((timer.when() for timer in timers), default=end)))
        loop.turn()
        loop.settle()


def leading(server: Server, controller_name: str = OURS) -> Controller:
    """A controller that has written everything."""
    controller = Controller(server, controller_name)
    controller.reconcile()
    controller.writer.lead(True)
    wait(server.loop, 2)
    return controller


def gateway_class(name: str = "c", controller: str = OURS) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "GatewayClass",
        "metadata": {"name": name},
        "spec": {"controllerName": controller},
    }


def gateway(
    name: str = "g", class_name: str = "c", *, listeners: tuple[tuple[str, int], ...] = (("http", 80),)
) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": "a"},
        "spec": {
            "gatewayClassName": class_name,
            "listeners": [{"name": name, "port": port, "protocol": "HTTP"} for name, port in listeners],
        },
    }


def route(name: str, *parents: str, path: str = "/") -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "a"},
        "spec": {
            "parentRefs": [{"name": parent} for parent in parents],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": path}}],
                    "filters": [{"type": "RequestRedirect", "requestRedirect": {"hostname": "example.com"}}],
                }
            ],
        },
    }


CLASS = Key(GROUP, "GatewayClass", "", "c")
GATEWAY = Key(GROUP, "Gateway", "a", "g")


def route_key(name: str) -> Key:
    return Key(GROUP, "HTTPRoute", "a", name)
