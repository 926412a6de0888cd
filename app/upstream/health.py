"""What the gateway has learnt of an endpoint from the requests that it sent there: passive health, and slow start.

An endpoint is *ejected*, passed over for a while, at once when no connection to it can be had, and after ``BURST``
failures in a row: a broken connection, a bad answer, a time-out, or a status in ``FAILURES``. Any other answer in
between starts the count anew, so that an application that now and then answers 500 stays.

500 counts. Envoy counts every 5xx as well; nginx only what it is told to, since 500 may be the request's fault and not
the server's. But a process that has lost what it needs answers 500, and faster than the healthy ones work, so that
balancing by load would send it most of the requests. Someone who knows a request that fails always can eject an
endpoint with it only while nobody else is served there, never more than half of a backend's, and for a second at first.
501, 505 and the rest of the 5xx speak of the request and come from a process that is well: they count as answers.

Each ejection lasts twice as long as the one before; ``RECOVERY`` seconds of service make up for one. When its time is
over, an endpoint is on *trial*: one request, and others only when that has succeeded. From then on, and when it joins
a backend that already had others, it *warms up*: its share grows over ``SLOW_START`` seconds.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from app.upstream.pool import Pool
from routes.graph.nodes import Address

#: Failures in a row that eject an endpoint, and the statuses that are failures.
BURST: Final = 5
FAILURES: Final = frozenset({500, 502, 503, 504})

#: Seconds for which an endpoint is passed over the first time, and at most.
EJECTION: Final = 1.0
MAX_EJECTION: Final = 60.0
#: Seconds of service after which the next ejection is half as long as it would have been.
RECOVERY: Final = 10.0
#: Seconds after which another request is tried where the one on trial has not been answered, or nobody waits for it.
TRIAL: Final = 10.0

#: Seconds over which the share of a new endpoint grows, and what part of a whole one it begins with.
SLOW_START: Final = 10.0
FIRST_SHARE: Final = 0.1


@dataclass(slots=True, weakref_slot=True, eq=False)
class Endpoint:
    """One address that requests are sent to, the connections to it, and its health.

    ``in_flight``: how many requests are under way. ``settled``: it is neither ejected nor on trial nor warming up, as
    nearly all are nearly always: nothing else has to be looked at. ``ejected_until``, in seconds of ``clock``: it is
    passed over until then, and afterwards on trial; 0 where it is neither. ``reachable``: connections can be had.

    Counted while requests are: ``requests`` that were sent, and ``duration_ns``, the sum of how long they waited for
    the head of an answer. ``failures`` and ``ejections`` are all that there were.
    """

    address: Address
    pool: Pool
    in_flight: int = 0
    settled: bool = True
    reachable: bool = True
    ejected_until: float = 0.0
    clock: Callable[[], float] = time.monotonic
    name: str = field(init=False)
    requests: int = 0
    duration_ns: int = 0
    failures: int = 0
    ejections: int = 0
    #: Failures in a row, and ejections that have not been made up for.
    _failures: int = 0
    _ejections: int = 0
    #: Whether a request was sent to see how it does.
    _on_trial: bool = False
    #: Since when it has been in service.
    _since: float = 0.0

    def __post_init__(self) -> None:
        self.name = str(self.address)

    def answered(self, status: int) -> bool:
        """The head of an answer with ``status`` has come. Answers, as the next two, whether that ejects it."""
        if status in FAILURES:
            return self.failed()
        if self._failures or self._on_trial:
            self._failures = 0
            self.reachable = True
            if self._on_trial:
                self._on_trial = False
                self.ejected_until = 0.0
                self.warm_up()
        return False

    def failed(self) -> bool:
        """A request that was sent got no good answer: a broken connection, none that is HTTP, a time-out."""
        self.failures += 1
        self._failures += 1
        if self._failures >= BURST or self._on_trial:
            return self._eject()
        return False

    def unreachable(self) -> bool:
        """No connection could be had."""
        self.failures += 1
        self.reachable = False
        return self._eject()

    def warm_up(self) -> None:
        """Let the share of requests grow from now on."""
        self.settled = False
        self._since = self.clock()

    def share(self, now: float) -> float:
        """The part of a whole share that it gets: 1 but for one that warms up."""
        if self.settled or self.ejected_until:
            return 1.0
        grown = (now - self._since) / SLOW_START
        if grown >= 1.0:
            self.settled = True
            return 1.0
        return max(grown, FIRST_SHARE)

    def chosen(self, now: float) -> Self:
        """It gets a request, which is its trial where it is due for one."""
        if self.ejected_until and self.ejected_until <= now:
            self._on_trial = True
            self.ejected_until = now + TRIAL
        return self

    def _eject(self) -> bool:
        """Also tells of requests that were sent before the ejection; these are old news and make it no longer."""
        if self.ejected_until and not self._on_trial:
            return False
        now = self.clock()
        if not self._on_trial:
            self._ejections = max(0, self._ejections - int((now - self._since) / RECOVERY))
        self._on_trial = self.settled = False
        self._failures = 0
        self.ejections += 1
        self._ejections += 1
        self.ejected_until = now + min(EJECTION * 2 ** (self._ejections - 1), MAX_EJECTION)
        return True
