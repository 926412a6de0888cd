"""Patches, as the API server of tests applies them: JSON merge patch and server-side apply."""

import copy
from typing import Any

#: One step into an object: a field, or the keys of an entry in a list that is a map.
Step = str | tuple[tuple[str, Any], ...]
Path = tuple[Step, ...]
#: What each field manager has applied: leaves by their path.
Owners = dict[str, dict[Path, Any]]

#: Lists whose entries are told apart by keys; all others are atomic. So are ``parents`` and ``ancestors`` of the
#: Gateway API: whoever applies them replaces everybody's entries.
_KEYS: dict[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "listeners": ("name",),
    "supportedFeatures": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("port", "protocol"),
}


class Conflict(Exception):
    """Another manager owns a field of what is applied, with another value."""

    def __init__(self, manager: str, path: Path) -> None:
        super().__init__(f'Apply failed with 1 conflict: conflict with "{manager}": {_spelled(path)}')


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def applied(
    stored: dict[str, Any], wanted: dict[str, Any], manager: str, owners: Owners, *, force: bool, mapped_ports: bool
) -> Any:
    """``stored`` after ``manager`` has applied ``wanted``; keeps ``owners``.

    ``mapped_ports``: a Service's ports have keys, an EndpointSlice's are atomic.

    What it applied before and no longer does goes, unless somebody else applies it too. Left out: who wrote with
    other requests than apply owns nothing here, and sets of words are atomic.
    """
    leaves = dict(_leaves(wanted, (), {name: keys for name, keys in _KEYS.items() if mapped_ports or name != "ports"}))
    for other, owned in owners.items():
        for path, value in leaves.items():
            if other != manager and path in owned and owned[path] != value and not force:
                raise Conflict(other, path)
    result = copy.deepcopy(stored)
    others = [path for other, owned in owners.items() if other != manager for path in owned]
    for path in owners.get(manager, {}).keys() - leaves.keys():
        if _is_key(path):
            path = path[:-1]  # nobody owns the entry any more, and what the server has added to it goes along
        if not any(other[: len(path)] == path for other in (*others, *leaves)):
            _remove(result, path)
    for path, value in leaves.items():
        _set(result, path, value)
        for other, owned in owners.items():
            if other != manager and owned.get(path, value) != value:
                del owned[path]
    owners[manager] = leaves
    return result


def disowned(stored: dict[str, Any], owners: Owners) -> None:
    """After another kind of write: whoever had applied a field that now differs no longer owns it."""
    for owned in owners.values():
        for path in [path for path, value in owned.items() if _get(stored, path) != value]:
            del owned[path]


def _leaves(value: Any, path: Path, listed: dict[str, tuple[str, ...]]) -> list[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for name, each in value.items() for leaf in _leaves(each, (*path, name), listed)]
    keys = listed.get(path[-1]) if path and isinstance(path[-1], str) else None
    if isinstance(value, list) and value and keys:
        found = []
        for each in value:
            step = tuple((key, each.get(key, "TCP" if key == "protocol" else None)) for key in keys)
            found += _leaves({**each, **dict(step)}, (*path, step), listed)
        return found
    return [(path, copy.deepcopy(value))]


def _entry(entries: Any, step: tuple[tuple[str, Any], ...]) -> Any:
    if not isinstance(entries, list):
        return None
    return next((each for each in entries if all(each.get(key) == value for key, value in step)), None)


def _step(value: Any, step: Step) -> Any:
    if isinstance(step, tuple):
        return _entry(value, step)
    return value.get(step) if isinstance(value, dict) else None


def _get(value: Any, path: Path) -> Any:
    for step in path:
        value = _step(value, step)
    return value


def _set(value: Any, path: Path, leaf: Any) -> None:
    for step, following in zip(path, (*path[1:], None), strict=True):
        if isinstance(step, tuple):
            entry = _entry(value, step)
            if entry is None:
                entry = dict(step)
                value.append(entry)
            value = entry
        elif following is None:
            value[step] = copy.deepcopy(leaf)
        else:
            empty: Any = [] if isinstance(following, tuple) else {}
            if not isinstance(value.get(step), type(empty)):
                value[step] = empty
            value = value[step]


def _is_key(path: Path) -> bool:
    return len(path) > 1 and isinstance(path[-2], tuple) and any(path[-1] == key for key, _ in path[-2])


def _remove(value: Any, path: Path) -> None:
    """Takes the leaf or the entry away, and what is empty without it."""
    parents = [value]
    for step in path[:-1]:
        value = _step(value, step)
        if value is None:
            return
        parents.append(value)
    for parent, step in reversed(list(zip(parents, path, strict=True))):
        if isinstance(step, tuple):
            if step is path[-1] and (entry := _entry(parent, step)) is not None:
                parent.remove(entry)
        elif step is path[-1]:
            parent.pop(step, None)
        elif parent.get(step) in ({}, []):
            del parent[step]


def _spelled(path: Path) -> str:
    return "".join(
        f".{step}" if isinstance(step, str) else "[" + ",".join(f"{key}={value!r}" for key, value in step) + "]"
        for step in path
    )
