"""Header fields between client and backend: what belongs to a connection stays on it (RFC 9110 §7.6.1)."""

from collections.abc import Iterable

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

_USUAL = frozenset({b"", b"close", b"keep-alive"})


def end_to_end(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """``fields`` (names in lower case) without those of the connection, in their order, repeated ones kept."""
    found: Fields = []
    options = b""
    for field in fields:
        if field[0] not in HOP_BY_HOP:
            found.append(field)
        elif field[0] == b"connection":
            options += b"," + field[1]
    if options:
        named = {option.strip().lower() for option in options.split(b",")} - _USUAL
        if named:
            found = [field for field in found if field[0] not in named or field[0].startswith(_KEPT_PREFIXES)]
    return found


def framing(fields: Iterable[tuple[bytes, bytes]]) -> tuple[int | None, bool]:
    """How long the body of a request with ``fields`` is, and whether its client waits to be told to send it.

    0 is no body, None is one in chunks: its framing says so, never the method (RFC 9112 §6.3).
    """
    length: int | None = 0
    waits = False
    for name, value in fields:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            length = None
        elif name == b"expect":
            waits = value.lower() == b"100-continue"
    return length, waits
