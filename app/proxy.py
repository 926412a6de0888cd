"""The ASGI end of a rule: pick a backend, pick an endpoint, stream the request there and the answer back."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
from starlette.types import Receive, Scope, Send

from app.upstream.balancer import Endpoint, WeightedSelector, least_loaded
from app.upstream.endpoints import Endpoints
from app.upstream.fields import end_to_end, has_body, is_chunked
from app.upstream.transport import TIMEOUT, mapped_errors
from middleware.errors import ClientDisconnected, ConnectFailed, NoReadyEndpoint, NoValidBackend
from middleware.record import RequestRecord, record_of
from routes.graph.nodes import Address
from routes.table.types import Backend, Rule

#: How many endpoints are tried when connections fail; nothing of the request has been sent until one succeeds.
CONNECT_ATTEMPTS = 3

#: Where the application leaves the path below its mount, still encoded, for the rule that it found.
TARGET_PATH = "moongate.path"


@dataclass(frozen=True, slots=True)
class Upstream:
    """What all rules share on their way to the backends."""

    transport: httpx2.AsyncBaseTransport
    endpoints: Endpoints


class RuleProxy:
    """Serves one rule, for as long as the rule stays the same: a change elsewhere resets no round robin."""

    def __init__(self, rule: Rule, upstream: Upstream) -> None:
        self.rule = rule
        self._upstream = upstream
        self._selector = WeightedSelector(rule.backends)
        # The endpoints of each backend at its last addresses: holding them keeps what is known of them.
        self._known: dict[str, tuple[tuple[Address, ...], tuple[Endpoint, ...]]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an ``http`` scope. Raises a GatewayError; before the response began it can still be answered."""
        record = record_of(scope) or RequestRecord()
        record.route = self.rule.name
        if self.rule.invalid:
            raise NoValidBackend(detail=self.rule.invalid)
        backend = self._selector.pick()
        if backend is None:
            raise NoValidBackend(detail="no backend with a weight")
        record.backend = backend.name
        if backend.invalid:
            raise NoValidBackend(detail=backend.invalid)
        exchange = _Exchange(scope, receive, send, record)
        endpoints = await self._endpoints(backend)
        for attempt in range(CONNECT_ATTEMPTS):
            if not endpoints:
                raise NoReadyEndpoint(detail=backend.name)
            endpoint = least_loaded(endpoints)
            record.endpoint = str(endpoint.address)
            endpoint.in_flight += 1
            try:
                await exchange.run(self._upstream.transport, endpoint.url)
            except ConnectFailed:
                endpoints = tuple(other for other in endpoints if other is not endpoint)
                if not endpoints or attempt + 1 == CONNECT_ATTEMPTS:
                    raise
                record.retries += 1
            else:
                return
            finally:
                endpoint.in_flight -= 1

    async def _endpoints(self, backend: Backend) -> tuple[Endpoint, ...]:
        addresses = await self._upstream.endpoints.of(backend)
        known = self._known.get(backend.name)
        if known is None or known[0] is not addresses:
            known = self._known[backend.name] = (addresses, self._upstream.endpoints.at(addresses))
        return known[1]


class _Exchange:
    """One request and its answer."""

    __slots__ = ("_answered", "_fields", "_receive", "_record", "_scope", "_send", "_task", "_watcher")

    def __init__(self, scope: Scope, receive: Receive, send: Send, record: RequestRecord) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._record = record
        self._fields: list[tuple[bytes, bytes]] = list(scope["headers"])
        self._answered = False
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None

    async def run(self, transport: httpx2.AsyncBaseTransport, url: str) -> None:
        """Forward the request to ``url`` and its answer to the client. ConnectFailed: nothing was sent yet."""
        started = time.perf_counter_ns()
        request = self._request(url)
        try:
            with mapped_errors():
                response = await transport.handle_async_request(request)
            self._record.origin_status = response.status_code
            self._record.origin_duration_ns = time.perf_counter_ns() - started
            await self._answer(response)
        except asyncio.CancelledError:
            if self._watcher is not None and self._watcher.done():
                raise ClientDisconnected from None
            raise
        finally:
            if self._watcher is not None:
                self._watcher.cancel()
                self._watcher = None

    def _request(self, url: str) -> httpx2.Request:
        scope = self._scope
        fields = end_to_end(self._fields)
        stream: httpx2.AsyncByteStream
        if has_body(self._fields):
            if is_chunked(self._fields):
                fields.append((b"transfer-encoding", b"chunked"))
            stream = _Body(self._body())
        else:
            stream = httpx2.ByteStream(b"")
            self._watch()
        target: bytes = scope[TARGET_PATH]
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        return httpx2.Request(
            scope["method"],
            url,
            headers=fields,
            stream=stream,
            extensions={"target": target, "timeout": TIMEOUT},
        )

    async def _body(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body", False):
                self._watch()
                return

    def _watch(self) -> None:
        """From now on nothing more is to come from the client: if something does, it is that it left."""
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._cancel_when_gone())

    async def _cancel_when_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        # Servers say "disconnect" as well when the answer is complete.
        if self._task is not None and not self._answered:
            self._task.cancel()

    async def _answer(self, response: httpx2.Response) -> None:
        stream = response.stream
        assert isinstance(stream, httpx2.AsyncByteStream)
        try:
            headers = [(name.lower(), value) for name, value in response.headers.raw]
            await self._send(
                {"type": "http.response.start", "status": response.status_code, "headers": end_to_end(headers)}
            )
            with mapped_errors():
                async for chunk in stream:
                    await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            await stream.aclose()
        self._answered = True
        await self._send({"type": "http.response.body", "body": b""})


class _Body(httpx2.AsyncByteStream):
    """A request's body, as it comes."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks
