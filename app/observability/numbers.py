"""What has been counted of requests, for whoever shows it: metrics, the dashboard, the API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


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
