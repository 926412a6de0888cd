"""Look-up by path, sentence by sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.table.paths import PathMap, exact_key, matched_path, prefix_key


def paths(*, exact: tuple[str, ...] = (), prefixes: tuple[str, ...] = ()) -> PathMap[str]:
    return PathMap({path: [f"= {path}"] for path in exact}, {prefix_key(path): [path] for path in prefixes})


def tried(table: PathMap[str], path: str) -> list[str]:
    return [entry for entries in table.candidates(path) for entry in entries]


@pytest.mark.parametrize("prefix", ["/abc", "/abc/"])
def test_a_prefix_goes_by_whole_elements_and_its_trailing_slash_means_nothing(prefix: str) -> None:
    """``/abc`` and ``/abc/`` both match ``/abc``, ``/abc/`` and ``/abc/def``, never ``/abcd``."""
    table = paths(prefixes=(prefix,))
    for path in ("/abc", "/abc/", "/abc/def", "/abc/def/", "/abc//def"):
        assert tried(table, path) == [prefix]
    for path in ("/abcd", "/ab", "/", "/x/abc", "//abc", "/ABC"):
        assert tried(table, path) == []


def test_the_prefix_slash_takes_every_path() -> None:
    """``/`` matches all."""
    for path in ("/", "/a", "/a/", "//", "/a/b/c"):
        assert tried(paths(prefixes=("/",)), path) == ["/"]


def test_an_exact_path_is_taken_byte_for_byte() -> None:
    """Exact is byte-exact, ``/abc`` ≠ ``/abc/``."""
    table = paths(exact=("/abc",))
    assert tried(table, "/abc") == ["= /abc"]
    for path in ("/abc/", "/ABC", "/abc/d", "/ab"):
        assert tried(table, path) == []


def test_exact_comes_before_prefixes_and_longer_prefixes_before_shorter() -> None:
    """1. Exact path; 2. PathPrefix with most characters."""
    table = paths(exact=("/a/b",), prefixes=("/", "/a", "/a/b", "/a/b/c"))
    assert tried(table, "/a/b") == ["= /a/b", "/a/b", "/a", "/"]
    assert tried(table, "/a/b/c/d") == ["/a/b/c", "/a/b", "/a", "/"]


def test_more_slashes_than_any_prefix_has_cost_nothing_and_change_nothing() -> None:
    """No path is cut more often than the longest prefix has segments."""
    assert tried(paths(prefixes=("/a",)), "/a" + "/" * 10_000) == ["/a"]
    assert tried(paths(prefixes=("/a",)), "/" * 10_000) == []


def test_an_empty_table_takes_nothing() -> None:
    """No match at all is for somebody else to answer."""
    assert tried(paths(), "/") == []


def test_what_is_kept_can_be_told() -> None:
    """For people and golden files: type, path and entries."""
    table = paths(exact=("/a",), prefixes=("/", "/b/"))
    assert list(table.items()) == [("Exact", "/a", ["= /a"]), ("PathPrefix", "/", ["/"]), ("PathPrefix", "/b", ["/b/"])]


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/", "/"),
        (b"/a%2Fb", "/a%2Fb"),
        (b"/a%2fb", "/a%2Fb"),
        (b"/%61bc%7e", "/abc~"),
        (b"/caf%c3%a9", "/caf%C3%A9"),
        (b"/100%", "/100%"),
        (b"/%zz", "/%zz"),
        (b"/%2561", "/%2561"),
        (b"/.well-known/x", "/.well-known/x"),
        (b"/a.b/..c/c..", "/a.b/..c/c.."),
        (b"//a", "//a"),
        (b"/caf\xe9", "/caf\xe9"),
    ],
)
def test_what_means_the_same_is_made_the_same(raw: bytes, path: str) -> None:
    """RFC 3986 §6.2.2: unreserved characters are decoded, escapes upper case, nothing is decoded twice."""
    assert matched_path(raw) == path


@pytest.mark.parametrize("raw", [b"/..", b"/a/../b", b"/./a", b"/a/.", b"/%2e%2E/a", b"/a/.%2e", b"/%2e"])
def test_dot_segments_are_refused_however_they_are_spelled(raw: bytes) -> None:
    """A backend that resolves them would read another path than the one whose rule sent the request there."""
    assert matched_path(raw) is None


@pytest.mark.parametrize("value", ["/%7euser", "/caf%c3%a9", "/%41", "/~user", "/a%20b", "/caf%C3%A9/"])
def test_a_path_written_in_a_rule_takes_the_request_written_the_same_way(value: str) -> None:
    """Rule and request are brought into one form, so that however both are escaped they meet."""
    assert exact_key(value) == matched_path(value.encode())
    assert list(paths(prefixes=(value,)).candidates(matched_path(value.encode()) or ""))


ELEMENTS = st.lists(st.sampled_from(["", "a", "b", "ab"]), max_size=4)
PATHS = ELEMENTS.map(lambda elements: "/" + "/".join(elements))
#: As the API lets them be written: no "//" inside, a slash at the end if wanted.
PREFIXES = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=3).flatmap(
    lambda elements: st.sampled_from(["/" + "/".join(elements), "/" + "".join(f"{each}/" for each in elements)])
)


def elementwise(prefix: str, path: str) -> bool:
    """Each element of the prefix is the element of the path in its place."""
    wanted = [element for element in prefix.split("/") if element]
    return path.split("/")[1:][: len(wanted)] == wanted


@given(st.sets(PATHS, max_size=4), st.sets(PREFIXES, max_size=6), PATHS)
def test_candidates_are_those_that_fit_element_by_element(exact: set[str], prefixes: set[str], path: str) -> None:
    """HTTPPathMatch, by brute force: exact first, then every prefix that fits, the longest first."""
    table = PathMap({each: [each] for each in exact}, {prefix_key(each): [prefix_key(each)] for each in prefixes})
    fitting = {prefix_key(prefix) for prefix in prefixes if elementwise(prefix, path)}
    expected = [path] * (path in exact) + sorted(fitting, key=len, reverse=True)
    assert tried(table, path) == expected


@given(st.binary(max_size=40))
def test_whatever_bytes_a_client_sends_no_path_with_dot_segments_is_matched(raw: bytes) -> None:
    """A path has a form without dot segments, or none."""
    path = matched_path(b"/" + raw)
    assert path is None or not {".", ".."} & set(path.split("/"))
