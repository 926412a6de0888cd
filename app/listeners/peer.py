"""The two ends of a client's connection, in the words of ASGI."""

import asyncio
from functools import lru_cache
from typing import Any, Final, NamedTuple

from app.tls.sni import server_name_of

#: Where a request's ``scope["state"]`` has what the client named in its handshake; not there where it named nothing.
SERVER_NAME: Final = "server_name"
#: Where it has version and cipher of the connection's TLS, as ``1.3`` and ``TLS_AES_128_GCM_SHA256``.
TLS: Final = "tls"

#: What differs between OpenSSL's names of TLS 1.2's ciphers and the registered ones.
_REGISTERED: Final = (
    ("AES128-SHA", "AES_128_CBC_SHA"),
    ("AES256-SHA", "AES_256_CBC_SHA"),
    ("AES128", "AES_128"),
    ("AES256", "AES_256"),
    ("CHACHA20-POLY1305", "CHACHA20_POLY1305_SHA256"),
)


class Peer(NamedTuple):
    """Who asks, where, and in which scheme. ``server_name`` is what was asked for in the handshake, and ``tls``
    what came of it."""

    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    scheme: str
    server_name: str | None = None
    tls: tuple[str, str] | None = None

    def state(self, shared: dict[str, Any]) -> dict[str, Any]:
        """The state of one request. ``shared`` is that of the socket, which changes when another listener gets it."""
        state = shared.copy()
        if self.server_name is not None:
            state[SERVER_NAME] = self.server_name
        if self.tls is not None:
            state[TLS] = self.tls
        return state


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """What ``transport`` knows of them."""
    secured = transport.get_extra_info("ssl_object")
    return Peer(
        address_of(transport.get_extra_info("peername")),
        address_of(transport.get_extra_info("sockname")),
        "http" if transport.get_extra_info("sslcontext") is None else "https",
        server_name_of(secured) if secured is not None else None,
        _tls_of(transport),
    )


def _tls_of(transport: asyncio.BaseTransport) -> tuple[str, str] | None:
    cipher = transport.get_extra_info("cipher")
    if cipher is None:
        return None
    version = transport.get_extra_info("ssl_object").version() or ""
    return version.removeprefix("TLSv"), registered(cipher[0])


@lru_cache(maxsize=64)
def registered(cipher: str) -> str:
    """The name by which IANA, and with it everybody but OpenSSL, knows a cipher suite with forward secrecy."""
    key, dash, rest = cipher.partition("-")
    if not dash or key not in ("ECDHE", "DHE"):
        return cipher  # those of TLS 1.3 are named so; of the old ones we know no better
    for theirs, name in _REGISTERED:
        rest = rest.replace(theirs, name)
    authentication, _, method = rest.partition("-")
    return f"TLS_{key}_{authentication}_WITH_{method.replace('-', '_')}"


def address_of(name: Any) -> tuple[str, int] | None:
    """Host and port of a socket's name, None for a Unix socket."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
