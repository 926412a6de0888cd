"""What the proxies share: options, fields, and a server."""

import argparse
import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

Fields = list[tuple[bytes, bytes]]

#: Fields of one connection only (RFC 9110, 7.6.1).
HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
#: What only the proxy may say.
OURS = frozenset(b"x-forwarded-" + name for name in (b"for", b"host", b"port", b"proto", b"server")) | {b"x-real-ip"}
_DROPPED = HOP_BY_HOP | OURS


@dataclass(frozen=True, slots=True)
class Options:
    """The command line: two ports to serve on, a port to forward to, and the hosts that are served."""

    http: int
    https: int
    backend: int
    certificate: Path
    key: Path
    hosts: frozenset[bytes]
    server: bytes

    @classmethod
    def parse(cls) -> "Options":
        """From ``sys.argv``."""
        parser = argparse.ArgumentParser()
        for name in ("http", "https", "backend"):
            parser.add_argument(f"--{name}", type=int, required=True)
        for name in ("certificate", "key", "hosts"):
            parser.add_argument(f"--{name}", type=Path, required=True)
        parser.add_argument("--server", type=str.encode, required=True)
        given = vars(parser.parse_args())
        given["hosts"] = frozenset(given["hosts"].read_bytes().split())
        return cls(**given)


def forwarded(headers: Iterable[tuple[bytes, bytes]], client: str, scheme: str, server: bytes) -> tuple[bytes, Fields]:
    """The host that is asked for, and the fields to send on. Names must be in lower case."""
    host = b""
    fields: Fields = []
    for field in headers:
        if field[0] == b"host":
            host = field[1]
        if field[0] not in _DROPPED:
            fields.append(field)
    name, _, port = host.rpartition(b":") if b":" in host else (host, b"", b"")
    address = client.encode()
    fields += [
        (b"x-forwarded-for", address),
        (b"x-real-ip", address),
        (b"x-forwarded-host", host),
        (b"x-forwarded-port", port or (b"443" if scheme == "https" else b"80")),
        (b"x-forwarded-proto", scheme.encode()),
        (b"x-forwarded-server", server),
    ]
    return name, fields


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run to its end on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def serve(app: Any, options: Options) -> None:
    """``app`` on both ports, under uvicorn with its fastest parser."""
    shared: dict[str, Any] = {
        "http": "httptools",
        "lifespan": "off",
        "log_level": "error",
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "date_header": False,
        "timeout_keep_alive": 600,
        "backlog": 8192,
    }
    plain = uvicorn.Config(app, port=options.http, **shared)
    secure = uvicorn.Config(
        app, port=options.https, ssl_certfile=str(options.certificate), ssl_keyfile=str(options.key), **shared
    )
    await asyncio.gather(uvicorn.Server(plain).serve(), uvicorn.Server(secure).serve())
