"""The ASGI end of a rule: pick a backend, pick an endpoint, stream the request there and the answer back."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from app.direct import Direct
from app.listeners.cycle import Cycle
from app.upstream.balancer import WeightedSelector, least_loaded
from app.upstream.body import Body
from app.upstream.endpoints import Endpoints
from app.upstream.exchange import Exchange
from app.upstream.fields import TE_TRAILERS, Fields, end_to_end, forwarded, trailing
from app.upstream.health import Endpoint
from app.upstream.how import H2C, HTTP1
from app.upstream.timeouts import DEFAULT, Timeouts
from app.upstream.transport import UpstreamTransport
from app.websocket.forwarding import WebSocketForwarding
from middleware.accesslog import AccessLogMiddleware
from middleware.answer import CYCLE
from middleware.errors import (
    BadGateway,
    BadRequest,
    ClientDisconnected,
    ConnectFailed,
    NoReadyEndpoint,
    NoValidBackend,
    UpstreamTimeout,
)
from middleware.record import RequestRecord, record_of
from middleware.scope import TARGET_PATH as TARGET_PATH
from routes.graph.nodes import Address, BackendProtocol
from routes.table.types import Backend, Rule

#: How many endpoints are tried where one cannot be reached, or ends a request that may be repeated without an answer.
ATTEMPTS = 3

#: Where there is another endpoint, one that cannot be reached is left sooner.
PATIENCE: Final = DEFAULT
HURRY: Final = replace(DEFAULT, connect=2.0)

#: How backends are spoken to.
_HOW: Final = {BackendProtocol.HTTP: HTTP1, BackendProtocol.H2C: H2C}

#: ASGI's extensions for what is before and behind an answer.
_EARLY_HINT: Final = "http.response.early_hint"
_TRAILERS: Final = "http.response.trailers"

#: Where a request that could not be forwarded on the spot keeps who chose what for it: a proxy, backend and endpoint.
CHOICE = "moongate.choice"


@dataclass(frozen=True, slots=True)
class Upstream:
    """What all rules share on their way to the backends."""

    transport: UpstreamTransport
    endpoints: Endpoints


class RuleProxy:
    """Serves one rule, for as long as the rule stays the same: a change elsewhere resets no round robin.

    ``before`` served it until it changed, and hands on what it knows of the endpoints.
    """

    def __init__(self, rule: Rule, upstream: Upstream, before: "RuleProxy | None" = None) -> None:
        self.rule = rule
        self._name = rule.name
        self._upstream = upstream
        self._selector = WeightedSelector(rule.backends)
        # The endpoints of each backend at its last addresses: holding them keeps what is known of them.
        self._known: dict[str, tuple[tuple[Address, ...], tuple[Endpoint, ...]]] = {}
        if before is not None:
            spoken = {(backend.name, backend.protocol) for backend in before.rule.backends}
            names = {backend.name for backend in rule.backends if (backend.name, backend.protocol) in spoken}
            self._known = {name: known for name, known in before._known.copy().items() if name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an ``http`` or ``websocket`` scope.

        Raises a GatewayError; before the response began it can still be answered.
        """
        record = record_of(scope) or RequestRecord()
        record.route = self._name
        if self.rule.invalid:
            raise NoValidBackend(detail=self.rule.invalid)
        chosen: Endpoint | None = None
        choice = scope.pop(CHOICE, None)
        if choice is not None and choice[0] is self:
            _, backend, chosen = choice
        else:
            backend = self._selector.pick()
        if backend is None:
            raise NoValidBackend(detail="no backend with a weight")
        record.backend = backend.name
        if backend.invalid:
            raise NoValidBackend(detail=backend.invalid)
        forwarding: _Forwarding | WebSocketForwarding
        if scope["type"] == "http":
            forwarding = _Forwarding(scope, receive, send, record)
        else:
            forwarding = WebSocketForwarding(scope, target_of(scope), receive, send, record)
        upstream = self._upstream
        addresses = backend.addresses if backend.dns is None else await upstream.endpoints.resolve(backend.dns)
        endpoints = self._endpoints(backend, addresses)
        if not endpoints:
            raise NoReadyEndpoint(detail=backend.name)
        for attempt in range(1, ATTEMPTS + 1):
            endpoint = chosen if chosen is not None and attempt == 1 else least_loaded(endpoints)
            record.endpoint = endpoint.name
            endpoint.in_flight += 1
            try:
                await forwarding.run(upstream.transport, endpoint, HURRY if len(endpoints) > 1 else PATIENCE)
            except BadGateway as error:
                if isinstance(error, ConnectFailed):
                    endpoint.unreachable()
                else:
                    endpoint.failed()
                endpoints = tuple(other for other in endpoints if other is not endpoint)
                if not error.retryable or not endpoints or attempt == ATTEMPTS:
                    raise
                record.retries += 1
            except UpstreamTimeout:
                endpoint.failed()
                raise
            else:
                return
            finally:
                endpoint.in_flight -= 1

    def at_once(self, cycle: Cycle, fields: Fields, log: AccessLogMiddleware | None) -> bool:
        """Forward a request without a body on the spot, if there is a connection for it; see :mod:`app.direct`.

        ``fields`` are what the client sent and what the gateway says. The choice that was made in vain stands.
        """
        scope = cycle.scope
        backend = self._selector.pick() if not self.rule.invalid else None
        if backend is None:
            return False
        endpoint: Endpoint | None = None
        if not backend.invalid:
            upstream = self._upstream
            addresses = backend.addresses if backend.dns is None else upstream.endpoints.resolved(backend.dns)
            endpoints = self._endpoints(backend, addresses) if addresses else ()
            if endpoints:
                endpoint = least_loaded(endpoints)
                connection = endpoint.pool.take()
                if connection is not None:
                    direct = Direct(cycle, endpoint, log)
                    try:
                        direct.start(connection, target_of(scope), forwarded(fields)[0], self._name, backend.name)
                    except BadRequest:
                        pass  # is raised once more where it is answered
                    else:
                        return True
        scope[CHOICE] = self, backend, endpoint
        return False

    def _endpoints(self, backend: Backend, addresses: tuple[Address, ...]) -> tuple[Endpoint, ...]:
        known = self._known.get(backend.name)
        if known is None or known[0] is not addresses:
            endpoints = self._upstream.endpoints.at(addresses, _HOW[backend.protocol], joining=known is not None)
            known = self._known[backend.name] = (addresses, endpoints)
        return known[1]


