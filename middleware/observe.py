"""Looks on while a request is served, and tells whoever wants to know how it went."""

import logging
import time
from collections.abc import Awaitable, Sequence
from itertools import count
from typing import Final, Protocol, runtime_checkable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.answer import Answer, answer_behind
from middleware.record import RECORD, RequestRecord

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST: Final = 499
"""Told, as nginx does, for a client that left before it was answered. It is never sent."""

MAX_REFUSED: Final = 512
"""Bytes of a target or a field that are told of what was no request."""

#: Of what was no request these fields alone are told.
_TOLD = frozenset({b"host", b"referer", b"user-agent"})


class Observer(Protocol):
    """Who wants to know of every request. What it raises is logged and costs no request anything."""

    def ended(self, observation: "Observation") -> None:
        """A request is over. Must not block."""


@runtime_checkable
class Beginner(Protocol):
    """An observer that wants to know of every request before anybody else does something with it."""

    def begun(self, observation: "Observation") -> None:
        """A request has come. As with :meth:`Observer.ended`."""


class ObserveMiddleware:
    """Tells ``observers`` of each request and each WebSocket when it is over, however it ended.

    Status and size are those handed to the server; of a WebSocket its messages count, or where they pass unseen its
    bytes. Without any answer the status is 499 where the client left, and 500 where it did not.
    """

    def __init__(self, app: ASGIApp, observers: Sequence[Observer]) -> None:
        self.app = app
        self.observers = tuple(observers)
        self._beginners = [each for each in observers if isinstance(each, Beginner)]
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        observation = self.begin(scope, receive, send)
        # The server's own connection knows how the answer went: then nobody has to listen.
        answer = answer_behind(scope, send) if scope["type"] == "http" else None
        try:
            if answer is not None:
                await self.app(scope, receive, send)
            else:
                await self.app(scope, observation.receive, observation.send)
        finally:
            self.end(observation, answer)

    def begin(self, scope: Scope, receive: Receive, send: Send) -> "Observation":
        """A request has come."""
        observation = Observation(scope, receive, send, next(self._numbers))
        for beginner in self._beginners:
            try:
                beginner.begun(observation)
            except Exception:
                logger.exception("%s failed", type(beginner).__name__)
        return observation

    def end(self, observation: "Observation", answer: Answer | None = None) -> None:
        """It is over, as ``answer`` tells or as was listened to."""
        observation.finish(answer)
        self._tell(observation)

    def refused(self, scope: Scope, status: int, flag: str) -> None:
        """Tell of what a server's connection answered with ``status``, since it was no request.

        ``scope`` holds what is known of it; of the texts, which may be anything, a part is told.
        """
        known = [(name, value[:MAX_REFUSED]) for name, value in scope["headers"] if name in _TOLD]
        scope = {
            **scope,
            "headers": known,
            "raw_path": scope["raw_path"][:MAX_REFUSED],
            RECORD: RequestRecord(flags=flag),
        }
        observation = self.begin(scope, _nothing, _nowhere)
        observation.status = status
        self._tell(observation)

    def _tell(self, observation: "Observation") -> None:
        for observer in self.observers:
            try:
                observer.ended(observation)
            except Exception:
                # What cannot be noted must not turn an answered request into a failed one.
                logger.exception("%s failed", type(observer).__name__)


async def _nothing() -> Message:
    raise RuntimeError("nothing is received of what was refused")


async def _nowhere(message: Message) -> None:
    raise RuntimeError("nothing is sent to what was refused")


class Observation:
    """One request: listens to what passes between the application and the server, and keeps the sums.

    ``started`` is when it came, in nanoseconds since 1970, and ``duration`` how many it took; ``number`` counts
    requests. ``record`` says who served it. ``fields`` are those of the answer's head. ``left``: the client did before
    the answer was complete.
    """

    __slots__ = (
        "_receive",
        "_send",
        "begun",
        "complete",
        "duration",
        "fields",
        "left",
        "number",
        "received",
        "record",
        "scope",
        "sent",
        "started",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, number: int) -> None:
        self.scope = scope
        self.record: RequestRecord = scope.setdefault(RECORD, RequestRecord())
        self.number = number
        # Sums
        self.status = 0
        self.fields: Sequence[tuple[bytes, bytes]] = ()
        self.sent = 0
        self.received = 0
        self.complete = False
        self.left = False
        # Times in nanoseconds: the wall clock says when, the monotonic one how long
        self.duration = 0
        self.started = time.time_ns()
        self.begun = time.perf_counter_ns()
        # The server's end
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        message = await self._receive()
        kind = message["type"]
        if kind == "http.request":
            self.received += len(message.get("body", b""))
        elif kind == "http.disconnect":
            self.left = not self.complete
        elif kind == "websocket.receive":
            self.received += _payload(message)
        elif kind == "websocket.disconnect":
            self.left = not self.complete and message.get("code", 1005) == 1006  # gone without a close frame
        return message

    def send(self, message: Message) -> Awaitable[None]:
        # Gives the server's own awaitable on: a coroutine of our own around it would cost more than the rest.
        kind = message["type"]
        if kind in ("http.response.body", "websocket.http.response.body"):
            if self.scope.get("method") != "HEAD":
                self.sent += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        elif kind in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            self.fields = message.get("headers", ())
        elif kind == "websocket.send":
            self.sent += _payload(message)
        elif kind == "websocket.accept":
            self.fields = message.get("headers", ())
            self.status = 101 if self.scope.get("http_version", "1.1") == "1.1" else 200  # RFC 8441, 4
        elif kind == "websocket.close":
            self.status = self.status or 403  # what the ASGI specification has a server answer
            self.complete = True
        return self._send(message)

    def finish(self, answer: Answer | None) -> None:
        if answer is not None:
            self.status, self.received, self.sent = answer.status, answer.received, answer.sent
            self.fields = answer.fields
            self.left = answer.disconnected and not answer.complete
        self.duration = time.perf_counter_ns() - self.begun
        self.received += self.record.tunnel_received
        self.sent += self.record.tunnel_sent
        if self.left:
            self.record.add_flag("DC")
        if not self.status:
            self.status = CLIENT_CLOSED_REQUEST if "DC" in self.record.flags else 500


def _payload(message: Message) -> int:
    """The size of a WebSocket message in bytes."""
    if data := message.get("bytes"):
        return len(data)
    return len((message.get("text") or "").encode("utf-8", "surrogatepass"))
