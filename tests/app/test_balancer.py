"""Which backend of a rule takes a request; test_endpoints has which endpoint of the backend."""

from collections import Counter
from math import gcd

from hypothesis import given
from hypothesis import strategies as st

from app.upstream.balancer import WeightedSelector
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
