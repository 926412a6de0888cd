"""Look-up by path, sentence by sentence."""

import re
from dataclasses import dataclass
from itertools import product
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from routes.table.paths import PathKey, PathMap, exact_key, lax_reading, matched_path, prefix_key


def paths(
    *, exact: tuple[str, ...] = (), prefixes: tuple[str, ...] = (), patterns: tuple[str, ...] = ()
) -> PathMap[str]:
    lists = {PathKey("Exact", path): (f"= {path}",) for path in exact}
    lists |= {PathKey("RegularExpression", text): (f"~ {text}",) for text in patterns}
    return PathMap[str]().with_(lists | {PathKey("PathPrefix", prefix_key(path)): (path,) for path in prefixes})


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
    assert list(table.items()) == [
        ("Exact", "/a", ("= /a",)),
        ("PathPrefix", "/", ("/",)),
        ("PathPrefix", "/b", ("/b/",)),
    ]


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


@pytest.mark.parametrize(
    "raw",
    [
        *(b"/..", b"/a/../b", b"/./a", b"/a/.", b"/a//..", b"//../a"),
        *(b"/%2e%2E/a", b"/a/.%2e", b"/%2e", b"/%252e%252e/a", b"/%25252e./a", b"/%%32%65./a"),
        *(b"/a/..;/b", b"/a/..;x=1/b", b"/a/.;/b", b"/a/..%3b/b", b"/a/%2e%2e%3Bx", b"/a/..%253b/b"),
        *(b"/a%2f..%2fb", b"/a%2F..", b"/a/..%2Fb", b"/a%252f..%252fb", b"/a%2f%2e%2e%2fb", b"/a/..;%2fb"),
        *(b"/a%5c..%5cb", b"/a/..%5Cb", b"/a\\..\\b", b"/a%255c..%255cb"),
    ],
)
def test_dot_segments_are_refused_however_they_are_spelled(raw: bytes) -> None:
    """A backend that resolves them would read another path than the one whose rule sent the request there."""
    assert matched_path(raw) is None


@pytest.mark.parametrize("raw", [b"/a%00", b"/a%2500b", b"/a;b%2fc", b"/a%3Bb/c;%5cd", b"/a;%252f", b"/a;\\"])
def test_what_has_no_use_but_to_deceive_is_refused(raw: bytes) -> None:
    """An encoded NUL ends the path for some backends; a slash in a parameter is one for some and dropped by others."""
    assert matched_path(raw) is None


@pytest.mark.parametrize(
    "path", ["/", "/a/b.c", "/a..b/...", "/caf%C3%A9", "/a%20b", "/a%3Fb%23c", "/a=b&c:d@e,f", "/%zz%"]
)
def test_an_ordinary_path_has_one_reading(path: str) -> None:
    """Nothing is to be compared for it."""
    assert matched_path(path.encode()) == path
    assert lax_reading(path) is path


@pytest.mark.parametrize(
    ("path", "reading"),
    [
        ("//admin", "/admin"),
        ("///a///b//", "/a/b/"),
        ("/a;x=1/b;y", "/a/b"),
        ("/;x/admin", "/admin"),
        ("/admin;", "/admin"),
        ("/a%2Fb", "/a/b"),
        ("/a%5Cb%5C%5Cc", "/a/b/c"),
        ("/a\\b", "/a/b"),
        ("/a%3Bx", "/a"),
        ("/a%252Fb", "/a/b"),
        ("/%2561dmin", "/admin"),
        ("/%61dmin", "/admin"),
        ("/a%25", "/a%"),
        ("/a%2520", "/a%20"),
    ],
)
def test_the_laxest_reading_of(path: str, reading: str) -> None:
    """… a path as it is matched, by a backend that gives a meaning to all that can be given one."""
    assert lax_reading(path) == reading


