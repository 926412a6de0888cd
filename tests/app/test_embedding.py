"""A gateway inside another application."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from app import Gateway, Settings
from app.whoami import whoami
from tests.helpers.manifests import backend, gateway_object, http_listener, route, write
from tests.helpers.processes import free_port, is_listening, process
from tests.helpers.upstreams import serving
from tests.helpers.waiting import wait_until

HOST = {"host": "whoami"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    with serving(whoami("embedded")) as port:
        yield port


@pytest.fixture
def manifests(tmp_path: Path, upstream: int) -> Path:
    """A route for /foo and all below it."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    write(folder / "all.yaml", *backend("whoami", upstream), route("all", "whoami", path="/foo"))
    return folder


@pytest.fixture
def gateway(manifests: Path) -> Gateway:
    return Gateway(Settings(manifests=(manifests,)))


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def mounted(gateway: Gateway) -> Starlette:
    """A host with the gateway's lifespan as its own."""
    return Starlette(routes=[Route("/hello", hello), Mount("/edge", gateway)], lifespan=gateway.lifespan)


# Mounted


def test_below_a_mount_the_route_and_the_backend_see_the_path_below_it(gateway: Gateway) -> None:
    with TestClient(mounted(gateway)) as client:
        answer = client.get("/edge/foo/bar?q=1", headers=HOST)
        assert answer.status_code == 200
        assert "\nGET /foo/bar?q=1 HTTP/1.1\r\n" in answer.text


def test_below_a_mount_the_path_stays_encoded(gateway: Gateway) -> None:
    with TestClient(mounted(gateway)) as client:
        assert "\nGET /foo/a%2Fb%20c HTTP/1.1\r\n" in client.get("/edge/foo/a%2Fb%20c", headers=HOST).text


def test_the_hosts_own_views_are_as_they_were(gateway: Gateway) -> None:
    with TestClient(mounted(gateway)) as client:
        assert client.get("/hello").text == "hello"
        assert client.get("/foo", headers=HOST).status_code == 404


def test_the_path_with_the_mount_is_no_routes(gateway: Gateway) -> None:
    with TestClient(mounted(gateway)) as client:
        assert client.get("/edge/edge/foo", headers=HOST).status_code == 404


def test_a_fastapi_host_mounts_it_too(gateway: Gateway) -> None:
    host = FastAPI(lifespan=gateway.lifespan)
    host.mount("/edge", gateway)
    with TestClient(host) as client:
        assert "\nGET /foo HTTP/1.1\r\n" in client.get("/edge/foo", headers=HOST).text


def test_a_mount_within_a_mount_is_left_out_of_the_path_too(gateway: Gateway) -> None:
    outer = Starlette(routes=[Mount("/outer", Starlette(routes=[Mount("/edge", gateway)]))], lifespan=gateway.lifespan)
    with TestClient(outer) as client:
        assert "\nGET /foo HTTP/1.1\r\n" in client.get("/outer/edge/foo", headers=HOST).text


def test_behind_a_proxy_that_says_its_prefix_the_path_is_as_it_was_sent(gateway: Gateway) -> None:
    with TestClient(gateway, root_path="/prefix") as client:
        assert "\nGET /foo HTTP/1.1\r\n" in client.get("/foo", headers=HOST).text


# Its life


def test_the_hosts_lifespan_runs_it(gateway: Gateway) -> None:
    with TestClient(mounted(gateway)):
        assert gateway.runtime.serving
    with pytest.raises(RuntimeError, match="not running"):
        _ = gateway.runtime


def test_a_host_with_a_lifespan_of_its_own_enters_it(gateway: Gateway) -> None:
    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with gateway:
            yield

    with TestClient(Starlette(routes=[Mount("/edge", gateway)], lifespan=lifespan)) as client:
        assert client.get("/edge/foo", headers=HOST).status_code == 200


def test_several_may_enter_it_and_the_last_to_leave_stops_it(gateway: Gateway) -> None:
    async def main() -> None:
        async with gateway:
            async with gateway:
                runtime = gateway.runtime
            assert gateway.runtime is runtime
            assert runtime.serving
        assert not runtime.serving

    asyncio.run(main())


def test_it_can_be_entered_again(gateway: Gateway) -> None:
    async def main() -> None:
        for _ in range(2):
            async with gateway:
                assert (await get(gateway, "/foo")).status_code == 200

    asyncio.run(main())


