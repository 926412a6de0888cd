"""Which backend of a rule, and which endpoint of a backend, takes a request."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.upstream.pool import Pool
from routes.graph.nodes import Address
from routes.table.types import Backend

#: Seconds for which an endpoint that cannot be reached is passed over the first time, and at most.
EJECTION = 1.0
MAX_EJECTION = 60.0


@dataclass(slots=True, weakref_slot=True, eq=False)
class Endpoint:
    """One address that requests are sent to, and the connections to it.

    ``in_flight``: how many requests are under way. ``ejected_until``: it could not be reached, and until this moment of
    the monotonic clock others are asked instead; 0 where it could.
    """

    address: Address
    pool: Pool
    in_flight: int = 0
    failures: int = 0
    ejected_until: float = 0.0
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = str(self.address)

    def failed(self, now: float) -> None:
        """No connection: stay away from it, for twice as long each time in a row."""
        self.failures += 1
        self.ejected_until = now + min(EJECTION * 2 ** (self.failures - 1), MAX_EJECTION)

    def answered(self) -> None:
        """It can be reached."""
        if self.failures:
            self.failures, self.ejected_until = 0, 0.0


class WeightedSelector:
    """Smooth weighted round robin: weights 3 and 1 are 3 and 1 in every 4 requests, spread evenly.

    Each pick raises every backend's credit by its weight and takes the richest, who pays the sum of all weights.
    Backends with weight 0 are never picked.
    """

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._backends = [backend for backend in backends if backend.weight > 0]
        self._total = sum(backend.weight for backend in self._backends)
        self._credits = [0] * len(self._backends)

    def pick(self) -> Backend | None:
        """The next backend, None where there is none with a weight."""
        if len(self._backends) <= 1:
            return self._backends[0] if self._backends else None
        best = 0
        for index, backend in enumerate(self._backends):
            self._credits[index] += backend.weight
            if self._credits[index] > self._credits[best]:
                best = index
        self._credits[best] -= self._total
        return self._backends[best]


def least_loaded(
    endpoints: Sequence[Endpoint],
    choose: Callable[[Sequence[Endpoint], int], list[Endpoint]] = random.sample,
    clock: Callable[[], float] = time.monotonic,
) -> Endpoint:
    """Of two endpoints drawn at random the one with fewer requests under way (Mitzenmacher's two choices).

    One that could not be reached is passed over for a while, unless that goes for all of them. ``endpoints`` must not
    be empty.
    """
    if len(endpoints) == 1:
        return endpoints[0]
    first, second = choose(endpoints, 2)
    if first.ejected_until or second.ejected_until:
        now = clock()
        reachable = [endpoint for endpoint in endpoints if endpoint.ejected_until <= now] or endpoints
        if len(reachable) == 1:
            return reachable[0]
        first, second = choose(reachable, 2)
    return second if second.in_flight < first.in_flight else first
