"""Where a RequestRedirect sends its clients."""

from typing import Any

import pytest

from middleware.errors import BadRequest
from middleware.filters import around
from middleware.scope import LISTENER_PORT
from routes.resources.filters import HTTPPathModifier, HTTPRequestRedirectFilter
from routes.table.types import Filter
from tests.helpers.asgi import Answer, Backend, ask, handshake, request


def redirected(scope: Any, prefix: str | None = None, **config: Any) -> Answer:
    """What a redirect answers; fails where anything passes it."""
    backend = Backend()
    filter_ = Filter("RequestRedirect", HTTPRequestRedirectFilter(**config))
    answer = ask(around(backend, (filter_,), prefix, lambda _: backend), scope)
    assert not backend.scopes
    return answer


def location(scope: Any, prefix: str | None = None, **config: Any) -> str:
    [value] = redirected(scope, prefix, **config).values(b"location")
    return value.decode()


# The table of the API for ports and schemes: listener's scheme and port, the filter's, and the URL's beginning


@pytest.mark.parametrize(
    ("scheme", "listener", "config", "expected"),
    [
        ("http", 80, {}, "http://example.org"),
        ("http", 80, {"port": 80}, "http://example.org"),
        ("http", 80, {"port": 8080}, "http://example.org:8080"),
        ("http", 80, {"port": 443}, "http://example.org:443"),
        ("http", 80, {"scheme": "https"}, "https://example.org"),
        ("http", 80, {"scheme": "https", "port": 443}, "https://example.org"),
        ("http", 80, {"scheme": "https", "port": 8443}, "https://example.org:8443"),
        ("http", 8080, {}, "http://example.org:8080"),
        ("http", 8080, {"port": 80}, "http://example.org"),
        ("http", 8080, {"scheme": "http"}, "http://example.org"),
        ("http", 8080, {"scheme": "https"}, "https://example.org"),
        ("https", 443, {}, "https://example.org"),
        ("https", 443, {"port": 443}, "https://example.org"),
        ("https", 443, {"port": 8443}, "https://example.org:8443"),
        ("https", 443, {"scheme": "http"}, "http://example.org"),
        ("https", 443, {"scheme": "http", "port": 80}, "http://example.org"),
        ("https", 443, {"scheme": "http", "port": 8080}, "http://example.org:8080"),
    ],
)
def test_the_port_is_the_filters_or_follows_its_scheme_or_is_the_listeners(
    scheme: str, listener: int, config: dict[str, Any], expected: str
) -> None:
    scope = {**request(scheme=scheme), LISTENER_PORT: listener}
    assert location(scope, **config) == f"{expected}/"


def test_the_port_of_host_counts_for_nothing() -> None:
    scope = {**request(fields=[(b"host", b"example.org:31080")]), LISTENER_PORT: 80}
    assert location(scope, status_code=301) == "http://example.org/"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_status_is_the_filters(status: int) -> None:
    answer = redirected(request("POST", "/x"), status_code=status)
    assert answer.status == status
    assert answer.values(b"location") == [b"http://example.org/x"]


def test_the_status_is_302_where_none_is_given() -> None:
    assert redirected(request(), hostname="example.com").status == 302


def test_the_answer_is_short_and_plain_text_of_a_stated_length() -> None:
    answer = redirected(request())
    assert answer.values(b"content-type") == [b"text/plain; charset=utf-8"]
    assert answer.values(b"content-length") == [b"%d" % len(answer.body)]
    assert answer.body == b"302 Found: look at http://example.org/\n"


def test_head_gets_no_body() -> None:
    assert redirected(request("HEAD")).body == b""


def test_another_host_keeps_path_and_query_as_they_were_sent() -> None:
    scope = {**request(target="/a%2Fb/%C3%A4?q=%20&r"), LISTENER_PORT: 80}
    assert location(scope, hostname="example.com") == "http://example.com/a%2Fb/%C3%A4?q=%20&r"


@pytest.mark.parametrize(
    ("target", "prefix", "replacement", "expected"),
    [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar?a=1", "/foo", "/xyz/", "/xyz/bar?a=1"),
        ("/foo", "/foo/", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo", "/foo", "", "/"),
    ],
)
def test_a_matched_prefix_is_replaced(target: str, prefix: str, replacement: str, expected: str) -> None:
    path = HTTPPathModifier(type="ReplacePrefixMatch", replace_prefix_match=replacement)
    assert location(request(target=target), prefix, path=path) == f"http://example.org{expected}"


def test_the_full_path_is_replaced_and_the_query_stays() -> None:
    path = HTTPPathModifier(type="ReplaceFullPath", replace_full_path="/new")
    assert location(request(target="/a/b?c=d"), path=path) == "http://example.org/new?c=d"


@pytest.mark.parametrize("target", ["//evil.example", "//evil.example/%2e%2e", "/\\evil.example", "//evil@x"])
def test_no_path_leads_to_another_host(target: str) -> None:
    found = location(request(target=target))
    assert found.startswith("http://example.org/")
    assert "\\" not in found


@pytest.mark.parametrize("replacement", ["//evil.example", "evil.example", "@evil.example", ".evil.example"])
def test_no_new_path_runs_into_the_host(replacement: str) -> None:
    path = HTTPPathModifier(type="ReplaceFullPath", replace_full_path=replacement)
    assert location(request(), path=path).startswith("http://example.org/")


def test_nothing_in_a_path_or_a_query_ends_the_field() -> None:
    scope = request()
    scope["moongate.path"] = b"/a\r\nSet-Cookie: x=1"
    scope["query_string"] = b"\xff\n"
    assert location(scope) == "http://example.org/a%0D%0ASet-Cookie:%20x=1?%FF%0A"
    path = HTTPPathModifier(type="ReplaceFullPath", replace_full_path="/a\r\nb: c?d#é")
    assert location(request(), path=path) == "http://example.org/a%0D%0Ab:%20c%3Fd%23%C3%A9"


def test_the_path_begins_at_the_servers_root_and_not_at_the_mount() -> None:
    scope = request(target="/foo/bar", root_path="/edge mount")
    path = HTTPPathModifier(type="ReplacePrefixMatch", replace_prefix_match="/xyz")
    assert location(scope, "/foo", path=path) == "http://example.org/edge%20mount/xyz/bar"


def test_an_address_may_stand_for_the_host() -> None:
    scope = {**request(fields=[(b"host", b"[2001:db8::1]:8080")]), LISTENER_PORT: 8080}
    assert location(scope) == "http://[2001:db8::1]:8080/"


@pytest.mark.parametrize("fields", [[], [(b"host", b"")], [(b"host", b"a/b")], [(b"host", b"a b")]])
def test_without_a_host_there_is_nowhere_to_go(fields: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(BadRequest):
        redirected(request("GET", "/", fields))
    assert location(request("GET", "/", fields), hostname="example.com") == "http://example.com/"


def test_the_server_as_a_whole_is_redirected_to_its_root() -> None:
    assert location(request("OPTIONS", "*")) == "http://example.org/"


def test_a_websockets_handshake_is_redirected_as_the_request_that_it_is() -> None:
    answer = redirected({**handshake("/chat", scheme="wss"), LISTENER_PORT: 443})
    assert [message["type"] for message in answer.messages] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert answer.status == 302
    assert answer.values(b"location") == [b"https://example.org/chat"]


def test_a_server_that_cannot_answer_a_handshake_refuses_it() -> None:
    assert redirected(handshake(extensions={})).messages == [{"type": "websocket.close"}]
