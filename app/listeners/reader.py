"""HTTP/1.1 requests from a client's bytes. What could be read in two ways is refused, never guessed (RFC 9112 §6, §11).

httptools (llhttp, the parser of Node.js) splits the bytes and refuses most of what is malformed; what it leaves to its
user is checked here: limits, versions, transfer codings, the target and the host.

Clients send the same fields with request after request. Where all that follows a plain request line is, byte by byte,
what was read and found good behind the last one, and nothing else has come, it is not read again.
"""

import re
from typing import Final, Protocol

import httptools

from app.listeners.cycle import KnownFields
from app.listeners.target import Fields, check_host, split_target
from app.upstream.fields import head_size, takes_trailers, worth_remembering
from app.websocket.handshake import names_websocket
from middleware.errors import BadRequest, HeadTooLarge, NotImplementedHere, TargetTooLong

#: Bytes of a request target and of a head's fields, and how many fields it has (Envoy's are 60 KiB and 100).
MAX_TARGET: Final = 16 * 1024
MAX_HEAD: Final = 64 * 1024
MAX_FIELDS: Final = 100
#: Bytes without a whole field or a piece of a body in them: of a head that does not end, of trailers, of extensions.
MAX_UNFRAMED: Final = 2 * MAX_HEAD
#: Bytes of a head that is remembered.
MAX_KNOWN: Final = 4 * 1024

#: A request line in which nothing but the target is left to read: what it asks for is a path, and needs no body.
_PLAIN_LINE: Final = re.compile(rb"(GET|HEAD|OPTIONS|POST|PUT|PATCH|DELETE) (/[!$-;=?-\[\]-~]*) HTTP/1\.1")

_NOTED: Final = frozenset({b"host", b"transfer-encoding", b"content-length", b"expect", b"te"})


class VersionNotServed(BadRequest):
    """Neither HTTP/1.1 nor HTTP/1.0 (RFC 9110 §15.6.6)."""

    status = 505
    message = "this version of HTTP is not served"


class RequestSink(Protocol):
    """What a reader tells, in the order of the bytes."""

    def on_begin(self) -> None:
        """The first byte of a head has come."""

    def on_head(
        self,
        method: str,
        version: str,
        path: bytes,
        query: bytes,
        fields: Fields,
        *,
        keep_alive: bool,
        has_body: bool,
        expects: bool,
    ) -> None:
        """A request has begun; names are in lower case. ``expects``: it asks for 100 (RFC 9110 §10.1.1)."""

    def on_body(self, data: bytes) -> None:
        """A piece of its body, without its framing."""

    def on_end(self, trailers: Fields) -> None:
        """The request is complete."""

    def takes_websocket(self) -> bool:
        """Whether a handshake that came now could become a WebSocket."""

    def on_websocket(self, path: bytes, query: bytes, fields: Fields) -> None:
        """A WebSocket handshake. Everything behind it comes by :meth:`on_early`."""

    def on_early(self, data: bytes) -> None:
        """Bytes behind a WebSocket handshake."""


