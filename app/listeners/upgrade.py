"""The handshake of a WebSocket in HTTP/1.1: a request that is answered as any other, or with 101 (RFC 6455 §4.2)."""

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.types import Message

from app.listeners.response import Http1Cycle
from app.listeners.target import Fields
from app.websocket.handshake import accept_of

if TYPE_CHECKING:
    from app.listeners.http import GatewayProtocol
    from app.listeners.websocket import WebSocketCycle

#: What we say ourselves in a 101, and what there cannot be in one (RFC 9110 §8.6).
_OURS: Final = frozenset({b"connection", b"content-length", b"sec-websocket-accept", b"transfer-encoding", b"upgrade"})


class Http1Handshake:
    """As :class:`app.listeners.websocket.Handshake` has it. The response in place of a 101 is an ordinary one."""

    def __init__(self, connection: "GatewayProtocol", response: Http1Cycle, key: bytes) -> None:
        self._connection = connection
        self._response = response
        self._key = key
        self._early = b""
        self.websocket: WebSocketCycle

    def on_early(self, data: bytes) -> int:
        """Keep what comes before the answer. Tells how much there is."""
        self._early += data
        return len(self._early)

    async def respond(self, message: Message) -> None:
        """Send a message of an ordinary response."""
        await self._response.send(message)

    def accept(self, fields: Fields, protocol: asyncio.Protocol) -> None:
        """Answer 101 with ``fields``, and leave the connection to ``protocol``."""
        if self._response.disconnected:
            raise ConnectionResetError("the client has left")
        lines = [
            b"HTTP/1.1 101 Switching Protocols\r\n",
            b"upgrade: websocket\r\n",
            b"connection: upgrade\r\n",
            b"sec-websocket-accept: %b\r\n" % accept_of(self._key),
            *[b"%b: %b\r\n" % field for field in fields if field[0] not in _OURS],
            b"\r\n",
        ]
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
            raise RuntimeError("a line break in a response field")
        early, self._early = self._early, b""
        self._response.on_disconnect = None
        self._connection.switch(head, self.websocket, protocol, early)

    def refuse(self, status: int, message: str) -> None:
        """Answer with an error of our own."""
        self._connection.refuse(self._response, status, message)

    def abort(self) -> None:
        """Break the connection."""
        self._connection.abort()

    def on_end(self) -> None:
        """It is over, whatever came of it."""
        self._connection.on_websocket_end(self.websocket)
        # Each leads to the other.
        self._response.on_disconnect = None
        del self.websocket
