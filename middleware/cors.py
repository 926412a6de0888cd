"""CORS: which scripts of other origins may read answers (HTTPCORSFilter, and Fetch, "CORS protocol")."""

import re
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.connection import Fields
from middleware.errors import GatewayError
from routes.resources.filters import HTTPCORSFilter

_PORTS: Final = {"http": 80, "https": 443}
_ORIGIN: Final = re.compile(r"(https?)://([^:/?#@\s]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
#: One method, or a list of field names: what may be said to a client again.
_TOKENS: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+(?:[ \t]*,[ \t]*[-!#$%&'*+.^_`|~0-9A-Za-z]+)*")

#: What only the gateway says, whether or not the backend has an opinion too.
_OURS: Final = frozenset(
    {
        b"access-control-allow-credentials",
        b"access-control-allow-headers",
        b"access-control-allow-methods",
        b"access-control-allow-origin",
        b"access-control-expose-headers",
        b"access-control-max-age",
    }
)
_ANY: Final = (b"access-control-allow-origin", b"*")
_ASKED: Final = b"origin, access-control-request-method, access-control-request-headers"


class CORSMiddleware:
    """Answers preflights, and says on every other answer which origin may read it.

    A preflight is an OPTIONS request with Origin and Access-Control-Request-Method. It gets 204, without CORS fields
    where the origin is not allowed, and no backend sees it. All else goes on, whatever its origin: a browser is what
    CORS is enforced by. CORS fields of the backend's are taken out.

    ``*`` is sent as the origin where every origin may read without credentials, and else the request's own; then
    ``Vary: origin`` keeps caches from mixing them up. Of ``*`` in allowHeaders the headers asked for become, so that
    Authorization is among them; in allowMethods it stays, but with credentials it becomes the method asked for. In
    exposeHeaders it is left out with credentials, where it would be a header's name. Without allowMethods scripts may
    use GET, HEAD and POST, as they always may.
    """

    def __init__(self, app: ASGIApp, *, config: HTTPCORSFilter) -> None:
        self.app = app
        credentials = config.allow_credentials
        self._any_origin = "*" in config.allow_origins
        self._origins = [_AllowedOrigin(origin) for origin in config.allow_origins if origin != "*"]
        # Whether the same is said to every origin
        self._static = self._any_origin and not credentials
        self._methods = ", ".join(config.allow_methods).encode()
        self._same_method = credentials and "*" in config.allow_methods
        self._headers = ", ".join(config.allow_headers).encode()
        self._same_headers = "*" in config.allow_headers
        # What follows the origin, on every answer
        self._fields: Fields = [(b"access-control-allow-credentials", b"true")] if credentials else []
        exposed = [name for name in config.expose_headers if name != "*" or not credentials]
        if exposed:
            self._fields.append((b"access-control-expose-headers", ", ".join(exposed).encode()))
        self._max_age = (b"access-control-max-age", b"%d" % config.max_age)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        origin = method = headers = b""
        for name, value in scope["headers"]:
            if name == b"origin":
                origin = value
            elif name == b"access-control-request-method":
                method = value
            elif name == b"access-control-request-headers":
                headers = b"%b, %b" % (headers, value) if headers else value
        if scope["method"] == "OPTIONS" and origin and method:
            fields = self._preflight(origin, method, headers)
            await send({"type": "http.response.start", "status": 204, "headers": fields})
            await send({"type": "http.response.body", "body": b""})
            return
        fields = self._actual(origin)

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._told(message.get("headers", ()), fields)}
            await send(message)

        try:
            await self.app(scope, receive, told)
        except GatewayError as error:
            # The script is to learn of it, too.
            error.headers = (*error.headers, *fields, *self._vary())
            raise

    def _preflight(self, origin: bytes, method: bytes, headers: bytes) -> Fields:
        fields = self._actual(origin)
        if fields:
            methods = method if self._same_method else self._methods
            if methods and _TOKENS.fullmatch(methods):
                fields.append((b"access-control-allow-methods", methods))
            allowed = headers if self._same_headers else self._headers
            if headers and allowed and _TOKENS.fullmatch(allowed):
                fields.append((b"access-control-allow-headers", allowed))
            fields.append(self._max_age)
        return [*fields, (b"vary", _ASKED)]

    def _actual(self, origin: bytes) -> Fields:
        """What the scripts of ``origin`` are told, nothing where they may not read."""
        if self._static:
            return [_ANY, *self._fields]
        if origin and (self._any_origin or self._allows(origin)):
            return [(b"access-control-allow-origin", origin), *self._fields]
        return []

    def _allows(self, origin: bytes) -> bool:
        parsed = _parsed(origin.decode("latin-1"))
        return parsed is not None and any(allowed.takes(*parsed) for allowed in self._origins)

    def _vary(self) -> Fields:
        return [] if self._static else [(b"vary", b"origin")]

    def _told(self, headers: Fields, fields: Fields) -> Fields:
        kept = [field for field in headers if field[0].lower() not in _OURS]
        return [*kept, *fields, *([] if _varies(kept) else self._vary())]


class _AllowedOrigin:
    """An entry of allowOrigins; its ``*`` stands for any number of labels."""

    __slots__ = ("_host", "_port", "_scheme", "_suffix")

    def __init__(self, origin: str) -> None:
        parsed = _parsed(origin)
        assert parsed is not None, origin
        self._scheme, self._host, self._port = parsed
        self._suffix = self._host[1:] if self._host.startswith("*") else None

    def takes(self, scheme: str, host: str, port: int) -> bool:
        """Whether it allows the origin of these parts."""
        if scheme != self._scheme or port != self._port:
            return False
        suffix = self._suffix
        return host == self._host if suffix is None else host.endswith(suffix) and len(host) > len(suffix)


def _parsed(origin: str) -> tuple[str, str, int] | None:
    """Scheme, host and port, which both sides may leave out where the scheme stands for it; None for "null"."""
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        return None
    return match[1], match[2], int(match[3]) if match[3] else _PORTS[match[1]]


def _varies(headers: Fields) -> bool:
    """Whether the answer says already that it is another for another Origin."""
    return any(
        part.strip().lower() in (b"origin", b"*")
        for name, value in headers
        if name.lower() == b"vary"
        for part in value.split(b",")
    )
