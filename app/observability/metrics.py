"""What a run counts and tells: kept up with other workers, and rendered when somebody asks."""

import asyncio
import logging
import os
import time
from bisect import bisect_left
from collections import Counter as Multiset
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from app.admin.source import Source
from app.journal import Journal
from app.observability.counting import Counter, Load, LoadKey, Present, route_of
from app.observability.exposition import BUILDS, Builds, EndpointNow, Snapshot, families, paced
from app.observability.numbers import Counted
from app.observability.workers import PERIOD, Share, Told, place
from app.proxy import RuleProxy
from app.reconciler import State
from app.view.certificates import certificates
from app.view.model import CertificateView

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

#: Seconds for which what the other workers have counted is read again, after somebody wanted to know.
_WANTED: Final = 10.0

#: The end of OpenMetrics.
_EOF: Final = b"# EOF\n"

#: Names of the sums that outlive a worker.
_FAILED, _SECONDS, _BUCKET = "failed", "seconds", "bucket"


@dataclass(frozen=True, slots=True)
class Around:
    """Where a run is asked for what is not counted. ``clients`` are open connections by port and protocol."""

    state: Callable[[], State | None]
    proxies: Callable[[], Iterable[RuleProxy]]
    clients: Callable[[], Mapping[tuple[str, str], int]]


