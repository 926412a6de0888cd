"""The Markdown tables, and the same as JSON."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from benchmarks.rows import LARGE, Load, Row

#: Whom CPU is held against: of all rows, and of those with large bodies.
BASE, BYTES_BASE = "envoy", "nginx"


@dataclass(frozen=True, slots=True)
class Sample:
    """One round: ``rate`` in requests/s, ``p50`` and ``p99`` in ms, ``cpu`` in µs a request, and ``memory``: the most
    that was resident, in MiB; for idle connections KiB for each."""

    rate: float
    p50: float
    p99: float
    cpu: float
    memory: float


@dataclass(slots=True)
class Found:
    """All rounds of a peer in a row, or why there are none; ``wrong`` if its answers were."""

    samples: list[Sample] = field(default_factory=list)
    reason: str = ""
    wrong: bool = False

    def median(self, name: str) -> float:
        """Of all rounds."""
        values: list[float] = [getattr(sample, name) for sample in self.samples]
        return statistics.median(values)

    def ratio(self, base: "Found | None") -> float | None:
        """CPU in ratio to another's, taken in each round; the median of these."""
        others = base.samples if base is not None else []
        ratios = [one.cpu / other.cpu for one, other in zip(self.samples, others, strict=False) if other.cpu]
        return statistics.median(ratios) if ratios else None


Results = Mapping[Row, Mapping[str, Found]]


def environment(versions: Mapping[str, str]) -> dict[str, str]:
    """Where and with what it was measured."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    memory = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "machine": f"{len(os.sched_getaffinity(0))} CPUs ({cpu or platform.machine()}), {memory} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def markdown(results: Results, around: Mapping[str, str], notes: Sequence[str]) -> str:
    """All tables: CPU of everybody in one, and one with the rest for each group."""
    lines = [
        f"Measured {around['date']} on {around['machine']}, {around['kernel']}, Python {around['python']}, with "
        f"`{around['command']}`: {around['versions']}.",
        *_summary({row: found for row, found in results.items() if row.load is not Load.IDLE}),
    ]
    for group, rows in groupby(results, key=lambda row: row.group):
        lines += ["", f"### {group}", "", *_details({row: results[row] for row in rows})]
    remarks = dict.fromkeys([*notes, *_reasons(results)])
    return "\n".join([*lines, *([""] if remarks else []), *(f"- {remark}" for remark in remarks)])


def as_json(results: Results, around: Mapping[str, str], notes: Sequence[str]) -> str:
    """Every sample."""
    rows = [
        {**asdict(row), "peers": {name: asdict(one) for name, one in found.items()}} for row, found in results.items()
    ]
    return json.dumps({"environment": dict(around), "notes": list(notes), "rows": rows}, indent=1)


def _summary(results: Results) -> Iterator[str]:
    if not results:
        return
    yield ""
    names = list(dict.fromkeys(name for found in results.values() for name in found))
    with_base = any(BASE in found for found in results.values())
    yield f"CPU of the whole process per request, in ratio to {BASE}'s:" if with_base else "CPU µs per request:"
    yield ""
    heads = [f"{name}, µs" if name == BASE else name for name in names]
    yield f"| | {' | '.join(heads)} |"
    yield f"|---|{'--:|' * len(names)}"
    for row, found in results.items():
        base = found.get(BASE)
        yield f"| {row.title} | {' | '.join(_cell(name, found.get(name), base, with_base) for name in names)} |"


def _cell(name: str, one: Found | None, base: Found | None, ratios: bool) -> str:
    if one is None or not one.samples:
        return "error" if one is not None and one.wrong else "–"
    ratio = one.ratio(base)
    if name == BASE or not ratios:
        return f"{one.median('cpu'):,.0f}"
    return "–" if ratio is None else f"{ratio:.2f}"


def _details(results: Results) -> Iterator[str]:
    rows = list(results)
    per_byte = any(row.size == LARGE for row in rows)
    idle = rows[0].load is Load.IDLE
    memory = "KiB per connection" if idle else "memory MiB"
    unit = "connection" if idle else "request"
    extra = f" × {BYTES_BASE} |" if per_byte else ""
    yield f"| | | {unit}s/s | p50 ms | p99 ms | CPU µs/{unit} | × {BASE} |{extra} {memory} |"
    yield f"|---|---|{'--:|' * (7 if per_byte else 6)}"
    for row, found in results.items():
        for name, one in found.items():
            if not one.samples:
                continue
            ratios = [_ratio(one.ratio(found.get(BASE)))]
            if per_byte:
                ratios.append(_ratio(one.ratio(found.get(BYTES_BASE))))
            yield (
                f"| {row.title} | {name} | {one.median('rate'):,.0f} | {one.median('p50'):.1f} | "
                f"{one.median('p99'):.1f} | {one.median('cpu'):,.0f} | {' | '.join(ratios)} | "
                f"{one.median('memory'):,.{1 if idle else 0}f} |"
            )


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _reasons(results: Results) -> Iterator[str]:
    """Why numbers are not there: what is an error for each row, what somebody cannot do once."""
    unable: dict[str, dict[str, None]] = {}
    for row, found in results.items():
        for name, one in found.items():
            if one.wrong:
                yield f"ERROR: {name}, {row.title}: {one.reason}"
            elif one.reason:
                unable.setdefault(one.reason, {})[name] = None
    for reason, names in unable.items():
        yield f"{', '.join(names)}: {reason}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
