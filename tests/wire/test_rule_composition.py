"""A rule is an application: its filters, the choice of a backend, that backend's filters, the way to an endpoint."""

import asyncio
import re
from collections import Counter
from collections.abc import MutableMapping
from typing import Any, cast

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.proxy import RuleProxy
from middleware.errors import respond
from middleware.filters import FILTERS, FilterFactory, ProxyTo
from middleware.scope import LISTENER_PORT, TARGET_PATH
from routes.resources.filters import HTTPHeaderFilter
from routes.table.types import Backend, Filter
from tests.wire.harness import Loop
from tests.wire.rules import GET, OK, Ruled, backend, retry, session, status, timeouts
from tests.wire.websockets import HANDSHAKE, SWITCHING


def filter_(type_: str, **fields: Any) -> Filter:
    return Filter(type_, HTTPHeaderFilter(), **fields)


class Noting:
    """Adds its name to a field of the request and to one of the answer."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self.app = app
        self.name = name.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noting(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                message["headers"] = [*message["headers"], (b"x-by", self.name)]
            await send(message)

        await self.app({**scope, "headers": [*scope["headers"], (b"x-by", self.name)]}, receive, noting)


def by(output: bytes) -> list[bytes]:
    return re.findall(rb"x-by: (.*?)\r\n", output)


@pytest.fixture
def made() -> list[str]:
    """The filters that were made, in that order."""
    return []


@pytest.fixture(autouse=True)
def known(made: list[str], monkeypatch: pytest.MonkeyPatch) -> MutableMapping[str, FilterFactory]:
    filters = cast(MutableMapping[str, FilterFactory], FILTERS)

    def noting(app: ASGIApp, config: Filter, prefix: str | None, proxy_to: ProxyTo) -> ASGIApp:
        made.append(f"{config.type} {prefix}")
        return Noting(app, config.type)

    for name in ("A", "B", "C", "D"):
        monkeypatch.setitem(filters, name, noting)
    return filters


def test_filters_run_in_their_order_the_rules_before_the_backends(loop: Loop) -> None:
    filters = (filter_("A"), filter_("B"))
    rig = Ruled(loop, backend(1, filters=(filter_("C"), filter_("D"))), filters=filters)
    client = rig.client(GET)
    _, wire = rig.got()
    wire.feed(OK)
    assert by(wire.output) == [b"A", b"B", b"C", b"D"]
    assert by(client.output) == [b"D", b"C", b"B", b"A"]
    assert rig.records[0].route == "default/r/0"
    assert rig.records[0].backend == "b"


def test_filters_are_made_once_for_a_rule_with_its_prefix(loop: Loop, made: list[str]) -> None:
    rig = Ruled(loop, backend(1, filters=(filter_("B"),)), filters=(filter_("A"),), prefix="/x")
    for _ in range(3):
        rig.client(GET)
        rig.answers(OK)
    assert sorted(made) == ["A /x", "B /x"]


def test_a_backends_filters_are_for_its_requests_alone(loop: Loop) -> None:
    one, two = backend(1, name="one", filters=(filter_("A"),)), backend(2, name="two", weight=3)
    rig = Ruled(loop, one, two)
    seen = Counter()  # type: ignore[var-annotated]
    for _ in range(8):
        client = rig.client(GET)
        [number] = rig.answers(OK)
        seen[number, *by(client.output)] += 1
    assert seen == {(1, b"A"): 2, (2,): 6}


def test_a_filter_may_answer_itself(loop: Loop, known: MutableMapping[str, FilterFactory]) -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 404, f"of port {scope[LISTENER_PORT]}")

    known["A"] = lambda app, config, prefix, proxy_to: answer
    rig = Ruled(loop, Backend("b", 1, invalid="no such Service"), filters=(filter_("A"),))
    client = rig.client(GET)
    assert status(client) == 404
    assert client.output.endswith(b"of port 80\n")
    assert rig.records[0].backend == ""


def test_a_filter_may_change_what_is_asked_for(loop: Loop, known: MutableMapping[str, FilterFactory]) -> None:
    def make(app: ASGIApp, config: Filter, prefix: str | None, proxy_to: ProxyTo) -> ASGIApp:
        async def rewriting(scope: Scope, receive: Receive, send: Send) -> None:
            scope = {**scope, TARGET_PATH: b"/new", "query_string": b"q", "headers": [(b"host", b"other")]}
            await app(scope, receive, send)

        return rewriting

    known["A"] = make
    rig = Ruled(loop, filters=(filter_("A"),))
    rig.client(GET)
    assert rig.got()[1].output == b"GET /new?q HTTP/1.1\r\nhost: other\r\n\r\n"


def test_where_a_rule_or_a_backend_is_no_good_no_filter_of_it_runs(loop: Loop) -> None:
    rig = Ruled(loop, filters=(filter_("A"),), invalid="a value of a newer version")
    client = rig.client(GET)
    assert (status(client), by(client.output)) == (500, [])
    rig.change(Backend("b", 1, invalid="no such Service", filters=(filter_("A"),)))
    client = rig.client(GET)
    assert (status(client), by(client.output)) == (500, [])
    rig.change(backend(1, weight=0), filters=(filter_("A"),))
    assert status(rig.client(GET)) == 500


def test_a_filter_that_cannot_be_made_costs_its_own_rule_alone(
    loop: Loop, known: MutableMapping[str, FilterFactory], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(app: ASGIApp, config: Filter, prefix: str | None, proxy_to: ProxyTo) -> ASGIApp:
        raise ValueError("a bad value")

    known["A"] = fail
    rig = Ruled(loop, filters=(filter_("A"),))
    assert status(rig.client(GET)) == 500
    assert rig.silent
    assert "default/r/0: its filters cannot be made" in caplog.text


def test_a_retry_does_not_repeat_the_filters(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2), filters=(filter_("A"),), retry=retry(1, 503))
    client = rig.client(GET)
    rig.answers(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    _, wire = rig.got()
    wire.feed(OK)
    assert by(wire.output) == [b"A"]
    assert by(client.output) == [b"A"]


# Changes


def test_connections_outlive_the_first_filter_of_a_rule_and_the_last(loop: Loop) -> None:
    rig = Ruled(loop)
    for rule in ({}, {"filters": (filter_("A"),)}, {"timeouts": timeouts("9s")}, {}):
        rig.change(**rule)
        rig.client(GET)
        rig.answers(OK)
    assert len(loop.wires) == 1


def test_endpoints_that_are_gone_are_forgotten(loop: Loop) -> None:
    rig = Ruled(loop)
    rig.client(GET)
    rig.answers(OK)
    rig.change(backend(2), filters=(filter_("A"),))
    rig.client(GET)
    rig.answers(OK)
    assert loop.wires[0].closed


# Filters with a backend of their own


class Asking:
    """Asks its own backend first, as an external authorisation does."""

    def __init__(self, app: ASGIApp, own: ASGIApp) -> None:
        self.app = app
        self.own = own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answers: list[Message] = []

        async def empty() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def keep(message: Message) -> None:
            answers.append(message)

        asked = {key: value for key, value in scope.items() if not key.startswith("moongate.")}
        await self.own({**asked, TARGET_PATH: b"/auth"}, _once(empty), keep)
        if answers[0]["status"] == 200:
            await self.app(scope, receive, send)
        else:
            await respond(send, 403, "denied")


def _once(receive: Receive) -> Receive:
    """An end that is not one: nobody leaves."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            await asyncio.get_running_loop().create_future()
        given = True
        return await receive()

    return receiving


