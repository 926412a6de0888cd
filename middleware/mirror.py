"""RequestMirror: a copy of a request for one more backend, of which the client learns nothing."""

import asyncio
import logging
import random
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.answer import CYCLE
from middleware.errors import GatewayError
from middleware.scope import detached
from routes.resources.filters import HTTPRequestMirrorFilter

logger = logging.getLogger(__name__)

#: Bytes of a body that wait for a mirror that is slower than the backend; with more of them it is given up.
MAX_BUFFERED: Final = 1024 * 1024
#: Bytes that wait for all copies of one filter together.
MAX_BUFFERED_TOGETHER: Final = 16 * 1024 * 1024
#: Copies of one filter under way; while there are as many no others are made.
MAX_COPIES: Final = 1024
#: Seconds that a mirror may take to answer after the request has come to its end.
LIFETIME: Final = 60.0

_EMPTY: Final[Message] = {"type": "http.request", "body": b"", "more_body": False}


class RequestMirrorMiddleware:
    """Sends a copy of the share of requests that ``config`` wants to ``mirror``, and all of them on.

    The copy is the request as it is here: what filters before this one did is in it. Each filter draws for itself. The
    request never waits for its copy. A body goes to both as it comes; a mirror that falls behind by more than
    :data:`MAX_BUFFERED` bytes is given up, and its request broken off. So it is where the client leaves, or the backend
    answers, before the body is complete. A copy whose body is complete goes on. What the mirror answers is read and
    thrown away. WebSockets are not mirrored.
    """

    def __init__(self, app: ASGIApp, *, mirror: ASGIApp, config: HTTPRequestMirrorFilter) -> None:
        self.app = app
        self._mirror = mirror
        fraction = config.fraction
        if fraction is not None:
            self._numerator, self._denominator = fraction.numerator, fraction.denominator
        else:
            self._numerator, self._denominator = (100 if config.percent is None else config.percent), 100
        # The mutable state: copies under way, and the bytes that wait for them.
        self._copies: set[asyncio.Task[None]] = set()
        self._buffered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._draws():
            await self.app(scope, receive, send)
            return
        copy = _Copy(self, scope, receive)
        if not _has_body(scope):
            copy.complete()
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, copy.tee, send)
        finally:
            copy.leave()

    def _draws(self) -> bool:
        if len(self._copies) >= MAX_COPIES:
            logger.debug("a mirror is behind by %d requests: one is not copied", MAX_COPIES)
            return False
        share = self._numerator
        return share >= self._denominator or random.randrange(self._denominator) < share  # noqa: S311


class _Copy:
    """One copy: what waits for the mirror, and the task that sends it."""

    def __init__(self, owner: RequestMirrorMiddleware, scope: Scope, receive: Receive) -> None:
        self._owner = owner
        self._receive = receive
        self._pieces: list[bytes] = []
        self._size = 0
        self._complete = False
        self._told = False
        self._waiter: asyncio.Future[None] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        scope = detached(scope)
        # Whether the client is asked for its body is between it and the backend.
        scope["headers"] = [field for field in scope["headers"] if field[0] != b"expect"]
        self._task = asyncio.create_task(self._run(owner._mirror, scope))
        owner._copies.add(self._task)
        self._task.add_done_callback(self._end)

    # On the request's side, where nothing waits

    async def tee(self) -> Message:
        """Receive for the request; the copy gets the same."""
        message = await self._receive()
        if message["type"] != "http.request":
            self.leave()
            return message
        if data := message.get("body"):
            self._put(data)
        if not message.get("more_body", False):
            self.complete()
        return message

    def complete(self) -> None:
        """The request has come to its end."""
        if not self._complete:
            self._complete = True
            if not self._task.done():
                self._expiry = self._task.get_loop().call_later(LIFETIME, self._task.cancel)
            self._wake()

    def leave(self) -> None:
        """Nothing more will come."""
        if not self._complete:
            self._task.cancel()

    def _put(self, data: bytes) -> None:
        owner = self._owner
        if self._complete or self._task.done():
            return
        if self._size + len(data) > MAX_BUFFERED or owner._buffered + len(data) > MAX_BUFFERED_TOGETHER:
            logger.debug("a mirror is too slow: its request is broken off")
            self._task.cancel()
            return
        self._pieces.append(data)
        self._size += len(data)
        owner._buffered += len(data)
        self._wake()

    # On the mirror's

    async def _run(self, mirror: ASGIApp, scope: Scope) -> None:
        try:
            await mirror(scope, self._next, _drop)
        except GatewayError as error:
            logger.debug("a mirror failed: %s", error)
        except Exception:
            logger.exception("a mirror failed")

    async def _next(self) -> Message:
        """Receive for the copy. It is never told that its client leaves: then its task is cancelled."""
        while not self._pieces and (self._told or not self._complete):
            self._waiter = self._task.get_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if not self._pieces:
            self._told = True
            return _EMPTY
        data = b"".join(self._pieces)
        self._clear()
        self._told = self._complete
        return {"type": "http.request", "body": data, "more_body": not self._complete}

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _clear(self) -> None:
        self._pieces.clear()
        self._owner._buffered -= self._size
        self._size = 0

    def _end(self, task: asyncio.Task[None]) -> None:
        self._clear()
        self._owner._copies.discard(task)
        if self._expiry is not None:
            self._expiry.cancel()


async def _drop(message: Message) -> None:
    pass


def _has_body(scope: Scope) -> bool:
    """Whether a body may come: in HTTP/1.1 fields say so, and our own server says it in the same words of HTTP/2."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return True
    return CYCLE not in scope and scope["http_version"][:1] != "1"
