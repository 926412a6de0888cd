"""Which endpoint of a backend takes a request: its load, its health, and how new it is. The tests turn the clock."""

import asyncio
import gc
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.upstream.balancer import least_loaded
from app.upstream.endpoints import Endpoints
from app.upstream.health import (
    BURST,
    EJECTION,
    FAILURES,
    FIRST_SHARE,
    MAX_EJECTION,
    RECOVERY,
    SLOW_START,
    TRIAL,
    Endpoint,
)
from app.upstream.resolver import Resolver
from app.upstream.transport import UpstreamTransport
from routes.graph.nodes import Address


class Backend:
    """Endpoints with a clock that stands still, and a choice that is the same in every run."""

    def __init__(self, *in_flight: int) -> None:
        self.now = 1000.0
        self.chance = Random(1).random
        pool: Any = None  # the choice does not look at it
        self.endpoints = [
            Endpoint(Address("10.0.0.1", 80 + index), pool, count, clock=lambda: self.now)
            for index, count in enumerate(in_flight)
        ]

    def __getitem__(self, index: int) -> Endpoint:
        return self.endpoints[index]

    def pick(self) -> Endpoint:
        return least_loaded(self.endpoints, self.chance)

    def picks(self, count: int = 1000) -> dict[int, float]:
        """The part of ``count`` requests, each answered before the next, that every endpoint gets."""
        counts = Counter(self.endpoints.index(self.pick()) for _ in range(count))
        return {index: counts[index] / count for index in range(len(self.endpoints))}

    def burst(self, index: int, status: int = 503) -> None:
        for _ in range(BURST):
            self[index].answered(status)


def drawing(*chances: float) -> Callable[[], float]:
    return iter(chances).__next__


# Load


def test_of_two_endpoints_the_less_busy_one_is_taken() -> None:
    assert Backend(3, 1).picks() == {0: 0, 1: 1}


def test_of_two_that_are_as_busy_the_first_that_was_drawn_is_taken() -> None:
    found = Backend(2, 2, 2)
    assert least_loaded(found.endpoints, drawing(0.9, 0.1)) is found[2]


def test_only_two_of_many_endpoints_are_compared() -> None:
    found = Backend(0, 5, 4)
    assert least_loaded(found.endpoints, drawing(0.4, 0.9)) is found[2]


def test_the_only_endpoint_is_taken_without_a_draw() -> None:
    found = Backend(9)
    assert least_loaded(found.endpoints, drawing()) is found[0]


