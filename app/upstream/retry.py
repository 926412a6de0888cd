"""Whether a request that went wrong is sent again, and when.

Of what went wrong three kinds are told apart. Where nothing of the request was worked on (no connection, a refused
stream) it can be sent again whatever it is. Where that is unknown (a connection that broke, no answer in time) it is
sent again if doing it twice does no harm (RFC 9110 §9.2.2), or if the route lists the status that would be answered:
502, or 504 after a time-out. And an answer is taken for a failure where the route lists its status.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from app.upstream.transport import IDEMPOTENT
from middleware.errors import BadGateway, GatewayError, UpstreamTimeout
from routes.resources.fields import duration_seconds
from routes.resources.http import HTTPRouteRetry

#: How many endpoints are tried where no route says anything, and one cannot be reached, or ends a request without an
#: answer that may be repeated.
ATTEMPTS: Final = 3

#: Seconds of the first pause where a route asks for retries and not for a pause.
PAUSE: Final = 0.025
#: How many times the first pause the longest one is.
GROWTH: Final = 10


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a request is sent again at most: ``attempts``. ``codes``: the statuses for which it is.

    ``backoff`` in seconds is about the first pause; None makes none before an endpoint that was not asked yet.
    ``asked``: a route wants it, also where there is no other endpoint.
    """

    attempts: int = ATTEMPTS - 1
    codes: frozenset[int] = frozenset()
    backoff: float | None = None
    asked: bool = False

    @classmethod
    def of(cls, source: HTTPRouteRetry | None) -> Self:
        """What a rule says."""
        if source is None:
            return cls()
        backoff = None if source.backoff is None else duration_seconds(source.backoff)
        return cls(source.attempts, frozenset(source.codes), backoff, asked=True)

    def takes(self, error: GatewayError, method: str) -> bool:
        """Whether a request with ``method`` that ended in ``error`` may be sent again."""
        if error.retryable:
            return True
        lost = isinstance(error, BadGateway | UpstreamTimeout)
        return self.asked and lost and (method in IDEMPOTENT or error.status in self.codes)

    def pause(self, number: int, *, elsewhere: bool, chance: Callable[[], float] = random.random) -> float:
        """Seconds before the retry of this ``number``, from 0. ``elsewhere``: it goes to one that was not asked yet.

        It doubles each time, to ten times the first at most, and is shortened by up to a half, so that those who failed
        together do not come back together.
        """
        base = self.backoff
        if base is None:
            if elsewhere:
                return 0.0
            base = PAUSE
        return min(base * 2.0 ** min(number, GROWTH), base * GROWTH) * (1.0 - chance() / 2)
