"""HTTP/1.1 on a client's connection, with the limits that the open internet asks for.

A protocol class for uvicorn: ``uvicorn app:gateway --http app.listeners.http:GatewayProtocol``. Requests are answered
in their order, one at a time; a head has a time in which it must arrive; who does not read or does not send costs a
bounded amount of memory, and loses the connection in the end.
"""

import asyncio
import logging
from typing import Any, Final, cast

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.http2.frames import PREFACE
from app.listeners.clock import BODY_TIMEOUT, HEAD_TIMEOUT, Clock
from app.listeners.cycle import ANSWER_EXTENSIONS, BODY_HIGH_WATER
from app.listeners.http2 import Http2Protocol
from app.listeners.peer import Peer, peer_of
from app.listeners.reader import RequestReader
from app.listeners.response import Http1Cycle
from app.listeners.serial import MAX_PIPELINED, SerialProtocol
from app.listeners.target import Fields, decoded
from app.listeners.upgrade import Http1Handshake
from app.listeners.websocket import EXTENSIONS, WebSocketCycle
from app.websocket.handshake import checked_key, offered
from middleware.errors import BadRequest, GatewayError

logger = logging.getLogger(__name__)

#: Bytes of a body that nobody wants which are read to keep the connection.
MAX_DISCARDED: Final = 1024 * 1024

_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}


