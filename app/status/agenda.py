"""What is to be looked at, and when: each key once, however often it is asked for."""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

from routes.resources.meta import Key


class Agenda:
    """Gives out keys that are due, those of the lowest ``rank`` first and then in the order in which they were put.

    A key that was given out is not given again before :meth:`done`, and then only if it was put meanwhile.
    """

    def __init__(self, clock: Callable[[], float], rank: Callable[[Key], int]) -> None:
        self._clock = clock
        self._rank = rank
        self._number = count()
        # The mutable state. What stands in a heap and not, with the same time, in _due is over.
        self._due: dict[Key, float] = {}
        self._ready: list[tuple[int, int, Key]] = []
        self._later: list[tuple[float, int, Key]] = []
        self._given: dict[Key, float | None] = {}
        self._news = asyncio.Event()

    def put(self, key: Key, at: float = 0.0) -> None:
        """Have ``key`` given out at the time ``at`` (of the clock), or earlier if that was asked for before."""
        now = self._clock()
        at = max(at, now)
        if key in self._given:
            before = self._given[key]
            self._given[key] = at if before is None else min(at, before)
        elif at < self._due.get(key, float("inf")):
            self._due[key] = at
            if at > now:
                heapq.heappush(self._later, (at, next(self._number), key))
            else:
                heapq.heappush(self._ready, (self._rank(key), next(self._number), key))
            self._news.set()

    async def take(self) -> Key:
        """The next key, as soon as there is one. One task may wait at a time."""
        while True:
            now = self._clock()
            while self._later and self._later[0][0] <= now:
                at, number, key = heapq.heappop(self._later)
                if self._due.get(key) == at:
                    heapq.heappush(self._ready, (self._rank(key), number, key))
            while self._ready:
                key = heapq.heappop(self._ready)[2]
                if self._due.get(key, now + 1) <= now:
                    del self._due[key]
                    self._given[key] = None
                    return key
            self._news.clear()
            try:
                async with asyncio.timeout(self._later[0][0] - now if self._later else None):
                    await self._news.wait()
            except TimeoutError:
                pass

    def done(self, key: Key) -> None:
        """What ``key`` was given out for is done."""
        again = self._given.pop(key)
        if again is not None:
            self.put(key, again)

    def __contains__(self, key: Key) -> bool:
        """Whether ``key`` is to be given out, now or later."""
        return key in self._due or self._given.get(key) is not None

    def clear(self) -> None:
        """Forget everything but what is given out."""
        self._due.clear()
        self._ready.clear()
        self._later.clear()
        self._given = dict.fromkeys(self._given)
