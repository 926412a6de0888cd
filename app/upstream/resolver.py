"""Host names of backends, looked up again and again while they are in use."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any

from routes.graph.nodes import Address, DNSName

logger = logging.getLogger(__name__)

#: Lookups block a thread each; they have their own few, so that a dead name server holds up nothing else.
_THREADS = 8

#: What a resolver says of a name that is not there, rather than of its own trouble.
_GONE = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class Resolver:
    """Addresses of the names that :meth:`watch` was told of, each refreshed every ``refresh`` seconds.

    A name that is gone has no addresses; when the name server fails, the last answer stays.
    """

    def __init__(
        self, refresh: float, getaddrinfo: Callable[..., Sequence[tuple[Any, ...]]] = socket.getaddrinfo
    ) -> None:
        self._refresh = refresh
        self._getaddrinfo = getaddrinfo
        self._names: dict[DNSName, _Watched] = {}
        self._threads = ThreadPoolExecutor(_THREADS, "dns")

    def watch(self, names: Iterable[DNSName]) -> None:
        """Look up ``names`` from now on and forget all others. Must run in the event loop."""
        wanted = set(names)
        for name in self._names.keys() - wanted:
            forgotten = self._names.pop(name)
            forgotten.task.cancel()
            forgotten.answer(())  # to whoever still waits for the first
        for name in wanted - self._names.keys():
            self._names[name] = _Watched(asyncio.get_running_loop().create_future(), ())
            self._names[name].task = asyncio.create_task(self._keep(name, self._names[name]))

    def known(self, name: DNSName) -> tuple[Address, ...]:
        """The addresses of a watched name as last heard; empty before the first answer."""
        watched = self._names.get(name)
        return watched.addresses if watched is not None else ()

    async def addresses(self, name: DNSName) -> tuple[Address, ...]:
        """The addresses of a watched name; waits for the first answer. A name that is not watched has none."""
        watched = self._names.get(name)
        if watched is None:
            return ()
        if not watched.known.done():
            await asyncio.shield(watched.known)
        return watched.addresses

    async def ready(self, seconds: float) -> None:
        """Wait until every watched name has had its first answer, ``seconds`` at most."""
        if self._names:
            await asyncio.wait([watched.known for watched in self._names.values()], timeout=seconds)

    def close(self) -> None:
        """Stop looking."""
        self.watch(())
        self.close_threads()

    def close_threads(self) -> None:
        """Let the threads go, for a resolver whose event loop is gone."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _keep(self, name: DNSName, watched: "_Watched") -> None:
        try:
            literal = Address(str(ip_address(name.host.strip("[]"))), name.port)
        except ValueError:
            literal = None
        if literal is not None:
            watched.answer((literal,))
            return
        while True:
            try:
                watched.answer(await self._look_up(name))
            except (OSError, UnicodeError) as error:  # the latter: no name that DNS could have
                self._failed(name, watched, error)
            await asyncio.sleep(self._refresh)

    async def _look_up(self, name: DNSName) -> tuple[Address, ...]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: self._getaddrinfo(name.host, name.port, type=socket.SOCK_STREAM)
        )
        return tuple(sorted({Address(str(sockaddr[0]), name.port) for *_, sockaddr in found}, key=str))

    def _failed(self, name: DNSName, watched: "_Watched", error: OSError | UnicodeError) -> None:
        gone = isinstance(error, UnicodeError) or (isinstance(error, socket.gaierror) and error.errno in _GONE)
        if not watched.known.done() or (gone and watched.addresses):
            reason = (isinstance(error, OSError) and error.strerror) or error
            logger.warning("%s: %s; it is tried again every %g s", name.host, reason, self._refresh)
        watched.answer(() if gone else watched.addresses)


class _Watched:
    """A name in use: its last answer, and whether there has been one."""

    __slots__ = ("addresses", "known", "task")

    def __init__(self, known: asyncio.Future[None], addresses: tuple[Address, ...]) -> None:
        self.known = known
        self.addresses = addresses
        self.task: asyncio.Task[None]

    def answer(self, addresses: tuple[Address, ...]) -> None:
        if addresses != self.addresses:  # else the same object stays, which tells others that nothing is new
            self.addresses = addresses
        if not self.known.done():
            self.known.set_result(None)
