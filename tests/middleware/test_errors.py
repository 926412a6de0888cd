"""What clients, the server and the log get of an error."""

import asyncio
import logging
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.errors import (
    BadGateway,
    BadRequest,
    ClientDisconnected,
    ConnectFailed,
    ErrorMiddleware,
    GatewayError,
    Misdirected,
    NoReadyEndpoint,
    NoRoute,
    NoValidBackend,
    RequestTimeout,
    Source,
    UpstreamTimeout,
    respond,
)
from middleware.record import RECORD, RequestRecord

DENIAL: dict[str, dict[str, Any]] = {"websocket.http.response": {}}


def http(**scope: Any) -> Scope:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "headers": [],
        RECORD: RequestRecord(),
        **scope,
    }


def raising(error: BaseException, *messages: Message) -> ASGIApp:
    """An application that sends ``messages`` and raises ``error``."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        raise error

    return app


def sent_by(app: ASGIApp, scope: Scope, sent: list[Message] | None = None) -> list[Message]:
    """What the server gets from ``app`` behind the middleware."""
    sent = [] if sent is None else sent

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(ErrorMiddleware(app)(scope, receive, send))
    return sent


def responded(status: int, message: str, **options: Any) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(respond(send, status, message, **options))
    return sent


START: Message = {"type": "http.response.start", "status": 200, "headers": []}


def test_an_answer_is_one_line_of_text() -> None:
    assert responded(404, "no route", headers=[(b"x-a", b"b")]) == [
        {
            "type": "http.response.start",
            "status": 404,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"24"),
                (b"x-a", b"b"),
            ],
        },
        {"type": "http.response.body", "body": b"404 Not Found: no route\n"},
    ]


def test_the_length_of_an_answer_is_in_bytes() -> None:
    start, body = responded(404, "möön")
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()


def test_head_gets_the_length_of_the_body_and_no_body() -> None:
    start, body = responded(404, "no route", method="HEAD")
    assert start == responded(404, "no route")[0]
    assert body["body"] == b""


def test_a_status_without_a_name_is_answered_too() -> None:
    assert responded(499, "gone")[1]["body"] == b"499 Error: gone\n"


def test_a_handshake_is_answered_with_its_own_messages() -> None:
    assert [message["type"] for message in responded(404, "no route", websocket=True)] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]


@pytest.mark.parametrize(
    ("error", "status", "source", "flag", "retryable"),
    [
        (GatewayError, 500, Source.GATEWAY, "", False),
        (BadRequest, 400, Source.CLIENT, "DPE", False),
        (NoRoute, 404, Source.CLIENT, "NR", False),
        (RequestTimeout, 408, Source.CLIENT, "SI", False),
        (Misdirected, 421, Source.CLIENT, "NR", False),
        (NoValidBackend, 500, Source.GATEWAY, "NC", False),
        (BadGateway, 502, Source.UPSTREAM, "UC", False),
        (ConnectFailed, 502, Source.UPSTREAM, "UF", True),
        (NoReadyEndpoint, 503, Source.UPSTREAM, "UH", False),
        (UpstreamTimeout, 504, Source.UPSTREAM, "UT", False),
        (ClientDisconnected, 499, Source.CLIENT, "DC", False),
    ],
)
def test_each_error_says_what_it_means(
    error: type[GatewayError], status: int, source: Source, flag: str, retryable: bool
) -> None:
    raised = error()
    assert (raised.status, raised.source, raised.flag, raised.retryable) == (status, source, flag, retryable)
    assert raised.message


def test_one_error_can_differ_from_its_class() -> None:
    error = BadGateway(flag="UPE", retryable=True)
    assert (error.flag, error.retryable) == ("UPE", True)
    assert (BadGateway().flag, BadGateway().retryable) == ("UC", False)


def test_an_error_before_the_response_is_answered_and_flagged() -> None:
    scope = http()
    start, body = sent_by(raising(NoReadyEndpoint(headers=[(b"retry-after", b"1")])), scope)
    assert (start["status"], body["body"]) == (503, b"503 Service Unavailable: the backend has no ready endpoint\n")
    assert (b"retry-after", b"1") in start["headers"]
    assert scope[RECORD].flags == "UH"


def test_the_detail_of_an_error_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    _, body = sent_by(raising(ConnectFailed(detail="10.0.0.7:80 refused")), http())
    assert b"10.0.0.7" not in body["body"]
    assert "10.0.0.7:80 refused" in caplog.text


def test_an_error_without_a_record_is_answered() -> None:
    scope = http()
    del scope[RECORD]
    assert sent_by(raising(NoRoute()), scope)[0]["status"] == 404


def test_head_is_answered_without_a_body() -> None:
    assert sent_by(raising(NoRoute()), http(method="HEAD"))[1]["body"] == b""


def test_an_unexpected_error_is_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    start, body = sent_by(raising(RuntimeError("secret")), http())
    assert start["status"] == 500
    assert b"secret" not in body["body"]
    assert [bool(entry.exc_info) for entry in caplog.records] == [True]


def test_a_path_cannot_forge_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    sent_by(raising(RuntimeError()), http(path="/\nERROR all is lost"))
    assert "\n" not in caplog.records[0].getMessage()


@pytest.mark.parametrize(("error", "flag"), [(BadGateway(), "UC"), (RuntimeError(), "LR")])
def test_an_error_after_the_response_began_is_the_servers_to_handle(
    error: Exception, flag: str, caplog: pytest.LogCaptureFixture
) -> None:
    scope = http()
    sent: list[Message] = []
    with pytest.raises(type(error)):
        sent_by(raising(error, START), scope, sent)
    assert sent == [START]
    assert scope[RECORD].flags == flag
    assert not caplog.records  # the server logs it


def test_an_error_after_an_early_hint_is_answered() -> None:
    sent = sent_by(raising(NoRoute(), {"type": "http.response.early_hint", "links": []}), http())
    assert sent[1]["status"] == 404


@pytest.mark.parametrize("messages", [(), (START,)])
def test_for_a_client_that_left_nothing_is_sent_and_nothing_raised(messages: tuple[Message, ...]) -> None:
    scope = http()
    assert sent_by(raising(ClientDisconnected(), *messages), scope) == list(messages)
    assert scope[RECORD].flags == "DC"


def test_a_server_that_cannot_send_means_that_the_client_left() -> None:
    seen: list[Exception] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send(START)
        except Exception as error:
            seen.append(error)
            raise

    async def send(message: Message) -> None:
        raise BrokenPipeError

    scope = http()
    asyncio.run(ErrorMiddleware(app)(scope, None, send))  # type: ignore[arg-type]
    assert isinstance(seen[0], ClientDisconnected)
    assert scope[RECORD].flags == "DC"


def test_an_answer_that_cannot_be_sent_is_given_up() -> None:
    async def send(message: Message) -> None:
        raise BrokenPipeError

    scope = http()
    asyncio.run(ErrorMiddleware(raising(NoRoute()))(scope, None, send))  # type: ignore[arg-type]
    assert scope[RECORD].flags == "NR,DC"


def test_cancellation_is_not_answered() -> None:
    sent: list[Message] = []
    with pytest.raises(asyncio.CancelledError):
        sent_by(raising(asyncio.CancelledError()), http(), sent)
    assert sent == []


@pytest.mark.parametrize(("version", "closes"), [("1.1", True), ("2", False)])
def test_a_late_request_ends_an_http_1_connection(version: str, closes: bool) -> None:
    start, _ = sent_by(raising(RequestTimeout()), http(http_version=version))
    assert ((b"connection", b"close") in start["headers"]) is closes


def test_a_handshake_that_fails_gets_the_status() -> None:
    start, _ = sent_by(raising(NoRoute()), http(type="websocket", extensions=DENIAL))
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 404)


def test_a_handshake_on_a_server_without_the_extension_is_closed() -> None:
    assert sent_by(raising(NoRoute()), http(type="websocket")) == [{"type": "websocket.close", "code": 1011}]


def test_an_error_of_an_open_websocket_is_the_servers_to_handle() -> None:
    with pytest.raises(BadGateway):
        sent_by(raising(BadGateway(), {"type": "websocket.accept"}), http(type="websocket", extensions=DENIAL))


def test_other_scope_types_pass_untouched() -> None:
    with pytest.raises(NoRoute):
        sent_by(raising(NoRoute()), {"type": "lifespan"})
