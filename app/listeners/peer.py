"""The two ends of a client's connection, in the words of ASGI."""

import asyncio
from typing import Any, NamedTuple


class Peer(NamedTuple):
    """Who asks, where, and in which scheme."""

    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    scheme: str


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """What ``transport`` knows of them."""
    return Peer(
        address_of(transport.get_extra_info("peername")),
        address_of(transport.get_extra_info("sockname")),
        "http" if transport.get_extra_info("sslcontext") is None else "https",
    )


def address_of(name: Any) -> tuple[str, int] | None:
    """Host and port of a socket's name, None for a Unix socket."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
