"""Bound ports: the same on every replica, the same after a restart, and never one for two."""

from hypothesis import given, settings
from hypothesis import strategies as st

from app.exposure.ports import FIRST, LAST, allocate, home
from routes.resources.meta import GATEWAY_GROUP, Key
from routes.table.types import PortKey


def key(gateway: str, port: int = 80) -> PortKey:
    return PortKey(Key(GATEWAY_GROUP, "Gateway", "default", gateway), port)


KEYS = st.builds(key, st.sampled_from("abcdefgh"), st.integers(1, 4))
#: Many want the same few ports, so that what is rare among 20,000 happens here all the time.
CROWDED = st.dictionaries(KEYS, st.integers(FIRST - 1, FIRST + 5), max_size=12)


def by_chance(wanted: list[PortKey]) -> PortKey:
    """Another Gateway's port with the same home as one of ``wanted``, near enough to be found by trying."""
    homes = {home(each) for each in wanted}
    return next(each for number in range(1_000_000) if home(each := key(f"other-{number}")) in homes)


def test_a_listener_is_bound_where_the_hash_of_its_gateway_and_port_leads() -> None:
    assert allocate([key("a")], {}, {}) == {key("a"): home(key("a"))}
    assert home(key("a")) == 13_468, "it is stored in clusters, and must not be another in the next version"


def test_two_listeners_with_one_home_have_two_ports_next_to_each_other() -> None:
    one, other = sorted([key("a"), by_chance([key("a")])])
    assert allocate([one, other], {}, {}) == {one: home(one), other: home(one) + 1}


def test_the_port_after_the_last_is_the_first() -> None:
    last = next(each for number in range(1_000_000) if home(each := key(f"last-{number}")) == LAST)
    assert allocate([last], {}, {}, reserved={LAST}) == {last: FIRST}


def test_what_is_stored_stays_though_another_is_at_home_there() -> None:
    stored = {key("a"): home(key("b"))}
    assert allocate([key("a"), key("b")], stored, {}) == {
        key("a"): home(key("b")),
        key("b"): home(key("b")) + 1,
    }


def test_nobody_gets_a_port_that_a_service_still_leads_to() -> None:
    assert allocate([key("b")], {key("a"): home(key("b"))}, {}) == {key("b"): home(key("b")) + 1}


def test_who_is_at_home_is_not_driven_out_by_what_somebody_wrote_into_a_service() -> None:
    stored = {key("a"): home(key("b")), key("b"): home(key("b"))}
    found = allocate([key("a"), key("b")], stored, {})
    assert found == {key("a"): home(key("a")), key("b"): home(key("b"))}


def test_ports_that_are_not_ours_to_give_are_not_taken_from_a_service() -> None:
    for port in (22, FIRST - 1, LAST + 1, 15_000):
        assert allocate([key("a")], {key("a"): port}, {}, reserved={15_000}) == {key("a"): home(key("a"))}


def test_who_finds_no_free_port_is_left_out() -> None:
    assert allocate([key("a")], {}, {}, reserved=range(FIRST, LAST + 1)) == {}


@given(st.lists(KEYS, unique=True), CROWDED, CROWDED, st.sets(st.integers(FIRST, FIRST + 5)))
@settings(max_examples=200, deadline=None)
def test_each_has_one_port_and_nobody_anothers_in_whatever_order_they_are_told(
    wanted: list[PortKey], stored: dict[PortKey, int], held: dict[PortKey, int], reserved: set[int]
) -> None:
    found = allocate(wanted, stored, held, reserved)
    assert set(found) == set(wanted)
    assert len(set(found.values())) == len(found)
    assert all(FIRST <= port <= LAST and port not in reserved for port in found.values())
    shuffled, turned = wanted[::-1], dict(reversed(stored.items()))
    assert allocate(shuffled, turned, dict(reversed(held.items())), reserved) == found


@given(st.sets(KEYS), st.sets(KEYS), CROWDED)
@settings(max_examples=200, deadline=None)
def test_ports_stay_when_listeners_come_and_go_stored_or_not(
    wanted: set[PortKey], others: set[PortKey], stored: dict[PortKey, int]
) -> None:
    before = allocate(wanted, stored, {})
    for after in (allocate(wanted | others, {}, before), allocate(wanted | others, before, {})):
        assert {each: after[each] for each in wanted} == before
        fewer = wanted - others
        assert allocate(fewer, {}, after) == {each: before[each] for each in fewer}


@given(st.sets(KEYS), CROWDED)
@settings(max_examples=100, deadline=None)
def test_a_replica_that_starts_finds_what_the_others_have(wanted: set[PortKey], stored: dict[PortKey, int]) -> None:
    there = allocate(wanted, stored, {})
    assert allocate(wanted, there, {}) == there


def test_who_has_a_port_keeps_it_whatever_another_writes_that_is_at_home_there_as_well() -> None:
    victim = key("victim")
    thief = by_chance([victim])
    there = allocate([victim], {}, {})
    for stored in ({victim: home(victim), thief: home(victim)}, {thief: home(victim), victim: home(victim)}):
        assert allocate([victim, thief], stored, there)[victim] == home(victim)
