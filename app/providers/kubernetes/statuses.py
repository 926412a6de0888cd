"""The statuses that an API server has, in little memory: what is compared before a status is written."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic_core import from_json

from app.providers.kubernetes.api import Stored
from app.providers.kubernetes.resources import path_of
from routes.resources.meta import Key


class _Entry(NamedTuple):
    uid: str
    resource_version: str
    generation: int
    api_version: str
    status: bytes


class StoredStatuses:
    """What is stored of each object. A status is kept as JSON, and decoded for who asks."""

    def __init__(self) -> None:
        self._entries: dict[Key, _Entry] = {}
        self._changed: set[Key] = set()

    def put(self, key: Key, raw: Mapping[str, Any]) -> None:
        """Take an object of the API server for what is stored now."""
        metadata = raw["metadata"]
        status = json.dumps(raw.get("status") or {}, separators=(",", ":")).encode()
        before = self._entries.get(key)
        uid = metadata.get("uid", "")
        if before is not None and before.status == status:
            status = before.status
        if before is None or before.uid != uid or before.status != status:
            self._changed.add(key)
        generation = metadata.get("generation", 0)
        self._entries[key] = _Entry(uid, metadata.get("resourceVersion", ""), generation, raw["apiVersion"], status)

    def remove(self, key: Key) -> None:
        """The object is gone."""
        if self._entries.pop(key, None) is not None:
            self._changed.add(key)

    def stored(self, key: Key) -> Stored | None:
        """What is stored of ``key``; None where it is not known, or is gone."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        uid, version, generation, api_version, status = entry
        return Stored(path_of(key, api_version), uid, version, generation, api_version, from_json(status))

    def keys(self) -> list[Key]:
        """Everything of which something is stored."""
        return list(self._entries)

    def take_changed(self) -> set[Key]:
        """The objects whose stored status has changed since the last call, by whomever, and those that came or went."""
        changed, self._changed = self._changed, set()
        return changed
