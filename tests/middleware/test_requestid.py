"""Each request has one id: for the backend, in the answer and in the record, and no client can choose it."""

import re
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from middleware.record import RECORD, RequestRecord
from middleware.requestid import RequestIdMiddleware
from middleware.scope import DECIDED
from tests.helpers.asgi import Backend, ask, handshake, request

CLIENT: dict[str, Any] = {"client": ("192.0.2.1", 1)}
PROXY: dict[str, Any] = {"client": ("10.0.0.1", 1)}
MADE = re.compile(rb"[0-9a-f]{32}")


def known(record: RequestRecord) -> dict[str, Any]:
    return {RECORD: record}


def with_ids(backend: Any, name: str = "X-Request-Id") -> RequestIdMiddleware:
    return RequestIdMiddleware(backend, name=name, trusts=lambda host: host.startswith("10."))


def got(*fields: tuple[bytes, bytes], name: str = "X-Request-Id", **scope: Any) -> list[bytes]:
    """The ids that the backend gets of a request with ``fields``."""
    backend = Backend()
    ask(with_ids(backend, name), request(fields=[(b"host", b"a"), *fields], **{**CLIENT, **scope}))
    return backend.values(name.lower().encode())


def test_backend_client_and_record_get_one_new_id() -> None:
    backend, record = Backend(), RequestRecord()
    answer = ask(with_ids(backend), request(**CLIENT, **known(record)))
    (made,) = backend.values(b"x-request-id")
    assert MADE.fullmatch(made)
    assert answer.values(b"x-request-id") == [made]
    assert record.request_id == made.decode()


def test_no_two_ids_are_the_same() -> None:
    backend = Backend()
    middleware = with_ids(backend)
    for _ in range(1000):
        ask(middleware, request(**CLIENT))
    ids = {dict(scope["headers"])[b"x-request-id"] for scope in backend.scopes}
    assert len(ids) == 1000


def test_a_trusted_proxys_id_is_taken_over() -> None:
    assert got((b"x-request-id", b"a-1"), **PROXY) == [b"a-1"]


@pytest.mark.parametrize("value", [b"", b"a b", b"a\xe4", b"a\tb", b"x" * 129])
def test_a_malformed_one_is_not(value: bytes) -> None:
    (made,) = got((b"x-request-id", value), **PROXY)
    assert MADE.fullmatch(made)


def test_of_two_none_is_taken_over() -> None:
    (made,) = got((b"x-request-id", b"a"), (b"x-request-id", b"b"), **PROXY)
    assert MADE.fullmatch(made)


def test_a_clients_id_is_dropped() -> None:
    (made,) = got((b"x-request-id", b"mine"))
    assert MADE.fullmatch(made)


def test_a_peer_without_an_address_is_not_trusted() -> None:
    (made,) = got((b"x-request-id", b"mine"), client=None)
    assert MADE.fullmatch(made)


@pytest.mark.parametrize("spelling", [b"x_request_id", b"x-request_id", b"x_request-id"])
@pytest.mark.parametrize("peer", [CLIENT, PROXY])
def test_other_spellings_are_dropped_whoever_sends_them(spelling: bytes, peer: dict[str, Any]) -> None:
    backend = Backend()
    ask(with_ids(backend), request(fields=[(b"host", b"a"), (spelling, b"mine")], **peer))
    assert [name for name, _ in backend.fields] == [b"host", b"x-request-id"]


def test_connection_cannot_take_it_away() -> None:
    backend = Backend()
    fields = [(b"host", b"a"), (b"connection", b"X-Correlation-Id, x-other"), (b"x-other", b"1")]
    ask(with_ids(backend, "X-Correlation-Id"), request(fields=fields, **CLIENT))
    assert [name for name, _ in backend.fields] == [b"host", b"x-correlation-id"]


def test_none_may_come_behind_the_body() -> None:
    backend = Backend()
    ask(with_ids(backend), request(**CLIENT))
    assert b"x-request-id" in backend.scopes[0][DECIDED]


def test_the_client_gets_ours_and_not_the_backends() -> None:
    backend = Backend(fields=[(b"X-Request-Id", b"theirs"), (b"x-other", b"1")])
    answer = ask(with_ids(backend), request(**CLIENT))
    assert answer.values(b"x-request-id") == backend.values(b"x-request-id")
    assert answer.values(b"x-other") == [b"1"]


def test_a_websocket_has_one_too() -> None:
    backend = Backend()
    answer = ask(with_ids(backend), handshake(**CLIENT))
    assert answer.values(b"x-request-id") == backend.values(b"x-request-id")


def test_an_id_that_the_request_has_already_stays() -> None:
    backend = Backend()
    ask(with_ids(backend), request(**CLIENT, **known(RequestRecord(request_id="known"))))
    assert backend.values(b"x-request-id") == [b"known"]


def test_other_scope_types_pass() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await send({"type": "lifespan.startup.complete"})

    scope = {"type": "lifespan"}
    ask(with_ids(app), scope)
    assert seen == [scope]
