"""The gateway: an ASGI application that sends each request to the rule that takes it."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from functools import cached_property
from typing import Any, Self
from urllib.parse import quote

import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.configfile import ConfigFileError
from app.direct import FAILURE
from app.lifespan import lifespan_of
from app.listeners.cycle import Cycle
from app.listeners.peer import SERVER_NAME
from app.listeners.places import PORT, as_set
from app.listeners.server import adopt, running_server
from app.listeners.standin import StandIns
from app.observability.observers import Observers, UnavailableError
from app.proxy import RuleProxy
from app.runtime import Runtime, StartError
from app.settings import Settings, complaint
from app.signals import asking
from app.upstream.fields import Fields, KeptFields
from middleware.answer import CYCLE
from middleware.errors import BadRequest, ErrorMiddleware, GatewayError, Misdirected, NoRoute
from middleware.extension import Extensions
from middleware.forwarded import ForwardedMiddleware
from middleware.observe import ObserveMiddleware
from middleware.record import RECORD, RequestRecord, record_of
from middleware.requestid import RequestIdMiddleware
from middleware.scope import LISTENER_PORT, SERVED_PORT, TARGET_PATH
from middleware.via import ViaMiddleware
from routes.table.hostnames import host_of
from routes.table.paths import matched_path
from routes.table.types import PortKey, RoutingTable

logger = logging.getLogger(__name__)

#: Seconds between looks for a signal that came while the gateway starts.
_LOOK_FOR_SIGNAL = 0.1


class Gateway(Starlette):
    """Serves the routes that its manifests describe.

    ``settings`` default to the ``MOONGATE_…`` environment, read when the gateway starts. ``app`` gets the requests and
    WebSockets that no route takes; without it they are answered 404. ``middleware`` are ASGI middleware of your own,
    around everything. ``filters`` are classes of your own for ExtensionRefs, by the group and kind of the objects that
    these name, beside those that are installed (:mod:`app.extensions`). ``listeners``: where a server runs this
    application as its own, open the sockets of all listeners that the server does not open; otherwise a gateway opens
    none.

    It starts with the server's lifespan, with ``async with gateway:``, with ``Starlette(lifespan=gateway.lifespan)``,
    or, where nobody did any of these, at its first request.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        app: ASGIApp | None = None,
        middleware: Sequence[Middleware] | None = None,
        filters: Extensions | None = None,
        listeners: bool = False,
    ) -> None:
        super().__init__(middleware=middleware)
        self._given = settings
        self._inner = app
        self._filters = filters
        self._opens_listeners = listeners
        # While it runs: the one run, how many asked for it, and who is starting it.
        self._runtime: Runtime | None = None
        self._starts = 0
        self._starting: asyncio.Future[Runtime] | None = None
        # Of the chain that every request passes, for those that do not; where all must, there is none of the former.
        self._forwarded: ForwardedMiddleware | None = None
        self._observe: ObserveMiddleware | None = None
        # The same where it has to see requests that are forwarded on the spot, which are counted without.
        self._told: ObserveMiddleware | None = None
        self._request_ids: RequestIdMiddleware | None = None

    @cached_property
    def settings(self) -> Settings:
        """The settings in force. Raises pydantic's ValidationError where the environment holds a bad value."""
        return self._given if self._given is not None else Settings()

    @cached_property
    def _stand_ins(self) -> StandIns:
        return StandIns(self.settings.listener, as_set(self.settings.ports))

    @cached_property
    def _observers(self) -> Observers:
        return Observers(self.settings)

    @property
    def runtime(self) -> Runtime:
        """What runs now. Raises RuntimeError before the start."""
        if self._runtime is None:
            raise RuntimeError("the gateway is not running")
        return self._runtime

    # Its life

    async def __aenter__(self) -> Self:
        """Start; several may, and the last to leave stops it. Opens no socket."""
        await self._start()
        self._starts += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._starts -= 1
        if self._starts == 0 and self._runtime is not None:
            runtime, self._runtime = self._runtime, None
            await runtime.__aexit__()
            await self._observers.flush()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """The gateway's life as a server's own application: with its sockets, if it is to open any."""
        server = running_server() if self._opens_listeners else None
        observers = self._observers
        try:
            with contextlib.ExitStack() as ours:
                if server is not None:
                    adopt(server)
                    ours.enter_context(asking("SIGUSR1", observers.reopen))
                    ours.enter_context(asking("SIGHUP", self._look_again))
                await self._start_unless_stopped(server)
                async with self:
                    if self._opens_listeners:
                        await self.runtime.listen(self, server)
                    yield
        finally:
            # A server ends its process by a signal, which leaves no later moment for what is still queued.
            await asyncio.to_thread(observers.close)

    def _look_again(self) -> None:
        if self._runtime is not None:
            self._runtime.look_again()

    async def _start_unless_stopped(self, server: uvicorn.Server | None) -> None:
        """Start, which with an API server that does not answer lasts until it does; uvicorn ends no start for a signal.

        Raises StartError where the signal comes before the start is done.
        """
        starting = asyncio.ensure_future(self._start())
        while not starting.done():
            await asyncio.wait([starting], timeout=_LOOK_FOR_SIGNAL)
            if server is not None and server.should_exit and not starting.done():
                assert self._starting is not None, "it is being started"
                self._starting.cancel()
                await asyncio.wait([starting])
                raise StartError("told to stop before it was ready")
        await starting

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Any = None) -> AsyncIterator[None]:
        """The gateway's life as another application's: ``Starlette(lifespan=gateway.lifespan)``."""
        async with self:
            yield

    async def _start(self) -> Runtime:
        """The run in this event loop; a first comer starts it while others wait."""
        self._prepare()
        loop = asyncio.get_running_loop()
        if self._runtime is not None:
            if self._runtime.loop is loop:
                return self._runtime
            # A test client's loops come and go; what ran in one that is gone can only be forgotten.
            self._runtime.abandon()
            self._runtime, self._starts = None, 0
        if self._starting is None or self._starting.get_loop() is not loop:
            self._starting = asyncio.ensure_future(
                Runtime(self.settings, self._filters, self._observers.counter).__aenter__()
            )
        starting = self._starting
        try:
            self._runtime = await asyncio.shield(starting)
        finally:
            if self._starting is starting and starting.done():
                self._starting = None
        return self._runtime

    async def _started_late(self) -> Runtime:
        if self._runtime is None:
            logger.warning(
                "the gateway starts with its first request, since no lifespan started it; "
                "Starlette runs no lifespan of what it mounts: use `async with gateway:` or lifespan=gateway.lifespan"
            )
        runtime = await self._start()
        runtime.stop_with_loop()
        return runtime

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A server's lifespan protocol."""
        await receive()
        phase = "startup"
        try:
            async with contextlib.AsyncExitStack() as stack:
                if self._inner is not None:
                    await stack.enter_async_context(lifespan_of(self._inner, scope.setdefault("state", {})))
                await stack.enter_async_context(self.serving())
                await send({"type": "lifespan.startup.complete"})
                await receive()
                phase = "shutdown"
        except Exception as error:
            if not isinstance(error, StartError):
                logger.exception("the gateway's %s failed", phase)
            await send({"type": f"lifespan.{phase}.failed", "message": str(error)})
            raise  # servers have been told and say no more, and a test client shows it to its test
        await send({"type": "lifespan.shutdown.complete"})

    # A request's way

    def at_once(self, cycle: Cycle) -> bool:
        """Forward a request that came over our own server and has no body, if it can be done without waiting.

        False leaves it to the ASGI call, which it then is as though nothing had been.
        """
        runtime = self._runtime
        if runtime is None or self._forwarded is None or self.user_middleware or self._observers.tracing is not None:
            return False
        scope = cycle.scope
        # What a rule asks of the fields is asked of those that it would get by way of the ASGI call.
        fields = self._said(cycle, self._forwarded)
        if self._request_ids is not None:
            fields = self._identified(cycle, fields, self._request_ids)
        try:
            proxy = self._find(scope, fields, runtime.table, ours=True)
        except GatewayError:
            return False
        return proxy is not None and proxy.at_once(cycle, fields, self._told)

    def _said(self, cycle: Cycle, forwarded: ForwardedMiddleware) -> Fields:
        """The request's fields with what we say to them, which is the same for all requests that come alike."""
        known = cycle.known
        if known is None:
            return forwarded.fields(cycle.scope)
        if known.said is None:
            known.said = KeptFields(forwarded.fields(cycle.scope))
        return known.said

    def _identified(self, cycle: Cycle, fields: Fields, ids: RequestIdMiddleware) -> Fields:
        """``fields`` with the request's id, which it keeps where it has to go by way of the ASGI call after all."""
        record: RequestRecord = cycle.scope.setdefault(RECORD, RequestRecord())
        record.request_id, fields = ids.identify(cycle.scope, fields, record.request_id)
        ids.answer_with(record.request_id, cycle)
        return fields

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            try:
                self._prepare()
            except (ValidationError, ConfigFileError, StartError) as error:
                await receive()
                message = complaint(error) if isinstance(error, ValidationError) else str(error)
                await send({"type": "lifespan.startup.failed", "message": message})
                raise
        # As Starlette does it, without another call in between.
        scope["app"] = self
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        await self.middleware_stack(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """The chain that every request passes, outermost first: yours, the observers, forwarded fields, errors.

        Starlette's own chain (its error pages, exception handlers and router) is for applications with views.
        """
        self._prepare()
        app: ASGIApp = self._dispatch
        if self.settings.via:
            app = ViaMiddleware(app, pseudonym=self.settings.via)
        app = ErrorMiddleware(app)
        app = forwarded = ForwardedMiddleware(
            app, trusted_proxies=self.settings.trusted_proxies, server=socket.gethostname()
        )
        if not self.settings.via:
            self._forwarded = forwarded
        if self.settings.request_id:
            app = self._request_ids = RequestIdMiddleware(app, name=self.settings.request_id, trusts=forwarded.trusts)
        self._observe = self._observers.around(app)
        if self._observe is not None:
            app = self._observe
            if self._observers.more_than_count:
                self._told = self._observe
        for layer, args, options in reversed(self.user_middleware):
            app = layer(app, *args, **options)
        return app

    def on_refused(self, scope: Scope, error: GatewayError) -> None:
        """A connection of ours refused what never became a request for :meth:`__call__`: observers are to know."""
        if self._observe is not None:
            self._observe.refused(scope, error.status, error.flag)

    def _prepare(self) -> None:
        """Have at hand what observers need. Raises StartError where the settings name what cannot be had."""
        try:
            self._observers.prepare()
        except UnavailableError as error:
            raise StartError(str(error)) from None

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        if (failure := scope.get(FAILURE)) is not None:
            raise failure
        runtime = self._runtime
        # A server's connections are all in one loop; asking which one is running is a system call before Python 3.12.
        if runtime is None or (CYCLE not in scope and runtime.loop is not asyncio.get_running_loop()):
            runtime = await self._started_late()
        proxy = self._find(scope, scope["headers"], runtime.table, ours=CYCLE in scope)
        if proxy is not None:
            await proxy(scope, receive, send)
        elif self._inner is not None:
            await self._inner(scope, receive, send)
        else:
            raise NoRoute

    def _find(self, scope: Scope, headers: Fields, table: RoutingTable[RuleProxy], *, ours: bool) -> RuleProxy | None:
        """The rule that takes the request, by the one table that is read here. Raises BadRequest, or Misdirected.

        ``headers`` are the request's fields, with what we say. ``ours``: the server that read it is ours, and has
        refused what it must.
        """
        state = scope.get("state")
        server_name: str | None = None
        key: PortKey | None = None
        if state:
            key, server_name = state.get(PORT), state.get(SERVER_NAME)
        if key is None:
            key = self._stand_ins.find(scope, table)
        if key is None or (port := table.ports.get(key)) is None:
            return None
        scope[SERVED_PORT] = key
        if (record := record_of(scope)) is not None:
            record.port = key
        authority = b""
        for name, value in headers:
            if name == b"host":
                authority = value
                break
        if not ours and sum(name == b"host" for name, _ in headers) > 1:
            # RFC 9112 §3.2: two of them could mean two things to us and to a backend.
            raise BadRequest("more than one Host")
        target: bytes = scope["raw_path"] if ours and not scope["root_path"] else _below_mount(scope)
        path = matched_path(target)
        if path is None:
            raise BadRequest("the path could mean another to a backend")
        host = host_of(authority.decode("latin-1"))
        if server_name is not None and server_name != host and port.misdirected(server_name, host):
            raise Misdirected(detail=f"{host} on a connection for {server_name}")
        proxy = port.find(host, path, scope.get("method", "GET"), headers, scope["query_string"])
        if proxy is not None:
            if port.in_doubt(host, path):
                raise BadRequest("the path could mean another to a backend")
            scope[TARGET_PATH] = target
            scope[LISTENER_PORT] = key.port
        return proxy


def _below_mount(scope: Scope) -> bytes:
    """The path as it was sent, without the part under which a host mounted us (``root_path``).

    What a host decoded to find its mount is encoded again where the two do not meet byte for byte.
    """
    root: str = scope.get("root_path", "")
    raw: bytes | None = scope.get("raw_path")
    if not root:
        return raw if raw is not None else quote(scope["path"]).encode()
    if raw is not None and raw.startswith(root.encode()):
        return raw[len(root.encode()) :] or b"/"
    return quote(scope["path"].removeprefix(root)).encode() or b"/"
