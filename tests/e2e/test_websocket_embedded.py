"""WebSockets of a gateway that is a part of another application, or has one inside."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus

from app import Gateway, Settings
from tests.helpers.chatty import Chatty, chatty
from tests.helpers.manifests import backend, route, write
from tests.helpers.upstreams import serving
from tests.helpers.websocket import dialled


@pytest.fixture(scope="module")
def chat() -> Iterator[Chatty]:
    with chatty() as backend:
        yield backend


@pytest.fixture
def manifests(tmp_path: Path, chat: Chatty) -> Path:
    write(tmp_path / "all.yaml", *backend("chat", chat.port), route("chat", "chat", host="chat.example", path="/echo"))
    return tmp_path


@pytest.fixture(params=["httptools", "app.listeners.http:GatewayProtocol"])
def http(request: pytest.FixtureRequest) -> str:
    """uvicorn's own HTTP protocol, and ours."""
    found: str = request.param
    return found


async def shout(websocket: WebSocket) -> None:
    await websocket.accept("chat" if "chat" in websocket.scope["subprotocols"] else None)
    async for text in websocket.iter_text():
        await websocket.send_text(text.upper())


def echoed(port: int, path: str, host: str = "chat.example") -> str | bytes:
    with dialled("ws", port, path, host) as client:
        client.send("hello")
        return client.recv()


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
def test_a_mounted_gateway(manifests: Path, http: str, kind: type[Starlette]) -> None:
    gateway = Gateway(Settings(manifests=(manifests,)))
    host = kind(lifespan=gateway.lifespan)
    host.router.routes += [WebSocketRoute("/shout", shout), Mount("/edge", gateway)]
    with serving(host, http=http, lifespan="on") as port:
        assert echoed(port, "/edge/echo") == "hello"
        assert echoed(port, "/shout") == "HELLO"
        with pytest.raises(InvalidStatus) as caught:
            echoed(port, "/edge/elsewhere")
    assert caught.value.response.status_code == 404


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_an_inner_application(manifests: Path, http: str, compression: str | None) -> None:
    gateway = Gateway(Settings(manifests=(manifests,)), app=Starlette(routes=[WebSocketRoute("/shout", shout)]))
    with serving(gateway, http=http, lifespan="on") as port:
        assert echoed(port, "/echo") == "hello"
        with dialled("ws", port, "/shout", compression=compression, subprotocols=["chat"]) as client:
            assert client.connection.subprotocol == "chat"
            for text in ("hello", "a" * 100_000):
                client.send(text)
                assert client.recv() == text.upper()
            client.ping()


class Watching:
    """A middleware that notes the messages of each WebSocket and adds a field to its accept."""

    seen: list[str]

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return

        async def receiving() -> Message:
            message = await receive()
            self.seen.append(message["type"])
            return message

        async def sending(message: Message) -> None:
            self.seen.append(message["type"])
            if message["type"] == "websocket.accept":
                message = {**message, "headers": [*message["headers"], (b"x-watched", b"yes")]}
            await send(message)

        await self.app({**scope, "headers": [*scope["headers"], (b"x-seen", b"yes")]}, receiving, sending)


def test_your_own_middleware_sees_the_handshake_and_the_end(
    manifests: Path, http: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watching, "seen", [], raising=False)
    gateway = Gateway(Settings(manifests=(manifests,)), middleware=[Middleware(Watching)])
    with serving(gateway, http=http, lifespan="on") as port, dialled("ws", port, "/echo") as client:
        assert client.connection.response is not None
        assert client.connection.response.headers["x-watched"] == "yes"
        client.send("hello")
        assert client.recv() == "hello"
    between = ["websocket.receive", "websocket.send"] if http == "httptools" else []
    assert Watching.seen == ["websocket.connect", "websocket.accept", *between, "websocket.disconnect"]
