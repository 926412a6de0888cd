"""An id for each request, by which whoever sees it on its way can speak of it."""

import re
import secrets
from collections.abc import Callable, Iterator
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.answer import Answer, answer_behind
from middleware.connection import Fields, settled
from middleware.headers import HEADS
from middleware.record import record_of
from middleware.scope import DECIDED, decided

#: An id that is taken over: visible ASCII, and not so long that it costs something to pass on.
_WELL_FORMED: Final = re.compile(rb"[\x21-\x7e]{1,128}")

#: Random bytes that are asked of the system at once.
_POOL: Final = 4096


class RequestIdMiddleware:
    """Gives each request an id in the field ``name``, for the backend, for the client in the answer, and for the logs.

    The id that a peer gives whom ``trusts`` trusts, by its address, is taken over where it is well-formed and the only
    one; else the id is made anew, of 128 random bits in hexadecimal digits. From anybody else the field is dropped, in
    each spelling that a backend behind CGI or WSGI could take for it, and so it is behind a body. The client gets the
    id in the place of one that the backend answers with.
    """

    def __init__(self, app: ASGIApp, *, name: str, trusts: Callable[[str], bool]) -> None:
        self.app = app
        self._name = name.lower().encode()
        self._dashed = self._name.replace(b"_", b"-")
        self._length = len(self._name)
        self._replaced = frozenset({self._dashed})
        self._trusts = trusts
        self._new = _random()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        record = record_of(scope)
        id_, fields = self.identify(scope, scope["headers"], "" if record is None else record.request_id)
        if record is not None:
            record.request_id = id_
        scope = {**scope, "headers": fields, DECIDED: decided(scope, self._replaced)}
        answer = answer_behind(scope, send) if scope["type"] == "http" else None
        if answer is not None:
            self.answer_with(id_, answer)
            await self.app(scope, receive, send)
            return
        own = self._name, id_.encode()

        async def told(message: Message) -> None:
            if message["type"] in HEADS:
                others = [field for field in message.get("headers", ()) if field[0].lower() != own[0]]
                message = {**message, "headers": [*others, own]}
            await send(message)

        await self.app(scope, receive, told)

    def identify(self, scope: Scope, fields: Fields, known: str = "") -> tuple[str, Fields]:
        """The id of the request of ``scope``, and its ``fields`` with that and no other. ``known`` is its id, if it has
        one already."""
        given: list[bytes] = []
        others: Fields = []
        length, dashed = self._length, self._dashed
        for field in settled(fields):
            name = field[0]
            if len(name) != length or name.replace(b"_", b"-") != dashed:
                others.append(field)
            elif name == self._name:
                given.append(field[1])
        if not known:
            client = scope.get("client")
            if len(given) == 1 and client is not None and _WELL_FORMED.fullmatch(given[0]) and self._trusts(client[0]):
                known = given[0].decode("ascii")
            else:
                known = next(self._new)
        others.append((self._name, known.encode("ascii")))
        return known, others

    def answer_with(self, id_: str, answer: Answer) -> None:
        """Have the server's own connection put the id into the answer."""
        answer.adds = [(self._name, id_.encode("ascii"))]


def _random() -> Iterator[str]:
    """128 random bits at a time, without a system call for each."""
    while True:
        pool = secrets.token_hex(_POOL)
        for start in range(0, 2 * _POOL, 32):
            yield pool[start : start + 32]
