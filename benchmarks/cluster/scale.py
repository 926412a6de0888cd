"""What many namespaces, routes and Services cost the gateway: at rest, and while one of them changes every second."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import measure as processes
from benchmarks.cluster.api import CORE, GATEWAY, at_once
from benchmarks.cluster.asking import connection, served
from benchmarks.cluster.bed import NAME, PORT, Bed
from benchmarks.cluster.report import Figure

#: MiB of each gateway pod.
MEMORY = 150.0
#: Seconds to calm down, and of each measurement.
CALM, SECONDS = 20, 30


class Pod:
    """A pod on this machine, by its containers' processes."""

    def __init__(self, name: str, containers: list[str]) -> None:
        self.name = name
        self._containers = containers

    @property
    def processes(self) -> list[int]:
        """The first process of each container."""
        found = []
        for process in filter(str.isdecimal, os.listdir("/proc")):
            with suppress(OSError):
                # Whatever the path of a container's cgroup is, its id is in it.
                cgroup = Path(f"/proc/{process}/cgroup").read_text()
                if any(container in cgroup for container in self._containers):
                    found.append(int(process))
        return [one for one in found if _parent(one) not in found]

    def resident(self) -> float:
        """Memory in MiB."""
        return sum(map(processes.resident, self.processes))

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        return sum(map(processes.cpu_seconds, self.processes))


def _parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def _containers(pod: Any) -> list[str]:
    statuses = pod["status"].get("containerStatuses", ())
    return [status["containerID"].rpartition("/")[2] for status in statuses if status.get("containerID")]


async def pods(bed: Bed, namespace: str, selector: str) -> list[Pod]:
    """The gateway's pods, which have to run on this machine; LookupError."""
    found = await bed.api.get(f"{CORE}/namespaces/{namespace}/pods?labelSelector={selector}")
    running = [pod for pod in found["items"] if pod["status"]["phase"] == "Running"]
    here = [Pod(pod["metadata"]["name"], _containers(pod)) for pod in running]
    here = [pod for pod in here if pod.processes]
    if not here:
        raise LookupError(f"no pod in {namespace} with {selector} runs on this machine")
    return here


async def measure(bed: Bed, namespaces: int, each: int, gateways: list[Pod]) -> list[Figure]:
    """Make routes, each to a Service of its own, and see what the gateway needs."""
    row = f"scale: {namespaces} namespaces × {each} routes"
    figures = [Figure(row, f"memory of {pod.name} before", pod.resident(), "MiB") for pod in gateways]
    names = [f"{NAME}-{number}" for number in range(namespaces)]
    for name in names:
        await bed.api.create(f"{CORE}/namespaces", {"metadata": {"name": name, "labels": {NAME: ""}}})
    wanted = [(name, number) for name in names for number in range(each)]

    async def make(namespace: str, number: int) -> None:
        await bed.service(f"service-{number}", namespace)
        await bed.route(f"route-{number}", _host(namespace, number), f"service-{number}", namespace)

    tell = bed.progress.count("routes with Services made", len(wanted))
    await at_once((make(*one) for one in wanted), tell)
    async with connection(bed.address, bed.port) as ask:
        for namespace, number in wanted:
            await served(ask, _host(namespace, number), [])
    async with asyncio.timeout(60):
        while await bed.attached() < len(wanted):
            await asyncio.sleep(0.2)
    await asyncio.sleep(CALM)

    async def nothing(turn: int) -> None:
        pass

    async def a_route(turn: int) -> None:
        namespace, number = wanted[turn * 37 % len(wanted)]
        match = {"path": {"type": "PathPrefix", "value": f"/{turn}"}}
        rule = {"matches": [match], "backendRefs": [{"name": f"service-{number}", "port": PORT}]}
        path = f"{GATEWAY}/namespaces/{namespace}/httproutes/route-{number}"
        await bed.api.merge(path, {"spec": {"rules": [rule]}})

    async def an_endpoint(turn: int) -> None:
        namespace, number = wanted[turn // 2 * 41 % len(wanted)]
        endpoints = [bed.endpoint(0, ready=turn % 2 > 0), bed.endpoint(1, ready=True)]
        await bed.endpoints(f"service-{number}", endpoints, namespace)

    for what, change in (
        ("at rest", nothing),
        ("one route a second", a_route),
        ("one pod's readiness a second", an_endpoint),
    ):
        bed.progress(f"{what}: {SECONDS} s")
        used = await _cpu(gateways, change)
        for pod, percent in zip(gateways, used, strict=True):
            figures.append(Figure(row, f"CPU of {pod.name}, {what}", percent, "%"))
            figures.append(Figure(row, f"memory of {pod.name}, {what}", pod.resident(), "MiB", MEMORY))
    return figures


async def _cpu(gateways: list[Pod], change: Callable[[int], Awaitable[None]]) -> list[float]:
    """Percent of a CPU that each used meanwhile."""
    before, begun = [pod.cpu() for pod in gateways], time.monotonic()
    for turn in range(SECONDS):
        await change(turn)
        await asyncio.sleep(max(0.0, begun + turn + 1 - time.monotonic()))
    seconds = time.monotonic() - begun
    return [(pod.cpu() - was) / seconds * 100 for pod, was in zip(gateways, before, strict=True)]


def _host(namespace: str, number: int) -> str:
    return f"route-{number}.{namespace}.bench.test"