class Metrics:
    """Of one run. All but what is said otherwise is for the event loop."""

    def __init__(self, counter: Counter, journal: Journal) -> None:
        self.counter = counter
        self.builds = Builds()
        self._journal = journal
        self._around: Around | None = None
        self._share: Share | None = None
        self._task: asyncio.Task[None] | None = None
        self._others: dict[LoadKey, Load] = {}
        self._clients: Multiset[tuple[str, str]] = Multiset()
        self._wanted = -_WANTED
        self._turn = asyncio.Lock()
        self._presence: tuple[State | None, Present] | None = None
        self._seen = 0
        self.numbers = Counted(counter, self._all_clients, self._wanted_others)
        counter.present = self._present
        journal.heard.add(self._heard)

    # Its life

    async def start(self, around: Around, *, workers: int) -> None:
        """Begin to tell, and where there are several ``workers``, to tell each other."""
        self._around = around
        if workers < 2:
            return
        folder = await asyncio.to_thread(place, os.getppid())
        if folder is None:
            logger.warning("there is no folder that can be written: /metrics tells of the worker that is asked alone")
            return
        self._share = await asyncio.to_thread(Share, folder, self.counter)
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Write for the last time."""
        self._journal.heard.discard(self._heard)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        share, self._share = self._share, None
        if share is not None:
            await self._write(share)
            await asyncio.to_thread(share.close)

    async def _keep(self) -> None:
        while True:
            try:
                if self._share is not None:
                    await self._write(self._share)
                    if time.monotonic() - self._wanted < _WANTED:
                        self._take(await self._read(self._share))
            except OSError as error:
                logger.warning("what was counted cannot be shared between workers: %s", error)
            await asyncio.sleep(PERIOD)

    async def _write(self, share: Share) -> None:
        builds = self.builds
        sums = {
            _FAILED: builds.failed,
            _SECONDS: builds.seconds,
            **{f"{_BUCKET}{index}": number for index, number in enumerate(builds.buckets)},
        }
        endpoints = await self._beside(self._own_endpoints)
        told = [(*key, now.up, now.in_flight) for key, now in endpoints.items() if now.in_flight or not now.up]
        more = {
            "clients": [(*key, number) for key, number in self._own_clients().items()],
            # The others have them too; that they are well and idle goes without saying.
            "endpoints": told,
            "success": builds.last_success,
            "successful": builds.successful,
        }
        await self._beside(share.write, sums, more)

    async def _read(self, share: Share) -> Told:
        return await asyncio.to_thread(share.read, self._present())

    def _take(self, told: Told) -> None:
        self._others = told.loads
        self._clients = Multiset()
        for each in told.living:
            for port, protocol, number in each["clients"]:
                self._clients[port, protocol] += number

    async def _beside(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call in a thread what reads the loads."""
        self.counter.readers += 1
        try:
            return await asyncio.to_thread(call, *arguments, **options)
        finally:
            self.counter.readers -= 1

    # What is told

    async def render(self, source: Source, accept: str) -> tuple[list[bytes], str]:
        """All metrics, one family after the other, and their content type, in the format that ``accept`` prefers."""
        async with self._turn:
            await self._beside(self._present)
            self.counter.fold()
            told = await self._read(self._share) if self._share is not None else Told()
            clients = self._own_clients()
            endpoints = await self._beside(self._own_endpoints)
            builds = self.builds
            if self._share is not None:
                self._take(told)
                clients += self._clients
                builds = self._with_others(told, endpoints)
            snapshot = Snapshot(
                self.counter.buckets, {**told.loads, **self.counter.loads}, builds, clients, endpoints, source.state()
            )
            return await self._beside(_render, snapshot, source, accept, self._share is None)

    def _with_others(self, told: Told, endpoints: dict[tuple[str, str], EndpointNow]) -> Builds:
        builds, sums = self.builds, told.sums
        for each in told.living:
            for backend, name, up, in_flight in each["endpoints"]:
                now = endpoints.get((backend, name))
                if now is not None:
                    now.up = now.up and up
                    now.in_flight += in_flight
        return Builds(
            [number + int(sums.get(f"{_BUCKET}{index}", 0)) for index, number in enumerate(builds.buckets)],
            builds.seconds + sums.get(_SECONDS, 0),
            builds.failed + int(sums.get(_FAILED, 0)),
            max([builds.last_success, *(each["success"] for each in told.living)]),
            builds.successful and all(each["successful"] for each in told.living),
        )

    # What there is now

    def _heard(self) -> None:
        journal, builds = self._journal, self.builds
        last = journal.last_build
        if journal.builds == self._seen or last is None:
            return
        self._seen = journal.builds
        builds.buckets[bisect_left(BUILDS, last.duration)] += 1
        builds.seconds += last.duration
        builds.failed = journal.failed_builds
        builds.successful = not last.error
        if not last.error:
            builds.last_success = last.at.timestamp()

    def _present(self) -> Present:
        around = self._around
        state = around.state() if around is not None else None
        if self._presence is None or self._presence[0] is not state:
            rules = set()
            backends: set[str] = set()
            for proxy in paced(around.proxies() if around is not None else ()):
                rules.add(proxy.rule.name)
                backends.update(each.backend.name for each in proxy.backends)
            ports: set[object] = set(state.table.ports) if state is not None else set()
            ports |= {str(port) for port in ports}
            self._presence = state, Present(ports, rules, {route_of(rule) for rule in rules}, backends)
        return self._presence[1]

    def _own_clients(self) -> Multiset[tuple[str, str]]:
        return Multiset(self._around.clients()) if self._around is not None else Multiset()

    def _all_clients(self) -> Mapping[tuple[str, str], int]:
        self._wanted = time.monotonic()
        return self._own_clients() + self._clients

    def _wanted_others(self) -> Mapping[LoadKey, Load]:
        self._wanted = time.monotonic()
        return self._others

    def _own_endpoints(self) -> dict[tuple[str, str], EndpointNow]:
        found: dict[tuple[str, str], EndpointNow] = {}
        for proxy in paced(self._around.proxies() if self._around is not None else ()):
            for backend in proxy.backends:
                for endpoint in backend.known_endpoints:
                    found[backend.backend.name, endpoint.name] = EndpointNow(
                        endpoint.reachable and not endpoint.ejected_until, endpoint.in_flight
                    )
        return found


class _Collected(Collector):
    """What prometheus-client is to write."""

    def __init__(self, snapshot: Snapshot, certificates: Sequence[CertificateView]) -> None:
        self._snapshot = snapshot
        self._certificates = certificates

    def collect(self) -> Iterator[Metric]:
        """As it asks its collectors."""
        return families(self._snapshot, self._certificates)


class _Alone(Collector):
    """One family, written by itself: all of them in one piece would be a long time in one call."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        """As above."""
        yield self._metric


def _render(snapshot: Snapshot, source: Source, accept: str, alone: bool) -> tuple[list[bytes], str]:
    """For a thread. ``alone``: this process is all that there is to know of."""
    registry = CollectorRegistry()
    registry.register(_Collected(snapshot, certificates(source)))
    if alone:
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    parts = [encode(_Alone(metric)) for metric in registry.collect()]
    return [*(part.removesuffix(_EOF) for part in parts[:-1]), parts[-1]], content_type
