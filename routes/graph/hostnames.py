"""Where the hostnames of a listener and of a route meet (semantics of ``spec.hostnames``, Gateway API v1)."""

from collections.abc import Sequence


def covers(pattern: str, hostname: str) -> bool:
    """Whether ``*.example.com`` stands for ``hostname``: one or more labels more, never the apex.

    ``hostname`` may itself be a wildcard; the narrower one is covered by the wider one.
    """
    return pattern.startswith("*.") and hostname != pattern and hostname.endswith(pattern[1:])


def meeting(listener: str | None, route: Sequence[str]) -> tuple[str, ...] | None:
    """The hostnames that a route serves on a listener; empty stands for any host, None says that they do not meet.

    Either side may be silent and then takes the other's. Route hostnames that do not meet are left out.
    """
    if not listener:
        return tuple(route)
    if not route:
        return (listener,)
    met = [
        hostname if hostname == listener or covers(listener, hostname) else listener
        for hostname in route
        if hostname == listener or covers(listener, hostname) or covers(hostname, listener)
    ]
    return tuple(dict.fromkeys(met)) or None
