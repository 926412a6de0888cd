"""A client that does not read what waits for it."""

import asyncio

from app.listeners.clock import PACE, WRITE_TIMEOUT


class Stall:
    """Cuts off a client that does not take ``PACE`` bytes in ``WRITE_TIMEOUT`` seconds.

    It needs a timer only while the client is too slow, of which most WebSockets know nothing.
    """

    __slots__ = ("_loop", "_timer", "_transport", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None
        # Bytes that waited at the last look
        self._waiting = 0

    def begin(self) -> None:
        """The client is behind."""
        self._waiting = self._transport.get_write_buffer_size()
        self._timer = self._loop.call_later(WRITE_TIMEOUT, self._look)

    def end(self) -> None:
        """It has taken most of what waited, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._transport.get_write_buffer_size() > self._waiting - PACE:
            self._transport.abort()
        else:
            self.begin()
