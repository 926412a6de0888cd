"""A stream as a transport: what a protocol within it sees, and the frames that come of what it does."""

import asyncio
from collections.abc import Iterator

import pytest

from app.http2.frames import Code
from app.http2.rules import RequestHead
from app.http2.writer import STREAM_WINDOW, Stream
from app.listeners.clock import WRITE_TIMEOUT
from app.listeners.http2 import Http2Protocol
from app.listeners.tunnel import HIGH_WATER, StreamTransport
from tests.wire.harness import Loop, Recorder
from tests.wire.http2 import DATA, RST, data, headers, request, rst, settings, stream_error, window
from tests.wire.test_http2_front import Client, piece

CONNECT = headers(1, request((b":protocol", b"websocket"), method=b"CONNECT"))


class Inner(asyncio.Protocol):
    """A protocol that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.half_open = False

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.half_open

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost" if exc is None else type(exc))


class Tunnel(Client):
    """A client whose CONNECT was answered with 200, and the other end of the stream."""

    def __init__(self, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inner = Inner()
        self.transport: StreamTransport = None  # type: ignore[assignment]  # made by the request

        def on_connect(http2: Http2Protocol, stream: Stream, head: RequestHead) -> None:
            assert head.protocol == b"websocket"
            self.transport = StreamTransport(http2, stream)
            http2.core.send_head(stream, 200, [])

        monkeypatch.setattr(Http2Protocol, "_on_connect", on_connect)
        super().__init__(loop, Recorder())
        self.feed(window(0, 1 << 24), settings((4, 1 << 20)), CONNECT)
        self.output()
        self.transport.set_protocol(self.inner)

    @property
    def told(self) -> list[object]:
        self.loop.settle()
        told, self.inner.told = self.inner.told, []
        return told


@pytest.fixture
def tunnel(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tunnel]:
    tunnel = Tunnel(loop, monkeypatch)
    yield tunnel
    tunnel.wire.lose()


def test_bytes_both_ways(tunnel: Tunnel) -> None:
    tunnel.feed(data(1, b"ab"))
    tunnel.transport.write(b"cd")
    tunnel.transport.writelines([b"e", b"f"])
    assert tunnel.told == [b"ab"]
    assert tunnel.frames() == [piece(1, b"cd"), piece(1, b"ef")]


def test_what_came_before_there_was_a_protocol(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    tunnel = Tunnel(loop, monkeypatch)
    inner, other = tunnel.inner, Inner()
    tunnel.feed(data(1, b"ab"))
    tunnel.transport.set_protocol(other)
    tunnel.feed(data(1, b"cd"))
    assert (inner.told, other.told) == ([b"ab"], [b"cd"])
    assert tunnel.transport.get_protocol() is other
    tunnel.wire.lose()


def test_the_connection_is_known_by_its_addresses(tunnel: Tunnel) -> None:
    assert tunnel.transport.get_extra_info("peername") == ("192.0.2.7", 40000)
    assert tunnel.transport.get_extra_info("nothing", 7) == 7


def test_reading_may_pause(tunnel: Tunnel) -> None:
    """What comes then waits, and its window with it."""
    tunnel.transport.pause_reading()
    assert not tunnel.transport.is_reading()
    tunnel.feed(*[data(1, b"x" * 16384)] * 16)
    assert tunnel.told == []
    assert [frame for frame in tunnel.frames() if frame[2] == 1] == []
    tunnel.transport.resume_reading()
    assert b"".join(part for part in tunnel.told if isinstance(part, bytes)) == b"x" * STREAM_WINDOW
    assert (8, 0, 1, STREAM_WINDOW.to_bytes(4, "big")) in tunnel.frames()


def test_writing_is_paused_while_the_window_is_shut(tunnel: Tunnel) -> None:
    size = (1 << 20) + HIGH_WATER
    tunnel.transport.write(b"x" * size)
    tunnel.loop.settle()
    assert tunnel.told == ["pause"], "more is kept than has gone"
    tunnel.loop.settle()
    assert tunnel.transport.get_write_buffer_size() == HIGH_WATER
    tunnel.feed(window(1, HIGH_WATER))
    assert tunnel.told == ["resume"]
    assert tunnel.transport.get_write_buffer_size() == 0
    assert sum(len(payload) for *_, payload in tunnel.frames()) == size


def test_the_limits_can_be_set(tunnel: Tunnel) -> None:
    assert tunnel.transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    tunnel.transport.set_write_buffer_limits(high=1000)
    assert tunnel.transport.get_write_buffer_limits() == (250, 1000)
    tunnel.transport.set_write_buffer_limits(low=100)
    assert tunnel.transport.get_write_buffer_limits() == (100, 400)
    tunnel.transport.set_write_buffer_limits()
    assert tunnel.transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)


def test_the_clients_end_closes(tunnel: Tunnel) -> None:
    tunnel.feed(data(1, b"ab", end=True))
    assert tunnel.told == [b"ab", "eof", "lost"]
    assert tunnel.frames() == [piece(1, b"", end=True)]
    assert tunnel.transport.is_closing()


def test_the_clients_end_leaves_ours_open_where_the_protocol_says_so(tunnel: Tunnel) -> None:
    tunnel.inner.half_open = True
    tunnel.feed(data(1, b"", end=True))
    assert tunnel.told == ["eof"]
    tunnel.transport.write(b"x")
    tunnel.transport.write_eof()
    assert tunnel.frames() == [piece(1, b"x"), piece(1, b"", end=True)]
    assert tunnel.told == ["lost"]


def test_our_end_leaves_the_clients_open(tunnel: Tunnel) -> None:
    tunnel.transport.write_eof()
    tunnel.transport.write(b"too late")
    assert tunnel.frames() == [piece(1, b"", end=True)]
    tunnel.feed(data(1, b"ab"))
    assert tunnel.told == [b"ab"]
    tunnel.feed(data(1, b"", end=True))
    assert tunnel.told == ["eof", "lost"]
    assert tunnel.frames() == []


def test_closing_sends_what_was_written_and_takes_no_more(tunnel: Tunnel) -> None:
    tunnel.feed(settings((4, 0)))
    tunnel.output()
    tunnel.transport.write(b"abc")
    tunnel.transport.close()
    tunnel.feed(data(1, b"x"))
    assert tunnel.frames() == []
    assert tunnel.told == []
    tunnel.feed(window(1, 10))
    assert tunnel.frames() == [piece(1, b"abc", end=True), stream_error(1, Code.NO_ERROR)]
    assert tunnel.told == ["lost"]
    tunnel.transport.close()
    assert tunnel.told == []


def test_an_abort_resets_the_stream(tunnel: Tunnel) -> None:
    tunnel.transport.write(b"abc")
    tunnel.transport.abort()
    assert [frame[0] for frame in tunnel.frames()] == [DATA, RST]
    assert tunnel.told == ["lost"]
    tunnel.transport.abort()
    tunnel.transport.write(b"abc")
    assert tunnel.frames() == []


def test_a_reset_by_the_client(tunnel: Tunnel) -> None:
    tunnel.feed(rst(1))
    assert tunnel.told == [ConnectionResetError]
    assert tunnel.transport.is_closing()


def test_the_connection_breaks(tunnel: Tunnel) -> None:
    tunnel.wire.lose()
    assert tunnel.told == [ConnectionResetError]


def test_a_client_that_does_not_take_what_is_sent(tunnel: Tunnel) -> None:
    tunnel.feed(settings((4, 0)))
    tunnel.transport.write(b"abc")
    tunnel.loop.advance(WRITE_TIMEOUT + 2)
    assert tunnel.told == [ConnectionResetError]


def test_a_quiet_tunnel_stays_open(tunnel: Tunnel) -> None:
    """Whoever uses it has pings and time-outs of its own."""
    tunnel.loop.advance(10_000)
    assert tunnel.told == []
    assert tunnel.wire.state == "open"


def test_a_reset_behind_our_end_takes_nothing_away(tunnel: Tunnel) -> None:
    tunnel.transport.write_eof()
    tunnel.feed(rst(1))
    assert tunnel.told == ["lost"]
