"""Which listener a connection to the server's own socket is for."""

import logging
from collections.abc import Callable
from typing import Any, Final

from starlette.types import Scope

from app.listeners.places import OwnPlace, stands_for
from routes.table.types import PortKey, RoutingTable

logger = logging.getLogger(__name__)

#: A socket for every address of a network has many of them; what is remembered of them is bounded.
_MOST: Final = 1024


class StandIns:
    """Finds for a server's own socket the port that it stands for, and says so once where that is not plain.

    ``bound``: the port that a listener's is bound to.
    """

    def __init__(self, listener: str, bound: Callable[[PortKey], int]) -> None:
        self._listener = listener
        self._bound = bound
        # What was found in the table that was asked last, and what has been said since the start.
        self._table: RoutingTable[Any] | None = None
        self._found: dict[OwnPlace, PortKey | None] = {}
        self._said: set[tuple[str, int | None, PortKey | None]] = set()

    def find(self, scope: Scope, table: RoutingTable[Any]) -> PortKey | None:
        """The port that the request's socket stands for in ``table``, None where it can stand for nothing."""
        if self._table is not table or len(self._found) > _MOST:
            self._table, self._found = table, {}
        server = scope.get("server")
        address, number = server or ("", None)
        place = OwnPlace(scope.get("scheme", "http"), address, number)
        if place not in self._found:
            self._found[place] = self._choose(place, table)
        return self._found[place]

    def _choose(self, place: OwnPlace, table: RoutingTable[Any]) -> PortKey | None:
        chosen, plain = stands_for(place, table, self._bound, self._listener)
        said = (place.scheme, place.number, chosen)
        if not plain and said not in self._said:
            self._said.add(said)
            where = f"port {place.number}" if place.number is not None else "this socket"
            if chosen is not None:
                name = self._listener or next(name for name, key in table.listeners.items() if key == chosen)
                logger.info("%s (%s) is no listener's and stands for listener %s", where, place.scheme, name)
            elif self._listener:
                known = ", ".join(table.listeners) or "none"
                logger.error("%s: there is no listener %s; there is %s", where, self._listener, known)
            else:
                logger.error("%s is no listener's, and no Gateway has an HTTP listener that it could stand for", where)
        return chosen
