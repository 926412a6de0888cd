"""The metrics, in the words of Prometheus: Traefik's shape and habits, with the names of the Gateway API.

Each family is made from sums of cells when somebody asks. What has few values, a listener, is told by method, protocol
and status; what there are thousands of, routes and backends, is told by little: a histogram by nothing but the name.
"""

import time
from collections import Counter as Multiset
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import accumulate
from typing import Final, TypeVar

from prometheus_client.core import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from app.observability.counting import WEBSOCKET, Cell, CellKey, Load, LoadKey, route_of
from app.reconciler import State
from app.view.model import CertificateView

PREFIX: Final = "moongate_"

#: Bounds in seconds of the histogram of builds.
BUILDS: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)

#: Samples that are made before the event loop has its turn.
_PIECE: Final = 256

T = TypeVar("T")

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Builds:
    """What came of the attempts to serve changes. Times are Unix seconds."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUILDS) + 1))
    seconds: float = 0.0
    failed: int = 0
    last_success: float = 0.0
    successful: bool = True


@dataclass(slots=True)
class EndpointNow:
    """One endpoint of a backend: ``up`` where every worker sends it requests."""

    up: bool = True
    in_flight: int = 0


@dataclass(slots=True)
class Snapshot:
    """All that is shown. ``clients``: open connections by the name of a port and the protocol."""

    bounds: Sequence[float]
    loads: Mapping[LoadKey, Load]
    builds: Builds
    clients: Mapping[tuple[str, str], int]
    endpoints: Mapping[tuple[str, str], EndpointNow]
    state: State | None


class _Paced(list[Sample]):
    """Samples that are made when they are written, by a thread that leaves the event loop its turn."""

    def __init__(self, make: Callable[[], Iterable[Sample]]) -> None:
        super().__init__()
        self._make = make

    def __iter__(self) -> Iterator[Sample]:
        return paced(self._make())


def paced(each: Iterable[T]) -> Iterator[T]:
    """``each``, in a thread that rests now and then: who waits for the interpreter gets it at once, not after 5 ms."""
    for number, one in enumerate(each):
        if number % _PIECE == _PIECE - 1:
            time.sleep(0.0002)
        yield one


def families(snapshot: Snapshot, certificates: Sequence[CertificateView]) -> Iterator[Metric]:
    """Every family but the process's."""
    yield _gauge("build_info", "The version that runs", [((("version", version("moongate")),), 1)])
    yield from _listeners(snapshot)
    yield from _routes(snapshot)
    yield from _rules(snapshot)
    yield from _backends(snapshot)
    yield from _endpoints(snapshot)
    yield _gauge(
        "open_connections",
        "Open connections of clients by port of a Gateway",
        [
            ((("listener", listener), ("protocol", protocol)), number)
            for (listener, protocol), number in sorted(snapshot.clients.items())
        ],
    )
    yield _gauge(
        "tls_certs_not_after",
        "When a certificate ends, in Unix seconds",
        {
            (("cn", each.common_name), ("serial", each.serial), ("sans", ",".join(each.names))): int(
                each.not_after.timestamp()
            )
            for each in certificates
        }.items(),
    )
    yield from _config(snapshot)


def _listeners(snapshot: Snapshot) -> Iterator[Metric]:
    def labels(load: LoadKey, cell: CellKey) -> Labels:
        return (
            ("code", str(cell.status)),
            ("method", cell.method),
            ("protocol", cell.protocol),
            ("listener", _name(load.port)),
        )

    cells = _grouped(snapshot.loads, labels)
    yield from _counted("listener", "by port of a Gateway", cells, cells)
    narrow = _grouped(
        snapshot.loads,
        lambda load, cell: (
            ("code", str(cell.status)),
            ("protocol", cell.protocol),
            ("listener", _name(load.port)),
        ),
    )
    yield _histogram("listener_request_duration_seconds", "How long requests took", narrow, snapshot.bounds)
    yield _in_flight("listener", snapshot.loads, lambda key: (("listener", _name(key.port)),))


