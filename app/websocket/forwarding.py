"""A rule's serving of a WebSocket: the handshake goes to an endpoint, and then the two connections become one.

Our own server gives its client's connection away, and what it carries is not looked at. Behind other servers, and
behind middleware that took the cycle out of the scope to see every message, messages are carried from one WebSocket to
another.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Container, Mapping
from typing import Final

from starlette.types import Message, Receive, Scope, Send
from websockets.protocol import Protocol as SansIO
from websockets.protocol import Side, State

from app.listeners.websocket import WebSocketCycle
from app.upstream.exchange import Exchange
from app.upstream.fields import Fields, end_to_end
from app.upstream.health import Endpoint
from app.upstream.timeouts import Timeouts
from app.upstream.transport import UpstreamTransport
from app.websocket.handshake import FRAMING, new_key, offered, switched
from app.websocket.messages import ABNORMAL, BAD_GATEWAY, NO_STATUS, Messages
from middleware.answer import CYCLE
from middleware.errors import ClientDisconnected
from middleware.record import RequestRecord
from middleware.scope import TRACE
from middleware.tracing import Attempt, Trace

#: The longest message that is carried where messages are; a tunnel has no limit, since it keeps none.
MAX_MESSAGE: Final = 16 * 1024 * 1024

_UPGRADE: Final[Fields] = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
_VERSION: Final = (b"sec-websocket-version", b"13")

#: What the accept says of the backend's 101 otherwise.
_OURS: Final = frozenset({b"sec-websocket-accept", b"sec-websocket-protocol"})

#: For codes that are no frame's what says nearly the same.
_CODES: Final[Mapping[int, int]] = {NO_STATUS: 1000, ABNORMAL: BAD_GATEWAY}


class WebSocketForwarding:
    """One WebSocket on its way to a backend."""

    __slots__ = (
        "_adds", "_closed", "_connected", "_cycle", "_next", "_receive", "_record", "_scope", "_send", "_target",
        "_task", "gone", "started",
    )  # fmt: skip

    #: All of a handshake can be sent again.
    repeatable: Final = True
    whole: Final = True

    def __init__(
        self,
        scope: Scope,
        target: bytes,
        receive: Receive,
        send: Send,
        record: RequestRecord,
        adds: Callable[[Endpoint], Fields] | None = None,
    ) -> None:
        """``adds`` gives fields that the answer of an endpoint gets."""
        self._scope = scope
        self._target = target
        self._receive = receive
        self._send = send
        self._record = record
        self._adds = adds
        self._connected = False
        #: Whether the client has got a part of the answer, and whether it left before.
        self.started = self.gone = False
        #: Whether the client has said the last word.
        self._closed = False
        cycle = scope.get(CYCLE)
        self._cycle: WebSocketCycle | None = cycle if isinstance(cycle, WebSocketCycle) else None
        self._task: asyncio.Task[None] | None = None
        # What comes next from a client whose leave no cycle tells
        self._next: asyncio.Task[Message] | None = None

    async def run(
        self, transport: UpstreamTransport, endpoint: Endpoint, timeouts: Timeouts, retried: Container[int] = ()
    ) -> bool:
        """Open a WebSocket to ``endpoint``, and carry what comes until it has ended.

        Answers False where the endpoint refuses with one of ``retried``: then the client has got nothing. Raises
        ConnectFailed before anything was sent, and what :meth:`UpstreamTransport.exchange` raises.
        """
        started = time.perf_counter_ns()
        fields, key = self._handshake()
        attempt: Attempt | None = None
        trace: Trace | None = self._scope.get(TRACE)
        if trace is not None:
            secured = endpoint.pool.how.tls is not None
            attempt = trace.attempt("GET", self._target, self._record, secured=secured)
            fields = attempt.carried(fields)
        status = 0
        try:
            if not self._connected:
                await self._connect()
            self._watch()
            exchange = await transport.exchange(
                endpoint.pool, "GET", self._target, fields, None, timeouts, upgrade=True
            )
            status = exchange.status
            self._record.ejections += endpoint.answered(status)
            self._record.origin_status = exchange.status
            self._record.origin_fields = exchange.fields
            self._record.origin_duration_ns = time.perf_counter_ns() - started
            try:
                if exchange.status in retried:
                    return False
                headers = end_to_end(exchange.fields)
                if self._adds is not None:
                    headers += self._adds(endpoint)
                if exchange.status != 101:
                    await self._deny(exchange, headers)
                    return True
                subprotocol = switched(exchange.fields, key, offered(fields))
                if self._cycle is not None:
                    await self._tunnel(self._cycle, exchange, headers, subprotocol)
                else:
                    await self._bridge(exchange, headers, subprotocol)
            finally:
                exchange.close()
        except asyncio.CancelledError:
            if self.gone:
                raise ClientDisconnected from None
            raise
        finally:
            if self._next is not None:
                self._next.cancel()
                self._next = None
            if attempt is not None:
                attempt.end(status, sys.exception())
        return True

    def _handshake(self) -> tuple[Fields, bytes]:
        """The fields of the handshake with the backend, and its key: the client's own where the two are to be one."""
        fields = end_to_end(self._scope["headers"])
        key = b""
        if self._cycle is None:
            fields = [field for field in fields if field[0] not in FRAMING]
            if subprotocols := self._scope.get("subprotocols"):
                fields.append((b"sec-websocket-protocol", ", ".join(subprotocols).encode("latin-1")))
        else:
            key = next((value for name, value in fields if name == b"sec-websocket-key"), b"")
        if not key:
            # HTTP/2 has none (RFC 8441 §5.1).
            key = new_key()
            fields = [field for field in fields if field[0] != b"sec-websocket-version"]
            fields += ((b"sec-websocket-key", key), _VERSION)
        return fields + _UPGRADE, key

    # Until there is an answer: the client may leave

    async def _connect(self) -> None:
        if (await self._receive())["type"] == "websocket.disconnect":
            raise ClientDisconnected
        self._connected = True

    def _watch(self) -> None:
        if self._cycle is not None:
            if self._cycle.disconnected:
                raise ClientDisconnected  # before anybody listened for it
            self._task = self._cycle.task
            self._cycle.on_disconnect = self._leave
        else:
            self._task = asyncio.current_task()
            self._next = asyncio.ensure_future(self._receive())
            self._next.add_done_callback(self._leave_if_gone)

    def _leave_if_gone(self, received: asyncio.Future[Message]) -> None:
        if not received.cancelled() and (
            received.exception() is not None or received.result()["type"] == "websocket.disconnect"
        ):
            self._leave()

    def _leave(self) -> None:
        if self._task is not None and not self.started:
            self.gone = True
            self._task.cancel()

    # The answer

    async def _deny(self, exchange: Exchange, headers: Fields) -> None:
        """The backend's own answer in place of a WebSocket, where the server can send one."""
        if "websocket.http.response" not in (self._scope.get("extensions") or {}):
            self.started = True
            await self._send({"type": "websocket.close"})
            return
        start: Message = {"type": "websocket.http.response.start", "status": exchange.status}
        await self._send({**start, "headers": headers})
        more = True
        while more:
            data, more = await exchange.take()
            self.started = not more
            await self._send({"type": "websocket.http.response.body", "body": data, "more_body": more})

    async def _tunnel(
        self, cycle: WebSocketCycle, exchange: Exchange, headers: Fields, subprotocol: str | None
    ) -> None:
        assert exchange.detach is not None
        cycle.tunnel(exchange.detach)
        headers = [field for field in headers if field[0] not in _OURS]
        self.started = True
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
        try:
            # The first that comes is the last.
            if (await self._receive()).get("code") == BAD_GATEWAY:
                self._record.add_flag("UC")
        finally:
            self._record.tunnel_received, self._record.tunnel_sent = cycle.received, cycle.sent

    async def _bridge(self, exchange: Exchange, headers: Fields, subprotocol: str | None) -> None:
        assert exchange.detach is not None
        connection, behind = exchange.detach()
        protocol = SansIO(Side.CLIENT, state=State.OPEN, max_size=MAX_MESSAGE)
        backend = Messages(asyncio.get_running_loop(), protocol)
        connection.set_protocol(backend)
        backend.connection_made(connection)
        headers = [field for field in headers if field[0] not in FRAMING]
        up: asyncio.Task[None] | None = None
        try:
            self.started = True
            await self._send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
            connection.resume_reading()
            if behind:
                backend.data_received(behind)
            up = asyncio.create_task(self._to(backend))
            await self._from(backend)
        finally:
            if up is not None:
                up.cancel()
            backend.end()

    async def _to(self, backend: Messages) -> None:
        """Carry messages to the backend, and the client's close."""
        assert self._next is not None
        message = await self._next
        while message["type"] == "websocket.receive":
            try:
                await backend.send(message)
            except ConnectionResetError:
                return  # It has closed; the other direction tells the client.
            message = await self._receive()
        self._closed = True
        code = message.get("code") or NO_STATUS
        if code == ABNORMAL:
            backend.abort()
        else:
            backend.close(code, message.get("reason") or "")

    async def _from(self, backend: Messages) -> None:
        """Carry messages to the client, and the backend's close."""
        message = await backend.receive()
        while message["type"] == "websocket.receive":
            await self._send({**message, "type": "websocket.send"})
            message = await backend.receive()
        if message["code"] == ABNORMAL:
            self._record.add_flag("UC")
        if not self._closed:
            code = _CODES.get(message["code"], message["code"])
            await self._send({"type": "websocket.close", "code": code, "reason": message["reason"]})
