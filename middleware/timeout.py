"""How long a whole request may take (``timeouts.request``)."""

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.errors import UpstreamTimeout

#: Where a scope has the limit of its request.
LIMIT: Final = "moongate.limit"


class TimeoutMiddleware:
    """Ends what takes longer than ``seconds``, from the request's head to the last byte of its answer.

    All that is done for the request counts: filters, every attempt, the pauses between them, and the time in which the
    client sends its body and takes its answer. Before the answer has begun it is 504, whoever was slow; afterwards it
    is cut off. A WebSocket has no end: its handshake has.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                scope[LIMIT] = limit
                if scope["type"] == "websocket":
                    await self.app(scope, receive, _unlimited(limit, send))
                else:
                    await self.app(scope, receive, send)
        except TimeoutError:
            if limit.expired():
                raise UpstreamTimeout("the request was not answered in time", detail="timeouts.request") from None
            raise


def _unlimited(limit: asyncio.Timeout, send: Send) -> Send:
    """``send``, by which a WebSocket that is accepted leaves its ``limit`` behind."""

    async def accepting(message: Message) -> None:
        if message["type"] == "websocket.accept":
            limit.reschedule(None)
        await send(message)

    return accepting


def is_overdue(scope: Scope) -> bool:
    """Whether the request of ``scope`` is being ended because it took too long."""
    limit: asyncio.Timeout | None = scope.get(LIMIT)
    return limit is not None and limit.expired()
