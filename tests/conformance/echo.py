"""Backends that answer with the request they got, as JSON, and keep it.

What else they do is in the query: ``hang`` never answers, ``delay=300`` waits so many milliseconds, ``fail=2&code=503``
answers the first two requests with the same ``id`` with 503, ``late=300`` lets those after the first wait.
``Echo-Answer`` holds fields for the answer, ``name:value`` separated by commas.
"""

import asyncio
import json
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from tests.helpers.chatty import chatty
from tests.helpers.http2_backend import Request, http2_backend
from tests.helpers.upstreams import head_of, serving, speaking

#: Those that speak HTTP/1.1 in clear.
NAMES = ("red", "green", "blue", "gold", "pink")


@dataclass
class Echo:
    """One backend, and what reached it: the request's target, by ``id`` also how often."""

    name: str
    targets: list[str] = field(default_factory=list)
    tries: Counter[str] = field(default_factory=Counter)

    def note(self, target: str) -> dict[str, list[str]]:
        """Keep the request; gives its query."""
        query = parse_qs(target.partition("?")[2], keep_blank_values=True)
        self.targets.append(target)
        self.tries["".join(query.get("id", ()))] += 1
        return query

    def report(self, method: str, target: str, fields: list[tuple[bytes, bytes]], host: str, **more: str) -> bytes:
        """The answer's body."""
        text = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in fields]
        told = {"backend": self.name, "method": method, "path": target, "host": host, "fields": text}
        return json.dumps(told | more).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass
        raw = scope["query_string"].decode()
        target = scope["raw_path"].decode() + (f"?{raw}" if raw else "")
        query = self.note(target)
        fields = dict(scope["headers"])
        tries = self.tries["".join(query.get("id", ()))]
        wait = query.get("delay", query.get("late", ["0"]) if tries > 1 else ["0"])
        await asyncio.sleep(int(wait[0]) / 1000)
        if "hang" in query:
            await receive()
            return
        status = int(query["code"][0]) if tries <= int(query.get("fail", ["0"])[0]) else 200
        body = self.report(scope["method"], target, scope["headers"], fields[b"host"].decode())
        answer = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        for each in filter(None, fields.get(b"echo-answer", b"").split(b",")):
            name, _, value = each.partition(b":")
            answer.append((name, value))
        await send({"type": "http.response.start", "status": status, "headers": answer})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def over_http2(self, request: Request) -> None:
        self.note(request.path)
        body = self.report(request.method, request.path, request.fields, request.authority)
        request.respond(200, (b"content-type", b"application/json"))
        await request.write(body, end=True)

    async def over_tls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request after the other, none with a body; the answer tells the server's name of the handshake."""
        while True:
            first, *lines = (await head_of(reader)).decode().removesuffix("\r\n\r\n").split("\r\n")
            method, target, _ = first.split(" ")
            fields = [
                (name.lower().encode(), value.encode()) for name, value in (each.split(": ", 1) for each in lines)
            ]
            self.note(target)
            asked = getattr(writer.get_extra_info("ssl_object"), "asked_for", "")
            body = self.report(method, target, fields, dict(fields)[b"host"].decode(), serverName=asked)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()


def listening_name(context: ssl.SSLContext) -> ssl.SSLContext:
    """``context``, which keeps at each handshake what server was asked for."""

    def note(ssl_object: Any, server_name: str | None, _: ssl.SSLContext) -> None:
        ssl_object.asked_for = server_name or ""

    context.sni_callback = note
    return context


@dataclass(frozen=True)
class Echoes:
    """All backends by name, and the ports that cases call ``$name``."""

    by_name: dict[str, Echo]
    ports: dict[str, int]


@contextmanager
def echoes(tls: ssl.SSLContext) -> Iterator[Echoes]:
    """Run them: those of NAMES, and ``h2c``, ``chat`` (WebSocket), ``vault`` (TLS) and ``closed``, where nobody is."""
    with ExitStack() as stack:
        by_name = {name: Echo(name) for name in (*NAMES, "h2c", "vault")}
        ports = {name: stack.enter_context(serving(by_name[name])) for name in NAMES}
        ports["h2c"] = stack.enter_context(http2_backend(by_name["h2c"].over_http2)).port
        ports["vault"] = stack.enter_context(speaking(by_name["vault"].over_tls, listening_name(tls)))
        ports["chat"] = stack.enter_context(chatty()).port
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        ports["closed"] = closed.getsockname()[1]
        yield Echoes(by_name, ports)
