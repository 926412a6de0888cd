"""How soon a route is served, among thousands; and whether changes of a route fail requests."""

import asyncio
import time

from benchmarks.cluster.api import GATEWAY
from benchmarks.cluster.asking import Steady, connection, served
from benchmarks.cluster.bed import NAME, PORT, Bed, host
from benchmarks.cluster.report import Figure, median, percentile

#: Milliseconds until a new route is served.
MEDIAN, P99 = 30.0, 100.0
PEERS = "agentgateway 10 to 30 ms, Traefik 3.7.9 1,976 ms, both at 3,000"
#: Seconds between two changes under load.
PAUSE = 0.1


async def measure(bed: Bed, number: int) -> list[Figure]:
    """Routes one by one: time from the API server's answer to the first 200 through the gateway. An answer that is
    neither 404 nor 200, a broken connection, or another answer after the first 200 is an error."""
    taken: list[float] = []
    errors: list[str] = []
    tell = bed.progress.count("routes served, one by one", number)
    async with connection(bed.address, bed.port) as ask:
        for turn in range(number):
            await bed.route(f"route-{turn}", host(turn))
            begun = time.perf_counter()
            await served(ask, host(turn), errors)
            taken.append((time.perf_counter() - begun) * 1000)
            again = await ask(host(turn))
            if again.status != 200:
                errors.append(f"{again.status} after 200")
            tell(turn + 1)
    await bed.no_routes(range(number))
    for error in errors[:10]:
        bed.progress(error)
    row = f"propagation: {number:,} routes"
    last = taken[-max(1, number // 10) :]
    return [
        Figure(row, "median", median(taken), "ms", MEDIAN, PEERS),
        Figure(row, "p99", percentile(taken, 99), "ms", P99),
        Figure(row, "most", max(taken), "ms"),
        Figure(row, "median of the last tenth", median(last), "ms"),
        Figure(row, "errors", len(errors), "", 0, "Traefik 3.7.9: 0"),
    ]


async def under_load(bed: Bed, changes: int) -> list[Figure]:
    """A route that is changed again and again, between two Services, while clients ask for it."""
    name = "changing.bench.test"
    await bed.service("other")
    await bed.route("changing", name)
    async with connection(bed.address, bed.port) as ask:
        await served(ask, name, [])
    path = f"{GATEWAY}/namespaces/{NAME}/httproutes/changing"
    tell = bed.progress.count("changes under load", changes)
    async with Steady(bed.address, bed.port, name) as steady:
        for turn in range(changes):
            # Another backend, and another number of rules, of which the first matches nothing that is asked for.
            backends = [{"name": ("other", NAME)[turn % 2], "port": PORT}]
            unasked = {"matches": [{"path": {"type": "Exact", "value": f"/{turn}"}}], "backendRefs": backends}
            rules = [{"backendRefs": backends}]
            await bed.api.merge(path, {"spec": {"rules": [unasked] * (turn % 3 > 0) + rules}})
            await asyncio.sleep(PAUSE)
            tell(turn + 1)
    for fault in steady.faults[:10]:
        bed.progress(fault)
    row = f"change under load: {changes:,} changes"
    return [
        Figure(row, "requests", len(steady.answers), ""),
        Figure(row, "failed", len(steady.faults), "", 0, "Envoy Gateway: 503s"),
    ]