def _routes(snapshot: Snapshot) -> Iterator[Metric]:
    def name(load: LoadKey) -> str:
        return route_of(load.rule)

    cells = _grouped(
        snapshot.loads,
        lambda load, cell: (
            (("code", str(cell.status)), ("method", cell.method), ("route", name(load))) if load.rule else None
        ),
    )
    narrow = _grouped(
        snapshot.loads,
        lambda load, cell: (("route", name(load)),) if load.rule and cell.protocol != WEBSOCKET else None,
    )
    whole = _grouped(snapshot.loads, lambda load, cell: (("route", name(load)),) if load.rule else None)
    yield from _counted("route", "by route", cells, whole)
    yield _histogram("route_request_duration_seconds", "How long requests took", narrow, snapshot.bounds)
    yield _in_flight("route", snapshot.loads, lambda key: (("route", name(key)),) if key.rule else None)


def _rules(snapshot: Snapshot) -> Iterator[Metric]:
    def labels(load: LoadKey) -> Labels | None:
        route, _, rule = load.rule.rpartition("/")
        return (("route", route), ("rule", rule), ("backend", load.backend)) if rule else None

    def coded(load: LoadKey, cell: CellKey) -> Labels | None:
        named = labels(load)
        return (("code", str(cell.status)), *named) if named is not None else None

    cells = _grouped(snapshot.loads, coded)
    yield _counter("rule_requests", "Requests by rule and the backend that it chose", _requests(cells))
    narrow = _grouped(snapshot.loads, lambda load, cell: labels(load) if cell.protocol != WEBSOCKET else None)
    yield _summary("rule_request_duration_seconds", "How long requests took", narrow)
    yield _in_flight("rule", snapshot.loads, labels)


def _backends(snapshot: Snapshot) -> Iterator[Metric]:
    def labels(load: LoadKey) -> Labels | None:
        return (("backend", load.backend),) if load.backend else None

    cells = _grouped(
        snapshot.loads,
        lambda load, cell: (
            (("code", str(cell.status)), ("method", cell.method), ("backend", load.backend)) if load.backend else None
        ),
    )
    narrow = _grouped(snapshot.loads, lambda load, cell: labels(load) if cell.protocol != WEBSOCKET else None)
    yield from _counted("backend", "by backend", cells, _grouped(snapshot.loads, lambda load, cell: labels(load)))
    yield _histogram("backend_request_duration_seconds", "How long requests took", narrow, snapshot.bounds)
    yield _in_flight("backend", snapshot.loads, labels)
    retries: Multiset[Labels] = Multiset()
    ejections: Multiset[Labels] = Multiset()
    for key, load in snapshot.loads.items():
        if (name := labels(key)) is not None:
            retries[name] += load.retries
            ejections[name] += load.ejections
    yield _counter("backend_retries", "Times that requests were sent again", retries.items())
    yield _counter(
        "backend_ejections", "Times that an endpoint was passed over for a while, since it failed", ejections.items()
    )


def _endpoints(snapshot: Snapshot) -> Iterator[Metric]:
    def labelled(value: Callable[[EndpointNow], float]) -> list[tuple[Labels, float]]:
        return [
            ((("backend", backend), ("endpoint", endpoint)), value(now))
            for (backend, endpoint), now in snapshot.endpoints.items()
        ]

    yield _gauge("endpoint_up", "Whether the endpoint gets requests", labelled(lambda now: now.up))
    yield _gauge("endpoint_in_flight", "Requests under way", labelled(lambda now: now.in_flight))


def _config(snapshot: Snapshot) -> Iterator[Metric]:
    builds = snapshot.builds
    total = sum(builds.buckets)
    yield _counter("config_reloads", "Changes that were built, by all workers", [((), total)])
    yield _counter("config_reload_failures", "Changes that could not be built, by all workers", [((), builds.failed)])
    yield _gauge("config_last_reload_success", "When a change was last served, Unix", [((), builds.last_success)])
    yield _gauge("config_last_reload_successful", "Whether the last change is served", [((), builds.successful)])
    cell = Cell(len(BUILDS))
    cell.buckets, cell.duration = builds.buckets, round(builds.seconds * 1e9)
    yield _histogram("config_build_duration_seconds", "How long changes took to build", {(): cell}, BUILDS)
    if snapshot.state is None:
        return
    graph = snapshot.state.graph
    accepted: Multiset[tuple[str, bool]] = Multiset()
    accepted.update(("GatewayClass", node.accepted) for node in graph.classes)
    accepted.update(
        ("Gateway", all(condition.status for condition in node.conditions if condition.type == "Accepted"))
        for node in graph.gateways.values()
    )
    accepted.update(
        (node.source.key.kind, bool(node.parents) and all(parent.accepted for parent in node.parents))
        for node in graph.routes.values()
    )
    yield _gauge(
        "resources",
        "Objects by kind, and whether all who are asked accept them",
        [
            ((("kind", kind), ("accepted", str(whether).lower())), number)
            for (kind, whether), number in sorted(accepted.items())
        ],
    )
    attached: Multiset[Labels] = Multiset()
    for key, node in graph.gateways.items():
        for listener in node.all_listeners:
            attached[("gateway", key.qualified_name), ("listener", str(listener.source.name))] += (
                listener.attached_routes
            )
    yield _gauge("attached_routes", "Routes that are attached to a listener", attached.items())


