"""One line for every request, in Traefik's formats."""

import json.encoder
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from itertools import count
from typing import Final, Literal
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.answer import Answer, answer_behind
from middleware.forwarded import split_port
from middleware.linewriter import LineWriter
from middleware.record import RECORD, RequestRecord

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST: Final = 499
"""Logged, as nginx does, for a client that left before it was answered. It is never sent."""


MAX_REFUSED: Final = 512
"""Bytes of a target or a field that are logged of what was no request."""

_LOGGED = frozenset({b"host", b"referer", b"user-agent"})


class AccessLogMiddleware:
    """Writes one line for each request and each WebSocket when it is over, however it ended.

    ``common`` is Traefik's common format, ``json`` an object with Traefik's keys (durations in nanoseconds) and
    ``ResponseFlags``. ``write`` gets the line without its end and must not block; the default is a
    :class:`~middleware.linewriter.LineWriter` on standard output. The client's address is that of the connection's
    peer. Of the header values only Host, Referer and User-Agent are ever logged.

    Status and size are those handed to the server; of a WebSocket its messages count, or where they pass unseen its
    bytes. Without any answer the status is 499 where the client left, and 500
    where it did not.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        format: Literal["common", "json"] = "common",
        write: Callable[[str], None] | None = None,
    ) -> None:
        self.app = app
        self._render = _RENDERERS[format]
        self._write = LineWriter(sys.stdout).write if write is None else write
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        responder = self.begin(scope, receive, send)
        # The server's own connection knows how the answer went: then nobody has to listen.
        answer = answer_behind(scope, send) if scope["type"] == "http" else None
        try:
            if answer is not None:
                await self.app(scope, receive, send)
            else:
                await self.app(scope, responder.receive, responder.send)
        finally:
            self.end(responder, answer)

    def begin(self, scope: Scope, receive: Receive, send: Send) -> "Responder":
        """A request has come."""
        return Responder(scope, receive, send, next(self._numbers))

    def end(self, responder: "Responder", answer: Answer | None = None) -> None:
        """It is over, as ``answer`` tells or as was listened to: write its line."""
        responder.finish(answer)
        try:
            self._write(self._render(responder))
        except Exception:
            # A log that cannot be written must not turn an answered request into a failed one.
            logger.exception("an access log line could not be written")

    def refused(self, scope: Scope, status: int, flag: str) -> None:
        """Write the line of a request that a server's connection answered with ``status``, since it was none.

        ``scope`` holds what is known of it; of the texts, which may be anything, the line gets a part.
        """
        known = [(name, value[:MAX_REFUSED]) for name, value in scope["headers"] if name in _LOGGED]
        scope = {
            **scope,
            "headers": known,
            "raw_path": scope["raw_path"][:MAX_REFUSED],
            RECORD: RequestRecord(flags=flag),
        }
        responder = Responder(scope, _nothing, _nowhere, next(self._numbers))
        responder.status = status
        try:
            self._write(self._render(responder))
        except Exception:
            logger.exception("an access log line could not be written")


async def _nothing() -> Message:
    raise RuntimeError("nothing is received of what was refused")


async def _nowhere(message: Message) -> None:
    raise RuntimeError("nothing is sent to what was refused")


class Responder:
    """One request: listens to what passes between the application and the server, and keeps the sums."""

    __slots__ = (
        "_receive",
        "_send",
        "begun",
        "complete",
        "duration",
        "left",
        "number",
        "received",
        "record",
        "scope",
        "sent",
        "started",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, number: int) -> None:
        self.scope = scope
        self.record: RequestRecord = scope.setdefault(RECORD, RequestRecord())
        self.number = number
        # Sums
        self.status = 0
        self.sent = 0
        self.received = 0
        self.complete = False
        self.left = False
        # Times in nanoseconds: the wall clock says when, the monotonic one how long
        self.duration = 0
        self.started = time.time_ns()
        self.begun = time.perf_counter_ns()
        # The server's end
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        message = await self._receive()
        kind = message["type"]
        if kind == "http.request":
            self.received += len(message.get("body", b""))
        elif kind == "http.disconnect":
            self.left = not self.complete
        elif kind == "websocket.receive":
            self.received += _payload(message)
        elif kind == "websocket.disconnect":
            self.left = not self.complete and message.get("code", 1005) == 1006  # gone without a close frame
        return message

    def send(self, message: Message) -> Awaitable[None]:
        # Gives the server's own awaitable on: a coroutine of our own around it would cost more than the rest.
        kind = message["type"]
        if kind in ("http.response.body", "websocket.http.response.body"):
            if self.scope.get("method") != "HEAD":
                self.sent += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        elif kind in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
        elif kind == "websocket.send":
            self.sent += _payload(message)
        elif kind == "websocket.accept":
            self.status = 101 if self.scope.get("http_version", "1.1") == "1.1" else 200  # RFC 8441, 4
        elif kind == "websocket.close":
            self.status = self.status or 403  # what the ASGI specification has a server answer
            self.complete = True
        return self._send(message)

    def finish(self, answer: Answer | None) -> None:
        if answer is not None:
            self.status, self.received, self.sent = answer.status, answer.received, answer.sent
            self.left = answer.disconnected and not answer.complete
        self.duration = time.perf_counter_ns() - self.begun
        self.received += self.record.tunnel_received
        self.sent += self.record.tunnel_sent
        if self.left:
            self.record.add_flag("DC")
        if not self.status:
            self.status = CLIENT_CLOSED_REQUEST if "DC" in self.record.flags else 500


def _common(responder: Responder) -> str:
    scope, record = responder.scope, responder.record
    client = scope.get("client")
    referer = agent = b""
    for name, value in scope["headers"]:
        if name == b"user-agent":
            agent = value
        elif name == b"referer":
            referer = value
    return (
        f"{_word_of_host(client[0]) if client else '-'} - - [{_common_time(responder.started // 1_000_000_000)}] "
        f'"{_word(_utf8(scope.get("method", "GET")))} {_word(_target(scope))} {_protocol(scope)}" '
        f'{responder.status} {responder.sent} "{_quotable(referer)}" "{_quotable(agent)}" {responder.number} '
        f'"{_quotable_of(record.route)}" "{_quotable_of(record.endpoint)}" {responder.duration // 1_000_000}ms'
    )


def _json(responder: Responder) -> str:
    scope, record = responder.scope, responder.record
    host, port = ("", "") if (client := scope.get("client")) is None else (client[0], str(client[1]))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}" if host else ""
    authority = b""
    for name, value in scope["headers"]:
        if name == b"host":
            authority = value
            break
    request_host, request_port = split_port(authority)
    second, fraction = divmod(responder.started, 1_000_000_000)
    utc, local, offset = _times(second)
    _, now, now_offset = _times((responder.started + responder.duration) // 1_000_000_000)
    scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
    listener = (scope.get("state") or {}).get("listener", "")
    # The names are fixed, so only the strings go through the encoder: a third of the time of encoding a dict.
    line = (
        f'{{"ClientAddr":{_encode(address)},"ClientHost":{_encode(host)},"ClientPort":{_encode(port)},'
        f'"ClientUsername":"-","DownstreamContentSize":{responder.sent},"DownstreamStatus":{responder.status},'
        f'"Duration":{responder.duration},"OriginDuration":{record.origin_duration_ns},'
        f'"OriginStatus":{record.origin_status},"Overhead":{responder.duration - record.origin_duration_ns},'
        f'"RequestAddr":{_encode(_text(authority))},"RequestContentSize":{responder.received},'
        f'"RequestCount":{responder.number},"RequestHost":{_encode(_text(request_host))},'
        f'"RequestMethod":{_encode(scope.get("method", "GET"))},"RequestPath":{_encode(_text(_target(scope)))},'
        f'"RequestPort":{_encode(_text(request_port) or "-")},"RequestProtocol":{_encode(_protocol(scope))},'
        f'"RequestScheme":"{scheme}","ResponseFlags":{_encode(record.flags or "-")},'
        f'"RetryAttempts":{record.retries},"RouterName":{_encode(record.route)},'
        f'"ServiceName":{_encode(record.backend)},"ServiceURL":{_encode(record.endpoint)},'
        f'"StartLocal":"{local}.{fraction:09d}{offset}","StartUTC":"{utc}.{fraction:09d}Z",'
        f'"entryPointName":{_encode(str(listener))},"level":"info","msg":"","time":"{now}{now_offset}"}}'
    )
    return line.replace("\x7f", "\\u007f")  # the one control character that JSON allows bare


_RENDERERS: dict[str, Callable[[Responder], str]] = {"common": _common, "json": _json}

# What json.dumps(ensure_ascii=True) makes of a string, quotes included.
_encode: Callable[[str], str] = json.encoder.encode_basestring_ascii

# Whoever reads a line splits it at quotes and blanks, so a client must not be able to write either where it counts.
_WORD = bytes(set(range(0x21, 0x7F)) - set(b'"\\'))
_QUOTABLE = _WORD + b" "
_ESCAPES = [b"\\x%02x" % byte for byte in range(256)]


def _word(value: bytes, safe: bytes = _WORD) -> str:
    """``value`` with a blank, a quote, a backslash and all but printable ASCII as ``\\xNN``; ``-`` if empty."""
    # Nothing is left of a harmless value: far faster than a regular expression, and nearly all are harmless.
    if value.translate(None, safe):
        value = b"".join([value[i : i + 1] if byte in safe else _ESCAPES[byte] for i, byte in enumerate(value)])
    return value.decode("ascii") or "-"


def _quotable(value: bytes) -> str:
    """As :func:`_word`, but blanks stay: for what stands alone between quotes."""
    return _word(value, _QUOTABLE)


@lru_cache(maxsize=1024)
def _word_of_host(value: str) -> str:
    return _word(_utf8(value))


@lru_cache(maxsize=1024)
def _quotable_of(value: str) -> str:
    return _quotable(_utf8(value))


def _utf8(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _target(scope: Scope) -> bytes:
    """The request target as it was sent: path, not decoded, and query."""
    raw_path: bytes = scope.get("raw_path") or quote(scope.get("path", "")).encode()
    return b"%b?%b" % (raw_path, query) if (query := scope.get("query_string", b"")) else raw_path


def _protocol(scope: Scope) -> str:
    version = scope.get("http_version", "1.1")
    return _PROTOCOLS.get(version) or f"HTTP/{_word(_utf8(version))}"


_PROTOCOLS = {"1.0": "HTTP/1.0", "1.1": "HTTP/1.1", "2": "HTTP/2.0", "3": "HTTP/3.0"}


def _payload(message: Message) -> int:
    """The size of a WebSocket message in bytes."""
    if data := message.get("bytes"):
        return len(data)
    return len(_utf8(message.get("text") or ""))


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=8)
def _common_time(second: int) -> str:
    """The time in UTC as common log format wants it; month names do not follow the locale, as strftime's would."""
    at = time.gmtime(second)
    return (
        f"{at.tm_mday:02d}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}:{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} +0000"
    )


@lru_cache(maxsize=8)
def _times(second: int) -> tuple[str, str, str]:
    """UTC, local time and the offset of the latter, as RFC 3339 writes them."""
    local = time.localtime(second)
    offset = local.tm_gmtoff // 60
    sign = "-" if offset < 0 else "+"
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)),
        time.strftime("%Y-%m-%dT%H:%M:%S", local),
        f"{sign}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}",
    )
