"""``Via`` (RFC 9110 §7.6.3): that a message came through here."""

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: A pseudonym is a token.
PSEUDONYM = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class ViaMiddleware:
    """Adds ``via: 1.1 pseudonym`` to requests and to the answers of backends, behind what is there already.

    The protocol is the one that the message was received in; backends are spoken to in HTTP/1.1. Raises ValueError for
    a pseudonym that is no token.
    """

    def __init__(self, app: ASGIApp, *, pseudonym: str) -> None:
        if PSEUDONYM.fullmatch(pseudonym) is None:
            raise ValueError(f"{pseudonym!a} is no token")
        self.app = app
        self._pseudonym = pseudonym.encode()
        self._answered = (b"via", b"1.1 " + self._pseudonym)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        version = scope.get("http_version", "1.1").encode()
        # The caller's scope and list stay as they are: others may still read them.
        scope = {**scope, "headers": [*scope["headers"], (b"via", b"%b %b" % (version, self._pseudonym))]}

        async def told(message: Message) -> None:
            if message["type"] in _HEADS:
                message = {**message, "headers": [*message.get("headers", ()), self._answered]}
            await send(message)

        await self.app(scope, receive, told)


_HEADS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
