"""One request on a server connection: its ASGI scope, what the application receives, and what it sends."""

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from starlette.types import ASGIApp, Message, Scope

from app.upstream.fields import KeptFields
from middleware.answer import CYCLE
from middleware.errors import GatewayError

if TYPE_CHECKING:
    from uvicorn.server import ServerState

logger = logging.getLogger(__name__)

Fields = Sequence[tuple[bytes, bytes]]

#: What :meth:`Cycle.send` takes beyond the core of ASGI, as a scope offers it.
ANSWER_EXTENSIONS: Final[dict[str, dict[str, Any]]] = {"http.response.early_hint": {}, "http.response.trailers": {}}

#: Bytes of a request's body that wait for the application before the client has to.
BODY_HIGH_WATER = 64 * 1024


class CycleConnection(Protocol):
    """What a cycle asks of the connection or the stream that it is on."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that it is in."""

    @property
    def write_paused(self) -> bool:
        """Whether the client has to read before more is written."""

    async def writable(self) -> None:
        """Wait until that is over, or the client has left."""

    def go_on(self, cycle: "Cycle") -> None:
        """Tell the client that its body is wanted (RFC 9110 §10.1.1)."""

    def consumed(self, cycle: "Cycle") -> None:
        """The application has taken what there was of the body."""

    def abort(self) -> None:
        """Break off in the middle of a response."""

    def serve(self, cycle: "Cycle") -> None:
        """Have the application answer."""

    def refuse(self, cycle: "Cycle", status: int, message: str) -> None:
        """Answer a request whose response has not begun, and take no more of it."""


class Runner(Protocol):
    """What runs an application in a task."""

    task: asyncio.Task[None] | None

    async def run(self, app: ASGIApp, state: "ServerState") -> None:
        """Call ``app``."""


class KnownFields:
    """The fields of a request whose client sends them with one request after the other, byte by byte the same.

    ``lines`` are these bytes, from the end of the request line on. ``said`` is for whoever adds the same to them each
    time.
    """

    __slots__ = ("fields", "lines", "said", "takes_trailers")

    def __init__(self, lines: bytes, fields: Fields, *, takes_trailers: bool) -> None:
        self.lines = lines
        self.fields = fields
        self.takes_trailers = takes_trailers
        self.said: KeptFields | None = None


