"""Endpoints by address. They belong to nobody's route: what is known of one outlives every change of the table."""

import asyncio
from weakref import WeakValueDictionary, finalize

from app.upstream.health import Endpoint
from app.upstream.how import HTTP1, How
from app.upstream.pool import Pool
from app.upstream.resolver import Resolver
from app.upstream.transport import UpstreamTransport
from routes.graph.nodes import Address, DNSName


class Endpoints:
    """One :class:`Endpoint` for each address in use; those that no rule holds any more are forgotten.

    With its endpoint go the idle connections to an address; a request under way keeps its own to its end.
    """

    def __init__(self, resolver: Resolver, transport: UpstreamTransport) -> None:
        self._resolver = resolver
        self._transport = transport
        self._by_address: WeakValueDictionary[tuple[Address, How], Endpoint] = WeakValueDictionary()

    def at(self, addresses: tuple[Address, ...], how: How = HTTP1, *, joining: bool = False) -> tuple[Endpoint, ...]:
        """The endpoints at ``addresses``. ``joining``: those that are new warm up, unless all of them are."""
        found = []
        made = []
        for address in addresses:
            endpoint = self._by_address.get((address, how))
            if endpoint is None:
                endpoint = self._make(address, how)
                made.append(endpoint)
            found.append(endpoint)
        if joining and len(made) < len(found):
            for endpoint in made:
                endpoint.warm_up()
        return tuple(found)

    def resolved(self, name: DNSName) -> tuple[Address, ...]:
        """Where ``name`` leads, as far as that is known without waiting."""
        return self._resolver.known(name)

    async def resolve(self, name: DNSName) -> tuple[Address, ...]:
        """Where ``name`` leads now; empty where it is unknown."""
        return await self._resolver.addresses(name)

    def _make(self, address: Address, how: How) -> Endpoint:
        pool = self._transport.pool(address.host, address.port, how)
        pool.hold()
        loop = asyncio.get_running_loop()
        endpoint = self._by_address[address, how] = Endpoint(address, pool, clock=loop.time)
        finalize(endpoint, _let_go, loop, pool).atexit = False
        return endpoint


def _let_go(loop: asyncio.AbstractEventLoop, pool: Pool) -> None:
    """An endpoint is gone. The last to hold it may have been a table that was built, and dropped, in a thread."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(pool.let_go)
