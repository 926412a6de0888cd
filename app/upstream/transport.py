"""The exchange with an endpoint: one request there, one answer back, both as streams."""

from collections.abc import Mapping
from typing import Final
from weakref import WeakValueDictionary

import httpx2

from app.listeners.cycle import Cycle
from app.upstream.body import Body
from app.upstream.exchange import Exchange
from app.upstream.fields import Fields, framing
from app.upstream.pool import Pool
from middleware.errors import BadGateway

#: Seconds. An answer may take as long as it likes; a connection may not.
CONNECT_TIMEOUT: Final = 10.0

#: Methods whose request may be sent again when nothing was answered (RFC 9110 §9.2.2).
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})

#: As httpx2's extension has them, in seconds: ``connect``, and ``read``, the time to the response's head.
Timeouts = Mapping[str, float | None]
TIMEOUTS: Final[Timeouts] = {"connect": CONNECT_TIMEOUT}


class UpstreamTransport(httpx2.AsyncBaseTransport):
    """An httpx2 transport over asyncio protocols: HTTP/1.1, a pool for each endpoint, streams both ways.

    The proxy calls :meth:`exchange`, which costs no httpx2 objects; to httpx2's clients it is a transport like any
    other. Of the request extensions it understands ``pool`` (from :meth:`pool`, in place of the URL's host), ``target``
    (bytes, sent as they are), ``fields`` (the header fields to send, names in lower case, in place of
    ``request.headers``) and ``timeout``. A response has ``fields`` in its extensions, and its ``stream`` is an
    :class:`~app.upstream.exchange.Exchange`.

    A request whose reused connection turns out to be closed is sent again on another, if nothing was answered, it has
    no body and its method may be repeated. Where a new connection ends so, the error says that it is retryable: this
    endpoint is in trouble, and another may not be.
    """

    def __init__(self) -> None:
        # A pool lives as long as an endpoint or a connection of its own holds it.
        self._pools: WeakValueDictionary[tuple[str, int], Pool] = WeakValueDictionary()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """:meth:`exchange` in httpx2's terms, with the same errors."""
        extensions = request.extensions
        pool: Pool = extensions.get("pool") or self.pool(request.url.host, request.url.port or 80)
        fields: Fields | None = extensions.get("fields")
        if fields is None:
            fields = [(name.lower(), value) for name, value in request.headers.raw]
        length, waits = framing(fields)
        stream = request.stream
        body = Body(stream, length, waits) if length != 0 and isinstance(stream, httpx2.AsyncByteStream) else None
        target: bytes = extensions.get("target") or request.url.raw_path
        exchange = await self.exchange(
            pool, request.method, target, fields, body, extensions.get("timeout") or TIMEOUTS
        )
        return httpx2.Response(exchange.status, stream=exchange, extensions={"fields": exchange.fields})

    async def exchange(
        self,
        pool: Pool,
        method: str,
        target: bytes,
        fields: Fields,
        body: Body | None,
        timeouts: Timeouts,
        cycle: Cycle | None = None,
        *,
        upgrade: bool = False,
    ) -> Exchange:
        """Send a request and wait for the head of its answer, or, where that goes to ``cycle``, for all of it.

        ``fields`` have names in lower case and say how ``body`` is framed. ``upgrade``: they ask for another protocol,
        and after a 101 the exchange can be detached from its connection. Raises ConnectFailed before anything was sent,
        UpstreamTimeout, or BadGateway for no or a bad answer.
        """
        limit = timeouts.get("read")
        while True:
            connection = pool.take() or await pool.connect(timeouts.get("connect"))
            exchange = connection.start(method, target, fields, body, cycle, upgrade=upgrade)
            if limit is not None:
                exchange.expire(limit)
            try:
                await (exchange.head() if cycle is None else exchange.end())
                return exchange
            except BadGateway as error:
                if body is not None or method not in IDEMPOTENT or not exchange.unanswered:
                    raise
                if not connection.used:
                    error.retryable = True
                    raise
            except BaseException:
                exchange.close()
                raise

    def pool(self, host: str, port: int) -> Pool:
        """The pool of an endpoint."""
        found = self._pools.get((host, port))
        if found is None:
            found = self._pools[host, port] = Pool(host, port)
        return found

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in list(self._pools.values()):
            pool.close()
