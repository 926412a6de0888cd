"""Requests that are forwarded on the spot: no task, no waiting, the answer comes by callbacks.

Most requests find everything at hand: their whole head, no body, a rule, an endpoint, an idle connection to it. What
remains is to write one head there and another back. All that is not so simple takes the way through the ASGI
applications, and so does a request of this kind whose connection turns out to be no good.
"""

import time
from typing import TYPE_CHECKING, Final

from app.listeners.cycle import Cycle
from app.upstream.exchange import Exchange
from app.upstream.health import Endpoint
from app.upstream.transport import IDEMPOTENT
from middleware.errors import ClientDisconnected
from middleware.observe import CLIENT_CLOSED_REQUEST, Observation, ObserveMiddleware
from middleware.record import RECORD, RequestRecord
from middleware.scope import SERVED_PORT

if TYPE_CHECKING:
    from app.observability.counting import Load
    from app.upstream.fields import Fields
    from app.upstream.pool import Connection

#: Where a request's scope says that it was forwarded in vain: the error that answers it.
FAILURE: Final = "moongate.failure"


class Direct:
    """One such request on its way there and back. ``load``: where it is counted, unless who observes it does so."""

    __slots__ = (
        "_backend",
        "_begun",
        "_cycle",
        "_endpoint",
        "_exchange",
        "_load",
        "_observation",
        "_observe",
        "_route",
    )

    def __init__(
        self, cycle: Cycle, endpoint: Endpoint, observe: ObserveMiddleware | None, load: "Load | None" = None
    ) -> None:
        self._cycle = cycle
        self._endpoint = endpoint
        self._exchange: Exchange
        self._observe = observe
        self._observation: Observation | None = None
        self._load = load
        self._begun = 0
        self._route = self._backend = ""

    def start(self, connection: "Connection", target: bytes, fields: "Fields", route: str, backend: str) -> None:
        """Send the request. Raises BadRequest where its head cannot be sent."""
        cycle, endpoint = self._cycle, self._endpoint
        exchange = self._exchange = connection.start(cycle.scope["method"], target, fields, None, cycle)
        if self._observe is not None:
            self._observation = self._observe.begin(cycle.scope, cycle.receive, cycle.send)
            record = self._observation.record
            record.port = cycle.scope.get(SERVED_PORT)
            record.route, record.backend, record.endpoint = route, backend, endpoint.name
        load = self._load
        self._route, self._backend = route, backend
        if load is not None:
            load.in_flight += 1
            self._begun = time.perf_counter_ns()
        endpoint.in_flight += 1
        endpoint.requests += 1
        exchange.on_done = self._on_done
        cycle.on_disconnect = self._on_disconnect

    def _on_done(self) -> None:
        exchange, cycle, endpoint = self._exchange, self._cycle, self._endpoint
        self._end()
        failure = exchange.failure
        if failure is None:
            self._tell("", endpoint.answered(exchange.status))
        elif cycle.started:
            self._tell(failure.flag, endpoint.failed())
            cycle.break_off()
        else:
            self._remember()
            # An idle connection may always turn out to be closed, which says nothing of its endpoint.
            if not exchange.refused and not (exchange.unanswered and cycle.scope["method"] in IDEMPOTENT):
                if endpoint.failed() and self._load is not None:
                    self._load.ejections += 1
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
        if self._load is not None:
            self._load.in_flight -= 1

    def _remember(self) -> None:
        """Say in the request's record whose it was, for those who observe it from now on."""
        scope = self._cycle.scope
        record: RequestRecord = scope.setdefault(RECORD, RequestRecord())
        record.port = scope.get(SERVED_PORT)
        record.route, record.backend, record.endpoint = self._route, self._backend, self._endpoint.name

    def _tell(self, flag: str, ejects: bool = False) -> None:
        load, exchange = self._load, self._exchange
        if load is not None:
            load.ejections += ejects
            if exchange.answered_at:
                self._endpoint.duration_ns += exchange.answered_at - self._begun
            if self._observation is None:
                cycle = self._cycle
                scope = cycle.scope
                status = cycle.status or (CLIENT_CLOSED_REQUEST if cycle.disconnected else 500)
                duration = time.perf_counter_ns() - self._begun
                load.count(scope["method"], scope["http_version"], status, duration, cycle.received, cycle.sent)
                return
        observation = self._observation
        if observation is None or self._observe is None:
            return
        record = observation.record
        record.add_flag(flag)
        record.origin_status = exchange.status
        record.origin_fields = exchange.fields
        record.origin_duration_ns = max(0, exchange.answered_at - observation.begun)
        self._observe.end(observation, self._cycle)
