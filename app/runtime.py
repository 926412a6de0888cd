"""One run of a gateway in one event loop: everything that has to be started and stopped."""

import asyncio
import contextlib
import gc
import logging
from collections import Counter as Counts
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import ip_address
from math import ceil
from typing import TYPE_CHECKING, Self

import uvicorn
from starlette.types import ASGIApp

from app.admin.application import admin_app
from app.admin.source import Source
from app.backend import Upstream
from app.extensions import installed
from app.journal import Journal
from app.listeners.departure import Departure
from app.listeners.http import GatewayProtocol
from app.listeners.manager import Listeners
from app.listeners.places import as_set, stands_for
from app.listeners.server import SocketlessConfig, Sockets, bound_port, reason, workers
from app.observability.counting import Counter
from app.observability.metrics import Around, Metrics
from app.providers.base import Provider
from app.providers.file import FileProvider
from app.proxy import RuleProxy
from app.reconciler import Reconciler, State, stop
from app.rule import serve
from app.sessions import common_key
from app.settings import Settings
from app.upstream.endpoints import Endpoints
from app.upstream.resolver import Resolver
from app.upstream.services import ServiceEndpoints
from app.upstream.transport import UpstreamTransport
from middleware.extension import Extensions
from routes.table.types import PortKey, RoutingTable, Rule

if TYPE_CHECKING:
    from app.cluster import Cluster

logger = logging.getLogger(__name__)

#: Seconds that the start waits for host names of backends; a request for one that is still unknown waits as well.
RESOLVE_AT_START = 2.0
#: When the cycle collector looks, in a process of ours (:func:`gc.set_threshold`).
COLLECTED = (20_000, 20, 50)

_EMPTY: RoutingTable[RuleProxy] = RoutingTable({}, {})


class StartError(Exception):
    """The gateway cannot start, for a reason that the log has told or the message tells."""


