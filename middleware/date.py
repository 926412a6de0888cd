"""``Date`` on every answer, once (RFC 9110 §6.6.1)."""

import time
from email.utils import formatdate
from functools import lru_cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def date_field() -> tuple[bytes, bytes]:
    """The field as it is now; made once a second."""
    return _field(int(time.time()))


@lru_cache(maxsize=1)
def _field(second: int) -> tuple[bytes, bytes]:
    return b"date", formatdate(second, usegmt=True).encode()


class DateMiddleware:
    """Gives answers a ``Date`` that have none, behind a server that adds none.

    A server that adds its own would put it beside the backend's; the one of our own protocol looks first.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if not any(name.lower() == b"date" for name, _ in headers):
                    message = {**message, "headers": [*headers, date_field()]}
            await send(message)

        await self.app(scope, receive, dated)
