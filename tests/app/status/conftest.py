"""A loop of the test's own time, and an API server in it."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.app.status.world import Server, gateway, gateway_class, route
from tests.wire.harness import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    asyncio.set_event_loop(loop)
    yield loop
    loop.finish()
    asyncio.set_event_loop(None)


@pytest.fixture
def server(loop: Loop) -> Server:
    """With a class of ours, a Gateway of it, and a route on that."""
    server = Server(loop)
    server.apply(gateway_class())
    server.apply(gateway())
    server.apply(route("r", "g"))
    return server
