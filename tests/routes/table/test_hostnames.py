"""Look-up by host name, sentence by sentence."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.table.hostnames import HostMap, host_of

NAMES = HostMap({name: name for name in ("a.b.example.com", "*.b.example.com", "*.example.com", "whoami", "")})


def tried(host: str) -> list[str]:
    return list(NAMES.candidates(host))


def test_an_exact_name_comes_first_then_the_longer_wildcard_then_the_shorter_then_any() -> None:
    """Most specific first: exact, wildcard with more labels, wildcard with fewer labels, no hostname."""
    assert tried("a.b.example.com") == ["a.b.example.com", "*.b.example.com", "*.example.com", ""]


def test_a_wildcard_stands_for_one_or_more_labels() -> None:
    """``*.example.com`` stands for one or more leftmost labels."""
    assert tried("x.example.com") == ["*.example.com", ""]
    assert tried("x.y.z.example.com") == ["*.example.com", ""]


def test_a_wildcard_never_stands_for_its_apex() -> None:
    """``*.example.com`` never matches ``example.com``."""
    assert tried("example.com") == [""]
    assert tried("b.example.com") == ["*.example.com", ""]


def test_a_wildcard_stands_for_whole_labels() -> None:
    """``*.example.com`` has nothing to do with ``badexample.com``."""
    assert tried("badexample.com") == [""]


@pytest.mark.parametrize("host", [".example.com", ".", "", "..", "x.", ".whoami"])
def test_a_host_without_a_first_label_fits_no_wildcard(host: str) -> None:
    """An empty label is none."""
    assert tried(host) == [""]


def test_an_exact_name_stands_for_itself_alone() -> None:
    """``whoami`` is neither ``whoami.example.com`` nor ``xwhoami``."""
    assert tried("whoami") == ["whoami", ""]
    assert tried("whoami.x") == [""]
    assert tried("xwhoami") == [""]


def test_without_a_hostname_for_all_an_unknown_host_finds_nothing() -> None:
    """No listener fits, so no route can."""
    names = HostMap({"*.example.com": 1})
    assert list(names.candidates("example.org")) == []
    assert names.best("example.org") is None
    assert HostMap[int]({}).best("example.org") is None


def test_the_best_is_the_first_candidate() -> None:
    """Exactly the most specific one is considered."""
    assert NAMES.best("a.b.example.com") == "a.b.example.com"
    assert NAMES.best("elsewhere") == ""
    assert HostMap({"": "any"}).best("elsewhere") == "any"


def test_no_name_is_longer_than_dns_allows() -> None:
    """A host of more than 253 characters is no name, whatever it ends with."""
    assert tried("x" * (253 - len(".example.com")) + ".example.com") == ["*.example.com", ""]
    assert tried("x" * (254 - len(".example.com")) + ".example.com") == [""]


def test_the_names_are_kept_as_they_were_written() -> None:
    """What goes in comes out, each once."""
    written = {"whoami": 1, "*.example.com": 2, "": 3}
    assert dict(HostMap(written).items()) == written


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("whoami", "whoami"),
        ("Whoami.Example.COM", "whoami.example.com"),
        ("whoami:8000", "whoami"),
        ("10.0.0.1:80", "10.0.0.1"),
        ("[FD00::1]:80", "[fd00::1]"),
        ("[::1]", "[::1]"),
        ("[::1", ""),
        ("", ""),
    ],
)
def test_case_and_port_of_a_host_field_mean_nothing(authority: str, host: str) -> None:
    """Compare case-insensitively and ignore the port of the Host header."""
    assert host_of(authority) == host


LABELS = st.lists(st.sampled_from(["a", "b", "com"]), min_size=1, max_size=4).map(".".join)
PATTERNS = st.one_of(LABELS, LABELS.map("*.{}".format), st.just(""))


def fits(pattern: str, host: str) -> bool:
    """The reading of the spec label by label."""
    wanted, labels = pattern.split("."), host.split(".")
    if wanted[0] == "*":
        return len(labels) >= len(wanted) and labels[1 - len(wanted) :] == wanted[1:]
    return pattern in ("", host)


@given(st.sets(PATTERNS, max_size=8), LABELS)
def test_candidates_are_those_that_fit_label_by_label_the_most_specific_first(patterns: set[str], host: str) -> None:
    """1. most characters in the matching non-wildcard hostname; 2. most characters in the matching hostname."""
    expected = sorted(
        (pattern for pattern in patterns if fits(pattern, host)), key=lambda name: (name != host, -len(name))
    )
    names = HostMap({pattern: pattern for pattern in patterns})
    assert list(names.candidates(host)) == expected
    assert names.best(host) == (expected[0] if expected else None)


@given(st.text(string.ascii_letters + string.digits + ".:-[]*", max_size=40), st.sets(PATTERNS, max_size=4))
def test_whatever_a_client_sends_as_host_is_answered(authority: str, patterns: set[str]) -> None:
    """A Host field can hold anything."""
    found = list(HostMap({pattern: pattern for pattern in patterns}).candidates(host_of(authority)))
    assert set(found) <= patterns
    assert len(found) == len(set(found))
