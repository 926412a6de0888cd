"""The routing table and what stands in it: immutable, read by every request once and kept to its end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from routes.graph.nodes import Address, BackendProtocol, BackendTLS, CertificatePair, DNSName, ServiceTarget
from routes.resources.extension import Extension
from routes.resources.http import HTTPRouteRetry, HTTPRouteTimeouts, SessionPersistence
from routes.resources.meta import Key, Model
from routes.table.hostnames import HostMap
from routes.table.matches import Entry, Headers
from routes.table.paths import PathMap, lax_reading

H = TypeVar("H")


class PortKey(NamedTuple):
    """One port of one Gateway: what a socket stands for."""

    gateway: Key
    port: int

    def __str__(self) -> str:
        return f"{self.gateway.qualified_name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Backend:
    """One backendRef as it is served. ``invalid``: why its share of the requests is answered 500, "" if it is not."""

    name: str
    weight: int
    addresses: tuple[Address, ...] = ()
    dns: DNSName | None = None
    invalid: str = ""
    protocol: BackendProtocol = BackendProtocol.HTTP
    tls: BackendTLS | None = None
    filters: "tuple[Filter, ...]" = ()
    service: ServiceTarget | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as it is run. ``config`` is the part of the filter's object that its type names.

    ``backend``: where a RequestMirror sends its copies, and whom an ExternalAuth asks. ``extension``: the object that
    an ExtensionRef names. ``invalid``: why requests that come by here are answered 500, "" if they are not.
    """

    type: str
    config: Model
    backend: Backend | None = None
    extension: Extension | None = None
    invalid: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a route, as the data plane needs it. ``invalid``: why every request to it is answered 500.

    ``prefix``: the PathPrefix of its only match, which ReplacePrefixMatch is about; None where there are others.
    """

    route: Key
    index: int
    backends: tuple[Backend, ...]
    invalid: str = ""
    filters: tuple[Filter, ...] = ()
    prefix: str | None = None
    timeouts: HTTPRouteTimeouts | None = None
    retry: HTTPRouteRetry | None = None
    session_persistence: SessionPersistence | None = None

    @property
    def name(self) -> str:
        """``namespace/route/rule``, for logs and metrics."""
        return f"{self.route.qualified_name}/{self.index}"


class VirtualHost(PathMap[Entry[H]]):
    """The matches of all routes for one of their hostnames on one listener."""

    __slots__ = ()

    def find(self, path: str, method: str, headers: Headers, query: bytes) -> H | None:
        """The handler of the match that wins, None where none fits."""
        for entries in self.candidates(path):
            for entry in entries:
                if entry.plain or entry.accepts(method, headers, query):
                    return entry.handler
        return None


@dataclass(frozen=True, slots=True, eq=False)
class ListenerTable(Generic[H]):
    """One listener: its routes by their own hostnames."""

    name: str
    hosts: HostMap[VirtualHost[H]]


@dataclass(frozen=True, slots=True)
class Port(Generic[H]):
    """One port of a Gateway: its listeners by hostname, and for HTTPS their certificates.

    ``certificates`` keeps, for each listener hostname, the pairs in the order of certificateRefs. ``addresses`` are the
    IP addresses on which the Gateway wants to listen; without any that is left to whoever opens the sockets.
    """

    key: PortKey
    protocol: str
    listeners: HostMap[ListenerTable[H]]
    certificates: HostMap[tuple[CertificatePair, ...]]
    addresses: tuple[str, ...] = ()

    def find(self, host: str, path: str, method: str, headers: Headers, query: bytes) -> H | None:
        """The handler for a request, None where no rule takes it.

        Exactly the most specific listener that ``host`` fits is asked (listener isolation). In it a request falls
        through from the more specific hostname to the less specific one where no rule of the former fits.
        """
        listener = self.listeners.best(host)
        if listener is None:
            return None
        for virtual_host in listener.hosts.candidates(host):
            handler = virtual_host.find(path, method, headers, query)
            if handler is not None:
                return handler
        return None

    def misdirected(self, server_name: str | None, host: str) -> bool:
        """Whether a request for ``host`` is for another listener than the connection it came on.

        ``server_name`` is what the client named in its handshake, "" for nothing; None is a connection without TLS. To
        be answered 421 (Gateway.spec.listeners): a client may send a request for any host that the certificate bears
        on a connection that it has (RFC 9113 §9.1.1), and would slip by what the other listener asks of a connection.
        Where no listener is for ``host`` there is nothing to be directed to, and the answer is 404.
        """
        if server_name is None or server_name == host:
            return False
        wanted = self.listeners.best(host)
        if wanted is None:
            return False
        name = server_name.lower().rstrip(".")
        chosen = self.listeners.best(name)
        if chosen is None and not name:
            # As certificates are chosen for a client that names nothing.
            chosen = next(listener for _, listener in self.listeners.items())
        return wanted is not chosen

    def in_doubt(self, host: str, path: str) -> bool:
        """Whether a backend may read ``path`` as one that rules claim which do not take it as it stands."""
        reading = lax_reading(path)
        if reading is path:
            return False
        listener = self.listeners.best(host)
        return listener is not None and any(
            virtual_host.claimed_otherwise(path, reading) for virtual_host in listener.hosts.candidates(host)
        )


@dataclass(frozen=True, slots=True)
class RoutingTable(Generic[H]):
    """All ports that are served, in the order of their Gateways, and the listener names that lead to them."""

    ports: Mapping[PortKey, Port[H]]
    listeners: Mapping[str, PortKey]

    def first(self, protocol: str) -> PortKey | None:
        """The first port of ``protocol`` of the first Gateway that has one."""
        return next((key for key, port in self.ports.items() if port.protocol == protocol), None)
