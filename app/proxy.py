"""The ASGI end of a rule: pick a backend, and leave the request to it."""

from starlette.types import Receive, Scope, Send

from app.backend import PLAIN, BackendProxy, Features, Upstream
from app.direct import Direct
from app.forwarding import target_of
from app.listeners.cycle import Cycle
from app.upstream.balancer import WeightedSelector, least_loaded
from app.upstream.fields import Fields, bodiless
from app.upstream.health import Endpoint
from middleware.errors import BadRequest, NoValidBackend
from middleware.observe import ObserveMiddleware
from middleware.record import RequestRecord, record_of
from middleware.scope import SERVED_PORT
from routes.table.types import Rule

#: Where a request that could not be forwarded on the spot keeps who chose what for it: a proxy, backend and endpoint.
CHOICE = "moongate.choice"


class RuleProxy:
    """Serves one rule, for as long as the rule stays the same: a change elsewhere resets no round robin.

    ``before`` served it until it changed, and hands on what it knows of the endpoints. Of a rule that asks for more
    than its backends see :mod:`app.rule`.
    """

    def __init__(
        self, rule: Rule, upstream: Upstream, before: "RuleProxy | None" = None, features: Features = PLAIN
    ) -> None:
        self.rule = rule
        self._name = rule.name
        known = {} if before is None else {proxy.backend.name: proxy for proxy in before.backends}
        self.backends: tuple[BackendProxy, ...] = tuple(
            BackendProxy(backend, upstream, features, known.get(backend.name), rule.name) for backend in rule.backends
        )
        self._selector = WeightedSelector(self.backends)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an ``http`` or ``websocket`` scope.

        Raises a GatewayError; before the response began it can still be answered.
        """
        record = record_of(scope) or RequestRecord()
        record.route = self._name
        if self.rule.invalid:
            raise NoValidBackend(detail=self.rule.invalid)
        endpoint: Endpoint | None = None
        choice = scope.pop(CHOICE, None)
        if choice is not None and choice[0] is self:
            _, backend, endpoint = choice
        else:
            backend = self._selector.pick()
        if backend is None:
            raise NoValidBackend(detail="no backend with a weight")
        await backend.serve(scope, receive, send, record, endpoint)

    def at_once(self, cycle: Cycle, fields: Fields, observe: ObserveMiddleware | None) -> bool:
        """Forward a request without a body on the spot, if there is a connection for it; see :mod:`app.direct`.

        ``fields`` are what the client sent and what the gateway says. The choice that was made in vain stands.
        """
        scope = cycle.scope
        proxy = self._selector.pick() if not self.rule.invalid else None
        if proxy is None:
            return False
        endpoint: Endpoint | None = None
        backend = proxy.backend
        if not backend.invalid:
            endpoints = proxy.ready()
            if endpoints:
                endpoint = least_loaded(endpoints)
                connection = endpoint.pool.take()
                if connection is not None:
                    direct = Direct(cycle, endpoint, observe, proxy.load_for(scope.get(SERVED_PORT)))
                    try:
                        direct.start(connection, target_of(scope), bodiless(fields), self._name, backend.name)
                    except BadRequest:
                        pass  # is raised once more where it is answered
                    else:
                        return True
        scope[CHOICE] = self, proxy, endpoint
        return False