@pytest.mark.parametrize(
    "path",
    [
        *(
            "//admin",
            "/public//../admin",
            "/;x/admin",
            "/admin;x=1",
            "/admin;/users",
            "/%2Fadmin",
            "/%5Cadmin",
            "/\\admin",
        ),
        *("/%2561dmin", "/admin%3Bx", "/admin%2Fusers", "/admin%5Cusers", "/public%2F%2Fdeep", "/public//deep", "//"),
    ],
)
def test_a_path_that_another_rule_may_claim_is_in_doubt(path: str) -> None:
    """… for a request that is taken by the rule for "/", beside others that a backend may think it is for."""
    table = paths(exact=("/public/deep",), prefixes=("/", "/admin", "/public"))
    if path == "//":
        table = paths(exact=("/",), prefixes=("/admin",))
    matched = matched_path(path.encode())
    assert matched is None or table.claimed_otherwise(matched, lax_reading(matched))


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/public//a",
            "/public/a//b%2Fc",
            "/public/;jsessionid=1",
            "/public/a;v=1/b",
            "/public/%25",
            "/public/https://x/",
        ),
        *("/other//a", "/a%2Fb", "/public%20a", "/administrator//"),
    ],
)
def test_a_path_that_every_backend_reads_as_its_rules_is_not(path: str) -> None:
    """… in doubt: keys with slashes of their own, session ids, URLs within paths."""
    table = paths(exact=("/public/deep",), prefixes=("/", "/admin", "/public"))
    matched = matched_path(path.encode())
    assert matched is not None
    assert not table.claimed_otherwise(matched, lax_reading(matched))


def test_a_rule_that_names_what_others_drop_is_taken_at_its_word() -> None:
    """Its author knows what the backend reads."""
    table = paths(exact=("/a;v=1",), prefixes=("/", "/100%25"))
    for path in ("/a;v=1", "/100%25", "/100%25/b"):
        assert not table.claimed_otherwise(path, lax_reading(path))


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
    table = paths(exact=tuple(exact), prefixes=tuple(prefix_key(each) for each in prefixes))
    fitting = {prefix_key(prefix) for prefix in prefixes if elementwise(prefix, path)}
    expected = [f"= {path}"] * (path in exact) + sorted(fitting, key=len, reverse=True)
    assert tried(table, path) == expected


# Backends that read paths in their own ways, and what they may never be sent.


@dataclass(frozen=True)
class Reader:
    """How a backend gets at the path that it serves. Percent-decoding is done ``decodes`` times; without it, an escape
    still means its character where that changes nothing.

    Tomcat drops parameters and then decodes; others decode first. Servlets and Go merge slashes, Node does not. Servers
    on Windows take a backslash for a slash. Most resolve dot segments in the end.
    """

    decodes: int
    backslash: bool
    merges: bool
    parameters: str
    dots: bool

    def read(self, path: str) -> str:
        if self.parameters == "first":
            path = re.sub(";[^/]*", "", path)
        path = path if self.decodes else exact_key(path)
        for _ in range(self.decodes):
            path = unquote(path, "latin-1")
        if self.backslash:
            path = path.replace("\\", "/")
        if self.parameters == "last":
            path = re.sub(";[^/]*", "", path)
        if self.merges:
            path = re.sub("/+", "/", path)
        if self.dots:
            path = resolved(path)
        return path


def resolved(path: str) -> str:
    """RFC 3986 §5.2.4."""
    segments: list[str] = []
    rest = path.split("/")[1:]
    for index, segment in enumerate(rest):
        if segment == "..":
            del segments[-1:]
        if segment not in (".", ".."):
            segments.append(segment)
        elif index == len(rest) - 1:
            segments.append("")
    return "/" + "/".join(segments)


READERS = [
    Reader(*each) for each in product((0, 1, 2), (False, True), (False, True), ("kept", "first", "last"), (False, True))
]

ATOMS = [
    *("/", "/", "/", "a", "a", "b", ".", "..", ";", "%", "25"),
    *("//", "\\", "..;", "%2F", "%2f", "%5C", "%5c", "%2e", "%2E", "%3B", "%25", "%61", "%00", "%252f", "%255c"),
    *("%252e", "%2561", "%253b", "2f", "61"),
]
PLAIN = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=3).map(lambda elements: "/" + "/".join(elements))


@settings(max_examples=600, deadline=None)
@given(
    st.sets(PLAIN, max_size=3),
    st.sets(PLAIN, min_size=1, max_size=4),
    st.lists(st.sampled_from(ATOMS), max_size=10).map(lambda atoms: "/" + "".join(atoms)),
)
@example(set(), {"/", "/a"}, "/b/..%5ca")
@example(set(), {"/", "/a", "/a/b"}, "//a/b;")
@example(set(), {"/", "/a"}, "/%%36%31")
def test_no_backend_reads_a_path_of_another_rule(exact: set[str], prefixes: set[str], sent: str) -> None:
    """… in what one rule sent to it, whatever it is that backends do to paths."""
    table = paths(exact=tuple(exact), prefixes=tuple(prefixes))
    path = matched_path(sent.encode())
    if path is None or table.claimed_otherwise(path, lax_reading(path)):
        return
    rules = tried(table, path)
    if rules:
        for reader in READERS:
            assert tried(table, reader.read(sent)) == rules, (reader, reader.read(sent))


