"""What HTTP/2 messages may be made of (RFC 9113 §8). What is malformed is refused, never mended."""

import re
from dataclasses import dataclass
from typing import Any, Final

from app.http2.compression import NAME, STATIC, Fields
from app.http2.frames import Code, StreamFailure

#: Neither control characters nor blanks at the ends (§8.2.1, RFC 9110 §5.5).
_VALUE = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

#: Fields of a connection of HTTP/1.1 (§8.2.2).
CONNECTION_SPECIFIC: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)

#: Of registered methods (RFC 9110 §16.1.1), by far.
_LONGEST_METHOD: Final = 32

_NOTED: Final = CONNECTION_SPECIFIC | {b"te", b"content-length"}
#: Names that need not be looked at: those of the static table.
_FAMILIAR: Final = frozenset(name for name, _ in STATIC[1:] if name[:1] != b":") - _NOTED

_REQUEST: Final = frozenset({b":method", b":scheme", b":authority", b":path"})
_EXTENDED: Final = _REQUEST | {b":protocol"}
_RESPONSE: Final = frozenset({b":status"})


@dataclass(slots=True)
class RequestHead:
    """A well-formed request. ``fields`` are without pseudo-header fields, cookies in one.

    One and the same stands for every request that has the same header block: nobody may change it. What is worked out
    once from it can be kept in ``memo``.
    """

    method: str
    scheme: bytes | None
    authority: bytes | None
    path: bytes | None
    #: Of an extended CONNECT (RFC 8441 §4).
    protocol: bytes | None
    fields: Fields
    #: What Content-Length says.
    length: int | None
    memo: Any = None


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A well-formed response, also an interim one."""

    status: int
    fields: Fields
    length: int | None


def request(decoded: Fields, *, extended_connect: bool) -> RequestHead:
    """The request of a header list. Raises StreamFailure for one that is malformed (§8.1.1, §8.3.1, §8.5)."""
    pseudo, fields, length = _split(decoded, _EXTENDED if extended_connect else _REQUEST)
    method, scheme, path = pseudo.get(b":method"), pseudo.get(b":scheme"), pseudo.get(b":path")
    authority, protocol = pseudo.get(b":authority"), pseudo.get(b":protocol")
    if method is None or _TOKEN.fullmatch(method) is None:
        raise _malformed("no method")
    if method == b"CONNECT" and protocol is None:
        if scheme is not None or path is not None or not authority:
            raise _malformed("a CONNECT of another form")
    elif protocol is not None and (method != b"CONNECT" or not authority):
        raise _malformed("a protocol without a CONNECT")
    elif scheme is None or not path:
        raise _malformed("no scheme or no path")
    return RequestHead(method.decode("ascii"), scheme, authority, path, protocol, _with_one_cookie(fields), length)


def guessed(decoded: Fields) -> RequestHead:
    """What a header list that makes no request would seem to ask for. Nothing of it is checked but the method."""
    pseudo = {name: value for name, value in decoded if name in _EXTENDED}
    method = pseudo.get(b":method", b"")
    fields = [field for field in decoded if field[0][:1] != b":"]
    return RequestHead(
        method.decode("ascii") if _TOKEN.fullmatch(method) and len(method) <= _LONGEST_METHOD else "-",
        pseudo.get(b":scheme"),
        pseudo.get(b":authority"),
        pseudo.get(b":path", b"-"),
        pseudo.get(b":protocol"),
        fields,
        None,
    )


def response(decoded: Fields) -> ResponseHead:
    """The response of a header list. Raises StreamFailure for one that is malformed (§8.3.2)."""
    pseudo, fields, length = _split(decoded, _RESPONSE)
    code = pseudo.get(b":status", b"")
    if len(code) != 3 or not code.isdigit() or not b"100" <= code <= b"599":
        raise _malformed("no status")
    if code == b"101":
        raise _malformed("an upgrade, which HTTP/2 has not")
    return ResponseHead(int(code), fields, length)


def trailers(decoded: Fields) -> Fields:
    """The trailers of a header list. Raises StreamFailure for malformed ones (§8.1)."""
    return _split(decoded, frozenset())[1]


def _split(decoded: Fields, allowed: frozenset[bytes]) -> tuple[dict[bytes, bytes], Fields, int | None]:
    pseudo: dict[bytes, bytes] = {}
    fields: Fields = []
    length: int | None = None
    fits = _VALUE.fullmatch
    for field in decoded:
        name, value = field
        if fits(value) is None:
            raise _malformed("bytes that do not belong into a value")
        if name in _FAMILIAR:
            fields.append(field)
        elif name[:1] == b":":
            if fields or name in pseudo or name not in allowed:
                raise _malformed("a pseudo-header field out of place")
            pseudo[name] = value
        else:
            if name in _NOTED:
                if name == b"content-length":
                    if length is not None or not value.isdigit() or len(value) > 18:
                        raise _malformed("a Content-Length in doubt")
                    length = int(value)
                elif name != b"te" or value.lower() != b"trailers":
                    raise _malformed("a field of the connection")
            elif NAME.fullmatch(name) is None:
                raise _malformed("bytes that do not belong into a name")
            fields.append(field)
    return pseudo, fields, length


def _with_one_cookie(fields: Fields) -> Fields:
    """Cookie crumbs made one field again, in the place of the first (§8.2.3)."""
    crumbs = [value for name, value in fields if name == b"cookie"]
    if len(crumbs) < 2:
        return fields
    joined: Fields = []
    for field in fields:
        if field[0] != b"cookie":
            joined.append(field)
        elif crumbs:
            joined.append((b"cookie", b"; ".join(crumbs)))
            crumbs = []
    return joined


def _malformed(reason: str) -> StreamFailure:
    return StreamFailure(Code.PROTOCOL_ERROR, reason)
