"""Listeners that want the same: which of them lose, and why.

Distinct listeners of one protocol differ in port or hostname (GatewaySpec.listeners, "Distinct Listeners"). Of what is
served here, HTTP and HTTPS cannot share a port.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from routes.graph.protocols import OVER_TCP, ROUTE_KINDS
from routes.resources.gateway import Listener, UnreadableListener


class Conflict(NamedTuple):
    """``reason`` is ProtocolConflict or HostnameConflict, ``message`` a sentence."""

    reason: str
    message: str


def inside(listeners: Sequence[Listener]) -> list[Conflict | None]:
    """For each listener of one Gateway its conflict with others of the same Gateway, if it has one.

    Nobody wins: "the implementation MUST NOT pick one conflicting Listener as the winner". Protocols that are not
    served take no part, nor do listeners of which nobody knows what they are for.
    """
    protocols: dict[int, set[str]] = {}
    for listener in listeners:
        if _takes_part(listener):
            protocols.setdefault(listener.port, set()).add(listener.protocol)
    names = Counter((one.port, one.protocol, one.hostname or "") for one in listeners if _takes_part(one))
    found: list[Conflict | None] = []
    for listener in listeners:
        if not _takes_part(listener):
            found.append(None)
        elif len(protocols[listener.port]) > 1:
            others = " and ".join(sorted(protocols[listener.port]))
            found.append(Conflict("ProtocolConflict", f"port {listener.port} is wanted for {others}"))
        elif names[listener.port, listener.protocol, listener.hostname or ""] > 1:
            host = listener.hostname or "any host"
            found.append(Conflict("HostnameConflict", f"several listeners want {host} on port {listener.port}"))
        else:
            found.append(None)
    return found


class Claims:
    """What of a Gateway's ports is taken. Among ListenerSets the first one wins, and the Gateway's own come first.

    Sentences name no other object: who else is on a Gateway is not for every author of a ListenerSet to know.
    """

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self._ports: dict[int, tuple[set[str], set[str]]] = {}
        for listener in listeners:
            if _takes_part(listener):
                protocols, hostnames = self._ports.setdefault(listener.port, (set(), set()))
                protocols.add(listener.protocol)
                hostnames.add(listener.hostname or "")

    def claim(self, listener: Listener) -> Conflict | None:
        """Take what ``listener`` wants, or say what is in the way. A protocol that is not served takes nothing."""
        if listener.protocol not in OVER_TCP or isinstance(listener, UnreadableListener):
            return None
        hostname = listener.hostname or ""
        taken = self._ports.get(listener.port)
        if taken is None:
            if listener.protocol in ROUTE_KINDS:
                self._ports[listener.port] = ({listener.protocol}, {hostname})
            return None
        protocols, hostnames = taken
        if protocols != {listener.protocol}:
            others = " and ".join(sorted(protocols))
            return Conflict("ProtocolConflict", f"port {listener.port} is taken for {others}")
        if hostname in hostnames:
            return Conflict("HostnameConflict", f"{hostname or 'any host'} is taken on port {listener.port}")
        hostnames.add(hostname)
        return None


def _takes_part(listener: Listener) -> bool:
    return listener.protocol in ROUTE_KINDS and not isinstance(listener, UnreadableListener)
