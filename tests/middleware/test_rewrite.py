"""What a URLRewrite makes of host and path."""

import string
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.errors import NoValidBackend
from middleware.filters import around
from middleware.scope import TARGET_PATH
from routes.resources.filters import HTTPPathModifier, HTTPURLRewriteFilter
from routes.table.paths import PathKey, PathMap, behind_prefix, exact_key, prefix_key
from routes.table.types import Filter
from tests.helpers.asgi import Backend, ask, handshake, request


def rewritten(path: bytes, modifier: HTTPPathModifier, prefix: str | None = None) -> bytes:
    """The path that a backend gets."""
    backend = Backend()
    filter_ = Filter("URLRewrite", HTTPURLRewriteFilter(path=modifier))
    ask(around(backend, (filter_,), prefix, lambda _: backend), {**request(), TARGET_PATH: path})
    result: bytes = backend.scopes[0][TARGET_PATH]
    return result


def replaced(path: bytes, prefix: str, replacement: str) -> bytes:
    return rewritten(path, HTTPPathModifier(type="ReplacePrefixMatch", replace_prefix_match=replacement), prefix=prefix)


@pytest.mark.parametrize(
    ("path", "prefix", "replacement", "expected"),
    [
        (b"/foo/bar", "/foo", "/xyz", b"/xyz/bar"),
        (b"/foo/bar", "/foo", "/xyz/", b"/xyz/bar"),
        (b"/foo/bar", "/foo/", "/xyz", b"/xyz/bar"),
        (b"/foo/bar", "/foo/", "/xyz/", b"/xyz/bar"),
        (b"/foo", "/foo", "/xyz", b"/xyz"),
        (b"/foo/", "/foo", "/xyz", b"/xyz/"),
        (b"/foo/bar", "/foo", "", b"/bar"),
        (b"/foo/", "/foo", "", b"/"),
        (b"/foo", "/foo", "", b"/"),
        (b"/foo/", "/foo", "/", b"/"),
        (b"/foo", "/foo", "/", b"/"),
        # Beyond the table
        (b"/foo", "/foo", "/xyz/", b"/xyz"),
        (b"/three", "/", "/xyz", b"/xyz/three"),
        (b"/", "/", "/xyz", b"/xyz/"),
        (b"/foo/bar", "/foo", "xyz", b"/xyz/bar"),
    ],
)
def test_the_matched_prefix_is_replaced(path: bytes, prefix: str, replacement: str, expected: bytes) -> None:
    assert replaced(path, prefix, replacement) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/%70refix/x", b"/new/x"),
        (b"/pr%65fi%78", b"/new"),
        (b"/%70%72%65%66%69%78/%78", b"/new/%78"),
        (b"/prefix/%70refix%2F;a=b//c%20", b"/new/%70refix%2F;a=b//c%20"),
    ],
)
def test_a_prefix_is_cut_off_as_it_was_spelled_and_the_rest_stays_byte_for_byte(path: bytes, expected: bytes) -> None:
    assert replaced(path, "/prefix", "/new") == expected


@pytest.mark.parametrize(
    ("path", "prefix"),
    [(b"/a%c3%a4/x", "/a%C3%A4"), (b"/a%C3%A4/x", "/a%c3%a4"), (b"/a%7Eb/x", "/a~b"), (b"/a~b/x", "/a%7eb")],
)
def test_escapes_in_prefix_and_path_may_differ_as_they_may_to_match(path: bytes, prefix: str) -> None:
    assert replaced(path, prefix, "/new") == b"/new/x"


@pytest.mark.parametrize("path", [b"/other", b"/prefixed", b"/pre", b"/", b"*", b"/%", b"/prefi%7", b"/prefix%2Fx"])
def test_a_path_that_does_not_begin_with_the_prefix_stays(path: bytes) -> None:
    """As it may where a rule's filter has changed it before a backendRef's."""
    assert replaced(path, "/prefix", "/new") == path


SEGMENT = st.text(alphabet="ab~-%/;é", min_size=1, max_size=6)


@st.composite
def spelled(draw: st.DrawFn, text: str) -> bytes:
    """``text``, a normal path, with any of its escapes in lower case, and any of its characters escaped."""
    spelling = b""
    position = 0
    while position < len(text):
        unit = text[position : position + (3 if text[position] == "%" else 1)]
        position += len(unit)
        if unit == "/":
            spelling += b"/"
        elif len(unit) == 3:
            spelling += draw(st.sampled_from([unit, unit.lower()])).encode()
        elif unit in string.ascii_letters + "~-" and draw(st.booleans()):
            spelling += draw(st.sampled_from([b"%%%02X", b"%%%02x"])) % ord(unit)
        else:
            spelling += unit.encode()
    return spelling


