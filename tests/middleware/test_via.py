"""Via, sentence by sentence of RFC 9110 §7.6.3."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from middleware.errors import ErrorMiddleware, NoRoute
from middleware.via import ViaMiddleware

Fields = list[tuple[bytes, bytes]]


def passed(
    *fields: tuple[bytes, bytes], back: Fields, kind: str = "http", reply: str = "http.response.start", **scope: Any
) -> tuple[Fields, Fields]:
    """What the application gets of a request with ``fields``, and the client of an answer with ``back``."""
    got: list[Fields] = []
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        got.append(scope["headers"])
        await send({"type": reply, "status": 200, "headers": back})
        await send({"type": "http.response.body"})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    given = list(fields)
    asyncio.run(ViaMiddleware(app, pseudonym="gw")({"type": kind, "headers": given, **scope}, receive, send))
    assert given == list(fields)
    assert "headers" not in sent[1]
    return got[0], sent[0]["headers"]


def test_both_ways_it_stands_behind_what_is_there() -> None:
    """Each recipient appends its own, in the order of the way."""
    there = (b"via", b"1.0 fred")
    assert passed(there, back=[there]) == ([there, (b"via", b"1.1 gw")], [there, (b"via", b"1.1 gw")])


@pytest.mark.parametrize(("version", "value"), [("1.0", b"1.0 gw"), ("1.1", b"1.1 gw"), ("2", b"2 gw")])
def test_the_protocol_is_the_one_that_the_message_came_in(version: str, value: bytes) -> None:
    """The received-protocol is that of the message as it was received."""
    assert passed(back=[], http_version=version) == ([(b"via", value)], [(b"via", b"1.1 gw")])


@pytest.mark.parametrize("reply", ["websocket.accept", "websocket.http.response.start"])
def test_a_handshake_is_a_request_like_others(reply: str) -> None:
    """An upgrade passes through as well."""
    assert passed(back=[], kind="websocket", reply=reply) == ([(b"via", b"1.1 gw")], [(b"via", b"1.1 gw")])


def test_an_answer_of_the_gateways_own_came_through_nothing() -> None:
    """… as it is where it began."""
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise NoRoute

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(ErrorMiddleware(ViaMiddleware(app, pseudonym="gw"))(scope, receive, send))
    assert b"via" not in dict(sent[0]["headers"])


@pytest.mark.parametrize("pseudonym", ["", "a b", "a\r\nb", "a,b", "ä", "(x)", "a:80"])
def test_a_pseudonym_is_a_token(pseudonym: str) -> None:
    """… since nobody else's Via may be changed by it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None: ...

    with pytest.raises(ValueError, match="no token"):
        ViaMiddleware(app, pseudonym=pseudonym)
