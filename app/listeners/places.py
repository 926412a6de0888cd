"""Which sockets a routing table asks for, and which of several Gateways gets one that they all want. Nothing is opened
here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple

from routes.table.types import Port, PortKey, RoutingTable

#: Where a socket's PortKey is in ``scope["state"]``.
PORT = "listener"

PROTOCOLS = {"http": "HTTP", "ws": "HTTP", "https": "HTTPS", "wss": "HTTPS"}


class Place(NamedTuple):
    """Where a socket listens: an IP address as the kernel writes it, and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class OwnPlace(NamedTuple):
    """Where the server around us listens by itself. A Unix socket, or one that was passed on, has no number."""

    scheme: str
    address: str
    number: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be open. ``refused``: ports of which some place belongs to another. ``shared``: those that the
    server's own socket serves."""

    wanted: Mapping[Place, PortKey]
    refused: Mapping[PortKey, str] = field(default_factory=dict)
    shared: tuple[PortKey, ...] = ()


def as_set(ports: Mapping[int, int]) -> Callable[[PortKey], int]:
    """The port that a listener's is bound to where ``ports`` says which, else its own."""
    return lambda key: ports.get(key.port, key.port)


def plan(
    table: RoutingTable[Any],
    hosts: Sequence[str],
    bound: Callable[[PortKey], int],
    own: OwnPlace | None = None,
    listener: str = "",
    reserved: Sequence[Place] = (),
) -> Plan:
    """The sockets for ``table``. ``hosts`` are the addresses of Gateways that name none, ``bound`` says which port
    a listener's is bound to (:func:`as_set`), 0 where there is none for it. ``reserved`` are the admin port's.

    Two Gateways never share a socket: the first in the table's order has it. What listens on every address of a port
    stands in the way of what listens on one of them.
    """
    wanted: dict[Place, PortKey] = {}
    refused: dict[PortKey, str] = {}
    shared = _served_by(own, table, bound, listener) if own is not None else ()
    holders: dict[int, list[tuple[str, str]]] = {}
    if own is not None and own.number is not None:
        holders[own.number] = [(own.address, "the server around us")]
    for place in reserved:
        holders.setdefault(place.port, []).append((place.address, "the admin port, MOONGATE_ADMIN,"))
    for key, port in table.ports.items():
        if key in shared:
            continue
        number = bound(key)
        if not number:
            refused[key] = "no port is free for it"
            continue
        held = holders.setdefault(number, [])
        for address in port.addresses or hosts:
            place = Place(str(ip_address(address)), number)
            holder = next((name for other, name in held if overlap(other, place.address)), None)
            if holder is not None:
                refused.setdefault(key, f"{place}: {holder} has it already")
            else:
                held.append((place.address, f"Gateway {key.gateway.qualified_name}, port {key.port},"))
                wanted[place] = key
    return Plan(wanted, refused, shared)


def stands_for(
    own: OwnPlace, table: RoutingTable[Any], bound: Callable[[PortKey], int], listener: str
) -> tuple[PortKey | None, bool]:
    """The port of ``table`` that a connection to ``own`` is for, and whether that is plain from port and address.

    A listener with the same bound port and protocol is meant, of a Gateway with this address rather than of one
    without any. Where there is none it is ``listener`` (``namespace/gateway/listener``), or without that the first
    HTTP listener of the first Gateway.
    """
    without: PortKey | None = None
    for key, port in table.ports.items():
        if not _same_port(own, key, port, bound):
            continue
        if own.address in port.addresses:
            return key, True
        if not port.addresses and without is None:
            without = key
    if without is not None:
        return without, True
    return table.listeners.get(listener) if listener else table.first("HTTP"), False


def _served_by(
    own: OwnPlace, table: RoutingTable[Any], bound: Callable[[PortKey], int], listener: str
) -> tuple[PortKey, ...]:
    """The ports that the server's own socket serves, so that none is to be opened for them."""
    named = [
        key
        for key, port in table.ports.items()
        if _same_port(own, key, port, bound)
        and port.addresses
        and all(overlap(own.address, address) for address in port.addresses)
    ]
    general, _ = stands_for(own._replace(address=""), table, bound, listener)
    if general is not None and not table.ports[general].addresses:
        named.append(general)
    return tuple(named)


def _same_port(own: OwnPlace, key: PortKey, port: Port[Any], bound: Callable[[PortKey], int]) -> bool:
    return bound(key) == own.number and port.protocol == PROTOCOLS[own.scheme]


def overlap(one: str, other: str) -> bool:
    """Whether a socket on the one address stands in the way of one on the other, the port being the same."""
    first, second = _address(one), _address(other)
    if first is None or second is None:
        return one == other
    if first.version != second.version:
        return False
    return first == second or first.is_unspecified or second.is_unspecified


def is_one_address(text: str) -> bool:
    """Whether it is an IP address by which a client may come, and not all of a machine's."""
    address = _address(text)
    return address is not None and not address.is_unspecified


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None  # a host name, which only the server around us knows how to read
