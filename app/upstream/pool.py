"""The connections to one endpoint."""

import asyncio
from collections import deque

from app.upstream.http1 import Http1Connection
from middleware.errors import ConnectFailed

#: Seconds after which an idle connection is closed: before most backends close theirs.
IDLE = 60.0
#: Idle connections kept for one endpoint.
MAX_IDLE = 256


class Pool:
    """Idle connections, the one used last first: under less load the others grow old and are closed."""

    def __init__(self, host: str, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.host = host
        self.port = port
        #: The endpoint's own name, for a request that has none.
        name = f"[{host}]" if ":" in host else host
        self.authority = (name if port == 80 else f"{name}:{port}").encode()
        self._idle: deque[Http1Connection] = deque()
        self._open: set[Http1Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._holders = 0
        self._abandoned = False

    def take(self) -> Http1Connection | None:
        """An idle connection, or None."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closing:
                return connection
        return None

    async def connect(self, timeout: float | None) -> Http1Connection:
        """A new connection. Raises ConnectFailed, also where it took more than ``timeout`` seconds."""
        if self._closed:
            raise ConnectFailed(detail=f"{self.host}:{self.port}: the gateway is stopping")
        try:
            async with asyncio.timeout(timeout):
                _, connection = await self._loop.create_connection(self._make, self.host, self.port)
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError; no name of DNS has an empty label
            raise ConnectFailed(detail=f"{self.host}:{self.port}: {error!r}") from error
        if connection.closing:
            # It was lost before we heard of it, and will not be lost again for an exchange.
            raise ConnectFailed(detail=f"{self.host}:{self.port}: closed at once")
        self._open.add(connection)
        return connection

    def _make(self) -> Http1Connection:
        return Http1Connection(self._loop, self.authority, self._release, self._forget)

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

    def _close_idle(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while self._idle:
            self._idle.pop().close()

    def _release(self, connection: Http1Connection) -> None:
        if len(self._idle) >= MAX_IDLE or self._abandoned:
            connection.close()
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(IDLE, self._sweep)

    def _forget(self, connection: Http1Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _sweep(self) -> None:
        """Close what has been idle for too long; one timer for all of them."""
        oldest = self._loop.time() - IDLE
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().close()
        self._sweeper = self._loop.call_at(self._idle[0].idle_since + IDLE, self._sweep) if self._idle else None
