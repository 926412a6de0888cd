"""Which listener a port of the server around us stands for."""

import logging
from typing import Any

from starlette.types import Scope

from routes.table.types import PortKey, RoutingTable

logger = logging.getLogger(__name__)

#: Scheme and port number, as a server tells them; a Unix socket has no number.
Place = tuple[str, int | None]


def stands_for(place: Place, table: RoutingTable[Any], listener: str) -> tuple[PortKey | None, bool]:
    """The port of ``table`` that a socket at ``place`` serves, and whether that is plain from its number.

    A listener with the same port number and protocol is meant. Where there is none it is ``listener``
    (``namespace/gateway/listener``), or without that the first HTTP listener of the first Gateway.
    """
    scheme, number = place
    protocol = "HTTPS" if scheme in ("https", "wss") else "HTTP"
    for key, port in table.ports.items():
        if key.port == number and port.protocol == protocol:
            return key, True
    return table.listeners.get(listener) if listener else table.first("HTTP"), False


class StandIns:
    """Finds for a server's own socket the port that it stands for, and says so once where that is not plain."""

    def __init__(self, listener: str) -> None:
        self._listener = listener
        # What was found in the table that was asked last, and what has been said since the start.
        self._table: RoutingTable[Any] | None = None
        self._found: dict[Place, PortKey | None] = {}
        self._said: set[tuple[Place, PortKey | None]] = set()

    def find(self, scope: Scope, table: RoutingTable[Any]) -> PortKey | None:
        """The port that the request's socket stands for in ``table``, None where it can stand for nothing."""
        if self._table is not table:
            self._table, self._found = table, {}
        server = scope.get("server")
        place: Place = (scope.get("scheme", "http"), server[1] if server else None)
        if place not in self._found:
            self._found[place] = self._choose(place, table)
        return self._found[place]

    def _choose(self, place: Place, table: RoutingTable[Any]) -> PortKey | None:
        scheme, number = place
        chosen, plain = stands_for(place, table, self._listener)
        if not plain and (place, chosen) not in self._said:
            self._said.add((place, chosen))
            where = f"port {number}" if number is not None else "this socket"
            if chosen is not None:
                name = self._listener or next(name for name, key in table.listeners.items() if key == chosen)
                logger.info("%s (%s) is no listener's and stands for listener %s", where, scheme, name)
            elif self._listener:
                known = ", ".join(table.listeners) or "none"
                logger.error("%s: there is no listener %s; there is %s", where, self._listener, known)
            else:
                logger.error("%s is no listener's, and no Gateway has an HTTP listener that it could stand for", where)
        return chosen
