"""The uvicorn server around us, and uvicorn's protocol on sockets of our own."""

import asyncio
import logging
import os
import signal
import socket
import ssl
from asyncio import Server
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.server import ServerState

from app.listeners.http import GatewayProtocol

logger = logging.getLogger(__name__)


def running_server() -> uvicorn.Server | None:
    """The uvicorn server that runs this process, None under another server or when embedded without one.

    uvicorn hands no application its server, but its own methods handle the signals while it runs.
    """
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return owner if isinstance(owner, uvicorn.Server) else None


def workers() -> int:
    """How many processes serve together. They share their ports; anybody else's port must stay theirs."""
    server = running_server()
    return server.config.workers if server is not None else 1


class SocketlessServer(uvicorn.Server):
    """A uvicorn server that opens no socket: every listener is opened by the gateway."""

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal ends it."""
        super().run(sockets=[])


def adopt(server: uvicorn.Server) -> None:
    """Switch off what uvicorn does by default and a gateway must not have.

    Its proxy_headers believe the X-Forwarded fields of any client on this machine; ``server`` and ``date`` would stand
    beside the backend's own; its access log is replaced by ours.
    """
    config = server.config
    if isinstance(config.loaded_app, ProxyHeadersMiddleware):
        config.loaded_app = config.loaded_app.app
    for name in ("app", "middleware"):
        # Nobody set up logging for us: speak where the server speaks.
        ours = logging.getLogger(name)
        if not ours.hasHandlers():
            ours.handlers = logging.getLogger("uvicorn").handlers
            ours.setLevel(logging.INFO)
    if config.http_protocol_class is not GatewayProtocol:
        logger.info(
            "uvicorn's own HTTP protocol serves; limits on heads, pipelines and slow clients come with "
            "--http app.listeners.http:GatewayProtocol"
        )
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False
    config.date_header = config.server_header = config.access_log = False
    config.encoded_headers = [field for field in config.encoded_headers if field[0] not in (b"server", b"date")]


class Sockets:
    """Opens sockets on which uvicorn's HTTP protocol serves ``app``.

    With a running server they share its protocol class, its time-outs and its connections, so that its graceful
    shutdown waits for theirs.
    """

    def __init__(self, app: ASGIApp, server: uvicorn.Server | None) -> None:
        self._server = server
        options: dict[str, Any] = {}
        if server is not None:
            running = server.config
            options = {
                "http": running.http,
                "ws": running.ws,
                "backlog": running.backlog,
                "limit_concurrency": running.limit_concurrency,
                "timeout_keep_alive": running.timeout_keep_alive,
            }
        self._config = Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            **options,
        )
        self._config.load()
        self._state = server.server_state if server is not None else ServerState()
        self._opened: list[Server] = []

    @property
    def host(self) -> str:
        """The address that the running server listens on; 127.0.0.1 where there is none."""
        return (self._server.config.host if self._server is not None else None) or "127.0.0.1"

    @property
    def own_place(self) -> tuple[str, int | None] | None:
        """Scheme and port of the socket that the running server opens itself (a Unix socket has no port), or None."""
        if self._server is None or isinstance(self._server, SocketlessServer):
            return None
        config = self._server.config
        return "https" if config.ssl else "http", config.port if config.uds is None and config.fd is None else None

    async def open(self, host: str, port: int, state: dict[str, Any], context: ssl.SSLContext | None = None) -> Server:
        """Listen on ``host`` and ``port``; ``state`` is in every request's ``scope["state"]``. Raises OSError."""
        protocol: Callable[..., asyncio.Protocol] = self._config.http_protocol_class
        opened = await asyncio.get_running_loop().create_server(
            lambda: protocol(config=self._config, server_state=self._state, app_state=state),
            host,
            port,
            ssl=context,
            backlog=self._config.backlog,
            reuse_port=workers() > 1 or None,
        )
        self._opened.append(opened)
        if self._server is not None and self._server.started:
            self._server.servers.append(opened)
        return opened

    def close(self, opened: Server) -> None:
        """Take no more connections on a socket; those that are open go on."""
        opened.close()
        self._opened.remove(opened)
        if self._server is not None and self._server.started and opened in self._server.servers:
            self._server.servers.remove(opened)

    async def join(self) -> None:
        """Wait until the running server has started, then put our sockets among its own, which its shutdown closes.

        They cannot be there earlier: it starts us first, and sets its list when it opens its own socket.
        """
        if self._server is not None:
            while not self._server.started:
                await asyncio.sleep(0.01)
            self._server.servers += self._opened

    async def drain(self, seconds: float) -> None:
        """Close every socket and wait for the requests under way, for ``seconds`` at most.

        A running server has done so already when it tells us to stop.
        """
        for opened in list(self._opened):
            self.close(opened)
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=seconds)


def reason(error: OSError) -> str:
    """Why a socket could not be opened, without the address that asyncio puts into the sentence."""
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def bound_port(server: Server) -> int:
    """The port of a socket, also where it was opened with port 0."""
    sockets: tuple[socket.socket, ...] = getattr(server, "sockets", ())
    return int(sockets[0].getsockname()[1]) if sockets else 0
