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

#: That a client takes trailers, the only thing of TE that is passed on: transfer codings end at each connection.
TE_TRAILERS = (b"te", b"trailers")

_NEVER_TRAILING = HOP_BY_HOP | {
    # framing and form of the body
    b"content-encoding", b"content-length", b"content-range", b"content-type",
    # routing, controls and conditions
    b"host", b"cache-control", b"expect", b"http2-settings", b"max-forwards", b"pragma", b"range", b"if-match",
    b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since",
    # authentication
    b"authorization", b"cookie", b"set-cookie", b"www-authenticate",
    # what decides on an answer
    b"age", b"date", b"expires", b"location", b"retry-after", b"vary",
}  # fmt: skip
_TRUSTED_PREFIXES = (b"x-forwarded-", b"x-real-ip", b"forwarded")

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
    """:func:`end_to_end` of a request's ``fields``, how long its body is, and whether its client waits with it.

    0 is no body, None is one in chunks: its framing says so, never the method (RFC 9112 §6.3). Of a connection's fields
    two things are passed on: that the client takes trailers, and which ones it announces behind its chunks.
    """
    if _NOTED.isdisjoint(map(_name, fields)):
        return list(fields), 0, False
    found: Fields = []
    options = b""
    length: int | None = 0
    waits = False
    announced: Fields = []
    for field in fields:
        name = field[0]
        if name not in _NOTED:
            found.append(field)
        elif name == b"connection":
            options += b"," + field[1]
        elif name == b"transfer-encoding":
            length = None
        elif name == b"te":
            if takes_trailers(field[1]) and TE_TRAILERS not in announced:
                announced.insert(0, TE_TRAILERS)
        elif name == b"trailer":
            announced.append(field)
        elif name not in HOP_BY_HOP:
            found.append(field)
            if name == b"content-length":
                length = int(field[1])
            else:
                waits = field[1].lower() == b"100-continue"
    if options:
        found = without_named(found, options)
    if announced:
        found += announced if length is None else [field for field in announced if field is TE_TRAILERS]
    return found, length, waits


def takes_trailers(te: bytes) -> bool:
    """Whether a TE field says that fields behind a body are welcome (RFC 9110 §10.1.4)."""
    return any(option.strip(b" \t").lower() == b"trailers" for option in te.split(b","))


def trailing(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Those of ``fields`` (names in lower case) that may stand behind a body (RFC 9110 §6.5.1).

    Who gets them may put them to those of the head: what frames, routes or authenticates a message would then count
    although nobody on the way has checked it.
    """
    return [field for field in fields if field[0] not in _NEVER_TRAILING and not field[0].startswith(_TRUSTED_PREFIXES)]


def without_named(fields: Fields, options: bytes) -> Fields:
    """``fields`` without those that ``Connection`` names."""
    if options[1:] in USUAL_OPTIONS:
        return fields
    named = {option.strip().lower() for option in options.split(b",")} - USUAL_OPTIONS
    if named:
        return [field for field in fields if field[0] not in named or field[0].startswith(_KEPT_PREFIXES)]
    return fields


def head_size(fields: Iterable[tuple[bytes, bytes]]) -> int:
    """The bytes that ``fields`` take in a head of HTTP/1.1."""
    return sum(len(name) + len(value) + 4 for name, value in fields)
