"""Spans of requests, sent by OTLP as the ``OTEL_…`` variables say. Needs the extra ``moongate[otel]``.

Each request has a SERVER span and each attempt to send it to an endpoint a CLIENT span, whose id the backend gets as
its parent. Names and attributes are those of the stable semantic conventions for HTTP, with ``moongate.backend`` and
``moongate.response_flags`` beside. No query and no header field is ever in a span.

Resource, sampler, propagators, exporter and batches are the SDK's own. The spans are not: they are put together once
they are over, when all is known. An unsampled request costs its ids.
"""

import asyncio
import logging
import os
import random
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import entry_points, version
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    get_current_span,
    set_span_in_context,
)

from middleware.connection import Fields
from middleware.forwarded import split_port
from middleware.observe import CLIENT_CLOSED_REQUEST, Observation
from middleware.record import RequestRecord
from middleware.scope import TRACE
from middleware.tracing import RANDOM, SAMPLED, TRACEPARENT, TRACESTATE, members, parse, traceparent

logger = logging.getLogger(__name__)

Attributes = dict[str, Any]

#: Characters of a text from a client that are told.
MAX_TEXT: Final = 1024

#: The methods that a span tells by name (semantic conventions, http.request.method).
_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
#: Flags by which an answer that began well was no good.
_BROKEN: Final = frozenset({"LR", "UC", "UT"})

_ROOT: Final = Context()
_OK: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)


class ConfigurationError(Exception):
    """The ``OTEL_…`` variables ask for what cannot be had."""