@given(st.integers(2, 9), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_two_different_endpoints_are_drawn(count: int, one: float, other: float) -> None:
    found = Backend(*[1] * count)
    first = least_loaded(found.endpoints, drawing(one, other))
    first.in_flight = 2
    assert least_loaded(found.endpoints, drawing(one, other)) is not first


def test_idle_endpoints_get_equal_shares() -> None:
    assert Backend(0, 0, 0, 0).picks(4000) == pytest.approx({0: 0.25, 1: 0.25, 2: 0.25, 3: 0.25}, abs=0.03)


# Ejection


def test_an_endpoint_that_cannot_be_reached_is_passed_over_at_once() -> None:
    found = Backend(0, 9)
    found[0].unreachable()
    assert found.picks() == {0: 0, 1: 1}


@pytest.mark.parametrize("status", sorted(FAILURES))
def test_a_burst_of_failures_ejects(status: int) -> None:
    found = Backend(0, 9)
    for _ in range(BURST - 1):
        found[0].answered(status)
    assert found.picks() == {0: 1, 1: 0}
    found[0].answered(status)
    assert found.picks() == {0: 0, 1: 1}


def test_broken_connections_and_bad_statuses_are_counted_together() -> None:
    found = Backend(0, 9)
    found[0].failed()
    for _ in range(BURST - 1):
        found[0].answered(500)
    assert found.picks() == {0: 0, 1: 1}


@pytest.mark.parametrize("status", [200, 302, 404, 429, 501, 505])
def test_any_other_answer_starts_the_count_anew(status: int) -> None:
    found = Backend(0, 9)
    for _ in range(10):
        for _ in range(BURST - 1):
            found[0].answered(500)
        found[0].answered(status)
    assert found.picks() == {0: 1, 1: 0}


def test_an_application_that_fails_once_in_ten_requests_stays() -> None:
    found = Backend(0, 9)
    for number in range(1000):
        found[0].answered(500 if number % 10 == 0 else 200)
        assert found[0].settled


def test_only_half_of_a_backends_endpoints_are_passed_over_for_their_answers() -> None:
    found = Backend(0, 0, 0, 0, 0)
    for index in range(4):
        found.burst(index)
        found.now += 0.1
    shares = found.picks()
    assert [index for index, share in shares.items() if not share] == [2, 3]


def test_where_every_endpoint_fails_all_are_used() -> None:
    found = Backend(0, 0)
    for index in range(2):
        found.burst(index)
    assert sum(found.picks().values()) == 1
    for endpoint in found.endpoints:
        endpoint.unreachable()
    found.now += MAX_EJECTION
    for endpoint in found.endpoints:
        endpoint.chosen(found.now).unreachable()
    assert found.picks() == pytest.approx({0: 0.5, 1: 0.5}, abs=0.05)


def test_all_that_cannot_be_reached_are_passed_over_as_long_as_there_is_another() -> None:
    found = Backend(0, 0, 0, 0, 9)
    for index in range(4):
        found[index].unreachable()
    assert found.picks()[4] == 1


def test_one_that_cannot_be_reached_is_passed_over_before_one_that_answers_badly() -> None:
    found = Backend(0, 0)
    found[0].unreachable()
    found.now += 0.1
    found.burst(1)
    assert found.picks() == {0: 0, 1: 1}


@given(st.lists(st.sampled_from(["well", "failing", "unreachable"]), min_size=2, max_size=9), st.randoms())
def test_an_ejected_endpoint_is_taken_only_where_too_few_are_left(states: list[str], random: Any) -> None:
    found = Backend(*[0] * len(states))
    found.chance = random.random
    for index, state in enumerate(states):
        if state == "failing":
            found.burst(index)
        elif state == "unreachable":
            found[index].unreachable()
    taken = {states[found.endpoints.index(found.pick())] for _ in range(50)}
    if set(states) != {"unreachable"}:
        assert "unreachable" not in taken
    if len(states) - states.count("well") <= max(1, len(states) // 2):
        assert taken == {"well"}


# Time, and the way back


def ejection(found: Backend) -> float:
    return found[0].ejected_until - found.now


def test_each_failed_trial_keeps_an_endpoint_away_for_twice_as_long_up_to_a_bound() -> None:
    found = Backend(0, 0)
    times = []
    found[0].unreachable()
    for _ in range(9):
        times.append(ejection(found))
        found.now = found[0].ejected_until
        found[0].chosen(found.now).answered(500)
    assert times == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, MAX_EJECTION, MAX_EJECTION, MAX_EJECTION]


def test_news_of_requests_sent_before_the_ejection_do_not_change_it() -> None:
    found = Backend(0, 0)
    found.burst(0)
    for _ in range(3):
        found[0].unreachable()
        found.burst(0)
        found[0].answered(200)
    assert ejection(found) == EJECTION


def test_a_time_in_service_makes_up_for_an_ejection() -> None:
    found = Backend(0, 0)

    def eject_and_return() -> float:
        found[0].unreachable()
        lasted = ejection(found)
        found.now = found[0].ejected_until
        found[0].chosen(found.now).answered(200)
        return lasted

    assert [eject_and_return() for _ in range(4)] == [1.0, 2.0, 4.0, 8.0]
    found.now += 2 * RECOVERY
    assert eject_and_return() == 4.0
    found.now += 100 * RECOVERY
    assert eject_and_return() == EJECTION


def test_after_its_time_an_endpoint_gets_one_request_and_no_other_until_that_succeeds() -> None:
    found = Backend(0, 9)
    found[0].unreachable()
    found.now += EJECTION
    assert found.pick() is found[0]
    assert found.picks() == {0: 0, 1: 1}
    found[0].answered(200)
    assert found.picks()[0] > 0


def test_one_failure_on_trial_is_enough_to_be_ejected_again() -> None:
    found = Backend(0, 9)
    found.burst(0)
    found.now += EJECTION
    assert found.pick() is found[0]
    found[0].answered(503)
    found.now += EJECTION
    assert found.picks() == {0: 0, 1: 1}
    found.now += EJECTION
    assert found.pick() is found[0]


def test_a_trial_that_nobody_waited_for_is_repeated() -> None:
    found = Backend(0, 9)
    found.burst(0)
    found.now += EJECTION
    assert found.pick() is found[0]
    found.now += TRIAL
    assert found.pick() is found[0]


def test_an_endpoint_that_comes_back_takes_a_growing_share() -> None:
    found = Backend(0, 0)
    found.burst(0)
    found.now += EJECTION
    while found.pick() is not found[0]:
        pass
    found[0].answered(200)
    assert found.picks()[0] < 0.15
    found.now += SLOW_START
    assert found.picks()[0] == pytest.approx(0.5, abs=0.05)


# Slow start


@pytest.mark.parametrize("others", [1, 2, 9])
def test_the_share_of_a_new_endpoint_grows_until_it_is_whole(others: int) -> None:
    found = Backend(*[0] * (others + 1))
    found[0].warm_up()
    whole = 1 / (others + 1)
    shares = []
    for _ in range(11):
        shares.append(found.picks(20_000)[0])
        found.now += SLOW_START / 10
    assert 0 < shares[0] <= FIRST_SHARE * whole + 0.01
    assert all(later > earlier - 0.01 for earlier, later in pairwise(shares))
    assert shares[5] == pytest.approx(whole / 2, abs=whole / 4)
    assert shares[10] == pytest.approx(whole, abs=0.02)
    assert found[0].settled


def test_a_busy_new_endpoint_is_left_for_a_less_busy_one() -> None:
    found = Backend(1, 0)
    found[0].warm_up()
    found.now += SLOW_START * 0.99
    assert found.picks(100) == {0: pytest.approx(0, abs=0.05), 1: pytest.approx(1, abs=0.05)}


@given(st.lists(st.floats(0, SLOW_START), min_size=2, max_size=8), st.randoms())
def test_where_all_are_new_those_that_came_first_get_no_less(ages: list[float], random: Any) -> None:
    assume(max(ages) - min(ages) > SLOW_START / 2)
    found = Backend(*[0] * len(ages))
    found.chance = Random(random.random()).random
    for endpoint, age in zip(found.endpoints, ages, strict=True):
        found.now = 1000.0 - age
        endpoint.warm_up()
    found.now = 1000.0
    shares = found.picks()
    assert shares[ages.index(max(ages))] > shares[ages.index(min(ages))]


# Endpoints by address


FIRST, SECOND, THIRD = (Address("10.0.0.1", port) for port in (81, 82, 83))


def with_endpoints(use: Callable[[Endpoints], None]) -> None:
    async def main() -> None:
        resolver = Resolver(60)
        async with UpstreamTransport() as transport:
            use(Endpoints(resolver, transport))
        resolver.close()

    asyncio.run(main())


def test_an_endpoint_that_joins_others_warms_up() -> None:
    def use(endpoints: Endpoints) -> None:
        before = endpoints.at((FIRST,))
        after = endpoints.at((FIRST, SECOND), joining=True)
        assert after[0] is before[0]
        assert [endpoint.settled for endpoint in after] == [True, False]

    with_endpoints(use)


@pytest.mark.parametrize("joining", [True, False])
def test_where_all_endpoints_are_new_none_warms_up(joining: bool) -> None:
    def use(endpoints: Endpoints) -> None:
        assert all(endpoint.settled for endpoint in endpoints.at((FIRST, SECOND), joining=joining))

    with_endpoints(use)


def test_an_endpoint_that_another_backend_has_already_is_not_new() -> None:
    def use(endpoints: Endpoints) -> None:
        kept = endpoints.at((FIRST, SECOND)), endpoints.at((THIRD,))
        assert all(endpoint.settled for endpoint in endpoints.at((FIRST, THIRD), joining=True))
        assert len(kept) == 2

    with_endpoints(use)


def test_what_is_known_of_an_endpoint_lives_as_long_as_somebody_holds_it() -> None:
    def use(endpoints: Endpoints) -> None:
        (kept,) = endpoints.at((FIRST,))
        kept.unreachable()
        assert endpoints.at((FIRST,))[0].ejected_until
        del kept
        gc.collect()
        assert not endpoints.at((FIRST,))[0].ejected_until

    with_endpoints(use)
