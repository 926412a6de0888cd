"""``python -m benchmarks``: measure what was asked for and print Markdown tables. Progress goes to standard error."""

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import benchmarks
from benchmarks import generators, report
from benchmarks.backend import backend
from benchmarks.peers import PEERS
from benchmarks.report import Found
from benchmarks.rows import ROWS, Load, Row
from benchmarks.run import WARM, Programs, Run


def main() -> None:
    """Run what was asked for. Exits with 1 if answers were wrong."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended
    if shutil.which("nginx") is None:
        sys.exit("nginx, the backend, is missing: apt-get install nginx-light")
    rows = [row for row in ROWS if row.title == arguments.only] or [
        row for row in ROWS if arguments.only in row.title and (row.core or arguments.only or not arguments.quick)
    ]
    if not rows:
        sys.exit(f"no row has {arguments.only!r} in its title; there are: {'; '.join(row.title for row in ROWS)}")
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    seconds = arguments.seconds or (2 if arguments.quick else 3)
    programs, notes = _find(arguments.peers)
    for note in notes:
        _say(note)
    _say(
        f"{len(rows)} rows, {len(programs)} peers: about {_expected(rows, programs, rounds, seconds) / 60:.0f} minutes"
    )
    around = report.environment({name: peer.installed_version(program) for name, (peer, program) in programs.items()})
    results: dict[Row, dict[str, Found]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="moongate-bench-") as folder,
        backend(Path(folder)) as port,
        contextlib.suppress(KeyboardInterrupt),  # what was measured until then is printed
    ):
        for number, row in enumerate(rows, start=1):
            _say(f"[{number}/{len(rows)}] {row.title}")
            run = Run(row, Path(folder), port, arguments.profile)
            results[row] = run.results
            run.measure(programs, rounds, seconds)
            for name, found in run.results.items():
                _say(f"  {name:18} " + (f"{found.median('cpu'):9,.0f} µs" if found.samples else f"– {found.reason}"))
    notes += [peer.note for peer, _ in programs.values() if peer.note]
    if arguments.json:
        arguments.json.write_text(report.as_json(results, around, notes))
    print(report.markdown(results, around, notes))
    sys.exit(any(found.wrong for row in results.values() for found in row.values()))


def _arguments() -> argparse.Namespace:
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=benchmarks.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="the core rows, one round of 2 s: under 3 minutes")
    parser.add_argument("--peers", nargs="+", default=names, choices=names, metavar="PEER", help=", ".join(names))
    parser.add_argument(
        "--only",
        default="",
        metavar="TITLE",
        help="the row of this title, else those with this in their title; core or not",
    )
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--seconds", type=int, help="of load in each round; default 3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="write Moongate's stacks there, with py-spy")
    return parser.parse_args()


def _find(names: Sequence[str]) -> tuple[Programs, list[str]]:
    """The peers that are installed, and what to do about the others."""
    found, notes = {}, list(generators.missing())
    for peer in PEERS:
        if peer.name in names:
            program = peer.find()
            if program is None:
                notes.append(f"{peer.name} is missing: {peer.install}")
            else:
                found[peer.name] = peer, program
    return found, notes


def _expected(rows: Sequence[Row], programs: Programs, rounds: int, seconds: int) -> float:
    """Seconds that it will take, in round figures."""
    total = 0.0
    for row in rows:
        able = sum(peer.cannot(row) is None for peer, _ in programs.values())
        each = 25.0 if row.load is Load.IDLE else rounds * (seconds + 0.3) + WARM + 1
        total += able * each + 4 + row.hosts / 500
    return total


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
