"""A rule between clients and endpoints that the test plays, with whatever the rule asks for."""

import re
from typing import Any

from starlette.types import Receive, Scope, Send

from app.backend import Upstream
from app.proxy import RuleProxy
from app.rule import serve
from app.upstream.endpoints import Endpoints
from app.upstream.resolver import Resolver
from app.upstream.transport import UpstreamTransport
from middleware.errors import ErrorMiddleware
from middleware.record import RECORD, RequestRecord
from middleware.scope import LISTENER_PORT, TARGET_PATH
from routes.graph.nodes import Address
from routes.resources.http import HTTPRouteRetry, HTTPRouteTimeouts, SessionPersistence
from routes.resources.meta import Key
from routes.table.types import Backend, Rule
from tests.wire.harness import Loop, Server, Wire

ROUTE = Key("gateway.networking.k8s.io", "HTTPRoute", "default", "r")

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"


def timeouts(request: str | None = None, backend: str | None = None) -> HTTPRouteTimeouts:
    return HTTPRouteTimeouts(request=request, backend_request=backend)


def retry(attempts: int, *codes: int, backoff: str | None = None) -> HTTPRouteRetry:
    return HTTPRouteRetry(attempts=attempts, codes=codes, backoff=backoff)


def session(**fields: Any) -> SessionPersistence:
    return SessionPersistence.model_validate(fields)


def backend(*numbers: int, name: str = "b", **fields: Any) -> Backend:
    """A backend at addresses that end in ``numbers``."""
    addresses = tuple(Address(f"192.0.2.{number}", 80) for number in numbers)
    return Backend(name, fields.pop("weight", 1), addresses, **fields)


class Ruled:
    """Serves one rule. ``records``: what is known of each request. ``refusing``: endpoints that take no connection."""

    def __init__(self, loop: Loop, *backends: Backend, ws: str = "none", **rule: Any) -> None:
        self.loop = loop
        self.records: list[RequestRecord] = []
        self.refusing: set[int] = set()
        self._upstream = loop.run(self._make())
        self._proxy: RuleProxy | None = None
        self._seen: dict[Wire, int] = {}
        self._made: list[int] = []
        self._server = Server(loop, ErrorMiddleware(self._app), ws=ws)
        loop.connecting = self._connecting
        self.change(*backends, **rule)

    async def _make(self) -> Upstream:
        transport = UpstreamTransport()
        return Upstream(transport, Endpoints(Resolver(60), transport), b"secret")

    async def _connecting(self) -> None:
        number = int(re.split("[.:]", self.loop.asked[-1][0])[-1])
        if number in self.refusing:
            raise ConnectionRefusedError
        self._made.append(number)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[TARGET_PATH] = scope["raw_path"]
        scope[LISTENER_PORT] = 80
        scope[RECORD] = RequestRecord()
        self.records.append(scope[RECORD])
        await self.proxy(scope, receive, send)

    @property
    def proxy(self) -> RuleProxy:
        assert self._proxy is not None
        return self._proxy

    def change(self, *backends: Backend, **rule: Any) -> None:
        """What a change of the table does to a rule."""
        self._proxy = serve(Rule(ROUTE, 0, backends or (backend(1),), **rule), self._upstream, self._proxy)

    def client(self, *pieces: bytes, tls: bool = False) -> Wire:
        """A new client that sends ``pieces``."""
        self._seen = self._written()
        wire = self._server.connect(tls=tls)
        wire.feed(*pieces)
        return wire

    @property
    def backends(self) -> list[tuple[int, Wire]]:
        """All connections that were made, with the number of their endpoint."""
        return list(zip(self._made, self.loop.wires, strict=True))

    def got(self) -> tuple[int, Wire]:
        """The endpoint, and the connection to it, on which something was sent since the last look."""
        before, self._seen = self._seen, self._written()
        (found,) = [(number, wire) for number, wire in self.backends if len(wire.written) > before.get(wire, 0)]
        return found

    @property
    def silent(self) -> bool:
        """Whether nothing was sent to any endpoint since the last look."""
        return self._seen == self._written()

    def _written(self) -> dict[Wire, int]:
        return {wire: len(wire.written) for wire in self.loop.wires if wire.written}

    def answers(self, *answers: bytes) -> list[int]:
        """Have whoever got the request give each of ``answers`` in turn; who they were."""
        found = []
        for answer in answers:
            number, wire = self.got()
            wire.feed(answer)
            found.append(number)
        return found


def status(client: Wire) -> int:
    """Of the final answer that the client got, 0 if it got none."""
    found = re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", client.output)
    assert len(found) <= 1, client.output
    return int(found[0]) if found else 0
