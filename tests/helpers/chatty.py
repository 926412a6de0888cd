"""A backend that speaks WebSocket, in threads of the test."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import NamedTuple

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

#: A message of ``/flood``.
MIB = bytes(range(256)) * 4096


class Closed(NamedTuple):
    """How a WebSocket ended for the backend: the code and the reason that it got."""

    code: int
    reason: str


class Chatty:
    """What it does is in the path: ``/echo``, ``/request``, ``/ping``, ``/close/4000/why``, ``/refuse``, ``/vanish``,
    ``/flood/7`` with messages of 1 MiB.

    ``ends`` says by the query of the path how a WebSocket ended.
    """

    def __init__(self) -> None:
        self.port = 0
        self.ends: dict[str, Closed] = {}

    def refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/refuse":
            return connection.respond(HTTPStatus.FORBIDDEN, "not you")
        return None

    def speak(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        path, _, query = connection.request.path.partition("?")
        _, what, *details = path.split("/")
        try:
            getattr(self, what)(connection, *details)
            for _ in connection:
                pass
        except ConnectionClosed:
            pass
        self.ends[query] = Closed(connection.close_code or 0, connection.close_reason or "")

    def echo(self, connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    def request(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        fields = [(name.lower(), value) for name, value in connection.request.headers.raw_items()]
        connection.send(json.dumps({"path": connection.request.path, "fields": fields}))

    def ping(self, connection: ServerConnection) -> None:
        connection.send("answered" if connection.ping(b"are you there").wait(10) else "silent")

    def close(self, connection: ServerConnection, code: str, reason: str) -> None:
        connection.close(int(code), reason)

    def flood(self, connection: ServerConnection, count: str) -> None:
        for _ in range(int(count)):
            connection.send(MIB)

    def vanish(self, connection: ServerConnection) -> None:
        connection.socket.close()


@contextmanager
def chatty() -> Iterator[Chatty]:
    """A :class:`Chatty` that listens; it speaks the subprotocols ``chat`` and ``superchat``."""
    backend = Chatty()
    subprotocols = [Subprotocol("superchat"), Subprotocol("chat")]
    with serve(
        backend.speak,
        "127.0.0.1",
        0,
        process_request=backend.refuse,
        subprotocols=subprotocols,
        select_subprotocol=lambda _, offered: next((each for each in subprotocols if each in offered), None),
        max_size=None,
    ) as server:
        backend.port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield backend
        finally:
            server.shutdown()
            thread.join()
