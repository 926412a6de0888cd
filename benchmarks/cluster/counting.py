"""Attached routes: how soon the Gateway's status counts many new routes, and how many writes that takes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from benchmarks.cluster.api import GATEWAY
from benchmarks.cluster.bed import NAME, PATIENCE, Bed
from benchmarks.cluster.report import Figure

ROW = "attached routes"
#: Status writes to the Gateway for 1,000 routes.
WRITES = 30
PEERS = {1000: "Traefik 3.7.9: 17 s", 3000: "Traefik 3.7.9: 53 s"}


class Writes:
    """Status writes seen in the watch of a collection.

    ``count`` is that of the last one, for Gateways; ``told`` are the names of the routes that have a status.
    """

    def __init__(self, bed: Bed, collection: str) -> None:
        self._bed = bed
        self._path = f"{GATEWAY}/namespaces/{NAME}/{collection}"
        self.statuses = 0
        self.count = -1
        self.told: set[str] = set()
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def seen(self) -> AsyncIterator["Writes"]:
        """Count while the block lasts."""
        version = (await self._bed.api.get(f"{self._path}?limit=1"))["metadata"]["resourceVersion"]
        task = asyncio.create_task(self._follow(version))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def until(self, *, count: int | None = None, told: int | None = None) -> None:
        """Wait until so much is counted, or so many are told; TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while (count is not None and self.count != count) or (told is not None and len(self.told) != told):
                self._changed.clear()
                await self._changed.wait()

    async def _follow(self, version: str) -> None:
        async for event, found in self._bed.api.watch(self._path, version):
            # Nobody but the gateway changes them here, and it changes nothing but status.
            if event == "MODIFIED":
                self.statuses += 1
            name, status = found["metadata"]["name"], found.get("status", {})
            (self.told.add if event != "DELETED" and status.get("parents") else self.told.discard)(name)
            self.count = sum(one["attachedRoutes"] for one in status.get("listeners", ()))
            self._changed.set()


async def measure(bed: Bed, number: int) -> list[Figure]:
    """Create so many routes at once, and remove them."""
    figures = []
    async with Writes(bed, "gateways").seen() as gateways, Writes(bed, "httproutes").seen() as routes:
        for what, expected in (("made", number), ("removed", 0)):
            before, before_routes = gateways.statuses, routes.statuses
            begun = time.monotonic()
            await (bed.routes(range(number), "routes made") if expected else bed.no_routes(range(number)))
            created = time.monotonic()
            await gateways.until(count=expected)
            right = time.monotonic()
            await routes.until(told=expected)
            told_all = time.monotonic()
            await asyncio.sleep(5)  # for writes that come after
            if gateways.count != expected:
                raise AssertionError(f"attachedRoutes is {gateways.count} again, not {expected}")
            row = f"{ROW}: {number:,} {what}"
            writes = gateways.statuses - before
            figures += [
                Figure(row, "answers to all requests", created - begun, "s"),
                Figure(row, "right count, from the first request", right - begun, "s", None, PEERS.get(expected, "")),
                Figure(row, "right count, from the last answer", right - created, "s"),
                Figure(row, "status writes to the Gateway", writes, "", WRITES, "Traefik 3.7.9: 4" if expected else ""),
            ]
            if expected:
                of_routes = routes.statuses - before_routes
                figures.append(Figure(row, "every route has a status, from the last answer", told_all - created, "s"))
                figures.append(Figure(row, "status writes to routes", of_routes, ""))
    return figures
