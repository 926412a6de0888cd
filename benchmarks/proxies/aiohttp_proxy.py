"""A proxy on aiohttp's server and client."""

# mypy: disable-error-code="import-not-found"

import asyncio
import ssl
from typing import Any

import aiohttp
import yarl
from aiohttp import web
from multidict import CIMultiDict

from benchmarks.proxies.common import HOP_BY_HOP, Options, forwarded, run

#: Answers up to this size are read whole and written at once, which costs less than a stream.
WHOLE = 64 * 1024


class Proxy:
    """The handler of all requests. ``start`` must be called in the event loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.origin = f"http://127.0.0.1:{options.backend}"

    def start(self) -> None:
        """Open the pool."""
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def __call__(self, request: Any) -> Any:
        raw = ((name.lower(), value) for name, value in request.raw_headers)
        host, fields = forwarded(raw, request.remote or "", request.scheme, self.options.server)
        if host not in self.options.hosts:
            return web.Response(status=404)
        url = yarl.URL(self.origin + request.raw_path, encoded=True)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self.bridge(request, url, headers)
        body = request.content if request.body_exists else None
        async with self.session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False
        ) as answer:
            kept = [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in answer.raw_headers
                if name.lower() not in HOP_BY_HOP
            ]
            if answer.content_length is not None and answer.content_length <= WHOLE:
                return web.Response(status=answer.status, headers=_multi(kept), body=await answer.read())
            response = web.StreamResponse(status=answer.status, headers=_multi(kept))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def bridge(self, request: Any, url: yarl.URL, headers: list[tuple[str, str]]) -> Any:
        """A WebSocket on both sides."""
        kept = [(name, value) for name, value in headers if not name.startswith("sec-websocket-")]
        async with self.session.ws_connect(url, headers=_multi(kept), autoping=False, compress=0) as upstream:
            client = web.WebSocketResponse(autoping=False, compress=False)
            await client.prepare(request)
            pumps = [asyncio.ensure_future(_pump(client, upstream)), asyncio.ensure_future(_pump(upstream, client))]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await client.close()
            return client


async def _pump(source: Any, target: Any) -> None:
    async for message in source:
        match message.type:
            case aiohttp.WSMsgType.TEXT:
                await target.send_str(message.data)
            case aiohttp.WSMsgType.BINARY:
                await target.send_bytes(message.data)
            case aiohttp.WSMsgType.PING:
                await target.ping(message.data)
            case aiohttp.WSMsgType.PONG:
                await target.pong(message.data)


def _multi(fields: list[tuple[str, str]]) -> CIMultiDict[str]:

    return CIMultiDict(fields)


async def main(options: Options) -> None:
    """Serve on both ports."""
    proxy = Proxy(options)
    proxy.start()
    runner = web.ServerRunner(web.Server(proxy, access_log=None, keepalive_timeout=600), handle_signals=True)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.certificate, options.key)
    await web.TCPSite(runner, "127.0.0.1", options.http, backlog=8192).start()
    await web.TCPSite(runner, "127.0.0.1", options.https, backlog=8192, ssl_context=context).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    run(main(Options.parse()))
