"""Attached routes: how soon the Gateway's status counts many new routes, and how many writes that takes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from benchmarks.cluster.api import GATEWAY
from benchmarks.cluster.bed import NAME, PATIENCE, Bed
from benchmarks.cluster.report import Figure

ROW = "attached routes"
#: Status writes to the Gateway for 1,000 routes.
WRITES = 30
PEERS = {1000: "Traefik 3.7.9: 17 s", 3000: "Traefik 3.7.9: 53 s"}


class Writes:
    """Status writes seen in the watch of a collection. For Gateways ``count`` is what the last one says, and for routes
    ``told`` are the names of those that any parent has said something of."""

    def __init__(self, bed: Bed, collection: str) -> None:
        self._bed = bed
        self._path = f"{GATEWAY}/namespaces/{NAME}/{collection}"
        self.statuses = 0
        self.count = -1
        self.told: set[str] = set()
        self.changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def seen(self) -> AsyncIterator["Writes"]:
        """Count while the block lasts. Raises what following failed by, without which the numbers mean nothing."""
        version = (await self._bed.api.get(f"{self._path}?limit=1"))["metadata"]["resourceVersion"]
        task = asyncio.create_task(self._follow(version))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    async def _follow(self, version: str) -> None:
        while True:  # a server ends the watches of those who read too slowly
            async for event, found in self._bed.api.watch(self._path, version):
                if event == "ERROR":
                    raise AssertionError(f"{self._path}: {found.get('message')}")
                version = found["metadata"]["resourceVersion"]
                # Nobody but the gateway changes them here, and it changes nothing but status.
                if event == "MODIFIED":
                    self.statuses += 1
                status = found.get("status", {})
                self.count = sum(one["attachedRoutes"] for one in status.get("listeners", ()))
                if event != "DELETED" and status.get("parents"):
                    self.told.add(found["metadata"]["name"])
                self.changed.set()
            await asyncio.sleep(0.1)

    async def until(self, count: int) -> float:
        """When the count is this (``time.monotonic``); TimeoutError."""
        return await self._until(lambda: self.count == count)

    async def all_told(self, number: int) -> float:
        """When so many routes have a status; TimeoutError."""
        return await self._until(lambda: len(self.told) == number)

    async def _until(self, condition: Callable[[], bool]) -> float:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.changed.clear()
                await self.changed.wait()
        return time.monotonic()


async def measure(bed: Bed, number: int) -> list[Figure]:
    """Create so many routes at once, and remove them."""
    figures = []
    async with Writes(bed, "gateways").seen() as gateways, Writes(bed, "httproutes").seen() as routes:
        for what, expected in (("made", number), ("removed", 0)):
            before, before_routes = gateways.statuses, routes.statuses
            begun = time.monotonic()
            await (bed.routes(range(number), "routes made") if expected else bed.no_routes(range(number)))
            created = time.monotonic()
            right = await gateways.until(expected)
            told = await routes.all_told(number)
            await asyncio.sleep(5)  # for writes that come after
            if gateways.count != expected:
                raise AssertionError(f"attachedRoutes is {gateways.count} again, not {expected}")
            row = f"{ROW}: {number:,} {what}"
            writes = gateways.statuses - before
            figures += [
                Figure(row, "right count, from the first request", right - begun, "s", None, PEERS.get(expected, "")),
                Figure(row, "right count, from the last answer", right - created, "s"),
                Figure(row, "status writes to the Gateway", writes, "", WRITES, "Traefik 3.7.9: 4" if expected else ""),
            ]
            if expected:
                of_routes = routes.statuses - before_routes
                figures.append(Figure(row, "all routes have a status, from the last answer", told - created, "s"))
                figures.append(Figure(row, "status writes to routes", of_routes, ""))
    return figures
