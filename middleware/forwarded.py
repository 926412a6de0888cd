"""The ``X-Forwarded-*`` fields: told by this gateway or by a proxy it trusts, never by the client."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import product
from operator import itemgetter

from starlette.types import ASGIApp, Receive, Scope, Send

FORWARDED_FIELDS = frozenset(
    {
        b"forwarded",  # RFC 7239
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-method",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-protocol",  # X-Forwarded-Proto by other names: gunicorn and Rack read these
        b"x-forwarded-scheme",
        b"x-forwarded-server",
        b"x-forwarded-ssl",
        b"x-forwarded-tls-client-cert",
        b"x-forwarded-tls-client-cert-info",
        b"x-forwarded-uri",
        b"x-real-ip",
        b"x-scheme",
    }
)
"""The fields, in lower case, that tell a backend about the client's side. None is believed from a stranger."""

# What the one pass over the fields does with a name that it knows; all others are passed on as they are.
_FOR, _HOST, _PORT, _PROTO, _REAL_IP, _OTHER, _DROP, _AUTHORITY, _CONNECTION = range(9)


def _spellings(name: bytes) -> list[bytes]:
    """``name`` with each of its dashes as a dash or an underscore: CGI and WSGI read them all as one variable."""
    first, *rest = name.split(b"-")
    return [
        first + b"".join(dash + part for dash, part in zip(dashes, rest, strict=True))
        for dashes in product((b"-", b"_"), repeat=len(rest))
    ]


_KINDS: dict[bytes, int] = {
    # An honest proxy writes dashes. An underscore spelling would contradict the field we set, whoever sent it.
    **{spelling: _DROP for name in FORWARDED_FIELDS for spelling in _spellings(name)},
    **dict.fromkeys(FORWARDED_FIELDS, _OTHER),
    b"x-forwarded-for": _FOR,
    b"x-forwarded-host": _HOST,
    b"x-forwarded-port": _PORT,
    b"x-forwarded-proto": _PROTO,
    b"x-forwarded-server": _DROP,  # always this machine's own
    b"x-real-ip": _REAL_IP,
    b"host": _AUTHORITY,
    b"connection": _CONNECTION,
}

_NOTED = frozenset(_KINDS) - {b"host"}
_name = itemgetter(0)

_USUAL_OPTIONS = frozenset({b"keep-alive", b"Keep-Alive", b"close", b"Upgrade", b"upgrade"})

_PROTOS = {"http": b"http", "https": b"https", "ws": b"ws", "wss": b"wss"}
_TLS_PROTOS = frozenset({b"https", b"wss"})
#: Of names longer than any in DNS nothing is kept.
_USUAL_LENGTH = 300

_PORT_443 = (b"x-forwarded-port", b"443")
_PORT_80 = (b"x-forwarded-port", b"80")


class _Peer:
    """All that follows from the address of a peer, worked out once."""

    __slots__ = ("address", "fields", "trusted")

    def __init__(self, trusted: bool, address: bytes) -> None:
        self.trusted = trusted
        self.address = address
        self.fields = [(b"x-forwarded-for", address), (b"x-real-ip", address)] if address else []


