"""The values that the API and the dashboard show. None holds anything secret.

Keys of objects are written as ``namespace/name``; ``id`` names an object in URLs and is unique among its kind.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.observability.numbers import Totals


class Health(StrEnum):
    """How something does, in the words that Traefik's API has for routers and services."""

    ENABLED = "enabled"
    WARNING = "warning"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class ConditionView:
    """One condition. ``good``: its status is what it is where all is well (``True``, but for those like Conflicted)."""

    type: str
    status: bool
    reason: str
    message: str
    good: bool


@dataclass(frozen=True, slots=True)
class AttachedRoute:
    """A route that names a listener or its Gateway. ``refused``: the reason and message of why it is not attached, ""
    where it is."""

    id: str
    name: str
    kind: str
    hostnames: tuple[str, ...]
    refused: str


@dataclass(frozen=True, slots=True)
class ListenerView:
    """A listener. ``owner`` is the object it stands in, ``Gateway default/a`` or ``ListenerSet default/b``. ``bound``
    is the port that is open for it on this machine, 0 where none is; ``problem`` says why. ``port_name`` is its name in
    metrics."""

    name: str
    owner: str
    port: int
    port_name: str
    protocol: str
    hostname: str
    bound: int
    problem: str
    certificates: tuple[str, ...]
    attached_routes: int
    conditions: tuple[ConditionView, ...]
    routes: tuple[AttachedRoute, ...]


@dataclass(frozen=True, slots=True)
class GatewayView:
    """A Gateway. ``default``: made by us, since the manifests hold none. ``refused`` are the routes that name it and
    are on none of its listeners."""

    id: str
    name: str
    class_name: str
    default: bool
    addresses: tuple[str, ...]
    health: Health
    conditions: tuple[ConditionView, ...]
    listeners: tuple[ListenerView, ...]
    refused: tuple[AttachedRoute, ...]


@dataclass(frozen=True, slots=True)
class ParentView:
    """What came of one parentRef."""

    gateway: str
    gateway_id: str
    section: str
    listeners: tuple[str, ...]
    conditions: tuple[ConditionView, ...]


@dataclass(frozen=True, slots=True)
class EndpointView:
    """One endpoint of a backend, as this process knows it. ``state`` is ``healthy``, ``ejected``, ``on trial``,
    ``warming up`` or ``unreachable``. ``duration_ns`` is the sum over ``requests``."""

    address: str
    state: str
    in_flight: int
    requests: int
    failures: int
    ejections: int
    duration_ns: int


@dataclass(frozen=True, slots=True)
class BackendView:
    """A backend of a rule. ``share`` is what the weights ask for, 0 to 1; ``totals`` what this rule sent there.
    ``invalid``: why its share is answered 500. ``source``: how its endpoints are found."""

    name: str
    weight: int
    share: float
    invalid: str
    protocol: str
    tls: bool
    source: str
    filters: tuple[str, ...]
    endpoints: tuple[EndpointView, ...]
    totals: Totals


@dataclass(frozen=True, slots=True)
class MatchView:
    """One match, in words: ``PathPrefix /foo`` and predicates such as ``method GET``, ``header x-a: b``."""

    path: str
    predicates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuleView:
    """A rule. ``name`` is that of the metrics, ``default/http-app-1/0``. ``invalid``: why all is answered 500."""

    name: str
    index: int
    invalid: str
    matches: tuple[MatchView, ...]
    filters: tuple[str, ...]
    timeouts: str
    retry: str
    session: str
    backends: tuple[BackendView, ...]
    totals: Totals


@dataclass(frozen=True, slots=True)
class RouteSummary:
    """A route in a list of thousands. ``text`` is for searching: name, hostnames and backends in lower case."""

    id: str
    name: str
    namespace: str
    kind: str
    api_version: str
    hostnames: tuple[str, ...]
    gateways: tuple[str, ...]
    rules: int
    health: Health
    problem: str
    text: str


@dataclass(frozen=True, slots=True)
class RouteView:
    """All that is known of a route."""

    summary: RouteSummary
    parents: tuple[ParentView, ...]
    rules: tuple[RuleView, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CertificateView:
    """A certificate that is served. ``id`` is its SHA-256 in hexadecimal digits."""

    id: str
    secret: str
    common_name: str
    names: tuple[str, ...]
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    listeners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of something do how well."""

    total: int
    warnings: int
    errors: int


@dataclass(frozen=True, slots=True)
class OverviewView:
    """The first page. ``providers`` are the names of those that are active, as the article's picture shows."""

    version: str
    providers: tuple[str, ...]
    started: datetime
    gateways: Counts
    listeners: Counts
    routes: Counts
    services: Counts
    problems: tuple[str, ...]
