"""From an API server's objects to models, and what is different since somebody asked last."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from app.providers.kubernetes.resources import SLICES
from routes.graph.policies import AUTHORITIES
from routes.problems import Problem
from routes.resources.errors import ManifestError, field_name
from routes.resources.meta import Key, ObjectMeta, Resource
from routes.resources.scheme import ExtensionKinds, parse

logger = logging.getLogger(__name__)

#: What of an object's metadata is read by anybody here. Who set which field is as large as the object itself, and
#: resourceVersion is another one after each write of a status.
_METADATA: Final = ("name", "namespace", "uid", "generation", "creationTimestamp", "deletionTimestamp", "labels")
#: What of a Secret's or ConfigMap's data.
_DATA: Final = ("tls.crt", "tls.key", AUTHORITIES)
#: The whole object once more, by kubectl, with all that a Secret holds.
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


class Reading:
    """Makes models of an API server's objects, and holds what is wrong with those of which none can be made."""

    def __init__(self, extensions: ExtensionKinds) -> None:
        self._extensions = extensions
        #: By object, in the order in which they were found.
        self.problems: dict[Key, tuple[Problem, ...]] = {}

    def read(self, key: Key, raw: Mapping[str, Any]) -> Resource | None:
        """The object's model; None where it cannot be read, which is a problem from now on."""
        trimmed = {**raw, "metadata": _trimmed(raw["metadata"])}
        try:
            resource = parse(trimmed, strict=False, extensions=self._extensions)
        except ManifestError as error:
            self.problems[key] = tuple(
                Problem(each.message, key=key, field=field_name(each.path)) for each in error.errors
            )
            return None
        except Exception:
            # The API server lets through what nobody has thought of, and one object must not stop all others.
            logger.exception("%s cannot be read", key)
            self.problems[key] = (Problem("cannot be read: the log says why", key=key),)
            return None
        self.problems.pop(key, None)
        return resource

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self.problems.pop(key, None)


class Objects:
    """All objects of which routes are made, as models. One that cannot be read goes on as it was when it could."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._held: dict[Key, Resource] = {}
        # What was there when somebody asked last, of all that may be different by now.
        self._before: dict[Key, Resource | None] = {}

    def get(self, key: Key) -> Resource | None:
        """What is held of ``key``."""
        return self._held.get(key)

    def put(self, key: Key, raw: Mapping[str, Any]) -> bool:
        """Take what the API server has now; whether there may be something to tell of it."""
        held = self._held.get(key)
        metadata = raw["metadata"]
        known = key in self._reading.problems
        if held is not None and not known and _is_same(held.metadata, metadata):
            return False
        resource = self._reading.read(key, raw)
        if resource is None and held is not None and held.metadata.uid != metadata.get("uid", ""):
            self._set(key, None)  # what it was is another object's past
        elif resource is not None and resource != held:
            self._set(key, resource)
        elif resource is not None:
            return known
        return True

    def remove(self, key: Key) -> None:
        """The object is gone."""
        self._reading.forget(key)
        self._set(key, None)

    def take(self) -> tuple[list[Resource], list[Key]]:
        """What is new or different since the last call, and what is gone."""
        upserts: list[Resource] = []
        deletes: list[Key] = []
        before, self._before = self._before, {}
        for key, old in before.items():
            new = self._held.get(key)
            if new is None and old is not None:
                deletes.append(key)
            elif new is not None and new is not old and new != old:
                upserts.append(new)
        return upserts, deletes

    def _set(self, key: Key, resource: Resource | None) -> None:
        self._before.setdefault(key, self._held.get(key))
        if resource is None:
            self._held.pop(key, None)
        else:
            self._held[key] = resource


def _is_same(known: ObjectMeta, metadata: Mapping[str, Any]) -> bool:
    """Whether an object is as it was but for its status. Where an object has a generation, each change of its spec is
    another one."""
    generation = metadata.get("generation", 0)
    return (
        generation > 0
        and generation == known.generation
        and metadata.get("uid", "") == known.uid
        and (metadata.get("labels") or {}) == known.labels
        and _annotations(metadata) == known.annotations
        and bool(metadata.get("deletionTimestamp")) == (known.deletion_timestamp is not None)
    )


def _annotations(metadata: Mapping[str, Any]) -> Mapping[str, str]:
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    if _LAST_APPLIED not in annotations:
        return annotations
    return {name: value for name, value in annotations.items() if name != _LAST_APPLIED}


def _trimmed(metadata: Mapping[str, Any]) -> dict[str, Any]:
    trimmed = {name: metadata[name] for name in _METADATA if name in metadata}
    if annotations := _annotations(metadata):
        trimmed["annotations"] = annotations
    return trimmed


def data_parts(raw: dict[str, Any]) -> dict[str, Any]:
    """What is read of a Secret or ConfigMap: there may be a megabyte of anything beside it."""
    data = raw.get("data")
    if not isinstance(data, dict):
        return raw
    return {**raw, "data": {name: data[name] for name in _DATA if name in data}}


def slice_parts(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What is read of an EndpointSlice: where its endpoints run, and as what, takes more memory than all else."""
    endpoints = [
        {name: endpoint[name] for name in ("addresses", "conditions") if name in endpoint}
        for endpoint in raw.get("endpoints") or ()
    ]
    return {**raw, "apiVersion": SLICES.api_version, "kind": SLICES.name, "endpoints": endpoints}
