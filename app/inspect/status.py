"""``moongate status``: the status of each object in the manifests, as documents that could be applied."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from app.inspect.loaded import Loaded
from app.providers.documents import json_documents, yaml_documents
from app.providers.folders import read_file, scan
from app.providers.yamltext import UnreadableError
from app.status.merge import Ownership, merge
from app.status.patches import statuses, v1alpha1_gateways
from routes.resources.meta import Key
from routes.resources.scheme import SUPPORTED

Document = dict[str, Any]


def documents(loaded: Loaded, stored: dict[Key, Document], controller_name: str, now: datetime) -> Iterator[Document]:
    """Identity and status of each object that is ours, or was: of routes and policies our entries go then.

    ``stored`` are the statuses that stand in the manifests: what others wrote in them stays, and a condition that is
    as it was keeps its ``lastTransitionTime``, which else is ``now``.
    """
    found = statuses(loaded.graph, controller_name)
    gateways = v1alpha1_gateways(loaded.graph)
    owned = {key: Ownership.of(key, controller_name, gateways) for key in found.keys() | stored.keys()}
    for key, present in stored.items():
        for field, ref, _ in owned[key].shared if key not in found else ():
            if any(owned[key].has(entry, ref) for entry in present.get(field) or ()):
                found[key] = {field: []}
    for key, status in found.items():
        source = loaded.resources.get(key)
        if source is None:
            continue  # we made it ourselves; there is nothing to apply a status to
        present = stored.get(key, {})
        metadata = {"name": key.name} | ({"namespace": key.namespace} if key.namespace else {})
        merged = merge(present, status, owned[key], now)
        yield {
            "apiVersion": source.api_version,
            "kind": key.kind,
            "metadata": metadata,
            "status": merged if merged is not None else present,
        }


def stored_statuses(paths: Sequence[Path]) -> dict[Key, Document]:
    """The statuses in the files of ``paths``, by object; of files that can be read, as far as they can be. Blocks."""
    found: dict[Key, Document] = {}
    for path in sorted(scan(paths).files):
        try:
            text = read_file(path).decode("utf-8-sig")
            for document in (json_documents if path.endswith(".json") else yaml_documents)(text):
                for value in _objects(document.value):
                    if (key := _key(value)) is not None and isinstance(value.get("status"), dict):
                        found.setdefault(key, value["status"])
        except (OSError, UnicodeDecodeError, UnreadableError):
            continue  # the provider has said so
    return found


def _objects(value: Any) -> Iterator[Document]:
    if isinstance(value, dict):
        items = value.get("items")
        if isinstance(items, list):
            for item in items:
                yield from _objects(item)
        else:
            yield value


def _key(value: Document) -> Key | None:
    version, kind, metadata = value.get("apiVersion"), value.get("kind"), value.get("metadata")
    if not (isinstance(version, str) and isinstance(kind, str) and isinstance(metadata, dict)):
        return None
    model = SUPPORTED.get((version, kind))
    name, namespace = metadata.get("name"), metadata.get("namespace") or "default"
    if model is None or not isinstance(name, str) or not isinstance(namespace, str):
        return None
    return Key(version.rpartition("/")[0], kind, namespace if model.namespaced else "", name)
