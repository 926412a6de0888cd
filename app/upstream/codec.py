"""HTTP/1.1 responses from bytes. One small interface, so that another parser can take this one's place.

A codec is kept for a whole connection. It must refuse what could be read in two ways (RFC 9112 §6, §11): two lengths
that differ, a length beside a transfer coding, a bare line feed, a folded line, a malformed chunk.

Why httptools: the wire suite runs over a codec on zttp, too (``tests/wire/zttp_codec.py``), and random bytes hold the
two against each other. httptools fails no case. zttp takes anything for a chunk's extension; refuses more than 100
fields and lines of more than 16 KiB, which backends do send, and does not let one change that; and calls itself
experimental. By ``python -m benchmarks.codecs`` (httptools 0.9, zttp 0.0.35, CPython 3.11) both cost the same for a
small response, 4.2 to 4.6 µs; for 64 KiB of a body 0.3 and 0.5 µs, since neither copies it, and in 16 chunks 4.8 and
18 µs.
"""

from typing import NamedTuple, Protocol

import httptools

from app.upstream.fields import Fields, KeptFields, head_size, worth_remembering

#: More than any real head has; a backend that sends more is broken or hostile.
MAX_HEAD = 256 * 1024
MAX_FIELDS = 1000


#: Bytes of a head that is remembered.
MAX_KNOWN = 4 * 1024

_FRAMING = frozenset({b"transfer-encoding", b"content-length"})


class ProtocolError(Exception):
    """The backend's bytes are no HTTP/1.1 response."""


class ResponseSink(Protocol):
    """What a codec tells, in the order of the bytes."""

    def on_informational(self, status: int, fields: Fields) -> None:
        """An interim response (1xx)."""

    def on_head(self, status: int, fields: Fields) -> None:
        """The final response has begun; names are in lower case."""

    def on_switch(self, fields: Fields, behind: bytes) -> None:
        """101 to a request that asked for another protocol, and what came ``behind`` it. Nothing else follows."""

    def on_data(self, data: bytes) -> None:
        """A piece of the body, without its framing."""

    def on_end(self, trailers: Fields, *, reusable: bool) -> None:
        """The response is complete; ``reusable``: both sides may use the connection again."""


class ResponseCodec(Protocol):
    """Reads the responses of one connection."""

    def expect(self, method: str, *, upgrade: bool = False) -> None:
        """The next final response answers a request with ``method``: one to HEAD has no body.

        With ``upgrade`` it may be 101 (RFC 9110 §7.8), which without is an error.
        """

    def feed(self, data: bytes) -> None:
        """Take bytes and tell the sink. Raises ProtocolError; the connection is then of no more use."""

    def eof(self) -> None:
        """The connection has ended. Ends a response that is delimited by it; raises ProtocolError inside any other."""

    def close(self) -> None:
        """Let go of the sink: there is nothing more to read."""


class _KnownHead(NamedTuple):
    """A head that began a whole response, and what it was read as. ``length`` is the body's."""

    data: bytes
    status: int
    fields: KeptFields
    length: int


