"""Header fields between client and backend: what belongs to a connection stays on it (RFC 9110 §7.6.1)."""

from collections.abc import Iterable, Sequence
from operator import itemgetter

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

#: Beginnings of the names of fields that a sender cannot have removed by naming them in ``Connection``: they are for
#: everybody on the way (RFC 9110 §7.6.1), and backends decide on them.
_KEPT_PREFIXES = (
    b"accept", b"access-control-", b"age", b"allow", b"authorization", b"authentication-", b"baggage", b"cache-control",
    b"content-", b"cookie", b"cross-origin-", b"date", b"etag", b"expect", b"expires", b"forwarded", b"from", b"host",
    b"if-", b"last-modified", b"link", b"location", b"max-forwards", b"origin", b"pragma", b"prefer", b"priority",
    b"range", b"referer", b"retry-after", b"sec-", b"server", b"set-cookie", b"strict-transport-security",
    b"traceparent", b"tracestate", b"user-agent", b"vary", b"via", b"www-authenticate", b"x-forwarded-", b"x-real-ip",
    b"x-request-id", b"x-scheme",
)  # fmt: skip

#: Values of ``Connection`` that name no field.
USUAL_OPTIONS = frozenset({b"", b"close", b"keep-alive"})

#: Fields that say how a request's body comes.
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"expect"})
_NOTED = HOP_BY_HOP | _FRAMING

_name = itemgetter(0)


def end_to_end(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """``fields`` (names in lower case) without those of the connection, in their order, repeated ones kept."""
    found: Fields = []
    options = b""
    for field in fields:
        if field[0] not in HOP_BY_HOP:
            found.append(field)
        elif field[0] == b"connection":
            options += b"," + field[1]
    return without_named(found, options) if options else found


def forwarded(fields: Sequence[tuple[bytes, bytes]]) -> tuple[Fields, int | None, bool]:
    """:func:`end_to_end` and :func:`framing` of a request's ``fields`` in one go."""
    if _NOTED.isdisjoint(map(_name, fields)):
        return list(fields), 0, False
    found: Fields = []
    options = b""
    length: int | None = 0
    waits = False
    for field in fields:
        name = field[0]
        if name not in _NOTED:
            found.append(field)
        elif name == b"connection":
            options += b"," + field[1]
        elif name == b"transfer-encoding":
            length = None
        elif name not in HOP_BY_HOP:
            found.append(field)
            if name == b"content-length":
                length = int(field[1])
            else:
                waits = field[1].lower() == b"100-continue"
    return without_named(found, options) if options else found, length, waits


def framing(fields: Sequence[tuple[bytes, bytes]]) -> tuple[int | None, bool]:
    """How long the body of a request with ``fields`` is, and whether its client waits to be told to send it.

    0 is no body, None is one in chunks: its framing says so, never the method (RFC 9112 §6.3).
    """
    return forwarded(fields)[1:]


def without_named(fields: Fields, options: bytes) -> Fields:
    """``fields`` without those that ``Connection`` names."""
    if options[1:] in USUAL_OPTIONS:
        return fields
    named = {option.strip().lower() for option in options.split(b",")} - USUAL_OPTIONS
    if named:
        return [field for field in fields if field[0] not in named or field[0].startswith(_KEPT_PREFIXES)]
    return fields
