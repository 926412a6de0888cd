"""What a gateway must bear: large bodies in bounded memory, and crowds of clients that do next to nothing.

Bodies go both ways through every front, with fast peers, and with a client or a backend that is held down to a rate.
Each must arrive as it was, and resident memory must stay within 20 MiB of its level before the first.

Server-sent events must be with the client within 20 ms of their sending, long before the answer ends.

The crowd is of clients that send a head or a body a byte a second, as many as asked for in all, and of as many silent
WebSockets. The 99th percentile of ordinary clients must stay within twice that of before.
"""

import argparse
import contextlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import bulk, generators, measure
from benchmarks.backend import backend
from benchmarks.generators import WrongAnswerError
from benchmarks.peers import PEERS, Peer
from benchmarks.place import Place
from benchmarks.processes import end, free_port, wait_until_served
from benchmarks.rows import SMALL, Front, Row

#: The bars: MiB that memory may rise, and how often its former value a 99th percentile may be.
RISE, TIMES = 20.0, 2.0
#: And the milliseconds that an event may take, and how many are sent.
LATE, EVENTS = 20.0, 100

FRONTS = (Front.HTTP1, Front.HTTP1_TLS, Front.HTTP2_TLS, Front.H2C)
ORDINARY = Row("", "ordinary clients", Front.HTTP1, SMALL)
#: Connections of ordinary clients.
CLIENTS = 16
ROUNDS = 3


def main() -> None:
    """Run both and print Markdown. Exits with 1 where a bar is missed."""
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.endurance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", default="moongate", choices=names, metavar="PEER", help=", ".join(names))
    parser.add_argument("--size", type=int, default=1024, help="of a body, in MiB; default 1024")
    parser.add_argument("--rate", type=float, default=32, help="of who is held down, in MiB/s; default 32")
    parser.add_argument("--crowd", type=int, default=1000, help="slow clients, and idle WebSockets; default 1000")
    parser.add_argument("--seconds", type=int, default=10, help="of ordinary load, three times, before and meanwhile")
    parser.add_argument("--fronts", nargs="+", type=Front, default=FRONTS, help="; ".join(FRONTS))
    parser.add_argument("--skip", choices=("bodies", "crowd"), help="leave a part out")
    arguments = parser.parse_args()
    missing = [name for name in ("curl", "nginx", "wrk") if shutil.which(name) is None]
    peer = next(peer for peer in PEERS if peer.name == arguments.peer)
    program = peer.find()
    if missing or program is None:
        sys.exit(f"apt-get install {' '.join(missing)}" if missing else f"{peer.name} is missing: {peer.install}")
    measure.run_on(measure.OTHER_CPUS)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended
    seconds = len(arguments.fronts) * arguments.size * (4 / arguments.rate + 2 / 200) + 6 * arguments.seconds + 15
    print(f"at most about {seconds / 60:.0f} minutes", file=sys.stderr, flush=True)
    good = True
    with tempfile.TemporaryDirectory(prefix="moongate-endurance-") as folder:
        Path(folder).chmod(0o755)
        if arguments.skip != "bodies":
            good &= bodies(peer, program, Path(folder), arguments)
        if arguments.skip != "crowd":
            good &= crowd(peer, program, Path(folder), arguments)
    sys.exit(not good)