class HttptoolsCodec:
    """On httptools, that is llhttp, the parser of Node.js.

    A backend under load gives many answers that are alike, in the second that their Date tells. A head that is, byte by
    byte, that of the last response is not read again.
    """

    def __init__(self, sink: ResponseSink) -> None:
        self._sink = sink
        self._parser = httptools.HttpResponseParser(self)
        #: Whether a response is to come or has not ended; without one no bytes may come.
        self._expecting = False
        # Of the response that is being read
        self._head_only = False
        self._upgrade = False
        self._status = 0
        #: Those of the head, then those behind the body.
        self._fields: Fields = []
        self._head: Fields = []
        self._in_body = False
        self._delimited = False
        self._chunked = False
        #: Bytes since the last that went to the sink: a field or a chunk's extensions may never end.
        self._unframed = 0
        #: Bytes that the parser has at this moment.
        self._chunk = 0
        #: Bytes of a body of known length that are still to come.
        self._left = 0
        #: Whether they come by the parser, which does not look at them but makes a copy.
        self._parsing = True
        #: How many they were in all.
        self._length = 0
        #: Whether all that has come is whole responses, so that the parser is at the beginning of one.
        self._between = True
        self._known: _KnownHead | None = None
        #: How many there were in a row that did not begin with it.
        self._missed = 0

    def expect(self, method: str, *, upgrade: bool = False) -> None:
        self._expecting = True
        self._upgrade = upgrade
        self._head_only = method == "HEAD"

    def feed(self, data: bytes) -> None:
        if not self._parsing:
            self._take(data)
            return
        between = self._between
        known = self._known
        if known is not None and between and data.startswith(known.data) and self._is_known(data, known):
            return
        self._between = False
        self._chunk = len(data)
        self._unframed += self._chunk
        parser = self._parser
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._status != 101:
                raise ProtocolError("switched protocols without being asked to") from None
            self._sink.on_switch(self._fields, data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            # What a callback raised is its context.
            raise (error.__context__ or ProtocolError(str(error))) from None
        if self._unframed > MAX_HEAD + len(data):
            raise ProtocolError("a head or what is around a chunk has no end")
        if parser is not self._parser and not b"\r\n\r\n".endswith(data[-4:]):
            raise ProtocolError("bytes behind a response that has no body")
        if self._left and self._in_body:
            self._parsing = False
        elif between and self._between and self._delimited and not self._chunked:
            self._missed += 1
            if worth_remembering(self._missed):
                self._remember(data)

    def eof(self) -> None:
        if self._in_body and not self._delimited:
            self._end(reusable=False)
        elif self._expecting:
            raise ProtocolError("the connection ended before the response did")

    def close(self) -> None:
        # The parser holds this codec as the codec holds it, and the sink does, too: no circle of references is left.
        del self._parser, self._sink

    # httptools' callbacks

    def on_message_begin(self) -> None:
        if not self._expecting:
            raise ProtocolError("a response that nobody asked for")
        self._fields = []
        self._unframed = self._left = 0
        self._delimited = self._chunked = False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _FRAMING and not self._in_body:
            self._frame(name, value)
        self._fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        status = self._status = self._parser.get_status_code()
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0") or not 100 <= status <= 599:
            raise ProtocolError("not a response of HTTP/1.1")
        fields, self._fields = self._fields, []
        # A head that is in one piece is not larger than the piece.
        if len(fields) > MAX_FIELDS or ((self._unframed or self._chunk > MAX_HEAD) and head_size(fields) > MAX_HEAD):
            raise ProtocolError("the response's head is too large")
        if self._chunked and version == "1.0":
            raise ProtocolError("a transfer coding in HTTP/1.0")
        if status < 200:
            if status == 101 and not (self._upgrade and version == "1.1" and self._parser.should_upgrade()):
                raise ProtocolError("switched protocols without being asked to")
            if self._delimited:
                raise ProtocolError("an interim response with a body")
            self._fields = fields  # It has no trailers, and is told of when it is complete.
            return
        self._in_body = True
        self._head = fields
        self._sink.on_head(status, fields)
        if self._head_only:
            # llhttp cannot be told that no body follows. Its parser, which would wait for one, is replaced, and what it
            # makes of further bytes of these is an error.
            reusable = self._parser.should_keep_alive()
            self._parser = httptools.HttpResponseParser(self)
            self._end(reusable=reusable)

    def on_body(self, data: bytes) -> None:
        if not self._in_body:
            raise ProtocolError("a body where there can be none")
        self._unframed = 0
        if self._left:
            self._left -= len(data)
        self._sink.on_data(data)

    def on_message_complete(self) -> None:
        if self._status == 101:
            return  # The parser ends here, and tells feed() where.
        if self._status < 200:
            self._sink.on_informational(self._status, self._fields)
        elif self._in_body:
            self._end(reusable=self._parser.should_keep_alive())
        elif self._chunked:
            raise ProtocolError("a body where there can be none")

    def _frame(self, name: bytes, value: bytes) -> None:
        self._delimited = True
        if name == b"transfer-encoding":
            # Another coding would have to be passed on as it is, and hop by hop it cannot be. (llhttp takes no tab
            # behind its name.)
            if value.rstrip(b" ").lower() != b"chunked" or self._chunked:
                raise ProtocolError("a transfer coding that is not chunked")
            self._chunked = True
        elif value.isdigit():
            self._left = self._length = int(value)

    def _is_known(self, data: bytes, known: _KnownHead) -> bool:
        """Tell of a response that begins with a ``known`` head, if one is to come and ``data`` holds no more."""
        body = data[len(known.data) :]
        left = known.length - len(body)
        if left < 0 or not self._expecting or self._head_only or self._upgrade:
            return False
        self._missed = 0
        self._status = known.status
        self._fields = []
        self._in_body = self._delimited = True
        self._chunked = False
        self._sink.on_head(known.status, known.fields)
        if body:
            self._sink.on_data(body)
        self._left = left
        if left:
            self._parsing = False
        else:
            self._end(reusable=True)
        return True

    def _remember(self, data: bytes) -> None:
        """``data`` was read to the end of a response that ends nothing else. If it was just that: so may others be."""
        size = data.find(b"\r\n\r\n", 0, MAX_KNOWN) + 4
        if size > 4 and size + self._length == len(data) and not self._head_only:
            self._known = _KnownHead(data[:size], self._status, KeptFields(self._head), self._length)
        self._head = []

    def _take(self, data: bytes) -> None:
        """More of a body whose length is known; a parser of its own reads what comes behind it."""
        rest = data[self._left :]
        self._left -= len(data) - len(rest)
        self._sink.on_data(data[: len(data) - len(rest)] if rest else data)
        if not self._left:
            reusable = True
            if not self._between:  # else the parser has seen nothing of it
                reusable = self._parser.should_keep_alive()
                self._parser = httptools.HttpResponseParser(self)
            self._parsing = True
            self._end(reusable=reusable)
        if rest:
            raise ProtocolError("bytes behind a response")

    def _end(self, *, reusable: bool) -> None:
        if len(self._fields) > MAX_FIELDS:
            raise ProtocolError("too many fields behind the body")
        self._in_body = self._expecting = False
        self._between = reusable
        self._sink.on_end(self._fields, reusable=reusable)
