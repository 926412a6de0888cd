"""Traces from end to end: clients' and backends' ids fit together with the spans that a collector gets."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from tests.helpers.client import Connection, ask
from tests.helpers.collector import Collector, Span, collecting
from tests.helpers.http2 import Http2Client
from tests.helpers.manifests import backend, gateway_object, http_listener, route, service, write
from tests.helpers.processes import Process, free_port, process, settings
from tests.helpers.upstreams import serving
from tests.helpers.waiting import wait_until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
HEADER = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])")


class Recorder:
    """A backend that keeps the fields of each request, and answers with the statuses given, then 200."""

    def __init__(self, *statuses: int) -> None:
        self.requests: list[dict[str, list[str]]] = []
        self.statuses = list(statuses)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fields: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            fields.setdefault(name.decode(), []).append(value.decode())
        self.requests.append(fields)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close"})
            return
        status = self.statuses.pop(0) if self.statuses else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    def contexts(self) -> list[tuple[str, str, str]]:
        """Trace, parent and flags that each request came with, each of them once."""
        found = []
        for fields in self.requests:
            (value,) = fields["traceparent"]
            match = HEADER.fullmatch(value)
            assert match, value
            found.append((match[1], match[2], match[3]))
        return found


@contextmanager
def running(folder: Path, *objects: dict[str, Any], **environment: str) -> Iterator[Process]:
    """``moongate run`` with a listener on its ``port``."""
    port = free_port()
    write(folder / "manifests.yaml", gateway_object("edge", http_listener(port)), *objects)
    given = {**settings(manifests=str(folder / "manifests.yaml")), **environment}
    with process(["app", "run"], given, port=port) as started:
        started.wait_for("Application startup complete")
        yield started


@contextmanager
def traced(folder: Path, collector: Collector, port: int) -> Iterator[Process]:
    """:func:`running`, with ``collector`` told of all that goes to the one backend, at ``port``."""
    objects = (*backend("whoami", port), route("all", "whoami", gateway="edge"))
    with running(folder, *objects, **collector.variables) as gateway:
        yield gateway


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def retrying(name: str, *ports: int) -> list[dict[str, Any]]:
    """A route that has a 503 sent again."""
    made = route("again", name, gateway="edge")
    made["spec"]["rules"][0]["retry"] = {"codes": [503], "attempts": 2, "backoff": "1ms"}
    return [*backend(name, *ports), made]


def by_kind(spans: list[Span]) -> tuple[list[Span], list[Span]]:
    return [span for span in spans if span.kind == "SERVER"], [span for span in spans if span.kind == "CLIENT"]


def test_a_request_has_a_span_and_its_attempt_another_below_it(tmp_path: Path, collector: Collector) -> None:
    recorder = Recorder()
    with (
        serving(recorder) as port,
        traced(tmp_path, collector, port) as gateway,
    ):
        ask(gateway.port, "/a%20b?token=secret", fields=(("Authorization", "Bearer secret"),))
        (server,), (client,) = by_kind(collector.wait_for(2))
        assert server.parent == ""
        assert (client.trace_id, client.parent) == (server.trace_id, server.span_id)
        assert recorder.contexts() == [(client.trace_id, client.span_id, "01")]
        assert server.name == "GET default/all/0"
        assert server.attributes == {
            "http.request.method": "GET",
            "http.route": "default/all/0",
            "http.response.status_code": 200,
            "url.scheme": "http",
            "url.path": "/a%20b",
            "network.protocol.name": "http",
            "network.protocol.version": "1.1",
            "server.address": "whoami",
            "client.address": "127.0.0.1",
        }
        assert client.name == "GET"
        assert client.attributes == {
            "http.request.method": "GET",
            "http.response.status_code": 200,
            "server.address": "127.0.0.1",
            "server.port": port,
            "url.full": f"http://127.0.0.1:{port}/a%20b",
            "moongate.backend": "default/whoami:80",
        }
        assert server.start <= client.start <= client.end <= server.end
        assert [server.failed, client.failed] == [False, False]
        assert server.resource["service.name"] == "moongate"
        assert "secret" not in repr(collector.spans)


def test_a_clients_trace_goes_on_with_its_state_and_baggage(tmp_path: Path, collector: Collector) -> None:
    recorder = Recorder()
    with (
        serving(recorder) as port,
        traced(tmp_path, collector, port) as gateway,
    ):
        fields = (("traceparent", SAMPLED), ("tracestate", "a=1, b@c=x"), ("tracestate", "d=2"), ("baggage", "k=v;p"))
        ask(gateway.port, fields=fields)
        (server,), (client,) = by_kind(collector.wait_for(2))
        assert (server.trace_id, server.parent) == (TRACE, PARENT)
        assert server.state == "a=1,b@c=x,d=2"
        assert recorder.contexts() == [(TRACE, client.span_id, "01")]
        (state,) = recorder.requests[0]["tracestate"]
        assert state.replace(" ", "") == "a=1,b@c=x,d=2"
        assert recorder.requests[0]["baggage"] == ["k=v;p"]


def test_an_unsampled_trace_stays_unsampled_and_has_no_spans(tmp_path: Path, collector: Collector) -> None:
    recorder = Recorder()
    with (
        serving(recorder) as port,
        traced(tmp_path, collector, port) as gateway,
    ):
        ask(gateway.port, fields=(("traceparent", UNSAMPLED),))
        ask(gateway.port, "/sampled")
        spans = collector.wait_for(2)
        assert {span.trace_id for span in spans}.isdisjoint({TRACE})
        (trace, parent, flags), _ = recorder.contexts()
        assert (trace, flags) == (TRACE, "00")
        assert parent not in (PARENT, "0" * 16)


def test_the_sampler_is_the_environments(tmp_path: Path, collector: Collector) -> None:
    recorder = Recorder()
    variables = {**collector.variables, "OTEL_TRACES_SAMPLER": "always_off", "OTEL_BSP_SCHEDULE_DELAY": "1"}
    with (
        serving(recorder) as port,
        running(tmp_path, *backend("whoami", port), route("all", "whoami", gateway="edge"), **variables) as gateway,
    ):
        ask(gateway.port, fields=(("traceparent", SAMPLED),))
        ask(gateway.port)
        (first, _, flags), (second, _, other_flags) = recorder.contexts()
        assert first == TRACE
        assert second != TRACE
        assert (flags, other_flags) == ("00", "00")
        gateway.send(signal.SIGTERM)
        gateway.wait()
    assert collector.spans == []


@pytest.mark.parametrize(
    "fields",
    [
        (("traceparent", f"00-{TRACE.upper()}-{PARENT}-01"),),
        (("traceparent", f"00-{'0' * 32}-{PARENT}-01"),),
        (("traceparent", f"00-{TRACE}-{PARENT}-01-more"),),
        (("traceparent", SAMPLED), ("traceparent", SAMPLED)),
    ],
    ids=["upper case", "zero", "too long", "twice"],
)
def test_instead_of_a_malformed_parent_a_trace_begins(
    tmp_path: Path, collector: Collector, fields: tuple[tuple[str, str], ...]
) -> None:
    recorder = Recorder()
    with (
        serving(recorder) as port,
        traced(tmp_path, collector, port) as gateway,
    ):
        ask(gateway.port, fields=(*fields, ("tracestate", "a=1")))
        (server,), (client,) = by_kind(collector.wait_for(2))
        assert server.trace_id != TRACE
        assert server.parent == ""
        assert recorder.contexts() == [(server.trace_id, client.span_id, "01")]
        assert "tracestate" not in recorder.requests[0]


def test_each_attempt_has_a_span_and_an_id_of_its_own(tmp_path: Path, collector: Collector) -> None:
    recorder = Recorder(503, 503)
    with serving(recorder) as port, running(tmp_path, *retrying("whoami", port), **collector.variables) as gateway:
        assert ask(gateway.port).status == 200
        (server,), clients = by_kind(collector.wait_for(4))
        assert [client.parent for client in clients] == [server.span_id] * 3
        assert recorder.contexts() == [(server.trace_id, client.span_id, "01") for client in clients]
        assert len({client.span_id for client in clients}) == 3
        assert [client.attributes.get("http.request.resend_count") for client in clients] == [None, 1, 2]
        assert [client.attributes["http.response.status_code"] for client in clients] == [503, 503, 200]
        assert [client.failed for client in clients] == [True, True, False]
        assert not server.failed


def test_an_endpoint_that_cannot_be_reached_is_told(tmp_path: Path, collector: Collector) -> None:
    port = free_port()
    with running(
        tmp_path, *backend("whoami", port), route("all", "whoami", gateway="edge"), **collector.variables
    ) as gateway:
        assert ask(gateway.port).status == 502
        (server,), (client,) = by_kind(collector.wait_for(2))
        assert client.attributes["error.type"] == "ConnectFailed"
        assert (server.attributes["error.type"], server.attributes["moongate.response_flags"]) == ("502", "UF")
        assert client.failed
        assert server.failed


def test_a_request_without_a_route_is_told_and_no_failure(tmp_path: Path, collector: Collector) -> None:
    with running(tmp_path, service("none"), **collector.variables) as gateway:
        assert ask(gateway.port, method="PURGE").status == 404
        (server,) = collector.wait_for(1)
        assert server.name == "HTTP"
        assert server.attributes["http.request.method"] == "_OTHER"
        assert server.attributes["http.request.method_original"] == "PURGE"
        assert server.attributes["moongate.response_flags"] == "NR"
        assert not server.failed


def test_mirrors_carry_the_context_as_well(tmp_path: Path, collector: Collector) -> None:
    recorder, mirror = Recorder(), Recorder()
    made = route("all", "whoami", gateway="edge")
    filter_ = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "mirror", "port": 80}}}
    made["spec"]["rules"][0]["filters"] = [filter_]
    with (
        serving(recorder) as port,
        serving(mirror) as other,
        running(tmp_path, *backend("whoami", port), *backend("mirror", other), made, **collector.variables) as gateway,
    ):
        ask(gateway.port, fields=(("traceparent", SAMPLED),))
        (server,), clients = by_kind(collector.wait_for(3))
        contexts = [*recorder.contexts(), *mirror.contexts()]
        assert {parent for _, parent, _ in contexts} == {client.span_id for client in clients}
        assert {trace for trace, _, _ in contexts} == {TRACE}
        assert {client.parent for client in clients} == {server.span_id}


def test_an_authorization_server_gets_the_context(tmp_path: Path, collector: Collector) -> None:
    recorder, judge = Recorder(), Recorder()
    made = route("all", "whoami", gateway="edge")
    auth = {"protocol": "HTTP", "backendRef": {"name": "judge", "port": 80}, "http": {}}
    made["spec"]["rules"][0]["filters"] = [{"type": "ExternalAuth", "externalAuth": auth}]
    with (
        serving(recorder) as port,
        serving(judge) as other,
        running(tmp_path, *backend("whoami", port), *backend("judge", other), made, **collector.variables) as gateway,
    ):
        ask(gateway.port)
        (server,), clients = by_kind(collector.wait_for(3))
        contexts = [*judge.contexts(), *recorder.contexts()]
        assert contexts == [(server.trace_id, client.span_id, "01") for client in clients]


def test_ids_are_in_the_access_log(tmp_path: Path, collector: Collector) -> None:
    with (
        serving(Recorder()) as port,
        running(
            tmp_path,
            *backend("whoami", port),
            route("all", "whoami", gateway="edge"),
            MOONGATE_ACCESS_LOG="json",
            **collector.variables,
        ) as gateway,
    ):
        ask(gateway.port)
        (server,), _ = by_kind(collector.wait_for(2))
        line = wait_until(lambda: gateway.output)
        assert f'"SpanId":"{server.span_id}","TraceId":"{server.trace_id}"' in line


def test_the_exporter_is_set_by_the_environment(tmp_path: Path, collector: Collector) -> None:
    variables = {
        **collector.variables,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=blue",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_SERVICE_NAME": "edge",
    }
    with (
        serving(Recorder()) as port,
        running(tmp_path, *backend("whoami", port), route("all", "whoami", gateway="edge"), **variables) as gateway,
    ):
        ask(gateway.port)
        span, _ = collector.wait_for(2)
        assert span.resource["service.name"] == "edge"
        assert collector.requests[0]["x-tenant"] == "blue"
        assert collector.requests[0]["content-encoding"] == "gzip"


def test_what_is_queued_is_sent_at_the_end(tmp_path: Path, collector: Collector) -> None:
    variables = {**collector.variables, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    with (
        serving(Recorder()) as port,
        running(tmp_path, *backend("whoami", port), route("all", "whoami", gateway="edge"), **variables) as gateway,
    ):
        ask(gateway.port)
        assert collector.spans == []
        gateway.send(signal.SIGTERM)
        gateway.wait()
    assert len(collector.spans) == 2


def test_a_dead_collector_fails_no_request_and_keeps_nobody_from_ending(tmp_path: Path) -> None:
    dead = Collector(free_port())
    variables = {**dead.variables, "OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}
    with (
        serving(Recorder()) as port,
        running(tmp_path, *backend("whoami", port), route("all", "whoami", gateway="edge"), **variables) as gateway,
    ):
        with Connection(gateway.port) as connection:
            assert {connection.ask().status for _ in range(100)} == {200}
        gateway.send(signal.SIGTERM)
        gateway.wait(15)


def test_without_tracing_the_context_passes_untouched_and_connection_cannot_take_it_away(tmp_path: Path) -> None:
    recorder = Recorder(503)
    fields = {"traceparent": ["99-what-ever"], "tracestate": ["a=1", "b=2"], "baggage": ["k=v"]}
    sent = tuple((name, value) for name, values in fields.items() for value in values)
    with serving(recorder) as port, running(tmp_path, *retrying("whoami", port)) as gateway:
        ask(gateway.port, fields=(*sent, ("Connection", "traceparent, tracestate, baggage")))
    assert len(recorder.requests) == 2
    for request in recorder.requests:
        assert {name: request[name] for name in fields} == fields


def test_without_the_extra_the_start_fails_and_says_what_to_install(tmp_path: Path) -> None:
    # A package of this name that cannot be imported stands in for one that is not there.
    hidden = tmp_path / "hidden" / "opentelemetry"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('no', name='opentelemetry')")
    path = os.pathsep.join([str(hidden.parent), str(Path(__file__).parents[2])])
    manifests = tmp_path / "manifests.yaml"
    write(manifests, gateway_object("edge", http_listener(free_port())))
    environment = {**settings(manifests=str(manifests), tracing="otlp"), "PYTHONPATH": path}
    with process(["app", "run"], environment) as started:
        assert started.wait() != 0
        assert "pip install moongate[otel]" in started.log
        assert "Traceback" not in started.log


def test_what_the_variables_ask_for_in_vain_fails_the_start(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests.yaml"
    write(manifests, gateway_object("edge", http_listener(free_port())))
    for name, value in (("OTEL_PROPAGATORS", "b4"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")):
        with process(["app", "run"], {**settings(manifests=str(manifests), tracing="otlp"), name: value}) as started:
            assert started.wait() != 0
            assert f"{name}: {value} is" in started.log


UPGRADE = (
    ("Connection", "Upgrade, traceparent, tracestate"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
)
CONTEXT = (("traceparent", SAMPLED), ("tracestate", "a=1"))


def test_a_websocket_has_spans_and_carries_the_context(tmp_path: Path, collector: Collector) -> None:
    recorder = Recorder()
    with (
        serving(recorder) as port,
        traced(tmp_path, collector, port) as gateway,
    ):
        assert ask(gateway.port, "/?token=secret", fields=(*UPGRADE, *CONTEXT)).status == 101
        (server,), (client,) = by_kind(collector.wait_for(2))
        assert recorder.contexts() == [(TRACE, client.span_id, "01")]
        assert recorder.requests[0]["tracestate"] == ["a=1"]
        assert (server.parent, client.parent) == (PARENT, server.span_id)
        assert server.attributes["http.response.status_code"] == client.attributes["http.response.status_code"] == 101
        assert "secret" not in repr(collector.spans)


def test_http_2_has_spans_and_carries_the_context(tmp_path: Path, collector: Collector) -> None:
    recorder = Recorder()
    with (
        serving(recorder) as port,
        traced(tmp_path, collector, port) as gateway,
        Http2Client(gateway.port, host="whoami") as http2,
    ):
        http2.finish(*(http2.open("/", (b"traceparent", SAMPLED.encode()))[1] for _ in range(3)))
        servers, clients = by_kind(collector.wait_for(6))
        assert {server.parent for server in servers} == {PARENT}
        assert {server.attributes["network.protocol.version"] for server in servers} == {"2"}
        assert {client.parent for client in clients} == {server.span_id for server in servers}
        assert {parent for _, parent, _ in recorder.contexts()} == {client.span_id for client in clients}


def test_without_tracing_it_passes_in_http_2_websockets_and_mirrors(tmp_path: Path) -> None:
    recorder, mirror = Recorder(), Recorder()
    made = route("all", "whoami", gateway="edge")
    filter_ = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "mirror", "port": 80}}}
    made["spec"]["rules"][0]["filters"] = [filter_]
    with (
        serving(recorder) as port,
        serving(mirror) as other,
        running(tmp_path, *backend("whoami", port), *backend("mirror", other), made) as gateway,
    ):
        ask(gateway.port, fields=(*UPGRADE, *CONTEXT))
        with Http2Client(gateway.port, host="whoami") as http2:
            fields = [(name.encode(), value.encode()) for name, value in CONTEXT]
            http2.finish(http2.open("/", *fields)[1])
        wait_until(lambda: mirror.requests)
    assert len(recorder.requests) == 2
    for request in (*recorder.requests, *mirror.requests):
        assert (request["traceparent"], request["tracestate"]) == ([SAMPLED], ["a=1"])
