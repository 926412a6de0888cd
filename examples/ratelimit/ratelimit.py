"""A limit of requests for each key: an ASGI middleware, as any other is.

It counts within one process. Where several serve the same route, each lets its own number through.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

#: Keys that are remembered. Of more the one that was not heard of for longest is forgotten, and starts anew.
MAX_KEYS = 10_000


class RateLimit:
    """Lets ``requests_per_second`` pass for each key, and up to ``burst`` at once (a token bucket); the rest gets 429.

    The key is the value of ``header``, or where none is given the address of the client. Raises ValueError for numbers
    that would let nothing pass.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        requests_per_second: float,
        burst: int = 1,
        header: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if requests_per_second <= 0 or burst < 1:
            raise ValueError("requestsPerSecond must be more than 0 and burst at least 1")
        self.app = app
        self._rate = requests_per_second
        self._burst = burst
        self._header = header.lower().encode()
        self._clock = clock
        # For each key what was left when it was last heard of, and when that was.
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wait = self._take(self._key(scope))
        if not wait:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # which servers answer with 403
        else:
            body = b"429 Too Many Requests\n"
            headers = [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(body)),
                (b"retry-after", b"%d" % math.ceil(wait)),
            ]
            await send({"type": "http.response.start", "status": 429, "headers": headers})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _key(self, scope: Scope) -> bytes:
        if self._header:
            return next((value for name, value in scope["headers"] if name == self._header), b"")
        client = scope.get("client")
        return client[0].encode() if client else b""

    def _take(self, key: bytes) -> float:
        """Take one from the bucket of ``key``. Answers the seconds until there would be one, 0 where there was."""
        now = self._clock()
        left, then = self._buckets.pop(key, (float(self._burst), now))
        left = min(self._burst, left + (now - then) * self._rate)
        wait = 0.0 if left >= 1 else (1 - left) / self._rate
        self._buckets[key] = (left if wait else left - 1), now
        if len(self._buckets) > MAX_KEYS:
            self._buckets.popitem(last=False)
        return wait
