"""The request tables of the official conformance tests, over real sockets."""

import pytest

from tests.conformance.case import CASES, Case, Row
from tests.conformance.conftest import World

ROWS = [
    pytest.param(case, row, id=f"{case.test}-{index} {row.title}")
    for case in CASES
    for index, row in enumerate(case.requests)
]
OVER_HTTP2 = [
    pytest.param(case, row.model_copy(update={"http": "2"}), id=f"{case.test}-{index} {row.title}")
    for case in CASES
    for index, row in enumerate(case.requests)
    if row.http == "1.1" and not row.message and not row.refused
]
CHANGING = [pytest.param(case, id=case.test) for case in CASES if any(change.requests for change in case.changes)]


@pytest.mark.parametrize(("case", "row"), ROWS)
def test_a_request_is_answered_as_the_official_suite_asks(world: World, case: Case, row: Row) -> None:
    world.check(case, row)


@pytest.mark.parametrize(("case", "row"), OVER_HTTP2)
def test_and_the_same_over_http_2(world: World, case: Case, row: Row) -> None:
    world.check(case, row)


@pytest.mark.parametrize("case", CHANGING)
def test_what_changes_while_requests_come_is_served(world: World, case: Case) -> None:
    for row in case.requests:
        world.check(case, row)
    for change in case.changes:
        world.settle(case, change)
        for row in change.requests:
            world.check(case, row)
