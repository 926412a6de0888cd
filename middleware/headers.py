"""RequestHeaderModifier and ResponseHeaderModifier: fields set, added and removed."""

from operator import itemgetter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.connection import Fields, settled
from middleware.scope import DECIDED, dashed, decided
from routes.resources.filters import HTTPHeaderFilter

#: The messages that hold the head of an answer, of a WebSocket's as well.
HEADS: Final = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})

_name = itemgetter(0)


def with_host(fields: Fields, host: bytes) -> Fields:
    """``fields`` (names in lower case) with ``host`` as the one Host, in the first place (RFC 9110 §7.2)."""
    return [(b"host", host), *(field for field in fields if field[0] != b"host")]


class RequestHeaderModifierMiddleware:
    """Changes the fields that the backend gets.

    ``set`` leaves one line of the name, ``add`` puts another line behind those that are there, which means the same as
    a list with commas (RFC 9110 §5.3), and ``remove`` takes them all. Names that
    :attr:`~routes.resources.filters.HTTPHeaderFilter.unmodifiable` lists stay as they are. ``Host`` can be set, as by
    a URLRewrite. What the client's ``Connection`` names is taken out first, so that nothing that is set or added here
    can be among it. Nor can the client send behind its body what is set or removed here.
    """

    def __init__(self, app: ASGIApp, *, config: HTTPHeaderFilter) -> None:
        self.app = app
        self._change = _Change(config)
        self._decided = dashed(self._change.replaced)
        hosts = (header.value for header in config.set if header.name.lower() == "host")
        self._host = None if b"host" in self._change.unmodifiable else next(hosts, None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fields = self._change.of(scope["headers"], settle=True)
        if self._host is not None:
            fields = with_host(fields, self._host.encode())
        await self.app({**scope, "headers": fields, DECIDED: decided(scope, self._decided)}, receive, send)


class ResponseHeaderModifierMiddleware:
    """Changes the fields of the backend's answer, in the same way; of its 101, where a WebSocket begins, as well.

    Each ``Set-Cookie`` stays a line of its own. Answers of the gateway's own, such as a 503, are not changed.
    """

    def __init__(self, app: ASGIApp, *, config: HTTPHeaderFilter) -> None:
        self.app = app
        self._change = _Change(config)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        change = self._change

        async def changed(message: Message) -> None:
            if message["type"] in HEADS:
                lowered = [(name.lower(), value) for name, value in message.get("headers", ())]
                message = {**message, "headers": change.of(lowered)}
            await send(message)

        await self.app(scope, receive, changed)


class _Change:
    """A filter's lists as one pass over the fields."""

    __slots__ = ("_added", "_noted", "replaced", "unmodifiable")

    def __init__(self, config: HTTPHeaderFilter) -> None:
        self.unmodifiable = frozenset(name.lower().encode() for name in config.unmodifiable)
        untouched = self.unmodifiable | {b"host"}
        added = [(header.name.lower().encode(), header.value.encode()) for header in (*config.set, *config.add)]
        self._added = [field for field in added if field[0] not in untouched]
        replaced = [*(header.name for header in config.set), *config.remove]
        #: Of what name none that is there stays, in lower case.
        self.replaced = frozenset(name.lower().encode() for name in replaced) - untouched
        self._noted = self.replaced | {b"connection"}

    def of(self, fields: Fields, *, settle: bool = False) -> Fields:
        """``fields`` as they are to be; ``settle``: after a request's Connection was done (:func:`settled`)."""
        if self._noted.isdisjoint(map(_name, fields)):
            return [*fields, *self._added]
        if settle:
            fields = settled(fields)
        replaced = self.replaced
        return [*(field for field in fields if field[0] not in replaced), *self._added]
