"""What has been counted of requests, for whoever shows it: metrics, the dashboard, the API."""

from collections import Counter as Multiset
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

from app.observability.counting import Counter, Load, LoadKey


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums since the start, of all workers. Rates and shares are the difference of two of them.

    ``by_class``: requests by the first digit of their status. ``duration_ns``: the sum of how long they took, in
    nanoseconds; ``buckets``: how many took no longer than each of the bounds in ``MOONGATE_METRICS_BUCKETS``, and any
    time at all, as Prometheus counts. ``received`` and ``sent`` are bytes of bodies. ``in_flight`` is of this moment.
    """

    requests: int = 0
    by_class: Mapping[int, int] = field(default_factory=dict)
    duration_ns: int = 0
    buckets: tuple[int, ...] = ()
    received: int = 0
    sent: int = 0
    in_flight: int = 0
    retries: int = 0


class Numbers(Protocol):
    """All that has been counted. Names are those of the access log: ``default/http-app-1/0`` for a rule,
    ``default/whoami:80`` for a backend, ``default/traefik-gateway:8000`` for a listener's port."""

    def total(self) -> Totals:
        """Of all requests, those that no rule took too."""

    def ports(self) -> Mapping[str, Totals]:
        """Of each port of a Gateway."""

    def rule(self, name: str) -> Totals:
        """Of a rule."""

    def rule_backends(self, name: str) -> Mapping[str, Totals]:
        """Of each backend of a rule, as that rule used it."""

    def connections(self) -> Mapping[str, int]:
        """Open connections of clients, by the port of a Gateway."""


class Counted:
    """The :class:`Numbers` of a counter and, with several workers, of what ``others`` have counted.

    ``clients`` gives open connections by the port's name and the protocol.
    """

    def __init__(
        self,
        counter: Counter,
        clients: Callable[[], Mapping[tuple[str, str], int]],
        others: Callable[[], Mapping[LoadKey, Load]] = dict,
    ) -> None:
        self._counter = counter
        self._clients = clients
        self._others = others

    def total(self) -> Totals:
        """Of all requests."""
        return self._sum(load for _, load in self._loads())

    def ports(self) -> Mapping[str, Totals]:
        """Of each port of a Gateway that requests came by."""
        found: dict[object, list[Load]] = {}
        for (port, _, _), load in self._loads():
            if port is not None:
                found.setdefault(port, []).append(load)
        named: dict[str, list[Load]] = {}
        for port, loads in found.items():
            named.setdefault(str(port), []).extend(loads)
        return {name: self._sum(loads) for name, loads in named.items()}

    def rule(self, name: str) -> Totals:
        """Of a rule."""
        return self._sum(load for (_, rule, _), load in self._loads() if rule == name)

    def rule_backends(self, name: str) -> Mapping[str, Totals]:
        """Of each backend of a rule."""
        found: dict[str, list[Load]] = {}
        for (_, rule, backend), load in self._loads():
            if rule == name and backend:
                found.setdefault(backend, []).append(load)
        return {backend: self._sum(loads) for backend, loads in found.items()}

    def connections(self) -> Mapping[str, int]:
        """Of each port that has any."""
        found: Multiset[str] = Multiset()
        for (port, _), number in self._clients().items():
            found[port] += number
        return found

    def _loads(self) -> Iterable[tuple[LoadKey, Load]]:
        yield from self._counter.loads.items()
        yield from self._others().items()

    def _sum(self, loads: Iterable[Load]) -> Totals:
        classes: Multiset[int] = Multiset()
        buckets = [0] * (len(self._counter.buckets) + 1)
        requests = duration = received = sent = in_flight = retries = 0
        for load in loads:
            in_flight += load.in_flight
            retries += load.retries
            for (_, _, status), cell in load.cells.items():
                count = 0
                for index, number in enumerate(cell.buckets):
                    if number:
                        count += number
                        buckets[index] += number
                requests += count
                classes[status // 100] += count
                duration += cell.duration
                received += cell.received
                sent += cell.sent
        return Totals(requests, dict(classes), duration, tuple(accumulate(buckets)), received, sent, in_flight, retries)
