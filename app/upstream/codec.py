"""HTTP/1.1 responses from bytes. One small interface, so that another parser can take this one's place.

A codec is kept for a whole connection. It must refuse what could be read in two ways (RFC 9112 §6, §11): two lengths
that differ, a length beside a transfer coding, a bare line feed, a folded line, a malformed chunk.
"""

from typing import Protocol

import httptools

from app.upstream.fields import Fields

#: More than any real head has; a backend that sends more is broken or hostile.
MAX_HEAD = 256 * 1024
MAX_FIELDS = 1000


class ProtocolError(Exception):
    """The backend's bytes are no HTTP/1.1 response."""


class ResponseSink(Protocol):
    """What a codec tells, in the order of the bytes."""

    def on_informational(self, status: int, fields: Fields) -> None:
        """An interim response (1xx)."""

    def on_head(self, status: int, fields: Fields) -> None:
        """The final response has begun; names are in lower case."""

    def on_data(self, data: bytes) -> None:
        """A piece of the body, without its framing."""

    def on_end(self, trailers: Fields, *, reusable: bool) -> None:
        """The response is complete; ``reusable``: both sides may use the connection again."""


class ResponseCodec(Protocol):
    """Reads the responses of one connection."""

    def expect(self, method: str) -> None:
        """The next final response answers a request with ``method``: one to HEAD has no body."""

    def feed(self, data: bytes) -> None:
        """Take bytes and tell the sink. Raises ProtocolError; the connection is then of no more use."""

    def eof(self) -> None:
        """The connection has ended. Ends a response that is delimited by it; raises ProtocolError inside any other."""


class HttptoolsCodec:
    """On httptools, that is llhttp, the parser of Node.js."""

    def __init__(self, sink: ResponseSink) -> None:
        self._sink = sink
        self._parser = httptools.HttpResponseParser(self)
        # Of the response that is being read
        self._head_only = False
        self._status = 0
        self._fields: Fields = []
        self._trailers: Fields = []
        self._head_size = 0
        self._in_body = False
        self._delimited = False

    def expect(self, method: str) -> None:
        self._head_only = method == "HEAD"

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise ProtocolError("switched protocols without being asked to") from error
        except httptools.HttpParserError as error:
            cause = error.__context__
            raise cause if isinstance(cause, ProtocolError) else ProtocolError(str(error)) from error

    def eof(self) -> None:
        if self._in_body and not self._delimited:
            self._end(reusable=False)
        elif self._in_body:
            raise ProtocolError("the connection ended inside the response")

    # httptools' callbacks

    def on_message_begin(self) -> None:
        self._fields, self._trailers, self._head_size, self._delimited = [], [], 0, False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._head_size += len(name) + len(value)
        fields = self._trailers if self._in_body else self._fields
        if self._head_size > MAX_HEAD or len(fields) >= MAX_FIELDS:
            raise ProtocolError("the response's head is too large")
        fields.append((name, value))
        if name == b"content-length":
            self._delimited = True
        elif name == b"transfer-encoding":
            # Another coding would have to be passed on as it is, and hop by hop it cannot be.
            if value.lower() != b"chunked":
                raise ProtocolError("a transfer coding that is not chunked")
            self._delimited = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._status = status
        if status < 200:
            if status == 101:
                raise ProtocolError("switched protocols without being asked to")
            return
        self._in_body = True
        self._sink.on_head(status, self._fields)
        if self._head_only:
            # llhttp cannot be told that no body follows: this parser would wait for one.
            reusable = self._parser.should_keep_alive()
            self._parser = httptools.HttpResponseParser(self)
            self._end(reusable=reusable)

    def on_body(self, data: bytes) -> None:
        self._sink.on_data(data)

    def on_message_complete(self) -> None:
        if self._status < 200:
            self._sink.on_informational(self._status, self._fields)
        elif self._in_body:
            self._end(reusable=self._parser.should_keep_alive())

    def _end(self, *, reusable: bool) -> None:
        self._in_body = False
        self._sink.on_end(self._trailers, reusable=reusable)
