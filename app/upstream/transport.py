"""The exchange with an endpoint: one request there, one answer back, both as streams."""

import asyncio
from typing import Any, Final
from weakref import WeakValueDictionary

import httpx2

from app.upstream.body import Body
from app.upstream.fields import Fields
from app.upstream.pool import Pool
from middleware.errors import BadGateway, BadRequest, UpstreamTimeout

#: Seconds. An answer may take as long as it likes; a connection may not.
CONNECT_TIMEOUT: Final = 10.0

#: Methods whose request may be sent again when nothing was answered (RFC 9110 §9.2.2).
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})

_TIMEOUTS: Final = {"connect": CONNECT_TIMEOUT}


class UpstreamTransport(httpx2.AsyncBaseTransport):
    """An httpx2 transport over asyncio protocols: HTTP/1.1, a pool for each endpoint, streams both ways.

    It understands these request extensions: ``pool`` (from :meth:`pool`, in place of the URL's host), ``target``
    (bytes, sent as they are), ``fields`` (the header fields to send, names in lower case, in place of
    ``request.headers``) and ``timeout`` (``connect``, and ``read``, the time to the response's head; in seconds, None
    for ever). A response has ``fields`` in its extensions, and its ``stream`` is an
    :class:`~app.upstream.http1.Exchange`.

    A request whose reused connection turns out to be closed is sent again on another, if nothing was answered, it has
    no body and its method may be repeated.
    """

    def __init__(self) -> None:
        # A pool lives as long as an endpoint or a connection of its own holds it.
        self._pools: WeakValueDictionary[tuple[str, int], Pool] = WeakValueDictionary()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises ConnectFailed before anything was sent, UpstreamTimeout, or BadGateway for no or a bad answer."""
        extensions = request.extensions
        pool: Pool = extensions.get("pool") or self.pool(request.url.host, request.url.port or 80)
        timeouts: dict[str, Any] = extensions.get("timeout") or _TIMEOUTS
        fields: Fields | None = extensions.get("fields")
        if fields is None:
            fields = [(name.lower(), value) for name, value in request.headers.raw]
        for name, _ in fields:
            if name == b"host":
                break
        else:
            # A client of HTTP/1.0 may have named none; HTTP/1.1 must (RFC 9112 §3.2).
            fields = [*fields, (b"host", request.url.netloc)]
        head = request_head(request.method, extensions.get("target") or request.url.raw_path, fields)
        body = Body.of(request.stream, fields)
        while True:
            connection = pool.take() or await pool.connect(timeouts.get("connect"))
            exchange = connection.start(request.method, head, body)
            try:
                limit = timeouts.get("read")
                if limit is None:
                    await exchange.head()
                else:
                    async with asyncio.timeout(limit):
                        await exchange.head()
                return httpx2.Response(exchange.status, stream=exchange, extensions={"fields": exchange.fields})
            except BadGateway:
                repeatable = body is None and request.method in IDEMPOTENT
                if not (repeatable and connection.used and exchange.unanswered):
                    raise
            except TimeoutError as error:
                await exchange.aclose()
                raise UpstreamTimeout from error
            except BaseException:
                await exchange.aclose()
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


def request_head(method: str, target: bytes, fields: Fields) -> bytes:
    """The bytes of a request's head. Raises BadRequest where a field or the target would break out of its line."""
    lines = [b"%b %b HTTP/1.1" % (method.encode(), target)]
    lines += [b"%b: %b" % field for field in fields]
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1 or b"\0" in head:
        raise BadRequest("a line break in a header field")
    return head
