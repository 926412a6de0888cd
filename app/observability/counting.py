"""Counts requests: plain integers, which are summed when somebody asks.

What a request adds to is found by two look-ups: a :class:`Load` by the port that it came by, its rule and its backend,
and in that a :class:`Cell` by method, version and status. Everything that is shown is a sum of cells.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

from middleware.observe import Observation

#: Methods that have a name of their own; clients may write any word, and memory and metrics are bounded.
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
EXTENSION_METHOD: Final = "EXTENSION_METHOD"

#: What is told of a version of HTTP, and of what is none.
PROTOCOLS: Final = {"1.0": "HTTP/1.0", "1.1": "HTTP/1.1", "2": "HTTP/2.0"}
UNKNOWN_PROTOCOL: Final = "HTTP"
WEBSOCKET: Final = "websocket"

#: Loads below which nobody looks for those that are of the past.
_FEW: Final = 1024


class Cell:
    """Requests that have all their labels in common. ``buckets``: those that took no longer than each bound, without
    those that took no longer than the one before; the last has no bound. ``duration`` is in nanoseconds."""

    __slots__ = ("buckets", "duration", "received", "sent")

    def __init__(self, bounds: int) -> None:
        self.buckets = [0] * (bounds + 1)
        self.duration = self.received = self.sent = 0

    def add(self, other: "Cell") -> None:
        """Count what the other has counted, too."""
        self.buckets = [mine + its for mine, its in zip(self.buckets, other.buckets, strict=True)]
        self.duration += other.duration
        self.received += other.received
        self.sent += other.sent


class CellKey(NamedTuple):
    """What the requests of a cell have in common."""

    method: str
    protocol: str
    status: int


class Load:
    """What one port of a Gateway has sent to one backend of one rule. ``in_flight`` is of this moment.

    ``changed``: something was counted since whoever writes it down looked at it last.
    """

    __slots__ = ("_bounds", "_known", "cells", "changed", "ejections", "in_flight", "retries")

    def __init__(self, bounds: Sequence[int]) -> None:
        self._bounds = bounds
        #: By what a request says itself, as long as that is what it is counted by.
        self._known: dict[tuple[str, str, int], Cell] = {}
        self.cells: dict[CellKey, Cell] = {}
        self.in_flight = self.retries = self.ejections = 0
        self.changed = True

    def count(self, method: str, version: str, status: int, duration: int, received: int, sent: int) -> None:
        """A request has ended, after ``duration`` nanoseconds. ``version``: of HTTP, or ``websocket``."""
        cell = self._known.get((method, version, status)) or self._find(method, version, status)
        cell.buckets[bisect_left(self._bounds, duration)] += 1
        cell.duration += duration
        cell.received += received
        cell.sent += sent
        self.changed = True

    def _find(self, method: str, version: str, status: int) -> Cell:
        protocol = version if version == WEBSOCKET else PROTOCOLS.get(version, UNKNOWN_PROTOCOL)
        known = method in METHODS
        cell = self.cell(CellKey(method if known else EXTENSION_METHOD, protocol, status))
        if known and protocol is not UNKNOWN_PROTOCOL:
            self._known[method, version, status] = cell
        return cell

    def cell(self, key: CellKey) -> Cell:
        """The cell by ``key``, a new one where there was none."""
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell(len(self._bounds))
        return cell

    def add(self, other: "Load") -> None:
        """Count what the other has counted, too."""
        for key, cell in other.cells.items():
            self.cell(key).add(cell)
        self.retries += other.retries
        self.ejections += other.ejections
        self.in_flight += other.in_flight
        self.changed = True


class LoadKey(NamedTuple):
    """Whose load it is. ``port`` is None where the request came by no port of a Gateway, or by one that is gone;
    ``rule`` and ``backend`` are "" likewise. Of a rule that is gone while its route is there ``default/shop/`` is left.
    """

    port: object
    rule: str
    backend: str


class Present(NamedTuple):
    """What there is now. ``ports`` are keys as requests are counted by, and their names as well."""

    ports: Collection[object]
    rules: Collection[str]
    routes: Collection[str]
    backends: Collection[str]

    def key(self, key: LoadKey) -> LoadKey:
        """By what a load is known now: what is gone has no name any more, and is only part of the sums."""
        port, rule, backend = key
        if rule and rule not in self.rules:
            route = route_of(rule)
            rule = f"{route}/" if route in self.routes else ""
        return LoadKey(port if port in self.ports else None, rule, backend if backend in self.backends else "")


def route_of(rule: str) -> str:
    """``default/shop`` of ``default/shop/0``."""
    return rule.rpartition("/")[0]


class Counter:
    """Counts the requests of one process. An :class:`~middleware.observe.Observer` of those that are observed.

    ``buckets`` are the bounds of the durations in seconds. ``present`` says what there is, so that what is gone takes
    no memory for ever.
    """

    def __init__(self, buckets: Sequence[float]) -> None:
        self.buckets = tuple(buckets)
        self._bounds = tuple(round(bound * 1e9) for bound in buckets)
        self.loads: dict[LoadKey, Load] = {}
        self.present: Callable[[], Present] | None = None
        self._most = _FEW
        #: How many read the loads now, beside the event loop: nothing is moved meanwhile.
        self.readers = 0

    def load(self, port: object, rule: str, backend: str) -> Load:
        """The load of a backend of a rule."""
        # Finds a LoadKey too, and is made faster.
        found = self.loads.get((port, rule, backend))  # type: ignore[call-overload]
        return found if found is not None else self._make(LoadKey(port, rule, backend))

    def ended(self, observation: Observation) -> None:
        """Count a request that was observed."""
        scope, record = observation.scope, observation.record
        port = record.port
        if port is None:
            port = (scope.get("state") or {}).get("listener")
        load = self.load(port, record.route, record.backend)
        load.retries += record.retries
        load.ejections += record.ejections
        version = scope.get("http_version", "1.1")
        method = scope.get("method", "GET")
        if scope["type"] == WEBSOCKET:
            method, version = "CONNECT" if version == "2" else "GET", WEBSOCKET
        load.count(method, version, observation.status, observation.duration, observation.received, observation.sent)

    def fold(self) -> None:
        """Give up what is gone: what was counted of it goes on in the sums that it was part of."""
        if self.present is None or self.readers:
            return
        present = self.present()
        for key, load in list(self.loads.items()):
            now = present.key(key)
            if now != key and not load.in_flight:
                del self.loads[key]
                self._of(now).add(load)
        self._most = max(_FEW, 2 * len(self.loads))

    def _make(self, key: LoadKey) -> Load:
        if len(self.loads) >= self._most:
            self.fold()
        return self._of(key)

    def _of(self, key: LoadKey) -> Load:
        load = self.loads.get(key)
        if load is None:
            load = self.loads[key] = Load(self._bounds)
        return load
