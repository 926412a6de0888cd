"""What many routes cost Moongate, and how soon a change of one is served. ``python -m benchmarks.changes``

For each number of routes, each in a file of its own with a host of its own: seconds from the start of the process to
the first right answer of the last one, CPU of a request to all hosts in turn, and memory a route.

Then the changes: one file among ``--among`` is replaced by rename, and the time until a request gets an answer that
only the new version gives is taken, while clients go on asking on connections that they keep. No request of theirs may
fail. And a burst: a thousand files at once.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from benchmarks import generators, measure
from benchmarks.backend import backend
from benchmarks.peers import ROOT
from benchmarks.processes import end, free_port, wait_until_served
from benchmarks.rows import SMALL, Front, Row

#: The bars: milliseconds until a change is served, and KiB a route.
MEDIAN, P99, KIB = 10.0, 30.0, 8.0
#: Clients that go on asking, and seconds between two of their requests.
CLIENTS, PAUSE = 4, 0.004
BURST = 1000
#: Seconds that a start with the most routes may take.
PATIENCE = 900.0

_BASE = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gateway}}
spec:
  gatewayClassName: moongate
  listeners: [{{name: http, protocol: HTTP, port: {port}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: backend}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: backend, labels: {{kubernetes.io/service-name: backend}}}}
addressType: IPv4
ports: [{{port: {backend}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
"""
_ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: route-{number}
spec:
  parentRefs:
    - name: gateway
  hostnames:
    - host-{number}.test
  rules:
    - matches:
        - path:
            type: PathPrefix
            value: {path}
      backendRefs:
        - name: backend
          port: 80
"""


class Gateway:
    """A running gateway with so many routes, and the seconds that it took to serve the last of them."""

    def __init__(self, folder: Path, routes: int, backend: int) -> None:
        self.port = free_port()
        self.log = folder / "log"
        self.manifests = folder / "manifests"
        self.manifests.mkdir(parents=True)
        (self.manifests / "all.yaml").write_text(_BASE.format(port=self.port, backend=backend))
        for number in range(routes):
            self._file(number).write_text(_ROUTE.format(number=number, path="/"))
        command = [sys.executable, "-m", "app", "run", "--manifests", str(self.manifests)]
        begun = time.perf_counter()
        with self.log.open("wb") as log:
            environment = os.environ | {"MOONGATE_ADMIN": "off"}
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=ROOT, env=environment, preexec_fn=_on_its_own
            )
        wait_until_served(self.port, self.process, self.log, PATIENCE)
        asyncio.run(self._answered(routes - 1))
        self.seconds = time.perf_counter() - begun

    async def _answered(self, number: int) -> None:
        async with connection(self.port) as ask:
            while await ask(f"/{SMALL}", f"host-{number}.test") != 200:
                await asyncio.sleep(0.01)

    def change(self, number: int, path: str) -> None:
        """Put another version of a route in the place of the old one, at once."""
        file = self._file(number)
        beside = file.with_suffix(".new")
        beside.write_text(_ROUTE.format(number=number, path=path))
        os.replace(beside, file)

    @property
    def builds(self) -> int:
        """How often it has said what it serves."""
        return self.log.read_text(errors="replace").count("serving ")

    def _file(self, number: int) -> Path:
        return self.manifests / f"route-{number}.yaml"


def _on_its_own() -> None:
    measure.run_on(measure.PROXY_CPUS)


@contextlib.contextmanager
def gateway(folder: Path, routes: int, backend: int) -> Iterator[Gateway]:
    """A gateway that ends with the block."""
    found = Gateway(folder / f"gateway-{routes}", routes, backend)
    try:
        yield found
    finally:
        end(found.process)


class Asking:
    """Requests on one connection, one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def __call__(self, path: str, host: str) -> int:
        """The status of the answer to a request."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        _, _, rest = head.partition(b"content-length:")
        await self._reader.readexactly(int(rest.partition(b"\r\n")[0]))
        return int(head.split(b" ", 2)[1])


@contextlib.asynccontextmanager
async def connection(port: int) -> AsyncIterator[Asking]:
    """A connection that is kept for the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Asking(reader, writer)
    finally:
        writer.close()


