"""What a gateway in a cluster has beside its routes: the API server that it hears from, and what it writes there."""

import asyncio
import contextlib
import logging
import socket
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Self

from app.exposure.exposure import Exposure
from app.providers.kubernetes.client import Client
from app.providers.kubernetes.credentials import ConfigurationError
from app.providers.kubernetes.lease import Lease
from app.providers.kubernetes.provider import KubernetesProvider
from app.providers.kubernetes.reflector import Reflector
from app.reconciler import State, stop
from app.settings import Settings
from app.status.writer import StatusWriter
from routes.graph.nodes import Options, Sockets
from routes.table.types import PortKey

__all__ = ["Cluster", "ConfigurationError"]

logger = logging.getLogger(__name__)


class Cluster:
    """The parts that talk to the API server.

    Every replica hears everything. The one that holds the Lease writes: status, and the Gateways' Services with the
    endpoints that lead to the replicas. ``provider`` gives the objects.
    """

    def __init__(self, settings: Settings, options: Options) -> None:
        self._settings = settings
        self._options = options
        self._stack = contextlib.AsyncExitStack()
        self._exposure: Exposure | None = None
        self._writer: StatusWriter | None = None
        self._lease: Lease | None = None
        # What the listeners told last, and whom to tell what came of them.
        self._sockets = Sockets()
        self._tell: Callable[[Sockets], None] = lambda sockets: None
        self._moved: Callable[[], None] = lambda: None
        self._tasks: list[asyncio.Task[None]] = []
        self.provider: KubernetesProvider

    async def __aenter__(self) -> Self:
        """Find out where the API server is; nothing is asked of it yet. Raises ConfigurationError."""
        settings = self._settings
        async with self._stack:
            client = await self._stack.enter_async_context(Client.from_environment())
            self.provider = KubernetesProvider(
                client,
                namespaces=settings.namespaces,
                extensions=self._options.extensions,
            )
            if settings.replicas_service:
                self._exposure = Exposure(client, partial(Reflector, client), settings, self._exposed)
                self.provider.on_answer = self._exposure.again
                self._stack.push_async_callback(self._exposure.stop)
            if settings.lease:
                self._writer = StatusWriter(client, self.provider.statuses, settings.controller_name)
                identity = f"{socket.gethostname()}_{uuid.uuid4()}"
                self._lease = Lease(client, settings.lease, identity, on_change=self._lead)
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def load(self) -> None:
        """Hear which ports and addresses the Gateways have already: before the first socket is opened."""
        if self._exposure is not None:
            await self._exposure.load()

    def start(self, tell: Callable[[Sockets], None], moved: Callable[[], None]) -> None:
        """Begin to tell, and to write where the Lease is ours.

        ``tell`` gets the news of sockets and addresses, ``moved`` is called where a bound port may be another one.
        """
        self._tell, self._moved = tell, moved
        self.sockets(self._sockets)
        # Stopped in the opposite order: who gives up the Lease writes no more.
        for part in (self._exposure, self._writer, self._lease):
            if part is not None:
                task = asyncio.create_task(self._kept(part))
                self._tasks.append(task)
                self._stack.push_async_callback(stop, task)

    def prepare(self, state: State) -> None:
        """A state is about to be served: find ports for its listeners."""
        if self._exposure is not None:
            self._exposure.prepare(state.table)

    def publish(self, state: State) -> None:
        """A state is served, and its sockets are open."""
        if self._exposure is not None:
            self._exposure.publish(state)
        if self._writer is not None:
            self._writer.publish(state)

    def bound(self, key: PortKey) -> int:
        """The port that a Gateway's port is bound to in this process."""
        if self._exposure is not None:
            return self._exposure.bound(key)
        return self._settings.ports.get(key.port, key.port)

    def sockets(self, sockets: Sockets) -> None:
        """Hear what came of the sockets, and tell it with the addresses by which clients reach them."""
        self._sockets = sockets
        if self._exposure is not None:
            sockets = replace(
                sockets,
                addresses=self._exposure.addresses(),
                unusable=self._exposure.unusable(),
                unassigned=self._exposure.unassigned(),
            )
        self._tell(sockets)

    def _exposed(self) -> None:
        self._moved()
        self.sockets(self._sockets)

    async def _kept(self, part: Exposure | StatusWriter | Lease) -> None:
        """Run ``part``. Where it ends by a fault of ours this replica writes no more, so that another one does. It goes
        on serving, and so on following where ports are bound."""
        try:
            await part.run()
        except Exception:
            logger.exception("this replica cannot write any more: restart it, and please report this")
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()

    def _lead(self, leading: bool) -> None:
        logger.info("this replica %s", "writes status now" if leading else "does not write status any more")
        for part in (self._exposure, self._writer):
            if part is not None:
                part.lead(leading)
