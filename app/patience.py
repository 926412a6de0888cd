"""How long to wait until the next try."""

import random
from collections.abc import Callable, Hashable


class Patience:
    """Seconds to wait after each failure in a row: twice as long each time, from ``first`` to ``most``, of which up to
    half is left to ``chance`` (0 to 1), so that those who failed together do not come back together."""

    def __init__(self, first: float, most: float, chance: Callable[[], float] = random.random) -> None:
        self._first = first
        self._most = most
        self._chance = chance
        self._failures: dict[Hashable, int] = {}

    def after(self, what: Hashable) -> float:
        """One more failure of ``what``."""
        before = self._failures.get(what, 0)
        self._failures[what] = before + 1
        full = self._most if before > 30 else min(self._most, self._first * 2**before)
        return full * (1 - self._chance() / 2)

    def forget(self, what: Hashable) -> None:
        """``what`` has come to a good end."""
        self._failures.pop(what, None)
