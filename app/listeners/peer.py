"""The two ends of a client's connection, in the words of ASGI."""

import asyncio
from typing import Any, Final, NamedTuple

from app.tls.sni import server_name_of

#: Where a request's ``scope["state"]`` has what the client named in its handshake; not there where it named nothing.
SERVER_NAME: Final = "server_name"


class Peer(NamedTuple):
    """Who asks, where, and in which scheme. ``server_name`` is what was asked for in the handshake."""

    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    scheme: str
    server_name: str | None = None

    def state(self, shared: dict[str, Any]) -> dict[str, Any]:
        """The state of one request. ``shared`` is that of the socket, which changes when another listener gets it."""
        return shared.copy() if self.server_name is None else {**shared, SERVER_NAME: self.server_name}


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """What ``transport`` knows of them."""
    secured = transport.get_extra_info("ssl_object")
    return Peer(
        address_of(transport.get_extra_info("peername")),
        address_of(transport.get_extra_info("sockname")),
        "http" if transport.get_extra_info("sslcontext") is None else "https",
        server_name_of(secured) if secured is not None else None,
    )


def address_of(name: Any) -> tuple[str, int] | None:
    """Host and port of a socket's name, None for a Unix socket."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
