"""What is written: our status laid over the stored one, in which others have their parts.

Of an object's status these are ours: conditions of our types, listeners, and those ``parents`` and ``ancestors`` that
bear our controller's name. All else stays as it is, in its order.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.status import v1alpha1
from routes.graph.conditions import TYPES
from routes.resources.meta import GATEWAY_GROUP, V1ALPHA1_GROUP, Key

Status = dict[str, Any]

#: How many conditions the API takes in one place; no condition of others is given up for one of ours.
_MOST_CONDITIONS = 8
#: Fields that go where they have no value any more.
_OURS = ("addresses", "listeners", "attachedListenerSets", "supportedFeatures")
#: Numbers that change with other objects than their own.
_COUNTS = ("attachedRoutes", "attachedListenerSets")


@dataclass(frozen=True, slots=True)
class Ownership:
    """What of a status is ours, by the version of the API that it is of.

    ``listener`` is the field that listeners are told apart by. ``shared`` are lists with entries of several
    controllers: the field that says what an entry is about, and how many entries the API takes. They are ours where
    they bear ``controller_name``. v1alpha1's bear none: ours are those for ``gateways``, by namespace and name.
    """

    controller_name: str
    types: Collection[str] = TYPES
    listener: str = "name"
    shared: tuple[tuple[str, str, int], ...] = (("parents", "parentRef", 32), ("ancestors", "ancestorRef", 16))
    gateways: Collection[tuple[str, str]] | None = None

    @classmethod
    def of(cls, key: Key, controller_name: str, gateways: Collection[tuple[str, str]]) -> "Ownership":
        """What of the status of ``key`` is ours. ``gateways`` are those of v1alpha1 that are, or were."""
        if key.group != V1ALPHA1_GROUP:
            return cls(controller_name)
        shared = (("gateways", "gatewayRef", v1alpha1.MAX_GATEWAYS),)
        return cls(controller_name, v1alpha1.TYPES, "port", shared, gateways)

    def has(self, entry: Mapping[str, Any], ref: str) -> bool:
        """Whether an entry of a shared list is ours."""
        if self.gateways is None:
            return entry.get("controllerName") == self.controller_name
        gateway = entry.get(ref) or {}
        return (gateway.get("namespace"), gateway.get("name")) in self.gateways


def merge(present: Mapping[str, Any], ours: Mapping[str, Any], owned: Ownership, now: datetime) -> Status | None:
    """The status to write, None where there is nothing to write.

    ``present`` is the status as it is stored, ``ours`` as :func:`app.status.patches.status` gives it. For a route or
    policy that is ours no more, ``{"parents": []}`` or ``{"ancestors": []}`` takes our entries out.

    None too where something in ``present`` is of a later generation than ``ours``: then we are behind. Where ``ours``
    has no conditions, this has to be asked before (:func:`observed`).
    ``lastTransitionTime`` (RFC 3339, whole seconds) is ``now`` where a condition's status is new, and else as it was.
    """
    known = [_generation(condition) for condition in _conditions(ours, owned)]
    if known and observed(present, owned) > max(known):
        return None
    written = _time(now)
    lists = {field: (ref, room) for field, ref, room in owned.shared}
    merged = {field: value for field, value in present.items() if field not in _OURS or field in ours}
    for field, value in ours.items():
        if field == "conditions":
            merged[field] = _merged_conditions(present.get(field) or (), value, owned, written)
        elif field == "listeners":
            merged[field] = _merged_listeners(present.get(field) or (), value, owned, written)
        elif field in lists:
            entries = _merged_entries(present.get(field) or (), value, owned, *lists[field], written)
            if entries or field in present:
                merged[field] = entries
        else:
            merged[field] = value
    return None if merged == present else merged


def observed(present: Mapping[str, Any], owned: Ownership) -> int:
    """The latest generation that one of our conditions in a status was found at."""
    return max(map(_generation, _conditions(present, owned)), default=0)


def counts_alone(present: Mapping[str, Any], merged: Mapping[str, Any]) -> bool:
    """Whether two statuses of a Gateway or ListenerSet differ in nothing but how much is attached."""
    return _uncounted(present) == _uncounted(merged)


def _uncounted(status: Mapping[str, Any]) -> Status:
    bare = {field: value for field, value in status.items() if field not in _COUNTS}
    listeners = status.get("listeners") or ()
    return bare | {"listeners": [{f: v for f, v in each.items() if f not in _COUNTS} for each in listeners]}


def _conditions(status: Mapping[str, Any], owned: Ownership) -> Iterator[Mapping[str, Any]]:
    """Our conditions, wherever they stand in ``status``."""
    places = [status, *(status.get("listeners") or ())]
    for field, ref, _ in owned.shared:
        places += [entry for entry in status.get(field) or () if owned.has(entry, ref)]
    for place in places:
        yield from (condition for condition in place.get("conditions") or () if condition.get("type") in owned.types)


def _generation(condition: Mapping[str, Any]) -> int:
    return int(condition.get("observedGeneration") or 0)


def _merged_conditions(
    present: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]], owned: Ownership, now: str
) -> list[Mapping[str, Any]]:
    """Others' conditions stay in their places; ours are renewed in theirs, new ones come last, dropped ones go."""
    new = {condition["type"]: condition for condition in ours}
    merged: list[Mapping[str, Any]] = []
    for condition in present:
        type_ = condition.get("type")
        if type_ in new:
            merged.append(_renewed(condition, new.pop(type_), now))
        elif type_ not in owned.types:
            merged.append(condition)
    room = max(0, _MOST_CONDITIONS - len(merged))
    return merged + [_renewed({}, condition, now) for condition in new.values()][:room]


def _renewed(present: Mapping[str, Any], condition: Mapping[str, Any], now: str) -> Mapping[str, Any]:
    same = present.get("status") == condition["status"]
    return {**condition, "lastTransitionTime": present.get("lastTransitionTime", now) if same else now}


def _merged_listeners(
    present: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]], owned: Ownership, now: str
) -> list[Mapping[str, Any]]:
    """Ours, with others' conditions on them. A listener that is gone takes those along."""
    name = owned.listener
    there = {listener.get(name): listener for listener in present}
    return [_with_conditions(there.get(listener[name], {}), listener, owned, now) for listener in ours]


def _merged_entries(
    present: Sequence[Mapping[str, Any]],
    ours: Sequence[Mapping[str, Any]],
    owned: Ownership,
    ref: str,
    room: int,
    now: str,
) -> list[Mapping[str, Any]]:
    """Others' entries as they are; ours renewed in their places, new ones last, as far as the API has room."""
    new = {_identity(entry[ref]): entry for entry in ours}
    merged: list[Mapping[str, Any]] = []
    for entry in present:
        if not owned.has(entry, ref):
            merged.append(entry)
            continue
        renewed = new.pop(_identity(entry.get(ref) or {}), None)
        if renewed is not None:
            merged.append(_with_conditions(entry, renewed, owned, now))
    added = [_with_conditions({}, entry, owned, now) for entry in new.values()]
    return merged + added[: max(0, room - len(merged))]


def _with_conditions(
    present: Mapping[str, Any], ours: Mapping[str, Any], owned: Ownership, now: str
) -> Mapping[str, Any]:
    return {**ours, "conditions": _merged_conditions(present.get("conditions") or (), ours["conditions"], owned, now)}


def _identity(ref: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """A parentRef or ancestorRef for comparing: written with its defaults or without them it is the same."""
    return frozenset(({"group": GATEWAY_GROUP, "kind": "Gateway"} | dict(ref)).items())


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
