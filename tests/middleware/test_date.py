"""Date on every answer, once, behind servers that add none (RFC 9110 §6.6.1)."""

import asyncio
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
from starlette.types import Message, Receive, Scope, Send

from middleware.date import DateMiddleware


def dates(*fields: tuple[bytes, bytes]) -> list[bytes]:
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body"})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    asyncio.run(DateMiddleware(app)({"type": "http"}, receive, send))
    assert sent[1] == {"type": "http.response.body"}
    return [value for name, value in sent[0]["headers"] if name.lower() == b"date"]


@pytest.mark.parametrize("name", [b"date", b"Date"])
def test_a_backends_date_stays(name: bytes) -> None:
    assert dates((name, b"x")) == [b"x"]


def test_an_answer_without_one_gets_the_time() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    (found,) = dates((b"x", b"y"))
    assert before <= parsedate_to_datetime(found.decode()) <= datetime.now(UTC)