class Tracing:
    """An observer that begins a trace with each request, or goes on with its client's, and tells of the spans.

    Raises ConfigurationError.
    """

    def __init__(self) -> None:
        protocols = (os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in ("TRACES_PROTOCOL", "PROTOCOL"))
        protocol = next(filter(None, protocols), "http/protobuf")
        if protocol != "http/protobuf":
            raise ConfigurationError(f"OTEL_EXPORTER_OTLP_PROTOCOL: {protocol} is not spoken here, http/protobuf is")
        try:
            found = Resource.create()
            if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
                found = found.merge(Resource({SERVICE_NAME: "moongate"}))
            provider = TracerProvider(
                resource=Resource({SERVICE_VERSION: version("moongate")}).merge(found), shutdown_on_exit=False
            )
            self.processor = BatchSpanProcessor(OTLPSpanExporter())
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"OTEL_…: {error}") from None
        self.sampler = provider.sampler
        self.resource = provider.resource
        self.scope = InstrumentationScope("moongate", version("moongate"))
        self.w3c, self.others = _propagators()

    def begun(self, observation: Observation) -> None:
        """Find the request's place in a trace, and decide whether it is sampled."""
        scope, record = observation.scope, observation.record
        trace = _Trace(self, observation)
        scope[TRACE] = trace
        record.trace_id, record.span_id = f"{trace.trace_id:032x}", f"{trace.span_id:016x}"

    def ended(self, observation: Observation) -> None:
        """Tell of its span."""
        # Not by the scope, which would lead back to it.
        trace: _Trace | None = observation.scope.pop(TRACE, None)
        if trace is not None and trace.sampled:
            trace.end(observation)

    def export(
        self,
        name: str,
        kind: SpanKind,
        context: SpanContext,
        parent: SpanContext | None,
        attributes: Attributes,
        times: tuple[int, int],
        *,
        failed: bool,
    ) -> None:
        """Queue a span; where the collector takes none the oldest are dropped."""
        self.processor.on_end(
            ReadableSpan(
                name,
                context,
                parent,
                self.resource,
                attributes,
                kind=kind,
                status=_ERROR if failed else _OK,
                start_time=times[0],
                end_time=times[1],
                instrumentation_scope=self.scope,
            )
        )

    async def flush(self, seconds: float) -> None:
        """Have what is queued sent, waiting at most ``seconds`` for the collector."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def tell() -> None:
            if not done.done():
                done.set_result(None)

        def flush() -> None:
            try:
                self.processor.force_flush()
            finally:
                with suppress(RuntimeError):  # nobody waited, and the loop is closed
                    loop.call_soon_threadsafe(tell)

        # Not a thread of the loop's pool, whose end would be waited for.
        threading.Thread(target=flush, name="moongate-spans", daemon=True).start()
        await asyncio.wait((done,), timeout=seconds)
        if not done.done():
            logger.warning("the collector did not take all spans within %g s", seconds)


class _Trace:
    """The part of one request."""

    __slots__ = (
        "_begun", "_started", "_tracing", "attributes", "context", "flags", "parent", "sampled", "span_id", "state",
        "trace_id",
    )  # fmt: skip

    def __init__(self, tracing: Tracing, observation: Observation) -> None:
        self._tracing = tracing
        self._started, self._begun = observation.started, observation.begun
        self.state = b""
        self.parent = self._parent(observation.scope["headers"])
        around = _ROOT
        self.flags = 0
        if self.parent is not None:
            around = set_span_in_context(NonRecordingSpan(self.parent), _ROOT)
            self.trace_id = self.parent.trace_id
            self.flags = self.parent.trace_flags & RANDOM
        else:
            self.trace_id = _new(128)
        self.span_id = _new(64)
        decided = tracing.sampler.should_sample(around, self.trace_id, "HTTP", SpanKind.SERVER)
        self.sampled = decided.decision is Decision.RECORD_AND_SAMPLE
        self.attributes: Mapping[str, Any] = decided.attributes
        if self.sampled:
            self.flags |= SAMPLED
        # One that a sampler has changed goes on in its new form, any other byte by byte.
        if decided.trace_state and (self.parent is None or decided.trace_state is not self.parent.trace_state):
            self.state = decided.trace_state.to_header().encode()
        self.context = self._context(self.span_id, decided.trace_state)

    def attempt(self, method: str, target: bytes, record: RequestRecord, *, secured: bool) -> "_Attempt":
        """As :class:`middleware.tracing.Trace` has it."""
        return _Attempt(self, method, target, record, secured)

    def end(self, observation: Observation) -> None:
        """The request is over."""
        scope, record, status = observation.scope, observation.record, observation.status
        method = scope.get("method", "GET")
        attributes: Attributes = {
            **self.attributes,
            **_methods(method),
            "url.scheme": "https" if scope.get("scheme") in ("https", "wss") else "http",
            "url.path": _text(scope.get("raw_path") or b""),
            "network.protocol.name": "http",
            "network.protocol.version": scope.get("http_version", "1.1"),
        }
        authority = next((value for name, value in scope["headers"] if name == b"host"), b"")
        if authority:
            host, port = split_port(authority[:MAX_TEXT])
            attributes["server.address"] = _text(host)
            if port:
                attributes["server.port"] = int(port)
        if (client := scope.get("client")) is not None:
            attributes["client.address"] = client[0]
        if record.route:
            attributes["http.route"] = record.route
        if record.flags:
            attributes["moongate.response_flags"] = record.flags
        # 499 stands for what was not sent.
        if status != CLIENT_CLOSED_REQUEST or record.origin_status == CLIENT_CLOSED_REQUEST:
            attributes["http.response.status_code"] = status
        error = str(status) if status >= 500 else next(iter(_BROKEN.intersection(record.flags.split(","))), "")
        if error:
            attributes["error.type"] = error
        name = attributes["http.request.method"].replace("_OTHER", "HTTP")
        self.export(
            f"{name} {record.route}" if record.route else name,
            SpanKind.SERVER,
            self.context,
            self.parent,
            attributes,
            (observation.started, observation.started + observation.duration),
            failed=bool(error),
        )

    @property
    def export(self) -> Any:
        """The way out for spans."""
        return self._tracing.export

    def now(self) -> int:
        """Nanoseconds since 1970, by the clock that the request is measured with."""
        return self._started + time.perf_counter_ns() - self._begun

    def child(self) -> SpanContext:
        """The context of a new span below the request's; the request's own where none is recorded."""
        return self._context(_new(64), self.context.trace_state) if self.sampled else self.context

    def carried(self, fields: Fields, context: SpanContext) -> Fields:
        """``fields`` with ``context`` in the place of what they say of a trace."""
        tracing = self._tracing
        if tracing.w3c:
            fields = [field for field in fields if field[0] not in (TRACEPARENT, TRACESTATE)]
            fields.append((TRACEPARENT, traceparent(self.trace_id, context.span_id, self.flags)))
            if self.state:
                fields.append((TRACESTATE, self.state))
        if tracing.others is not None:
            told: dict[str, str] = {}
            try:
                tracing.others.inject(told, set_span_in_context(NonRecordingSpan(context), _ROOT))
            except Exception:
                logger.exception("a propagator failed")
            added = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in told.items()]
            names = {name for name, _ in added}
            fields = [*(field for field in fields if field[0] not in names), *added]
        return fields

    def _context(self, span_id: int, state: TraceState | None) -> SpanContext:
        return SpanContext(self.trace_id, span_id, False, TraceFlags(self.flags), state)

    def _parent(self, fields: Sequence[tuple[bytes, bytes]]) -> SpanContext | None:
        """Who asks, as far as it says so."""
        tracing = self._tracing
        if tracing.w3c:
            parents = [value for name, value in fields if name == TRACEPARENT]
            if parents and (found := parse(parents)) is not None:
                self.state = b",".join([value for name, value in fields if name == TRACESTATE])
                state = TraceState(members(self.state)) if self.state else None
                return SpanContext(found.trace_id, found.span_id, True, TraceFlags(found.flags), state)
        if tracing.others is not None:
            told = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
            around = get_current_span(tracing.others.extract(told, _ROOT)).get_span_context()
            if around.is_valid:
                return around
        return None


class _Attempt:
    """One sending of a request to an endpoint."""

    __slots__ = ("_attributes", "_context", "_start", "_trace")

    def __init__(self, trace: _Trace, method: str, target: bytes, record: RequestRecord, secured: bool) -> None:
        self._trace = trace
        self._context = trace.child()
        self._attributes: Attributes = {}
        self._start = 0
        if trace.sampled:
            self._start = trace.now()
            self._attributes = {
                **_methods(method),
                **_place(record.endpoint),
                "url.full": f"{'https' if secured else 'http'}://{record.endpoint}{_text(target)}",
                "moongate.backend": record.backend,
            }
            if record.retries:
                self._attributes["http.request.resend_count"] = record.retries

    def carried(self, fields: Fields) -> Fields:
        """As :class:`middleware.tracing.Attempt` has it."""
        return self._trace.carried(fields, self._context)

    def end(self, status: int, error: BaseException | None = None) -> None:
        """As :class:`middleware.tracing.Attempt` has it."""
        trace = self._trace
        if not trace.sampled:
            return
        kind = type(error).__name__ if error is not None else str(status) if status >= 400 else ""
        attributes = self._attributes
        if status:
            attributes["http.response.status_code"] = status
        if kind:
            attributes["error.type"] = kind
        trace.export(
            attributes["http.request.method"].replace("_OTHER", "HTTP"),
            SpanKind.CLIENT,
            self._context,
            trace.context,
            attributes,
            (self._start, trace.now()),
            failed=bool(kind),
        )


def _new(bits: int) -> int:
    """A random id. As in the SDK it is no secret."""
    return random.getrandbits(bits) or 1


def _methods(method: str) -> Attributes:
    if method in _METHODS:
        return {"http.request.method": method}
    return {"http.request.method": "_OTHER", "http.request.method_original": method[:64]}


@lru_cache(maxsize=4096)
def _place(endpoint: str) -> Mapping[str, str | int]:
    parts = urlsplit(f"//{endpoint}")
    found: dict[str, str | int] = {"server.address": parts.hostname or ""}
    if parts.port is not None:
        found["server.port"] = parts.port
    return found


def _text(value: bytes) -> str:
    """A path as it was sent, without a query, or a host."""
    return value.partition(b"?")[0][:MAX_TEXT].decode("ascii", "backslashreplace")


def _propagators() -> tuple[bool, TextMapPropagator | None]:
    """Whether W3C Trace Context is read and written, and what else is, by OTEL_PROPAGATORS. Raises ConfigurationError.

    Baggage needs nobody: it passes as it is.
    """
    names = [name.strip() for name in os.environ.get("OTEL_PROPAGATORS", "").split(",") if name.strip()]
    names = names or ["tracecontext"]
    if "none" in (name.lower() for name in names):
        return False, None
    others: list[TextMapPropagator] = []
    for name in dict.fromkeys(names):
        if name not in ("tracecontext", "baggage"):
            points = entry_points(group="opentelemetry_propagator", name=name)
            if not points:
                raise ConfigurationError(f"OTEL_PROPAGATORS: {name} is not installed")
            others.append(next(iter(points)).load()())
    return "tracecontext" in names, CompositePropagator(others) if others else None
