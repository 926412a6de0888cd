"""What a mirror gets, and that nobody waits for it."""

import asyncio
import gc
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware import mirror as module
from middleware.answer import CYCLE
from middleware.errors import ConnectFailed
from middleware.filters import around
from middleware.headers import RequestHeaderModifierMiddleware
from middleware.mirror import MAX_BUFFERED, RequestMirrorMiddleware
from middleware.record import RECORD, RequestRecord
from middleware.scope import TARGET_PATH
from routes.resources.filters import (
    BackendObjectReference,
    Fraction,
    HTTPHeader,
    HTTPHeaderFilter,
    HTTPRequestMirrorFilter,
)
from routes.table.types import Backend as TableBackend
from routes.table.types import Filter
from tests.helpers.asgi import Backend, answered, request

REF = BackendObjectReference(name="mirror", port=80)
CHUNKED = [(b"host", b"a"), (b"transfer-encoding", b"chunked")]


def config(**share: Any) -> HTTPRequestMirrorFilter:
    return HTTPRequestMirrorFilter(backend_ref=REF, **share)


async def settled(*, turns: int = 20) -> None:
    """Give all that is ready its turn."""
    for _ in range(turns):
        await asyncio.sleep(0)


class Client:
    """A request whose body comes when the test says so."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []

    def body(self, data: bytes, *, more: bool = True) -> None:
        self.messages.put_nowait({"type": "http.request", "body": data, "more_body": more})

    def leave(self) -> None:
        self.messages.put_nowait({"type": "http.disconnect"})

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def ask(self, app: ASGIApp, scope: Scope) -> "asyncio.Task[None]":
        return asyncio.ensure_future(app(scope, self.messages.get, self.send))


class Slow:
    """A mirror that takes nothing before it is told to, and keeps how its request ended."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.received = b""
        self.ended = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.go.wait()
            more = True
            while more:
                message = await receive()
                self.received += message["body"]
                more = message["more_body"]
            self.ended = "complete"
        except asyncio.CancelledError:
            self.ended = "broken off"
            raise


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def test_a_mirror_gets_method_path_query_fields_and_body_and_the_client_the_backends_answer() -> None:
    async def scenario() -> None:
        backend, copy = Backend(body=b"real"), Backend(status=500, body=b"mirror")
        scope = request("POST", "/a%2Fb?c=d", [(b"host", b"a"), (b"content-length", b"6")])
        answer = await answered(RequestMirrorMiddleware(backend, mirror=copy, config=config()), scope, b"abc", b"def")
        await settled()
        assert (answer.status, answer.body) == (200, b"real")
        assert backend.bodies == copy.bodies == [b"abcdef"]
        for name in ("method", "headers", "query_string", TARGET_PATH):
            assert copy.scopes[0][name] == scope[name]

    run(scenario)


def test_every_filter_of_a_rule_mirrors_and_what_stands_before_it_is_in_its_copy() -> None:
    async def scenario() -> None:
        first, second, backend = Backend(), Backend(), Backend()
        apps = {"first": first, "second": second}
        header = HTTPHeaderFilter(set=(HTTPHeader(name="X-A", value="1"),))
        filters = (
            Filter("RequestMirror", config(), TableBackend("first", 1)),
            Filter("RequestHeaderModifier", header),
            Filter("RequestMirror", config(), TableBackend("second", 1)),
        )
        await answered(around(backend, filters, None, lambda each: apps[each.name]), request())
        await settled()
        assert first.values(b"x-a") == []
        assert second.values(b"x-a") == backend.values(b"x-a") == [b"1"]

    run(scenario)


def test_a_mirror_without_a_valid_backend_is_left_out_and_requests_are_served() -> None:
    backend = Backend()
    for gone in (None, TableBackend("b", 1, invalid="no such Service")):
        filter_ = Filter("RequestMirror", config(), gone)
        assert around(backend, (filter_,), None, lambda _: Backend()) is backend


def test_nothing_leads_a_copy_to_the_clients_connection_or_its_record() -> None:
    async def scenario() -> None:
        copy = Backend()
        scope = {**request(extensions={"a": {}}), CYCLE: object(), RECORD: RequestRecord(), "moongate.choice": 1}
        await answered(RequestMirrorMiddleware(Backend(), mirror=copy, config=config()), scope)
        await settled()
        assert {name for name in copy.scopes[0] if name.startswith("moongate.")} == {TARGET_PATH}
        assert "extensions" not in copy.scopes[0]
        assert CYCLE in scope

    run(scenario)


