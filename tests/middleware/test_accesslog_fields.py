"""Which requests have a line, and what JSON lines tell of header fields."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from middleware.accesslog import AccessLogMiddleware, Selection
from middleware.loggedfields import MAX_NAMES, MAX_VALUE, Fate, LoggedFields
from middleware.record import record_of
from tests.helpers.asgi import Backend, ask, handshake, request

Fields = list[tuple[bytes, bytes]]


def line(
    fields: Fields,
    default: Fate = "keep",
    named: dict[str, Fate] | None = None,
    *,
    answered: Fields | None = None,
    origin: Fields | None = None,
    **scope: Any,
) -> dict[str, Any]:
    """The JSON line of a request with ``fields``, which ``origin`` answered and the client saw as ``answered``."""
    lines: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of(scope)
        assert record is not None
        record.origin_fields = origin or []
        await Backend(fields=answered or [])(scope, receive, send)

    log = AccessLogMiddleware(app, format="json", write=lines.append, fields=LoggedFields(default, named or {}))
    ask(log, request(fields=fields, **scope))
    found: dict[str, Any] = json.loads(lines[0])
    return {key: value for key, value in found.items() if key.partition("_")[0] in ("request", "origin", "downstream")}


# Header fields


def test_keys_are_traefiks() -> None:
    found = line([(b"user-agent", b"curl/8")], origin=[(b"etag", b"1")], answered=[(b"X-Frame-Options", b"DENY")])
    assert found == {"request_User-Agent": "curl/8", "origin_Etag": "1", "downstream_X-Frame-Options": "DENY"}


def test_by_default_nothing_is_told() -> None:
    assert line([(b"user-agent", b"curl/8")], "drop") == {}


def test_redacted_is_the_value_and_not_the_name() -> None:
    assert line([(b"user-agent", b"curl/8")], "redact") == {"request_User-Agent": "REDACTED"}


def test_single_fields_have_their_own_way() -> None:
    fields = [(b"user-agent", b"curl/8"), (b"accept", b"*/*"), (b"referer", b"/")]
    assert line(fields, "drop", {"user-agent": "keep", "accept": "redact"}) == {
        "request_User-Agent": "curl/8",
        "request_Accept": "REDACTED",
    }
    assert line(fields, "keep", {"user-agent": "drop", "accept": "redact"}) == {
        "request_Accept": "REDACTED",
        "request_Referer": "/",
    }


@pytest.mark.parametrize(
    "name",
    [
        b"authorization", b"proxy-authorization", b"cookie", b"x-api-key", b"x_api_key", b"apikey", b"x-auth-token",
        b"x-csrf-token", b"x-amz-security-token", b"x-forwarded-tls-client-cert", b"sec-websocket-protocol",
        b"x-goog-iap-jwt-assertion",
    ],
)  # fmt: skip
def test_credentials_are_kept_only_where_they_are_named(name: bytes) -> None:
    assert list(line([(name, b"hunter2")]).values()) == ["REDACTED"]
    assert list(line([(name, b"hunter2")], "drop", {name.decode(): "keep"}).values()) == ["hunter2"]


def test_set_cookie_is_one_of_them() -> None:
    fields = [(b"set-cookie", b"a=hunter2")]
    found = line([], origin=fields, answered=fields)
    assert found == {"origin_Set-Cookie": "REDACTED", "downstream_Set-Cookie": "REDACTED"}


def test_values_of_one_name_are_joined() -> None:
    assert line([(b"accept", b"a"), (b"accept", b"b")]) == {"request_Accept": "a,b"}


def test_host_is_told_elsewhere() -> None:
    assert line([(b"host", b"a")]) == {}


def test_long_values_are_cut() -> None:
    (value,) = line([(b"accept", b"a" * MAX_VALUE * 3), (b"accept", b"b")]).values()
    assert value == "a" * MAX_VALUE + "…"
    assert line([(b"accept", b"a" * MAX_VALUE)]) == {"request_Accept": "a" * MAX_VALUE}


def test_there_is_a_bound_to_the_names() -> None:
    assert len(line([(b"x-%d" % number, b"") for number in range(1000)])) == MAX_NAMES
    assert line([(b"x" * 65, b"")]) == {}


def test_a_websockets_handshake_has_its_fields() -> None:
    lines: list[str] = []
    log = AccessLogMiddleware(
        Backend(fields=[(b"x-a", b"1")]), format="json", write=lines.append, fields=LoggedFields("keep", {})
    )
    ask(log, handshake(fields=[(b"x-b", b"2")]))
    found = json.loads(lines[0])
    assert (found["request_X-B"], found["downstream_X-A"]) == ("2", "1")


@given(st.lists(st.tuples(st.binary(), st.binary())))
def test_whatever_a_client_sends_the_line_is_one_object_and_one_line(fields: Fields) -> None:
    lines: list[str] = []
    log = AccessLogMiddleware(Backend(), format="json", write=lines.append, fields=LoggedFields("keep", {}))
    ask(log, request(fields=fields))
    assert lines[0].isascii()
    assert lines[0].isprintable()
    plain = json.loads(lines[0])
    assert {key for key in plain if "_" in key and not key.startswith(("request_", "downstream_"))} == set()
    assert plain["DownstreamStatus"] == 200


def test_ids_and_tls_are_told_where_there_are_any() -> None:
    lines: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of(scope)
        assert record is not None
        record.request_id, record.trace_id, record.span_id = 'a"b', "0" * 31 + "1", "0" * 15 + "2"
        await Backend()(scope, receive, send)

    log = AccessLogMiddleware(app, format="json", write=lines.append)
    ask(log, request(state={"tls": ("1.3", "TLS_AES_128_GCM_SHA256")}))
    found = json.loads(lines[0])
    assert (found["RequestId"], found["TraceId"], found["SpanId"]) == ('a"b', "0" * 31 + "1", "0" * 15 + "2")
    assert (found["TLSVersion"], found["TLSCipher"]) == ("1.3", "TLS_AES_128_GCM_SHA256")


# Filters


def written(only: Selection, status: int = 200, *, retries: int = 0) -> bool:
    """Whether a request has a line that is answered ``status`` at once after ``retries``."""
    lines: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of(scope)
        assert record is not None
        record.retries = retries
        await Backend(status)(scope, receive, send)

    ask(AccessLogMiddleware(app, write=lines.append, only=only), request())
    return bool(lines)


def test_without_a_filter_every_request_has_a_line() -> None:
    assert written(Selection())


def test_by_status() -> None:
    only = Selection(statuses=frozenset({404, *range(500, 600)}))
    assert [written(only, status) for status in (200, 404, 405, 500, 599)] == [False, True, False, True, True]


def test_by_duration() -> None:
    assert written(Selection(min_duration=1))
    assert not written(Selection(min_duration=3600 * 1_000_000_000))


def test_by_retries() -> None:
    only = Selection(retries=True)
    assert (written(only), written(only, retries=1)) == (False, True)


def test_any_filter_that_fits_is_enough() -> None:
    only = Selection(statuses=frozenset({404}), min_duration=3600 * 1_000_000_000, retries=True)
    assert written(only, 404)
    assert written(only, retries=1)
    assert not written(only)
