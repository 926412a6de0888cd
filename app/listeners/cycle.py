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


class Cycle:
    """A request and its response. The connection fills in the request; the application takes it and answers."""

    __slots__ = (
        "_body", "_chunked", "_connection", "_head", "_left", "_size", "_waiter",
        "asked_to_continue", "close", "complete", "disconnected", "head_only", "on_disconnect", "request_complete",
        "scope", "started", "task", "version",
    )  # fmt: skip

    def __init__(self, connection: "GatewayProtocol", scope: Scope, *, keep_alive: bool, expects: bool) -> None:
        self._connection = connection
        self.scope = scope
        self.version: str = scope["http_version"]
        self.head_only = scope["method"] == "HEAD"
        #: What :meth:`run` runs in.
        self.task: asyncio.Task[None] | None = None
        # The request
        self._body: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
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
        self._chunked = False
        self._left: int | None = None

    async def run(self, app: ASGIApp) -> None:
        """Call ``app``. A response left unfinished breaks the connection: it must never look like a whole one."""
        try:
            await app(self.scope, self.receive, self.send)
        except GatewayError as error:
            logger.debug("the response was cut off: %s", error)
        except Exception:
            logger.exception("the application failed")
        else:
            if not self.complete and not self.disconnected:
                logger.error("the application ended without a whole response")
        if not self.complete and not self.disconnected:
            if self.started:
                self._connection.abort()
            else:
                self._connection.refuse(500, "the application failed")

    # What the connection tells

    def on_body(self, data: bytes) -> bool:
        """Keep ``data`` for the application. Answers whether the client has to wait."""
        if not self.complete:
            self._body.append(data)
            self._size += len(data)
            self._wake()
        return self._size > BODY_HIGH_WATER

    def on_request_complete(self) -> None:
        """The request's body has ended."""
        self.request_complete = True
        self._wake()

    def on_connection_lost(self) -> None:
        """The client has left."""
        self.disconnected = True
        self._wake()
        if self.on_disconnect is not None and not self.complete:
            self.on_disconnect()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ASGI

    async def receive(self) -> Message:
        """``http.request`` with what has come of the body, or ``http.disconnect``."""
        if self.asked_to_continue:
            self.asked_to_continue = False
            if not self.started:
                self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self._body or self.request_complete or self.disconnected or self.complete):
            await self._wait()
        if self._body or (self.request_complete and self._size >= 0 and not (self.disconnected or self.complete)):
            data = b"".join(self._body)
            self._body = []
            # From now on -1: the end has been told and only a disconnect can follow.
            self._size = -1 if self.request_complete else 0
            self._connection.consumed()
            return {"type": "http.request", "body": data, "more_body": not self.request_complete}
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

        Waits while the client does not read. Raises RuntimeError for messages that no response can be made of.
        """
        kind = message["type"]
        if kind == "http.response.start" and not self.started:
            self._start(message)
        elif kind == "http.response.body" and self.started and not self.complete:
            self._write_body(message.get("body", b""), more=message.get("more_body", False))
            if self._connection.write_paused:
                await self._connection.writable()
        else:
            raise RuntimeError(f"{kind} does not belong here in a response")

    def _start(self, message: Message) -> None:
        self.started = True
        status: int = message["status"]
        lines = [_STATUS_LINES[status]]
        dated = False
        for name, value in message.get("headers", ()):
            name = name.lower()
            if name == b"content-length":
                self._left = int(value)
            elif name == b"date":
                dated = True
            elif name == b"connection":
                self.close = self.close or b"close" in value.lower()
                continue
            elif name == b"transfer-encoding":
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        count = len(lines)
        if not dated:
            lines.append(_Date.now())
            count += 1
        if self.head_only or status in _NO_BODY:
            # Such a response has the fields of another and no body (RFC 9110 §6.4.1).
            self.head_only, self._left = True, None
        elif self._left is None and self.version != "1.0":
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
            count += 1
        elif self._left is None:
            self.close = True
        if self.close or self._connection.draining:
            self.close = True
            lines.append(b"connection: close\r\n")
            count += 1
        lines.append(b"\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != count + 1 or head.count(b"\r") != count + 1 or b"\0" in head:
            raise RuntimeError("a line break in a response field")
        self._head = head

    def _write_body(self, data: bytes, *, more: bool) -> None:
        if self.disconnected:
            self.complete = not more
            return
        parts = [self._head] if self._head else []
        self._head = b""
        if self.head_only:
            pass
        elif self._chunked:
            if data:
                parts += (b"%x\r\n" % len(data), data, b"\r\n")
            if not more:
                parts.append(b"0\r\n\r\n")
        else:
            if self._left is not None:
                self._left -= len(data)
                if self._left < 0 or (self._left and not more):
                    raise RuntimeError("the response's body is not as long as its Content-Length")
            if data:
                parts.append(data)
        if parts:
            self._connection.write(parts[0] if len(parts) == 1 else b"".join(parts))
        if not more:
            self.complete = True
            self._wake()
            self._connection.on_response_complete(self)