def test_a_request_without_a_body_passes_with_its_own_ways_in_and_out() -> None:
    """… so that its answer is still written directly."""

    async def scenario() -> None:
        ways: list[object] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            ways.extend((receive, send))

        async def receive() -> Message:
            return {}

        async def send(message: Message) -> None: ...

        await RequestMirrorMiddleware(app, mirror=Backend(), config=config())(request(), receive, send)
        assert ways == [receive, send]

    run(scenario)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        ({}, 1.0),
        ({"percent": 0}, 0.0),
        ({"percent": 20}, 0.2),
        ({"percent": 100}, 1.0),
        ({"fraction": Fraction(numerator=25, denominator=50)}, 0.5),
        ({"fraction": Fraction(numerator=1)}, 0.01),
        ({"fraction": Fraction(numerator=0, denominator=3)}, 0.0),
        ({"fraction": Fraction(numerator=3, denominator=3)}, 1.0),
    ],
)
def test_the_share_of_requests_is_what_is_asked_for(share: dict[str, Any], expected: float) -> None:
    async def scenario() -> None:
        copy = Backend()
        app = RequestMirrorMiddleware(Backend(), mirror=copy, config=config(**share))
        for _ in range(2000):
            await answered(app, request())
            await asyncio.sleep(0)
        await settled()
        # Seven standard deviations of the draw
        assert abs(len(copy.scopes) - 2000 * expected) <= 7 * (2000 * expected * (1 - expected)) ** 0.5

    random.seed(1)
    run(scenario)


def test_each_filter_draws_for_itself() -> None:
    async def scenario() -> None:
        first, second = Backend(), Backend()
        inner = RequestMirrorMiddleware(Backend(), mirror=second, config=config(percent=50))
        app = RequestMirrorMiddleware(inner, mirror=first, config=config(percent=50))
        for number in range(400):
            await answered(app, request(target=f"/{number}"))
        await settled()
        got = [{scope["path"] for scope in copy.scopes} for copy in (first, second)]
        # Both, only the one, only the other, none: a quarter each
        for some in (got[0] & got[1], got[0] - got[1], got[1] - got[0]):
            assert 50 < len(some) < 150

    random.seed(2)
    run(scenario)


def test_a_body_goes_to_both_as_it_comes_and_the_request_waits_for_no_mirror() -> None:
    async def scenario() -> None:
        backend, slow, client = Backend(), Slow(), Client()
        request_ = client.ask(
            RequestMirrorMiddleware(backend, mirror=slow, config=config()), request("POST", fields=CHUNKED)
        )
        client.body(b"a" * 1000)
        client.body(b"b" * 1000, more=False)
        await request_
        assert backend.bodies == [b"a" * 1000 + b"b" * 1000]
        assert slow.received == b""
        slow.go.set()
        await settled()
        assert (slow.received, slow.ended) == (backend.bodies[0], "complete")

    run(scenario)


def test_a_mirror_gets_a_piece_before_the_next_has_come() -> None:
    async def scenario() -> None:
        slow, client = Slow(), Client()
        slow.go.set()
        request_ = client.ask(
            RequestMirrorMiddleware(Backend(), mirror=slow, config=config()), request("POST", fields=CHUNKED)
        )
        client.body(b"first")
        await settled()
        assert slow.received == b"first"
        client.body(b"second", more=False)
        await request_
        await settled()
        assert slow.received == b"firstsecond"

    run(scenario)