class ForwardedMiddleware:
    """Tells backends who asked, for what host, port and scheme, in the fields that Traefik sets.

    ``X-Forwarded-For``, ``-Host``, ``-Port``, ``-Proto``, ``-Server`` and ``X-Real-Ip`` reach the backend once each,
    and ``X-Forwarded-Proto`` of a WebSocket is ``ws`` or ``wss``. A peer within ``trusted_proxies`` is believed: its
    list in ``X-Forwarded-For`` is continued, its host, port, proto and real address are kept. From everybody else all
    of :data:`FORWARDED_FIELDS` is dropped, and underscore spellings of them are dropped always. ``Connection`` options
    that name one of the fields go too, so that no client can have a later hop take them away (RFC 9110, 7.6.1).

    A peer without an address (a Unix socket) is no trusted proxy, and nothing is said about its address.
    ``server`` is the name of this machine; empty leaves ``X-Forwarded-Server`` out. Raises ValueError for a name that
    is not printable ASCII.
    """

    def __init__(self, app: ASGIApp, *, trusted_proxies: Sequence[IPv4Network | IPv6Network] = (), server: str) -> None:
        if not (server.isascii() and server.isprintable()):
            raise ValueError(f"the server name {server!a} is not printable ASCII")
        self.app = app
        self.trusted_proxies = tuple(trusted_proxies)
        self._server_fields = [(b"x-forwarded-server", server.encode())] if server else []
        # Bounded, as the peers are whoever connects; an entry costs a few hundred bytes.
        self._peer = lru_cache(maxsize=4096)(self._classify)
        # The same clients ask for the same hosts.
        self._said = lru_cache(maxsize=4096)(self._said_anew)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        # The caller's scope and list stay as they are: others may still read them.
        scope = scope.copy()  # type: ignore[attr-defined]  # a dict, as the ASGI specification has it
        scope["headers"] = self.fields(scope)
        await self.app(scope, receive, send)

    def trusts(self, host: str) -> bool:
        """Whether a peer with this address is a trusted proxy."""
        return self._peer(host).trusted

    def fields(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """The fields of ``scope`` with what its peer may not say taken out, and what we say put at the end."""
        client = scope.get("client")
        peer = _NOBODY if client is None else self._peer(client[0])
        received = scope["headers"]
        if _NOTED.isdisjoint(map(_name, received)):
            # Nothing to take out. Host is mostly the first.
            authority = next((value for name, value in received if name == b"host"), b"")
            if len(authority) < _USUAL_LENGTH:
                return [*received, *self._said(peer, authority, scope.get("scheme", "http"))]
        headers: list[tuple[bytes, bytes]] = []
        keep = headers.append
        kind_of = _KINDS.get
        trusted = peer.trusted
        authority = b""
        chain: list[bytes] = []
        told: dict[int, bytes] = {}
        for field in received:
            kind = kind_of(field[0])
            if kind is None:
                keep(field)
            elif kind == _AUTHORITY:
                authority = authority or field[1]
                keep(field)
            elif kind == _CONNECTION:
                if options := _without_forwarded(field[1]):
                    keep((field[0], options))
            elif not trusted or kind == _DROP:
                continue
            elif kind == _OTHER:
                keep(field)
            elif value := field[1].strip():
                if kind == _FOR:
                    chain.append(value)
                else:
                    told.setdefault(kind, value)  # a backend must not have to choose between two

        scheme = scope.get("scheme", "http")
        if not told and not chain and len(authority) < _USUAL_LENGTH:
            headers += self._said(peer, authority, scheme)
        else:
            headers += self._fields(peer, authority, scheme, chain, told)
        return headers

    def _fields(
        self, peer: _Peer, authority: bytes, scheme: str, chain: list[bytes], told: Mapping[int, bytes]
    ) -> list[tuple[bytes, bytes]]:
        """What we say; ``chain`` and ``told`` are what a trusted peer said."""
        fields = self._server_fields.copy()
        keep = fields.append
        if chain or _REAL_IP in told:
            keep((b"x-forwarded-for", b", ".join([*chain, peer.address])))
            keep((b"x-real-ip", told.get(_REAL_IP, peer.address)))
        else:
            fields += peer.fields
        proto = told.get(_PROTO) or _PROTOS.get(scheme, b"http")
        keep((b"x-forwarded-proto", proto))
        if host := told.get(_HOST, authority):
            keep((b"x-forwarded-host", host))
        if port := told.get(_PORT) or split_port(authority)[1]:
            keep((b"x-forwarded-port", port))
        else:
            keep(_PORT_443 if proto.lower() in _TLS_PROTOS else _PORT_80)
        return fields

    def _said_anew(self, peer: _Peer, authority: bytes, scheme: str) -> list[tuple[bytes, bytes]]:
        return self._fields(peer, authority, scheme, [], {})

    def _classify(self, host: str) -> _Peer:
        host = host.partition("%")[0]  # the zone of a link-local address means nothing on another machine
        trusted = False
        try:
            address = ip_address(host)
        except ValueError:
            pass  # some servers and test clients give a name
        else:
            if isinstance(address, IPv6Address) and address.ipv4_mapped:
                address = address.ipv4_mapped  # an IPv4 client on a dual-stack socket
            host = str(address)
            trusted = any(address in network for network in self.trusted_proxies)
        value = host.encode("ascii", "replace")
        return _Peer(trusted, value)


_NOBODY = _Peer(False, b"")


def split_port(authority: bytes) -> tuple[bytes, bytes]:
    """A Host value as host and port (RFC 3986, 3.2): ``example.com:80``, ``[::1]:80``. Without a port that is empty.

    What is not a port, as in ``::1`` or ``a:b``, stays with the host.
    """
    host, colon, port = authority.rpartition(b":")
    if not colon or not port.isdigit() or len(port) > 5 or (b":" in host and not host.endswith(b"]")):
        return authority, b""
    return host, port


def _without_forwarded(options: bytes) -> bytes:
    """A ``Connection`` value less the options that name one of our fields; empty if nothing is left."""
    if options in _USUAL_OPTIONS:
        return options
    lowered = options.lower()
    if b"x-" not in lowered and b"x_" not in lowered and b"forwarded" not in lowered:
        return options
    parts = [part.strip() for part in options.split(b",")]
    return b", ".join(part for part in parts if part.replace(b"_", b"-").lower() not in FORWARDED_FIELDS)
