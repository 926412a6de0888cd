"""One WebSocket on a server connection: its ASGI scope, what the application receives, and what it sends.

What differs between the versions of HTTP is a :class:`Handshake`; all else is the same for both.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from starlette.types import ASGIApp, Message, Scope
from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.protocol import State
from websockets.server import ServerProtocol

from app.listeners.places import PORT
from app.listeners.target import Fields
from app.upstream.exchange import Detach
from app.websocket.messages import ABNORMAL, BAD_GATEWAY, NO_STATUS, Messages
from app.websocket.splice import Tunnel
from middleware.answer import CYCLE
from middleware.errors import GatewayError

logger = logging.getLogger(__name__)

#: Seconds that open WebSockets have when the server is going to stop and has no limit of its own: less than a gateway
#: gives to those on its own sockets.
GRACE: Final = 8.0

#: The status of an accept, by the version of HTTP (RFC 8441 §5).
ACCEPTED: Final = {"1.1": 101, "2": 200}

#: What the scope of a WebSocket has under ``extensions``.
EXTENSIONS: Final[dict[str, dict[str, object]]] = {"websocket.http.response": {}}


class Handshake(Protocol):
    """A client's request for a WebSocket, and the connection (HTTP/1.1) or the stream (HTTP/2) on which it came."""

    async def respond(self, message: Message) -> None:
        """Send a message of an ordinary response, ``http.response.start`` or ``.body``; raises as that does."""

    def accept(self, fields: Fields, protocol: asyncio.Protocol) -> None:
        """Answer with ``fields`` that the WebSocket is open. From now on the connection is ``protocol``'s.

        The fields of the version of HTTP itself are the handshake's to add: ``Upgrade``, ``Sec-WebSocket-Accept``. The
        transport, which ``protocol.connection_made`` is called with when the answer is written, has the methods of an
        :class:`asyncio.Transport` and calls back as one: it may give bytes, pauses and its end to ``protocol`` at once.
        Raises before anything is written.
        """

    def refuse(self, status: int, message: str) -> None:
        """Answer with an error of our own; no response has begun."""

    def abort(self) -> None:
        """Break the connection in the middle of a response."""

    def on_end(self) -> None:
        """It is over, whatever came of it."""


