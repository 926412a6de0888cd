"""``moongate run``: a uvicorn server of which the gateway opens every socket."""

from contextlib import suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from app.listeners.server import SocketlessServer


def serve(app: ASGIApp | str = "app:gateway", **options: Any) -> None:
    """Run ``app`` until a signal ends it, then let requests under way end. ``options`` are uvicorn's."""
    config = uvicorn.Config(
        app,
        http="app.listeners.http:GatewayProtocol",
        timeout_keep_alive=75,
        lifespan="on",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=30,
        **options,
    )
    # uvicorn raises the signal that ended it once more, when all is done; Control-C is no error.
    with suppress(KeyboardInterrupt):
        SocketlessServer(config).run()
