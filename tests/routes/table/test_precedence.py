"""Which of several fitting matches wins, sentence by sentence of HTTPRouteRule.matches."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from routes.resources.http import HTTPRoute, HTTPRouteMatch, HTTPRouteRule, HTTPRouteSpec
from routes.resources.meta import ObjectMeta
from routes.table.matches import Entry
from routes.table.precedence import Precedence, precedence

NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)


def rank(
    match: dict[str, Any] | None = None,
    *,
    created: datetime | None = NEW_YEAR,
    namespace: str = "default",
    name: str = "a",
    rule: int = 0,
    index: int = 0,
) -> Precedence:
    route = HTTPRoute(
        metadata=ObjectMeta(name=name, namespace=namespace, creation_timestamp=created),
        spec=HTTPRouteSpec(rules=(HTTPRouteRule(matches=(HTTPRouteMatch.model_validate(match or {}),)),)),
    )
    return precedence(replace(Entry.of("handler", route, 0, 0), rule=rule, match=index))


def some(field: str, number: int) -> dict[str, Any]:
    return {field: [{"name": f"n{index}", "value": "v"} for index in range(number)]}


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        (rank({"method": "GET"}, rule=9), rank(some("headers", 16) | some("queryParams", 16))),
        (rank(some("headers", 2), rule=9), rank(some("headers", 1) | some("queryParams", 16))),
        (rank(some("headers", 1) | {"method": "PUT"}, rule=9), rank({"method": "GET"})),
        (rank(some("queryParams", 2), rule=9), rank(some("queryParams", 1))),
        (rank(some("queryParams", 1), created=None, name="z"), rank()),
        (rank(name="z", rule=9), rank(created=NEW_YEAR + timedelta(seconds=1))),
        (rank(name="z", rule=9), rank(created=None)),
        (rank(namespace="a", name="z", rule=9), rank(namespace="b", name="a")),
        (rank(name="a", rule=9), rank(name="b")),
        (rank(rule=0, index=9), rank(rule=1)),
        (rank(index=0), rank(index=1)),
    ],
    ids=[
        "a method match before any number of headers",
        "more headers before any number of query parameters",
        "of two method matches the one with more headers",
        "more query parameters",
        "what a match asks for before the age of its route",
        "the older route before its name",
        "a known age before none",
        "the namespace before the name",
        "the name in alphabetical order",
        "the first rule in list order",
        "the first match in list order",
    ],
)
def test_the_smaller_rank_wins(winner: Precedence, loser: Precedence) -> None:
    """Method, headers, query parameters; then oldest, alphabetical namespace/name, first rule."""
    assert winner < loser


def test_a_header_name_given_twice_is_one_header() -> None:
    """What is ignored doesn't count."""
    twice = {"headers": [{"name": "A", "value": "1"}, {"name": "a", "value": "2"}]}
    assert rank(twice) == rank(some("headers", 1))


def test_namespace_and_name_are_compared_as_they_are_written_together() -> None:
    """Alphabetical order by {namespace}/{name}: "-" comes before "/"."""
    assert rank(namespace="a-b", name="x") < rank(namespace="a", name="x")


def test_an_age_is_a_moment_whatever_its_zone() -> None:
    """01:00+02:00 is before 00:00Z."""
    east = datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert rank(created=east, name="z") < rank(created=NEW_YEAR)


def test_an_age_without_zone_is_utc_and_can_be_compared() -> None:
    """The API server always writes a zone, a person may forget it."""
    assert rank(created=datetime(2023, 12, 31), name="z") < rank() < rank(created=datetime(2024, 1, 2))
