"""Two connections as one: what either receives goes out on the other, by callbacks alone."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

from app.listeners.clock import LINGER
from app.websocket.boundaries import Boundaries
from app.websocket.stall import Stall

#: Seconds for the second connection to end when the first has.
CLOSE_TIMEOUT: Final = 10.0

#: Close, "going away" (RFC 6455 §7.4.1), as a server frames it.
GOING_AWAY: Final = b"\x88\x02\x03\xe9"

# Seconds of silence before the kernel asks whether the other machine is still there, between askings, and how many.
_KEEP_ALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3))


class Tunnel:
    """Carries the bytes of an open WebSocket between its client and its backend, of which it knows the framing only so
    far as to end between two frames.

    Bytes wait nowhere but in the two transports: whoever does not read holds the other up. A half-close goes on to the
    other side, which has :data:`CLOSE_TIMEOUT` seconds then; a broken connection breaks the other.
    """

    __slots__ = (
        "_half_closed", "_loop", "_open", "_timer", "backend", "broken", "client", "ended",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, backend: asyncio.Transport, behind: bytes) -> None:
        """``backend`` does not read yet; ``behind`` is what it has sent behind its answer."""
        self._loop = loop
        #: Runs when the end has begun.
        self._timer: asyncio.TimerHandle | None = None
        # How many connections are open, and whether one of them sends no more
        self._open = 2
        self._half_closed = False
        #: Called when both connections are closed.
        self.ended: Callable[[], None] | None = None
        #: Whose connection broke, and did not end in order.
        self.broken: Half | None = None
        self.client = ClientHalf(self, loop)
        self.backend = BackendHalf(self, behind)
        backend.set_protocol(self.backend)
        self.backend.transport = backend
        self.client.leads_to(backend)

    def close(self) -> None:
        """End both connections at once; what waits to be sent is still sent."""
        self.client.transport.close()
        self.backend.transport.close()
        self._end_soon(CLOSE_TIMEOUT)

    def abort(self) -> None:
        """End both connections, whatever waits."""
        self.client.transport.abort()
        self.backend.transport.abort()

    def go_away(self) -> None:
        """Ask the client to leave, if the backend is not within a frame; if it is, close."""
        if self._open < 2 or self._half_closed or not self.backend.boundaries.between:
            self.close()
            return
        self.client.transport.write(GOING_AWAY)
        self.backend.leads_nowhere()
        self._end_soon(LINGER)

    def discard(self) -> None:
        """There is no client after all."""
        backend = self.backend.transport
        backend.set_protocol(asyncio.Protocol())
        backend.abort()
        self.client.let_go()
        self.backend.let_go()

    # What the halves tell

    def on_client(self) -> None:
        """The client is there: what the backend sends can go to it."""
        self.backend.transport.resume_reading()
        self.backend.begin(self.client.transport)

    def on_eof(self, half: "Half") -> bool:
        """``half`` gets no more. Answers whether it may still be sent to."""
        other = self.backend if half is self.client else self.client
        if self._half_closed or not half.transport.can_write_eof() or not other.half_close():
            return False
        self._half_closed = True
        self._end_soon(CLOSE_TIMEOUT)
        return True

    def on_lost(self, half: "Half", exc: Exception | None) -> None:
        other = self.backend if half is self.client else self.client
        self._open -= 1
        half.leads_nowhere()
        other.leads_nowhere()
        if not self._open:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            ended, self.ended = self.ended, None
            # Each leads to the other: without these circles of references all of it goes at once.
            self.client.let_go()
            self.backend.let_go()
            if ended is not None:
                ended()
        elif exc is not None:
            self.broken = half
            other.transport.abort()
        else:
            other.transport.close()
            self._end_soon(CLOSE_TIMEOUT)

    def _end_soon(self, seconds: float) -> None:
        if not self._open:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self.abort)


class Half(asyncio.Protocol):
    """One of the two connections."""

    __slots__ = ("_tunnel", "_write", "other", "received", "transport")

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        #: The connection to which everything goes.
        self.other: asyncio.Transport = cast(asyncio.Transport, None)
        self._write: Callable[[bytes], object] = _ignore
        #: Bytes that have come.
        self.received = 0

    def leads_to(self, other: asyncio.Transport) -> None:
        """From now on bytes go to ``other``."""
        self.other = other
        self._write = other.write

    def leads_nowhere(self) -> None:
        """What still comes is of no interest."""
        self._write = _ignore

    def let_go(self) -> None:
        """Both connections are closed."""
        self._write = _ignore
        del self.other, self.transport, self._tunnel

    def half_close(self) -> bool:
        """Tell that nothing more is sent. Answers whether this connection can say so."""
        if self.transport.is_closing() or not self.transport.can_write_eof():
            return False
        self.transport.write_eof()
        return True

    # asyncio's callbacks

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._write(data)

    def eof_received(self) -> bool:
        self.leads_nowhere()
        return self._tunnel.on_eof(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._tunnel.on_lost(self, exc)

    def pause_writing(self) -> None:
        self.other.pause_reading()

    def resume_writing(self) -> None:
        if not self.other.is_closing():
            self.other.resume_reading()


class ClientHalf(Half):
    """The client's connection."""

    __slots__ = ("_loop", "_stall")

    def __init__(self, tunnel: Tunnel, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(tunnel)
        self._loop = loop
        self._stall: Stall | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        keep_alive(transport)
        keep_alive(self.other)
        self._tunnel.on_client()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall is None:
            self._stall = Stall(self._loop, self.transport)
        self._stall.begin()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.end()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stall is not None:
            self._stall.end()
        super().connection_lost(exc)


class BackendHalf(Half):
    """The backend's connection, of which it is known where its frames end."""

    __slots__ = ("_behind", "boundaries")

    def __init__(self, tunnel: Tunnel, behind: bytes) -> None:
        super().__init__(tunnel)
        self._behind = behind
        self.boundaries = Boundaries()

    def begin(self, client: asyncio.Transport) -> None:
        self.leads_to(client)
        behind, self._behind = self._behind, b""
        if behind:
            self.data_received(behind)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._write(data)
        boundaries = self.boundaries
        # Nearly always it is one small frame.
        if not boundaries.between or not 2 <= len(data) < 128 or data[1] != len(data) - 2:
            boundaries.feed(data)


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Have the kernel find out when the other machine is gone, however long nothing is said."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _ignore(_: bytes) -> None:
    """Nobody is there any more."""
