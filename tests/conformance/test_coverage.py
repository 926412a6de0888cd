"""Every official test that asks something of an HTTP or HTTPS listener has its case."""

from pathlib import Path

import pytest
import yaml

from tests.conformance.case import CASES, Case

OFFICIAL = yaml.safe_load((Path(__file__).parent / "official.yaml").read_text())


def test_every_official_test_that_sends_requests_has_one_case() -> None:
    assert sorted(case.test for case in CASES) == sorted(OFFICIAL["asking"] + OFFICIAL["status alone"])


def test_what_comes_later_is_not_said_to_be_there() -> None:
    assert not {case.test for case in CASES} & set(OFFICIAL["later"])


@pytest.mark.parametrize("case", [pytest.param(case, id=case.test) for case in CASES])
def test_a_case_asks_something_and_expects_a_status(case: Case) -> None:
    assert case.requests
    assert case.status


def test_there_are_more_than_400_requests() -> None:
    assert sum(case.rows for case in CASES) > 400
