"""Numbers and times as people read them."""

from datetime import UTC, datetime, timedelta
from typing import Final

_SOON: Final = timedelta(days=30)
_VERY_SOON: Final = timedelta(days=7)


def percent(share: float) -> str:
    """``0.75`` as ``75 %``; a part of a percent is shown where there is less than ten."""
    value = share * 100
    return f"{value:.0f} %" if value >= 10 or value == round(value) else f"{value:.1f} %"


def rate(value: float) -> str:
    """Requests a second."""
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:.1f}"


def duration(nanoseconds: float) -> str:
    """``1.2 ms``, with two digits that count."""
    for unit, size in (("s", 1e9), ("ms", 1e6)):
        if nanoseconds >= size:
            value = nanoseconds / size
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{nanoseconds / 1e3:.0f} µs"


def age(moment: datetime, now: datetime | None = None) -> str:
    """How long ago, or how long until: ``3 min``, ``2 h``, ``64 d``."""
    seconds = abs(((now or datetime.now(UTC)) - moment).total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def soon(not_after: datetime, now: datetime) -> str:
    """How a certificate does: ``expired``, ``critical`` in the last week, ``warning`` in the last month."""
    left = not_after - now
    if left <= timedelta(0):
        return "expired"
    return "critical" if left < _VERY_SOON else "warning" if left < _SOON else "enabled"


def bars(left: datetime, right: datetime, now: datetime) -> float:
    """Which part of the time from ``left`` to ``right`` is still to come, from 0 to 1."""
    whole = (right - left).total_seconds()
    return min(1.0, max(0.0, (right - now).total_seconds() / whole)) if whole > 0 else 0.0
