"""Keeps the open sockets what the routing table says: those that the server around us does not open itself."""

import asyncio
import errno
import logging
import ssl
from asyncio import Server
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from app.listeners.places import PORT, Place, Plan, is_one_address, overlap, plan
from app.listeners.server import Sockets, reason
from app.tls.sni import Certificates, listener_context
from routes.graph import nodes
from routes.resources.meta import Key
from routes.table.types import PortKey, RoutingTable

logger = logging.getLogger(__name__)

#: Seconds until what the system refused is tried again; each time twice as long.
FIRST_RETRY: Final = 1.0
LAST_RETRY: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Open:
    """A socket that listens. ``state`` goes into every request's scope, also of connections that are there already:
    writing another PortKey into it points the socket, and them, to another Gateway."""

    server: Server
    state: dict[str, Any]
    tls: bool

    @property
    def key(self) -> PortKey:
        key: PortKey = self.state[PORT]
        return key


class Listeners:
    """Opens, re-points and closes sockets by the difference between what is open and what the present table asks for.

    ``host`` is where Gateways listen that name no address. ``bound`` says which port a listener's is bound to; it is
    asked at each :meth:`sync`, and may change. ``listener`` is what the server's own socket stands for where it is no
    listener's. ``tell`` is called when something new is known of the sockets.
    """

    def __init__(
        self,
        sockets: Sockets,
        host: str,
        bound: Callable[[PortKey], int],
        listener: str,
        table: Callable[[], RoutingTable[Any]],
        tell: Callable[[nodes.Sockets], None],
    ) -> None:
        self._sockets = sockets
        self._host = host
        self._bound = bound
        self._listener = listener
        self._table = table
        self._tell = tell
        self._certificates = Certificates()
        self._one_by_one = asyncio.Lock()
        # The mutable state, changed by sync alone.
        self._open: dict[Place, _Open] = {}
        self._known = nodes.Sockets()
        # When to try again what the system refused, and after how long the time after that.
        self._timer: asyncio.TimerHandle | None = None
        self._delay = FIRST_RETRY
        self._retry: asyncio.Task[None] | None = None
        self._soon: asyncio.Task[None] | None = None
        self._reserved: tuple[Place, ...] = ()

    @property
    def open_places(self) -> tuple[Place, ...]:
        """Where a socket of ours listens."""
        return tuple(self._open)

    @property
    def bound(self) -> Mapping[PortKey, int]:
        """The port of this machine that is open for a Gateway's; those on a server's own socket are not in it."""
        return {opened.key: place.port for place, opened in self._open.items()}

    async def holder(self, addresses: Sequence[str], port: int) -> str:
        """Which socket of ours one on ``addresses`` and ``port`` would stand beside or before, "" for none.

        Raises OSError where the server's own address has none.
        """
        for place, opened in self._open.items():
            if place.port == port and any(overlap(place.address, address) for address in addresses):
                return f"{opened.key} is on {place}"
        own = self._sockets.own_place
        if own is not None and own.number == port:
            held = await self._sockets.addresses(own.address)
            if any(overlap(one, other) for one in held for other in addresses):
                return f"the server itself is on {own.address}, port {port}"
        return ""

    def reserve(self, addresses: Sequence[str], port: int) -> None:
        """Open no listener on ``port`` of ``addresses``: it is the admin port's. Where sockets are shared with other
        workers the system would not refuse it, and hand the admin port's requests to the one and the other."""
        self._reserved = tuple(Place(str(ip_address(address)), port) for address in addresses)

    def certify(self, table: RoutingTable[Any]) -> None:
        """Load the certificates of ``table``, which is about to be the present one. Connections stay as they are."""
        self._certificates.keep(
            {pair for port in table.ports.values() for _, pairs in port.certificates.items() for pair in pairs}
        )

    async def sync(self) -> None:
        """Open, re-point and close what the present table asks for.

        What cannot be opened is logged, told, and tried again by and by; the rest serves.
        """
        async with self._one_by_one:
            self._delay = FIRST_RETRY
            await self._sync()

    def sync_soon(self) -> None:
        """The same without waiting for it, where a port is to be bound elsewhere now."""
        if self._soon is None:
            self._soon = asyncio.create_task(self._attempt(FIRST_RETRY))

    def stop(self) -> None:
        """Try nothing again. Sockets stay as they are."""
        if self._timer is not None:
            self._timer.cancel()
        for task in (self._retry, self._soon):
            if task is not None:
                task.cancel()

    async def _sync(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        table = self._table()
        failed: dict[PortKey, str] = {}
        try:
            hosts = await self._sockets.addresses(self._host)
        except OSError as error:
            hosts = ()
            failed = {key: f"{self._host}: {reason(error)}" for key, port in table.ports.items() if not port.addresses}
        own = self._sockets.own_place
        asked = plan(table, hosts, self._bound, own, self._listener, self._reserved)
        self._close_others(asked, table)
        # First of all, without waiting: who is connected must not meet a Gateway that is gone.
        for place, opened in self._open.items():
            if opened.key != asked.wanted[place]:
                logger.info("%s: now for %s", place, asked.wanted[place])
                opened.state[PORT] = asked.wanted[place]
        for place, key in asked.wanted.items():
            if place in self._open:
                continue
            try:
                await self._try(place, key, tls=table.ports[key].protocol == "HTTPS")
            except OSError as error:
                # A host name such as localhost may have addresses that this machine has not.
                if error.errno != errno.EADDRNOTAVAIL or table.ports[key].addresses or len(hosts) == 1:
                    failed.setdefault(key, f"{place}: {reason(error)}")
        self._report(table, asked, failed, own.address if own is not None else "")
        if failed:
            self._timer = asyncio.get_running_loop().call_later(self._delay, self._try_again)

    def _close_others(self, asked: Plan, table: RoutingTable[Any]) -> None:
        for place, opened in list(self._open.items()):
            key = asked.wanted.get(place)
            if key is None or (table.ports[key].protocol == "HTTPS") != opened.tls:
                del self._open[place]
                self._sockets.close(opened.server, opened.state)
                logger.info("%s: %s closed, no listener wants it any more", opened.key, place)

    async def _try(self, place: Place, key: PortKey, *, tls: bool) -> None:
        """Open a socket. Raises OSError."""
        state: dict[str, Any] = {PORT: key}
        context = self._context(state) if tls else None
        server = await self._sockets.open(place.address, place.port, state, context)
        self._open[place] = _Open(server, state, tls)
        protocol = "HTTPS" if tls else "HTTP"
        logger.info("%s: listening on %s, %s", key, place, protocol)

    def _report(self, table: RoutingTable[Any], asked: Plan, failed: Mapping[PortKey, str], own: str) -> None:
        refused = {**asked.refused, **failed}
        for key, sentence in refused.items():
            if self._known.refused.get((key.gateway, key.port)) != sentence:
                logger.error("%s: not listening on %s", key, sentence)
        # Of a Gateway that asks for addresses it is known which it got; one on every address of a machine has none.
        addresses: dict[Key, dict[str, None]] = {key.gateway: {} for key, port in table.ports.items() if port.addresses}
        for place, opened in self._open.items():
            if is_one_address(place.address):
                addresses.setdefault(opened.key.gateway, {})[place.address] = None
        for key in asked.shared:
            for address in table.ports[key].addresses or (own,):
                if is_one_address(address):
                    addresses.setdefault(key.gateway, {})[address] = None
        known = nodes.Sockets(
            {(key.gateway, key.port): sentence for key, sentence in refused.items()},
            {gateway: tuple(found) for gateway, found in addresses.items()},
        )
        if known != self._known:
            self._known = known
            self._tell(known)

    def _try_again(self) -> None:
        self._timer = None
        self._retry = asyncio.create_task(self._attempt(min(self._delay * 2, LAST_RETRY)))

    async def _attempt(self, delay: float) -> None:
        """Bring the sockets up to date; what fails is tried again after ``delay`` seconds."""
        async with self._one_by_one:
            # From here on, what comes to be known is for the next one to see to.
            self._soon = None
            self._delay = delay
            try:
                await self._sync()
            except Exception:
                logger.exception("sockets could not be tried again")

    def _context(self, state: Mapping[str, Any]) -> ssl.SSLContext:
        def find(server_name: str | None) -> ssl.SSLContext | None:
            port = self._table().ports.get(state[PORT])
            return self._certificates.context(port.certificates, server_name) if port is not None else None

        return listener_context(find)
