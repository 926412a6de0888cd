"""What never becomes a request is in the access log all the same."""

import socket
from pathlib import Path

import pytest

from tests.helpers.manifests import route, write
from tests.helpers.processes import gateway
from tests.helpers.waiting import wait_until

OURS = ("--http", "app.listeners.http:GatewayProtocol")


@pytest.mark.parametrize(
    ("format", "expected"), [("common", '"GET /a HTTP/1.1" 400 0 '), ("json", '"RequestPath":"/a"')]
)
def test_a_refused_request_has_a_line(tmp_path: Path, format: str, expected: str) -> None:
    write(tmp_path / "all.yaml", route("all", "nobody"))
    with gateway(tmp_path, *OURS, access_log=format) as running:
        with socket.create_connection(("127.0.0.1", running.port), 10) as client:
            client.sendall(b"GET /a HTTP/1.1\r\nBad : x\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
        wait_until(lambda: expected in running.output, what="its line")
        assert running.output.count("\n") == 1