class RequestReader:
    """Reads the requests of one connection."""

    def __init__(self, sink: RequestSink) -> None:
        self._sink = sink
        self._parser = httptools.HttpRequestParser(self)
        #: Whether a head has begun and not ended.
        self.in_head = False
        self._target = b""
        self._fields: Fields = []
        #: The field that says how the body comes, whether the client waits to be told to send it, and where Host is.
        self._framing: tuple[bytes, bytes] | None = None
        self._expects = False
        #: Whether the client takes fields behind an answer's body.
        self.takes_trailers = False
        self._host = -1
        self._unframed = 0
        #: Bytes that the parser has at this moment.
        self._chunk = 0
        #: The fields of the request that is told of, if they were those of an earlier one; and those to look out for.
        self.known: KnownFields | None = None
        self._remembered: KnownFields | None = None
        #: How many there were in a row that were not known.
        self._missed = 0
        # Whether all that has come is whole requests, so that the parser is at the beginning of one; whether the last
        # one is whole; and its fields, if such a head can stand behind any plain request line.
        self._between = True
        self._whole = False
        self._plain: Fields | None = None
        # A head that asks for another protocol ends httptools' reading. To read on, a parser of its own gets the
        # request's framing once more.
        self._upgrading = False
        self._replaying = False
        #: Path and query of a WebSocket handshake; behind it there is no HTTP any more.
        self._websocket: tuple[bytes, bytes] | None = None

    @property
    def head_only(self) -> bool:
        """Whether the head that is being read is one of HEAD, whose answer has no body."""
        return self.in_head and self._parser.get_method() == b"HEAD"

    @property
    def begun(self) -> tuple[str, str, bytes, Fields]:
        """Method, version, target and fields of the head that is being read, as far as they have come."""
        if not (self.in_head and self._target):
            return "-", "1.1", b"-", []
        version = self._parser.get_http_version()
        return (
            self._parser.get_method().decode("ascii"),
            version if version != "0.0" else "1.1",
            self._target,
            self._fields,
        )

    def feed(self, data: bytes) -> None:
        """Take bytes and tell the sink. Raises GatewayError, after which the reader is of no more use."""
        if self._websocket is not None:
            self._sink.on_early(data)
            return
        between, self._between = self._between, False
        if between and self._is_known(data):
            return
        self.known = None
        rest = data
        while rest:
            self._chunk = len(rest)
            self._unframed += self._chunk
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                if self._websocket is not None:
                    self._sink.on_websocket(*self._websocket, self._fields)
                    if rest:
                        self._sink.on_early(rest)
                    return
                self._read_on()
            except httptools.HttpParserError as error:
                raise (error.__context__ or BadRequest(detail=str(error))) from None
            else:
                break
        if self._unframed > MAX_UNFRAMED + len(data):
            raise HeadTooLarge if self.in_head else BadRequest("too much around the pieces of the body")
        self._between = self._whole and data.endswith(b"\r\n\r\n")
        if between and self._between and self._plain is not None:
            self._missed += 1
            if worth_remembering(self._missed):
                self._remember(data, self._plain)

    def close(self) -> None:
        """Let go of the parser, which holds this reader as the reader holds it."""
        del self._parser, self._sink

    # httptools' callbacks

    def on_message_begin(self) -> None:
        if self._replaying:
            return
        self._target, self._fields = b"", []
        self._framing, self._expects, self.takes_trailers, self._host = None, False, False, -1
        self._unframed = 0
        self.in_head = True
        self._whole = False
        self._plain = None
        self._sink.on_begin()

    def on_url(self, url: bytes) -> None:
        if self._replaying:
            return
        self._target += url
        if len(self._target) > MAX_TARGET:
            raise TargetTooLong

    def on_header(self, name: bytes, value: bytes) -> None:
        fields = self._fields
        field = name.lower(), value.rstrip(b" \t")
        if field[0] in _NOTED and self.in_head:
            self._note(field)
        fields.append(field)
        if len(fields) > MAX_FIELDS:
            raise HeadTooLarge if self.in_head else BadRequest("too many fields behind the body")

    def on_headers_complete(self) -> None:
        if self._replaying:
            return
        parser = self._parser
        method = parser.get_method().decode("ascii")
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise VersionNotServed
        if method == "CONNECT":
            raise NotImplementedHere
        authority, path, query = split_target(method, self._target)
        fields = self._fields
        # A head that is in one piece is not larger than the piece.
        if (self._unframed or self._chunk > MAX_HEAD) and head_size(fields) > MAX_HEAD:
            raise HeadTooLarge
        if self._host == -2:
            raise BadRequest("more than one Host")
        check_host(fields, self._host, version, authority)
        framing = self._framing
        if framing is not None and framing[0] == b"transfer-encoding":
            _check_coding(framing[1], version)
        has_body = framing is not None and framing[1].strip(b"0") != b""
        self.in_head = False
        if parser.should_upgrade():
            self._upgrading = True
            if version == "1.1" and names_websocket(fields) and self._sink.takes_websocket():
                if method != "GET" or has_body:
                    raise BadRequest("a WebSocket handshake is a GET without a body")
                self._websocket = (path, query)
                return
        keep_alive = version == "1.1" and parser.should_keep_alive()
        if keep_alive and framing is None and not self._expects and authority is None and not self._upgrading:
            self._plain = fields.copy()  # the application's are its own
        self._fields = []  # What comes behind the body must never come among the fields of the head.
        self._sink.on_head(
            method,
            version,
            path,
            query,
            fields,
            keep_alive=keep_alive,
            has_body=has_body,
            # A client of HTTP/1.0 does not know the interim answer.
            expects=self._expects and version == "1.1",
        )

    def on_body(self, data: bytes) -> None:
        self._unframed = 0
        self._sink.on_body(data)

    def on_message_complete(self) -> None:
        if not self._upgrading:
            self._whole = self._parser.should_keep_alive()
            self._sink.on_end(self._fields)

    # Inside

    def _is_known(self, data: bytes) -> bool:
        """Tell of the one request that ``data`` is, if its fields are known. It comes between two others."""
        known = self._remembered
        if known is None or not data.endswith(known.lines) or len(data) > MAX_TARGET:
            return False
        line = _PLAIN_LINE.fullmatch(data, 0, len(data) - len(known.lines))
        if line is None:
            return False
        self._sink.on_begin()
        self._missed = 0
        self.known = known
        self.takes_trailers = known.takes_trailers
        path, _, query = line[2].partition(b"?")
        self._sink.on_head(
            line[1].decode("ascii"),
            "1.1",
            path,
            query,
            list(known.fields),
            keep_alive=True,
            has_body=False,
            expects=False,
        )
        self._between = True
        self._sink.on_end([])
        return True

    def _remember(self, data: bytes, fields: Fields) -> None:
        """``data`` is heads of requests without a body. If it is one: its fields may come again."""
        start = data.find(b"\r\n")
        if len(data) > MAX_KNOWN or data.find(b"\r\n\r\n") != len(data) - 4:
            return
        if _PLAIN_LINE.fullmatch(data, 0, start) is not None:
            self._remembered = KnownFields(data[start:], fields, takes_trailers=self.takes_trailers)

    def _note(self, field: tuple[bytes, bytes]) -> None:
        """A field of the head that decides how the request is read."""
        name, value = field
        if name == b"host":
            self._host = len(self._fields) if self._host == -1 else -2
        elif name == b"expect":
            self._expects = value.lower() == b"100-continue"
        elif name == b"te":
            self.takes_trailers = self.takes_trailers or takes_trailers(value)
        else:
            if name == b"transfer-encoding" and self._framing is not None:
                field = name, self._framing[1] + b"," + value
            self._framing = field

    def _read_on(self) -> None:
        """Go on as though no other protocol had been asked for (RFC 9110 §7.8)."""
        self._parser = httptools.HttpRequestParser(self)
        self._upgrading = False
        self._replaying = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b: %b\r\n\r\n" % (self._framing or (b"content-length", b"0")))
        self._replaying = False
        self._fields = []


def _check_coding(value: bytes, version: str) -> None:
    """Raises for a body that is not plainly chunked (RFC 9112 §6.1)."""
    codings = value.lower()
    if codings != b"chunked" and any(coding.strip() != b"chunked" for coding in codings.split(b",")):
        raise NotImplementedHere("the transfer coding is not served")
    if version == "1.0" or codings != b"chunked":
        raise BadRequest("a transfer coding in doubt")
