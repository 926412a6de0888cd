"""How long an endpoint is waited for.

A connection has 10 seconds; everything else takes as long as it likes unless somebody says otherwise, as in Traefik.
Envoy gives a whole answer 15 seconds and a silent stream 5 minutes, which cuts downloads, server-sent events and gRPC
streams that are well, and every user of them has to find out. A route that wants limits has ``timeouts`` for it, and a
backend that is gone without a word is noticed by TCP's keep-alive.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from middleware.errors import GatewayError, UpstreamTimeout


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; None is without end.

    ``connect``: to a connection that can be used, with its TLS handshake. ``head``: from the end of the request to the
    head of its answer. ``idle``: without a byte of a body in either direction, while there is one to be moved; an
    answer that waits for its client is not idle, since the listener watches that. ``total``: for everything, from the
    first attempt to the last byte.
    """

    connect: float | None = 10.0
    head: float | None = None
    idle: float | None = None
    total: float | None = None

    @property
    def watched(self) -> bool:
        """Whether anything but the connection is limited."""
        return self.head is not None or self.idle is not None or self.total is not None

    @classmethod
    def of(cls, extension: Mapping[str, float | None]) -> "Timeouts":
        """From httpx2's request extension: its ``read`` is the longest that is waited for any piece of an answer."""
        read = extension.get("read")
        return cls(connect=extension.get("connect"), head=read, idle=read)


DEFAULT: Final = Timeouts()

_NEVER: Final = float("inf")


class Watch:
    """The limits of one exchange. One timer, which is moved only when it goes off."""

    __slots__ = ("_expired", "_limits", "_loop", "_since", "_timer", "_total", "answered", "blocked", "sent")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Timeouts,
        deadline: float | None,
        blocked: Callable[[], bool],
        expired: Callable[[GatewayError], None],
        *,
        sent: bool,
    ) -> None:
        """``deadline``: when the total is over, by the loop's clock; ``blocked``: whether a client is waited for."""
        self._loop = loop
        self._limits = limits
        self._total = _NEVER if deadline is None else deadline
        self.blocked = blocked
        self._expired = expired
        #: Whether the request is sent, and the answer's head has come.
        self.sent = sent
        self.answered = False
        #: When something was moved last.
        self._since = loop.time()
        self._timer: asyncio.TimerHandle | None = loop.call_at(self._next(), self._check)

    def moved(self) -> None:
        """A piece of either body has passed, or one of them has begun or ended."""
        self._since = self._loop.time()
        if self._timer is not None and self._timer.when() > self._next():
            self._timer.cancel()
            self._timer = self._loop.call_at(self._next(), self._check)

    def stop(self) -> None:
        """The exchange is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        del self._expired, self.blocked  # they lead back to here

    def _next(self) -> float:
        """When the first of the limits is reached, if nothing moves; a far look ahead where there is none."""
        limits = self._limits
        # Between request and answer nothing is to be moved: that is the head's own time.
        limit = limits.head if self.sent and not self.answered else limits.idle
        return min(self._total, _NEVER if limit is None else self._since + limit, self._loop.time() + 3600)

    def _check(self) -> None:
        now = self._loop.time()
        if now < self._total and self.blocked():
            self._since = now
        if now >= self._next():
            self._timer = None
            self._expired(UpstreamTimeout())
        else:
            self._timer = self._loop.call_at(self._next(), self._check)
