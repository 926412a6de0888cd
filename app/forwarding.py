"""One request on its way to an endpoint, and the answer on its way back."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Container
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from app.listeners.cycle import Cycle
from app.upstream.body import Body
from app.upstream.exchange import Exchange
from app.upstream.fields import TE_TRAILERS, Fields, end_to_end, forwarded, trailing
from app.upstream.health import Endpoint
from app.upstream.timeouts import Timeouts
from app.upstream.transport import UpstreamTransport
from middleware.answer import CYCLE
from middleware.errors import ClientDisconnected
from middleware.record import RequestRecord
from middleware.scope import DECIDED, TARGET_PATH, TRACE
from middleware.tracing import Attempt, Trace

#: Bytes of a request's body that are kept to be sent again. Of a longer one nothing is: it has one attempt.
MAX_KEPT: Final = 64 * 1024

#: ASGI's extensions for what is before and behind an answer.
_EARLY_HINT: Final = "http.response.early_hint"
_TRAILERS: Final = "http.response.trailers"


def target_of(scope: Scope) -> bytes:
    """The request target for the backend."""
    path: bytes = scope[TARGET_PATH]
    query: bytes = scope["query_string"]
    return b"%b?%b" % (path, query) if query else path


class Forwarding:
    """One request, which may be sent again until its answer has begun.

    ``keeps``: the beginning of its body is kept for that. ``adds`` gives fields that the answer of an endpoint gets.
    """

    __slots__ = (
        "_adds", "_cycle", "_direct", "_first", "_kept", "_receive", "_record", "_scope", "_send", "_size", "_started",
        "_taken", "_task", "_unframed", "_watcher", "answered", "gone", "whole",
    )  # fmt: skip

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        record: RequestRecord,
        *,
        keeps: bool = False,
        adds: Callable[[Endpoint], Fields] | None = None,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._record = record
        self._adds = adds
        #: Whether the whole answer has been sent, and whether the client left before.
        self.answered = self.gone = False
        self._watcher: asyncio.Task[None] | None = None
        # The body: a message that was received to see whether there is one, and what that came to; whether anything was
        # taken, and all of it; and what was taken, None where that is not kept
        self._first: Message | None = None
        self._unframed: bool | None = None
        self._taken = self.whole = False
        self._kept: list[bytes] | None = [] if keeps else None
        self._size = 0
        # Our own server connection tells when its client leaves; on others a task has to listen for it.
        cycle: Cycle | None = scope.get(CYCLE)
        self._cycle = cycle
        # Where nobody listens to what is sent, the answer need not come by here.
        self._direct: Cycle | None = None
        self._started = False
        self._task: asyncio.Task[None] | None = None
        if cycle is None:
            self._task = asyncio.current_task()
        else:
            cycle.on_disconnect = self._leave
            if adds is None and send == cycle.send:
                self._direct = cycle

    @property
    def started(self) -> bool:
        """Whether the client has got a part of the answer."""
        return self._started or (self._direct is not None and self._direct.started)

    @property
    def repeatable(self) -> bool:
        """Whether all that was sent can be sent again."""
        return not self._taken or self._kept is not None

    async def run(
        self, transport: UpstreamTransport, endpoint: Endpoint, timeouts: Timeouts, retried: Container[int] = ()
    ) -> bool:
        """Forward the request to ``endpoint`` and its answer to the client. ConnectFailed: nothing was sent yet.

        Answers False where the status is one of ``retried`` and the request can be sent again: then the client has got
        nothing. What is still to come of such an answer is not read: its connection is closed.
        """
        if self._cycle is not None and self._cycle.disconnected:
            raise ClientDisconnected  # before anybody listened for it
        started = time.perf_counter_ns()
        scope = self._scope
        fields, length, waits = forwarded(scope["headers"])
        if length == 0 and scope["http_version"][:1] != "1" and await self._is_unframed(fields, waits):
            length = None
        body: Body | None = None
        if length == 0:
            self.whole = True
            self._watch()
        else:
            body = Body(self._body(), length, waits, self._trailers)
        target = target_of(scope)
        direct = None if retried else self._direct
        inform = None
        if direct is None and _EARLY_HINT in (scope.get("extensions") or ()):
            inform = self._hint
        attempt: Attempt | None = None
        trace: Trace | None = scope.get(TRACE)
        if trace is not None:
            secured = endpoint.pool.how.tls is not None
            attempt = trace.attempt(scope["method"], target, self._record, secured=secured)
            fields = attempt.carried(fields)
        status = 0
        try:
            exchange = await transport.exchange(
                endpoint.pool, scope["method"], target, fields, body, timeouts, direct, inform=inform
            )
            status = exchange.status
            endpoint.duration_ns += exchange.answered_at - started
            self._record.ejections += endpoint.answered(status)
            self._record.origin_status = exchange.status
            self._record.origin_fields = exchange.fields
            self._record.origin_duration_ns = exchange.answered_at - started
            if direct is None:
                if exchange.status in retried and self.repeatable:
                    exchange.close()
                    return False
                takes_trailers = TE_TRAILERS in fields or scope["http_version"][:1] != "1"
                extensions = scope.get("extensions") or ()
                await self._answer(exchange, endpoint, trailers=takes_trailers and _TRAILERS in extensions)
        except asyncio.CancelledError:
            if self.gone:
                raise ClientDisconnected from None
            raise
        finally:
            if self._watcher is not None:
                self._watcher.cancel()
                self._watcher = None
            if attempt is not None:
                attempt.end(status, sys.exception())
        return True

    async def _is_unframed(self, fields: Fields, waits: bool) -> bool:
        """Whether a request over HTTP/2 or 3, whose frames say where its body ends, has one without a length."""
        if self._unframed is None:
            self._unframed = await self._finds_body(fields, waits)
        return self._unframed

    async def _finds_body(self, fields: Fields, waits: bool) -> bool:
        if any(name == b"content-length" for name, _ in fields):
            return False
        if self._cycle is not None:
            return not self._cycle.request_complete
        if waits:
            return True
        self._first = first = await self._receive()
        return first["type"] == "http.disconnect" or bool(first.get("body") or first.get("more_body"))

    async def _body(self) -> AsyncIterator[bytes]:
        if self._kept:
            yield b"".join(self._kept)
        while not self.whole:
            message, self._first = self._first, None
            if message is None:
                message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            self._taken = True
            self.whole = not message.get("more_body", False)
            if data := message.get("body"):
                self._keep(data)
                yield data
        self._watch()

    def _keep(self, data: bytes) -> None:
        """Note what is sent, as long as it is not too much."""
        if self._kept is not None:
            self._size += len(data)
            if self._size > MAX_KEPT:
                self._kept = None
            else:
                self._kept.append(data)

    def _trailers(self) -> Fields:
        """What came behind the request's body, of which ASGI tells nothing."""
        if self._cycle is None or not self._cycle.trailers:
            return []
        decided: frozenset[bytes] = self._scope.get(DECIDED) or frozenset()
        return [field for field in trailing(self._cycle.trailers) if field[0].replace(b"_", b"-") not in decided]

    async def _hint(self, status: int, fields: Fields) -> None:
        """Pass on an interim response, as far as ASGI has a message for it."""
        links = [value for name, value in fields if name == b"link"]
        if status == 103 and links:
            await self._send({"type": _EARLY_HINT, "links": links})

    def _watch(self) -> None:
        """From now on nothing more is to come from the client: if something does, it is that it left."""
        if self._watcher is None and self._cycle is None:
            self._watcher = asyncio.create_task(self._leave_when_gone())

    async def _leave_when_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        """The client is gone: nobody waits for the backend any more. Servers say so too when the answer is complete."""
        task = self._task if self._cycle is None else self._cycle.task
        if task is not None and not self.answered:
            self.gone = True
            task.cancel()

    async def _answer(self, exchange: Exchange, endpoint: Endpoint, *, trailers: bool) -> None:
        try:
            headers = end_to_end(exchange.fields)
            if self._adds is not None:
                headers += self._adds(endpoint)
            start: Message = {"type": "http.response.start", "status": exchange.status, "headers": headers}
            if trailers:
                start["trailers"] = True
                headers += (field for field in exchange.fields if field[0] == b"trailer")
            self._started = True
            await self._send(start)
            if not exchange.ready:
                # A server may hold the head back until a piece of the body comes, which here may take long.
                await self._send({"type": "http.response.body", "body": b"", "more_body": True})
            more = True
            while more:
                data, more = await exchange.take()
                self.answered = not more and not trailers
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
            if trailers:
                self.answered = True
                await self._send({"type": _TRAILERS, "headers": exchange.trailers, "more_trailers": False})
        finally:
            exchange.close()
