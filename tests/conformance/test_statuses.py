"""The conditions and counts that the official conformance tests look at, of the same manifests."""

import pytest

from tests.conformance.authority import Authority
from tests.conformance.case import CASES, Case
from tests.conformance.echo import NAMES
from tests.conformance.situation import Ports, Situation
from tests.conformance.statusing import check_statuses

BACKENDS = dict.fromkeys((*NAMES, "h2c", "vault", "chat", "closed"), 3000)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.test) for case in CASES])
def test_status_is_what_the_official_suite_asks(case: Case, authorities: dict[str, Authority]) -> None:
    situation = Situation(case, BACKENDS, Ports(), authorities)
    check_statuses(situation, case.status)
    for change in case.changes:
        situation.apply(change)
        check_statuses(situation, change.status)