def test_a_mirror_that_falls_behind_is_given_up_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        backend, slow, client = Backend(), Slow(), Client()
        app = RequestMirrorMiddleware(backend, mirror=slow, config=config())
        request_ = client.ask(app, request("POST", fields=CHUNKED))
        piece = bytes(64 * 1024)
        for _ in range(MAX_BUFFERED // len(piece)):
            client.body(piece)
        await settled(turns=100)
        assert slow.ended == ""
        client.body(b"one too many")
        await settled()
        assert slow.ended == "broken off"
        client.body(b"!", more=False)
        await request_
        assert len(backend.bodies[0]) == MAX_BUFFERED + len(b"one too many!")
        assert app._buffered == 0

    caplog.set_level(logging.DEBUG)
    run(scenario)
    assert "too slow" in caplog.text


def test_what_waits_for_all_copies_of_a_filter_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BUFFERED_TOGETHER", 2500)

    async def scenario() -> None:
        mirrors: list[Slow] = []

        async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
            mirrors.append(Slow())
            await mirrors[-1](scope, receive, send)

        app = RequestMirrorMiddleware(Backend(), mirror=mirror, config=config())
        requests = []
        for _ in range(3):
            client = Client()
            requests.append(client.ask(app, request("POST", fields=CHUNKED)))
            await settled()
            client.body(b"x" * 1000, more=False)
            await settled()
        await asyncio.gather(*requests)
        assert [each.ended for each in mirrors] == ["", "", "broken off"]
        for each in mirrors:
            each.go.set()
        await settled()
        assert app._buffered == 0

    run(scenario)


def test_where_the_client_leaves_amid_its_body_the_copy_is_broken_off() -> None:
    async def scenario() -> None:
        slow, client = Slow(), Client()
        slow.go.set()
        request_ = client.ask(
            RequestMirrorMiddleware(Backend(), mirror=slow, config=config()), request("POST", fields=CHUNKED)
        )
        client.body(b"half")
        await settled()
        client.leave()
        await request_
        await settled()
        assert (slow.received, slow.ended) == (b"half", "broken off")

    run(scenario)


def test_where_the_client_leaves_after_its_body_the_copy_goes_on() -> None:
    async def scenario() -> None:
        slow, client = Slow(), Client()

        async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        app = RequestMirrorMiddleware(waiting, mirror=slow, config=config())
        request_ = client.ask(app, request("POST", fields=CHUNKED))
        client.body(b"all", more=False)
        client.leave()
        await request_
        slow.go.set()
        await settled()
        assert (slow.received, slow.ended) == (b"all", "complete")

    run(scenario)


def test_where_the_backend_answers_before_the_body_has_ended_the_copy_is_broken_off() -> None:
    async def scenario() -> None:
        slow, client = Slow(), Client()
        slow.go.set()

        async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()

        request_ = client.ask(
            RequestMirrorMiddleware(refusing, mirror=slow, config=config()), request("POST", fields=CHUNKED)
        )
        await settled()
        client.body(b"part")
        await request_
        await settled()
        assert slow.ended == "broken off"

    run(scenario)


def test_while_too_many_copies_are_under_way_no_others_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_COPIES", 2)

    async def scenario() -> None:
        started: list[Scope] = []
        go = asyncio.Event()

        async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
            started.append(scope)
            await go.wait()

        app = RequestMirrorMiddleware(Backend(), mirror=mirror, config=config())
        for _ in range(5):
            assert (await answered(app, request())).status == 200
        await settled()
        assert len(started) == 2
        go.set()
        await settled()
        await answered(app, request())
        await settled()
        assert len(started) == 3

    run(scenario)


def test_a_mirror_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIFETIME", 0.0)

    async def scenario() -> None:
        ended = asyncio.Event()

        async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.set()

        await answered(RequestMirrorMiddleware(Backend(), mirror=mirror, config=config()), request())
        await ended.wait()

    run(scenario)


@pytest.mark.parametrize("error", [ConnectFailed(), RuntimeError("broken"), OSError()])
def test_a_mirror_that_fails_is_nobodys_error(error: Exception) -> None:
    async def scenario() -> None:
        async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
            raise error

        app = RequestMirrorMiddleware(Backend(), mirror=mirror, config=config())
        answer = await answered(app, request("POST", fields=CHUNKED), b"a", b"b")
        assert (answer.status, answer.body) == (200, b"ok")
        await settled()
        assert not app._copies

    run(scenario)


def test_a_copy_is_never_told_that_its_client_left_and_does_not_ask_for_leave_to_send() -> None:
    async def scenario() -> None:
        messages: list[Message] = []
        scopes: list[Scope] = []

        async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
            scopes.append(scope)
            while True:
                messages.append(await receive())

        fields = [*CHUNKED, (b"expect", b"100-continue")]
        app = RequestMirrorMiddleware(Backend(), mirror=mirror, config=config())
        await answered(app, request("POST", fields=fields), b"a")
        await answered(app, request("GET"))
        await settled()
        assert messages == [
            {"type": "http.request", "body": b"a", "more_body": False},
            {"type": "http.request", "body": b"", "more_body": False},
        ]
        assert (b"expect", b"100-continue") not in scopes[0]["headers"]

    run(scenario)


def test_a_copy_leaves_no_circle_behind() -> None:
    async def scenario() -> None:
        app = RequestMirrorMiddleware(Backend(), mirror=Backend(), config=config())
        modified = RequestHeaderModifierMiddleware(app, config=HTTPHeaderFilter())
        for _ in range(3):
            await answered(modified, request("POST", fields=CHUNKED), b"a", b"b")
            await answered(modified, request())
        await settled()
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                await answered(modified, request("POST", fields=CHUNKED), b"a", b"b")
                await answered(modified, request())
                await settled()
            assert gc.collect() < 50
        finally:
            gc.enable()

    run(scenario)
