"""Status follows the sockets: what could not be opened is told, and taken back when it could."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app import Gateway, Settings
from app.status.patches import statuses
from routes.resources.meta import GATEWAY_GROUP, Key
from tests.helpers.manifests import gateway_object, http_listener, write
from tests.helpers.processes import free_port


@contextmanager
def taken(address: str, port: int) -> Iterator[socket.socket]:
    with socket.create_server((address, port)) as somebody:
        yield somebody


def programmed(gateway: Gateway, name: str) -> tuple[Any, Any, Any]:
    """The status, reason and message of the Gateway's condition Programmed."""
    state = gateway.runtime.state
    assert state is not None
    status = statuses(state.graph, gateway.settings.controller_name)[Key(GATEWAY_GROUP, "Gateway", "default", name)]
    found = next(each for each in status["conditions"] if each["type"] == "Programmed")
    return found["status"], found["reason"], found["message"]


def addresses(gateway: Gateway, name: str) -> list[str]:
    state = gateway.runtime.state
    assert state is not None
    status = statuses(state.graph, gateway.settings.controller_name)[Key(GATEWAY_GROUP, "Gateway", "default", name)]
    return [each["value"] for each in status.get("addresses", [])]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(Settings(manifests=(tmp_path,), host="127.0.0.1", admin="off"), listeners=True)


def test_a_port_that_cannot_be_bound_is_not_programmed_until_it_can(tmp_path: Path, gateway: Gateway) -> None:
    port = free_port()
    write(tmp_path / "gateway.yaml", gateway_object("one", http_listener(port)))

    async def main() -> None:
        with taken("127.0.0.1", port) as somebody:
            async with gateway.serving():
                await until(lambda: programmed(gateway, "one")[0] == "False")
                assert f"127.0.0.1:{port}: Address already in use" in programmed(gateway, "one")[2]
                somebody.close()
                await until(lambda: programmed(gateway, "one")[0] == "True")
                assert addresses(gateway, "one") == ["127.0.0.1"]

    asyncio.run(main())


def test_of_two_gateways_on_one_socket_the_second_is_not_programmed(tmp_path: Path, gateway: Gateway) -> None:
    port = free_port()
    write(
        tmp_path / "gateways.yaml",
        gateway_object("one", http_listener(port)),
        gateway_object("two", http_listener(port)),
    )

    async def main() -> None:
        async with gateway.serving():
            await until(lambda: programmed(gateway, "two")[0] == "False")
            assert f"Gateway default/one, port {port}, has it already" in programmed(gateway, "two")[2]
            assert programmed(gateway, "one")[0] == "True"
            write(tmp_path / "gateways.yaml", gateway_object("two", http_listener(port)))
            await until(lambda: programmed(gateway, "two")[0] == "True")

    asyncio.run(main())


def test_an_address_that_this_machine_has_not_is_not_usable(tmp_path: Path, gateway: Gateway) -> None:
    written = gateway_object("one", http_listener(free_port()))
    written["spec"]["addresses"] = [{"value": "127.0.0.2"}, {"value": "192.0.2.1"}]
    write(tmp_path / "gateway.yaml", written)

    async def main() -> None:
        async with gateway.serving():
            await until(lambda: programmed(gateway, "one")[0] == "False")
            assert programmed(gateway, "one")[1] == "AddressNotUsable"
            assert addresses(gateway, "one") == ["127.0.0.2"]

    asyncio.run(main())
