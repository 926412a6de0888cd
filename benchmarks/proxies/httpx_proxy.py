"""An ASGI proxy on httpx, under uvicorn. No WebSocket, which httpx does not speak."""

# mypy: disable-error-code="import-not-found"

from collections.abc import AsyncIterator
from typing import Any

import httpx

from benchmarks.proxies.common import HOP_BY_HOP, Options, forwarded, run, serve


class Proxy:
    """The application. It uses httpx's transport, which has the pool: a client would keep the cookies of one visitor
    for the next."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.transport = httpx.AsyncHTTPTransport(
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=256), trust_env=False
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        host, fields = forwarded(scope["headers"], scope["client"][0], scope["scheme"], self.options.server)
        if scope["type"] != "http" or host not in self.options.hosts:
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
            return
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        names = {name for name, _ in scope["headers"]}
        body = _body(receive) if names & {b"content-length", b"transfer-encoding"} else None
        request = httpx.Request(
            scope["method"],
            httpx.URL(scheme="http", host="127.0.0.1", port=self.options.backend, raw_path=target),
            headers=fields,
            content=body,
        )
        response = await self.transport.handle_async_request(request)
        try:
            kept = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in HOP_BY_HOP]
            await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body"})
        finally:
            await response.aclose()


async def _body(receive: Any) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client has left")
        more = message.get("more_body", False)
        yield message.get("body", b"")


if __name__ == "__main__":
    options = Options.parse()
    run(serve(Proxy(options), options))
