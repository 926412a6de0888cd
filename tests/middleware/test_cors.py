"""What CORS tells browsers, and what it keeps from backends."""

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from middleware.cors import CORSMiddleware
from middleware.errors import ErrorMiddleware, NoReadyEndpoint
from routes.resources.filters import HTTPCORSFilter
from tests.helpers.asgi import Answer, Backend, Fields, ask, handshake, request

ORIGIN = b"access-control-allow-origin"
METHODS = b"access-control-allow-methods"
HEADERS = b"access-control-allow-headers"
EXPOSED = b"access-control-expose-headers"
CREDENTIALS = b"access-control-allow-credentials"
MAX_AGE = b"access-control-max-age"

#: The rules of the official test.
SEVERAL = HTTPCORSFilter(
    allow_origins=("https://www.foo.com", "https://*.bar.com"),
    allow_methods=("GET", "OPTIONS"),
    allow_headers=("x-header-1", "x-header-2"),
    expose_headers=("x-header-3", "x-header-4"),
    allow_credentials=True,
    max_age=3600,
)
ANY_METHOD = HTTPCORSFilter(allow_origins=("https://www.foo.com",), allow_methods=("*",))
ANY_ORIGIN = HTTPCORSFilter(allow_origins=("*",), allow_methods=("PUT",))
ALL = HTTPCORSFilter(allow_origins=("*",), allow_methods=("*",), allow_headers=("*",))
ALL_WITH_CREDENTIALS = ALL.model_copy(update={"allow_credentials": True})


def preflight(config: HTTPCORSFilter, origin: str, method: str = "GET", headers: str | None = None) -> Answer:
    """The answer to a preflight, which no backend must have seen."""
    fields = [(b"host", b"a"), (b"origin", origin.encode()), (b"access-control-request-method", method.encode())]
    if headers is not None:
        fields.append((b"access-control-request-headers", headers.encode()))
    backend = Backend()
    answer = ask(CORSMiddleware(backend, config=config), request("OPTIONS", fields=fields))
    assert not backend.scopes
    assert answer.status == 204
    assert answer.body == b""
    assert answer.values(b"content-type") == answer.values(b"content-length") == []
    return answer


def actual(config: HTTPCORSFilter, origin: str | None, method: str = "GET", fields: Fields | None = None) -> Answer:
    """The answer of a backend that itself gives ``fields``."""
    backend = Backend(fields=fields or [])
    asked = [(b"host", b"a"), *([(b"origin", origin.encode())] if origin is not None else [])]
    answer = ask(CORSMiddleware(backend, config=config), request(method, fields=asked))
    assert len(backend.scopes) == 1
    assert answer.body == b"ok"
    return answer


def cors(answer: Answer) -> dict[bytes, bytes]:
    """The CORS fields of an answer, each of which must be there once at most."""
    found = [(name, value) for name, value in answer.fields if name.startswith(b"access-control-")]
    assert len(found) == len(dict(found))
    return dict(found)


# The rows of the official test


@pytest.mark.parametrize("origin", ["https://www.foo.com", "https://www.bar.com", "https://xpto.www.bar.com"])
def test_an_allowed_origins_preflight_gets_all_that_is_configured(origin: str) -> None:
    assert cors(preflight(SEVERAL, origin, "GET", "x-header-1, x-header-2")) == {
        ORIGIN: origin.encode(),
        METHODS: b"GET, OPTIONS",
        HEADERS: b"x-header-1, x-header-2",
        EXPOSED: b"x-header-3, x-header-4",
        MAX_AGE: b"3600",
        CREDENTIALS: b"true",
    }


def test_another_origins_preflight_is_answered_and_allows_nothing() -> None:
    assert cors(preflight(SEVERAL, "https://foobar.com")) == {}


@pytest.mark.parametrize("origin", ["https://www.foo.com", "https://www.bar.com"])
def test_an_allowed_origin_reads_the_backends_answer(origin: str) -> None:
    assert cors(actual(SEVERAL, origin)) == {
        ORIGIN: origin.encode(),
        EXPOSED: b"x-header-3, x-header-4",
        CREDENTIALS: b"true",
    }


def test_another_origins_request_reaches_the_backend_and_may_not_be_read() -> None:
    assert cors(actual(SEVERAL, "https://foobar.com")) == {}


def test_any_method_without_credentials_is_a_star() -> None:
    assert cors(preflight(ANY_METHOD, "https://www.foo.com", "POST")) == {
        ORIGIN: b"https://www.foo.com",
        METHODS: b"*",
        MAX_AGE: b"5",
    }


