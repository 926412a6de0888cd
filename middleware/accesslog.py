"""One line for every request, in Traefik's formats."""

import json.encoder
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import quote

from starlette.types import ASGIApp, Scope

from middleware.forwarded import split_port
from middleware.linewriter import LineWriter
from middleware.loggedfields import LoggedFields
from middleware.observe import Observation, ObserveMiddleware


@dataclass(frozen=True)
class Selection:
    """Which requests are worth a line: as with Traefik those that any of the filters given fits, else all.

    ``statuses`` are those of the answers, ``min_duration`` is in nanoseconds, and ``retries`` asks for requests that
    were sent again.
    """

    statuses: frozenset[int] = frozenset()
    min_duration: int = 0
    retries: bool = False

    @property
    def all(self) -> bool:
        """Whether no filter is given."""
        return not (self.statuses or self.min_duration or self.retries)

    def fits(self, observation: Observation) -> bool:
        """Whether one of the filters fits the request."""
        return (
            observation.status in self.statuses
            or 0 < self.min_duration <= observation.duration
            or (self.retries and observation.record.retries > 0)
        )


class AccessLog:
    """An observer that writes one line for each request and each WebSocket when it is over, however it ended.

    ``common`` is Traefik's common format, ``json`` an object with Traefik's keys (durations in nanoseconds),
    ``ResponseFlags`` and, where requests have one, ``RequestId``. ``write`` gets the line without its end and must not
    block; the default is a :class:`~middleware.linewriter.LineWriter` on standard output. The client's address is that
    of the connection's peer. ``only`` says which requests get a line. Of header values Host, Referer and User-Agent are
    logged, and in JSON what ``fields`` lets pass.
    """

    def __init__(
        self,
        *,
        format: Literal["common", "json"] = "common",
        write: Callable[[str], None] | None = None,
        only: Selection | None = None,
        fields: LoggedFields | None = None,
    ) -> None:
        self._as_json = format == "json"
        self._write = LineWriter(sys.stdout).write if write is None else write
        self._only = only if only is not None and not only.all else None
        self._fields = fields if fields is not None and not fields.silent else None

    def ended(self, observation: Observation) -> None:
        """Write its line."""
        if self._only is not None and not self._only.fits(observation):
            return
        self._write(_json(observation, self._fields) if self._as_json else _common(observation))


class AccessLogMiddleware(ObserveMiddleware):
    """:class:`AccessLog` as a middleware of its own."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        format: Literal["common", "json"] = "common",
        write: Callable[[str], None] | None = None,
        only: Selection | None = None,
        fields: LoggedFields | None = None,
    ) -> None:
        super().__init__(app, [AccessLog(format=format, write=write, only=only, fields=fields)])


def _common(observation: Observation) -> str:
    scope, record = observation.scope, observation.record
    client = scope.get("client")
    referer = agent = b""
    for name, value in scope["headers"]:
        if name == b"user-agent":
            agent = value
        elif name == b"referer":
            referer = value
    return (
        f"{_word_of_host(client[0]) if client else '-'} - - [{_common_time(observation.started // 1_000_000_000)}] "
        f'"{_word(_utf8(scope.get("method", "GET")))} {_word(_target(scope))} {_protocol(scope)}" '
        f'{observation.status} {observation.sent} "{_quotable(referer)}" "{_quotable(agent)}" {observation.number} '
        f'"{_quotable_of(record.route)}" "{_quotable_of(record.endpoint)}" {observation.duration // 1_000_000}ms'
    )


def _json(observation: Observation, fields: LoggedFields | None) -> str:
    scope, record = observation.scope, observation.record
    host, port = ("", "") if (client := scope.get("client")) is None else (client[0], str(client[1]))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}" if host else ""
    authority = b""
    for name, value in scope["headers"]:
        if name == b"host":
            authority = value
            break
    request_host, request_port = split_port(authority)
    second, fraction = divmod(observation.started, 1_000_000_000)
    utc, local, offset = _times(second)
    _, now, now_offset = _times((observation.started + observation.duration) // 1_000_000_000)
    scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
    state = scope.get("state") or {}
    more = ""
    if record.request_id:
        more = f',"RequestId":{_encode(record.request_id)}'
    if record.trace_id:
        more += f',"SpanId":"{record.span_id}","TraceId":"{record.trace_id}"'
    if (tls := state.get("tls")) is not None:
        more += f',"TLSCipher":{_encode(tls[1])},"TLSVersion":{_encode(tls[0])}'
    if fields is not None:
        more += fields.members("request_", scope["headers"])
        more += fields.members("origin_", record.origin_fields)
        more += fields.members("downstream_", observation.fields)
    # The names are fixed, so only the strings go through the encoder: a third of the time of encoding a dict.
    line = (
        f'{{"ClientAddr":{_encode(address)},"ClientHost":{_encode(host)},"ClientPort":{_encode(port)},'
        f'"ClientUsername":"-","DownstreamContentSize":{observation.sent},"DownstreamStatus":{observation.status},'
        f'"Duration":{observation.duration},"OriginDuration":{record.origin_duration_ns},'
        f'"OriginStatus":{record.origin_status},"Overhead":{observation.duration - record.origin_duration_ns},'
        f'"RequestAddr":{_encode(_text(authority))},"RequestContentSize":{observation.received},'
        f'"RequestCount":{observation.number},"RequestHost":{_encode(_text(request_host))},'
        f'"RequestMethod":{_encode(scope.get("method", "GET"))},"RequestPath":{_encode(_text(_target(scope)))},'
        f'"RequestPort":{_encode(_text(request_port) or "-")},"RequestProtocol":{_encode(_protocol(scope))},'
        f'"RequestScheme":"{scheme}","ResponseFlags":{_encode(record.flags or "-")},'
        f'"RetryAttempts":{record.retries},"RouterName":{_encode(record.route)},'
        f'"ServiceAddr":{_encode(record.endpoint.rpartition("://")[2])},'
        f'"ServiceName":{_encode(record.backend)},"ServiceURL":{_encode(record.endpoint)},'
        f'"StartLocal":"{local}.{fraction:09d}{offset}","StartUTC":"{utc}.{fraction:09d}Z",'
        f'"entryPointName":{_encode(str(state.get("listener", "")))},"level":"info","msg":"",'
        f'"time":"{now}{now_offset}"{more}}}'
    )
    return line.replace("\x7f", "\\u007f")  # the one control character that JSON allows bare


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
