"""What is written of a status, and what of it stays others'."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.status.merge import Ownership, merge
from routes.graph import conditions as constructors
from routes.graph.conditions import TYPES
from routes.graph.nodes import Condition

OURS = "moongate.dev/gateway"
THEIRS = "example.com/other"
BEFORE = "2024-01-01T00:00:00Z"
NOW = datetime(2024, 5, 1, 12, 30, 15, tzinfo=UTC)
WRITTEN = "2024-05-01T12:30:15Z"


def condition(type_: str, status: str = "True", generation: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": type_,
        "message": "",
        "observedGeneration": generation,
        **fields,
    }


def stored(type_: str, status: str = "True", generation: int = 1, **fields: Any) -> dict[str, Any]:
    return condition(type_, status, generation, lastTransitionTime=BEFORE, **fields)


def parent(name: str, controller: str = OURS, *conditions: dict[str, Any], **ref: Any) -> dict[str, Any]:
    return {"controllerName": controller, "parentRef": {"name": name, **ref}, "conditions": list(conditions)}


def merged(present: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any] | None:
    kept = deepcopy(present), deepcopy(ours)
    found = merge(present, ours, Ownership(OURS), NOW)
    assert (present, ours) == kept, "what is given is never changed"
    return found


def test_a_first_status_is_ours_with_the_time() -> None:
    assert merged({}, {"conditions": [condition("Accepted")]}) == {
        "conditions": [condition("Accepted", lastTransitionTime=WRITTEN)]
    }


def test_the_time_is_in_utc_and_whole_seconds() -> None:
    moment = datetime(2024, 5, 1, 14, 30, 15, 999, tzinfo=timezone(timedelta(hours=2)))
    found = merge({}, {"conditions": [condition("Accepted")]}, Ownership(OURS), moment)
    assert found == {"conditions": [condition("Accepted", lastTransitionTime=WRITTEN)]}


def test_the_transition_time_stays_where_only_reason_message_or_generation_change() -> None:
    ours = condition("Accepted", generation=2) | {"reason": "ListenersNotValid", "message": "a"}
    assert merged({"conditions": [stored("Accepted")]}, {"conditions": [ours]}) == {
        "conditions": [ours | {"lastTransitionTime": BEFORE}]
    }


def test_the_transition_time_is_new_where_the_status_is() -> None:
    """Also where it was Unknown, which is what the API writes before anybody has looked."""
    for before in ("False", "Unknown"):
        assert merged({"conditions": [stored("Accepted", before)]}, {"conditions": [condition("Accepted")]}) == {
            "conditions": [condition("Accepted", lastTransitionTime=WRITTEN)]
        }


def test_nothing_is_written_where_nothing_is_new() -> None:
    present = {
        "conditions": [stored("example.com/Own"), stored("Accepted")],
        "listeners": [{"name": "a", "attachedRoutes": 1, "conditions": [stored("Accepted")]}],
    }
    ours = {
        "conditions": [condition("Accepted")],
        "listeners": [{"name": "a", "attachedRoutes": 1, "conditions": [condition("Accepted")]}],
    }
    assert merged(present, ours) is None


def test_conditions_of_other_types_stay_as_they_are_and_where_they_are() -> None:
    """On the object, on a listener, and on our own entry for a parent."""
    foreign = {"type": "example.com/Own", "status": "Unknown", "reason": "x", "lastTransitionTime": BEFORE, "more": [1]}
    before, after = [foreign, stored("Accepted")], [condition("Accepted", generation=2)]
    expected = [foreign, stored("Accepted", generation=2)]
    assert merged({"conditions": before}, {"conditions": after}) == {"conditions": expected}
    assert merged(
        {"listeners": [{"name": "a", "conditions": before}]}, {"listeners": [{"name": "a", "conditions": after}]}
    ) == {"listeners": [{"name": "a", "conditions": expected}]}
    assert merged({"parents": [parent("a", OURS, *before)]}, {"parents": [parent("a", OURS, *after)]}) == {
        "parents": [parent("a", OURS, *expected)]
    }


def test_a_condition_of_ours_that_is_over_goes() -> None:
    """Of negative conditions that are never written as False the absence is the news."""
    present = {"conditions": [stored("Accepted"), stored("OverlappingTLSConfig"), stored("PartiallyInvalid")]}
    assert merged(present, {"conditions": [condition("Accepted")]}) == {"conditions": [stored("Accepted")]}


def test_a_listener_that_is_gone_goes_and_a_new_one_comes() -> None:
    present = {"listeners": [{"name": "a", "conditions": [stored("Accepted")]}]}
    ours = {"listeners": [{"name": "b", "conditions": [condition("Accepted")]}]}
    assert merged(present, ours) == {
        "listeners": [{"name": "b", "conditions": [condition("Accepted", lastTransitionTime=WRITTEN)]}]
    }


def test_addresses_that_are_gone_go_and_unknown_fields_stay() -> None:
    present = {"addresses": [{"value": "10.0.0.1"}], "somebodys": 1, "conditions": [stored("Accepted")]}
    assert merged(present, {"conditions": [condition("Accepted")]}) == {
        "somebodys": 1,
        "conditions": [stored("Accepted")],
    }


@pytest.mark.parametrize("field", ["parents", "ancestors"])
def test_entries_of_other_controllers_stay_as_they_are(field: str) -> None:
    ref = {"parents": "parentRef", "ancestors": "ancestorRef"}[field]

    def entry(controller: str, name: str, *conditions: dict[str, Any]) -> dict[str, Any]:
        return {"controllerName": controller, ref: {"name": name}, "conditions": list(conditions)}

    foreign = entry(THEIRS, "a", stored("Accepted", "False", 9)) | {"more": {"b": 1}}
    present = {field: [foreign, entry(OURS, "a", stored("Accepted")), entry(OURS, "gone", stored("Accepted"))]}
    ours = {field: [entry(OURS, "a", condition("Accepted")), entry(OURS, "new", condition("Accepted"))]}
    assert merged(present, ours) == {
        field: [
            foreign,
            entry(OURS, "a", stored("Accepted")),
            entry(OURS, "new", condition("Accepted", lastTransitionTime=WRITTEN)),
        ]
    }
    assert merged(present, {field: []}) == {field: [foreign]}
    assert merged({field: [foreign]}, {field: []}) is None


def test_a_parent_ref_is_the_same_with_its_defaults_written_out() -> None:
    """The API server fills them in."""
    full = {"group": "gateway.networking.k8s.io", "kind": "Gateway"}
    present = {"parents": [parent("a", OURS, stored("Accepted"), **full)]}
    assert merged(present, {"parents": [parent("a", OURS, condition("Accepted", generation=2))]}) == {
        "parents": [parent("a", OURS, stored("Accepted", generation=2))]
    }


def test_parent_refs_that_differ_in_section_port_or_kind_are_different() -> None:
    refs: list[dict[str, Any]] = [{}, {"sectionName": "b"}, {"port": 80}, {"kind": "ListenerSet"}, {"namespace": "c"}]
    ours = {"parents": [parent("a", OURS, condition("Accepted"), **ref) for ref in refs]}
    found = merged({"parents": [parent("a", OURS, stored("Accepted"), port=80)]}, ours)
    assert found is not None
    times = {repr(entry["parentRef"]): entry["conditions"][0]["lastTransitionTime"] for entry in found["parents"]}
    assert [times[repr({"name": "a", **ref})] for ref in refs] == [WRITTEN, WRITTEN, BEFORE, WRITTEN, WRITTEN]


@pytest.mark.parametrize(
    "present",
    [
        {"conditions": [stored("Accepted", generation=3)]},
        {"listeners": [{"name": "a", "conditions": [stored("Accepted", generation=3)]}]},
        {"parents": [parent("a", OURS, stored("Accepted", generation=3))]},
    ],
)
def test_who_knows_an_older_generation_than_the_stored_one_writes_nothing(present: dict[str, Any]) -> None:
    assert merged(present, {"conditions": [condition("Accepted", "False", 2)]}) is None


def test_a_later_generation_in_what_is_not_ours_does_not_hold_us_back() -> None:
    for present in (
        {"conditions": [stored("example.com/Own", generation=9)]},
        {"parents": [parent("a", THEIRS, stored("Accepted", generation=9))]},
    ):
        assert merged(present, {"conditions": [condition("Accepted")]}) is not None


@pytest.mark.parametrize(("field", "ref", "room"), [("parents", "parentRef", 32), ("ancestors", "ancestorRef", 16)])
def test_no_more_entries_than_the_api_takes(field: str, ref: str, room: int) -> None:
    """Others' entries are never pushed out."""
    foreign = [{"controllerName": THEIRS, ref: {"name": f"a{n}"}, "conditions": []} for n in range(room - 1)]
    ours = [{"controllerName": OURS, ref: {"name": name}, "conditions": []} for name in ("b", "c")]
    assert merged({field: foreign}, {field: ours}) == {field: [*foreign, ours[0]]}