@pytest.mark.parametrize("origin", ["https://foobar.com", "https://foobar.com:12345"])
def test_any_origin_without_credentials_is_a_star(origin: str) -> None:
    assert cors(preflight(ANY_ORIGIN, origin, "PUT")) == {ORIGIN: b"*", METHODS: b"PUT", MAX_AGE: b"5"}
    assert cors(actual(ANY_ORIGIN, origin, "PUT")) == {ORIGIN: b"*"}


def test_with_credentials_a_star_is_what_was_asked_for() -> None:
    answer = preflight(ALL_WITH_CREDENTIALS, "https://other.foo.com", "PUT", "x-header-1, x-header-2")
    assert cors(answer) == {
        ORIGIN: b"https://other.foo.com",
        METHODS: b"PUT",
        HEADERS: b"x-header-1, x-header-2",
        MAX_AGE: b"5",
        CREDENTIALS: b"true",
    }
    assert cors(actual(ALL_WITH_CREDENTIALS, "https://other.foo.com")) == {
        ORIGIN: b"https://other.foo.com",
        CREDENTIALS: b"true",
    }


def test_without_credentials_nothing_is_said_of_them() -> None:
    answer = preflight(ALL, "https://other.foo.com", "PUT", "x-header-1, authorization")
    assert cors(answer) == {ORIGIN: b"*", METHODS: b"*", HEADERS: b"x-header-1, authorization", MAX_AGE: b"5"}
    assert cors(actual(ALL, "https://other.foo.com")) == {ORIGIN: b"*"}


# Origins


@pytest.mark.parametrize(
    ("allowed", "origin", "matches"),
    [
        ("https://a.com", "https://a.com", True),
        ("https://a.com", "https://A.com", True),
        ("https://a.com", "http://a.com", False),
        ("https://a.com", "https://a.com:443", True),
        ("https://a.com:443", "https://a.com", True),
        ("http://a.com:80", "http://a.com", True),
        ("http://a.com", "http://a.com:80", True),
        ("https://a.com", "https://a.com:80", False),
        ("https://a.com", "https://a.com:8443", False),
        ("https://a.com:8443", "https://a.com:8443", True),
        ("https://a.com:8443", "https://a.com", False),
        ("https://*.a.com", "https://b.a.com", True),
        ("https://*.a.com", "https://c.b.a.com", True),
        ("https://*.a.com", "https://a.com", False),
        ("https://*.a.com", "https://.a.com", False),
        ("https://*.a.com", "https://evila.com", False),
        ("https://*.a.com", "https://b.a.com.evil.com", False),
        ("https://*.a.com:8443", "https://b.a.com:8443", True),
        ("https://*.a.com:8443", "https://b.a.com", False),
        ("https://*", "https://anything", True),
        ("https://*", "http://anything", False),
        ("https://*", "https://[2001:db8::1]", True),
        ("https://*:8443", "https://anything:8443", True),
        ("https://a.com", "null", False),
        ("https://*", "null", False),
        ("https://*", "https://evil/x", False),
        ("https://*.a.com", "https://evil.com/.a.com", False),
        ("https://*.a.com", "https://evil.com#.a.com", False),
        ("https://*.a.com", "https://evil.com@x.a.com", False),
        ("*", "null", True),
        ("*", "https://a.com", True),
    ],
)
def test_an_origin_is_compared_by_scheme_host_and_port(allowed: str, origin: str, matches: bool) -> None:
    config = HTTPCORSFilter(allow_origins=(allowed,), allow_credentials=True)
    assert cors(actual(config, origin)).get(ORIGIN) == (origin.encode() if matches else None)
    assert (ORIGIN in cors(preflight(config, origin))) is matches


def test_without_origins_none_is_allowed() -> None:
    assert cors(actual(HTTPCORSFilter(), "https://a.com")) == cors(preflight(HTTPCORSFilter(), "https://a.com")) == {}


# What is a preflight


@pytest.mark.parametrize(
    "fields",
    [
        [(b"origin", b"https://www.foo.com")],
        [(b"access-control-request-method", b"GET")],
        [],
    ],
)
def test_options_that_is_no_preflight_is_the_backends(fields: Fields) -> None:
    backend = Backend()
    ask(CORSMiddleware(backend, config=SEVERAL), request("OPTIONS", fields=fields))
    assert len(backend.scopes) == 1


