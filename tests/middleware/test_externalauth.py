"""Whom an authorization server lets pass, and what it is told."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.upstream.fields import forwarded
from middleware import externalauth as module
from middleware.answer import CYCLE
from middleware.errors import (
    BadGateway,
    ClientDisconnected,
    ConnectFailed,
    ErrorMiddleware,
    NoReadyEndpoint,
    NoValidBackend,
    UpstreamTimeout,
)
from middleware.externalauth import ExternalAuthMiddleware
from middleware.filters import around
from middleware.record import RECORD, RequestRecord
from middleware.scope import TARGET_PATH
from routes.resources.filters import (
    BackendObjectReference,
    ForwardBodyConfig,
    GRPCAuthConfig,
    HTTPAuthConfig,
    HTTPExternalAuthFilter,
)
from routes.table.types import Backend as TableBackend
from routes.table.types import Filter
from tests.helpers.asgi import Answer, Backend, Fields, answered, ask, handshake, request

REF = BackendObjectReference(name="auth", port=80)


def config(max_size: int | None = None, **http: Any) -> HTTPExternalAuthFilter:
    body = ForwardBodyConfig(max_size=max_size) if max_size is not None else None
    return HTTPExternalAuthFilter(protocol="HTTP", backend_ref=REF, http=HTTPAuthConfig(**http), forward_body=body)


def through(
    scope: Scope, server: Backend, *body: bytes, max_size: int | None = None, **http: Any
) -> tuple[Answer, Backend]:
    """The answer, and what the backend got."""
    backend = Backend()
    app = ExternalAuthMiddleware(backend, server=server, config=config(max_size, **http))
    return ask(app, scope, *body), backend


# The question


def test_the_server_is_asked_with_method_path_query_host_and_authorization() -> None:
    fields = [
        (b"host", b"a"),
        (b"authorization", b"Basic eA=="),
        (b"cookie", b"secret"),
        (b"x-a", b"1"),
        (b"content-length", b"3"),
    ]
    server = Backend()
    _, backend = through(request("PUT", "/a%2Fb?c=d", fields), server, b"abc")
    [scope] = server.scopes
    assert (scope["method"], scope[TARGET_PATH], scope["query_string"]) == ("PUT", b"/a%2Fb", b"c=d")
    assert scope["headers"] == [(b"host", b"a"), (b"authorization", b"Basic eA=="), (b"content-length", b"0")]
    assert server.bodies == [b""]
    assert backend.bodies == [b"abc"]


def test_the_server_gets_those_other_fields_that_are_allowed() -> None:
    fields = [(b"host", b"a"), (b"x-a", b"1"), (b"cookie", b"c"), (b"x-a", b"2"), (b"x-b", b"3")]
    server = Backend()
    through(request(fields=fields), server, allowed_headers=("X-A", "Cookie"))
    assert server.fields == [
        (b"host", b"a"),
        (b"x-a", b"1"),
        (b"cookie", b"c"),
        (b"x-a", b"2"),
        (b"content-length", b"0"),
    ]


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Connection", "Expect", "Upgrade"])
def test_nothing_that_frames_the_request_is_allowed_into_the_question(name: str) -> None:
    fields = [(b"host", b"a"), (name.lower().encode(), b"7")]
    server = Backend()
    through(request(fields=fields), server, allowed_headers=(name,))
    assert server.fields == [(b"host", b"a"), (b"content-length", b"0")]
    assert forwarded(server.fields)[1] == 0


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (None, b"/x//y"),
        ("/check", b"/check/x//y"),
        ("/check/", b"/check/x//y"),
        ("check", b"/check/x//y"),
        ("/", b"/x//y"),
    ],
)
def test_the_path_is_put_before_the_requests(prefix: str | None, expected: bytes) -> None:
    server = Backend()
    through(request(target="/x//y"), server, path=prefix)
    assert server.scopes[0][TARGET_PATH] == expected


def test_nothing_leads_the_question_to_the_clients_connection_or_its_record() -> None:
    server = Backend()
    scope = {**request(), CYCLE: object(), RECORD: RequestRecord()}
    _, backend = through(scope, server)
    assert {name for name in server.scopes[0] if name.startswith("moongate.")} == {TARGET_PATH}
    assert backend.scopes[0][CYCLE] is scope[CYCLE]


# The answer


def test_where_the_server_says_200_the_request_goes_on_as_it_was() -> None:
    scope = request("POST", "/a", [(b"host", b"a"), (b"content-length", b"1")])
    answer, backend = through(scope, Backend(body=b"yes, he may"), b"x")
    assert (answer.status, answer.body) == (200, b"ok")
    assert backend.scopes == [scope]
    assert backend.bodies == [b"x"]


@pytest.mark.parametrize("status", [201, 204, 302, 401, 403, 429, 500, 503])
def test_every_other_answer_is_the_clients(status: int) -> None:
    fields = [(b"www-authenticate", b"Basic"), (b"location", b"/login"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b")]
    record = RequestRecord()
    answer, backend = through({**request(), RECORD: record}, Backend(status, fields, b"no"))
    assert (answer.status, answer.fields, answer.body) == (status, fields, b"no")
    assert not backend.scopes
    assert record.flags == "UAEX"


def test_allowed_response_headers_go_into_the_request_in_the_place_of_the_clients() -> None:
    fields = [(b"host", b"a"), (b"x-user", b"mallory"), (b"x-b", b"1"), (b"x-user", b"eve")]
    server = Backend(fields=[(b"X-User", b"alice"), (b"x-group", b"g"), (b"x-other", b"2"), (b"x-group", b"h")])
    _, backend = through(request(fields=fields), server, allowed_response_headers=("x-user", "X-Group"))
    assert backend.fields == [
        (b"host", b"a"),
        (b"x-b", b"1"),
        (b"x-user", b"alice"),
        (b"x-group", b"g"),
        (b"x-group", b"h"),
    ]


def test_what_the_server_may_say_no_client_says_in_its_place() -> None:
    fields = [(b"host", b"a"), (b"x-user", b"mallory")]
    _, backend = through(request(fields=fields), Backend(), allowed_response_headers=("x-user",))
    assert backend.fields == [(b"host", b"a")]


@pytest.mark.parametrize("allowed", [(), ("x-user",)])
def test_nor_does_it_in_a_spelling_that_is_the_same_to_cgi(allowed: tuple[str, ...]) -> None:
    server = Backend(fields=[(b"x-user", b"alice")])
    _, backend = through(request(fields=[(b"x_user", b"root")]), server, allowed_response_headers=allowed)
    assert [field for field in backend.scopes[0]["headers"] if b"user" in field[0]] == [(b"x-user", b"alice")]


@pytest.mark.parametrize("allowed", [(), ("x-user",)])
def test_no_client_has_what_the_server_says_taken_away(allowed: tuple[str, ...]) -> None:
    fields = [(b"host", b"a"), (b"connection", b"close, x-user")]
    _, backend = through(
        request(fields=fields), Backend(fields=[(b"x-user", b"alice")]), allowed_response_headers=allowed
    )
    assert forwarded(backend.fields)[0] == [(b"host", b"a"), (b"x-user", b"alice")]


def test_a_list_of_nothing_that_may_be_said_is_no_leave_to_say_all() -> None:
    server = Backend(fields=[(b"x-internal", b"1")])
    _, backend = through(request(), server, allowed_response_headers=("Host",))
    assert b"x-internal" not in dict(backend.scopes[0]["headers"])


def test_without_a_list_all_is_said_but_the_host_and_what_the_answer_is() -> None:
    told = [(b"x-user", b"alice"), (b"cookie", b"b")]
    framing = [
        (b"content-length", b"2"),
        (b"content-type", b"text/html"),
        (b"connection", b"close"),
        (b"host", b"evil"),
    ]
    fields = [(b"host", b"a"), (b"content-type", b"application/json"), (b"cookie", b"a")]
    _, backend = through(request(fields=fields), Backend(fields=[*told, *framing]))
    assert backend.fields == [(b"host", b"a"), (b"content-type", b"application/json"), *told]


# Closed where it fails


@pytest.mark.parametrize(
    "error", [ConnectFailed(), NoReadyEndpoint(), NoValidBackend(), BadGateway(), RuntimeError("x")]
)
def test_without_an_answer_nothing_passes(error: Exception) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    backend = Backend()
    app = ErrorMiddleware(ExternalAuthMiddleware(backend, server=broken, config=config()))
    assert ask(app, request()).status == getattr(error, "status", 500)
    assert not backend.scopes


def test_a_yes_that_breaks_off_is_none() -> None:
    async def breaking(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise BadGateway

    backend = Backend()
    with pytest.raises(BadGateway):
        ask(ExternalAuthMiddleware(backend, server=breaking, config=config()), request())
    assert not backend.scopes


def test_a_server_that_says_nothing_lets_nobody_pass() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None: ...

    backend = Backend()
    with pytest.raises(BadGateway):
        ask(ExternalAuthMiddleware(backend, server=silent, config=config()), request())
    assert not backend.scopes


def test_a_server_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)

    async def hanging(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.get_running_loop().create_future()

    backend = Backend()
    with pytest.raises(UpstreamTimeout):
        ask(ExternalAuthMiddleware(backend, server=hanging, config=config()), request())
    assert not backend.scopes


def test_a_no_may_take_as_long_as_any_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 60.0)
    limits: list[float | None] = []

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 403, "headers": []})
        answer = send.__self__  # type: ignore[attr-defined]  # the middleware's own
        limits.append(answer.limit.when())
        await send({"type": "http.response.body", "body": b"no"})

    assert ask(ExternalAuthMiddleware(Backend(), server=slow, config=config()), request()).body == b"no"
    assert limits == [None]


@pytest.mark.parametrize(
    "filter_",
    [
        Filter("ExternalAuth", config(), None),
        Filter(
            "ExternalAuth",
            HTTPExternalAuthFilter(protocol="GRPC", backend_ref=REF, grpc=GRPCAuthConfig()),
            TableBackend("auth", 1),
        ),
        Filter("ExternalAuth", config(), TableBackend("auth", 1), invalid="no grant"),
    ],
)
def test_a_filter_that_cannot_ask_lets_nothing_pass(filter_: Filter) -> None:
    backend = Backend()
    with pytest.raises(NoValidBackend):
        ask(around(backend, (filter_,), None, lambda _: Backend()), request())
    assert not backend.scopes


# The body


def test_a_body_is_shown_to_the_server_and_sent_to_the_backend_as_it_was() -> None:
    fields = [(b"host", b"a"), (b"content-length", b"6")]
    server = Backend()
    _, backend = through(request("POST", fields=fields), server, b"abc", b"def", max_size=6)
    assert server.bodies == backend.bodies == [b"abcdef"]
    assert server.values(b"content-length") == backend.values(b"content-length") == [b"6"]


def test_a_body_of_unknown_length_has_one_for_the_server() -> None:
    fields = [(b"host", b"a"), (b"transfer-encoding", b"chunked")]
    server = Backend()
    _, backend = through(request("POST", fields=fields), server, b"abc", b"", max_size=6)
    assert server.fields == [(b"host", b"a"), (b"content-length", b"3")]
    assert backend.fields == fields
    assert backend.bodies == [b"abc"]


@pytest.mark.parametrize(
    ("field", "body"),
    [((b"content-length", b"7"), [b"abcdefg"]), ((b"transfer-encoding", b"chunked"), [b"abcd", b"efg", b"more"])],
)
def test_a_body_that_the_server_would_not_see_whole_passes_nowhere(
    field: tuple[bytes, bytes], body: list[bytes]
) -> None:
    server, backend = Backend(), Backend()
    app = ErrorMiddleware(ExternalAuthMiddleware(backend, server=server, config=config(6)))
    assert ask(app, request("POST", fields=[(b"host", b"a"), field]), *body).status == 413
    assert server.scopes == backend.scopes == []


def test_a_client_that_leaves_amid_its_body_is_not_asked_about() -> None:
    async def scenario() -> None:
        server = Backend()
        app = ExternalAuthMiddleware(Backend(), server=server, config=config(6))

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None: ...

        with pytest.raises(ClientDisconnected):
            await app(request("POST", fields=[(b"content-length", b"3")]), receive, send)
        assert not server.scopes

    asyncio.run(scenario())


def test_without_forward_body_a_body_is_not_read_before_the_backend_does() -> None:
    for size in (None, 0):
        server = Backend()
        _, backend = through(request("POST", fields=[(b"content-length", b"3")]), server, b"abc", max_size=size)
        assert server.bodies == [b""]
        assert backend.bodies == [b"abc"]


def test_behind_the_body_the_backend_hears_of_the_client_leaving() -> None:
    async def scenario() -> None:
        heard: list[str] = []
        messages: list[Message] = [
            {"type": "http.request", "body": b"abc", "more_body": False},
            {"type": "http.disconnect"},
        ]

        async def listening(scope: Scope, receive: Receive, send: Send) -> None:
            heard.extend([(await receive())["type"], (await receive())["type"]])

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None: ...

        app = ExternalAuthMiddleware(listening, server=Backend(), config=config(6))
        await app(request("POST", fields=[(b"content-length", b"3")]), receive, send)
        assert heard == ["http.request", "http.disconnect"]

    asyncio.run(scenario())


def test_the_servers_own_client_never_leaves() -> None:
    """… or its proxy would take the end of the question for that."""

    async def scenario() -> None:
        waiting = asyncio.Event()

        async def server(scope: Scope, receive: Receive, send: Send) -> None:
            assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
            watcher = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            assert not watcher.done()
            watcher.cancel()
            waiting.set()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        answer = await answered(ExternalAuthMiddleware(Backend(), server=server, config=config()), request())
        assert waiting.is_set()
        assert answer.status == 200

    asyncio.run(scenario())


# WebSockets


def test_a_handshake_is_asked_about_as_the_get_that_it_is() -> None:
    fields: Fields = [
        (b"host", b"a"),
        (b"authorization", b"x"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-key", b"k"),
    ]
    server = Backend()
    answer, backend = through(handshake("/chat", fields, scheme="wss"), server, max_size=10)
    [scope] = server.scopes
    assert (scope["type"], scope["method"], scope["scheme"], scope[TARGET_PATH]) == ("http", "GET", "https", b"/chat")
    assert scope["headers"] == [(b"host", b"a"), (b"authorization", b"x"), (b"content-length", b"0")]
    assert backend.scopes[0]["type"] == "websocket"
    assert answer.messages[0]["type"] == "websocket.accept"


def test_a_handshake_is_denied_with_the_servers_answer() -> None:
    answer, backend = through(handshake(), Backend(401, [(b"www-authenticate", b"Basic")], b"no"))
    assert not backend.scopes
    assert answer.messages == [
        {"type": "websocket.http.response.start", "status": 401, "headers": [(b"www-authenticate", b"Basic")]},
        {"type": "websocket.http.response.body", "body": b"no"},
    ]


def test_a_server_that_cannot_answer_a_handshake_refuses_it() -> None:
    answer, backend = through(handshake(extensions={}), Backend(401))
    assert not backend.scopes
    assert answer.messages == [{"type": "websocket.close"}]