class Steady:
    """Clients that go on asking; what went wrong for them, and how many answers were right."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.answers = 0
        self.faults: list[str] = []

    async def __aenter__(self) -> "Steady":
        self._tasks = [asyncio.create_task(self._client()) for _ in range(CLIENTS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _client(self) -> None:
        try:
            async with connection(self._port) as ask:
                while True:
                    status = await ask(f"/{SMALL}", "host-0.test")
                    if status == 200:
                        self.answers += 1
                    else:
                        self.faults.append(f"status {status}")
                    await asyncio.sleep(PAUSE)
        except (OSError, EOFError) as error:
            self.faults.append(repr(error))


async def change_one_by_one(running: Gateway, routes: int, changes: int) -> tuple[list[float], Steady]:
    """Milliseconds until each of ``changes`` is served."""
    taken = []
    async with connection(running.port) as ask, Steady(running.port) as steady:
        for turn in range(changes):
            number = 1 + turn * 37 % (routes - 1)
            host = f"host-{number}.test"
            # Its path is on the backend; a prefix beside it finds no route until it is "/" again.
            for path, expected in ((f"/{turn}", 404), ("/", 200)):
                running.change(number, path)
                begun = time.perf_counter()
                while await ask(f"/{SMALL}", host) != expected:
                    await asyncio.sleep(0.0005)
                taken.append((time.perf_counter() - begun) * 1000)
                await asyncio.sleep(0.1)
    return taken, steady


async def change_many(running: Gateway, routes: int) -> tuple[float, int, Steady]:
    """Milliseconds from the first to the last of a burst being served, and how many times something was built."""
    async with connection(running.port) as ask, Steady(running.port) as steady:
        before, begun = running.builds, time.perf_counter()
        many = range(1, min(BURST, routes - 1) + 1)
        for number in many:
            running.change(number, "/elsewhere")
        for number in many:
            while await ask(f"/{SMALL}", f"host-{number}.test") != 404:
                await asyncio.sleep(0.001)
        taken = (time.perf_counter() - begun) * 1000
        await asyncio.sleep(0.2)
        return taken, running.builds - before, steady


def sizes(folder: Path, numbers: list[int], port: int, seconds: int) -> Iterator[str]:
    """The table of what routes cost."""
    yield "| routes | cold start, s | CPU µs a request | × one route | KiB a route |"
    yield "|--:|--:|--:|--:|--:|"
    alone: tuple[float, float] | None = None
    for routes in [1, *numbers]:
        row = Row("", "", Front.HTTP1, SMALL, hosts=routes)
        with gateway(folder, routes, port) as running:
            # So long that every host has been asked for once: what a rule finds at its first request is kept.
            generators.generate(row, running.port, max(1, routes // 2_500), folder)
            memory, before = measure.resident(running.process.pid), measure.cpu_seconds(running.process.pid)
            answers = generators.generate(row, running.port, seconds, folder)
            cpu = (measure.cpu_seconds(running.process.pid) - before) / answers.requests * 1e6
            alone = alone or (cpu, memory)
            kib = f"{(memory - alone[1]) * 1024 / routes:.1f}" if routes > 1 else ""
            yield f"| {routes:,} | {running.seconds:.1f} | {cpu:.0f} | {cpu / alone[0]:.2f} | {kib} |"


def changed(folder: Path, routes: int, changes: int, port: int) -> Iterator[str]:
    """The lines on changes."""
    with gateway(folder, routes, port) as running:
        asyncio.run(asyncio.sleep(0.5))
        taken, steady = asyncio.run(change_one_by_one(running, routes, changes))
        taken.sort()
        p99 = taken[min(len(taken) - 1, int(len(taken) * 0.99))]
        yield (
            f"One of {routes:,} routes changed, {len(taken)} times: served after {statistics.median(taken):.1f} ms "
            f"(median; bar {MEDIAN:.0f}), {p99:.1f} ms (p99; bar {P99:.0f}), {taken[-1]:.1f} ms at most; "
            f"{len(steady.faults)} of {steady.answers + len(steady.faults):,} requests meanwhile failed."
        )
        milliseconds, builds, steady = asyncio.run(change_many(running, routes))
        yield (
            f"{min(BURST, routes - 1):,} changed at once: all served after {milliseconds:.0f} ms, in {builds} builds; "
            f"{len(steady.faults)} of {steady.answers + len(steady.faults):,} requests meanwhile failed."
        )


def main() -> None:
    """Print what was measured as Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.changes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--routes", type=int, nargs="*", default=[10, 1_000, 10_000, 100_000], help="how many, each")
    parser.add_argument("--among", type=int, default=5_000, help="routes of which one changes; default 5000; 0 is none")
    parser.add_argument("--changes", type=int, default=150, help="each there and back; default 150")
    parser.add_argument("--seconds", type=int, default=5, help="of load for each number of routes; default 5")
    arguments = parser.parse_args()
    missing = [name for name in ("nginx", "wrk") if shutil.which(name) is None]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}")
    measure.run_on(measure.OTHER_CPUS)
    with tempfile.TemporaryDirectory(prefix="moongate-bench-") as name, backend(Path(name)) as port:
        folder = Path(name)
        if arguments.routes:
            for line in sizes(folder, arguments.routes, port, arguments.seconds):
                print(line, flush=True)
            print()
        if arguments.among:
            for line in changed(folder, arguments.among, arguments.changes, port):
                print(line, flush=True)


if __name__ == "__main__":
    main()
