"""The handshake of a WebSocket in HTTP/2: a CONNECT that is answered as any request, or with 200 (RFC 8441 §5)."""

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.types import Message

from app.listeners.stream import Http2Cycle, told
from app.listeners.target import Fields
from app.listeners.tunnel import StreamTransport
from middleware.date import date_field

if TYPE_CHECKING:
    from app.listeners.http2 import Http2Protocol
    from app.listeners.websocket import WebSocketCycle

#: What there cannot be in the answer (RFC 9110 §9.3.6, RFC 8441 §5.1), and what is ours to say.
_OMITTED: Final = frozenset({b"content-length", b"date", b"sec-websocket-accept"})


class Http2Handshake:
    """As :class:`app.listeners.websocket.Handshake` has it. The response in place of a 200 is an ordinary one."""

    def __init__(self, http2: "Http2Protocol", response: Http2Cycle) -> None:
        self._http2 = http2
        self._response = response
        self.websocket: WebSocketCycle

    async def respond(self, message: Message) -> None:
        """Send a message of an ordinary response."""
        await self._response.send(message)

    def accept(self, fields: Fields, protocol: asyncio.Protocol) -> None:
        """Answer 200 with ``fields``, and leave the stream to ``protocol``."""
        response, http2 = self._response, self._http2
        if response.disconnected:
            raise ConnectionResetError("the client has left")
        fields = [field for field in fields if field[0] not in _OMITTED]
        try:
            http2.core.send_head(response.stream, 200, [*told(fields), date_field()])
        except ValueError as error:
            raise RuntimeError(str(error)) from None
        response.on_disconnect = None
        transport = StreamTransport(http2, response.stream)
        transport.task = self.websocket.task
        for piece in response.early():
            transport.on_body(piece)
        if response.request_complete:
            transport.on_request_complete()
        http2.on_websocket(self.websocket)
        transport.set_protocol(protocol)  # which gets what came early when this has returned
        protocol.connection_made(transport)

    def refuse(self, status: int, message: str) -> None:
        """Answer with an error of our own."""
        self._http2.refuse(self._response, status, message)

    def abort(self) -> None:
        """Reset the stream."""
        self._response.break_off()

    def on_end(self) -> None:
        """It is over, whatever came of it."""
        self._http2.on_websocket_end(self.websocket)
        # Each leads to the other.
        self._response.on_disconnect = None
        del self.websocket
