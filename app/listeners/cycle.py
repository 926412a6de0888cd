"""One request on a server connection: its ASGI scope, what the application receives, and what it sends."""

import asyncio
import logging
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Scope

from middleware.errors import GatewayError

if TYPE_CHECKING:
    from app.listeners.http import GatewayProtocol

logger = logging.getLogger(__name__)

#: Bytes of a request's body that wait for the application before the client has to.
BODY_HIGH_WATER = 64 * 1024

#: Where the application finds the cycle in its scope, so that it can be told of the client's leave without asking.
CYCLE = "moongate.cycle"

_NO_BODY = frozenset({204, 304})


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


_STATUS_LINES = {status: _status_line(status) for status in range(200, 600)}


class _Date:
    """The Date field's value, made once a second (RFC 9110 §6.6.1)."""

    second = 0
    line = b""

    @classmethod
    def now(cls) -> bytes:
        second = int(time.time())
        if second != cls.second:
            cls.second, cls.line = second, b"date: " + formatdate(second, usegmt=True).encode() + b"\r\n"
        return cls.line


def refusal(status: int, message: str, *, head_only: bool) -> bytes:
    """A whole answer in plain text, after which the connection ends; ``head_only`` leaves out its body."""
    body = f"{status} {HTTPStatus(status).phrase}: {message}\n".encode()
    head = b"%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n" % (
        _STATUS_LINES[status], len(body), _Date.now(),
    )  # fmt: skip
    return head if head_only else head + body


class Cycle:
    """A request and its response. The connection fills in the request; the application takes it and answers."""

    __slots__ = (
        "_body", "_chunked", "_connection", "_ended", "_head", "_left", "_no_body", "_scope", "_size", "_version",
        "_waiter", "asked_to_continue", "close", "complete", "disconnected", "head_only", "on_disconnect",
        "request_complete", "started", "task",
    )  # fmt: skip

    def __init__(self, connection: "GatewayProtocol", scope: Scope, *, keep_alive: bool, expects: bool) -> None:
        self._connection = connection
        self._scope = scope
        self._version: str = scope["http_version"]
        self.head_only = scope["method"] == "HEAD"
        #: What :meth:`run` runs in.
        self.task: asyncio.Task[None] | None = None
        # The request
        self._body: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        #: Whether the application has been told of the request's end.
        self._ended = False
        self.asked_to_continue = expects
        self.request_complete = False
        self.disconnected = False
        #: Called once when the client leaves before the response is complete.
        self.on_disconnect: Callable[[], object] | None = None
        # The response
        self.close = not keep_alive
        self.started = False
        self.complete = False
        self._head = b""
        self._no_body = False
        self._chunked = False
        self._left: int | None = None

    async def run(self, app: ASGIApp) -> None:
        """Call ``app``. A response left unfinished breaks the connection: it must never look like a whole one."""
        # The scope leads here only while it runs, and from here nothing leads to the scope: a circle of references
        # would leave every request to the garbage collector.
        scope, self._scope = self._scope, {}
        scope[CYCLE] = self
        try:
            await app(scope, self.receive, self.send)
        except GatewayError as error:
            logger.debug("the response was cut off: %s", error)
        except asyncio.CancelledError:
            self._give_up()
            raise
        except Exception as error:
            if not (self.disconnected and isinstance(error, OSError)):
                logger.exception("the application failed")
        else:
            if not self.complete and not self.disconnected:
                logger.error("the application ended without a whole response")
        finally:
            self.on_disconnect = None
        self._give_up()

    def _give_up(self) -> None:
        if not self.complete and not self.disconnected:
            if self.started:
                self._connection.abort()
            else:
                self._connection.refuse(self, 500, "the application failed")

    # What the connection tells

    def on_body(self, data: bytes) -> bool:
        """Keep ``data`` for the application. Answers whether the client has to wait."""
        self._body.append(data)
        self._size += len(data)
        self._wake()
        return self._size > BODY_HIGH_WATER

    def on_request_complete(self) -> None:
        """The request's body has ended."""
        self.request_complete = True
        self._wake()

    def on_connection_lost(self) -> None:
        """The client has left, or has sent what makes an end of it."""
        if self.disconnected or self.complete:
            return
        self.disconnected = True
        self._wake()
        if self.on_disconnect is not None:
            self.on_disconnect()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ASGI

    async def receive(self) -> Message:
        """``http.request`` with what has come of the body, or ``http.disconnect``."""
        if self.asked_to_continue and not (self.started or self.disconnected):
            self.asked_to_continue = False
            if not (self._body or self.request_complete):
                self._connection.go_on(self)
        while not (self._body or self.request_complete or self.disconnected or self.complete):
            await self._wait()
        if self._body or not (self._ended or self.disconnected or self.complete):
            data = b"".join(self._body)
            self._body = []
            self._size = 0
            self._ended = self.request_complete
            self._connection.consumed(self)
            return {"type": "http.request", "body": data, "more_body": not self._ended}
        while not (self.disconnected or self.complete):
            await self._wait()
        return {"type": "http.disconnect"}

    async def _wait(self) -> None:
        self._waiter = self._connection.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def send(self, message: Message) -> None:
        """Take a response message. The head is held back until the first piece of the body, to be one write with it.

        Waits while the client does not read. Raises OSError when it has left, RuntimeError for messages that no
        response can be made of.
        """
        if self.disconnected:
            raise ConnectionResetError("the client has left")
        kind = message["type"]
        if kind == "http.response.start" and not self.started:
            self._start(message)
        elif kind == "http.response.body" and self.started and not self.complete:
            more: bool = message.get("more_body", False)
            self._write_body(message.get("body", b""), more=more)
            if more and self._connection.write_paused:
                await self._connection.writable()
        else:
            raise RuntimeError(f"{kind} does not belong here in a response")

    def _start(self, message: Message) -> None:
        status: int = message["status"]
        status_line = _STATUS_LINES.get(status)
        if status_line is None:
            raise RuntimeError(f"{status} is not the status of a response")
        lines = [status_line]
        length: int | None = None
        dated = False
        close = self.close or self._connection.draining
        for name, value in message.get("headers", ()):
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
            lines.append(b"%b: %b\r\n" % (name, value))
        if not dated:
            lines.append(_Date.now())
        # The response to HEAD and these have the fields of another and no body (RFC 9110 §6.4.1).
        self._no_body = self.head_only or status in _NO_BODY
        if not self._no_body and length is None:
            if self._version != "1.0":
                self._chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                close = True
        if self.asked_to_continue and not self.request_complete:
            # The client may leave out the body now, so that what comes next could be its beginning or a request.
            close = True
        if close:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
            raise RuntimeError("a line break in a response field")
        self.close = close
        self._left = None if self._no_body else length
        self._head = head
        self.started = True

    def _write_body(self, data: bytes, *, more: bool) -> None:
        if self._left is not None:
            left = self._left - len(data)
            if left < 0 or (left and not more):
                raise RuntimeError("the response's body is not as long as its Content-Length")
            self._left = left
        parts = [self._head] if self._head else []
        self._head = b""
        if self._chunked:
            if data:
                parts += (b"%x\r\n" % len(data), data, b"\r\n")
            if not more:
                parts.append(b"0\r\n\r\n")
        elif data and not self._no_body:
            parts.append(data)
        if parts:
            self._connection.write(parts[0] if len(parts) == 1 else b"".join(parts))
        if not more:
            self.complete = True
            self._wake()
            self._connection.on_response_complete(self)
