"""WebSockets as bytes: the handshake of RFC 6455 §1.3, frames, and a gateway between a client and a backend."""

import struct
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from app.backend import Upstream
from app.proxy import RuleProxy
from app.upstream.endpoints import Endpoints
from app.upstream.health import Endpoint
from app.upstream.resolver import Resolver
from app.upstream.transport import UpstreamTransport
from middleware.accesslog import AccessLogMiddleware
from middleware.errors import ErrorMiddleware
from middleware.scope import TARGET_PATH
from routes.graph.nodes import Address
from routes.resources.meta import Key
from routes.table.types import Backend, Rule
from tests.wire.harness import Loop, Server, Wire

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

HANDSHAKE = (
    b"GET /chat?a=b HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n"
    b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)
#: What a backend gets of it.
PASSED_ON = (
    b"GET /chat?a=b HTTP/1.1\r\nhost: a\r\norigin: http://a\r\nsec-websocket-key: " + KEY + b"\r\n"
    b"sec-websocket-protocol: chat, superchat\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n"
    b"connection: Upgrade\r\nupgrade: websocket\r\n\r\n"
)
#: What a backend answers.
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\nSec-WebSocket-Protocol: superchat\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\nX-Who: b\r\n\r\n"
)
#: What a client gets of it.
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-accept: " + ACCEPT + b"\r\nsec-websocket-extensions: permessage-deflate\r\nx-who: b\r\n"
    b"sec-websocket-protocol: superchat\r\n\r\n"
)

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"


def frame(opcode: int, payload: bytes = b"", *, masked: bool = False, fin: bool = True, rsv1: bool = False) -> bytes:
    """One frame (RFC 6455 §5.2); a client masks its own."""
    size = len(payload)
    if size < 126:
        length, extended = size, b""
    elif size < 0x10000:
        length, extended = 126, struct.pack("!H", size)
    else:
        length, extended = 127, struct.pack("!Q", size)
    head = bytes([fin << 7 | rsv1 << 6 | opcode, masked << 7 | length]) + extended
    if not masked:
        return head + payload
    mask = MASK * (size // 4 + 1)
    return head + MASK + bytes(byte ^ masking for byte, masking in zip(payload, mask, strict=False))


def close(code: int, reason: str = "", *, masked: bool = False) -> bytes:
    """The frame of a close with a code."""
    return frame(CLOSE, struct.pack("!H", code) + reason.encode(), masked=masked)


class Gateway:
    """A rule for everything between clients and backends that the test plays. ``lines`` is its access log."""

    def __init__(self, loop: Loop, *hosts: str, **options: Any) -> None:
        self.loop = loop
        self.lines: list[str] = []
        self.addresses = tuple(Address(host, 80) for host in hosts or ("192.0.2.9",))
        self.server = Server(loop, loop.run(self._make()), ws="auto", **options)

    async def _make(self) -> ASGIApp:
        rule = Rule(Key("gateway.networking.k8s.io", "HTTPRoute", "d", "r"), 0, (Backend("b", 1, self.addresses),))
        transport = UpstreamTransport()
        self.upstream = Upstream(transport, Endpoints(Resolver(60), transport))
        self.proxy = RuleProxy(rule, self.upstream)
        return AccessLogMiddleware(ErrorMiddleware(self._serve), format="json", write=self.lines.append)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[TARGET_PATH] = scope["raw_path"]
        await self.proxy(scope, receive, send)

    def client(self, *pieces: bytes, tls: bool = False) -> Wire:
        """A new client that sends ``pieces``."""
        wire = self.server.connect(tls=tls)
        wire.feed(*pieces)
        return wire

    def backend(self, number: int = -1) -> Wire:
        """A connection to the backend, the last one made."""
        return self.loop.wires[number]

    def opened(self, *, tls: bool = False) -> tuple[Wire, Wire]:
        """An open WebSocket: its client and its backend, of whose output the handshake is taken away."""
        client, backend = self.client(HANDSHAKE, tls=tls), self.backend()
        backend.feed(SWITCHING)
        assert client.output == SWITCHED
        client.written.clear()
        backend.written.clear()
        return client, backend

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints, as they are known now."""
        return self.upstream.endpoints.at(self.addresses)