class WebSocketCycle:
    """A WebSocket from its handshake to its end.

    The application that accepts it speaks messages, or, if it has called :meth:`tunnel` before, leaves the connection
    to itself: then it receives nothing but ``websocket.disconnect``.
    """

    __slots__ = (
        "_config", "_connect", "_detach", "_disconnect", "_grace", "_handshake", "_headers", "_http_version", "_loop",
        "_messages", "_over", "_received", "_responding", "_scope", "_sent", "_status", "_tunnel", "_waiter",
        "on_disconnect", "port", "task",
    )  # fmt: skip

    def __init__(self, handshake: Handshake, scope: Scope, config: Config, loop: asyncio.AbstractEventLoop) -> None:
        self._handshake = handshake
        self._scope = scope
        self._headers: Fields = scope["headers"]
        #: The port of a Gateway that the connection is for, None where it is the server's own.
        self.port: object = (scope.get("state") or {}).get(PORT)
        self._http_version: str = scope["http_version"]
        self._config = config
        self._loop = loop
        #: What :meth:`run` runs in.
        self.task: asyncio.Task[None] | None = None
        #: Called once when the client leaves before it has an answer.
        self.on_disconnect: Callable[[], object] | None = None
        # How far it has come: a response in place of a WebSocket (True while it lasts, False behind it), or the open
        # WebSocket in one of its two ways, and what there is to say of its end
        self._responding: bool | None = None
        self._messages: Messages | None = None
        self._detach: Detach | None = None
        self._tunnel: Tunnel | None = None
        self._disconnect: Message | None = None
        # What receive() has told, and who waits for it
        self._connect = False
        self._waiter: asyncio.Future[None] | None = None
        self._received = self._sent = 0
        self._status = 0
        self._grace: asyncio.TimerHandle | None = None
        self._over = False

    async def run(self, app: ASGIApp, state: ServerState) -> None:
        """Call ``app``. A WebSocket that it leaves open is closed."""
        scope, self._scope = self._scope, {}
        scope[CYCLE] = self
        code = 1011
        try:
            await app(scope, self.receive, self.send)
            code = 1000
        except asyncio.CancelledError:
            code = 1012
            raise
        except GatewayError as error:
            logger.debug("the WebSocket was cut off: %s", error)
        except Exception as error:
            if self._disconnect is None or not isinstance(error, OSError):
                logger.exception("the application failed")
        finally:
            self.on_disconnect = self._detach = None
            if self.task is not None:
                state.tasks.discard(self.task)
                self.task = None
            self._end(code)

    def _end(self, code: int) -> None:
        """The application has ended, with what ``code`` says of its success."""
        if self._messages is not None:
            self._messages.close(code)
        elif self._tunnel is not None:
            self._tunnel.close()
        elif self._responding:
            self._handshake.abort()
        elif self._responding is None and self._disconnect is None:
            if code == 1000:
                logger.error("the application ended without an answer to a WebSocket")
            self._handshake.refuse(500, "the application failed")
        if self._messages is None and self._tunnel is None and not self._over:
            self._over = True
            self._handshake.on_end()

    def tunnel(self, detach: Detach) -> None:
        """When the application accepts, connect the client to the backend that ``detach`` gives."""
        self._detach = detach

    # As middleware.answer has it

    @property
    def status(self) -> int:
        """The status of the answer to the handshake, 0 before."""
        return self._status

    @property
    def started(self) -> bool:
        """Whether the handshake has been answered."""
        return self._status != 0

    @property
    def complete(self) -> bool:
        """Whether it is over, and not because the client left before the answer."""
        return self._disconnect is not None and self._status != 0

    @property
    def disconnected(self) -> bool:
        """Whether the client has left before the answer."""
        return self._disconnect is not None and self._status == 0

    @property
    def received(self) -> int:
        """Bytes that the tunnel has carried from the client."""
        return self._received if self._tunnel is None else self._tunnel.client.received

    @property
    def sent(self) -> int:
        """Bytes that the tunnel has carried to the client."""
        return self._sent if self._tunnel is None else self._tunnel.backend.received

    # What the server tells

    def on_connection_lost(self) -> None:
        """The client has left before it had its answer."""
        self._on_end(ABNORMAL)
        if self.on_disconnect is not None:
            self.on_disconnect()

    def shutdown(self) -> None:
        """The server is going to stop: the WebSocket has some time left, then it is closed."""
        limit = self._config.timeout_graceful_shutdown
        if self._grace is None:
            # A second before the server cancels what still runs.
            self._grace = self._loop.call_later(GRACE if limit is None else max(limit - 1.0, 0.0), self._go_away)

    def _go_away(self) -> None:
        if self._messages is not None:
            self._messages.close(1012)
        elif self._tunnel is not None:
            self._tunnel.go_away()

    # ASGI

    async def receive(self) -> Message:
        """``websocket.connect``, then the messages, and ``websocket.disconnect`` at the end."""
        if not self._connect:
            self._connect = True
            return {"type": "websocket.connect"}
        if self._messages is None:
            while self._disconnect is None and self._messages is None:
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
        if self._messages is not None:
            return await self._messages.receive()
        assert self._disconnect is not None
        return self._disconnect

    async def send(self, message: Message) -> None:
        """Take a message. Waits while the client does not read.

        Raises OSError when the client has left, RuntimeError for messages that make no sense.
        """
        kind = message["type"]
        if self._messages is not None:
            if kind == "websocket.send":
                await self._messages.send(message)
            elif kind == "websocket.close":
                self._messages.close(message.get("code", 1000), message.get("reason") or "")
            else:
                raise RuntimeError(f"{kind} does not belong here in a WebSocket")
        elif self._disconnect is not None:
            raise ConnectionResetError("the client has left")
        elif self._tunnel is not None:
            if kind != "websocket.close":
                raise RuntimeError(f"{kind} does not belong into a tunnel")
            self._tunnel.close()
        else:
            await self._answer(kind, message)

    async def _answer(self, kind: str, message: Message) -> None:
        if kind == "websocket.accept" and self._responding is None:
            self._accept(message)
        elif kind == "websocket.close" and self._responding is None:
            # As the ASGI specification wants it.
            start = {"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]}
            await self._respond(start, more=True)
            await self._respond({"type": "http.response.body"}, more=False)
        elif kind == "websocket.http.response.start" and self._responding is None:
            await self._respond({**message, "type": "http.response.start"}, more=True)
        elif kind == "websocket.http.response.body" and self._responding:
            more = message.get("more_body", False)
            await self._respond({**message, "type": "http.response.body"}, more=more)
        else:
            raise RuntimeError(f"{kind} does not belong here in the handshake of a WebSocket")

    async def _respond(self, message: Message, *, more: bool) -> None:
        await self._handshake.respond(message)
        self._status = message.get("status", self._status)
        self._responding = more
        if not more:
            self._on_end(ABNORMAL)

    def _accept(self, message: Message) -> None:
        fields: Fields = [(name.lower(), value) for name, value in message.get("headers") or ()]
        subprotocol: str | None = message.get("subprotocol")
        if subprotocol is not None:
            fields.append((b"sec-websocket-protocol", subprotocol.encode("latin-1")))
        self.on_disconnect = None
        if self._detach is not None:
            detach, self._detach = self._detach, None
            tunnel = Tunnel(self._loop, *detach())
            tunnel.ended = self._on_tunnel_end
            self._tunnel = tunnel
            try:
                self._handshake.accept(fields, tunnel.client)
            except BaseException:
                self._tunnel = None
                tunnel.discard()
                raise
            self._status = ACCEPTED[self._http_version]
            return
        protocol, extensions = self._negotiated()
        if extensions is not None:
            fields.append((b"sec-websocket-extensions", extensions))
        messages = Messages(self._loop, protocol, self._on_messages_end)
        self._handshake.accept(fields, messages)
        self._status = ACCEPTED[self._http_version]
        self._messages = messages
        self._wake()

    def _negotiated(self) -> tuple[ServerProtocol, bytes | None]:
        """The server's side of the framing, and what the client has to know of it."""
        config = self._config
        # What uvicorn offers: a window of 4 KiB each way costs little memory.
        deflate = ServerPerMessageDeflateFactory(
            server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
        )
        protocol = ServerProtocol(
            state=State.OPEN,
            max_size=config.ws_max_size,
            extensions=[deflate] if config.ws_per_message_deflate else None,
        )
        headers = Headers(
            [
                ("Sec-WebSocket-Extensions", value.decode("latin-1"))
                for name, value in self._headers
                if name == b"sec-websocket-extensions"
            ]
        )
        try:
            extensions, protocol.extensions = protocol.process_extensions(headers)
        except InvalidHandshake as error:
            # RFC 6455 §9.1
            self._handshake.refuse(400, "Sec-WebSocket-Extensions is malformed")
            self._status = 400
            self._responding = False
            self._on_end(ABNORMAL)
            raise ConnectionResetError("the handshake was refused") from error
        return protocol, extensions.encode() if extensions is not None else None

    # Its end

    def _on_messages_end(self) -> None:
        self._on_end(ABNORMAL)
        self._over = True
        self._handshake.on_end()

    def _on_tunnel_end(self) -> None:
        tunnel, self._tunnel = self._tunnel, None
        assert tunnel is not None
        self._received, self._sent = tunnel.client.received, tunnel.backend.received
        broken = tunnel.broken
        self._on_end(NO_STATUS if broken is None else ABNORMAL if broken is tunnel.client else BAD_GATEWAY)
        self._over = True
        self._handshake.on_end()

    def _on_end(self, code: int) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        if self._disconnect is None:
            self._disconnect = {"type": "websocket.disconnect", "code": code, "reason": ""}
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
