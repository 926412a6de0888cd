"""One end of a WebSocket as an application sees it: whole messages, with the frames left to the websockets library."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from starlette.types import Message
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from app.websocket.splice import CLOSE_TIMEOUT, keep_alive
from app.websocket.stall import Stall

logger = logging.getLogger(__name__)

#: Bytes of messages that wait for the application before the other side has to, each counted with what it costs us.
HIGH_WATER: Final = 64 * 1024
OVERHEAD: Final = 256
#: Bytes that are looked at before it is asked again whether too much waits: the smallest frame has two.
SLICE: Final = 16 * 1024

#: Codes of a close (RFC 6455 §7.4.1): the first two stand in no frame, the last is IANA's for what a 502 says.
NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
BAD_GATEWAY: Final = 1014


class Messages(asyncio.Protocol):
    """An open WebSocket on a connection of its own. ``closed`` is called once when the connection has ended.

    ``protocol`` is in the state OPEN, on the side that is ours. Pings are answered; what an application sends waits
    while the other side does not read, and what it does not take makes the other side wait.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, protocol: Protocol, closed: Callable[[], None] | None = None
    ) -> None:
        self._loop = loop
        self._protocol = protocol
        self._closed = closed
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else is called
        # Incoming: bytes that were not looked at yet, the message whose fragments come, and whole ones
        self._held = b""
        self._opcode = Opcode.BINARY
        self._fragments: bytearray | None = None
        self._queue: deque[Message] = deque()
        self._size = 0
        self._arrived = asyncio.Event()
        self._ended = False
        self._reading_paused = False
        # Outgoing
        self._write_paused = False
        self._writable = asyncio.Event()
        self._writable.set()
        #: Runs when the end has begun.
        self._timer: asyncio.TimerHandle | None = None
        self._stall: Stall | None = None

    # What an application asks

    async def receive(self) -> Message:
        """The next ``websocket.receive``, and at the end ``websocket.disconnect``, as often as it is asked for."""
        while not self._queue:
            self._arrived.clear()
            await self._arrived.wait()
        message = self._queue[0]
        if message["type"] != "websocket.disconnect":
            self._queue.popleft()
            self._size -= len(message.get("bytes") or message.get("text") or "") + OVERHEAD
            self._read_on()
        return message

    async def send(self, message: Message) -> None:
        """Send the text or the bytes of ``message``; waits while the other side does not read.

        Raises ConnectionResetError when the WebSocket has been closed.
        """
        if self._protocol.state is not State.OPEN:
            raise ConnectionResetError("the WebSocket is closed")
        text: str | None = message.get("text")
        if text is not None:
            self._protocol.send_text(text.encode())
        else:
            self._protocol.send_binary(message["bytes"])
        self._flush()
        await self._writable.wait()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the end, if it has not begun; ``NO_STATUS`` says nothing of why. Raises RuntimeError for a bad code."""
        if self._protocol.state is not State.OPEN:
            return
        try:
            if code == NO_STATUS:
                self._protocol.send_close()
            else:
                self._protocol.send_close(code, reason)
        except ProtocolError as error:
            raise RuntimeError(f"{code} {reason!a} cannot be sent as the reason of a close: {error}") from None
        self._flush()

    def abort(self) -> None:
        """Break the connection."""
        self._transport.abort()

    def end(self) -> None:
        """Nobody reads any more: break the connection, unless its end has begun."""
        if self._protocol.state is State.OPEN:
            self._transport.abort()

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        keep_alive(transport)
        if self._protocol.side is Side.SERVER:
            self._stall = Stall(self._loop, self._transport)

    def data_received(self, data: bytes) -> None:
        self._held += data
        self._work()

    def eof_received(self) -> None:
        """Closes: who is done sending is done."""
        self._protocol.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._stall is not None:
            self._stall.end()
        self._protocol.receive_eof()
        self._protocol.parser.close()  # a generator and its protocol hold each other
        self._end(ABNORMAL, "")
        self._writable.set()
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()

    def pause_writing(self) -> None:
        self._write_paused = True
        self._writable.clear()
        if self._stall is not None:
            self._stall.begin()

    def resume_writing(self) -> None:
        if self._stall is not None:
            self._stall.end()
        self._write_paused = False
        self._writable.set()
        self._read_on()

    # Inside

    def _work(self) -> None:
        protocol = self._protocol
        while self._held and not self._reading_paused:
            piece, self._held = self._held[:SLICE], self._held[SLICE:]
            protocol.receive_data(piece)
            for event in protocol.events_received():
                self._on_frame(cast(Frame, event))
            self._flush()
            if protocol.parser_exc is not None and protocol.close_sent is not None:
                self._end(protocol.close_sent.code, protocol.close_sent.reason)
            # Pongs that nobody takes must not pile up either.
            if self._size > HIGH_WATER or (self._write_paused and not self._ended):
                self._reading_paused = True
                self._transport.pause_reading()

    def _on_frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.CLOSE:
            received = self._protocol.close_rcvd
            assert received is not None
            self._end(received.code, received.reason)
            return
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._opcode = opcode
            if frame.fin:
                self._deliver(bytes(frame.data))
            else:
                self._fragments = bytearray(frame.data)
        elif opcode is Opcode.CONT and self._fragments is not None:
            self._fragments += frame.data
            if frame.fin:
                data, self._fragments = bytes(self._fragments), None
                self._deliver(data)

    def _deliver(self, data: bytes) -> None:
        if self._ended:
            return
        if self._opcode is Opcode.BINARY:
            message: Message = {"type": "websocket.receive", "bytes": data}
            self._size += len(data) + OVERHEAD
        else:
            try:
                text = data.decode()
            except UnicodeDecodeError:
                self._protocol.fail(1007, "text that is not UTF-8")
                self._end(1007, "text that is not UTF-8")
                return
            message = {"type": "websocket.receive", "text": text}
            self._size += len(text) + OVERHEAD
        self._queue.append(message)
        self._arrived.set()

    def _end(self, code: int, reason: str) -> None:
        if not self._ended:
            self._ended = True
            self._queue.append({"type": "websocket.disconnect", "code": code, "reason": reason})
            self._arrived.set()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if self._transport.is_closing():
                break
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()
        if self._timer is None and self._protocol.close_expected():
            self._timer = self._loop.call_later(CLOSE_TIMEOUT, self._transport.abort)

    def _read_on(self) -> None:
        if self._reading_paused and self._size <= HIGH_WATER and (not self._write_paused or self._ended):
            self._reading_paused = False
            self._work()
            if not (self._reading_paused or self._transport.is_closing()):
                self._transport.resume_reading()
