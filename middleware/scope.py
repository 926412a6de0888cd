"""What the gateway keeps in a request's ASGI scope for a rule and its filters."""

from collections.abc import Iterable
from typing import Final

from starlette.types import Scope

#: The path below the gateway's mount as bytes, still encoded and without the query: what is sent to the backend.
TARGET_PATH: Final = "moongate.path"

#: Which of the Gateway's ports the request came to, by the number in the Gateway's ``listeners``.
LISTENER_PORT: Final = "moongate.port"

#: The same as the port's key in the routing table, by which requests are counted.
SERVED_PORT: Final = "moongate.served_port"

#: The names, in lower case with dashes, of fields that filters have the say in: none may come behind the body instead,
#: where a backend would put it to those of the head.
DECIDED: Final = "moongate.decided"

#: With tracing, the request's part in its trace (:class:`middleware.tracing.Trace`).
TRACE: Final = "moongate.trace"

_OURS: Final = "moongate."
_KEPT: Final = frozenset({TARGET_PATH, LISTENER_PORT, TRACE})


def decided(scope: Scope, names: frozenset[bytes]) -> frozenset[bytes]:
    """:data:`DECIDED` for the next scope, with ``names`` of one more filter."""
    before: frozenset[bytes] | None = scope.get(DECIDED)
    return names if before is None else before | names


def dashed(names: Iterable[bytes]) -> frozenset[bytes]:
    """``names`` with dashes for underscores, which a backend behind CGI or WSGI cannot tell apart."""
    return frozenset(name.replace(b"_", b"-") for name in names)


def detached(scope: Scope) -> Scope:
    """A copy of ``scope`` for a request of the gateway's own, which nothing connects with the client any more.

    Without the client's connection no answer can go there, and without the record none is taken for the client's. Of
    the client's trace it stays a part.
    """
    return {
        key: value
        for key, value in scope.items()
        if (not key.startswith(_OURS) or key in _KEPT) and key != "extensions"
    }
