"""How each Gateway of a cluster is reached, as every replica knows it: the ports that its listeners are bound to, and
its addresses."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from app.exposure.objects import addresses, listener_ports, static_address
from app.exposure.ports import allocate
from app.exposure.seal import Seal
from app.exposure.stored import Follow, Stored
from app.exposure.writer import Writer
from app.providers.kubernetes.api import Api
from app.reconciler import State
from app.settings import Settings
from routes.graph.nodes import GatewayNode, Graph
from routes.resources.meta import Key
from routes.table.types import PortKey, RoutingTable

logger = logging.getLogger(__name__)


class Exposure:
    """Knows how the Gateways of a cluster are reached, and sees to it while it leads.

    ``follow`` makes what follows a collection of the API server. ``tell`` is called when bound ports or addresses have
    changed, or why there are none. In this order, for each table: :meth:`prepare`, the sockets are opened by
    :meth:`bound`, :meth:`publish`; so nothing is announced before it is open here.
    """

    def __init__(self, api: Api, follow: Follow, settings: Settings, tell: Callable[[], None]) -> None:
        self._settings = settings
        self._tell = tell
        admin = settings.admin.rpartition(":")[2]
        self._reserved = frozenset({int(admin)} if admin.isdigit() else ())
        replicas = (api.namespace, settings.replicas_service)
        seal = Seal(settings.session_key.get_secret_value().encode())
        self._stored = Stored(follow, settings.namespaces, replicas, settings.controller_name, seal, self._changed)
        # What is known, and was told.
        self._wanted: frozenset[PortKey] = frozenset()
        self._bound: dict[PortKey, int] = {}
        self._addresses: dict[Key, tuple[str, ...]] = {}
        self._unusable: dict[Key, str] = {}
        self._unassigned: dict[Key, str] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due: asyncio.Handle | None = None
        self._writer = Writer(api, settings, self._stored, self.bound, seal, self._changed)

    async def load(self) -> None:
        """Find out what there is; afterwards :meth:`bound` knows the ports that were bound before a restart."""
        self._loop = asyncio.get_running_loop()
        await self._stored.load()

    async def run(self) -> None:
        """Write while leading, until cancelled. Ports and addresses are followed without it as well."""
        await self._writer.run()

    async def stop(self) -> None:
        """Follow no more."""
        if self._due is not None:
            self._due.cancel()
        self._loop = None
        await self._stored.stop()

    def again(self) -> None:
        """The API server answers again: ask for what it did not tell, rather than when the pause is over."""
        self._stored.again()

    def lead(self, leading: bool) -> None:
        """Write from now on, or write no more."""
        self._writer.lead(leading)
        self._changed()

    def prepare(self, table: RoutingTable[Any]) -> None:
        """Find ports for the listeners of ``table``, which is about to be the present one."""
        wanted = frozenset(table.ports)
        if wanted != self._wanted:  # most tables differ from the last one in their routes
            self._wanted = wanted
            self._bound = self._allocated()

    def bound(self, key: PortKey) -> int:
        """The port of the pod that a listener is bound to; 0 where all are taken."""
        if key not in self._wanted:
            self._wanted |= {key}
            self._bound = self._allocated()
        return self._bound.get(key, 0)

    def publish(self, state: State) -> None:
        """Expose the Gateways of ``state``, whose sockets are open."""
        before, self._writer.graph = self._writer.graph, state.graph
        if before is None or not _is_exposed_alike(before, state.graph):
            self._changed()

    def addresses(self) -> Mapping[Key, tuple[str, ...]]:
        """At which IP addresses and host names a Gateway is reached. Of one that is not in it nothing is known yet."""
        return self._addresses

    def unusable(self) -> Mapping[Key, str]:
        """Why a Gateway cannot have addresses that it asks for."""
        return self._unusable

    def unassigned(self) -> Mapping[Key, str]:
        """What a Gateway without an address waits for, or why it has none."""
        return self._unassigned

    def _allocated(self) -> dict[PortKey, int]:
        return allocate(self._wanted, self._stored.ports(), self._bound, self._reserved)

    def _changed(self) -> None:
        if self._due is None and self._loop is not None:
            self._due = self._loop.call_soon(self._refresh)

    def _refresh(self) -> None:
        self._due = None
        before = (self._bound, self._addresses, self._unusable, self._unassigned)
        self._bound = self._allocated()
        self._addresses, self._unusable, self._unassigned = {}, {}, {}
        for key, node in self._writer.gateways.items():
            if listener_ports(node):
                try:
                    self._look_at(key, node, bool(before[1].get(key)))
                except Exception:
                    # One Gateway that nobody has thought of must not hold up all others.
                    logger.exception("%s: its addresses cannot be told", key)
                    self._unassigned[key] = "its addresses cannot be told: the log says why"
        if before != (self._bound, self._addresses, self._unusable, self._unassigned):
            self._tell()
        self._writer.wake()

    def _look_at(self, key: Key, node: GatewayNode, had_address: bool) -> None:
        asked, problem = static_address(node.source, self._settings.static_addresses)
        if problem:
            self._unusable[key] = problem
        namespace, name = self._writer.name_of(node)
        stored = self._stored.services_of(key).get((namespace, name))
        found = addresses(stored) if stored is not None else ()
        trouble = self._writer.trouble(key)
        # An address leads somewhere once there is a slice. It stays whatever becomes of the replicas.
        if found and (had_address or self._stored.slices_of(key)):
            self._addresses[key] = found
        elif trouble:
            self._addresses[key], self._unassigned[key] = (), trouble
        elif self._stored.unread:
            self._unassigned[key] = self._stored.unread
        elif stored is None:
            self._unassigned[key] = f"Service {namespace}/{name} is being made"
        elif not found:
            what = asked or "an address"
            self._unassigned[key] = (
                f"Service {namespace}/{name} waits for the cluster's load balancer to give it {what}"
            )
        else:
            self._unassigned[key] = f"Service {namespace}/{name} has no EndpointSlice yet"


def _is_exposed_alike(one: Graph, other: Graph) -> bool:
    """Whether all Gateways are the same but for their routes, which come and go all the time."""
    before = one.gateways
    return (
        other.foreign == one.foreign
        and other.gateways.keys() == before.keys()
        and all(
            node is before[key]
            or (node.source is before[key].source and listener_ports(node) == listener_ports(before[key]))
            for key, node in other.gateways.items()
        )
    )
