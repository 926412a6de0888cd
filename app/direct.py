"""Requests that are forwarded on the spot: no task, no waiting, the answer comes by callbacks.

Most requests find everything at hand: their whole head, no body, a rule, an endpoint, an idle connection to it. What
remains is to write one head there and another back. All that is not so simple takes the way through the ASGI
applications, and so does a request of this kind whose connection turns out to be no good.
"""

from typing import TYPE_CHECKING, Final

from app.listeners.cycle import Cycle
from app.upstream.exchange import Exchange
from app.upstream.health import Endpoint
from app.upstream.transport import IDEMPOTENT
from middleware.errors import ClientDisconnected
from middleware.observe import Observation, ObserveMiddleware

if TYPE_CHECKING:
    from app.upstream.fields import Fields
    from app.upstream.pool import Connection

#: Where a request's scope says that it was forwarded in vain: the error that answers it.
FAILURE: Final = "moongate.failure"


class Direct:
    """One such request on its way there and back."""

    __slots__ = ("_cycle", "_endpoint", "_exchange", "_observation", "_observe")

    def __init__(self, cycle: Cycle, endpoint: Endpoint, observe: ObserveMiddleware | None) -> None:
        self._cycle = cycle
        self._endpoint = endpoint
        self._exchange: Exchange
        self._observe = observe
        self._observation: Observation | None = None

    def start(self, connection: "Connection", target: bytes, fields: "Fields", route: str, backend: str) -> None:
        """Send the request. Raises BadRequest where its head cannot be sent."""
        cycle, endpoint = self._cycle, self._endpoint
        exchange = self._exchange = connection.start(cycle.scope["method"], target, fields, None, cycle)
        if self._observe is not None:
            self._observation = self._observe.begin(cycle.scope, cycle.receive, cycle.send)
            record = self._observation.record
            record.route, record.backend, record.endpoint = route, backend, endpoint.name
        endpoint.in_flight += 1
        exchange.on_done = self._on_done
        cycle.on_disconnect = self._on_disconnect

    def _on_done(self) -> None:
        exchange, cycle, endpoint = self._exchange, self._cycle, self._endpoint
        self._end()
        failure = exchange.failure
        if failure is None:
            endpoint.answered(exchange.status)
            self._tell("")
        elif cycle.started:
            endpoint.failed()
            self._tell(failure.flag)
            cycle.break_off()
        else:
            # An idle connection may always turn out to be closed, which says nothing of its endpoint.
            if not exchange.refused and not (exchange.unanswered and cycle.scope["method"] in IDEMPOTENT):
                endpoint.failed()
                cycle.scope[FAILURE] = failure
            cycle.serve()

    def _on_disconnect(self) -> None:
        self._end()
        self._exchange.close()
        self._tell(ClientDisconnected.flag)

    def _end(self) -> None:
        # No circle of references is left behind.
        self._exchange.on_done = None
        self._cycle.on_disconnect = self._cycle.on_writable = None
        self._endpoint.in_flight -= 1

    def _tell(self, flag: str) -> None:
        observation = self._observation
        if observation is None or self._observe is None:
            return
        exchange, record = self._exchange, observation.record
        record.add_flag(flag)
        record.origin_status = exchange.status
        record.origin_fields = exchange.fields
        record.origin_duration_ns = max(0, exchange.answered_at - observation.begun)
        self._observe.end(observation, self._cycle)
