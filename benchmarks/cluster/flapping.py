"""Endpoints that become unready and ready again: how many requests still go to them, and for how long."""

import asyncio
import time

from benchmarks.cluster.asking import Steady, connection, served
from benchmarks.cluster.bed import Bed
from benchmarks.cluster.report import Figure, median

#: Seconds that an endpoint stays what it is. A gateway that needs longer shows as one that never stops.
PAUSE = 1.0


async def measure(bed: Bed, turns: int) -> list[Figure]:
    """One of two endpoints is unready in every second turn. Requests that are sent after the API server's answer must
    not reach it."""
    name = "flapping.bench.test"
    await bed.service("flapping")
    await bed.route("flapping", name, "flapping")
    errors: list[str] = []
    async with connection(bed.address, bed.port) as ask:
        await served(ask, name, errors)
    unhealthy = 0
    late: list[float] = []
    tell = bed.progress.count("turns of an endpoint", turns)
    async with Steady(bed.address, bed.port, name) as steady:
        for turn in range(turns):
            await bed.endpoints("flapping", [bed.endpoint(0, ready=False), bed.endpoint(1, ready=True)])
            begun, first = time.perf_counter(), len(steady.answers)
            await asyncio.sleep(PAUSE)
            after = [answer.sent - begun for answer in steady.answers[first:] if answer.pod == bed.pods[0][0]]
            sent = [seconds * 1000 for seconds in after if seconds > 0]
            unhealthy += len(sent)
            late.append(max(sent, default=0.0))
            await bed.endpoints("flapping", [bed.endpoint(0, ready=True), bed.endpoint(1, ready=True)])
            await asyncio.sleep(PAUSE)
            tell(turn + 1)
    both = {answer.pod for answer in steady.answers if answer.pod}
    if len(both) != 2:
        raise AssertionError(f"answers came from {both}, not from both pods")
    row = f"endpoint flapping: {turns:,} times"
    return [
        Figure(row, "requests", len(steady.answers), ""),
        Figure(row, "failed", len(steady.faults), "", 0),
        Figure(row, "sent to the unready endpoint", unhealthy, ""),
        Figure(row, "the last of them after the API server's answer, median", median(late), "ms"),
        Figure(row, "the same at most", max(late), "ms"),
    ]
