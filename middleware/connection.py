"""Fields of one connection, and those that ``Connection`` declares to be such (RFC 9110 §7.6.1)."""

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

_name = itemgetter(0)


def without_named(fields: Fields, options: bytes) -> Fields:
    """``fields`` without those that ``Connection`` names, which are joined with commas in ``options``.

    :data:`HOP_BY_HOP` is for the caller: some of it says how the body is framed.
    """
    if options[1:] in USUAL_OPTIONS:
        return fields
    named = {option.strip().lower() for option in options.split(b",")} - USUAL_OPTIONS - HOP_BY_HOP
    if named:
        return [field for field in fields if field[0] not in named or field[0].startswith(_KEPT_PREFIXES)]
    return fields


def settled(fields: Fields) -> Fields:
    """``fields`` of a request (names in lower case) after what its client said in ``Connection`` was done.

    Whoever adds fields does this first: the last hop does what ``Connection`` says, and a client that names a field of
    the gateway's would have it taken away. ``fields`` itself where there is nothing to do.
    """
    if b"connection" not in map(_name, fields):
        return fields
    options = b"".join(b"," + value for name, value in fields if name == b"connection")
    return without_named([field for field in fields if field[0] != b"connection"], options)
