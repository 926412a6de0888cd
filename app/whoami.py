"""A backend that answers every request with what it got: for trying out routes, and for tests."""

import re
import socket
import struct
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address
from itertools import chain

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send


def whoami(name: str = "") -> ASGIApp:
    """An ASGI application that answers as traefik/whoami 1.6 does: who it is, who asked, and the request itself.

    Any path and any method get 200; the body of the request is read and dropped. The machine's name and addresses are
    those of the time of this call. As in the original the request part has HTTP's line ends, and the rest plain ones.
    """
    lines = [f"Name: {name}"] if name else []
    lines.append(f"Hostname: {socket.gethostname()}")
    lines += [f"IP: {address}" for address in _addresses()]
    identity = "".join(f"{line}\n" for line in lines).encode()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        while (message := await receive()).get("more_body", False):
            pass
        if message["type"] == "http.disconnect":
            return
        body = b"%bRemoteAddr: %b\n%b" % (identity, _remote_address(scope), _request(scope))
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return app


def serve(host: str = "0.0.0.0", port: int = 80, name: str = "") -> None:
    """Serve :func:`whoami` on ``host`` and ``port`` until a signal comes. Port 0 takes a free one and logs it."""
    _server(host, port, name).run()


def _server(host: str, port: int, name: str) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            whoami(name),
            host=host,
            port=port,
            http="httptools",
            ws="none",  # an upgrade is one more request to print
            lifespan="off",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # RemoteAddr is the peer, whatever X-Forwarded-For says
        )
    )


async def _lifespan(receive: Receive, send: Send) -> None:
    while (kind := (await receive())["type"]) != "lifespan.shutdown":
        await send({"type": f"{kind}.complete"})
    await send({"type": "lifespan.shutdown.complete"})


def _remote_address(scope: Scope) -> bytes:
    if (client := scope.get("client")) is None:
        return b"@"  # Go's word for an unnamed Unix socket
    host, port = client
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()


def _request(scope: Scope) -> bytes:
    """The request as Go prints one: Host, User-Agent, the framing fields, then the others sorted by name."""
    target: bytes = scope.get("raw_path") or b"/"
    if query := scope.get("query_string"):
        target = b"%b?%b" % (target, query)
    fields = sorted(
        ((_canonical(name), value) for name, value in scope["headers"]), key=lambda field: (_rank(field[0]), field[0])
    )
    lines = chain(
        [b"%b %b HTTP/1.1\r\n" % (scope["method"].encode(), target)],
        (b"%b: %b\r\n" % field for field in fields),
        [b"\r\n"],
    )
    return b"".join(lines)


_FIRST = (b"Host", b"User-Agent", b"Content-Length", b"Transfer-Encoding", b"Trailer")


def _rank(name: bytes) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


@lru_cache(maxsize=256)
def _canonical(name: bytes) -> bytes:
    """The name as Go writes it: upper case at the start and after dashes, but what is not a token as it is."""
    return b"-".join(part.capitalize() for part in name.split(b"-")) if _TOKEN.fullmatch(name) else name


def _addresses() -> list[str]:
    """The addresses of this machine's interfaces, as well as they can be known; an empty list rather than an error."""
    with suppress(OSError, AttributeError, struct.error):
        return _netlink_addresses()
    # Not Linux, or not allowed there: what the machine's own name stands for.
    with suppress(OSError):
        found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]).partition("%")[0] for *_, address in found))
    return []


def _netlink_addresses() -> list[str]:
    """Ask the kernel (rtnetlink(7), RTM_GETADDR), interface by interface in the order of their numbers.

    Raises OSError where that is not allowed, AttributeError where there is no netlink.
    """
    new_address, get_address, done, error = 20, 22, 3, 2
    request_dump = 0x301
    found: list[tuple[int, str]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(1)
        netlink.send(struct.pack("=IHHIIB3x", 20, get_address, request_dump, 1, 0, socket.AF_UNSPEC))
        while True:
            answer = netlink.recv(1 << 16)
            while answer:
                length, kind = struct.unpack_from("=IH", answer)
                if kind == done:
                    return [text for _, text in sorted(found, key=lambda entry: entry[0])]
                if kind == error or length < 16:
                    raise OSError("the kernel does not list its addresses")
                if kind == new_address:
                    index = struct.unpack_from("=I", answer, 20)[0]
                    found += [(index, text) for text in _address_of(answer[24:length])]
                answer = answer[(length + 3) & ~3 :]


def _address_of(attributes: bytes) -> list[str]:
    """The address in the attributes of one RTM_NEWADDR message: the local end, where the link has two."""
    address, local = 1, 2
    values: dict[int, bytes] = {}
    while len(attributes) >= 4:
        length, kind = struct.unpack_from("=HH", attributes)
        if length < 4:
            break
        values[kind] = attributes[4:length]
        attributes = attributes[(length + 3) & ~3 :]
    value = values.get(local) or values.get(address)
    # A dump of all families may hold some that are no IP.
    return [str(ip_address(value))] if value and len(value) in (4, 16) else []
