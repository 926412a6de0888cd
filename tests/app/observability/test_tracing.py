"""What a trace does with odd variables and propagators, without a socket."""

import pytest
from starlette.types import Receive, Scope, Send

from app.observability.tracing import ConfigurationError, Tracing
from middleware.observe import ObserveMiddleware
from middleware.record import RequestRecord
from middleware.scope import TRACE
from middleware.tracing import Trace
from tests.helpers.asgi import Backend, ask, request

TRACE_ID = b"4bf92f3577b34da6a3ce929d0e0e4736"
RANDOM = b"00-" + TRACE_ID + b"-00f067aa0ba902b7-03"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No variables of OpenTelemetry but a sampler that keeps all spans from the collector."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    monkeypatch.delenv("OTEL_PROPAGATORS", raising=False)
    return monkeypatch


def carried(*fields: tuple[bytes, bytes]) -> dict[bytes, bytes]:
    """The fields that a backend gets of a request with ``fields``."""
    sent: list[tuple[bytes, bytes]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        trace: Trace = scope[TRACE]
        attempt = trace.attempt("GET", b"/", RequestRecord(endpoint="127.0.0.1:80"), secured=False)
        sent.extend(attempt.carried(scope["headers"]))
        attempt.end(200)
        await Backend()(scope, receive, send)

    tracing = Tracing()
    try:
        ask(ObserveMiddleware(app, [tracing]), request(fields=[(b"host", b"a"), *fields]))
    finally:
        tracing.processor.shutdown()  # type: ignore[no-untyped-call]
    return dict(sent)


def test_the_flag_of_a_random_id_is_kept() -> None:
    assert carried((b"traceparent", RANDOM))[b"traceparent"].endswith(b"-02")


def test_without_propagators_the_clients_fields_stay(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_PROPAGATORS", "none")
    assert carried((b"traceparent", RANDOM))[b"traceparent"] == RANDOM


def test_a_tracestate_that_is_none_is_passed_on_with_a_good_parent_and_not_without() -> None:
    state = (b"tracestate", b"=,,what")
    assert carried((b"traceparent", RANDOM), state)[b"tracestate"] == state[1]
    assert b"tracestate" not in carried(state)


def test_a_propagator_that_is_not_there_is_an_error(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_PROPAGATORS", "tracecontext,b3")
    with pytest.raises(ConfigurationError, match="OTEL_PROPAGATORS: b3 is not installed"):
        Tracing()


def test_batches_that_cannot_be_are_an_error(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    with pytest.raises(ConfigurationError, match="max_export_batch_size"):
        Tracing()