@given(
    st.data(),
    st.lists(SEGMENT, max_size=3),
    st.one_of(st.just(""), st.lists(SEGMENT, min_size=1, max_size=3).map(lambda each: "/" + "/".join(each))),
    st.sampled_from(["", "/", "/xyz", "/xyz/", "/x/y"]),
    st.sampled_from(["", "/"]),
)
def test_the_result_is_that_of_the_apis_algorithm_and_the_rest_stays_as_it_was_sent(
    data: st.DataObject, segments: list[str], rest: str, replacement: str, slash: str
) -> None:
    prefix = "".join("/" + quote(segment, safe=";~-") for segment in segments)
    behind = quote(rest, safe="/;~-") or ("" if prefix else "/")
    raw_behind = data.draw(spelled(behind))
    path = data.draw(spelled(prefix)) + raw_behind
    result = replaced(path, prefix + slash or "/", replacement)
    # Strip "/" from the ends of prefix and replacement; the rest is the path without the prefix; nothing is "/".
    normal = exact_key(path.decode())
    assert exact_key(result.decode()) == (replacement.rstrip("/") + normal.removeprefix(prefix_key(prefix)) or "/")
    assert result == (replacement.rstrip("/").encode() + raw_behind or b"/")


@given(st.binary(max_size=12).map(lambda tail: b"/" + tail), st.sampled_from(["/a", "/%C3", "/~b", ""]))
def test_a_prefix_is_found_in_any_path_just_where_it_matches(path: bytes, key: str) -> None:
    prefixes = PathMap[str]().with_({PathKey("PathPrefix", key): ("rule",)})
    matches = bool(prefixes.candidates(exact_key(path.decode("latin-1"))))
    assert (behind_prefix(path, key) is not None) is matches


@pytest.mark.parametrize(
    ("value", "expected"),
    [("/new", b"/new"), ("new", b"/new"), ("", b"/"), ("/a b?c#d%zz", b"/a%20b%3Fc%23d%25zz"), ("/%C3%A4", b"/%C3%A4")],
)
def test_the_full_path_is_replaced_by_what_may_stand_in_a_path(value: str, expected: bytes) -> None:
    assert rewritten(b"/a/b", HTTPPathModifier(type="ReplaceFullPath", replace_full_path=value)) == expected


def test_a_prefix_cannot_be_replaced_where_the_rule_matches_more_than_one() -> None:
    modifier = HTTPPathModifier(type="ReplacePrefixMatch", replace_prefix_match="/")
    with pytest.raises(NoValidBackend):
        rewritten(b"/", modifier, prefix=None)


def test_the_query_and_what_the_client_asked_for_stay() -> None:
    backend = Backend()
    config = HTTPURLRewriteFilter(path=HTTPPathModifier(type="ReplaceFullPath", replace_full_path="/new"))
    ask(around(backend, (Filter("URLRewrite", config),), None, lambda _: backend), request(target="/a?b=c"))
    [scope] = backend.scopes
    assert (scope[TARGET_PATH], scope["query_string"], scope["raw_path"]) == (b"/new", b"b=c", b"/a")


def test_below_a_mount_only_the_path_below_it_is_rewritten() -> None:
    backend = Backend()
    modifier = HTTPPathModifier(type="ReplacePrefixMatch", replace_prefix_match="/new")
    filters = (Filter("URLRewrite", HTTPURLRewriteFilter(path=modifier)),)
    scope = {**request(target="/edge/foo/x", root_path="/edge"), TARGET_PATH: b"/foo/x"}
    ask(around(backend, filters, "/foo", lambda _: backend), scope)
    assert backend.scopes[0][TARGET_PATH] == b"/new/x"
    assert scope[TARGET_PATH] == b"/foo/x"


@pytest.mark.parametrize("make", [request, handshake])
def test_the_host_is_the_only_one_and_what_the_gateway_says_of_the_clients_stays(make: Any) -> None:
    backend = Backend()
    filters = (Filter("URLRewrite", HTTPURLRewriteFilter(hostname="one.example.org")),)
    fields = [(b"x-a", b"1"), (b"host", b"example.org:80"), (b"x-forwarded-host", b"example.org:80")]
    ask(around(backend, filters, None, lambda _: backend), make(fields=fields))
    assert backend.fields == [
        (b"host", b"one.example.org"),
        (b"x-a", b"1"),
        (b"x-forwarded-host", b"example.org:80"),
    ]
