"""The end of a server that runs a gateway: from the signal to the last answer.

1. ``/ping`` answers 503, and for the *drain delay* everything else goes on, so that whoever sends us clients can
   notice. HTTP/1.1 answers carry ``connection: close`` from now on; clients of HTTP/2 get GOAWAY.
2. The listening sockets are closed, with nobody left in their queues (:mod:`app.listeners.backlog`).
3. Requests under way are answered. Idle connections are closed a moment later, since a request may be on its way.
4. What is not done within uvicorn's ``timeout_graceful_shutdown`` is cut off.

A client that sends on an idle connection in the very moment in which we close it is reset; HTTP/1.1 knows no way around
that, and has clients send such a request again if it is idempotent (RFC 9112 §9.3.1, §9.6). What can be done is done:
each client that was answered in the drain delay has been told, and those that were idle all the time have ``GRACE``
seconds.

A second signal ends the process at once. To a worker among several only SIGINT is one: its parent passes on the SIGTERM
that a supervisor may have sent to all of them.
"""

import asyncio
import logging
import signal
import socket
import threading
from asyncio import Server
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Final

import uvicorn
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.server import HANDLED_SIGNALS

from app.listeners.backlog import accept_all
from app.listeners.http import GatewayProtocol
from app.listeners.http2 import Http2Protocol
from app.listeners.serial import GRACE
from app.listeners.websocket import WebSocketCycle

logger = logging.getLogger(__name__)

#: Seconds between looks for new connections that have to be told of the end.
_TICK: Final = 0.1


class Departure:
    """Takes the place of a running server's own signal handlers and of its ``shutdown``.

    ``delay`` is the drain delay in seconds. ``own`` gives those of the server's sockets that no other process listens
    on; it is told whether the server was given any.
    """

    def __init__(self, server: uvicorn.Server, delay: float, own: Callable[[bool], Iterable[Server]]) -> None:
        self.server = server
        self._delay = delay
        self._own = own
        self._finish = server.shutdown
        self._begun = False

    def prepare(self) -> None:
        """Be asked when the time has come. The server puts back the handlers that were there before its own."""
        self.server.shutdown = self.shutdown  # type: ignore[method-assign]  # uvicorn offers nothing to override
        if threading.current_thread() is threading.main_thread():
            for number in HANDLED_SIGNALS:
                signal.signal(number, self.on_signal)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Begin, or end at once."""
        if self._begun and (number == signal.SIGINT or self.server.config.workers == 1):
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        # Repeated before anything came of the first it is the same one: some send it to a process and to its group.
        if not self.server.should_exit:
            self.server.handle_exit(number, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, close, and have the server wait for what is under way. ``sockets`` are those it was given."""
        self._begun = True
        server = self.server
        server.should_exit = True  # for /ping; a server also ends without a signal
        # Put into every answer by uvicorn's own protocols, which close after such a one, and left out in HTTP/2.
        server.server_state.default_headers = [*server.server_state.default_headers, CLOSE_HEADER]
        if self._delay:
            logger.info("draining: for %g s connections and requests are still taken", self._delay)
        async with _repeated(self._announce):
            await asyncio.sleep(self._delay)
            await accept_all(self._own(sockets is not None))
        for opened in server.servers:
            opened.close()
        ours = (GatewayProtocol, Http2Protocol, WebSocketCycle)
        if any(not isinstance(each, ours) for each in server.server_state.connections):
            await asyncio.sleep(GRACE)  # uvicorn's own give an idle connection no time
        async with _repeated(self._tell):
            await self._finish(sockets)

    def _announce(self) -> None:
        for connection in self._connections():
            connection.draining = True

    def _tell(self) -> None:
        """The server tells only those that are there when it begins; a TLS handshake under way ends in one later."""
        for connection in self._connections():
            connection.shutdown()

    def _connections(self) -> list[GatewayProtocol | Http2Protocol]:
        return [
            each for each in self.server.server_state.connections if isinstance(each, GatewayProtocol | Http2Protocol)
        ]


@asynccontextmanager
async def _repeated(action: Callable[[], None]) -> AsyncIterator[None]:
    """Do ``action`` now and then, for the connections that come."""

    async def repeat() -> None:
        while True:
            action()
            await asyncio.sleep(_TICK)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
