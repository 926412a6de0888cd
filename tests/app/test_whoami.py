"""The echo backend answers with the text of traefik/whoami."""

import asyncio
import ipaddress
import socket
from typing import Any

import pytest
from starlette.types import Message, Scope

from app import whoami as module
from app.whoami import serve, whoami


def exchange(scope: dict[str, Any], *messages: Message, name: str = "") -> list[Message]:
    """What the application sends for a request of ``scope``."""
    full: Scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "client": ("192.0.2.7", 40000),
        "headers": [(b"host", b"whoami")],
        **scope,
    }
    incoming = iter(messages or ({"type": "http.request"},))
    sent: list[Message] = []

    async def receive() -> Message:
        return next(incoming)

    async def send(message: Message) -> None:
        sent.append(message)

    async def main() -> None:
        await whoami(name)(full, receive, send)

    asyncio.run(main())
    return sent


def text(scope: dict[str, Any] | None = None, **options: Any) -> str:
    body: bytes = exchange(scope or {}, **options)[1]["body"]
    return body.decode()


def request_part(scope: dict[str, Any]) -> str:
    """What follows RemoteAddr: the request as Go prints it."""
    return text(scope).partition("RemoteAddr: 192.0.2.7:40000\n")[2]


def test_the_text_is_that_of_traefik_whoami(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "moon")
    monkeypatch.setattr(module, "_addresses", lambda: ["127.0.0.1", "::1"])
    headers = [
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"host", b"whoami"),
        (b"accept", b"*/*"),
        (b"user-agent", b"curl/8.0"),
        (b"x-real-ip", b"10.0.0.1"),
    ]
    assert text({"raw_path": b"/foo%2Fbar", "query_string": b"a=%20", "headers": headers}, name="one") == (
        "Name: one\n"
        "Hostname: moon\n"
        "IP: 127.0.0.1\n"
        "IP: ::1\n"
        "RemoteAddr: 192.0.2.7:40000\n"
        "GET /foo%2Fbar?a=%20 HTTP/1.1\r\n"
        "Host: whoami\r\n"
        "User-Agent: curl/8.0\r\n"
        "Accept: */*\r\n"
        "X-Forwarded-For: 10.0.0.1\r\n"
        "X-Real-Ip: 10.0.0.1\r\n"
        "\r\n"
    )


def test_without_a_name_none_is_printed() -> None:
    assert text().startswith("Hostname: ")


def test_the_addresses_are_those_of_this_machine() -> None:
    found = [line.removeprefix("IP: ") for line in text().splitlines() if line.startswith("IP: ")]
    assert all(ipaddress.ip_address(address) for address in found)


def test_addresses_are_found_without_netlink(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> list[str]:
        raise PermissionError

    monkeypatch.setattr(module, "_netlink_addresses", refused)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("192.0.2.1", 0))] * 2)
    assert "IP: 192.0.2.1\nRemoteAddr" in text()


def test_no_network_means_no_addresses_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> list[str]:
        raise socket.gaierror

    monkeypatch.setattr(module, "_netlink_addresses", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    assert "IP: " not in text()


def test_repeated_fields_are_all_printed_in_their_order() -> None:
    assert "Cookie: b\r\nCookie: a\r\n" in request_part({"headers": [(b"cookie", b"b"), (b"cookie", b"a")]})


def test_framing_fields_come_before_the_others() -> None:
    headers = [(b"accept", b"*/*"), (b"content-length", b"3"), (b"user-agent", b"x"), (b"host", b"h")]
    assert request_part({"headers": headers}).splitlines()[1:5] == [
        "Host: h",
        "User-Agent: x",
        "Content-Length: 3",
        "Accept: */*",
    ]


@pytest.mark.parametrize(
    ("name", "canonical"),
    [(b"x-request-id", "X-Request-Id"), (b"snake_case", "Snake_case"), (b"x--y", "X--Y"), (b"b\xe4d", "b\xe4d")],
)
def test_names_are_written_as_go_does(name: bytes, canonical: str) -> None:
    body = exchange({"headers": [(name, b"v")]})[1]["body"]
    assert f"\r\n{canonical}: v\r\n".encode("latin-1") in body


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PURGE"])
def test_any_method_on_any_path_is_answered(method: str) -> None:
    start, body = exchange({"method": method, "path": "/any/thing", "raw_path": b"/any/thing"})
    assert start["status"] == 200
    assert f"\n{method} /any/thing HTTP/1.1\r\n".encode() in body["body"]


def test_head_gets_the_length_and_no_body() -> None:
    start, body = exchange({"method": "HEAD"})
    assert int(dict(start["headers"])[b"content-length"]) > 0
    assert body["body"] == b""


def test_the_body_is_read_to_its_end_before_the_answer() -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.request", "body": b"b", "more_body": False},
    ]
    assert exchange({"method": "POST"}, *messages)[0]["status"] == 200


def test_a_client_that_left_is_not_answered() -> None:
    assert exchange({}, {"type": "http.disconnect"}) == []


@pytest.mark.parametrize(("client", "printed"), [(("::1", 5), "RemoteAddr: [::1]:5\n"), (None, "RemoteAddr: @\n")])
def test_the_client_is_printed_as_go_does(client: tuple[str, int] | None, printed: str) -> None:
    assert printed in text({"client": client})


def test_it_can_run_with_a_lifespan() -> None:
    sent = exchange({"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_websocket_is_refused() -> None:
    assert exchange({"type": "websocket"}, {"type": "websocket.connect"})[0]["type"] == "websocket.close"


def test_it_serves_on_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> bytes:
        server = module._server("127.0.0.1", 0, "real")
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(
            b"POST /a%2Fb?c HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 6.6.6.6\r\n"
            b"Content-Length: 3\r\n\r\nabc"
        )
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.should_exit = True
        await serving
        return answer

    head, _, body = asyncio.run(main()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"server:" not in head
    assert body.startswith(b"Name: real\n")
    assert b"\nRemoteAddr: 127.0.0.1:" in body
    assert body.endswith(
        b"\nPOST /a%2Fb?c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n"
        b"X-Forwarded-For: 6.6.6.6\r\n\r\n"
    )


def test_serving_runs_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr("uvicorn.Server.run", lambda server: ran.append(f"{server.config.host}:{server.config.port}"))
    serve("127.0.0.1", 0, "x")
    assert ran == ["127.0.0.1:0"]
