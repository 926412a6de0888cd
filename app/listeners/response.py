"""The HTTP/1.1 form of a response (RFC 9112 §4 to §7)."""

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.types import Scope

from app.listeners.answers import NO_BODY, answer_fields, with_added
from app.listeners.cycle import Cycle, Fields
from app.upstream.fields import KeptFields
from middleware.date import date_field

if TYPE_CHECKING:
    from app.listeners.http import GatewayProtocol

#: Bytes from which on a piece is not copied to be sent together with others.
_LARGE = 16 * 1024


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {_phrase(status)}".encode()


def _joined(lines: list[bytes]) -> bytes:
    """``lines`` and an empty one. Raises RuntimeError where one of them is two."""
    lines += (b"", b"")
    block = b"\r\n".join(lines)
    if block.count(b"\n") != len(lines) - 1 or block.count(b"\r") != len(lines) - 1 or b"\0" in block:
        raise RuntimeError("a line break in a response field")
    return block


def _block(first: bytes, fields: Fields) -> bytes:
    return _joined([first, *map(b": ".join, fields)])


_STATUS_LINES = {status: _status_line(status) for status in range(200, 600)}


def refusal(status: int, message: str, *, head_only: bool, fields: Fields = ()) -> bytes:
    """A whole answer in plain text, after which the connection ends; ``head_only`` leaves out its body."""
    body = f"{status} {HTTPStatus(status).phrase}: {message}\n".encode()
    head = b"%b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n"
    more = b"".join([b"%b: %b\r\n" % field for field in (date_field(), *fields)])
    head %= _STATUS_LINES[status], len(body), more
    return head if head_only else head + body


class Http1Cycle(Cycle):
    """A request that came over HTTP/1.1 or 1.0, and the response to it."""

    __slots__ = ("_chunked", "_h1", "_left", "_no_body", "_version", "close")

    def __init__(self, connection: "GatewayProtocol", scope: Scope, *, keep_alive: bool, expects: bool) -> None:
        super().__init__(connection, scope, expects=expects)
        self._h1 = connection
        self._version: str = scope["http_version"]
        #: Whether the connection ends with this response.
        self.close = not keep_alive
        self._no_body = False
        self._chunked = False
        self._left: int | None = None

    def inform(self, status: int, fields: Fields) -> None:
        if self._version == "1.0" or self.started or self.disconnected:
            return
        if not 102 <= status <= 199:
            raise RuntimeError(f"{status} is not the status of an interim response that can be passed on")
        self._h1.write(_block(b"HTTP/1.1 %d %b" % (status, _phrase(status).encode()), fields))

    def respond(self, status: int, fields: Fields, *, relayed: bool = False) -> None:
        usual = relayed and not (self.adds or self.close or self.head_only or self._h1.draining)
        usual = usual and (self.request_complete or not self.asked_to_continue)
        if usual and type(fields) is KeptFields and fields.answer is not None:
            self.fields, self._left, head = fields.answer
            self._parts = [head]
            self.status = status
            self.started = True
            return
        status_line = _STATUS_LINES.get(status)
        if status_line is None:
            raise RuntimeError(f"{status} is not the status of a response")
        kept, length, options = answer_fields(status, fields, relayed=relayed)
        if self.adds:
            kept = with_added(kept, self.adds)
        self.fields = kept
        close = self.close or self._h1.draining or (not relayed and b"close" in options)
        lines = [status_line, *map(b": ".join, kept)]
        # The response to HEAD and these have the fields of another and no body (RFC 9110 §6.4.1).
        self._no_body = self.head_only or status in NO_BODY
        if not self._no_body and length is None:
            if self._version != "1.0":
                self._chunked = True
                lines.append(b"transfer-encoding: chunked")
                if self.trailers_wanted:
                    lines += [b"trailer: " + value for name, value in fields if name.lower() == b"trailer"]
            else:
                close = True
        if self.asked_to_continue and not self.request_complete:
            # The client may leave out the body now, so that what comes next could be its beginning or a request.
            close = True
        if close:
            lines.append(b"connection: close")
        head = _joined(lines)
        if usual and type(fields) is KeptFields and length is not None and not self._no_body:
            # Without a Date of the backend's it has ours, which is of this second.
            dated = any(name == b"date" for name, _ in fields)
            fields.answer = (kept, length, head) if dated else None
        self.close = close
        self._left = None if self._no_body else length
        self._parts = [head]
        self.status = status
        self.started = True

    def put(self, data: bytes) -> None:
        if self._no_body:
            return
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise RuntimeError("the response's body is longer than its Content-Length")
        self.sent += len(data)
        if self._chunked:
            self._parts += (b"%x\r\n" % len(data), data, b"\r\n")
        else:
            self._parts.append(data)

    def end(self, trailers: Fields = ()) -> None:
        if self._left:
            raise RuntimeError("the response's body is shorter than its Content-Length")
        if self._chunked:
            if trailers and self.trailers_wanted:
                self._parts.append(_block(b"0", trailers))
            else:
                self._parts.append(b"0\r\n\r\n")
        self.flush()
        self.complete = True
        self._wake()
        self._h1.on_response_complete(self)

    def _write(self, parts: list[bytes]) -> None:
        if len(parts[-1]) < _LARGE:
            self._h1.write(b"".join(parts))  # which of a single piece makes no copy
        else:
            self._h1.write_all(parts)  # a copy would cost more than what a transport does for several pieces
