"""A rule with several endpoints: what their answers, and changes of their addresses, do to the requests that follow."""

import re
from collections import Counter
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from app.backend import Upstream
from app.listeners.cycle import Cycle
from app.proxy import RuleProxy
from app.upstream.endpoints import Endpoints
from app.upstream.health import BURST, EJECTION, SLOW_START
from app.upstream.transport import UpstreamTransport
from middleware.errors import ErrorMiddleware
from middleware.scope import TARGET_PATH
from routes.graph.backends import SERVICE_NAME
from routes.graph.nodes import Address, DNSName, ServiceTarget
from routes.resources.core import Endpoint as CoreEndpoint
from routes.resources.core import EndpointPort, EndpointSlice
from routes.resources.meta import Key, ObjectMeta
from routes.table.types import Backend, Rule
from tests.wire.harness import Loop, Server, Wire

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
ROUTE = Key("gateway.networking.k8s.io", "HTTPRoute", "default", "r")
NAME = DNSName("whoami", 80)
SERVICE = ServiceTarget("a", "one", "web")


def at(*numbers: int) -> tuple[Address, ...]:
    return tuple(Address(f"192.0.2.{number}", 80) for number in numbers)


class Names:
    """A resolver whose answers the test gives."""

    def __init__(self) -> None:
        self.found: tuple[Address, ...] = ()

    async def addresses(self, name: DNSName) -> tuple[Address, ...]:
        assert name == NAME
        return self.found


class Front(ErrorMiddleware):
    """An application that forwards what it can on the spot where it is told to, as the gateway does."""

    proxy: RuleProxy | None = None

    def at_once(self, cycle: Cycle) -> bool:
        if self.proxy is None:
            return False
        cycle.scope[TARGET_PATH] = cycle.scope["raw_path"]
        return self.proxy.at_once(cycle, cycle.scope["headers"], None)


class Rig:
    """A rule whose endpoints are the last number of their addresses, and a client that asks it."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.names = Names()
        self._proxy: RuleProxy | None = None
        self._seen: dict[Wire, int] = {}
        self._upstream = loop.run(self._make_upstream())
        self._front = Front(self._app)
        self._server = Server(loop, self._front)

    async def _make_upstream(self) -> Upstream:
        names: Any = self.names
        transport = UpstreamTransport()
        return Upstream(transport, Endpoints(names, transport))

    def on_the_spot(self) -> None:
        """Forward without a task what can be."""
        self._front.proxy = self._proxy

    def slice(self, name: str, *numbers: int) -> None:
        """What the cluster says of the Service's endpoints."""
        self._upstream.services.put(
            EndpointSlice(
                metadata=ObjectMeta(name=name, namespace="a", labels={SERVICE_NAME: "one"}),
                address_type="IPv4",
                ports=(EndpointPort(name="web", port=80),),
                endpoints=tuple(CoreEndpoint(addresses=(address.host,)) for address in at(*numbers)),
            )
        )

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[TARGET_PATH] = scope["raw_path"]
        assert self._proxy
        await self._proxy(scope, receive, send)

    def serve(self, *addresses: int, dns: bool = False, service: bool = False) -> None:
        """What a change of the table does to a rule."""
        backend = Backend("b", 1, at(*addresses), dns=NAME if dns else None, service=SERVICE if service else None)
        self._proxy = RuleProxy(Rule(ROUTE, 0, (backend,)), self._upstream, self._proxy)

    def ask(self) -> tuple[Wire, int, Wire]:
        """A new request: the client's end, the endpoint that got it, and its end."""
        self._seen = self._written()
        client = self._server.connect()
        client.feed(GET)
        backend = self.got()
        return client, self.number(backend), backend

    def refused(self) -> bytes:
        """What a new request is answered that reaches nobody."""
        client = self._server.connect()
        client.feed(GET)
        return client.output

    def got(self) -> Wire:
        """The backend's end on which something was sent since the last look."""
        before, self._seen = self._seen, self._written()
        (found,) = [wire for wire, count in self._seen.items() if count > before.get(wire, 0)]
        return found

    def _written(self) -> dict[Wire, int]:
        return {wire: len(wire.written) for wire in self.loop.wires}

    def number(self, backend: Wire) -> int:
        host, _ = self.loop.asked[self.loop.wires.index(backend)]
        return int(re.split("[.:]", host)[-1])

    def asked(self, count: int, **answers: bytes) -> Counter[int]:
        """Who got ``count`` requests, one after the other; answered by ``answers`` of ``_<number>``, or 200."""
        counts: Counter[int] = Counter()
        for _ in range(count):
            client, number, backend = self.ask()
            backend.feed(answers.get(f"_{number}", OK))
            client.feed_eof()
            counts[number] += 1
        return counts


@pytest.fixture
def rig(loop: Loop) -> Rig:
    return Rig(loop)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"this is not HTTP\r\n\r\n",
    ],
)
def test_an_endpoint_that_answers_badly_in_a_row_gets_no_more_requests_for_a_while(rig: Rig, answer: bytes) -> None:
    rig.serve(1, 2)
    rig.asked(100, _1=answer)
    assert rig.asked(100, _1=answer)[1] == 0
    rig.loop.advance(EJECTION)
    assert rig.asked(100, _1=answer)[1] == 1


