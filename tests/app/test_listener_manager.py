"""In which order the listener manager does what a change asks for. What it does is shown over real sockets in e2e."""

import asyncio
from typing import Any, cast

from app.listeners.manager import Listeners
from app.listeners.places import PORT, Place, as_set
from app.listeners.server import Sockets
from app.providers.manifests import read_manifests
from routes.graph.build import build_graph
from routes.graph.nodes import Options
from routes.snapshot import Snapshot
from routes.table.compile import compile_table
from routes.table.types import RoutingTable, Rule

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec: {{gatewayClassName: moongate, listeners: [{listeners}]}}
"""


def table_of(name: str, *ports: int) -> RoutingTable[Rule]:
    listeners = ", ".join(f"{{name: at-{port}, port: {port}, protocol: HTTP}}" for port in ports)
    read = read_manifests(GATEWAY.format(name=name, listeners=listeners), "in.yaml")
    assert not read.problems
    return compile_table(build_graph(Snapshot(each.resource for each in read.objects), Options()), lambda rule: rule)


class Slow:
    """Sockets that take as long to open as the test wants."""

    own_place = None

    def __init__(self) -> None:
        self.may_open = asyncio.Event()
        self.opening = asyncio.Event()
        self.states: dict[int, dict[str, Any]] = {}

    async def addresses(self, host: str) -> tuple[str, ...]:
        return (host,)

    def close(self, opened: object, state: object) -> None:
        pass

    async def open(self, _: str, port: int, state: dict[str, Any], __: object) -> object:
        self.opening.set()
        await self.may_open.wait()
        self.states[port] = state
        return object()


def test_an_open_socket_is_another_gateways_before_a_new_one_is_opened() -> None:
    async def change() -> None:
        table = table_of("before", 9002)
        sockets = Slow()
        sockets.may_open.set()
        listeners = Listeners(cast(Sockets, sockets), "127.0.0.1", as_set({}), "", lambda: table, lambda known: None)
        await listeners.sync()
        assert sockets.states[9002][PORT].gateway.name == "before"

        table = table_of("after", 9001, 9002)
        sockets.may_open.clear()
        sockets.opening.clear()
        syncing = asyncio.create_task(listeners.sync())
        await sockets.opening.wait()
        assert sockets.states[9002][PORT].gateway.name == "after"
        sockets.may_open.set()
        await syncing
        assert sockets.states[9001][PORT].gateway.name == "after"

    asyncio.run(change())


def test_a_listener_whose_bound_port_changes_moves_at_the_next_sync() -> None:
    async def change() -> None:
        table, number = table_of("one", 80), 10080
        sockets = Slow()
        sockets.may_open.set()
        listeners = Listeners(
            cast(Sockets, sockets), "127.0.0.1", lambda key: number, "", lambda: table, lambda known: None
        )
        await listeners.sync()
        number = 10081
        await listeners.sync()
        assert listeners.open_places == (Place("127.0.0.1", 10081),)

    asyncio.run(change())
