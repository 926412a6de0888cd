"""Which backend of a rule and which endpoint of a backend take a request."""

from collections import Counter
from math import gcd
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.upstream.balancer import EJECTION, MAX_EJECTION, Endpoint, WeightedSelector, least_loaded
from routes.graph.nodes import Address
from routes.table.types import Backend


def backends(*weights: int) -> list[Backend]:
    return [Backend(f"b{index}", weight) for index, weight in enumerate(weights)]


def picks(count: int, *weights: int) -> list[str]:
    selector = WeightedSelector(backends(*weights))
    return [picked.name if (picked := selector.pick()) else "" for _ in range(count)]


def test_three_to_one_is_three_to_one_in_every_window_of_four() -> None:
    names = picks(400, 3, 1)
    for start in range(len(names) - 3):
        assert Counter(names[start : start + 4]) == {"b0": 3, "b1": 1}


def test_large_shares_are_spread_and_not_served_in_a_row() -> None:
    assert picks(7, 5, 1, 1) == ["b0", "b0", "b1", "b0", "b2", "b0", "b0"]


def test_equal_weights_take_turns() -> None:
    assert picks(6, 2, 2, 2) == ["b0", "b1", "b2"] * 2


def test_a_backend_of_weight_0_is_never_picked() -> None:
    assert set(picks(20, 0, 1, 0, 3)) == {"b1", "b3"}


def test_the_only_backend_with_a_weight_is_always_picked() -> None:
    assert picks(3, 0, 7) == ["b1"] * 3


def test_without_a_weight_there_is_nothing_to_pick() -> None:
    assert WeightedSelector(backends(0, 0)).pick() is None
    assert WeightedSelector([]).pick() is None


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any))
def test_any_weights_give_exact_shares_over_one_full_cycle(weights: list[int]) -> None:
    cycle = sum(weights) // gcd(*weights)
    expected = {f"b{index}": weight // gcd(*weights) for index, weight in enumerate(weights) if weight}
    names = picks(2 * cycle, *weights)
    assert Counter(names[:cycle]) == expected
    assert names[cycle:] == names[:cycle]


@given(st.lists(st.integers(1, 1_000_000), min_size=2, max_size=4), st.integers(1, 300))
def test_at_no_moment_is_a_backend_a_whole_request_from_its_share(weights: list[int], count: int) -> None:
    counted = Counter(picks(count, *weights))
    for index, weight in enumerate(weights):
        assert abs(counted[f"b{index}"] - count * weight / sum(weights)) < len(weights)


def endpoints(*in_flight: int) -> list[Endpoint]:
    pool: Any = None  # the choice does not look at it
    return [Endpoint(Address("10.0.0.1", 80 + index), pool, count) for index, count in enumerate(in_flight)]


def test_of_two_endpoints_the_less_busy_one_is_taken() -> None:
    busy, idle = endpoints(3, 1)
    assert {least_loaded([busy, idle]) is idle for _ in range(20)} == {True}


def test_of_two_that_are_as_busy_the_first_that_was_drawn_is_taken() -> None:
    assert least_loaded(found := endpoints(2, 2, 2), lambda all_, _: [all_[2], all_[0]]) is found[2]


def test_only_two_of_many_endpoints_are_compared() -> None:
    assert least_loaded(found := endpoints(0, 5, 4), lambda all_, _: [all_[1], all_[2]]) is found[2]


def test_the_only_endpoint_is_taken_without_a_draw() -> None:
    assert least_loaded(found := endpoints(9), lambda *_: []) is found[0]


def test_every_endpoint_gets_its_turn() -> None:
    found = endpoints(0, 0, 0, 0)
    assert {least_loaded(found).address.port for _ in range(400)} == {80, 81, 82, 83}


def test_an_endpoint_that_cannot_be_reached_is_passed_over_for_a_while() -> None:
    dead, alive = endpoints(0, 9)
    dead.failed(100.0)
    before_its_time = {id(least_loaded([dead, alive], clock=lambda: 100.0 + EJECTION / 2)) for _ in range(20)}
    assert before_its_time == {id(alive)}
    assert least_loaded([dead, alive], clock=lambda: 100.0 + EJECTION) is dead


def test_where_no_endpoint_can_be_reached_all_are_asked_as_ever() -> None:
    found = endpoints(0, 0)
    for endpoint in found:
        endpoint.failed(100.0)
    assert {id(least_loaded(found, clock=lambda: 100.0)) for _ in range(100)} == {id(endpoint) for endpoint in found}


def test_each_failure_in_a_row_keeps_an_endpoint_away_for_twice_as_long_up_to_a_bound() -> None:
    (endpoint,) = endpoints(0)
    times = []
    for _ in range(9):
        endpoint.failed(0.0)
        times.append(endpoint.ejected_until)
    assert times == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, MAX_EJECTION, MAX_EJECTION, MAX_EJECTION]


def test_an_endpoint_that_answers_is_as_good_as_new() -> None:
    (endpoint,) = endpoints(0)
    endpoint.failed(0.0)
    endpoint.failed(0.0)
    endpoint.answered()
    assert endpoint.ejected_until == 0.0
    endpoint.failed(0.0)
    assert endpoint.ejected_until == EJECTION