def test_an_endpoint_that_closes_without_an_answer_gets_no_more_requests_for_a_while(rig: Rig) -> None:
    rig.serve(1, 2)
    counts: Counter[int] = Counter()
    for _ in range(100):
        client, number, backend = rig.ask()
        counts[number] += 1
        if number == 1:
            backend.feed_eof()
            backend = rig.got()
            assert rig.number(backend) == 2
        backend.feed(OK)
        assert client.output.startswith(b"HTTP/1.1 200 ")
        client.feed_eof()
    assert counts[1] == BURST


def test_what_is_known_of_an_endpoint_outlives_a_change_of_its_rule(rig: Rig) -> None:
    rig.serve(1, 2)
    rig.asked(100, _1=b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    rig.serve(1, 2, 3)
    assert rig.asked(100)[1] == 0


def test_an_endpoint_that_joins_gets_a_growing_share(rig: Rig) -> None:
    rig.serve(1)
    rig.asked(1)
    rig.serve(1, 2)
    assert rig.asked(100)[2] < 25
    rig.loop.advance(SLOW_START)
    assert rig.asked(100)[2] > 25


def test_endpoints_that_were_all_there_at_the_start_get_equal_shares(rig: Rig) -> None:
    rig.serve(1, 2)
    assert rig.asked(100)[2] > 25


def test_a_request_under_way_to_an_endpoint_that_is_removed_is_finished(rig: Rig) -> None:
    rig.serve(1)
    client, _, backend = rig.ask()
    rig.serve(2)
    assert rig.asked(20) == {2: 20}
    backend.feed(OK)
    assert client.output.startswith(b"HTTP/1.1 200 ")
    assert backend.closed


def test_idle_connections_to_an_endpoint_that_is_removed_are_closed_with_the_next_request(rig: Rig) -> None:
    rig.serve(1, 2)
    rig.asked(20)
    rig.serve(2)
    rig.asked(1)
    assert {rig.number(wire) for wire in rig.loop.wires if not wire.closed} == {2}


def test_an_endpoint_that_is_removed_and_comes_back_keeps_its_connections_again(rig: Rig) -> None:
    for numbers in ((1,), (2,), (1,)):
        rig.serve(*numbers)
        rig.asked(2)
    assert [rig.number(wire) for wire in rig.loop.wires] == [1, 2, 1]
    assert [wire.closed for wire in rig.loop.wires] == [True, True, False]


# Names


def test_all_addresses_of_a_name_get_requests(rig: Rig) -> None:
    rig.names.found = (*at(1, 2), Address("2001:db8::3", 80))
    rig.serve(dns=True)
    assert set(rig.asked(60)) == {1, 2, 3}


def test_a_name_whose_addresses_change_is_followed_without_a_failed_request(rig: Rig) -> None:
    rig.names.found = at(1, 2)
    rig.serve(dns=True)
    rig.asked(10)
    client, number, backend = rig.ask()
    rig.names.found = at(3)
    assert rig.asked(10) == {3: 10}
    backend.feed(OK)
    assert number in (1, 2)
    assert client.output.startswith(b"HTTP/1.1 200 ")
    assert {rig.number(wire) for wire in rig.loop.wires if not wire.closed} == {3}


def test_an_address_that_joins_those_of_a_name_gets_a_growing_share(rig: Rig) -> None:
    rig.names.found = at(1)
    rig.serve(dns=True)
    rig.asked(1)
    rig.names.found = at(1, 2)
    assert rig.asked(100)[2] < 25
    rig.loop.advance(SLOW_START)
    assert rig.asked(100)[2] > 25


# Services of a cluster


@pytest.mark.parametrize("on_the_spot", [False, True])
def test_a_service_is_followed_from_request_to_request(rig: Rig, on_the_spot: bool) -> None:
    rig.serve(service=True)
    if on_the_spot:
        rig.on_the_spot()
    rig.slice("x", 1)
    rig.slice("y", 2)
    assert set(rig.asked(40)) == {1, 2}
    client, number, backend = rig.ask()
    rig.slice("x")
    rig.slice("y", 3)
    assert rig.asked(10) == {3: 10}
    backend.feed(OK)
    assert number in (1, 2)
    assert client.output.startswith(b"HTTP/1.1 200 ")
    assert {rig.number(wire) for wire in rig.loop.wires if not wire.closed} == {3}


def test_a_service_without_endpoints_answers_503_until_it_has_one(rig: Rig) -> None:
    rig.serve(service=True)
    assert rig.refused().startswith(b"HTTP/1.1 503 ")
    rig.slice("x", 1)
    assert rig.asked(2) == {1: 2}
    rig.slice("x")
    assert rig.refused().startswith(b"HTTP/1.1 503 ")
    assert all(wire.closed for wire in rig.loop.wires)


def test_an_endpoint_that_joins_those_of_a_service_gets_a_growing_share(rig: Rig) -> None:
    rig.serve(service=True)
    rig.slice("x", 1)
    rig.asked(1)
    rig.slice("x", 1, 2)
    assert rig.asked(100)[2] < 25
    rig.loop.advance(SLOW_START)
    assert rig.asked(100)[2] > 25


def test_an_endpoint_of_a_service_that_fails_is_passed_over_whatever_else_changes(rig: Rig) -> None:
    rig.serve(service=True)
    rig.slice("x", 1, 2)
    rig.asked(100, _1=b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    rig.slice("y", 3)
    rig.serve(service=True)
    assert rig.asked(100)[1] == 0