def _grouped(loads: Mapping[LoadKey, Load], labels: Callable[[LoadKey, CellKey], Labels | None]) -> dict[Labels, Cell]:
    """Sums of cells by ``labels``; those without any are left out."""
    found: dict[Labels, Cell] = {}
    for key, load in paced(loads.items()):
        for name, cell in list(load.cells.items()):
            named = labels(key, name)
            if named is None:
                continue
            mine = found.get(named)
            if mine is None:
                mine = found[named] = Cell(len(cell.buckets) - 1)
            mine.add(cell)
    return found


def _name(port: object) -> str:
    return "" if port is None else str(port)


def _requests(cells: Mapping[Labels, Cell]) -> Iterator[tuple[Labels, float]]:
    return ((labels, sum(cell.buckets)) for labels, cell in cells.items())


def _counted(what: str, how: str, cells: Mapping[Labels, Cell], whole: Mapping[Labels, Cell]) -> Iterator[Metric]:
    """Requests by ``cells``, their bytes by ``whole``."""
    yield _counter(f"{what}_requests", f"Requests {how}", lambda: _requests(cells))
    yield _counter(
        f"{what}_requests_bytes",
        f"Bytes of requests' bodies {how}",
        lambda: ((labels, cell.received) for labels, cell in whole.items()),
    )
    yield _counter(
        f"{what}_responses_bytes",
        f"Bytes of answers' bodies {how}",
        lambda: ((labels, cell.sent) for labels, cell in whole.items()),
    )


Values = Iterable[tuple[Labels, float]]


def _in_flight(what: str, loads: Mapping[LoadKey, Load], labels: Callable[[LoadKey], Labels | None]) -> Metric:
    found: Multiset[Labels] = Multiset()
    for key, load in loads.items():
        if (name := labels(key)) is not None:
            found[name] += load.in_flight
    return _gauge(f"{what}_requests_in_flight", "Requests that are with a backend", found.items())


def _counter(name: str, help_: str, values: Values | Callable[[], Values]) -> Metric:
    return _metric("counter", name, help_, values, "_total")


def _gauge(name: str, help_: str, values: Values) -> Metric:
    return _metric("gauge", name, help_, values)


def _metric(kind: str, name: str, help_: str, values: Values | Callable[[], Values], suffix: str = "") -> Metric:
    full = PREFIX + name + suffix
    metric = Metric(PREFIX + name, help_, kind)
    metric.samples = _Paced(
        lambda: (
            Sample(full, dict(labels), float(value)) for labels, value in (values() if callable(values) else values)
        )
    )
    return metric


def _histogram(name: str, help_: str, cells: Mapping[Labels, Cell], bounds: Sequence[float]) -> Metric:
    metric = Metric(PREFIX + name, f"{help_}, in seconds", "histogram")
    edges = [*map(floatToGoString, bounds), "+Inf"]

    def samples() -> Iterator[Sample]:
        for labels, cell in cells.items():
            named = dict(labels)
            total = 0
            for edge, total in zip(edges, accumulate(cell.buckets), strict=True):
                yield Sample(f"{metric.name}_bucket", {**named, "le": edge}, float(total))
            yield Sample(f"{metric.name}_count", named, float(total))
            yield Sample(f"{metric.name}_sum", named, cell.duration / 1e9)

    metric.samples = _Paced(samples)
    return metric


def _summary(name: str, help_: str, cells: Mapping[Labels, Cell]) -> Metric:
    metric = Metric(PREFIX + name, f"{help_}, in seconds", "summary")

    def samples() -> Iterator[Sample]:
        for labels, cell in cells.items():
            named = dict(labels)
            yield Sample(f"{metric.name}_count", named, float(sum(cell.buckets)))
            yield Sample(f"{metric.name}_sum", named, cell.duration / 1e9)

    metric.samples = _Paced(samples)
    return metric
