"""The HTTP/1.1 form of a response (RFC 9112 §4 to §7)."""

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.types import Scope

from app.listeners.cycle import Cycle, Fields

if TYPE_CHECKING:
    from app.listeners.http import GatewayProtocol

_NO_BODY = frozenset({204, 304})


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


_STATUS_LINES = {status: _status_line(status) for status in range(200, 600)}


class Date:
    """The Date field, made once a second (RFC 9110 §6.6.1)."""

    _second = 0
    _value = b""

    @classmethod
    def now(cls) -> bytes:
        """Its value."""
        second = int(time.time())
        if second != cls._second:
            cls._second, cls._value = second, formatdate(second, usegmt=True).encode()
        return cls._value


def refusal(status: int, message: str, *, head_only: bool) -> bytes:
    """A whole answer in plain text, after which the connection ends; ``head_only`` leaves out its body."""
    body = f"{status} {HTTPStatus(status).phrase}: {message}\n".encode()
    head = b"%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\ndate: %b\r\nconnection: close\r\n\r\n"
    head %= _STATUS_LINES[status], len(body), Date.now()
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

    def respond(self, status: int, fields: Fields) -> None:
        status_line = _STATUS_LINES.get(status)
        if status_line is None:
            raise RuntimeError(f"{status} is not the status of a response")
        parts = [status_line]
        lines = 1
        length: int | None = None
        dated = False
        close = self.close or self._h1.draining
        for name, value in fields:
            name = name.lower()
            if name == b"content-length":
                if length is not None or not value.isdigit():
                    raise RuntimeError("a Content-Length in doubt")
                length = int(value)
                if status == 204:
                    continue  # Never in such a response (RFC 9110 §8.6).
            elif name == b"date":
                if dated:
                    continue
                dated = True
            elif name == b"connection":
                close = close or b"close" in value.lower()
                continue
            elif name == b"transfer-encoding":
                continue
            parts += (name, b": ", value, b"\r\n")
            lines += 1
        if not dated:
            parts += (b"date: ", Date.now(), b"\r\n")
            lines += 1
        # The response to HEAD and these have the fields of another and no body (RFC 9110 §6.4.1).
        self._no_body = self.head_only or status in _NO_BODY
        if not self._no_body and length is None:
            if self._version != "1.0":
                self._chunked = True
                parts.append(b"transfer-encoding: chunked\r\n")
                lines += 1
            else:
                close = True
        if self.asked_to_continue and not self.request_complete:
            # The client may leave out the body now, so that what comes next could be its beginning or a request.
            close = True
        if close:
            parts.append(b"connection: close\r\n")
            lines += 1
        parts.append(b"\r\n")
        head = b"".join(parts)
        if head.count(b"\n") != lines + 1 or head.count(b"\r") != lines + 1 or b"\0" in head:
            raise RuntimeError("a line break in a response field")
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
            self._parts.append(b"0\r\n\r\n")
        self.flush()
        self.complete = True
        self._wake()
        self._h1.on_response_complete(self)

    def _write(self, parts: list[bytes]) -> None:
        self._h1.write(parts[0] if len(parts) == 1 else b"".join(parts))