def test_what_a_preflight_does_not_ask_for_is_not_answered() -> None:
    assert HEADERS not in cors(preflight(SEVERAL, "https://www.foo.com"))
    assert HEADERS not in cors(preflight(ALL, "https://www.foo.com"))


def test_without_methods_and_headers_scripts_may_use_what_they_always_may() -> None:
    config = HTTPCORSFilter(allow_origins=("https://a.com",))
    assert cors(preflight(config, "https://a.com", "PUT", "x-a")) == {ORIGIN: b"https://a.com", MAX_AGE: b"5"}


@pytest.mark.parametrize("asked", ["x-a\x00", "x-a;y", "", '"x"', "x-a,,b"])
def test_only_names_are_said_to_a_client_again(asked: str) -> None:
    assert HEADERS not in cors(preflight(ALL_WITH_CREDENTIALS, "https://a.com", "PUT", asked))
    assert METHODS not in cors(preflight(ALL_WITH_CREDENTIALS, "https://a.com", asked or "(", None))


def test_with_credentials_a_star_among_exposed_headers_is_left_out() -> None:
    """Browsers would take it for the name of a header."""
    config = HTTPCORSFilter(allow_origins=("*",), expose_headers=("*", "x-a"))
    assert cors(actual(config, "https://a.com"))[EXPOSED] == b"*, x-a"
    config = config.model_copy(update={"allow_credentials": True})
    assert cors(actual(config, "https://a.com"))[EXPOSED] == b"x-a"
    config = config.model_copy(update={"expose_headers": ("*",)})
    assert EXPOSED not in cors(actual(config, "https://a.com"))


# Beside backends and caches


@pytest.mark.parametrize("origin", ["https://www.foo.com", "https://foobar.com", None])
def test_a_backends_own_cors_fields_give_way(origin: str | None) -> None:
    theirs = [
        (b"Access-Control-Allow-Origin", b"https://foobar.com"),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b"x-secret"),
        (b"x-a", b"1"),
    ]
    answer = actual(SEVERAL, origin, fields=theirs)
    assert answer.values(b"x-a") == [b"1"]
    assert cors(answer) == cors(actual(SEVERAL, origin))


@pytest.mark.parametrize("origin", ["https://www.foo.com", "https://foobar.com", None])
def test_caches_learn_that_an_answer_is_for_its_origin(origin: str | None) -> None:
    assert actual(SEVERAL, origin).values(b"vary") == [b"origin"]
    assert actual(ALL_WITH_CREDENTIALS, origin).values(b"vary") == [b"origin"]


def test_an_answer_that_is_the_same_for_all_does_not_vary() -> None:
    """It has its field without an Origin, too: a cache keeps it for who sends one."""
    assert actual(ALL, None).fields == [(ORIGIN, b"*")]


@pytest.mark.parametrize("vary", [b"Origin", b"accept-encoding, origin", b"*"])
def test_a_backend_that_varies_by_origin_itself_is_not_repeated(vary: bytes) -> None:
    assert actual(SEVERAL, None, fields=[(b"Vary", vary)]).values(b"vary") == [vary]


def test_another_vary_of_a_backend_stays() -> None:
    answer = actual(SEVERAL, None, fields=[(b"vary", b"accept-encoding")])
    assert answer.values(b"vary") == [b"accept-encoding", b"origin"]


def test_a_preflight_varies_by_all_that_it_asks() -> None:
    for origin in ("https://www.foo.com", "https://foobar.com"):
        assert preflight(SEVERAL, origin).values(b"vary") == [
            b"origin, access-control-request-method, access-control-request-headers"
        ]


def test_a_script_may_read_the_gateways_own_errors() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise NoReadyEndpoint

    def failed(origin: bytes) -> Answer:
        app = ErrorMiddleware(CORSMiddleware(broken, config=SEVERAL))
        return ask(app, request(fields=[(b"origin", origin)]))

    answer = failed(b"https://www.foo.com")
    assert (answer.status, answer.values(ORIGIN), answer.values(b"vary")) == (
        503,
        [b"https://www.foo.com"],
        [b"origin"],
    )
    assert failed(b"https://foobar.com").values(ORIGIN) == []


def test_websockets_pass_since_browsers_hold_no_cors_against_them() -> None:
    scope: Any = handshake(fields=[(b"origin", b"https://foobar.com")])
    backend = Backend()
    answer = ask(CORSMiddleware(backend, config=SEVERAL), scope)
    assert backend.scopes == [scope]
    assert answer.fields == []
