"""The connections to one endpoint."""

import asyncio
import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol, cast

from app.listeners.cycle import Cycle
from app.upstream.body import Body
from app.upstream.exchange import Exchange
from app.upstream.fields import Fields
from app.upstream.how import HTTP1, TLS, How
from app.upstream.http1 import Http1Connection
from app.upstream.http2 import Http2Connection
from middleware.errors import ConnectFailed

logger = logging.getLogger(__name__)

#: Seconds after which an idle connection is closed: before most backends close theirs.
IDLE = 60.0
#: Connections kept for one endpoint on which there is nothing, or which take more.
MAX_IDLE = 256

#: TCP asks an endpoint that says nothing for this many seconds whether it is still there, as often, that far apart.
_PROBES: Final = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 9}


class Connection(Protocol):
    """What a pool asks of a connection."""

    #: Whether several exchanges can be on it at once.
    shared: bool
    #: Whether an exchange has ended well on it.
    used: bool
    #: Whether the pool hands it out, and since when it has been idle.
    listed: bool
    idle_since: float

    @property
    def free(self) -> int:
        """How many requests it takes now."""

    @property
    def capacity(self) -> int:
        """How many requests it takes when there is none."""

    @property
    def busy(self) -> bool:
        """Whether there is an exchange on it."""

    def start(
        self,
        method: str,
        target: bytes,
        fields: Fields,
        body: Body | None,
        cycle: Cycle | None = None,
        *,
        upgrade: bool = False,
    ) -> Exchange:
        """Send a request."""

    def close(self) -> None:
        """End it at once."""


