"""HTTPS listeners of one port whose hostnames or certificates overlap (condition OverlappingTLSConfig).

A client may use a connection that it opened for one of them for hosts of the other (RFC 9110 §4.3.3).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from routes.graph import conditions
from routes.graph.nodes import Condition, ListenerNode, Options


def overlaps(listeners: Sequence[ListenerNode], options: Options) -> list[Condition | None]:
    """For each listener of one Gateway, with its ListenerSets', the condition, or None: it is never written as False.

    "If a controller supports checking for both possible reasons and finds that both are true, it SHOULD set the
    OverlappingCertificates Reason."
    """
    by_port: dict[int, list[int]] = {}
    for index, listener in enumerate(listeners):
        if listener.source.protocol == "HTTPS" and not _conflicted(listener):
            by_port.setdefault(listener.source.port, []).append(index)
    found: list[Condition | None] = [None] * len(listeners)
    for port, places in by_port.items():
        if len(places) == 1:
            continue
        hostnames = {index: (listeners[index].source.hostname or "",) for index in places}
        names = {index: _names(listeners[index], options) for index in places}
        for reason, what, overlapping in (
            ("OverlappingHostnames", "hostnames", _overlapping(hostnames, _wider_hostnames)),
            ("OverlappingCertificates", "certificates", _overlapping(names, _wider_names)),
        ):
            message = f"another listener on port {port} has {what} that overlap with its own"
            for index in overlapping:
                generation = listeners[index].conditions[0].observed_generation
                found[index] = conditions.listener_overlapping(generation, reason, message)
    return found


def _names(listener: ListenerNode, options: Options) -> set[str]:
    return {name for pair in listener.certificates for name in options.certificate_names(pair.certificate)}


def _conflicted(listener: ListenerNode) -> bool:
    return any(condition.type == "Conflicted" and condition.status for condition in listener.conditions)


def _overlapping(names: Mapping[int, Iterable[str]], wider: Callable[[str], Iterator[str]]) -> set[int]:
    """The keys of which one name equals, or is covered by, a name of another key."""
    owners: dict[str, set[int]] = {}
    for index, several in names.items():
        for name in several:
            owners.setdefault(name, set()).add(index)
    shared = {name for name, indexes in owners.items() if len(indexes) > 1}
    for name, indexes in owners.items():
        for pattern in wider(name):
            # Where both are one key's alone, that key overlaps with nobody but itself.
            if owners.get(pattern, indexes) != indexes:
                shared |= {name, pattern}
    return {index for name in shared for index in owners[name]}


def _wider_hostnames(name: str) -> Iterator[str]:
    """The hostnames of listeners that cover ``name``: wildcards of one or more labels, and "" for any host."""
    if name:
        yield ""
    labels = name.removeprefix("*.").split(".")
    for count in range(1, len(labels)):
        yield "*." + ".".join(labels[count:])


def _wider_names(name: str) -> Iterator[str]:
    """The names of certificates that cover ``name``: there a wildcard is one label (RFC 9525 §6.3)."""
    first, _, rest = name.partition(".")
    if first != "*":
        yield f"*.{rest}"
