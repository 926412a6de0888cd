"""Where the hostnames of a listener and of a route meet, row by row of the API's description."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.graph.hostnames import covers, meeting


@pytest.mark.parametrize(
    ("listener", "route", "met"),
    [
        (None, [], ()),
        (None, ["a.example.com", "*.example.org"], ("a.example.com", "*.example.org")),
        ("", ["a.example.com"], ("a.example.com",)),
        ("*.example.com", [], ("*.example.com",)),
        ("a.example.com", ["a.example.com"], ("a.example.com",)),
        ("*.example.com", ["*.example.com"], ("*.example.com",)),
        ("*.example.com", ["a.b.example.com"], ("a.b.example.com",)),
        ("a.b.example.com", ["*.example.com"], ("a.b.example.com",)),
        ("*.example.com", ["*.foo.example.com"], ("*.foo.example.com",)),
        ("*.foo.example.com", ["*.example.com"], ("*.foo.example.com",)),
        ("*.example.com", ["test.example.com", "example.net"], ("test.example.com",)),
        ("a.example.com", ["*.example.com", "*.com", "a.example.com"], ("a.example.com",)),
        ("*.example.com", ["example.com"], None),
        ("example.com", ["*.example.com"], None),
        ("a.example.com", ["b.example.com"], None),
        ("*.example.com", ["*.example.org", "example.com"], None),
        ("*.example.com", ["badexample.com"], None),
    ],
)
def test_what_listener_and_route_have_in_common(
    listener: str | None, route: list[str], met: tuple[str, ...] | None
) -> None:
    """Empty takes the other's; the narrower is what two wildcards share; what doesn't meet is left out."""
    assert meeting(listener, route) == met


def test_a_wildcard_covers_one_or_more_labels_and_neither_itself_nor_its_apex() -> None:
    """``*.example.com`` stands for one or more leftmost labels."""
    assert covers("*.example.com", "a.example.com")
    assert covers("*.example.com", "b.a.example.com")
    assert covers("*.example.com", "*.a.example.com")
    assert not covers("*.example.com", "*.example.com")
    assert not covers("*.example.com", "example.com")
    assert not covers("*.a.example.com", "*.example.com")
    assert not covers("a.example.com", "a.example.com")


LABELS = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=3).map(".".join)
PATTERNS = LABELS | LABELS.map("*.{}".format)
SOME_HOSTS = [
    ".".join(labels.split()) for labels in ("a", "b", "a a", "a b", "b a", "b b", "a a a", "b a b", "a b a b")
]


def serves(pattern: str, host: str) -> bool:
    return host.endswith(pattern[1:]) and host != pattern[2:] if pattern.startswith("*.") else host == pattern


@given(PATTERNS, st.lists(PATTERNS, min_size=1, max_size=3))
def test_a_host_is_on_the_meeting_where_it_is_on_both_sides(listener: str, route: list[str]) -> None:
    """The meeting is the intersection: a host is in it if listener and route both serve it."""
    met = meeting(listener, route) or ()
    for host in SOME_HOSTS:
        on_both = serves(listener, host) and any(serves(pattern, host) for pattern in route)
        assert any(serves(pattern, host) for pattern in met) == on_both
