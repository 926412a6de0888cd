"""What is written: our status laid over the stored one, in which others have their parts.

Of an object's status these are ours: conditions of our types, listeners, and those ``parents`` and ``ancestors`` that
bear our controller's name. All else stays as it is, in its order.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from routes.graph.conditions import TYPES
from routes.resources.meta import GATEWAY_GROUP

Status = dict[str, Any]

#: Lists of one entry for each of several controllers, and how many the API takes.
_SHARED = {"parents": ("parentRef", 32), "ancestors": ("ancestorRef", 16)}
#: How many conditions the API takes in one place; no condition of others is given up for one of ours.
_MOST_CONDITIONS = 8
#: Fields that go where they have no value any more.
_OURS = ("addresses", "listeners", "attachedListenerSets", "supportedFeatures")


def merge(present: Mapping[str, Any], ours: Mapping[str, Any], controller_name: str, now: datetime) -> Status | None:
    """The status to write, None where there is nothing to write.

    ``present`` is the status as it is stored, ``ours`` as :func:`app.status.patches.statuses` gives it. For a route or
    policy that is ours no more, ``{"parents": []}`` or ``{"ancestors": []}`` takes our entries out.

    None too where something in ``present`` is of a later generation than ``ours``: then we are behind.
    ``lastTransitionTime`` (RFC 3339, whole seconds) is ``now`` where a condition's status is new, and else as it was.
    """
    known = [_generation(condition) for condition in _conditions(ours, controller_name)]
    if known and any(_generation(condition) > max(known) for condition in _conditions(present, controller_name)):
        return None
    written = _time(now)
    merged = {field: value for field, value in present.items() if field not in _OURS or field in ours}
    for field, value in ours.items():
        if field == "conditions":
            merged[field] = _merged_conditions(present.get(field) or (), value, written)
        elif field == "listeners":
            merged[field] = _merged_listeners(present.get(field) or (), value, written)
        elif field in _SHARED:
            merged[field] = _merged_entries(field, present.get(field) or (), value, controller_name, written)
        else:
            merged[field] = value
    return None if merged == present else merged


def _conditions(status: Mapping[str, Any], controller_name: str) -> Iterator[Mapping[str, Any]]:
    """Our conditions, wherever they stand in ``status``."""
    places = [status, *(status.get("listeners") or ())]
    for field in _SHARED:
        places += [entry for entry in status.get(field) or () if entry.get("controllerName") == controller_name]
    for place in places:
        yield from (condition for condition in place.get("conditions") or () if condition.get("type") in TYPES)


def _generation(condition: Mapping[str, Any]) -> int:
    return int(condition.get("observedGeneration") or 0)


def _merged_conditions(
    present: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]], now: str
) -> list[Mapping[str, Any]]:
    """Others' conditions stay in their places; ours are renewed in theirs, new ones come last, dropped ones go."""
    new = {condition["type"]: condition for condition in ours}
    merged: list[Mapping[str, Any]] = []
    for condition in present:
        type_ = condition.get("type")
        if type_ in new:
            merged.append(_renewed(condition, new.pop(type_), now))
        elif type_ not in TYPES:
            merged.append(condition)
    room = max(0, _MOST_CONDITIONS - len(merged))
    return merged + [_renewed({}, condition, now) for condition in new.values()][:room]


def _renewed(present: Mapping[str, Any], condition: Mapping[str, Any], now: str) -> Mapping[str, Any]:
    same = present.get("status") == condition["status"]
    return {**condition, "lastTransitionTime": present.get("lastTransitionTime", now) if same else now}


def _merged_listeners(
    present: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]], now: str
) -> list[Mapping[str, Any]]:
    """Ours, with others' conditions on them. A listener that is gone takes those along."""
    there = {listener.get("name"): listener for listener in present}
    return [_with_conditions(there.get(listener["name"], {}), listener, now) for listener in ours]


def _merged_entries(
    field: str,
    present: Sequence[Mapping[str, Any]],
    ours: Sequence[Mapping[str, Any]],
    controller_name: str,
    now: str,
) -> list[Mapping[str, Any]]:
    """Others' entries as they are; ours renewed in their places, new ones last, as far as the API has room."""
    ref, room = _SHARED[field]
    new = {_identity(entry[ref]): entry for entry in ours}
    merged: list[Mapping[str, Any]] = []
    for entry in present:
        if entry.get("controllerName") != controller_name:
            merged.append(entry)
            continue
        renewed = new.pop(_identity(entry.get(ref) or {}), None)
        if renewed is not None:
            merged.append(_with_conditions(entry, renewed, now))
    return merged + [_with_conditions({}, entry, now) for entry in new.values()][: max(0, room - len(merged))]


def _with_conditions(present: Mapping[str, Any], ours: Mapping[str, Any], now: str) -> Mapping[str, Any]:
    return {**ours, "conditions": _merged_conditions(present.get("conditions") or (), ours["conditions"], now)}


def _identity(ref: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """A parentRef or ancestorRef for comparing: written with its defaults or without them it is the same."""
    return frozenset(({"group": GATEWAY_GROUP, "kind": "Gateway"} | dict(ref)).items())


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
