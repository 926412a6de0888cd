"""The ASGI end of a backend: pick an endpoint, send the request there, and again if need be."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from starlette.types import Receive, Scope, Send

from app.forwarding import Forwarding, target_of
from app.observability.counting import Counter, Load
from app.sessions import Sessions
from app.upstream.balancer import least_loaded
from app.upstream.endpoints import Endpoints
from app.upstream.health import Endpoint
from app.upstream.how import H2C, HTTP1, TLS, How
from app.upstream.retry import Retry
from app.upstream.services import ServiceEndpoints, ServicePorts
from app.upstream.timeouts import DEFAULT
from app.upstream.transport import UpstreamTransport
from app.websocket.forwarding import WebSocketForwarding
from middleware.errors import (
    BadGateway,
    ClientDisconnected,
    ConnectFailed,
    NoReadyEndpoint,
    NoValidBackend,
    UpstreamTimeout,
)
from middleware.extension import Extensions
from middleware.record import RequestRecord, record_of
from middleware.timeout import is_overdue
from routes.graph.nodes import Address, BackendProtocol, ServiceTarget
from routes.table.types import Backend

#: Where there is another endpoint, one that cannot be reached is left sooner.
PATIENCE: Final = DEFAULT
HURRY: Final = replace(DEFAULT, connect=2.0)

_NO_RETRY: Final = Retry()


@dataclass(frozen=True, slots=True)
class Upstream:
    """What all rules share on their way to the backends.

    ``session_key`` is a secret, see :mod:`app.sessions`. ``extensions``: what ExtensionRefs lead to. ``services``: in a
    cluster, where Services are served. ``counter``: who counts what rules send.
    """

    transport: UpstreamTransport
    endpoints: Endpoints
    session_key: bytes = field(default_factory=partial(secrets.token_bytes, 32), repr=False)
    extensions: Extensions = field(default_factory=dict, repr=False)
    services: ServiceEndpoints = field(default_factory=ServiceEndpoints, repr=False)
    counter: Counter | None = None


@dataclass(frozen=True, slots=True)
class Features:
    """What a rule asks for on the way to each of its backends. ``limit``: seconds of one attempt, None without end."""

    retry: Retry = _NO_RETRY
    limit: float | None = None
    sessions: Sessions | None = None


PLAIN: Final = Features()


def how_to(backend: Backend) -> How:
    """How the endpoints of ``backend`` are spoken to: never in clear where it has to prove who it is."""
    if (tls := backend.tls) is not None:
        return How(http2=True, tls=TLS(tls.server_name, tls.authorities, tls.hostnames, tls.uris))
    return H2C if backend.protocol is BackendProtocol.H2C else HTTP1


class BackendProxy:
    """Serves what goes to one backend of a rule.

    ``before`` served it until the rule changed, and hands on what it knows of the endpoints. ``rule`` is its name, ""
    where it is a filter's backend, whose requests are not the rule's.
    """

    __slots__ = (
        "_counter", "_features", "_how", "_hurry", "_known", "_patience", "_rule", "_service", "_upstream", "backend",
        "weight",
    )  # fmt: skip

    def __init__(
        self,
        backend: Backend,
        upstream: Upstream,
        features: Features = PLAIN,
        before: "BackendProxy | None" = None,
        rule: str = "",
    ) -> None:
        self.backend = backend
        self.weight = backend.weight
        self._upstream = upstream
        self._features = features
        self._rule = rule
        self._counter = upstream.counter if rule else None
        self._how = how_to(backend)
        self._patience, self._hurry = PATIENCE, HURRY
        if features.limit is not None:
            self._patience, self._hurry = (replace(each, total=features.limit) for each in (PATIENCE, HURRY))
        # Where the Service is followed, from the first request on: this may be made in a thread.
        self._service: ServicePorts | None = None
        # The endpoints at the last addresses: holding them keeps what is known of them.
        self._known: tuple[tuple[Address, ...], tuple[Endpoint, ...]] | None = None
        if before is not None and before._how == self._how:
            self._known = before._known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an ``http`` or ``websocket`` scope. Raises as :meth:`serve`."""
        await self.serve(scope, receive, send, record_of(scope) or RequestRecord())

    async def serve(
        self, scope: Scope, receive: Receive, send: Send, record: RequestRecord, endpoint: Endpoint | None = None
    ) -> None:
        """Serve a scope, first by ``endpoint`` if there is one. Raises a GatewayError."""
        backend, upstream, features = self.backend, self._upstream, self._features
        record.backend = backend.name
        if backend.invalid:
            raise NoValidBackend(detail=backend.invalid)
        if backend.service is not None:
            addresses = self._followed(backend.service)
        else:
            addresses = backend.addresses if backend.dns is None else await upstream.endpoints.resolve(backend.dns)
        endpoints = self._endpoints(addresses)
        if not endpoints:
            raise NoReadyEndpoint(detail=backend.name)
        adds = None
        if features.sessions is not None:
            session = features.sessions.of(scope, backend.name, endpoints)
            endpoint, adds = session.endpoint, session.adds
        retry = features.retry
        forwarding: Forwarding | WebSocketForwarding
        if scope["type"] == "http":
            forwarding = Forwarding(scope, receive, send, record, keeps=retry.asked and retry.attempts > 0, adds=adds)
        else:
            forwarding = WebSocketForwarding(scope, target_of(scope), receive, send, record, adds)
        timeouts = self._hurry if len(endpoints) > 1 else self._patience
        fresh: Sequence[Endpoint] = endpoints
        retries = 0
        if endpoint is None:
            endpoint = least_loaded(endpoints)
        load: Load | None = None
        if self._counter is not None:
            load = self._counter.load(record.port, self._rule, backend.name)
        while True:
            record.endpoint = endpoint.name
            endpoint.in_flight += 1
            endpoint.requests += 1
            if load is not None:
                load.in_flight += 1
            left = retries < retry.attempts
            try:
                if await forwarding.run(upstream.transport, endpoint, timeouts, retry.codes if left else ()):
                    return
            except (BadGateway, UpstreamTimeout) as error:
                record.ejections += endpoint.unreachable() if isinstance(error, ConnectFailed) else endpoint.failed()
                if not left or forwarding.started or not forwarding.repeatable:
                    raise
                if not retry.takes(error, scope.get("method", "GET")) or not (retry.asked or len(fresh) > 1):
                    raise
            except asyncio.CancelledError:
                if forwarding.whole and not forwarding.started and is_overdue(scope):
                    record.ejections += endpoint.failed()
                raise
            finally:
                endpoint.in_flight -= 1
                if load is not None:
                    load.in_flight -= 1
            fresh = [other for other in fresh if other is not endpoint]
            record.retries += 1
            pause = retry.pause(retries, elsewhere=bool(fresh))
            retries += 1
            endpoint = least_loaded(_preferred(fresh, endpoints, endpoint) if retry.asked else fresh)
            if pause:
                await _rest(pause, forwarding)

    def ready(self) -> tuple[Endpoint, ...]:
        """The endpoints, as far as they are known without waiting."""
        backend = self.backend
        if backend.service is not None:
            addresses = self._followed(backend.service)
        else:
            addresses = backend.addresses if backend.dns is None else self._upstream.endpoints.resolved(backend.dns)
        known = self._known
        if known is not None and known[0] is addresses:
            return known[1]
        return self._endpoints(addresses) if addresses else ()

    @property
    def known_endpoints(self) -> tuple[Endpoint, ...]:
        """Those that requests were sent to last, or could have been. Finds out nothing, and waits for nothing."""
        known = self._known
        return known[1] if known is not None else ()

    def _followed(self, target: ServiceTarget) -> tuple[Address, ...]:
        service = self._service
        if service is None:
            service = self._service = self._upstream.services.follow(target)
        return service.at(target.port)

    def _endpoints(self, addresses: tuple[Address, ...]) -> tuple[Endpoint, ...]:
        known = self._known
        if known is None or known[0] is not addresses:
            endpoints = self._upstream.endpoints.at(addresses, self._how, joining=known is not None)
            known = self._known = (addresses, endpoints)
        return known[1]


def _preferred(fresh: Sequence[Endpoint], all_: Sequence[Endpoint], last: Endpoint) -> Sequence[Endpoint]:
    """Of whom the next attempt is one's: ``fresh`` were not asked yet, ``last`` was the last that was.

    One that cannot be reached has its turn only where there is nobody else.
    """
    reachable = [endpoint for endpoint in all_ if endpoint.reachable]
    others = [endpoint for endpoint in reachable if endpoint is not last]
    return [endpoint for endpoint in fresh if endpoint.reachable] or others or reachable or fresh or all_


async def _rest(seconds: float, forwarding: Forwarding | WebSocketForwarding) -> None:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if forwarding.gone:
            raise ClientDisconnected from None
        raise
