"""The uvicorn server around us, and uvicorn's protocol on sockets of our own."""

import asyncio
import logging
import os
import signal
import socket
import ssl
import stat
import sys
from asyncio import Server
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.server import ServerState

from app.listeners.departure import Departure
from app.listeners.http import GatewayProtocol
from app.listeners.http2 import Http2Protocol
from app.listeners.places import PORT, OwnPlace
from app.listeners.websocket import WebSocketCycle
from app.tls.certificates import secure
from middleware.date import DateMiddleware

logger = logging.getLogger(__name__)


def running_server() -> uvicorn.Server | None:
    """The uvicorn server that runs this process, None under another server or when embedded without one.

    uvicorn hands no application its server, but its own methods handle the signals while it runs, or ours in its place.
    """
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(owner, Departure):
        owner = owner.server
    return owner if isinstance(owner, uvicorn.Server) else None


def workers() -> int:
    """How many processes serve together. They share their ports; anybody else's port must stay theirs."""
    server = running_server()
    return server.config.workers if server is not None else 1


class SocketlessConfig(Config):
    """The configuration of a uvicorn server that opens no socket: every listener is opened by the gateway."""


def adopt(server: uvicorn.Server) -> None:
    """Switch off what uvicorn does by default and a gateway must not have.

    Its proxy_headers believe the X-Forwarded fields of any client on this machine; ``server`` and ``date`` would stand
    beside the backend's own, so that a Date is added only where there is none; its access log is replaced by ours.
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
    elif config.ssl is not None:
        secure(config.ssl)
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False
    config.loaded_app = _dated(config.loaded_app, config.http_protocol_class)
    config.date_header = config.server_header = config.access_log = False
    config.encoded_headers = [field for field in config.encoded_headers if field[0] not in (b"server", b"date")]


def take_queue(config: Config) -> bool:
    """Give this worker among several a socket of its own on the server's port, before the server listens on it.

    uvicorn binds one socket for all its workers: one that is busy takes connections from one that is idle, and as the
    parent has it too, clients are let in as long as any worker still ends its requests, to be reset when the last is
    gone. With SO_REUSEPORT the kernel spreads the connections, and each worker's end is its own. The socket that was
    given to us is found by its address among our descriptors; what is put there is listened on in its place.
    """
    if sys.platform != "linux" or config.workers < 2 or isinstance(config, SocketlessConfig):
        return False
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # that of the folder, which is closed by now
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as given:
                if _is_bound_to(config.port, given):
                    _replace(descriptor, given)
                    return True
    return False


def _is_bound_to(port: int, given: socket.socket) -> bool:
    """Whether it is a TCP socket on ``port`` that is not listened on and not connected."""
    if given.type != socket.SOCK_STREAM or given.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    if given.getsockname()[1] != port or not port or given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return False
    try:
        given.getpeername()
    except OSError:
        return True
    return False


def _replace(descriptor: int, given: socket.socket) -> None:
    """Put a socket that is bound to the same address at ``descriptor``, where ``given`` was."""
    given.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    with socket.socket(given.family, given.type) as own:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            own.setsockopt(socket.SOL_SOCKET, option, 1)
        own.bind(given.getsockname())
        own.setblocking(False)
        os.dup2(own.fileno(), descriptor, inheritable=False)


def _dated(app: ASGIApp, protocol: type[asyncio.Protocol]) -> ASGIApp:
    """``app`` with a Date on each of its answers, which our own protocol sees to itself."""
    return app if issubclass(protocol, GatewayProtocol) else DateMiddleware(app)


class Sockets:
    """Opens sockets on which uvicorn's HTTP protocol serves ``app``.

    With a running server they share its protocol class, its time-outs and its connections, so that its graceful
    shutdown waits for theirs. ``options`` are uvicorn's, for where there is none.
    """

    def __init__(self, app: ASGIApp, server: uvicorn.Server | None, **options: Any) -> None:
        self._server = server
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
        self._config.loaded_app = _dated(self._config.loaded_app, self._config.http_protocol_class)
        self._state = server.server_state if server is not None else ServerState()
        self._has_queue = server is not None and take_queue(server.config)
        self._opened: list[Server] = []
        self._resolved: dict[str, tuple[str, ...]] = {}

    @property
    def host(self) -> str:
        """The address that the running server listens on; 127.0.0.1 where there is none."""
        return (self._server.config.host if self._server is not None else None) or "127.0.0.1"

    @property
    def own_place(self) -> OwnPlace | None:
        """The socket that the running server opens itself, or None."""
        if self._server is None or isinstance(self._server.config, SocketlessConfig):
            return None
        config = self._server.config
        number = config.port if config.uds is None and config.fd is None else None
        return OwnPlace("https" if config.ssl else "http", config.host, number)

    def clients(self) -> Iterator[tuple[Any, str]]:
        """Of each open connection what it is for, None where the server opened its socket, and what it speaks.

        A WebSocket over HTTP/2 is told beside the connection that it is on.
        """
        for connection in self._state.connections:
            if isinstance(connection, WebSocketCycle):
                yield connection.port, "websocket"
            else:
                protocol = "HTTP/2.0" if isinstance(connection, Http2Protocol) else "HTTP/1.1"
                yield (getattr(connection, "app_state", None) or {}).get(PORT), protocol

    async def addresses(self, host: str) -> tuple[str, ...]:
        """The IP addresses of ``host``. Raises OSError where it has none."""
        if host not in self._resolved:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
            self._resolved[host] = tuple(dict.fromkeys(str(each[4][0]) for each in found))
        return self._resolved[host]

    def own(self, given: bool) -> list[Server]:
        """The sockets that listen for this process alone. ``given``: the server was given some, which others may have.

        A reloader has the socket of its worker, and systemd the one that it passes on.
        """
        if self._server is None or self._server.config.fd is not None or (given and not self._has_queue):
            return self._opened
        return self._server.servers

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

    def close(self, opened: Server, state: dict[str, Any] | None = None) -> None:
        """Take no more connections on a socket. Those that came by it, and have its ``state``, end when they are idle;
        a WebSocket goes on as long as its ends want."""
        opened.close()
        for connection in list(self._state.connections) if state is not None else ():
            if getattr(connection, "app_state", None) is state:  # uvicorn's own protocols have it, too
                connection.shutdown()
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
        connections, tasks = self._state.connections, self._state.tasks
        for connection in list(connections):
            connection.shutdown()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (tasks or (connections and self._server is None)) and loop.time() < end:
            await asyncio.sleep(0.05)
        for connection in list(connections):
            if isinstance(connection, GatewayProtocol):
                connection.abort()


def reason(error: OSError) -> str:
    """Why a socket could not be opened, without the address that asyncio puts into the sentence."""
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def bound_port(server: Server) -> int:
    """The port of a socket, also where it was opened with port 0."""
    sockets: tuple[socket.socket, ...] = getattr(server, "sockets", ())
    return int(sockets[0].getsockname()[1]) if sockets else 0
