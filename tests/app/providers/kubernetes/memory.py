"""An API server without a network: a provider's client that reads a store, and fails as it is told."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, NamedTuple

from app.providers.kubernetes.api import ApiError, Object
from tests.helpers.apikinds import Kind
from tests.helpers.apistore import Store, selected


class Asked(NamedTuple):
    """A request."""

    verb: str
    group: str
    version: str
    plural: str
    namespace: str
    params: Mapping[str, str]


class MemoryClient:
    """``refuse`` may give the error with which a request is answered; ``cut`` breaks all watches that are open."""

    namespace = "moongate-system"

    def __init__(self, store: Store) -> None:
        self.store = store
        self.refuse: Callable[[Asked], ApiError | None] = lambda asked: None
        self.asked: list[Asked] = []
        #: Called before each page but the first.
        self.between_pages: Callable[[], None] = lambda: None
        self._changed = asyncio.Condition()
        self._cut = 0
        self._told: set[asyncio.Event] = set()
        store.changed = self._wake

    def _wake(self) -> None:
        for each in self._told:
            each.set()

    def cut(self) -> None:
        """Break all connections."""
        self._cut += 1
        self._wake()

    def count(self, verb: str, plural: str) -> int:
        """How many such requests there were."""
        return sum((each.verb, each.plural) == (verb, plural) for each in self.asked)

    async def list(
        self, path: str, params: Mapping[str, str], *, metadata_only: bool = False
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        kind, asked = self._ask("list", path, params)
        found = [
            each
            for each in self.store.objects((kind.group, kind.plural), asked.namespace)
            if selected(each, params.get("labelSelector", ""), params.get("fieldSelector", ""))
        ]
        version = self.store.version
        size = int(params.get("limit", 0)) or len(found) or 1
        for start in range(0, len(found) or 1, size):
            if start:
                self.between_pages()
                if version < self.store.compacted:
                    raise ApiError(410, "Expired", "the continue token is too old")
            await asyncio.sleep(0)
            items = [_shown(each, kind, asked.version, metadata_only) for each in found[start : start + size]]
            if not kind.custom:
                for item in items:
                    item.pop("kind"), item.pop("apiVersion")
            yield {"metadata": {"resourceVersion": str(version)}, "items": items}

    async def watch(
        self, path: str, params: Mapping[str, str], *, metadata_only: bool = False
    ) -> AsyncGenerator[bytes, None]:
        kind, asked = self._ask("watch", path, params)
        collection = kind.group, kind.plural
        version, epoch, cut = int(params["resourceVersion"]), self.store.epoch(collection), self._cut
        if version < self.store.compacted:
            raise ApiError(410, "Expired", f"too old resource version: {version}")
        told = asyncio.Event()
        self._told.add(told)
        try:
            yield b""
            while True:
                told.clear()
                for event in self.store.events(collection, version):
                    version = event.version
                    line = self._line(event.old, event.new, version, kind, asked, metadata_only)
                    if line:
                        yield line
                if self._cut != cut:
                    raise ApiError(0, "", "the connection broke")
                if self.store.epoch(collection) != epoch:
                    return
                await told.wait()
        finally:
            self._told.discard(told)

    async def get(self, path: str) -> Object:
        await asyncio.sleep(0)
        match path.strip("/").split("/"):
            case ["apis", group]:
                versions = {
                    version for kind in self.store.kinds.values() if kind.group == group for version in kind.versions
                }
                if versions:
                    listed = [{"version": version} for version in sorted(versions)]
                    return {"versions": listed, "preferredVersion": listed[0]}
            case ["apis", group, version]:
                kinds = [kind for kind in self.store.kinds.values() if kind.group == group and version in kind.versions]
                return {
                    "resources": [
                        {"name": kind.plural, "kind": kind.kind, "namespaced": kind.namespaced} for kind in kinds
                    ]
                }
        raise ApiError(404, "NotFound", "not found")

    async def create(self, path: str, body: Object) -> Object:
        raise NotImplementedError

    replace = merge = apply = create

    async def delete(self, path: str) -> None:
        raise NotImplementedError

    def _ask(self, verb: str, path: str, params: Mapping[str, str]) -> tuple[Kind, Asked]:
        parts = path.strip("/").split("/")
        group = "" if parts[0] == "api" else parts[1]
        version, *rest = parts[1:] if parts[0] == "api" else parts[2:]
        namespace = rest[1] if len(rest) == 3 else ""
        asked = Asked(verb, group, version, rest[-1], namespace, params)
        self.asked.append(asked)
        if error := self.refuse(asked):
            raise error
        kind = self.store.kind((group, asked.plural))
        if kind is None or version not in kind.versions:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return kind, asked

    def _line(
        self, old: Object | None, new: Object | None, version: int, kind: Kind, asked: Asked, metadata_only: bool
    ) -> bytes:
        labels, fields = asked.params.get("labelSelector", ""), asked.params.get("fieldSelector", "")
        was, is_ = (
            each is not None
            and asked.namespace in ("", each["metadata"].get("namespace"))
            and selected(dict(each), labels, fields)
            for each in (old, new)
        )
        if not was and not is_:
            if new is None or asked.namespace:
                return b""
            mark = {"kind": kind.kind, "metadata": {"resourceVersion": str(version)}}
            return json.dumps({"type": "BOOKMARK", "object": mark}).encode()
        type_ = "MODIFIED" if was and is_ else "ADDED" if is_ else "DELETED"
        shown = _shown((new if is_ else old) or {}, kind, asked.version, metadata_only)
        shown["metadata"]["resourceVersion"] = str(version)
        return json.dumps({"type": type_, "object": shown}).encode()


def _shown(found: Mapping[str, Any], kind: Kind, version: str, metadata_only: bool) -> dict[str, Any]:
    copied: dict[str, Any] = json.loads(json.dumps(found))
    if metadata_only:
        return {
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadata",
            "metadata": copied["metadata"],
        }
    return copied | {"apiVersion": kind.api_version(version), "kind": kind.kind}
