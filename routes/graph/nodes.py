"""The nodes of the graph: each keeps the object it came from, what was found out about it, and its conditions."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from routes.resources.extension import Extension
from routes.resources.filters import BackendObjectReference, HTTPRouteFilter
from routes.resources.gateway import (
    Gateway,
    GatewayClass,
    Listener,
    ListenerSet,
    RouteGroupKind,
    SecretObjectReference,
)
from routes.resources.http import HTTPBackendRef, HTTPRoute, HTTPRouteRule, ParentReference
from routes.resources.meta import Key
from routes.resources.policy import BackendTLSPolicy


@dataclass(frozen=True, slots=True)
class Options:
    """What the graph takes from the settings.

    ``check_certificate`` gets certificate and key as PEM and answers what is wrong with them, "" where nothing is;
    it must be a pure function. ``service_dns`` is the template for a Service's host name where the manifests hold no
    endpoints, with ``{name}`` and ``{namespace}``. ``check_authorities`` gets the certificates of authorities as PEM
    and answers as ``check_certificate`` does. ``certificate_names`` gives the DNS names that a good certificate is for.
    ``extensions`` are the groups and kinds that an ExtensionRef may name.

    ``cluster``: the objects are those of a cluster, in which classes and Gateways are written by people, endpoints are
    followed beside the graph (:class:`ServiceTarget`), and a Gateway's addresses are those of what stands before us:
    its sockets listen wherever we do.
    """

    controller_name: str = "moongate.dev/gateway"
    app_label_selector: str = "traefik"
    certificates: tuple[SecretObjectReference, ...] = ()
    service_dns: str = "{name}"
    check_certificate: Callable[[bytes, bytes], str] = lambda certificate, key: ""
    check_authorities: Callable[[str], str] = lambda authorities: ""
    certificate_names: Callable[[bytes], tuple[str, ...]] = lambda certificate: ()
    extensions: frozenset[tuple[str, str]] = frozenset()
    cluster: bool = False


@dataclass(frozen=True, slots=True)
class CertificatePair:
    """A certificate chain and its key as PEM, and the Secret they came from."""

    secret: Key
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sockets:
    """What came of the sockets that the last table asked for: the one thing that the data plane tells the graph.

    ``refused``: why a port of a Gateway is not open, by Gateway and port number. ``addresses``: where a Gateway is
    reached, by IP address or, before a cluster, by host name; of a Gateway that is not in it nothing is known yet.
    ``unusable``: why a Gateway cannot have addresses that it asks for. ``unassigned``: what one that has none waits
    for, or why it gets none. ``certificates``: those that listeners have, by Secret, for which they stand in when its
    content turns bad. A graph gives back those that it took, so that they change nothing until something else does; and
    so they are not compared.
    """

    refused: Mapping[tuple[Key, int], str] = field(default_factory=dict)
    addresses: Mapping[Key, tuple[str, ...]] = field(default_factory=dict)
    certificates: Mapping[Key, CertificatePair] = field(default_factory=dict, compare=False)
    unusable: Mapping[Key, str] = field(default_factory=dict)
    unassigned: Mapping[Key, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition as it stands in status, without the transition time, which only a writer knows."""

    type: str
    status: bool
    reason: str
    message: str
    observed_generation: int = 0


@dataclass(frozen=True, slots=True)
class GatewayClassNode:
    """A GatewayClass with our controller name."""

    source: GatewayClass
    conditions: tuple[Condition, ...]

    @property
    def accepted(self) -> bool:
        """Whether Gateways of the class are served."""
        return all(condition.status for condition in self.conditions if condition.type == "Accepted")


@dataclass(frozen=True, slots=True)
class ListenerNode:
    """A listener of one of our Gateways: its own, or one that a ListenerSet adds.

    ``owner`` is the object that it stands in, ``gateway`` the one whose port it is on. ``valid``: it belongs into the
    routing table, whether its port could be opened or not. ``supported_kinds``: what may attach, whatever the
    listener's own health.
    """

    source: Listener
    owner: Key
    gateway: Key
    supported_kinds: tuple[RouteGroupKind, ...]
    certificates: tuple[CertificatePair, ...]
    conditions: tuple[Condition, ...]
    valid: bool
    attached_routes: int = 0


@dataclass(frozen=True, slots=True)
class ListenerSetNode:
    """A ListenerSet that names one of our Gateways. Where that one does not allow it, it has no ``listeners``.

    ``attached``: it is Accepted, and counts in the Gateway's status.
    """

    source: ListenerSet
    gateway: Key
    listeners: tuple[ListenerNode, ...]
    conditions: tuple[Condition, ...]
    attached: bool


@dataclass(frozen=True, slots=True)
class GatewayNode:
    """A Gateway of one of our classes. ``default``: made by us, because the manifests hold none.

    ``listener_sets`` are those that name it, in order of precedence. ``addresses`` are those at which it is reached,
    ``listens_on`` those on which its sockets are to be opened, if it matters where.
    """

    source: Gateway
    listeners: tuple[ListenerNode, ...]
    conditions: tuple[Condition, ...]
    valid: bool
    default: bool = False
    listener_sets: tuple[ListenerSetNode, ...] = ()
    addresses: tuple[str, ...] = ()
    listens_on: tuple[str, ...] = ()

    @property
    def all_listeners(self) -> Iterator[ListenerNode]:
        """Its own listeners and those of its ListenerSets, in order of precedence."""
        yield from self.listeners
        for listener_set in self.listener_sets:
            yield from listener_set.listeners


