"""Header fields between client and backend, and how a request's body is framed (RFC 9110 §7.6.1)."""

from collections.abc import Iterable, Sequence
from operator import itemgetter

from middleware.connection import HOP_BY_HOP, without_named

Fields = list[tuple[bytes, bytes]]

#: That a client takes trailers, the only thing of TE that is passed on: transfer codings end at each connection.
TE_TRAILERS = (b"te", b"trailers")


class KeptFields(Fields):
    """Fields that are those of many requests or answers, with what was made of them: see :func:`bodiless`.

    Nobody changes them.
    """

    __slots__ = ("answer", "forwarded", "lines")

    def __init__(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        super().__init__(fields)
        self.forwarded: KeptFields | None = None
        #: From the end of the request line on, as HTTP/1.1 sends them.
        self.lines: bytes | None = None
        #: The answer that is relayed with them: its fields, its length, and its head as HTTP/1.1 sends it.
        self.answer: tuple[Sequence[tuple[bytes, bytes]], int, bytes] | None = None


def worth_remembering(missed: int) -> bool:
    """Whether to remember a head, where as many in a row as ``missed`` were not the one remembered.

    It costs something, for nothing where no two are alike: of such heads few are.
    """
    return missed <= 8 or missed % 32 == 0


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


def bodiless(fields: Fields) -> Fields:
    """What :func:`forwarded` passes on of a request without a body: made once of :class:`KeptFields`."""
    if type(fields) is not KeptFields:
        return forwarded(fields)[0]
    if fields.forwarded is None:
        fields.forwarded = KeptFields(forwarded(fields)[0])
    return fields.forwarded


def takes_trailers(te: bytes) -> bool:
    """Whether a TE field says that fields behind a body are welcome (RFC 9110 §10.1.4)."""
    return any(option.strip(b" \t").lower() == b"trailers" for option in te.split(b","))


def trailing(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Those of ``fields`` (names in lower case) that may stand behind a body (RFC 9110 §6.5.1).

    Who gets them may put them to those of the head: what frames, routes or authenticates a message would then count
    although nobody on the way has checked it.
    """
    return [field for field in fields if field[0] not in _NEVER_TRAILING and not field[0].startswith(_TRUSTED_PREFIXES)]


def head_size(fields: Iterable[tuple[bytes, bytes]]) -> int:
    """The bytes that ``fields`` take in a head of HTTP/1.1."""
    return sum(len(name) + len(value) + 4 for name, value in fields)
