"""Who may ask the admin port what: around all of it, before any page is reached.

A page in a browser may send requests to any address that the browser reaches, this port among them, and where it lets a
host name of its own lead here (DNS rebinding) it may read the answers. So the name by which a client came is checked,
and where a browser tells who sent it, that as well.
"""

from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.settings import Settings

#: Nothing here is changed by anybody.
METHODS: Final = frozenset({"GET", "HEAD"})
#: What machines ask, from other machines: ``dashboard`` is not about these.
OPEN: Final = frozenset({"/ping", "/ready", "/metrics", "/version"})
#: Bytes of a query string.
MAX_QUERY: Final = 8192

#: On every answer. The last three keep other sites' pages from embedding an answer, or from keeping hold of its window.
HEADERS: Final = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Refusal(NamedTuple):
    """Why a request is not answered."""

    status: int
    sentence: str


class Guard:
    """Lets requests to ``app`` that read, by a name of ours, from nobody else's page and from where ``dashboard`` says.

    Every answer gets :data:`HEADERS`, and is not stored unless it says itself that it may be.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts = frozenset({"localhost", *(_bare(host) for host in settings.admin_hosts)})
        self._dashboard = settings.dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "there are no WebSockets here"})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("cache-control", "no-store")
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            with suppress(ClientDisconnect):  # it follows events, say, until its page is closed: nothing is wrong
                await self._app(scope, receive, guarded)
            return
        extra = {"allow": ", ".join(sorted(METHODS))} if refusal.status == 405 else None
        await PlainTextResponse(f"{refusal.sentence}\n", refusal.status, extra)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Refusal | None:
        fields: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            fields.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        return (
            self._misnamed(fields.get("host", ()), scope["http_version"])
            or _foreign(fields)
            or _unfit(scope)
            or self._hidden(scope["path"], scope["client"], fields)
        )

    def _misnamed(self, hosts: Iterable[str], http_version: str) -> Refusal | None:
        """Where Host is none of our names. A program without one (HTTP/1.0) is no browser."""
        found = list(hosts)
        if len(found) > 1 or (not found and http_version != "1.0"):
            return Refusal(400, "There must be one Host.")
        if not found or _is_address(host := _host(found[0])) or host in self._hosts:
            return None
        return Refusal(
            421,
            f"This is the admin port of a Moongate, which is not asked by the name {_shown(host)}: use an IP address "
            "or localhost, or have the operator put the name into MOONGATE_ADMIN_HOSTS.",
        )

    def _hidden(self, path: str, client: tuple[str, int] | None, fields: dict[str, list[str]]) -> Refusal | None:
        """Where ``dashboard`` is not for this client."""
        if path in OPEN or self._dashboard == "on":
            return None
        if self._dashboard == "off":
            return Refusal(404, "Not Found")
        # What a proxy on this machine passes on, perhaps our own listeners, is somebody else's.
        if client is not None and _is_loopback(client[0]) and not fields.keys() & {"forwarded", "x-forwarded-for"}:
            return None
        return Refusal(
            403,
            "The dashboard and the API are for clients on the gateway's own machine: come by "
            "`kubectl port-forward` or an SSH tunnel, or set MOONGATE_DASHBOARD=on where the admin port is reached by "
            "those alone who may see everything.",
        )


def _foreign(fields: dict[str, list[str]]) -> Refusal | None:
    """Where another site's page sends the request. Following a link from there, or typing it in, is no such thing."""
    refusal = Refusal(403, "A page of another site may not ask the admin port.")
    origins = fields.get("origin", [])
    if origins and (len(origins) > 1 or _authority(origins[0]) != fields.get("host", [""])[0].lower()):
        return refusal
    sites = fields.get("sec-fetch-site", [])
    if all(site in ("same-origin", "none") for site in sites):
        return None
    followed = fields.get("sec-fetch-mode") == ["navigate"] and fields.get("sec-fetch-dest") == ["document"]
    return None if followed else refusal


def _unfit(scope: Scope) -> Refusal | None:
    if scope["method"] not in METHODS:
        return Refusal(405, "The admin port is for reading: GET and HEAD.")
    if len(scope["query_string"]) > MAX_QUERY:
        return Refusal(414, f"The query has more than {MAX_QUERY} bytes.")
    return None


def _authority(origin: str) -> str:
    """What of an Origin is to be the Host: the scheme may be another's, that of a proxy which ends TLS."""
    scheme, separator, authority = origin.lower().partition("://")
    return authority if separator and scheme in ("http", "https") else ""


def _host(authority: str) -> str:
    """The host of a Host field without port, "" where it is none."""
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        return host if bracket and (not rest or rest.startswith(":")) and ":" in host else ""
    return _bare(authority.partition(":")[0])


def _bare(host: str) -> str:
    return host.lower().removesuffix(".")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback


def _shown(host: str) -> str:
    """A name that a stranger chose, for a sentence."""
    return repr(host[:100]) if host.isascii() and host.isprintable() and host else "(none)"
