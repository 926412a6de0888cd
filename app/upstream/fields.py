"""Header fields between client and backend: what belongs to a connection stays on it (RFC 9110 §7.6.1)."""

from collections.abc import Iterable, Sequence

Fields = list[tuple[bytes, bytes]]

#: Fields of one connection, whether ``Connection`` names them or not.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

#: Fields that a sender cannot have removed by naming them in ``Connection``: backends decide on them.
_KEPT_PREFIXES = (b"x-forwarded-", b"x-real-ip", b"forwarded", b"host", b"content-", b"authorization", b"cookie")


def end_to_end(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """``fields`` (names in lower case) without those of the connection, in their order, repeated ones kept."""
    found = [(name, value) for name, value in fields if name not in HOP_BY_HOP]
    named = connection_options(fields)
    if named:
        found = [(name, value) for name, value in found if name not in named or name.startswith(_KEPT_PREFIXES)]
    return found


def connection_options(fields: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """What the ``Connection`` fields name, in lower case, but for the usual ``close`` and ``keep-alive``."""
    return frozenset(
        option
        for name, value in fields
        if name == b"connection"
        for part in value.split(b",")
        if (option := part.strip().lower()) not in (b"", b"close", b"keep-alive")
    )


def has_body(fields: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a request with ``fields`` has a body: its framing says so, never its method (RFC 9112 §6.3)."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0") != b"")
        for name, value in fields
    )


def is_chunked(fields: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether the length of the body is not known beforehand."""
    return any(name == b"transfer-encoding" for name, _ in fields)
