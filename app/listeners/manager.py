"""Keeps the open sockets what the routing table says: those that the server around us does not open itself."""

import logging
import ssl
from asyncio import Server
from collections.abc import Callable
from typing import Any

from app.listeners.server import Sockets, reason
from app.listeners.standin import stands_for
from app.tls.sni import Certificates, listener_context
from routes.table.types import PortKey, RoutingTable

logger = logging.getLogger(__name__)

#: Where a socket's PortKey is in ``scope["state"]``.
PORT = "listener"


class Listeners:
    """Opens and closes sockets by the difference between two tables; whoever is connected stays connected."""

    def __init__(self, sockets: Sockets, host: str, listener: str, table: Callable[[], RoutingTable[Any]]) -> None:
        self._sockets = sockets
        self._host = host
        self._listener = listener
        self._table = table
        self._certificates = Certificates()
        self._open: dict[PortKey, Server] = {}
        self._refused: set[PortKey] = set()

    @property
    def open_ports(self) -> tuple[PortKey, ...]:
        """The ports on which a socket of ours listens."""
        return tuple(self._open)

    def certify(self, table: RoutingTable[Any]) -> None:
        """Load the certificates of ``table``, which is about to be the present one. Connections stay as they are."""
        self._certificates.keep(
            {pair for port in table.ports.values() for _, pairs in port.certificates.items() for pair in pairs}
        )

    async def sync(self) -> None:
        """Open and close what the present table asks for; a port that cannot be opened is tried again next time."""
        wanted = self._wanted()
        for key in self._open.keys() - wanted.keys():
            self._sockets.close(self._open.pop(key))
            logger.info("%s: closed, no listener wants it any more", key)
        for key, protocol in wanted.items():
            if key not in self._open:
                await self._try(key, protocol)

    def _wanted(self) -> dict[PortKey, str]:
        table, place = self._table(), self._sockets.own_place
        served = stands_for(place, table, self._listener)[0] if place is not None else None
        wanted: dict[PortKey, str] = {}
        holders: dict[int, str] = {place[1]: "the server around us"} if place is not None and place[1] else {}
        for key, port in table.ports.items():
            if key == served:
                continue
            if key.port in holders:
                self._refuse(key, f"{holders[key.port]} has this port already")
                continue
            holders[key.port] = str(key)
            wanted[key] = port.protocol
        return wanted

    async def _try(self, key: PortKey, protocol: str) -> None:
        context = self._context(key) if protocol == "HTTPS" else None
        try:
            self._open[key] = await self._sockets.open(self._host, key.port, {PORT: key}, context)
        except OSError as error:
            self._refuse(key, reason(error))
            return
        self._refused.discard(key)
        logger.info("%s: listening on %s port %d, %s", key, self._host, key.port, protocol)

    def _refuse(self, key: PortKey, reason: str) -> None:
        if key not in self._refused:
            self._refused.add(key)
            logger.error("%s: not listening on %s port %d: %s", key, self._host, key.port, reason)

    def _context(self, key: PortKey) -> ssl.SSLContext:
        def find(server_name: str | None) -> ssl.SSLContext | None:
            port = self._table().ports.get(key)
            return self._certificates.context(port.certificates, server_name) if port is not None else None

        return listener_context(find)