#: Some that ask for what backends may make of a path, which prefixes and exact paths cannot.
PATTERNS = ["/a", "/a//b", "/.*;.*", "/a/[^/]*", "/b.*", ".*b", "/a%2F.*", r".*\\\\.*", "//+a"]


@settings(max_examples=600, deadline=None)
@given(
    st.sets(st.sampled_from(PATTERNS), min_size=1, max_size=3),
    st.sets(PLAIN, max_size=2),
    st.lists(st.sampled_from(ATOMS), max_size=8).map(lambda atoms: "/" + "".join(atoms)),
)
@example({"/a//b"}, {"/"}, "/a%2F/b")
@example({".*b"}, {"/a"}, "/a;b")
def test_no_backend_reads_a_path_that_a_pattern_claims(patterns: set[str], prefixes: set[str], sent: str) -> None:
    """… and that was sent to it by a rule which is not the pattern's."""
    table = paths(patterns=tuple(patterns), prefixes=tuple(prefixes))
    path = matched_path(sent.encode())
    if path is None or table.claimed_otherwise(path, lax_reading(path)):
        return
    rules = tried(table, path)
    if rules and lax_reading(path) is not path:
        for reader in READERS:
            assert set(tried(table, reader.read(sent))) <= set(rules), (reader, reader.read(sent))


def test_patterns_stand_between_exact_paths_and_prefixes_the_longest_first() -> None:
    """Our choice: "the precedence of RegularExpression path matches are implementation-specific"."""
    table = paths(exact=("/a/b",), prefixes=("/", "/a", "/a/b/c"), patterns=("/a/.*", "/.*", "/a/[b-c]", "/b"))
    assert tried(table, "/a/b") == ["= /a/b", "~ /a/[b-c]", "~ /a/.*", "~ /.*", "/a", "/"]
    assert tried(table, "/a/b/c") == ["~ /a/.*", "~ /.*", "/a/b/c", "/a", "/"]


def test_a_pattern_is_for_the_whole_path_and_sees_it_as_it_is_matched() -> None:
    """As with Envoy and Istio; escapes of unreserved characters are undone, all others upper case."""
    table = paths(patterns=("/users/[0-9]+", "/caf%C3%A9"))
    assert tried(table, "/users/12") == ["~ /users/[0-9]+"]
    assert tried(table, "/users/12/x") == []
    assert tried(table, matched_path(b"/%75sers/%31") or "") == ["~ /users/[0-9]+"]
    assert tried(table, matched_path(b"/caf%c3%a9") or "") == ["~ /caf%C3%A9"]


LISTS = st.dictionaries(
    st.builds(
        PathKey, st.sampled_from(["Exact", "PathPrefix", "RegularExpression"]), st.sampled_from(["/a", "/a/b", ""])
    ),
    st.sampled_from([(), ("one",), ("two", "three")]),
)


@given(st.lists(LISTS, max_size=4), PATHS)
def test_a_changed_map_is_as_one_made_anew(changes: list[dict[PathKey, tuple[str, ...]]], path: str) -> None:
    """with_ adds, replaces and takes away, and leaves what it was called on as it was."""
    table = PathMap[str]()
    lists: dict[PathKey, tuple[str, ...]] = {}
    for change in changes:
        before, said = table, list(table.items())
        table = table.with_(change)
        assert list(before.items()) == said
        lists |= change
    anew = PathMap[str]().with_({key: entries for key, entries in lists.items() if entries})
    assert sorted(table.items()) == sorted(anew.items())
    assert table.candidates(path) == anew.candidates(path)
    assert bool(table) == any(lists.values())
    assert all(table.get(key) == entries for key, entries in lists.items())


@given(st.binary(max_size=40))
def test_whatever_bytes_a_client_sends_no_path_with_dot_segments_is_matched(raw: bytes) -> None:
    """A path has a form without dot segments, or none."""
    path = matched_path(b"/" + raw)
    assert path is None or not {".", ".."} & set(path.split("/"))
