"""Which backend of a rule, and which endpoint of a backend, takes a request."""

import random
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from app.upstream.health import Endpoint


class Weighted(Protocol):
    """What has a share of the requests."""

    @property
    def weight(self) -> int:
        """Its part of the sum of all weights."""


W = TypeVar("W", bound=Weighted)


class WeightedSelector(Generic[W]):
    """Smooth weighted round robin: weights 3 and 1 are 3 and 1 in every 4 requests, spread evenly.

    Each pick raises every backend's credit by its weight and takes the richest, who pays the sum of all weights.
    Backends with weight 0 are never picked.
    """

    def __init__(self, backends: Sequence[W]) -> None:
        self._backends = [backend for backend in backends if backend.weight > 0]
        self._total = sum(backend.weight for backend in self._backends)
        self._credits = [0] * len(self._backends)

    def pick(self) -> W | None:
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


def least_loaded(endpoints: Sequence[Endpoint], chance: Callable[[], float] = random.random) -> Endpoint:
    """Of two endpoints drawn at random the one with fewer requests under way (Mitzenmacher's two choices).

    Those that :mod:`app.upstream.health` calls ejected are passed over, those that are new get less than their share.
    ``endpoints`` must not be empty; ``chance`` gives numbers from 0 up to 1.
    """
    if len(endpoints) == 1:
        return endpoints[0]
    first, second = _draw(endpoints, chance)
    if not (first.settled and second.settled):
        return _careful(first, second, endpoints, chance, first.clock())
    return second if second.in_flight < first.in_flight else first


def _draw(endpoints: Sequence[Endpoint], chance: Callable[[], float]) -> tuple[Endpoint, Endpoint]:
    """Two different ones, every pair and either order as likely."""
    count = len(endpoints)
    one = int(chance() * count)
    other = int(chance() * (count - 1))
    return endpoints[one], endpoints[other + 1 if other >= one else other]


def _careful(
    first: Endpoint, second: Endpoint, endpoints: Sequence[Endpoint], chance: Callable[[], float], now: float
) -> Endpoint:
    """The choice where ``first`` and ``second`` were drawn and the state of one of them matters."""
    if first.ejected_until > now or second.ejected_until > now:
        endpoints = _usable(endpoints, now)
        if len(endpoints) == 1:
            return endpoints[0].chosen(now)
        if first not in endpoints or second not in endpoints:
            first, second = _draw(endpoints, chance)
    while True:
        # One that has a tenth of its share is left in one draw of ten; where both are left out it is drawn again.
        takes_first, takes_second = first.share(now) > chance(), second.share(now) > chance()
        if takes_first and not (takes_second and second.in_flight < first.in_flight):
            return first.chosen(now)
        if takes_second:
            return second.chosen(now)
        first, second = _draw(endpoints, chance)


def _usable(endpoints: Sequence[Endpoint], now: float) -> Sequence[Endpoint]:
    """All but those that are ejected, of which at most half of the endpoints, or one of less than four, are left out.

    Beyond that the trouble is not one endpoint's, and the others would only be overrun. One that cannot even be reached
    relieves nobody: all of that kind are left out, as long as there is any other.
    """
    ejected = [endpoint for endpoint in endpoints if endpoint.ejected_until > now]
    if not ejected:
        return endpoints
    allowed = max(1, len(endpoints) // 2)
    if len(ejected) > allowed:
        ejected.sort(key=lambda endpoint: (endpoint.reachable, -endpoint.ejected_until))
        del ejected[max(allowed, sum(not endpoint.reachable for endpoint in ejected)) :]
    left_out = set(map(id, ejected))
    return [endpoint for endpoint in endpoints if id(endpoint) not in left_out] or endpoints