@pytest.fixture
def asking(known: MutableMapping[str, FilterFactory]) -> None:
    def make(app: ASGIApp, config: Filter, prefix: str | None, proxy_to: ProxyTo) -> ASGIApp:
        assert config.backend is not None
        return Asking(app, proxy_to(config.backend))

    known["A"] = make


@pytest.mark.usefixtures("asking")
def test_a_filters_own_backend(loop: Loop) -> None:
    rig = Ruled(loop, filters=(filter_("A", backend=backend(9, name="auth", weight=0)),))
    client = rig.client(GET)
    number, wire = rig.got()
    assert (number, wire.output) == (9, b"GET /auth HTTP/1.1\r\nhost: a\r\n\r\n")
    wire.feed(OK)
    assert rig.answers(OK) == [1]
    assert status(client) == 200
    assert rig.records[0].backend == "b", "who was asked first did not answer the client"


@pytest.mark.usefixtures("asking")
def test_a_filters_own_backend_outlives_changes(loop: Loop) -> None:
    rig = Ruled(loop, filters=(filter_("A", backend=backend(9, name="auth")),))
    for prefix in ("/a", "/b"):
        rig.change(filters=(filter_("A", backend=backend(9, name="auth")),), prefix=prefix)
        rig.client(GET)
        assert rig.answers(OK, OK) == [9, 1]
    assert len(loop.wires) == 2


@pytest.mark.usefixtures("asking")
def test_the_time_of_a_request_counts_for_filters_as_well(loop: Loop) -> None:
    rig = Ruled(loop, filters=(filter_("A", backend=backend(9, name="auth")),), timeouts=timeouts("2s"))
    client = rig.client(GET)
    assert rig.got()[0] == 9
    loop.advance(2)
    assert status(client) == 504


# WebSockets


def test_a_websocket_passes_filters(loop: Loop) -> None:
    rig = Ruled(loop, ws="auto", filters=(filter_("A"),), timeouts=timeouts("2s", "2s"))
    client = rig.client(HANDSHAKE)
    _, wire = rig.got()
    assert by(wire.output) == [b"A"]
    wire.feed(SWITCHING)
    loop.advance(10)
    client.feed(b"up")
    wire.feed(b"down")
    assert by(client.output) == [b"A"]
    assert client.output.endswith(b"down")
    assert wire.output.endswith(b"up")
    client.lose()


# What is forwarded on the spot


@pytest.mark.parametrize(
    ("rule", "plain"),
    [
        ({}, True),
        ({"prefix": "/x"}, True),
        ({"timeouts": timeouts("0s", "0s")}, True),
        ({"timeouts": timeouts("1s")}, False),
        ({"timeouts": timeouts(None, "1s")}, False),
        ({"retry": retry(1)}, False),
        ({"session_persistence": session(cookie={})}, False),
        ({"filters": (filter_("A"),)}, False),
    ],
)
def test_a_rule_that_asks_for_nothing_is_a_plain_one(loop: Loop, rule: dict[str, Any], plain: bool) -> None:
    assert (type(Ruled(loop, **rule).proxy) is RuleProxy) is plain


def test_a_rule_whose_backend_has_filters_is_not_plain(loop: Loop) -> None:
    assert type(Ruled(loop, backend(1, filters=(filter_("A"),))).proxy) is not RuleProxy
