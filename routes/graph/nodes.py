"""The nodes of the graph: each keeps the object it came from, what was found out about it, and its conditions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from routes.resources.gateway import Gateway, GatewayClass, Listener, RouteGroupKind, SecretObjectReference
from routes.resources.http import HTTPBackendRef, HTTPRoute, HTTPRouteRule, ParentReference
from routes.resources.meta import Key


@dataclass(frozen=True, slots=True)
class Options:
    """What the graph takes from the settings.

    ``check_certificate`` gets certificate and key as PEM and answers what is wrong with them, "" where nothing is;
    it must be a pure function. ``service_dns`` is the template for a Service's host name where the manifests hold no
    endpoints, with ``{name}`` and ``{namespace}``.
    """

    controller_name: str = "moongate.dev/gateway"
    app_label_selector: str = "traefik"
    certificates: tuple[SecretObjectReference, ...] = ()
    service_dns: str = "{name}"
    check_certificate: Callable[[bytes, bytes], str] = lambda certificate, key: ""


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


@dataclass(frozen=True, slots=True)
class CertificatePair:
    """A certificate chain and its key as PEM, and the Secret they came from."""

    secret: Key
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ListenerNode:
    """A listener of one of our Gateways.

    ``valid``: it is served. ``supported_kinds``: what may attach, whatever the listener's own health.
    """

    source: Listener
    gateway: Key
    supported_kinds: tuple[RouteGroupKind, ...]
    certificates: tuple[CertificatePair, ...]
    conditions: tuple[Condition, ...]
    valid: bool
    attached_routes: int = 0


@dataclass(frozen=True, slots=True)
class GatewayNode:
    """A Gateway of one of our classes. ``default``: made by us, because the manifests hold none."""

    source: Gateway
    listeners: tuple[ListenerNode, ...]
    conditions: tuple[Condition, ...]
    valid: bool
    default: bool = False


@dataclass(frozen=True, slots=True)
class Attachment:
    """A route on one listener. ``hostnames`` are those of the route that meet the listener's; empty is any."""

    listener: str
    hostnames: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParentNode:
    """What came of one parentRef to one of our Gateways. ``index`` is its place in the route, -1 if it names none."""

    ref: ParentReference
    index: int
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


class BackendProtocol(StrEnum):
    """What is spoken to a backend: HTTP/1.1, or HTTP/2 in clear without asking first (GEP-1911)."""

    HTTP = "http"
    H2C = "h2c"


@dataclass(frozen=True, slots=True)
class BackendNode:
    """A backendRef and where its requests go: literal ``addresses``, a ``dns`` name, or nowhere for a ``reason``."""

    ref: HTTPBackendRef
    name: str
    addresses: tuple[Address, ...] = ()
    dns: DNSName | None = None
    protocol: BackendProtocol = BackendProtocol.HTTP
    reason: str = ""
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class RuleNode:
    """A rule of a route. ``unsupported`` is a sentence on what of it cannot be served, else ""."""

    source: HTTPRouteRule
    index: int
    backends: tuple[BackendNode, ...]
    unsupported: str = ""


@dataclass(frozen=True, slots=True)
class RouteNode:
    """An HTTPRoute with at least one parentRef, or a selector's choice; ``parents`` are those that are ours."""

    source: HTTPRoute
    parents: tuple[ParentNode, ...]
    rules: tuple[RuleNode, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """Everything that the manifests mean. ``foreign`` are Gateways of classes that are not ours or not there."""

    classes: tuple[GatewayClassNode, ...]
    gateways: Mapping[Key, GatewayNode]
    routes: Mapping[Key, RouteNode]
    foreign: tuple[Gateway, ...] = ()
