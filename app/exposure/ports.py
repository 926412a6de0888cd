"""Which ports of a pod the listeners of a cluster's Gateways are bound to.

One pod serves all Gateways, so that two listeners on port 80 need two ports of it, and every replica has to find the
same ones without asking: a port is where a hash of the Gateway's name leads, or the next one that is free. What the
Gateway's Service says already goes before that. Nothing is read or written here.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Final

from routes.table.types import PortKey

#: Above the ports that programs are known by, below those that Linux gives to connections (from 32768 on).
FIRST: Final = 10_000
LAST: Final = 29_999
_SPAN: Final = LAST - FIRST + 1


@lru_cache(4096)
def home(key: PortKey) -> int:
    """The port that ``key`` has if nobody else is there."""
    gateway = key.gateway
    text = f"{gateway.group}/{gateway.namespace}/{gateway.name}:{key.port}"
    return FIRST + int.from_bytes(sha256(text.encode()).digest()[:8]) % _SPAN


def allocate(
    wanted: Iterable[PortKey],
    stored: Mapping[PortKey, int],
    held: Mapping[PortKey, int],
    reserved: Collection[int] = (),
) -> dict[PortKey, int]:
    """A port for each of ``wanted``, no two the same; whoever finds none free is left out.

    ``stored`` are the ports that Services say, also of listeners that nobody wants now: as long as one leads to a port,
    nobody else gets it. ``held`` are those that were found before and are not stored yet. ``reserved`` are nobody's.

    Whoever may write a Service may write into it what once was right. Of several that claim the same port, it is kept
    by the one that has it now, and else by the one whose home it is: nobody drives another from there.
    """
    found: dict[PortKey, int] = {}
    taken = set(reserved)

    def claim(key: PortKey, port: int) -> None:
        if FIRST <= port <= LAST and port not in taken and key not in found:
            taken.add(port)
            found[key] = port

    keys = sorted(wanted)

    def precedence(claimed: tuple[PortKey, int]) -> tuple[bool, bool, PortKey]:
        key, port = claimed
        return held.get(key) != port, port != home(key), key

    for key, port in sorted(stored.items(), key=precedence):
        claim(key, port)
    for key in keys:
        if key in held:
            claim(key, held[key])
    for key in keys:
        if key not in found:
            start = home(key)
            free = (FIRST + (start - FIRST + step) % _SPAN for step in range(_SPAN))
            claim(key, next((port for port in free if port not in taken), 0))
    return {key: found[key] for key in keys if key in found}
