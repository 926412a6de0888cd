"""Holds the status that a case's manifests come to against what is right."""

from typing import Any

import yaml

from app.providers.manifests import read_manifests
from app.settings import Settings
from app.status.patches import statuses
from routes.graph.build import build_graph
from routes.resources.meta import Key
from routes.snapshot import Snapshot
from tests.conformance.case import Statuses
from tests.conformance.situation import Situation

Status = dict[str, Any]


def statuses_of(situation: Situation) -> dict[Key, Status]:
    """``status`` by object. Raises AssertionError where an object is not what the API allows."""
    read = read_manifests(yaml.safe_dump_all(situation.manifests()), f"{situation.case.name}.yaml")
    assert not read.problems, read.problems
    options = Settings(manifests=()).options()
    graph = build_graph(Snapshot(definition.resource for definition in read.objects), options)
    return statuses(graph, options.controller_name)


def check_statuses(situation: Situation, right: Statuses) -> None:
    """``right`` has for each object its conditions as ``Type: True``, ``Type: False Reason`` or ``Type: absent``, and

    - for Gateways and ListenerSets ``listeners`` by name, with conditions, ``attachedRoutes`` and ``supportedKinds``;
    - for routes ``parents``, for policies ``ancestors``, by name or ``name/section``, with conditions;
    - any other field as it must be.
    """
    found = statuses_of(situation)
    for title, expected in right.items():
        kind = title.partition("/")[0]
        place = situation.place(title)
        status = next((each for key, each in found.items() if key.kind == kind and key.qualified_name == place), None)
        assert status is not None, f"{title} has no status"
        check_status(status, expected, title)
    for key, status in found.items():
        for condition in all_conditions(status):
            title = next((each for each in situation.generations if is_of(each, key, situation)), "")
            if title:
                assert condition["observedGeneration"] == situation.generations[title], (title, condition)


def is_of(title: str, key: Key, situation: Situation) -> bool:
    return title.partition("/")[0] == key.kind and situation.place(title) == key.qualified_name


def all_conditions(status: Status) -> list[Status]:
    """Those of the object, of its listeners, parents and ancestors."""
    lists = [status, *status.get("listeners", ()), *status.get("parents", ()), *status.get("ancestors", ())]
    return [condition for each in lists for condition in each.get("conditions", ())]


def check_status(status: Status, expected: Status, what: str) -> None:
    """One object's."""
    for name, right in expected.items():
        if name == "listeners":
            names = {listener["name"]: listener for listener in status["listeners"]}
            assert set(names) == set(right), what
            for listener, conditions in right.items():
                check_listener(names[listener], conditions, f"{what}, listener {listener}")
        elif name in ("parents", "ancestors"):
            refs = status[name]
            assert len(refs) == len(right), f"{what}: {refs}"
            for parent, conditions in right.items():
                check_conditions(of_parent(refs, name, parent), conditions, f"{what}, {parent}")
        elif name[0].islower():
            assert status.get(name) == right, f"{what}: {name} is {status.get(name)}"
        else:
            check_conditions(status, {name: right}, what)


def of_parent(refs: list[Status], field: str, parent: str) -> Status:
    """The entry for ``name`` or ``name/section``."""
    name, _, section = parent.partition("/")
    ref = "parentRef" if field == "parents" else "ancestorRef"
    fitting = [each for each in refs if each[ref]["name"] == name and section in ("", each[ref].get("sectionName", ""))]
    assert len(fitting) == 1, f"{parent}: {refs}"
    return fitting[0]


def check_listener(status: Status, expected: Status, what: str) -> None:
    """One listener's; of the kinds those that are named must be supported, and none if none is."""
    rest = dict(expected)
    if "attachedRoutes" in rest:
        assert status["attachedRoutes"] == rest.pop("attachedRoutes"), what
    if "supportedKinds" in rest:
        kinds = {kind["kind"] for kind in status["supportedKinds"]}
        named = set(rest.pop("supportedKinds"))
        assert kinds >= named if named else not kinds, f"{what}: {kinds}"
    check_conditions(status, rest, what)


def check_conditions(status: Status, expected: Status, what: str) -> None:
    """``True`` or ``False``, with a reason where one is named, or ``absent``."""
    found = {condition["type"]: condition for condition in status["conditions"]}
    for type_, right in expected.items():
        if right == "absent":
            assert type_ not in found, f"{what}: {found[type_]}"
            continue
        value, _, reason = str(right).partition(" ")
        assert type_ in found, f"{what}: no {type_} in {list(found)}"
        condition = found[type_]
        assert condition["status"] == value, f"{what}: {condition}"
        assert not reason or condition["reason"] == reason, f"{what}: {condition}"
