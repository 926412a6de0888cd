"""Requests to the admin port's application, without its socket."""

import asyncio
from urllib.parse import unquote

from starlette.types import ASGIApp, Scope

from tests.helpers.asgi import Answer, Fields, answered, request

LOCAL = ("127.0.0.1", 50000)


def fields_of(named: dict[str, str]) -> Fields:
    """Header fields, and a Host unless they say one."""
    found = {"host": "127.0.0.1:9000", **{name.lower(): value for name, value in named.items()}}
    return [(name.encode(), value.encode()) for name, value in found.items()]


def asked(target: str, method: str, fields: Fields, client: tuple[str, int] | None) -> Scope:
    """The scope of a request, its path decoded as servers do it."""
    path = unquote(target.partition("?")[0])
    return request(method, target, fields, client=client, path=path)


def ask(
    app: ASGIApp,
    target: str = "/",
    method: str = "GET",
    *,
    client: tuple[str, int] | None = LOCAL,
    fields: Fields | None = None,
    **named: str,
) -> Answer:
    """What ``app`` answers to ``client``; ``named`` are header fields with ``_`` for ``-``, ``fields`` all of them."""
    given = fields_of({name.replace("_", "-"): value for name, value in named.items()}) if fields is None else fields
    return asyncio.run(answered(app, asked(target, method, given, client)))