class Pool:
    """Connections that take a request, the one used last first: under less load the others grow old and are closed."""

    def __init__(self, host: str, port: int, how: How = HTTP1) -> None:
        self.loop = asyncio.get_running_loop()
        self.host = host
        self.port = port
        self.how = how
        #: The endpoint's own name, for a request that has none.
        name = f"[{host}]" if ":" in host else host
        self.authority = (name if port == how.port else f"{name}:{port}").encode()
        self._free: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._holders = 0
        self._abandoned = False
        # Where connections are shared, as far as is known: those that are being opened, how many requests wait for
        # them, and how many of these fit on one.
        self._shares = how.http2
        self._opening: set[asyncio.Task[ConnectFailed | None]] = set()
        self._waiting = 0
        self._fit = 100
        #: Whether the log has told that the endpoint is not who it should be.
        self._complained = False

    def take(self) -> Connection | None:
        """A connection that is open and takes a request, which has to be started now; or None."""
        while self._free:
            connection = self._free[-1]
            free = connection.free
            if free <= 1:
                self._free.pop()
                connection.listed = False
            if free > 0:
                return connection
        return None

    async def connect(self, timeout: float | None) -> Connection:
        """Another connection that takes a request. Raises ConnectFailed, also after ``timeout`` seconds.

        Where several requests fit on one connection they wait for it together.
        """
        if not self._shares:
            return await self._connect(timeout)
        deadline = None if timeout is None else self.loop.time() + timeout
        self._waiting += 1
        try:
            while self._shares:
                if self._waiting > len(self._opening) * self._fit:
                    opening = self.loop.create_task(self._open_one(timeout))
                    self._opening.add(opening)
                    opening.add_done_callback(self._opening.discard)
                left = None if deadline is None else deadline - self.loop.time()
                done, _ = await asyncio.wait(self._opening, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                errors = [error for task in done if (error := task.result()) is not None]
                if errors or not done:
                    raise ConnectFailed(detail=errors[0].detail if errors else f"{self._name}: TimeoutError()")
                connection = self.take()
                if connection is not None:
                    return connection
        finally:
            self._waiting -= 1
            if not self._waiting:
                opening_now, self._opening = self._opening, set()
                for task in opening_now:
                    task.cancel()
        # It is one that speaks HTTP/1.1, and somebody else has it.
        return await self._connect(None if deadline is None else deadline - self.loop.time())

    def hold(self) -> None:
        """Somebody has requests for this endpoint."""
        self._holders += 1
        self._abandoned = False

    def let_go(self) -> None:
        """One of those has none any more. With the last, idle connections are closed, and others as they end."""
        self._holders -= 1
        if self._holders == 0:
            self._abandoned = True
            self._close_idle()

    def close(self) -> None:
        """Close every connection and open no more; what is under way on them fails."""
        self._closed = True
        self._close_idle()
        for connection in list(self._open):
            connection.close()

    # Inside: new connections

    async def _open_one(self, timeout: float | None) -> ConnectFailed | None:
        """Open a connection that whoever comes first takes. Gives the error, since nobody may be there to hear it."""
        try:
            self._release(await self._connect(timeout))
        except ConnectFailed as error:
            return error
        return None

    async def _connect(self, timeout: float | None) -> Connection:
        if self._closed:
            raise ConnectFailed(detail=f"{self._name}: the gateway is stopping")
        tls = self.how.tls
        connection: Connection
        try:
            async with asyncio.timeout(timeout):
                if tls is None:
                    transport, connection = await self.loop.create_connection(self._make, self.host, self.port)
                else:
                    name = tls.server_name or self.host
                    transport, greeter = await self.loop.create_connection(
                        self._greet, self.host, self.port, ssl=self.how.context, server_hostname=name
                    )
                    if greeter.distrusted:
                        raise self._distrust(greeter.distrusted)
                    connection = greeter.made
        except ssl.SSLCertVerificationError as error:
            raise self._distrust(error.verify_message) from error
        except (OSError, ValueError) as error:  # TimeoutError is an OSError; no name of DNS has an empty label
            raise ConnectFailed(detail=f"{self._name}: {error!r}") from error
        if transport.is_closing():
            # It was lost before we heard of it, and will not be lost again for an exchange.
            raise ConnectFailed(detail=f"{self._name}: closed at once")
        if self._closed:
            connection.close()
            raise ConnectFailed(detail=f"{self._name}: the gateway is stopping")
        _keep_alive(transport.get_extra_info("socket"))
        self._complained = False
        self._open.add(connection)
        self._shares = connection.shared
        if connection.shared:
            self._release(connection)
        return connection

    def _distrust(self, reason: str) -> ConnectFailed:
        if not self._complained:
            self._complained = True
            logger.warning("%s is not trusted: %s", self._name, reason)
        return ConnectFailed(detail=f"{self._name}: {reason}")

    def _greet(self) -> "_Greeter":
        return _Greeter(self._make_chosen, self.how.tls)

    def _make(self) -> Any:
        return self._make_chosen("h2" if self.how.http2 else "http/1.1")

    def _make_chosen(self, protocol: str | None) -> Any:
        """A connection that speaks ``protocol``, by its ALPN name; without one it is HTTP/1.1 (RFC 9113 §3.2)."""
        if protocol == "h2":
            return Http2Connection(self.loop, self.authority, self.how.scheme, self._release, self._forget)
        return Http1Connection(self.loop, self.authority, self._release, self._forget)

    @property
    def _name(self) -> str:
        return f"{self.host}:{self.port}"

    # Inside: those that are there

    def _release(self, connection: Connection) -> None:
        """``connection`` takes a request, or another."""
        idle = not connection.busy
        if connection.shared:
            self._fit = connection.capacity
            if not idle and connection.free <= 0:
                return
        if self._abandoned or (not connection.listed and len(self._free) >= MAX_IDLE):
            if idle:
                connection.close()
            return
        if idle:
            connection.idle_since = self.loop.time()
            if self._sweeper is None:
                self._sweeper = self.loop.call_later(IDLE, self._sweep)
        if not connection.listed:
            connection.listed = True
            self._free.append(connection)

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection.listed:
            connection.listed = False
            self._free.remove(connection)

    def _close_idle(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while self._free:
            connection = self._free.pop()
            connection.listed = False
            if not connection.busy:
                connection.close()

    def _sweep(self) -> None:
        """Close what has been idle for too long; one timer for all of them."""
        self._sweeper = None
        oldest = self.loop.time() - IDLE
        for connection in [connection for connection in self._free if connection.idle_since <= oldest]:
            self._free.remove(connection)
            connection.listed = False
            connection.close()
        left = [connection.idle_since for connection in self._free if not connection.busy]
        if left:
            self._sweeper = self.loop.call_at(min(left) + IDLE, self._sweep)


class _Greeter(asyncio.Protocol):
    """The first protocol on a TLS connection: when the handshake is over it makes the one that was agreed on.

    Unless the certificate is not the right one: then it says why in ``distrusted``, and nothing is sent.
    """

    def __init__(self, make: Callable[[str | None], Any], tls: TLS | None) -> None:
        self._make = make
        self._tls = tls
        self.made: Any = None
        self.distrusted = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tls = transport.get_extra_info("ssl_object")
        asked = self._tls
        if asked is not None and asked.names_others:
            names = tls.getpeercert().get("subjectAltName", ())
            if not asked.accepts(names):
                self.distrusted = f"none of {', '.join((*asked.hostnames, *asked.uris))} is among its names: {names}"
                cast(asyncio.Transport, transport).abort()
                return
        self.made = self._make(tls.selected_alpn_protocol())
        transport.set_protocol(self.made)
        self.made.connection_made(transport)


def _keep_alive(connection: Any) -> None:
    """Have TCP notice an endpoint that is gone without a word."""
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _PROBES.items():
                if hasattr(socket, name):
                    connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
