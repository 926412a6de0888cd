"""The provider with its client, against an API server on real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from app.providers.kubernetes.client import Client
from app.providers.kubernetes.credentials import Credentials
from app.providers.kubernetes.provider import KubernetesProvider
from routes.graph.nodes import Address, ServiceTarget
from tests.app.providers.kubernetes.following import Follower, endpoint_slice, route
from tests.helpers.apikinds import gateway_api
from tests.helpers.apiserver import ApiServer

WEB = ServiceTarget("default", "web", "")


@asynccontextmanager
async def following(server: ApiServer, *namespaces: str) -> AsyncIterator[Follower]:
    async with Client(Credentials(server.url, "default", ssl.create_default_context(), None)) as client:
        follower = Follower(KubernetesProvider(client, namespaces))
        try:
            follower.apply(await follower.provider.load())
            yield follower
        finally:
            await follower.close()


def scenario(play: Callable[[ApiServer], Awaitable[None]]) -> None:
    async def within_time() -> None:
        async with ApiServer() as server:
            await asyncio.wait_for(play(server), 60)

    asyncio.run(within_time())


def test_objects_and_endpoints() -> None:
    async def play(server: ApiServer) -> None:
        server.put(route("a"))
        server.put(endpoint_slice("web-1", "10.0.0.1"))
        async with following(server) as follower:
            assert (follower.names(), follower.said()) == (["a"], [])
            assert follower.names("Namespace") == ["default", "kube-system"]
            assert follower.provider.endpoints.of(WEB) == (Address("10.0.0.1", 8080),)
            server.put(route("b"))
            await follower.until(lambda: follower.names() == ["a", "b"])
            server.put_status({**route("b"), "status": {"parents": []}})
            server.put(endpoint_slice("web-1", "10.0.0.2"))
            server.delete(route("a"))
            assert [each.name for each in (await follower.next()).deletes] == ["a"]
            assert follower.changes == 3

    scenario(play)


def test_large_objects_of_one_keep_nobody_from_what_others_have() -> None:
    """Secrets as large as the API server takes them, of which a page has more than we hold."""

    async def play(server: ApiServer) -> None:
        large = "A" * 2**20
        for name in ("certificate", *(f"large-{number}" for number in range(30))):
            server.put(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": name},
                    "type": "kubernetes.io/tls",
                    "data": {"tls.crt": "YQ==", "tls.key": "Yg==", "large": large},
                }
            )
        async with following(server) as follower:
            assert len(follower.names("Secret")) == 31
            assert follower.said() == []

    scenario(play)


def test_many_pages() -> None:
    async def play(server: ApiServer) -> None:
        for number in range(600):
            server.put(route(f"r-{number}"))
        async with following(server) as follower:
            assert len(follower.names()) == 600
            assert server.count("GET", f"{route('a')['apiVersion']}/httproutes") == 3

    scenario(play)


def test_a_server_that_goes_and_comes_back() -> None:
    async def play(server: ApiServer) -> None:
        for name in "abc":
            server.put(route(name))
        async with following(server) as follower:
            await server.until(lambda: server.watching("v1/httproutes"))
            await server.stop()
            server.delete(route("a"))
            server.put(route("b", "/b"))
            server.put(route("d"))
            server.compact()
            await server.start()
            await follower.until(lambda: follower.names() == ["b", "c", "d"])

    scenario(play)


def test_versions_that_are_forgotten() -> None:
    async def play(server: ApiServer) -> None:
        server.put(route("a"))
        async with following(server) as follower:
            for number in range(5):
                await server.until(lambda: server.watching("v1/httproutes"))
                server.expire_watches("httproutes")
                server.put(route(f"r-{number}"))
                await follower.until(lambda: f"r-{number}" in follower.names())  # noqa: B023
            server.cut_watches()
            server.delete(route("a"))
            await follower.until(lambda: "a" not in follower.names())

    scenario(play)


def test_definitions_go_and_come_back() -> None:
    async def play(server: ApiServer) -> None:
        server.put(route("a"))
        async with following(server) as follower:
            for each in gateway_api():
                server.delete(each)
            await follower.until(lambda: any("not installed, neither" in each for each in follower.said()))
            assert follower.names() == []
            for each in gateway_api():
                server.put(each)
            server.put(route("b"))
            await follower.until(lambda: follower.names() == ["b"] and not follower.problems)

    scenario(play)


def test_a_forbidden_kind() -> None:
    async def play(server: ApiServer) -> None:
        server.put(route("a"))
        server.forbid("secrets")
        async with following(server) as follower:
            assert follower.names() == ["a"]
            assert list(follower.unread) == [("", "Secret", "")]
            server.allow("secrets")
            await follower.until(lambda: not follower.unread)

    scenario(play)