def bodies(peer: Peer, program: str, folder: Path, arguments: argparse.Namespace) -> bool:
    """Large bodies to and fro. Gives whether all arrived as they were within the bar, of the fronts there are."""
    size, slow, good = arguments.size * 2**20, arguments.rate, True
    right = bulk.body_hash(size)
    print(f"\n### Bodies of {arguments.size:,} MiB through {peer.name} (memory: at most {RISE:.0f} MiB more)\n")
    print("| | | client MiB/s | backend MiB/s | seconds | body | memory rose by MiB |\n|---|---|--:|--:|--:|---|--:|")
    late: list[str] = []
    with bulk_backend() as port, serving(peer, program, folder / "bodies", port) as (place, process):
        for move in (bulk.download, bulk.upload):
            move(Front.HTTP1, place.http, bulk.PIECE * 4, 0, 0)  # what is loaded at first use is loaded now
        measure.reset_peak(process.pid)
        level = measure.peak(process.pid)
        for front in arguments.fronts:
            if reason := bulk.unable(front, place.port(front)):
                print(f"| {front} | | | | | – {reason} | |", flush=True)
                continue
            for move in (bulk.download, bulk.upload):
                for client_rate, backend_rate in ((0, 0), (slow, 0), (0, slow)):
                    measure.reset_peak(process.pid)
                    start = time.monotonic()
                    found = move(front, place.port(front), size, client_rate, backend_rate)
                    seconds, rise = time.monotonic() - start, measure.peak(process.pid) - level
                    good &= found == right and rise <= RISE
                    rates = " | ".join(f"{rate:g}" if rate else "fast" for rate in (client_rate, backend_rate))
                    said = "right" if found == right else f"WRONG: {found}"
                    print(f"| {front} | {move.__name__} | {rates} | {seconds:.1f} | {said} | {rise:.1f} |", flush=True)
            took = bulk.events(front, place.port(front), EVENTS)
            good &= len(took) == EVENTS and max(took) <= LATE
            late.append(f"| {front} | {len(took)} | {statistics.median(took):.1f} | {max(took):.1f} |")
    print(f"\n### Events through {peer.name} (at most {LATE:.0f} ms)\n")
    print("\n".join(("| | events | median ms | longest ms |", "|---|--:|--:|--:|", *late)), flush=True)
    return good


def crowd(peer: Peer, program: str, folder: Path, arguments: argparse.Namespace) -> bool:
    """Ordinary clients alone, and among the crowd. Gives whether they were served within the bar."""
    many = arguments.crowd
    print(f"\n### Ordinary clients of {peer.name} among {many:,} slow ones and {many:,} idle WebSockets\n")
    with (
        backend(folder) as port,
        serving(peer, program, folder / "crowd", port) as (place, process),
        contextlib.ExitStack() as held,
    ):

        def ordinary() -> tuple[float, float]:
            found = [generators.wrk(ORDINARY, place.http, arguments.seconds, folder, CLIENTS) for _ in range(ROUNDS)]
            rates = [one.requests / one.seconds for one in found]
            return statistics.median(one.p99 for one in found), statistics.median(rates)

        def hold(kind: str, path: str) -> generators.End:
            return held.enter_context(generators.holding(generators.client(kind, path, place.http, many, 0)))[1]

        generators.wrk(ORDINARY, place.http, 1, folder, CLIENTS)
        before, memory = ordinary(), measure.resident(process.pid)
        said = []
        try:
            sockets = hold("sockets", "/ws")
        except WrongAnswerError as error:
            sockets = None
            said.append(f"no WebSockets: {error}")
        slow = hold("slow", "/upload")
        meanwhile, grown = ordinary(), measure.resident(process.pid)
        cut = slow()["cut"]
        said.append(
            f"{many:,} slow clients, of which half send a head and half a body: cut off {cut:,} times, came again"
        )
        still = sockets()["open"] if sockets else many
        if sockets:
            said.append(f"{still:,} of {many:,} WebSockets open to the end")
    times = meanwhile[0] / before[0]
    print("| | before | meanwhile | × |\n|---|--:|--:|--:|")
    print(f"| p99 ms (at most × {TIMES:g}) | {before[0]:.1f} | {meanwhile[0]:.1f} | {times:.2f} |")
    print(f"| requests/s | {before[1]:,.0f} | {meanwhile[1]:,.0f} | {meanwhile[1] / before[1]:.2f} |")
    print(f"| memory MiB | {memory:.0f} | {grown:.0f} | {grown / memory:.2f} |\n")
    print("\n".join(f"- {line}" for line in said), flush=True)
    return times <= TIMES and still == many


@contextlib.contextmanager
def serving(peer: Peer, program: str, folder: Path, port: int) -> Iterator[tuple[Place, subprocess.Popen[bytes]]]:
    """A peer before the backend on ``port``."""
    place = Place.make(folder, port, h2c_apart=peer.h2c_apart)
    process = peer.start(program, place)
    try:
        wait_until_served(place.http, process, folder / "log")
        yield place, process
    finally:
        end(process)


@contextlib.contextmanager
def bulk_backend() -> Iterator[int]:
    """The port of a backend for large bodies."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.bulk", str(port)], cwd=generators.ROOT)
    try:
        wait_until_served(port, process)
        yield port
    finally:
        end(process)


if __name__ == "__main__":
    main()