@dataclass(frozen=True, slots=True)
class Attachment:
    """A route on one listener. ``hostnames`` are those of the route that meet the listener's; empty is any."""

    listener: str
    hostnames: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParentNode:
    """What came of one parentRef to one of our Gateways, or to a ListenerSet of one.

    ``index`` is its place in the route, -1 if the route does not name it. ``owner`` is what it leads to, in which the
    attachments' listeners stand, ``gateway`` the Gateway that this is or belongs to.
    """

    ref: ParentReference
    index: int
    owner: Key
    gateway: Key
    attachments: tuple[Attachment, ...]
    conditions: tuple[Condition, ...]

    @property
    def accepted(self) -> bool:
        """Whether the parent takes the route; one that is refused for its rules stays attached, to answer 500."""
        return all(condition.status for condition in self.conditions if condition.type == "Accepted")


@dataclass(frozen=True, slots=True)
class Address:
    """Where an endpoint listens: a literal IP address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class DNSName:
    """A host name that is resolved while the gateway runs, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """A port of a Service, by the port's name (which may be ""), whose endpoints are found while the gateway runs."""

    namespace: str
    name: str
    port: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}:{self.port}" if self.port else f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class BackendTLS:
    """How a backend has to prove who it is (BackendTLSPolicy, ``spec.validation``).

    ``server_name`` is asked for (SNI). ``authorities`` are certificates as PEM, "" those of the system. The certificate
    has to hold one of ``hostnames`` and ``uris`` or, where both are empty, ``server_name``.
    """

    server_name: str
    authorities: str = field(default="", repr=False)
    hostnames: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()


class BackendProtocol(StrEnum):
    """What is spoken to a backend: HTTP/1.1, or HTTP/2 in clear without asking first (GEP-1911)."""

    HTTP = "http"
    H2C = "h2c"


@dataclass(frozen=True, slots=True)
class BackendNode:
    """A backendRef and where its requests go: literal ``addresses``, a ``dns`` name, a ``service``, or nowhere for a
    ``reason``.

    ``filters`` are those of the backendRef, which only its requests pass. ``tls`` None is in clear.
    """

    ref: BackendObjectReference
    name: str
    addresses: tuple[Address, ...] = ()
    dns: DNSName | None = None
    protocol: BackendProtocol = BackendProtocol.HTTP
    reason: str = ""
    message: str = ""
    hint: str = ""
    tls: BackendTLS | None = None
    filters: "tuple[FilterNode, ...]" = ()
    service: ServiceTarget | None = None

    @property
    def weight(self) -> int:
        """Its share of the sum of its rule's weights; that of a mirror's backend means nothing."""
        return self.ref.weight if isinstance(self.ref, HTTPBackendRef) else 1


@dataclass(frozen=True, slots=True)
class FilterNode:
    """A filter, and what it refers to: a RequestMirror's or ExternalAuth's ``backend``, an ExtensionRef's object.

    ``unsupported`` is a sentence on why it cannot be done, else "": then requests that would pass it are answered 500.
    ``reason`` is the one for status where an ExtensionRef leads nowhere. A RequestMirror whose backend leads nowhere is
    not unsupported: the requests themselves are served.
    """

    source: HTTPRouteFilter
    backend: BackendNode | None = None
    extension: Extension | None = None
    unsupported: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RuleNode:
    """A rule of a route. ``unsupported`` is a sentence on why all of it cannot be served, else "".

    ``reason`` is that sentence's in status: UnsupportedValue or IncompatibleFilters.
    """

    source: HTTPRouteRule
    index: int
    backends: tuple[BackendNode, ...]
    unsupported: str = ""
    filters: tuple[FilterNode, ...] = ()
    reason: str = "UnsupportedValue"


@dataclass(frozen=True, slots=True)
class RouteNode:
    """An HTTPRoute with at least one parentRef, or a selector's choice; ``parents`` are those that are ours."""

    source: HTTPRoute
    parents: tuple[ParentNode, ...]
    rules: tuple[RuleNode, ...]


@dataclass(frozen=True, slots=True)
class PolicyNode:
    """A BackendTLSPolicy. ``tls`` None: it cannot be met, and what it is for gets no requests rather than in clear.

    ``message`` is why. ``ancestors`` are the Gateways with a route to a Service that it names, in alphabetical order.
    """

    source: BackendTLSPolicy
    tls: BackendTLS | None
    message: str
    conditions: tuple[Condition, ...]
    ancestors: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """Everything that the manifests mean.

    ``foreign`` are Gateways of classes that are not ours or not there, ``foreign_sets`` the ListenerSets that name no
    Gateway of ours.
    """

    classes: tuple[GatewayClassNode, ...]
    gateways: Mapping[Key, GatewayNode]
    routes: Mapping[Key, RouteNode]
    foreign: tuple[Gateway, ...] = ()
    foreign_sets: tuple[ListenerSet, ...] = ()
    policies: Mapping[Key, PolicyNode] = field(default_factory=dict)
