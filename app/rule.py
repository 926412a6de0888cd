"""Rules that ask for more than their backends: filters, time-outs, retries, sessions.

All of it is put together once, when the rule changes. From the outside in: the time that a request has, the rule's
filters, the choice of a backend, that backend's filters, and its endpoints, with retries among them.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from starlette.types import ASGIApp, Receive, Scope, Send

from app.backend import PLAIN, BackendProxy, Features, Upstream
from app.listeners.cycle import Cycle
from app.listeners.websocket import WebSocketCycle
from app.proxy import RuleProxy
from app.sessions import Sessions
from app.upstream.balancer import WeightedSelector
from app.upstream.fields import Fields
from app.upstream.retry import Retry
from middleware.answer import CYCLE
from middleware.errors import ClientDisconnected, NoValidBackend
from middleware.filters import around
from middleware.observe import ObserveMiddleware
from middleware.record import record_of
from middleware.timeout import TimeoutMiddleware
from routes.resources.fields import duration_seconds
from routes.table.types import Backend, Filter, Rule

logger = logging.getLogger(__name__)


def serve(rule: Rule, upstream: Upstream, before: RuleProxy | None = None) -> RuleProxy:
    """What serves ``rule``; ``before`` did until it changed."""
    timeouts, features = rule.timeouts, PLAIN
    if timeouts is not None and (limit := _seconds(timeouts.backend_request)):
        features = replace(features, limit=limit)
    if rule.retry is not None:
        features = replace(features, retry=Retry.of(rule.retry))
    if rule.session_persistence is not None:
        sessions = Sessions(rule.session_persistence, rule.name, upstream.session_key, len(rule.backends))
        features = replace(features, sessions=sessions)
    seconds = _seconds(timeouts.request) if timeouts is not None else 0.0
    filtered = rule.filters or any(backend.filters for backend in rule.backends)
    if rule.invalid or (features is PLAIN and not seconds and not filtered):
        return RuleProxy(rule, upstream, before)
    try:
        return FeaturedRule(rule, upstream, before, features, seconds)
    except Exception:
        # A filter may be somebody's own code: the other rules have nothing to do with it.
        logger.exception("%s: its filters cannot be made; its requests are answered 500", rule.name)
        return RuleProxy(replace(rule, invalid="its filters cannot be made"), upstream, before)


def _seconds(duration: str | None) -> float:
    return duration_seconds(duration) if duration is not None else 0.0


class FeaturedRule(RuleProxy):
    """Serves such a rule. Its requests take the way through the ASGI applications, all of them."""

    def __init__(
        self, rule: Rule, upstream: Upstream, before: RuleProxy | None, features: Features, seconds: float
    ) -> None:
        super().__init__(rule, upstream, before, features)
        self._own: _OwnBackends = _OwnBackends(upstream, before._own.known if isinstance(before, FeaturedRule) else {})
        app: ASGIApp = _Choice(self._selector, {proxy: self._filtered(proxy, upstream) for proxy in self.backends})
        app = around(app, rule.filters, rule.prefix, self._own, upstream.extensions)
        if seconds:
            app = TimeoutMiddleware(app, seconds)
        self._app = app
        self._own.before = {}  # what is no longer asked is to be forgotten

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of(scope)
        if record is not None:
            record.route = self._name
        cycle: Cycle | WebSocketCycle | None = scope.get(CYCLE)
        if cycle is None:
            await self._app(scope, receive, send)
            return

        def leave() -> None:
            if cycle.task is not None:
                cycle.task.cancel()

        # Filters wait as well, for an authorization server or whatever somebody's own one asks: nobody needs that when
        # the client has left. From the first attempt on it is for the forwarding to see to.
        cycle.on_disconnect = leave
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if cycle.disconnected:
                raise ClientDisconnected from None
            raise

    def at_once(self, cycle: Cycle, fields: Fields, observe: ObserveMiddleware | None) -> bool:
        """Nothing here is done on the spot."""
        return False

    def _filtered(self, proxy: BackendProxy, upstream: Upstream) -> ASGIApp:
        # Where nothing can be sent nothing is to be done for it either.
        filters: Sequence[Filter] = () if proxy.backend.invalid else proxy.backend.filters
        return around(proxy, filters, self.rule.prefix, self._own, upstream.extensions)


class _Choice:
    """Picks a backend for each request."""

    def __init__(self, selector: "WeightedSelector[BackendProxy]", apps: Mapping[BackendProxy, ASGIApp]) -> None:
        self._selector = selector
        self._apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        backend = self._selector.pick()
        if backend is None:
            raise NoValidBackend(detail="no backend with a weight")
        await self._apps[backend](scope, receive, send)


class _OwnBackends:
    """Makes the proxies for filters that have a backend of their own: one for each of these backends."""

    def __init__(self, upstream: Upstream, before: Mapping[str, BackendProxy]) -> None:
        self._upstream = upstream
        self.before = before
        self.known: dict[str, BackendProxy] = {}

    def __call__(self, backend: Backend) -> ASGIApp:
        name = backend.name
        if name not in self.known:
            self.known[name] = BackendProxy(backend, self._upstream, before=self.before.get(name))
        return self.known[name]
