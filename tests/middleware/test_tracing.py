"""W3C Trace Context, version 00: what is read, what is not, and what is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.tracing import Parent, members, parse, traceparent

TRACE, PARENT = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
VALID = b"00-" + TRACE + b"-" + PARENT + b"-01"
READ = Parent(int(TRACE, 16), int(PARENT, 16), 1)


def test_a_parent_is_read() -> None:
    assert parse([VALID]) == READ


def test_blanks_around_it_are_not_its_own() -> None:
    assert parse([b" " + VALID + b"\t"]) == READ


def test_of_a_later_version_the_known_part_is_read() -> None:
    assert parse([b"cc" + VALID[2:]]) == READ
    assert parse([b"cc" + VALID[2:] + b"-what-the-future-will-bring"]) == READ


@pytest.mark.parametrize(
    "value",
    [
        b"",
        VALID[:-1],
        VALID + b"0",
        VALID + b"-",
        b"cc" + VALID[2:] + b".x",
        b"ff" + VALID[2:],
        VALID.upper(),
        VALID.replace(b"-", b"_"),
        VALID.replace(TRACE, b"0" * 32),
        VALID.replace(PARENT, b"0" * 16),
        VALID.replace(b"4b", b"4g"),
        VALID + b"\n",
    ],
)
def test_what_is_none_is_not_read(value: bytes) -> None:
    assert parse([value]) is None


def test_two_parents_are_none() -> None:
    assert parse([VALID, VALID]) is None
    assert parse([]) is None


def test_only_the_flags_that_have_a_meaning_are_written() -> None:
    assert traceparent(READ.trace_id, READ.span_id, 0xFF) == VALID[:-2] + b"03"


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 3))
def test_what_is_written_is_read(trace_id: int, span_id: int, flags: int) -> None:
    assert parse([traceparent(trace_id, span_id, flags)]) == (trace_id, span_id, flags)


@given(st.binary())
def test_whatever_comes_nothing_fails(value: bytes) -> None:
    parse([value])
    assert len(members(value)) <= 32


def test_members_are_read_in_order_and_each_key_once() -> None:
    assert members(b"a=1, t@v=x y ,a=2,,b=3") == [("a", "1"), ("t@v", "x y"), ("b", "3")]


@pytest.mark.parametrize("member", [b"A=1", b"a", b"a=", b"a=b=c", b"=1", b"a=\xff", b"1=x"])
def test_malformed_members_are_left_out(member: bytes) -> None:
    assert members(b"ok=1," + member) == [("ok", "1")]
