"""The exchange with an endpoint: one request there, one answer back, both as streams."""

from dataclasses import replace
from typing import Final
from weakref import WeakValueDictionary

import httpx2

from app.listeners.cycle import Cycle
from app.upstream.body import Body
from app.upstream.exchange import Exchange, Inform
from app.upstream.fields import Fields, forwarded
from app.upstream.how import HTTP1, HTTPS, How
from app.upstream.pool import Connection, Pool
from app.upstream.timeouts import DEFAULT, Timeouts
from middleware.errors import BadGateway, ConnectFailed, UpstreamTimeout

#: Methods whose request may be sent again when nothing was answered (RFC 9110 §9.2.2).
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})


class UpstreamTransport(httpx2.AsyncBaseTransport):
    """An httpx2 transport over asyncio protocols: HTTP/1.1 and HTTP/2, in clear and in TLS, a pool for each endpoint.

    The proxy calls :meth:`exchange`, which costs no httpx2 objects; to httpx2's clients it is a transport like any
    other. Of the request extensions it understands ``pool`` (from :meth:`pool`, in place of the URL's host), ``target``
    (bytes, sent as they are), ``fields`` (the header fields to send, names in lower case, in place of
    ``request.headers``), ``timeout``, and ``limits``, which are :class:`~app.upstream.timeouts.Timeouts`, in its place.
    A response has ``fields`` in its extensions, and its ``stream`` is an :class:`~app.upstream.exchange.Exchange`.

    A request whose reused connection turns out to be closed is sent again on another, if nothing was answered, it has
    no body and its method may be repeated. So is, once, any whose body was not begun where the endpoint says that it
    did not work on it. Where a new connection ends so, the error says that it is retryable: this endpoint is in
    trouble, and another may not be.
    """

    def __init__(self) -> None:
        # A pool lives as long as an endpoint or a connection of its own holds it.
        self._pools: WeakValueDictionary[tuple[str, int, How], Pool] = WeakValueDictionary()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """:meth:`exchange` in httpx2's terms, with the same errors."""
        extensions = request.extensions
        url = request.url
        how = HTTPS if url.scheme == "https" else HTTP1
        pool: Pool = extensions.get("pool") or self.pool(url.host, url.port or how.port, how)
        given: Fields | None = extensions.get("fields")
        if given is None:
            given = [(name.lower(), value) for name, value in request.headers.raw]
        fields, length, waits = forwarded(given)
        stream = request.stream
        body = Body(stream, length, waits) if length != 0 and isinstance(stream, httpx2.AsyncByteStream) else None
        target: bytes = extensions.get("target") or url.raw_path
        limits: Timeouts | None = extensions.get("limits")
        if limits is None:
            timeout = extensions.get("timeout")
            limits = Timeouts.of(timeout) if timeout else DEFAULT
        exchange = await self.exchange(pool, request.method, target, fields, body, limits)
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
        inform: Inform | None = None,
        upgrade: bool = False,
    ) -> Exchange:
        """Send a request and wait for the head of its answer, or, where that goes to ``cycle``, for all of it.

        ``fields`` have names in lower case and none of a connection but TE, as :func:`~app.upstream.fields.forwarded`
        gives them. ``inform`` gets interim responses, where ``cycle`` does not. ``upgrade``: they ask for another
        protocol, for which HTTP/1.1 is spoken whatever the endpoint speaks otherwise, and after a 101 the exchange can
        be detached from its connection. Raises ConnectFailed before anything was sent, UpstreamTimeout, or BadGateway
        for no or a bad answer.
        """
        if upgrade and pool.how.http2:
            pool = self.pool(pool.host, pool.port, replace(pool.how, http2=False))
        deadline = None if timeouts.total is None else pool.loop.time() + timeouts.total
        again = False
        while True:
            connection = pool.take() or await self._connect(pool, timeouts.connect, deadline)
            exchange = connection.start(method, target, fields, body, cycle, upgrade=upgrade)
            if timeouts.watched:
                exchange.watch(timeouts, deadline)
            try:
                await (exchange.head(inform) if cycle is None else exchange.end())
                return exchange
            except BadGateway as error:
                if exchange.refused:
                    if body is not None and body.begun:
                        raise
                elif body is not None or method not in IDEMPOTENT or not exchange.unanswered:
                    raise
                if again or not connection.used:
                    error.retryable = True
                    raise
                again = exchange.refused
            except BaseException:
                exchange.close()
                raise

    async def _connect(self, pool: Pool, timeout: float | None, deadline: float | None) -> Connection:
        if deadline is None:
            return await pool.connect(timeout)
        left = deadline - pool.loop.time()
        try:
            return await pool.connect(left if timeout is None else min(left, timeout))
        except ConnectFailed as error:
            if pool.loop.time() < deadline:
                raise
            raise UpstreamTimeout(detail=error.detail) from error

    def pool(self, host: str, port: int, how: How = HTTP1) -> Pool:
        """The pool of an endpoint that is reached as ``how`` says."""
        key = host, port, how
        found = self._pools.get(key)
        if found is None:
            found = self._pools[key] = Pool(host, port, how)
        return found

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in list(self._pools.values()):
            pool.close()
