"""Which backend of a rule, and which endpoint of a backend, takes a request."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx2

from app.upstream.pool import Pool
from routes.graph.nodes import Address
from routes.table.types import Backend


@dataclass(slots=True, weakref_slot=True, eq=False)
class Endpoint:
    """One address that requests are sent to, and the connections to it. ``in_flight``: how many are under way."""

    address: Address
    url: httpx2.URL
    pool: Pool
    in_flight: int = 0


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
    endpoints: Sequence[Endpoint], choose: Callable[[Sequence[Endpoint], int], list[Endpoint]] = random.sample
) -> Endpoint:
    """Of two endpoints drawn at random the one with fewer requests under way (Mitzenmacher's two choices).

    ``endpoints`` must not be empty.
    """
    if len(endpoints) == 1:
        return endpoints[0]
    first, second = choose(endpoints, 2)
    return second if second.in_flight < first.in_flight else first