class Runtime:
    """Reads the objects, follows their changes, and holds what is served: ``table``, read once by each request.

    ``extensions`` are the filters that ExtensionRefs may lead to: the installed ones and those given as ``filters``.
    ``counter`` counts the requests, where anybody does.
    """

    def __init__(self, settings: Settings, filters: Extensions | None = None, counter: Counter | None = None) -> None:
        self.settings = settings
        self.extensions = installed(filters)
        self.loop = asyncio.get_running_loop()
        self.table: RoutingTable[RuleProxy] = _EMPTY
        self.state: State | None = None
        self.serving = False
        self.journal = Journal()
        self._counter = counter
        self._metrics = Metrics(counter, self.journal) if counter is not None else None
        self._stack = contextlib.AsyncExitStack()
        self._resolver = Resolver(settings.dns_refresh)
        self._reconciler: Reconciler | None = None
        self._listeners: Listeners | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._cluster: Cluster | None = None

    async def __aenter__(self) -> Self:
        """Serve what the manifests say, and from then on what they come to say. Raises no error for bad manifests."""
        async with self._stack:
            self._stack.callback(self._resolver.close)
            options = self.settings.options(self.extensions)
            provider: Provider
            services = ServiceEndpoints()
            if self.settings.provider == "kubernetes":
                # What a cluster needs is not installed, nor loaded, where there is none.
                from app.cluster import Cluster, ConfigurationError

                try:
                    self._cluster = await self._stack.enter_async_context(Cluster(self.settings, options))
                except ConfigurationError as error:
                    raise StartError(str(error)) from None
                provider, services = self._cluster.provider, self._cluster.provider.endpoints
            else:
                provider = FileProvider(self.settings.manifests, extensions=options.extensions)
            transport = await self._stack.enter_async_context(UpstreamTransport())
            key = self.settings.session_key.get_secret_value().encode() or common_key()
            upstream = Upstream(
                transport, Endpoints(self._resolver, transport), key, self.extensions, services, self._counter
            )

            def proxy(rule: Rule, before: RuleProxy | None) -> RuleProxy:
                return serve(rule, upstream, before)

            reconciler = self._reconciler = Reconciler(provider, options, proxy, self._swap, self.journal)
            if self._cluster is not None:
                await self._cluster.load()
            await reconciler.load()
            await self._resolver.ready(RESOLVE_AT_START)
            self._stack.push_async_callback(stop, asyncio.create_task(_follow(reconciler)))
            self.serving = True
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.serving = False
        await self._stack.aclose()

    def stop_with_loop(self) -> None:
        """Have the end of the event loop, which cancels its tasks, stop a run that nobody else stops."""

        async def keep() -> None:
            try:
                await self.loop.create_future()
            finally:
                await self.__aexit__()

        if self._keeper is None:
            self._keeper = asyncio.create_task(keep())

    def look_again(self) -> None:
        """Have the source of objects looked at, whether it has told of a change or not. Does not wait."""
        if self._reconciler is not None and (self._looking is None or self._looking.done()):
            logger.info("looking at all objects again")
            self._looking = asyncio.create_task(self._reconciler.look_again())

    def abandon(self) -> None:
        """Let go of a run whose event loop has ended without stopping it."""
        self._resolver.close_threads()

    async def listen(self, app: ASGIApp, server: uvicorn.Server | None) -> None:
        """Open a socket for every listener that ``server`` around us does not open itself, and the admin port."""
        sockets = Sockets(app, server)
        if server is not None:
            if server.config.timeout_graceful_shutdown is None:
                server.config.timeout_graceful_shutdown = ceil(self.settings.drain_timeout)
            Departure(server, self.settings.drain_delay, sockets.own).prepare()
        assert self._reconciler is not None, "it listens when it runs"
        if self._metrics is not None:
            proxies, clients = self._reconciler.all_proxies, partial(self._clients, sockets)
            await self._metrics.start(Around(lambda: self.state, proxies, clients), workers=workers())
            self._stack.push_async_callback(self._metrics.stop)
        self._stack.push_async_callback(sockets.drain, self.settings.drain_timeout)
        self._listeners = Listeners(
            sockets,
            self.settings.host or sockets.host,
            as_set(self.settings.ports) if self._cluster is None else self._cluster.bound,
            self.settings.listener,
            lambda: self.table,
            self._reconciler.sockets if self._cluster is None else self._cluster.sockets,
        )
        self._stack.callback(self._listeners.stop)
        self._listeners.certify(self.table)
        if self._cluster is not None:
            self._cluster.start(self._reconciler.sockets, self._listeners.sync_soon)
        await self._listeners.sync()
        # The process is ours. Requests leave no circles behind, and what was built at the start is there to stay: the
        # collector would find nothing and stop every request for it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTED)
        alone = server is not None and isinstance(server.config, SocketlessConfig)
        if alone and self.table.ports and not self._listeners.open_places:
            raise StartError("no listener could be opened")
        await self._open_admin(lambda: self.serving and not (server is not None and server.should_exit))
        self._stack.push_async_callback(stop, asyncio.create_task(sockets.join()))

    async def _open_admin(self, serving: Callable[[], bool]) -> None:
        if self.settings.admin == "off":
            return
        host, _, port = self.settings.admin.rpartition(":")
        reconciler, listeners = self._reconciler, self._listeners
        assert reconciler is not None, "it is the last to open"
        assert listeners is not None, "it is the last to open"
        source = Source(
            settings=self.settings,
            serving=serving,
            state=lambda: self.state,
            proxies=reconciler.proxies,
            bound=lambda: listeners.bound,
            numbers=self._metrics.numbers if self._metrics is not None else None,
            journal=self.journal,
            metrics=self._metrics,
        )
        # Our own protocol: its limits, and an end at once for those that follow events, hold whatever serves around us.
        sockets = Sockets(admin_app(source), None, http=GatewayProtocol, ws="none")
        try:
            addresses = await sockets.addresses(host.strip("[]"))
            if holder := await listeners.holder(addresses, int(port)):
                logger.error(
                    "the admin port is not opened on %s: %s; set MOONGATE_ADMIN to another port, or to off",
                    self.settings.admin,
                    holder,
                )
                return
            opened = await sockets.open(host.strip("[]"), int(port), {})
        except OSError as error:
            logger.warning("no /ping on %s: %s", self.settings.admin, reason(error))
            return
        listeners.reserve(addresses, bound_port(opened))
        if self.settings.dashboard == "on" and not all(ip_address(address).is_loopback for address in addresses):
            logger.warning(
                "MOONGATE_DASHBOARD is on: whoever reaches %s sees all routes and endpoints",
                self.settings.admin,
            )
        self._stack.push_async_callback(sockets.drain, 0.0)

    def _clients(self, sockets: Sockets) -> Mapping[tuple[str, str], int]:
        """Open connections of clients, by the name of the port and the protocol."""
        found: Counts[tuple[PortKey | None, str]] = Counts(sockets.clients())
        own = sockets.own_place
        named: Counts[tuple[str, str]] = Counts()
        for (port, protocol), number in found.items():
            if port is None and own is not None:
                bound = as_set(self.settings.ports) if self._cluster is None else self._cluster.bound
                port, _ = stands_for(own, self.table, bound, self.settings.listener)
            named["" if port is None else str(port), protocol] += number
        return named

    async def _swap(self, state: State) -> None:
        if self.state is None or state.names is not self.state.names:
            self._resolver.watch(state.names)
        if self._cluster is not None:
            self._cluster.prepare(state)
        if self._listeners is not None:
            # Before the table names a certificate it must be there.
            self._listeners.certify(state.table)
        self.state, self.table = state, state.table
        if self._listeners is not None:
            await self._listeners.sync()
        if self._cluster is not None:
            self._cluster.publish(state)


async def _follow(reconciler: Reconciler) -> None:
    """Serve every change. Where that ends by a fault of ours it is told, and what is served goes on."""
    try:
        await reconciler.follow()
    except Exception:
        logger.critical("no change is served any more: restart it, and please report this", exc_info=True)
