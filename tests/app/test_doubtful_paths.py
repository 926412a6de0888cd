"""Paths that a backend may read otherwise, through the whole gateway: 200 is what some backend has got."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Message, Scope

from app import Gateway, Settings
from app.whoami import whoami
from tests.helpers.manifests import backend, route, write
from tests.helpers.upstreams import serving


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """/public is for everybody, /admin is another backend's, as is the bare /."""
    folder = tmp_path_factory.mktemp("manifests")
    with serving(whoami("one")) as port:
        write(
            folder / "all.yaml",
            *backend("one", port),
            route("public", "one", path="/public"),
            route("admin", "one", path="/admin"),
            route("root", "one", path="/"),
        )
        yield Gateway(Settings(manifests=(folder,)))


async def answer(gateway: Gateway, path: str) -> tuple[int, bytes]:
    sent: list[Message] = []
    asked: list[bool] = []

    async def receive() -> Message:
        if not asked:
            asked.append(True)
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()  # the client stays
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode("latin-1"),
        "query_string": b"",
        "headers": [(b"host", b"whoami")],
        "client": ("192.0.2.7", 40000),
        "server": ("127.0.0.1", 8000),
    }
    async with gateway:
        await gateway(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/public//../admin",
            "/public/..;/admin",
            "/public%2f..%2fadmin",
            "/x/..%5cadmin",
            "/public/%252e%252e/admin",
        ),
        *(
            "//admin",
            "/;/admin",
            "/admin;x=1",
            "/%2561dmin",
            "/\\admin",
            "/%5cadmin",
            "/admin%2fusers",
            "/public%00/admin",
        ),
    ],
)
def test_refused(gateway: Gateway, path: str) -> None:
    status, body = asyncio.run(answer(gateway, path))
    assert status == 400
    assert b"could mean another" in body


@pytest.mark.parametrize(
    "path", ["/%61dmin", "/public//key", "/public/a%2Fb", "/public/a;v=1", "/public/%25", "/caf%C3%A9", "/a%20b"]
)
def test_passed_on_as_it_came(gateway: Gateway, path: str) -> None:
    status, body = asyncio.run(answer(gateway, path))
    assert status == 200
    assert b"GET %b HTTP/1.1\r\n" % path.encode() in body


def test_a_path_that_no_rule_takes_as_it_stands_is_404(tmp_path: Path) -> None:
    """… whatever some backend might make of it: none gets it."""
    with serving(whoami("one")) as port:
        write(tmp_path / "all.yaml", *backend("one", port), route("admin", "one", path="/admin"))
        status, _ = asyncio.run(answer(Gateway(Settings(manifests=(tmp_path,))), "//admin"))
    assert status == 404
