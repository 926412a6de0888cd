"""Lines and arcs, as SVG has them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.view.model import Counts

#: Pixels of the widest line.
WIDEST: Final = 22.0
_RADIUS: Final = 42.0


@dataclass(frozen=True, slots=True)
class Curve:
    """A line from the middle of the left side to a row at the right. ``height`` is that of the whole drawing."""

    path: str
    width: float
    height: int


@dataclass(frozen=True, slots=True)
class Arc:
    """A part of a ring: ``length`` of its circumference, from ``offset`` on."""

    state: str
    length: float
    offset: float
    whole: float


def curves(shares: Sequence[float]) -> list[Curve]:
    """A line to each of rows of one height, as wide as its share; one without a share is a hair."""
    height = 100 * max(1, len(shares))
    middle = height / 2
    found = []
    for row, share in enumerate(shares):
        end = 100 * row + 50
        path = f"M0 {middle:g} C55 {middle:g} 45 {end:g} 100 {end:g}"
        found.append(Curve(path, round(max(1.5, share * WIDEST), 1), height))
    return found


def arcs(counts: Counts) -> list[Arc]:
    """A ring of those that do well, those with a warning and those with an error."""
    whole = 2 * math.pi * _RADIUS
    parts = (
        ("enabled", counts.total - counts.warnings - counts.errors),
        ("warning", counts.warnings),
        ("disabled", counts.errors),
    )
    found = []
    offset = 0.0
    for state, number in parts:
        if number:
            length = whole * number / counts.total
            found.append(Arc(state, round(length, 2), round(offset, 2), round(whole, 2)))
            offset += length
    return found