class Cycle:
    """A request and its response. The connection fills in the request; the application takes it and answers.

    The answer comes as ASGI messages through :meth:`send`, or directly, without waiting and without a message for each
    piece, through :meth:`inform`, :meth:`respond`, :meth:`put`, :meth:`flush` and :meth:`end`. Whoever uses the latter
    stops when :attr:`blocked` says so and goes on with ``on_writable``.

    A subclass writes the answer in its version of HTTP: it provides the four but ``flush`` and ``_write``.
    """

    __slots__ = (
        "_announced", "_body", "_connection", "_ended", "_parts", "_waiter", "_waiting", "adds", "asked_to_continue",
        "complete", "disconnected", "fields", "head_only", "known", "on_disconnect", "on_writable", "received",
        "request_complete", "running", "scope", "sent", "started", "status", "task", "trailers", "trailers_wanted",
    )  # fmt: skip

    def __init__(self, connection: CycleConnection, scope: Scope, *, expects: bool) -> None:
        self._connection = connection
        self.scope = scope
        self.head_only = scope["method"] == "HEAD"
        #: Where its fields are those of an earlier request of the connection: what was made of them then.
        self.known: KnownFields | None = None
        #: What :meth:`run` runs in, once it has had to wait.
        self.task: asyncio.Task[None] | None = None
        self.running = False
        # The request
        self._body: list[bytes] = []
        self._waiting = 0
        self._waiter: asyncio.Future[None] | None = None
        #: Whether the application has been told of the request's end.
        self._ended = False
        self.asked_to_continue = expects
        self.request_complete = False
        #: Fields behind the request's body, for which ASGI has no place.
        self.trailers: list[tuple[bytes, bytes]] = []
        self.received = 0
        self.disconnected = False
        #: Called once when the client leaves before the response is complete.
        self.on_disconnect: Callable[[], object] | None = None
        # The response
        self.status = 0
        self.fields: Fields = ()
        self.adds: Fields = ()
        self.started = False
        self.complete = False
        self.sent = 0
        #: Whether the client takes fields behind the body.
        self.trailers_wanted = False
        self._parts: list[bytes] = []
        #: Fields behind the body that the application sends, None where it has not said that there will be any.
        self._announced: list[tuple[bytes, bytes]] | None = None
        #: Called when the client can be written to again after :attr:`blocked`.
        self.on_writable: Callable[[], object] | None = None

    async def run(self, app: ASGIApp, state: "ServerState") -> None:
        """Call ``app``. A response left unfinished breaks the connection: it must never look like a whole one."""
        # The scope leads here only while it runs, and from here nothing leads to the scope: a circle of references
        # would leave every request to the garbage collector.
        scope, self.scope = self.scope, {}
        scope[CYCLE] = self
        try:
            await app(scope, self.receive, self.send)
        except GatewayError as error:
            logger.debug("the response was cut off: %s", error)
        except asyncio.CancelledError:
            self._give_up()
            raise
        except Exception as error:
            if not (self.disconnected and isinstance(error, OSError)):
                logger.exception("the application failed")
        else:
            if not self.complete and not self.disconnected:
                logger.error("the application ended without a whole response")
        finally:
            self.on_disconnect = self.on_writable = None
            if self.task is not None:
                state.tasks.discard(self.task)
                self.task = None
        self._give_up()

    def _give_up(self) -> None:
        if not self.complete and not self.disconnected:
            if self.started:
                self._connection.abort()
            else:
                self._connection.refuse(self, 500, "the application failed")

    # What the connection tells

    def on_body(self, data: bytes) -> bool:
        """Keep ``data`` for the application. Answers whether the client has to wait."""
        self._body.append(data)
        self._waiting += len(data)
        self._wake()
        return self._waiting > BODY_HIGH_WATER

    def on_request_complete(self) -> None:
        """The request's body has ended."""
        self.request_complete = True
        self._wake()

    def on_connection_lost(self) -> None:
        """The client has left, or has sent what makes an end of it."""
        if self.disconnected or self.complete:
            return
        self.disconnected = True
        self._wake()
        if self.on_disconnect is not None:
            self.on_disconnect()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The answer, directly

    def serve(self) -> None:
        """Have the application answer after all. Nothing must have been sent yet."""
        self._connection.serve(self)

    def break_off(self) -> None:
        """Nothing more will come: let the client see that this is not all."""
        self._connection.abort()

    @property
    def blocked(self) -> bool:
        """Whether the client has to read before more is written."""
        return self._connection.write_paused

    #: Whether the client's connection carries other responses beside.
    shares: ClassVar[bool] = False

    @property
    def crowded(self) -> bool:
        """Whether much waits for the client, of this response and of others beside it."""
        return False

    def inform(self, status: int, fields: Fields) -> None:
        """Send an interim response (1xx), if the client's version of HTTP has them."""
        raise NotImplementedError

    def respond(self, status: int, fields: Fields, *, relayed: bool = False) -> None:
        """The response begins; sent with the first of what follows. Raises RuntimeError where it cannot be one.

        ``relayed``: ``fields``, whose names are in lower case, are a backend's, those of its connection among them.
        """
        raise NotImplementedError

    def put(self, data: bytes) -> None:
        """A piece of the body. Raises RuntimeError where the body gets longer than the head has said."""
        raise NotImplementedError

    def end(self, trailers: Fields = ()) -> None:
        """The response is complete. Raises RuntimeError where the body is shorter than the head has said."""
        raise NotImplementedError

    def flush(self) -> None:
        """Send what has been put."""
        if self._parts:
            parts, self._parts = self._parts, []
            self._write(parts)

    def _write(self, parts: list[bytes]) -> None:
        raise NotImplementedError

    # ASGI

    async def receive(self) -> Message:
        """``http.request`` with what has come of the body, or ``http.disconnect``."""
        if self.asked_to_continue and not (self.started or self.disconnected):
            self.asked_to_continue = False
            if not (self._body or self.request_complete):
                self._connection.go_on(self)
        while not (self._body or self.request_complete or self.disconnected or self.complete):
            await self._wait()
        if self._body or not (self._ended or self.disconnected or self.complete):
            data = b"".join(self._body)
            self._body = []
            self._waiting = 0
            self.received += len(data)
            self._ended = self.request_complete
            self._connection.consumed(self)
            return {"type": "http.request", "body": data, "more_body": not self._ended}
        while not (self.disconnected or self.complete):
            await self._wait()
        return {"type": "http.disconnect"}

    async def _unblocked(self) -> None:
        """Wait while the client does not read."""
        await self._connection.writable()

    async def _wait(self) -> None:
        self._waiter = self._connection.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def send(self, message: Message) -> None:
        """Take a response message. The head is held back until the first piece of the body, to be one write with it.
        Of ASGI's extensions it takes ``http.response.trailers`` and ``http.response.early_hint``.

        Waits while the client does not read. Raises OSError when it has left, RuntimeError for messages that no
        response can be made of.
        """
        if self.disconnected:
            raise ConnectionResetError("the client has left")
        kind = message["type"]
        if kind == "http.response.start" and not self.started:
            self.respond(message["status"], message.get("headers", ()))
            if message.get("trailers", False):
                self._announced = []
        elif kind == "http.response.body" and self.started and not self.complete:
            if data := message.get("body", b""):
                self.put(data)
            if not message.get("more_body", False) and self._announced is None:
                self.end()
                return
            self.flush()
            if self.blocked:
                await self._unblocked()
        elif kind == "http.response.trailers" and self._announced is not None and not self.complete:
            self._announced += [(name.lower(), value) for name, value in message.get("headers", ())]
            if not message.get("more_trailers", False):
                self.end(self._announced)
        elif kind == "http.response.early_hint" and not self.started:
            self.inform(103, [(b"link", link) for link in message["links"]])
        else:
            raise RuntimeError(f"{kind} does not belong here in a response")


def begin(
    runner: Runner, app: ASGIApp, state: "ServerState", loop: asyncio.AbstractEventLoop, *, eager: bool = True
) -> None:
    """Run ``app`` in a task, the beginning of it at once where Python can: what waits for nothing costs no turn."""
    run = runner.run(app, state)
    task = _task(run, loop) if eager else loop.create_task(run)
    if not task.done():
        runner.task = task
        state.tasks.add(task)


if sys.version_info >= (3, 12):

    def _task(run: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        return asyncio.Task(run, loop=loop, eager_start=True)

else:

    def _task(run: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        return loop.create_task(run)