def target_of(scope: Scope) -> bytes:
    """The request target for the backend."""
    path: bytes = scope[TARGET_PATH]
    query: bytes = scope["query_string"]
    return b"%b?%b" % (path, query) if query else path


class _Forwarding:
    """One request on its way there and back."""

    __slots__ = (
        "_answered", "_cycle", "_direct", "_first", "_gone", "_receive", "_record", "_scope", "_send", "_task",
        "_watcher",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send, record: RequestRecord) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._record = record
        self._answered = self._gone = False
        self._watcher: asyncio.Task[None] | None = None
        #: A message of the request that was received to see whether there is a body.
        self._first: Message | None = None
        # Our own server connection tells when its client leaves; on others a task has to listen for it.
        cycle: Cycle | None = scope.get(CYCLE)
        self._cycle = cycle
        # Where nobody listens to what is sent, the answer need not come by here.
        self._direct: Cycle | None = None
        self._task: asyncio.Task[None] | None = None
        if cycle is None:
            self._task = asyncio.current_task()
        else:
            cycle.on_disconnect = self._leave
            if send == cycle.send:
                self._direct = cycle

    async def run(self, transport: UpstreamTransport, endpoint: Endpoint, timeouts: Timeouts) -> None:
        """Forward the request to ``endpoint`` and its answer to the client. ConnectFailed: nothing was sent yet."""
        started = time.perf_counter_ns()
        scope = self._scope
        fields, length, waits = forwarded(scope["headers"])
        if length == 0 and scope["http_version"][:1] != "1" and await self._is_unframed(fields, waits):
            length = None
        body: Body | None = None
        if length == 0:
            self._watch()
        else:
            body = Body(self._body(), length, waits, self._trailers)
        target = target_of(scope)
        inform = None
        if self._direct is None and _EARLY_HINT in (scope.get("extensions") or ()):
            inform = self._hint
        try:
            exchange = await transport.exchange(
                endpoint.pool, scope["method"], target, fields, body, timeouts, self._direct, inform=inform
            )
            endpoint.answered(exchange.status)
            self._record.origin_status = exchange.status
            self._record.origin_duration_ns = exchange.answered_at - started
            if self._direct is None:
                takes_trailers = TE_TRAILERS in fields or scope["http_version"][:1] != "1"
                await self._answer(exchange, trailers=takes_trailers and _TRAILERS in (scope.get("extensions") or ()))
        except asyncio.CancelledError:
            if self._gone:
                raise ClientDisconnected from None
            raise
        finally:
            if self._watcher is not None:
                self._watcher.cancel()
                self._watcher = None

    async def _is_unframed(self, fields: Fields, waits: bool) -> bool:
        """Whether a request over HTTP/2 or 3, whose frames say where its body ends, has one without a length."""
        if any(name == b"content-length" for name, _ in fields):
            return False
        if self._cycle is not None:
            return not self._cycle.request_complete
        if waits:
            return True
        if self._first is None:
            self._first = await self._receive()
        return self._first["type"] == "http.disconnect" or bool(self._first.get("body") or self._first.get("more_body"))

    async def _body(self) -> AsyncIterator[bytes]:
        while True:
            message, self._first = self._first, None
            if message is None:
                message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body", False):
                self._watch()
                return

    def _trailers(self) -> Fields:
        """What came behind the request's body, of which ASGI tells nothing."""
        return [] if self._cycle is None else trailing(self._cycle.trailers)

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
        if task is not None and not self._answered:
            self._gone = True
            task.cancel()

    async def _answer(self, exchange: Exchange, *, trailers: bool) -> None:
        try:
            headers = end_to_end(exchange.fields)
            start: Message = {"type": "http.response.start", "status": exchange.status, "headers": headers}
            if trailers:
                start["trailers"] = True
                headers += (field for field in exchange.fields if field[0] == b"trailer")
            await self._send(start)
            if not exchange.ready:
                # A server may hold the head back until a piece of the body comes, which here may take long.
                await self._send({"type": "http.response.body", "body": b"", "more_body": True})
            more = True
            while more:
                data, more = await exchange.take()
                self._answered = not more and not trailers
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
            if trailers:
                self._answered = True
                await self._send({"type": _TRAILERS, "headers": exchange.trailers, "more_trailers": False})
        finally:
            exchange.close()
