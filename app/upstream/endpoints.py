"""Endpoints by address. They belong to nobody's route: what is known of one outlives every change of the table."""

from weakref import WeakValueDictionary

from app.upstream.balancer import Endpoint
from app.upstream.resolver import Resolver
from app.upstream.transport import UpstreamTransport
from routes.graph.nodes import Address, DNSName


class Endpoints:
    """One :class:`Endpoint` for each address in use; those that no rule holds any more are forgotten."""

    def __init__(self, resolver: Resolver, transport: UpstreamTransport) -> None:
        self._resolver = resolver
        self._transport = transport
        self._by_address: WeakValueDictionary[Address, Endpoint] = WeakValueDictionary()

    def at(self, addresses: tuple[Address, ...]) -> tuple[Endpoint, ...]:
        """The endpoints at ``addresses``."""
        found = []
        for address in addresses:
            endpoint = self._by_address.get(address)
            if endpoint is None:
                pool = self._transport.pool(address.host, address.port)
                endpoint = self._by_address[address] = Endpoint(address, pool)
            found.append(endpoint)
        return tuple(found)

    async def resolve(self, name: DNSName) -> tuple[Address, ...]:
        """Where ``name`` leads now; empty where it is unknown."""
        return await self._resolver.addresses(name)