def test_without_a_lifespan_it_starts_with_its_first_request_and_a_warning(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> int:
        return (await get(Starlette(routes=[Mount("/edge", gateway)]), "/edge/foo")).status_code

    assert asyncio.run(main()) == 200
    warning = (
        "the gateway starts with its first request, since no lifespan started it; "
        "Starlette runs no lifespan of what it mounts: use `async with gateway:` or lifespan=gateway.lifespan"
    )
    assert caplog.messages.count(warning) == 1


def test_the_end_of_the_event_loop_stops_what_started_late(gateway: Gateway) -> None:
    async def main() -> None:
        assert (await get(gateway, "/foo")).status_code == 200
        assert gateway.runtime.serving

    asyncio.run(main())
    assert not gateway.runtime.serving


def test_first_requests_that_come_together_start_it_once(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> list[int]:
        return [answer.status_code for answer in await asyncio.gather(*(get(gateway, "/foo") for _ in range(8)))]

    assert asyncio.run(main()) == [200] * 8
    assert sum("serving 1 routes" in message for message in caplog.messages) == 1


def test_a_test_client_whose_event_loops_come_and_go_is_served(gateway: Gateway) -> None:
    client = TestClient(Starlette(routes=[Mount("/edge", gateway)]))
    assert [client.get("/edge/foo", headers=HOST).status_code for _ in range(3)] == [200] * 3


def test_one_gateway_serves_one_test_client_after_the_other(gateway: Gateway) -> None:
    for _ in range(2):
        with TestClient(mounted(gateway)) as client:
            assert client.get("/edge/foo", headers=HOST).status_code == 200


def test_it_opens_no_socket(manifests: Path) -> None:
    port = free_port()
    write(manifests / "gateway.yaml", gateway_object("some", http_listener(port)))
    gateway = Gateway(Settings(manifests=(manifests,), admin="127.0.0.1:9000"))
    opened: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().create_server = lambda *a, **k: opened.append(a)  # type: ignore[assignment, method-assign]
        async with gateway:
            assert (await get(gateway, "/foo")).status_code == 404
            assert not is_listening(port)

    asyncio.run(main())
    assert opened == []


def test_it_follows_its_manifests_while_it_is_embedded(gateway: Gateway, manifests: Path, upstream: int) -> None:
    with TestClient(mounted(gateway)) as client:
        write(manifests / "all.yaml", *backend("whoami", upstream), route("all", "whoami", path="/bar"))
        wait_until(lambda: client.get("/edge/bar", headers=HOST).status_code == 200)


# Around and behind it


async def get(app: ASGIApp, path: str) -> httpx2.Response:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://whoami") as client:
        return await client.get(path)


def test_it_serves_httpx2s_asgi_transport(gateway: Gateway) -> None:
    async def main() -> httpx2.Response:
        async with gateway:
            return await get(gateway, "/foo")

    assert asyncio.run(main()).text.startswith("Name: embedded\n")


class Inner:
    """An application with a lifespan, a view and a WebSocket."""

    def __init__(self) -> None:
        self.life: list[str] = []
        self.app = Starlette(
            routes=[Route("/hello", hello), WebSocketRoute("/echo", self.echo)], lifespan=self.lifespan
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self.life.append("started")
        yield
        self.life.append("stopped")

    async def echo(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()


def test_what_no_route_takes_goes_to_the_inner_application(manifests: Path) -> None:
    with TestClient(Gateway(Settings(manifests=(manifests,)), app=Inner().app)) as client:
        assert client.get("/hello", headers=HOST).text == "hello"
        assert client.get("/foo", headers=HOST).text.startswith("Name: embedded\n")


def test_the_inner_applications_lifespan_runs(manifests: Path) -> None:
    inner = Inner()
    with TestClient(Gateway(Settings(manifests=(manifests,)), app=inner.app)):
        assert inner.life == ["started"]
    assert inner.life == ["started", "stopped"]


def test_an_inner_application_that_does_not_start_keeps_the_gateway_from_starting(manifests: Path) -> None:
    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    inner = Starlette(lifespan=lifespan)
    client = TestClient(Gateway(Settings(manifests=(manifests,)), app=inner))
    with pytest.raises(RuntimeError, match="no database"), client:
        pass


def test_a_websocket_goes_to_the_inner_application(manifests: Path) -> None:
    gateway = Gateway(Settings(manifests=(manifests,)), app=Inner().app)
    with TestClient(gateway) as client, client.websocket_connect("/echo") as websocket:
        websocket.send_text("moon")
        assert websocket.receive_text() == "moon"


def test_your_own_middleware_is_around_everything(manifests: Path) -> None:
    class Stamp:
        def __init__(self, app: ASGIApp, stamp: str) -> None:
            self.app = app
            self.stamp = stamp

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                scope = {**scope, "headers": [*scope["headers"], (b"x-stamp", self.stamp.encode())]}
            await self.app(scope, receive, send)

    gateway = Gateway(Settings(manifests=(manifests,)), middleware=[Middleware(Stamp, "one"), Middleware(Stamp, "two")])
    with TestClient(gateway) as client:
        assert "X-Stamp: one\r\nX-Stamp: two\r\n" in client.get("/foo", headers=HOST).text


def test_the_example_serves_its_own_view_and_the_gateways_routes(manifests: Path) -> None:
    port = free_port()
    arguments = ["uvicorn", "tests.e2e.embedding_example:application", "--port", str(port)]
    with process(arguments, {}, port=port, folder=manifests.parent) as running:
        running.wait_for("Application startup complete")
        wait_until(lambda: is_listening(port))
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert client.get("/hello").text == "hello"
            assert "\nGET /foo HTTP/1.1\r\n" in client.get("/edge/foo", headers=HOST).text
