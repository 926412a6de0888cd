"""What the cases are checked with finds what is wrong."""

import json
from typing import Any

import pytest

from tests.conformance.asking import Answer, bounds, check_answer, check_copies, check_location
from tests.conformance.case import Location, Row
from tests.conformance.echo import Echo, Echoes
from tests.conformance.statusing import check_status

REPORT: dict[str, Any] = {
    "backend": "red",
    "method": "GET",
    "path": "/a?b",
    "host": "any.example",
    "fields": [["x-one", "1"], ["x-many", "1"], ["x-many", "2"]],
}
JSON = {"content-type": "application/json"}
RIGHT: dict[str, Any] = {"path": "/a?b", "backend": "red"}


def answer(status: int = 200, fields: dict[str, str] | None = None, **report: Any) -> Answer:
    return Answer(status, JSON | (fields or {}), json.dumps(REPORT | report).encode())


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"seen": {"fields": {"X-Many": "1, 2"}, "absent": ["X-Other"]}},
        {"fields": {"X-Answer": ["a", "b"]}, "absent": ["X-Other"]},
    ],
)
def test_a_right_answer_passes(row: dict[str, Any]) -> None:
    check_answer(Row(**RIGHT | row), answer(fields={"x-answer": "b"}))


@pytest.mark.parametrize(
    ("row", "got"),
    [
        ({"status": 404}, answer()),
        ({}, answer(503)),
        ({}, answer(backend="green")),
        ({}, answer(path="/a")),
        ({}, answer(method="POST")),
        ({}, answer(host="other.example")),
        ({"seen": {"path": "/c"}}, answer()),
        ({"seen": {"host": "c.example"}}, answer()),
        ({"seen": {"fields": {"X-Many": "1"}}}, answer()),
        ({"seen": {"fields": {"X-Other": "1"}}}, answer()),
        ({"seen": {"absent": ["X-One"]}}, answer()),
        ({"seen": {"serverName": "a.example"}}, answer(serverName="b.example")),
        ({"fields": {"X-Answer": "a"}}, answer()),
        ({"fields": {"X-Answer": ["a", "b"]}}, answer(fields={"x-answer": "a,b"})),
        ({"absent": ["X-Answer"]}, answer(fields={"x-answer": "a"})),
        ({"marked": "X-One"}, answer()),
        # A gateway's own answer that a backend gave.
        ({"backend": "", "status": 500}, answer(500)),
    ],
)
def test_a_wrong_answer_is_found(row: dict[str, Any], got: Answer) -> None:
    with pytest.raises(AssertionError):
        check_answer(Row(**RIGHT | row), got)


@pytest.mark.parametrize("text", ["https://a.example/b", "https://a.example:443/b"])
def test_a_location_may_name_the_schemes_own_port(text: str) -> None:
    check_location(Location(scheme="https", host="a.example", path="/b"), text)


@pytest.mark.parametrize(
    "text", ["http://a.example/b", "https://b.example/b", "https://a.example/", "https://a.example:80/b", "/b"]
)
def test_a_wrong_location_is_found(text: str) -> None:
    with pytest.raises(AssertionError):
        check_location(Location(scheme="https", host="a.example", path="/b"), text)


def test_what_chance_leaves_open_is_narrow() -> None:
    assert bounds(500, 100) == (500, 500)
    low, high = bounds(500, 20)
    assert 45 < low < 100 < high < 165


def test_too_many_copies_are_found() -> None:
    echo = Echo("green", targets=["/a"] * 3)
    with pytest.raises(AssertionError):
        check_copies(Echoes({"green": echo}, {}), "green", "/a", 2, 100)


STATUS: dict[str, Any] = {
    "attachedListenerSets": 1,
    "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted"}],
    "listeners": [{"name": "http", "attachedRoutes": 1, "supportedKinds": [{"kind": "HTTPRoute"}], "conditions": []}],
    "parents": [{"parentRef": {"name": "plain"}, "conditions": []}],
}


def test_a_right_status_passes() -> None:
    listeners = {"http": {"attachedRoutes": 1, "supportedKinds": ["HTTPRoute"], "Accepted": "absent"}}
    right = {"Accepted": True, "attachedListenerSets": 1, "listeners": listeners, "parents": {"plain": {}}}
    check_status(STATUS, right, "Gateway/plain")


@pytest.mark.parametrize(
    "expected",
    [
        {"Accepted": False},
        {"Accepted": "True Other"},
        {"Accepted": "absent"},
        {"Programmed": True},
        {"attachedListenerSets": 2},
        {"listeners": {}},
        {"listeners": {"http": {"attachedRoutes": 0}}},
        {"listeners": {"http": {"supportedKinds": []}}},
        {"listeners": {"http": {"Accepted": True}}},
        {"parents": {"other": {}}},
        {"parents": {"plain/http": {}}},
        {"parents": {"plain": {}, "other": {}}},
    ],
)
def test_a_wrong_status_is_found(expected: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        check_status(STATUS, expected, "Gateway/plain")
