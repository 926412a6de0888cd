"""What is measured."""

from dataclasses import dataclass
from enum import StrEnum


class Front(StrEnum):
    """How clients speak to a proxy. Backends are always spoken to in HTTP/1.1."""

    HTTP1 = "HTTP/1.1"
    HTTP1_TLS = "HTTP/1.1 over TLS"
    HTTP2_TLS = "HTTP/2 over TLS"
    H2C = "h2c"  # with prior knowledge
    WEBSOCKET = "WebSocket"


class Load(StrEnum):
    """What clients do."""

    GET = "GET"
    UPLOAD = "POST"
    MESSAGES = "messages"
    IDLE = "idle"
    HANDSHAKES = "handshakes"


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``size`` is that of the answer, the upload or the message in bytes; requests go to ``hosts`` hosts in
    turn, each of which has a route."""

    group: str
    title: str
    front: Front
    size: int
    load: Load = Load.GET
    hosts: int = 1
    core: bool = False  # part of --quick

    @property
    def path(self) -> str:
        """What is asked for."""
        return {Load.UPLOAD: "/upload", Load.MESSAGES: "/ws"}.get(self.load, f"/{self.size}")


SMALL, MEDIUM, LARGE = 200, 10_000, 1_000_000
SIZES = {SMALL: "0.2 kB", MEDIUM: "10 kB", LARGE: "1 MB"}
#: Connections that are kept, and the clients of the WebSocket row.
CONNECTIONS = 64
#: HTTP/2 has as many requests under way, over fewer connections.
STREAMS = 8
#: Idle connections.
IDLE = 5_000

_HTTP = (Front.HTTP1, Front.HTTP1_TLS, Front.HTTP2_TLS, Front.H2C)
_QUICK = {(Front.HTTP1, SMALL), (Front.HTTP2_TLS, SMALL), (Front.HTTP1, LARGE)}

ROWS = (
    *(
        Row(f"Answers of {name}", f"{front}, {name}", front, size, core=(front, size) in _QUICK)
        for size, name in SIZES.items()
        for front in _HTTP
    ),
    *(
        Row("Uploads of 1 MB", f"{front}, 1 MB upload", front, LARGE, Load.UPLOAD)
        for front in (Front.HTTP1, Front.HTTP2_TLS)
    ),
    Row("WebSocket", "WebSocket, messages of 100 B", Front.WEBSOCKET, 100, Load.MESSAGES, core=True),
    *(
        Row("Hosts", f"HTTP/1.1, 0.2 kB, {hosts:,} hosts", Front.HTTP1, SMALL, hosts=hosts)
        for hosts in (10, 1_000, 10_000)
    ),
    Row("Connections", "new TLS connections", Front.HTTP1_TLS, SMALL, Load.HANDSHAKES),
    Row("Idle connections", f"{IDLE:,} idle connections", Front.HTTP1, SMALL, Load.IDLE),
)
