"""How long a connection waits for its client: to send what it owes, and to take what was sent to it."""

import asyncio
from collections.abc import Callable
from typing import Final

#: Seconds for a head to arrive, and for the next piece of a body.
HEAD_TIMEOUT: Final = 15.0
BODY_TIMEOUT: Final = 60.0
#: Seconds for the client to take ``PACE`` bytes of those that wait for it.
WRITE_TIMEOUT: Final = 120.0
PACE: Final = 32 * 1024
#: Seconds that a client has at least when it has taken the last of its answer.
LINGER: Final = 2.0
#: How exact all of these are.
TICK: Final = 1.0

NEVER: Final = float("inf")


class Clock:
    """One coarse timer for all of a connection's time-outs: moving a deadline costs next to nothing.

    ``expired`` is called when the client has not sent in time. One that does not take what it is sent is cut off.
    """

    __slots__ = ("_deadline", "_expired", "_loop", "_timer", "_transport", "_waiting", "_write_deadline")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.WriteTransport, expired: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._expired = expired
        self._deadline = NEVER
        # Until when the client has to take PACE bytes of those that waited at the last look
        self._write_deadline = NEVER
        self._waiting = 0
        self._timer = loop.call_later(TICK, self._on_tick)

    def wait(self, seconds: float) -> None:
        """The client has to send something within ``seconds``."""
        self._deadline = self._loop.time() + seconds

    def rest(self) -> None:
        """It is not for the client to send anything."""
        self._deadline = NEVER

    def on_taken(self) -> None:
        """The client has taken most of what waited for it."""
        self._write_deadline = NEVER

    def stop(self) -> None:
        """The connection has ended."""
        self._timer.cancel()
        del self._expired  # it leads to the connection, and from there back to here

    def _on_tick(self) -> None:
        self._timer = self._loop.call_later(TICK, self._on_tick)
        now = self._loop.time()
        waiting = self._transport.get_write_buffer_size()
        if not waiting:
            self._write_deadline = NEVER
            if now >= self._deadline:
                self._expired()
            return
        # As long as it reads, and for a moment after that, it need not send.
        self._deadline = max(self._deadline, now + LINGER)
        if self._write_deadline == NEVER or waiting <= self._waiting - PACE:
            self._waiting = waiting
            self._write_deadline = now + WRITE_TIMEOUT
        elif now >= self._write_deadline:
            self._transport.abort()


class StreamsClock(Clock):
    """That of a connection with streams, each of which has times of its own: ``ticked`` is called to look at them."""

    __slots__ = ("_ticked",)

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.WriteTransport,
        expired: Callable[[], None],
        ticked: Callable[[float], None],
    ) -> None:
        super().__init__(loop, transport, expired)
        self._ticked = ticked

    def stop(self) -> None:
        super().stop()
        del self._ticked

    def _on_tick(self) -> None:
        super()._on_tick()
        if not self._timer.cancelled():  # nothing above has ended the connection
            self._ticked(self._loop.time())