class GatewayProtocol(SerialProtocol):
    """One connection of a client: tells what it speaks, and makes requests of its bytes."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, _loop)
        self._reader = RequestReader(self)
        self.app_state = app_state
        self._root_path: str = config.root_path
        self._raw_root_path = self._root_path.encode()
        self._peer = Peer(None, None, "http")
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int | None] | None = None
        self._scheme = "http"
        #: What has come as long as it may be the beginning of HTTP/2 (RFC 9113 §3.4).
        self._opening: bytes | None = b""
        #: Set while a WebSocket handshake waits for its answer.
        self._handshake: Http1Handshake | None = None

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        secured = transport.get_extra_info("ssl_object")
        if secured is not None and secured.selected_alpn_protocol() == "h2":
            self._transport = cast(asyncio.Transport, transport)
            self._reader.close()
            self._speak_http2(b"")
            return
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn lists its own classes
        self._peer = peer_of(transport)
        self._client, self._server, self._scheme, *_ = self._peer
        self._clock = Clock(self.loop, self._transport, self._on_timeout)
        self._clock.wait(HEAD_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        self._handshake = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._farewell is not None:
            return
        if self._opening is not None:
            data = self._opening + data
            if PREFACE.startswith(data[: len(PREFACE)]):
                self._opening = data
                if len(data) >= len(PREFACE):
                    self._let_go()
                    self._speak_http2(data)
                return
            self._opening = None
        try:
            self._reader.feed(data)
        except GatewayError as error:
            logger.debug("refused: %d: %s", error.status, error)
            self._refuse(error)
        except Exception:
            logger.exception("a client's bytes were not understood")
            self._refuse(GatewayError())
        else:
            if not self._awaits_head and self._current is None and self._farewell is None and self._reader.in_head:
                self._awaits_head = True
                self._clock.wait(HEAD_TIMEOUT)

    # The reader's callbacks

    def on_begin(self) -> None:
        if self._farewell is not None:
            raise BadRequest  # The end came among these bytes; whoever is to stop reading them learns it so.

    def on_head(
        self,
        method: str,
        version: str,
        path: bytes,
        query: bytes,
        fields: Fields,
        *,
        keep_alive: bool,
        has_body: bool,
        expects: bool,
    ) -> None:
        scope: Scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": method,
            "scheme": self._scheme,
            "server": self._server,
            "client": self._client,
            "root_path": self._root_path,
            "path": self._root_path + decoded(path),
            "raw_path": self._raw_root_path + path,
            "query_string": query,
            "headers": fields,
            "state": self._peer.state(self.app_state),
            "extensions": ANSWER_EXTENSIONS,
        }
        cycle = self._reading = Http1Cycle(self, scope, keep_alive=keep_alive, expects=expects)
        cycle.trailers_wanted = self._reader.takes_trailers
        cycle.known = self._reader.known
        self._awaits_head = False
        self._clock.rest()
        if self._current is None:
            self._current = cycle
            if has_body:
                if not expects:
                    self._clock.wait(BODY_TIMEOUT)
                self._start(cycle)
            return
        self._ahead.append(cycle)
        if len(self._ahead) >= MAX_PIPELINED:
            self._pause_reading()
        if len(self._ahead) > 8 * MAX_PIPELINED:
            raise BadRequest("too many requests ahead of their answers")

    def on_body(self, data: bytes) -> None:
        cycle = self._reading
        if cycle is None:
            return
        if cycle.complete:
            self._discarded += len(data)
            if self._discarded > MAX_DISCARDED:
                self._linger()
        elif cycle.on_body(data) or cycle is not self._current:
            self._pause_reading()
            self._clock.rest()
        else:
            self._clock.wait(BODY_TIMEOUT)

    def on_end(self, trailers: Fields) -> None:
        cycle, self._reading = self._reading, None
        if cycle is None:
            return
        cycle.trailers = trailers
        self._clock.rest()
        cycle.on_request_complete()
        if cycle is not self._current:
            return
        if cycle.complete:
            self._next()
        elif not cycle.running:
            self._start(cycle)

    def takes_websocket(self) -> bool:
        return self._config.ws_protocol_class is not None and self._current is None and not self._stopping

    def on_websocket(self, path: bytes, query: bytes, fields: Fields) -> None:
        key = checked_key(fields)
        scope: Scope = {
            "type": "websocket",
            "asgi": _ASGI,
            "http_version": "1.1",
            "scheme": "wss" if self._scheme == "https" else "ws",
            "server": self._server,
            "client": self._client,
            "root_path": self._root_path,
            "path": self._root_path + decoded(path),
            "raw_path": self._raw_root_path + path,
            "query_string": query,
            "headers": fields,
            "subprotocols": offered(fields),
            "state": self._peer.state(self.app_state),
            "extensions": EXTENSIONS,
        }
        asked: Scope = {**scope, "type": "http", "method": "GET"}
        response = Http1Cycle(self, asked, keep_alive=False, expects=False)
        response.on_request_complete()
        self._current = response
        self._handshake = handshake = Http1Handshake(self, response, key)
        websocket = handshake.websocket = WebSocketCycle(handshake, scope, self._config, self.loop)
        response.on_disconnect = websocket.on_connection_lost
        self._awaits_head = False
        self._clock.rest()
        self._start(response, websocket, at_once=False)  # else it could be answered before its last bytes are read

    def on_early(self, data: bytes) -> None:
        if self._handshake is not None and self._handshake.on_early(data) > BODY_HIGH_WATER:
            self._pause_reading()

    # What a handshake asks

    def switch(self, head: bytes, websocket: WebSocketCycle, protocol: asyncio.Protocol, early: bytes) -> None:
        """Send the answer to a WebSocket handshake, and leave the connection to ``protocol``."""
        transport = self._transport
        self._current = self._handshake = None
        self._server_state.total_requests += 1
        self._server_state.connections.add(websocket)  # type: ignore[arg-type]  # as ourselves
        self._let_go()
        transport.write(head)
        transport.set_protocol(protocol)
        self._resume_reading()
        protocol.connection_made(transport)
        if self.write_paused:
            protocol.pause_writing()  # the pause began before the connection was its own
        if early:
            protocol.data_received(early)
        if self._stopping:
            websocket.shutdown()

    def on_websocket_end(self, websocket: WebSocketCycle) -> None:
        """The connection that was left to a WebSocket has ended."""
        self._server_state.connections.discard(websocket)

    def _speak_http2(self, data: bytes) -> None:
        protocol = Http2Protocol(self._config, self._server_state, self.app_state, self.loop)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if data:
            protocol.data_received(data)

    def begun(self) -> Scope:
        method, version, target, fields = self._reader.begun
        return {
            "type": "http",
            "http_version": version,
            "method": method,
            "scheme": self._scheme,
            "client": self._client,
            "raw_path": target,
            "headers": fields,
            "state": self.app_state,
        }
