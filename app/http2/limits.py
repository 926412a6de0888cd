"""What a peer may do that is of no use to anybody: everything that is cheap for it and costs us."""

from collections.abc import Callable
from typing import Final

from app.http2.frames import Code, ConnectionFailure

#: Frames without use (PING, SETTINGS, PRIORITY, empty DATA, window updates, unknown ones) in a span of time; those that
#: a useful frame lets a peer send besides.
MAX_IDLE_FRAMES: Final = 1000
IDLE_SPAN: Final = 10.0
PER_USEFUL_FRAME: Final = 4
#: Streams that were reset, by whomever, in a span of time, beyond those that ended well (CVE-2023-44487,
#: CVE-2025-8671).
MAX_RESETS: Final = 200
RESET_SPAN: Final = 30.0
#: Answers that no request asked for (to PING, SETTINGS, malformed frames) that the peer did not read.
MAX_UNREAD: Final = 1000
#: Frames of one header block, and bytes of it beyond the header list's limit.
MAX_CONTINUATIONS: Final = 16
BLOCK_SLACK: Final = 16 * 1024


class Allowance:
    """A number of times in a span of seconds. What is earned counts against what was spent, and is never saved up."""

    __slots__ = ("_clock", "_limit", "_reason", "_since", "_span", "spent")

    def __init__(self, limit: int, span: float, clock: Callable[[], float], reason: str) -> None:
        self._limit = limit
        self._span = span
        self._clock = clock
        self._reason = reason
        self._since = clock()
        self.spent = 0

    def spend(self, cost: int = 1) -> None:
        """Raises ConnectionFailure when there was too much of it too fast."""
        self.spent += cost
        if self.spent > self._limit:
            now = self._clock()
            if now - self._since < self._span:
                raise ConnectionFailure(Code.ENHANCE_YOUR_CALM, self._reason)
            self._since, self.spent = now, cost

    def earn(self, amount: int) -> None:
        """The peer did something useful."""
        self.spent = max(0, self.spent - amount)
