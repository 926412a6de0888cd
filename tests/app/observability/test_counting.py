"""Counting: what is found by what, what is summed, and what is given up."""

from collections import Counter as Multiset
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.observability.counting import EXTENSION_METHOD, METHODS, Counter, LoadKey, Present
from app.observability.numbers import Counted
from middleware.observe import ObserveMiddleware
from middleware.record import RECORD, RequestRecord

BOUNDS = (0.005, 0.1)
MS = 1_000_000

methods = st.one_of(st.sampled_from(sorted(METHODS)), st.text(min_size=1, max_size=5))
counted = st.tuples(
    st.sampled_from(["a/g:80", "a/g:443"]),
    st.sampled_from(["a/r/0", "a/r/1", "b/r/0", ""]),
    st.sampled_from(["a/x:1", "a/y:1", ""]),
    methods,
    st.sampled_from(["1.0", "1.1", "2", "7", "websocket"]),
    st.sampled_from([101, 200, 204, 404, 499, 503]),
    st.integers(0, 10**10),
)


def numbers(counter: Counter) -> Counted:
    return Counted(counter, dict)


@given(st.lists(counted), st.sets(st.sampled_from(["a/r/0", "a/r/1", "b/r/0"])), st.sets(st.sampled_from(["a/x:1"])))
def test_the_sums_are_what_was_counted_before_and_after_folding(
    requests: list[tuple[str, str, str, str, str, int, int]], rules: set[str], backends: set[str]
) -> None:
    counter = Counter(BOUNDS)
    for port, rule, backend, method, version, status, duration in requests:
        counter.load(port, rule, backend).count(method, version, status, duration, 1, 2)
    routes = {rule.rpartition("/")[0] for rule in rules}
    for _ in range(2):
        total = numbers(counter).total()
        assert total.requests == total.buckets[-1] == total.received == len(requests)
        assert total.duration_ns == sum(request[-1] for request in requests)
        assert total.by_class == Multiset(request[5] // 100 for request in requests)
        assert total.buckets[0] == sum(request[-1] <= 5 * MS for request in requests)
        for rule in rules:
            assert numbers(counter).rule(rule).requests == sum(request[1] == rule for request in requests)
        ports = Multiset(request[0] for request in requests)
        assert {name: each.requests for name, each in numbers(counter).ports().items()} == ports
        counter.present = lambda: Present({"a/g:80", "a/g:443"}, rules, routes, backends)
        counter.fold()
    assert {key.rule for key in counter.loads} <= {"", *rules, *(f"{route}/" for route in routes)}
    assert {key.backend for key in counter.loads} <= {"", *backends}


def test_words_for_methods_and_versions_take_no_memory() -> None:
    counter = Counter(BOUNDS)
    load = counter.load("p", "", "")
    for number in range(100):
        load.count(f"BREW{number}", f"{number}", 200, 0, 0, 0)
    assert {key.method for key in load.cells} == {EXTENSION_METHOD}
    assert len(load.cells) <= 2
    assert not load._known


def test_routes_that_come_and_go_take_no_memory() -> None:
    counter = Counter(BOUNDS)
    counter.present = lambda: Present({"p"}, set(), set(), set())
    for number in range(20_000):
        counter.load("p", f"a/r{number}/0", f"b{number}").count("GET", "1.1", 200, 0, 0, 0)
    assert len(counter.loads) < 2048
    assert numbers(counter).total().requests == 20_000


def test_a_request_under_way_counts_although_its_rule_is_gone() -> None:
    counter = Counter(BOUNDS)
    counter.present = lambda: Present({"p"}, set(), set(), set())
    load = counter.load("p", "a/r/0", "b")
    load.in_flight += 1
    counter.fold()
    load.in_flight -= 1
    load.count("GET", "1.1", 200, 0, 0, 0)
    counter.fold()
    assert list(counter.loads) == [LoadKey("p", "", "")]
    assert numbers(counter).total().requests == 1


def test_who_remembers_a_load_learns_that_it_is_gone() -> None:
    counter = Counter(BOUNDS)
    load = counter.load("p", "a/r/0", "b")
    counter.fold()
    assert not load.gone
    counter.present = lambda: Present({"p"}, set(), set(), set())
    counter.fold()
    assert load.gone
    assert counter.load("p", "a/r/0", "b") is not load


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"type": "http", "method": "GET", "http_version": "2"}, ("GET", "HTTP/2.0", 499)),
        ({"type": "websocket", "http_version": "1.1"}, ("GET", "websocket", 499)),
        ({"type": "websocket", "http_version": "2"}, ("CONNECT", "websocket", 499)),
        ({"type": "http", "method": "GET", "http_version": "0.9"}, ("GET", "HTTP", 499)),
    ],
)
def test_a_client_that_left_is_counted_as_499(scope: dict[str, Any], expected: tuple[str, str, int]) -> None:
    counter = Counter(BOUNDS)
    observe = ObserveMiddleware(_nothing, [counter])
    record = RequestRecord(port="p", route="a/r/0", backend="b", retries=2, flags="DC")
    observe.end(observe.begin({**scope, RECORD: record}, _nothing, _nothing))
    (load,) = counter.loads.values()
    assert list(load.cells) == [expected]
    assert load.retries == numbers(counter).total().retries == 2


async def _nothing(*_: Any) -> Any:
    raise AssertionError
