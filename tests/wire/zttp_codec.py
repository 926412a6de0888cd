"""Responses by zttp: a second parser behind the interface of the one in use, and its oracle.

What zttp lets pass and must be refused is refused here: bytes behind a response, repeated lengths and codings, any
coding that is not chunked, chunks in HTTP/1.0, interim responses with a body, 101, versions and a first line that are
none. What cannot be mended is listed at the end of ``test_codec.py``.
"""

import zttp

from app.upstream.codec import ProtocolError, ResponseSink
from app.upstream.fields import Fields


class ZttpCodec:
    """On zttp, a parser of its own in Zig."""

    def __init__(self, sink: ResponseSink) -> None:
        self._sink = sink
        self._parser = zttp.Connection(zttp.CLIENT)
        #: Whether a response is to come or has not ended; without one no bytes may come.
        self._expecting = False
        #: What there is of the first bytes, until they are those of a response.
        self._start = b""
        self._until_the_end = False

    def expect(self, method: str, *, upgrade: bool = False) -> None:
        # 101 is refused also with ``upgrade``: what is behind it cannot be had from zttp.
        # A parser for each response: what it holds behind a response can be told only by ending it.
        parser = self._parser = zttp.Connection(zttp.CLIENT)
        if method == "HEAD":
            parser.send_request(b"HEAD", b"/", b"1.1", [(b"host", b"a")])
        self._expecting = True
        self._until_the_end = False
        self._start = b""

    def feed(self, data: bytes) -> None:
        if not data:
            return  # which zttp would take for the end
        if not self._expecting:
            raise ProtocolError("a response that nobody asked for")
        if len(self._start) < len(_START):
            self._check_start(data)
        parser = self._parser
        try:
            event: zttp.Event = parser.receive_event(data)
            while event is not zttp.NEED_DATA:
                kind = type(event)
                if kind is zttp.Data:
                    self._sink.on_data(event.data)  # type: ignore[union-attr]
                elif kind is zttp.Response:
                    self._on_head(event)  # type: ignore[arg-type]
                elif kind is zttp.EndOfMessage:
                    self._on_end(event.trailers)  # type: ignore[union-attr]
                    return
                event = parser.next_event()
        except zttp.RemoteProtocolError as error:
            raise ProtocolError(str(error)) from None

    def eof(self) -> None:
        if self._until_the_end:
            self._until_the_end = self._expecting = False
            self._sink.on_end([], reusable=False)
        elif self._expecting:
            raise ProtocolError("the connection ended before the response did")

    def close(self) -> None:
        del self._parser, self._sink

    def _check_start(self, data: bytes) -> None:
        """zttp waits for the end of a line, which may never come."""
        start = self._start = (self._start + data[: len(_START)])[: len(_START)]
        if not _START.startswith(start):
            raise ProtocolError("not a response of HTTP/1")

    def _on_head(self, event: zttp.Response) -> None:
        status = event.status_code
        head = event.headers
        assert isinstance(head, zttp.HeaderBlock)
        lengths = head.getall(b"content-length")
        codings = head.getall(b"transfer-encoding")
        if len(lengths) + len(codings) > 1:
            raise ProtocolError("a length in doubt")
        if codings and (codings[0].lower() != b"chunked" or event.http_version == b"1.0"):
            raise ProtocolError("a transfer coding in doubt")
        if event.http_version not in (b"1.1", b"1.0") or not 100 <= status <= 599 or status == 101:
            raise ProtocolError("not a response of HTTP/1.1")
        fields: Fields = head.to_list(lowercase_names=True)
        if status < 200:
            if lengths or codings:
                raise ProtocolError("an interim response with a body")
            self._sink.on_informational(status, fields)
            return
        self._until_the_end = not (lengths or codings or status in (204, 304))
        self._sink.on_head(status, fields)

    def _on_end(self, trailers: Fields) -> None:
        parser = self._parser
        reusable = not (parser.should_close() or self._until_the_end)
        self._until_the_end = self._expecting = False
        self._sink.on_end([(name.lower(), value) for name, value in trailers] if trailers else [], reusable=reusable)
        parser.start_next_cycle()
        parser.receive_data(b"")
        if parser.next_event() is not zttp.CONNECTION_CLOSED:
            raise ProtocolError("bytes behind a response")


_START = b"HTTP/1."