def test_every_condition_that_we_write_is_of_a_type_that_is_ours() -> None:
    written = set()
    for name, make in vars(constructors).items():
        if callable(make) and name not in ("Condition", "Iterable"):
            count, *_, code = make.__code__.co_argcount, make.__code__
            arguments: list[Any] = [1, *["x"] * (count - 1)]
            keywords = dict.fromkeys(code.co_varnames[count : count + code.co_kwonlyargcount], True)
            found = make(*arguments, **keywords)
            written |= {each.type for each in ([found] if isinstance(found, Condition) else found)}
    assert written == TYPES


CONDITIONS = st.lists(
    st.builds(condition, st.sampled_from(["Accepted", "Programmed", "Own"]), st.sampled_from(["True", "False"])),
    unique_by=lambda each: str(each["type"]),
)


@given(
    CONDITIONS,
    CONDITIONS.map(lambda found: [one for one in found if one["type"] in TYPES]),
    st.lists(st.sampled_from(["a", "b"]), unique=True),
    st.lists(st.sampled_from(["a", "b"]), unique=True),
)
def test_what_was_written_is_not_written_again(
    before: list[dict[str, Any]], after: list[dict[str, Any]], old: list[str], new: list[str]
) -> None:
    present = {"conditions": before, "parents": [parent(name, THEIRS) for name in old]}
    ours = {"conditions": after, "parents": [parent(name, OURS, condition("Accepted")) for name in new]}
    first = merged(present, ours)
    assert merged(first if first is not None else present, ours) is None
