"""fastapi-proxy-lib as its documentation has it, for HTTP and WebSocket, under uvicorn."""

# mypy: disable-error-code="import-not-found"

from typing import Any

import httpx
from fastapi import FastAPI
from fastapi_proxy_lib.core.http import ReverseHttpProxy
from fastapi_proxy_lib.core.websocket import ReverseWebSocketProxy
from fastapi_proxy_lib.fastapi.router import RouterHelper

from benchmarks.proxies.common import Options, forwarded, run, serve


def application(options: Options) -> Any:
    """The library's application, within a middleware that sets the forwarded fields, which it does not."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
    client = httpx.AsyncClient(limits=limits, timeout=None, trust_env=False)
    helper = RouterHelper()
    app = FastAPI()
    origin = f"127.0.0.1:{options.backend}/"
    app.include_router(helper.register_router(ReverseHttpProxy(client, base_url=f"http://{origin}")))
    app.include_router(helper.register_router(ReverseWebSocketProxy(client, base_url=f"ws://{origin}")))

    async def with_fields(scope: Any, receive: Any, send: Any) -> None:
        headers = scope["headers"]
        if scope["type"] == "http":
            _, headers = forwarded(headers, scope["client"][0], scope["scheme"], options.server)
        await app({**scope, "headers": headers}, receive, send)

    return with_fields


if __name__ == "__main__":
    options = Options.parse()
    run(serve(application(options), options))
