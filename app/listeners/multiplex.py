"""A client's connection with many streams: what is sent when, how long anybody waits, and how it ends (RFC 9113)."""

import asyncio
import logging
from typing import Any, Final, cast

from uvicorn.server import ServerState

from app.http2.frames import Code, ConnectionFailure
from app.http2.server import ServerConnection, ServerSink
from app.http2.writer import Stream
from app.listeners.clock import BODY_TIMEOUT, HEAD_TIMEOUT, LINGER, NEVER, StreamsClock
from app.listeners.peer import Peer, peer_of
from app.listeners.stream import Outlet
from middleware.errors import BadRequest, GatewayError, RequestTimeout

logger = logging.getLogger(__name__)

#: Bytes that all streams may send in one turn of the event loop, and one of several.
TURN: Final = 256 * 1024
PIECE: Final = 64 * 1024
#: Bytes of all streams that wait for the client, from which on each may bring no more than a small read of its backend.
MUCH: Final = 1024 * 1024


class MultiplexProtocol(asyncio.Protocol):
    """What does not depend on what the streams are for; a subclass makes an :class:`Outlet` of each."""

    def __init__(self, server_state: ServerState, keep_alive: float, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._server_state = server_state
        self._keep_alive = keep_alive
        self.core = ServerConnection(cast(ServerSink, self), loop.time)
        # The connection
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else is called
        self._clock: StreamsClock = None  # type: ignore[assignment]  # as above
        #: Whether the client was told that the server stops, until when it may say that it knows, and whether it was
        #: told which stream is the last that is served.
        self._draining = self._last_named = False
        self._patience = NEVER
        #: Whether nothing more is taken from the client.
        self._ended = False
        #: Whether the clock runs for a header block that has begun.
        self._awaits_head = False
        #: What there was of a piece of a body at the last look.
        self._arriving: tuple[int, int] | None = None
        # Streams on which not everything was sent, and of those the ones that wait for their turn
        self._outlets: dict[Outlet, None] = {}
        self._ready: dict[Outlet, None] = {}
        #: Bytes that they keep together, and whether that is much.
        self._kept = 0
        self.crowded = False
        # Writing
        self.write_paused = False
        self._reading = self._flushing = False
        #: Bytes of bodies that may still be sent in this turn.
        self.allowance = TURN

    # What a subclass does

    def on_peer(self, peer: Peer) -> None:
        """The connection is there."""
        raise NotImplementedError

    def on_failure(self, error: GatewayError) -> None:
        """The client is cut off for ``error``, which no stream has to do with. Called once at most."""
        raise NotImplementedError

    def on_late(self, outlet: Outlet, error: GatewayError) -> None:
        """The client did not send in time what it owes on a stream: answer, where there is no answer yet."""
        raise NotImplementedError

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn lists its own classes
        self.on_peer(peer_of(transport))
        self._clock = StreamsClock(self.loop, self._transport, self._on_timeout, self._on_tick)
        self._clock.wait(HEAD_TIMEOUT)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._server_state.connections.discard(self)
        self._clock.stop()
        streams = list(self.core.streams.values())
        self.core.close()
        self._let_go_of(streams)

    def eof_received(self) -> None:
        """Closes: a client that is done sending is done with the connection."""

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._reading = True
        try:
            self.core.feed(data)
        except ConnectionFailure as failure:
            logger.debug("refused: %s", failure)
            self._fail(BadRequest(detail=str(failure)))
        except Exception:
            logger.exception("a client's bytes were not understood")
            self.core.goaway(Code.INTERNAL_ERROR)
            self._fail(GatewayError())
        else:
            if self.core.in_head != self._awaits_head:
                self._on_head_begun_or_ended()
        finally:
            self._reading = False
        self._flush()

    def pause_writing(self) -> None:
        self.write_paused = True
        self.allowance = 0

    def resume_writing(self) -> None:
        self.write_paused = False
        self.allowance = TURN
        self._clock.on_taken()
        self._schedule()

    # What uvicorn's server asks

    @property
    def draining(self) -> bool:
        """Whether the server is going to stop: the client is told at once, and what is on its way is still served."""
        return self._draining

    @draining.setter
    def draining(self, value: bool) -> None:
        if value and not self._draining and not self._ended:
            self._draining = True
            self._patience = self.loop.time() + LINGER
            self.core.drain()
            self._rest()

    # What a stream asks

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the connection's transport knows."""
        return self._transport.get_extra_info(name, default)

    def adopt(self, outlet: Outlet) -> None:
        """A stream is used from now on by ``outlet``, whoever used it before."""
        stream = outlet.stream
        if stream.owner is not None:
            self._outlets.pop(stream.owner, None)
            self._ready.pop(stream.owner, None)
        stream.owner = outlet
        if not self._outlets:
            self._clock.rest()
            self._awaits_head = False
        self._outlets[outlet] = None

    @property
    def share(self) -> int:
        """How many bytes of a body may go now where others wait or do not."""
        return PIECE if self._ready else TURN

    def keep(self, outlet: Outlet, sent: int = 0) -> None:
        """``outlet`` could not send all: tell it when it can."""
        outlet.wait_for_client(sent, self.loop.time())
        self.count(outlet, outlet._kept)
        if self.core.room(outlet.stream) <= 0:
            self.core.wait(outlet.stream)
        else:
            self._ready[outlet] = None
            self._schedule()

    def count(self, outlet: Outlet, kept: int) -> None:
        """``outlet`` keeps so many bytes for the client."""
        self._kept += kept - outlet.counted
        outlet.counted = kept
        self.crowded = self._kept > MUCH

    def on_sent(self, outlet: Outlet) -> None:
        """All that ``outlet`` had to send is sent. What the client still has to send is of no interest any more."""
        self._server_state.total_requests += 1
        self.forget(outlet, Code.NO_ERROR)

    def break_off(self, outlet: Outlet, code: Code = Code.INTERNAL_ERROR) -> None:
        """End a stream in the middle of its response."""
        self.forget(outlet, code)

    def forget(self, outlet: Outlet, code: Code) -> None:
        """``outlet`` has ended for us."""
        stream = outlet.stream
        stream.owner = None
        if outlet.counted:
            self.count(outlet, 0)
        self.core.release(stream)
        self.core.reset(stream, code)
        self._outlets.pop(outlet, None)
        self._ready.pop(outlet, None)
        self._rest()

    # The core's callbacks

    def on_output(self) -> None:
        """There is something to send: with all that comes in this turn."""
        self._schedule()

    def on_reset(self, stream: Stream, code: int) -> None:
        outlet, stream.owner = stream.owner, None
        task = None
        if outlet is not None:
            self._outlets.pop(outlet, None)
            self._ready.pop(outlet, None)
            task = outlet.task
            outlet.on_connection_lost()
        if task is None or task.done():
            self.core.let_go()
        else:
            task.add_done_callback(self._on_let_go)
        self._rest()

    def _on_let_go(self, _: object) -> None:
        self.core.let_go()

    def on_window(self, stream: Stream) -> None:
        if stream.owner is not None:
            stream.owner.on_room(self.share)

    def on_goaway(self, last_stream_id: int, code: int, reason: bytes) -> None:
        if code:
            logger.debug("the client leaves: %d: %r", code, reason)

    def on_settings(self) -> None:
        pass

    def on_ping(self, data: bytes) -> None:
        if self.draining:
            self._name_the_last()

    # Inside: turns

    def _schedule(self) -> None:
        if not self._flushing and not self._reading:
            self._flushing = True
            self.loop.call_soon(self._on_turn)

    def _on_turn(self) -> None:
        self._flushing = False
        self._flush()

    def _flush(self) -> None:
        """Send what there is, and then a piece of each body that waits, in turns."""
        transport = self._transport
        if self._ended or transport.is_closing():
            return
        ready = self._ready
        while ready and self.allowance > 0:
            outlet = next(iter(ready))
            del ready[outlet]
            outlet.on_room(self.share)
        if data := self.core.take():
            if not self.write_paused:
                self.core.taken()
                self.allowance = TURN
            transport.write(data)
            if ready and not self.write_paused:
                self._schedule()

    # Inside: time

    def _on_head_begun_or_ended(self) -> None:
        self._awaits_head = self.core.in_head
        if self._awaits_head:
            self._clock.wait(HEAD_TIMEOUT)
        else:
            self._clock.rest()
            self._rest()

    def _rest(self) -> None:
        """Go on behind the last of the streams, if it was that."""
        if self._outlets or self.core.streams or self._ended:
            return
        if self.draining:
            if self._last_named:
                self._end()
        elif not self._awaits_head:
            self._clock.wait(self._keep_alive)

    def _on_timeout(self) -> None:
        """The client did not send what it was to send."""
        if self._ended:
            if self._transport.is_closing() or self._transport.can_write_eof():
                self._transport.abort()
            else:
                self._transport.close()  # TLS has its own word for the end, behind which nothing can be read
                self._clock.wait(LINGER)
        elif self.core.in_head:
            self.core.goaway(Code.ENHANCE_YOUR_CALM, "a header block that takes too long")
            self._fail(RequestTimeout())
        elif not self.core.streams:
            self._name_the_last()

    def _on_tick(self, now: float) -> None:
        if now >= self._patience:
            self._name_the_last()
        arriving = self.core.arriving
        if arriving is not None and arriving != self._arriving:
            # A frame that comes slowly is a sign of life, as every byte of a body is in HTTP/1.1.
            slow = self.core.streams.get(arriving[0])
            if slow is not None and slow.owner is not None and slow.owner.deadline != NEVER:
                slow.owner.deadline = now + BODY_TIMEOUT
        self._arriving = arriving
        for outlet in list(self._outlets):
            stream = outlet.stream
            if now >= outlet.write_deadline:
                logger.debug("stream %d: the client does not take its answer", stream.id)
                self.break_off(outlet, Code.CANCEL)
                outlet.on_connection_lost()
            elif now >= outlet.deadline and stream.receiving and not stream.held:
                logger.debug("stream %d: what the client owes does not come", stream.id)
                outlet.deadline = NEVER
                outlet.on_connection_lost()
                self.on_late(outlet, RequestTimeout())
                self.break_off(outlet, Code.CANCEL if stream.sending else Code.NO_ERROR)

    # Inside: ends

    def _name_the_last(self) -> None:
        """Serve the streams that have begun, and refuse what the client still opens: it may ask somebody else."""
        self._patience = NEVER
        if not self._last_named and not self._ended:
            self._last_named = self._draining = True
            self.core.goaway()
            self._rest()

    def _fail(self, error: GatewayError) -> None:
        self.on_failure(error)
        self._end()

    def _end(self) -> None:
        """Take nothing more, and close when what is owed was sent.

        What the client has on its way would have the kernel reset what it did not read yet (RFC 9112 §9.6): it has a
        moment to read all, and the word to close.
        """
        self._flush()
        self._ended = True
        self._let_go_of(list(self.core.streams.values()))
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._clock.wait(LINGER)

    def _let_go_of(self, streams: list[Stream]) -> None:
        self._outlets.clear()
        self._ready.clear()
        for stream in streams:
            outlet, stream.owner = stream.owner, None
            if outlet is not None:
                outlet.on_connection_lost()
