"""Who may ask the admin port what."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.admin.guard import HEADERS, MAX_QUERY, Guard
from app.settings import Settings
from tests.app.admin.asking import LOCAL, ask, asked
from tests.helpers import asgi
from tests.helpers.asgi import handshake

ELSEWHERE = ("192.0.2.7", 50000)


class Page:
    """Answers everything, and counts what reached it."""

    def __init__(self) -> None:
        self.reached = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.reached += 1
        await PlainTextResponse("a page")(scope, receive, send)


def guarded(app: ASGIApp | None = None, **settings: object) -> Guard:
    return Guard(app or Page(), Settings.model_validate(settings))


# Methods


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reading_is_answered(method: str) -> None:
    assert ask(guarded(), "/api/overview", method).status == 200


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "PURGE", "QUERY"]
)
def test_every_other_method_is_refused_and_reaches_nothing(method: str) -> None:
    page = Page()
    answer = ask(guarded(page), "/api/overview", method)
    assert (answer.status, answer.values(b"allow"), page.reached) == (405, [b"GET, HEAD"], 0)


def test_a_websocket_is_refused() -> None:
    page = Page()
    answer = asgi.ask(guarded(page), handshake("/dashboard/", [(b"host", b"localhost")], client=LOCAL))
    assert [message["type"] for message in answer.messages] == ["websocket.close"]
    assert page.reached == 0


def test_a_query_has_a_limit() -> None:
    assert ask(guarded(), f"/api/overview?search={'a' * MAX_QUERY}").status == 414


# The name by which a client comes


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:9000",
        "LocalHost.:9000",
        "127.0.0.1",
        "10.1.2.3:9000",
        "[::1]:9000",
        "[fd00::7]",
        "gate.example.com",
        "GATE.example.com.:443",
    ],
)
def test_an_address_localhost_and_the_names_that_are_set_are_answered(host: str) -> None:
    assert ask(guarded(admin_hosts="Gate.Example.com., other"), host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.localhost",
        "[::1].evil.example",
        "[localhost]",
        "::1",
        "",
        ":9000",
        "127.0.0.1@evil.example",
        "gate.example.com..",
    ],
)
def test_any_other_name_is_refused_with_the_setting_that_would_allow_it(host: str) -> None:
    page = Page()
    answer = ask(guarded(page, admin_hosts="gate.example.com"), "/metrics", host=host)
    assert (answer.status, page.reached) == (421, 0)
    assert b"MOONGATE_ADMIN_HOSTS" in answer.body


def test_two_hosts_are_refused() -> None:
    assert ask(guarded(), fields=[(b"host", b"localhost"), (b"host", b"localhost")]).status == 400


def test_no_host_is_refused() -> None:
    assert ask(guarded(), fields=[]).status == 400


def test_a_health_check_of_http_1_0_has_no_host() -> None:
    scope = asgi.request("GET", "/ping", [], client=ELSEWHERE, http_version="1.0")
    assert asgi.ask(guarded(), scope).status == 200


def test_the_name_in_a_refusal_is_short_and_printable() -> None:
    answer = ask(guarded(), fields=[(b"host", b"\xff\x1b[2J" * 1000)])
    assert answer.status == 421
    assert len(answer.body) < 500
    assert answer.body.isascii()
    assert b"\x1b" not in answer.body


# Other sites' pages


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://localhost:3000",
        "http://127.0.0.1:9000.evil.example",
        "file://",
        "chrome-extension://localhost:9000",
        "",
    ],
)
def test_a_foreign_origin_is_refused(origin: str) -> None:
    page = Page()
    answer = ask(guarded(page), "/metrics", host="localhost:9000", origin=origin)
    assert (answer.status, page.reached) == (403, 0)


def test_our_own_origin_is_answered_behind_a_proxy_that_ends_tls_too() -> None:
    app = guarded(admin_hosts="gate.example.com", dashboard="on")
    assert ask(app, host="localhost:9000", origin="http://localhost:9000").status == 200
    assert ask(app, host="Gate.example.com", origin="https://gate.example.com").status == 200


def test_two_origins_are_refused() -> None:
    fields = [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"origin", b"http://localhost")]
    assert ask(guarded(), fields=fields).status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "Same-Origin"])
@pytest.mark.parametrize("mode", ["no-cors", "cors", "websocket"])
def test_what_another_sites_page_fetches_is_refused(site: str, mode: str) -> None:
    assert ask(guarded(), sec_fetch_site=site, sec_fetch_mode=mode, sec_fetch_dest="empty").status == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_what_our_own_page_fetches_is_answered(site: str) -> None:
    assert ask(guarded(), sec_fetch_site=site, sec_fetch_mode="cors", sec_fetch_dest="empty").status == 200


def test_a_link_on_another_site_may_be_followed() -> None:
    fields: dict[str, Any] = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert ask(guarded(), **fields, sec_fetch_dest="document").status == 200
    assert ask(guarded(), **fields, sec_fetch_dest="iframe").status == 403


# Where clients are


@pytest.mark.parametrize("path", ["/", "/dashboard/", "/dashboard/routes", "/api/rawdata", "/anything"])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_a_client_on_this_machine_sees_all(path: str, address: str) -> None:
    assert ask(guarded(), path, client=(address, 1)).status == 200


@pytest.mark.parametrize("path", ["/", "/dashboard/", "/api/rawdata", "/ping/", "//ping", "/anything"])
@pytest.mark.parametrize("address", ["192.0.2.7", "::ffff:192.0.2.7", "fd00::7", "10.0.0.1", "testclient"])
def test_any_other_client_is_told_what_to_do(path: str, address: str) -> None:
    page = Page()
    answer = ask(guarded(page), path, client=(address, 1))
    assert (answer.status, page.reached) == (403, 0)
    assert b"kubectl port-forward" in answer.body
    assert b"MOONGATE_DASHBOARD=on" in answer.body


def test_a_client_without_an_address_is_not_on_this_machine() -> None:
    assert ask(guarded(), "/api/rawdata", client=None).status == 403


@pytest.mark.parametrize("field", ["X-Forwarded-For", "Forwarded"])
def test_what_a_proxy_on_this_machine_passes_on_is_not_from_this_machine(field: str) -> None:
    passed: dict[str, Any] = {field.replace("-", "_"): "192.0.2.7"}
    assert ask(guarded(), "/api/rawdata", **passed).status == 403
    assert ask(guarded(), "/metrics", **passed).status == 200
    assert ask(guarded(dashboard="on"), "/api/rawdata", **passed).status == 200


@pytest.mark.parametrize("path", ["/ping", "/ready", "/metrics", "/version"])
@pytest.mark.parametrize("dashboard", ["local", "on", "off"])
def test_probes_and_prometheus_are_answered_wherever_they_are(path: str, dashboard: str) -> None:
    app = guarded(dashboard=dashboard)
    assert ask(app, path, client=ELSEWHERE, host="10.1.2.3:9000", user_agent="kube-probe/1.34").status == 200


def test_where_it_is_on_all_see_it() -> None:
    assert ask(guarded(dashboard="on"), "/dashboard/", client=ELSEWHERE).status == 200


@pytest.mark.parametrize("path", ["/", "/dashboard/", "/api/rawdata"])
def test_where_it_is_off_there_is_none(path: str) -> None:
    assert ask(guarded(dashboard="off"), path).status == 404


# What every answer says


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("/", "localhost", 200),
        ("/missing", "localhost", 404),
        ("/broken", "localhost", 500),
        ("/", "evil.example", 421),
    ],
)
def test_every_answer_has_the_headers(target: str, host: str, status: int) -> None:
    async def broken(_: Request) -> PlainTextResponse:
        raise LookupError("a secret of the inside")

    async def page(_: Request) -> PlainTextResponse:
        return PlainTextResponse("a page")

    async def survived(scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(LookupError):  # the server logs it
            await Starlette(routes=[Route("/", page), Route("/broken", broken)])(scope, receive, send)

    answer = ask(guarded(survived), target, host=host)
    assert answer.status == status
    for name, value in HEADERS.items():
        assert answer.values(name.encode()) == [value.encode()]
    assert answer.values(b"cache-control") == [b"no-store"]
    assert not [name for name, _ in answer.fields if name.startswith(b"access-control-")]
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body


def test_what_may_be_cached_says_so_itself() -> None:
    async def static(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("a", headers={"cache-control": "max-age=31536000, immutable"})(scope, receive, send)

    assert ask(guarded(static)).values(b"cache-control") == [b"max-age=31536000, immutable"]


def test_a_client_that_leaves_in_the_middle_is_no_fault() -> None:
    async def pieces() -> AsyncIterator[str]:
        while True:
            yield "data: 1\n\n"

    async def page(_: Request) -> StreamingResponse:
        return StreamingResponse(pieces())

    async def main() -> list[str]:
        sent: list[str] = []

        async def send(message: Message) -> None:
            if len(sent) == 3:
                raise ConnectionResetError("the client has left")
            sent.append(message["type"])

        scope = asked("/", "GET", [(b"host", b"localhost")], LOCAL)
        await guarded(Starlette(routes=[Route("/", page)]))({**scope, "asgi": {"spec_version": "2.4"}}, never, send)
        return sent

    assert asyncio.run(main()) == ["http.response.start", "http.response.body", "http.response.body"]


async def never() -> Message:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]
