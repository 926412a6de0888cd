"""One request to an ASGI application, without a server."""

import asyncio
from collections.abc import Iterable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.scope import TARGET_PATH

Fields = list[tuple[bytes, bytes]]

DENIAL: dict[str, dict[str, Any]] = {"websocket.http.response": {}}


def request(method: str = "GET", target: str = "/", fields: Fields | None = None, **scope: Any) -> Scope:
    """The scope of a request as it comes to a rule: to example.org, unless ``fields`` say another host."""
    path, _, query = target.encode().partition(b"?")
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path.decode(),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"example.org")] if fields is None else fields,
        TARGET_PATH: path,
        **scope,
    }


def handshake(target: str = "/", fields: Fields | None = None, **scope: Any) -> Scope:
    """The scope of a WebSocket's handshake, on a server that can answer it with a response."""
    made = {**request("GET", target, fields), "type": "websocket", "scheme": "ws", "extensions": DENIAL, **scope}
    del made["method"]
    return made


class Backend:
    """An application that keeps the scope and the body of each request, and gives them all one answer."""

    def __init__(self, status: int = 200, fields: Iterable[tuple[bytes, bytes]] = (), body: bytes = b"ok") -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self._status = status
        self._fields = list(fields)
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept", "headers": list(self._fields)})
            return
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": self._status, "headers": list(self._fields)})
        await send({"type": "http.response.body", "body": self._body})

    @property
    def fields(self) -> Fields:
        """The fields that the last request had."""
        return list(self.scopes[-1]["headers"])

    def values(self, name: bytes) -> list[bytes]:
        """The values of one of them."""
        return [value for field, value in self.fields if field == name]


class Answer:
    """What was sent."""

    def __init__(self, messages: list[Message]) -> None:
        self.messages = messages

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def fields(self) -> Fields:
        return list(self.messages[0].get("headers", ()))

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field."""
        return [value for field, value in self.fields if field.lower() == name]


async def answered(app: ASGIApp, scope: Scope, *body: bytes) -> Answer:
    """What ``app`` answers to ``scope`` with a body that comes in the pieces given. After that the client stays."""
    pieces = list(body) or [b""]
    sent: list[Message] = []

    async def receive() -> Message:
        if not pieces:
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return Answer(sent)


def ask(app: ASGIApp, scope: Scope, *body: bytes) -> Answer:
    """:func:`answered`, in an event loop of its own."""
    return asyncio.run(answered(app, scope, *body))
