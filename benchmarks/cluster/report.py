"""What was measured, beside the bars and what is known of others; and how far it is, meanwhile."""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple


class Figure(NamedTuple):
    """``value`` in ``unit``. ``bar`` is the most that it may be; ``peers`` says what others need."""

    row: str
    what: str
    value: float
    unit: str
    bar: float | None = None
    peers: str = ""

    @property
    def missed(self) -> bool:
        """It is more than it may be."""
        return self.bar is not None and self.value > self.bar


class Progress:
    """Lines on standard error, not too many."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._last = 0.0

    def __call__(self, line: str) -> None:
        self._last = time.monotonic()
        print(f"[{self._last - self._begun:4.0f} s] {line}", file=sys.stderr, flush=True)

    def count(self, what: str, total: int) -> Callable[[int], None]:
        """Whom to tell how many of ``total`` there are: every three seconds, and at the end, a line is shown."""

        def tell(number: int) -> None:
            if number == total or time.monotonic() - self._last > 3:
                self(f"{number:,} of {total:,} {what}")

        return tell


def percentile(values: Iterable[float], percent: float) -> float:
    """The value that ``percent`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(values: Iterable[float]) -> float:
    """The middle of all."""
    return statistics.median(values)


def table(figures: list[Figure]) -> str:
    """Markdown."""
    lines = ["| row | measure | found | bar | others |", "|---|---|--:|--:|---|"]
    for figure in figures:
        found = f"{_number(figure.value)} {figure.unit}".strip()
        bar = "" if figure.bar is None else f"{'missed: ' if figure.missed else ''}≤ {_number(figure.bar)}"
        lines.append(f"| {figure.row} | {figure.what} | {found} | {bar} | {figure.peers} |")
    return "\n".join(lines)


def write(figures: list[Figure], file: Path, gateway_class: str) -> None:
    """The same as JSON."""
    rows = [figure._asdict() | {"missed": figure.missed} for figure in figures]
    file.write_text(json.dumps({"gatewayClass": gateway_class, "figures": rows}, indent=2, ensure_ascii=False) + "\n")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:.1f}"
