"""An open WebSocket as two connections that have become one: every byte both ways, and every kind of end."""

import gc
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.listeners.clock import WRITE_TIMEOUT
from app.listeners.websocket import GRACE
from app.websocket.boundaries import Boundaries
from app.websocket.splice import CLOSE_TIMEOUT, GOING_AWAY
from tests.wire.harness import Loop, Wire, cuts
from tests.wire.websockets import (
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    PONG,
    SWITCHING,
    TEXT,
    Gateway,
    close,
    frame,
)


@pytest.fixture
def gateway(loop: Loop) -> Gateway:
    return Gateway(loop)


def frames(*, masked: bool) -> bytes:
    """What a WebSocket may carry: all kinds of frames, some of no kind that is known."""
    return b"".join(
        [
            frame(TEXT, "grüß".encode(), masked=masked),
            frame(BINARY, masked=masked),
            frame(BINARY, bytes(range(200)), masked=masked),
            frame(TEXT, b"frag", fin=False, masked=masked),
            frame(PING, b"between", masked=masked),
            frame(CONTINUATION, b"men", fin=False, masked=masked),
            frame(PONG, masked=masked),
            frame(CONTINUATION, b"ted", masked=masked),
            frame(TEXT, b"\xaa\x56\x4a\xcd\xc9\xc9\x07\x00", rsv1=True, masked=masked),  # compressed (RFC 7692 §7.2.3)
            frame(3, b"an opcode of tomorrow", masked=masked),
            frame(BINARY, b"x" * 70_000, masked=masked),
            close(4000, "enough", masked=masked),
        ]
    )


def test_every_byte_from_the_client_reaches_the_backend(gateway: Gateway) -> None:
    client, backend = gateway.opened()
    for pieces in ([frames(masked=True)], [frames(masked=True)[index : index + 7] for index in range(0, 2000, 7)]):
        backend.written.clear()
        client.feed(*pieces)
        assert backend.output == b"".join(pieces)
    assert client.output == b""


def test_every_byte_from_the_backend_reaches_the_client(gateway: Gateway) -> None:
    client, backend = gateway.opened()
    for pieces in ([frames(masked=False)], [frames(masked=False)[index : index + 7] for index in range(0, 2000, 7)]):
        client.written.clear()
        backend.feed(*pieces)
        assert client.output == b"".join(pieces)
    assert backend.output == b""


def test_what_comes_goes_on_at_once_and_in_one_piece(gateway: Gateway) -> None:
    client, backend = gateway.opened()
    for data in cuts(frame(TEXT, b"hi", masked=True)):
        backend.written.clear()
        client.feed(*data)
        assert backend.written == list(data)


# Who is slow


def flood(sender: Wire, receiver: Wire) -> None:
    for _ in range(50):
        sender.feed(frame(BINARY, b"x" * 100_000))
    assert sender.paused
    assert sender.unread > 4_000_000
    assert receiver.largest_wait < 500_000
    while receiver.waiting:
        receiver.take()
    assert sender.unread == 0
    assert sum(map(len, receiver.written)) > 5_000_000
    assert receiver.largest_wait < 500_000


def test_a_client_that_reads_slowly_holds_the_backend_up(gateway: Gateway) -> None:
    client, backend = gateway.opened()
    client.reading = False
    flood(backend, client)
    client.feed(frame(TEXT, b"still there", masked=True))
    assert backend.output == frame(TEXT, b"still there", masked=True)


def test_a_backend_that_reads_slowly_holds_the_client_up(gateway: Gateway, loop: Loop) -> None:
    client, backend = gateway.opened()
    backend.reading = False
    flood(client, backend)
    loop.advance(2 * WRITE_TIMEOUT)
    assert (client.state, backend.state) == ("open", "open")


def test_one_direction_goes_on_while_the_other_stands_still(gateway: Gateway) -> None:
    client, backend = gateway.opened()
    client.reading = False
    backend.feed(frame(BINARY, b"x" * 300_000))
    assert backend.paused
    for _ in range(50):
        client.feed(frame(BINARY, b"y" * 100_000, masked=True))
    assert len(backend.output) > 5_000_000


def test_a_backend_that_says_much_behind_its_answer_is_held_up(gateway: Gateway) -> None:
    client = gateway.client(HANDSHAKE)
    client.reading = False
    backend = gateway.backend()
    backend.feed(SWITCHING + frame(BINARY, b"x" * 200_000))
    for _ in range(50):
        backend.feed(frame(BINARY, b"x" * 100_000))
    assert backend.paused
    assert client.largest_wait < 500_000


def test_a_backend_is_held_up_for_what_was_sent_before_the_handshake(gateway: Gateway) -> None:
    """… to a client that has taken no more than just enough to be asked again."""
    client = gateway.client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    client.reading = False
    gateway.backend().feed(b"HTTP/1.1 200 OK\r\nContent-Length: 65400\r\n\r\n" + b"x" * 65400)
    client.feed(HANDSHAKE)
    backend = gateway.backend()
    backend.feed(SWITCHING)
    for _ in range(50):
        backend.feed(frame(BINARY, b"x" * 100_000))
    assert backend.paused
    assert client.largest_wait < 500_000
    while client.waiting:
        client.take()
    assert client.output.endswith(frame(BINARY, b"x" * 100_000))


def test_a_client_that_never_reads_is_cut_off(gateway: Gateway, loop: Loop) -> None:
    client, backend = gateway.opened()
    client.reading = False
    backend.feed(frame(BINARY, b"x" * 300_000))
    loop.advance(WRITE_TIMEOUT + 1)
    assert (client.state, backend.state) == ("aborted", "closed")
    assert not gateway.server.state.connections


def test_a_client_that_reads_a_little_now_and_then_is_not_cut_off(gateway: Gateway, loop: Loop) -> None:
    client, backend = gateway.opened()
    client.reading = False
    backend.feed(frame(BINARY, b"x" * 300_000))
    for _ in range(5):
        client.take(40_000)
        loop.advance(WRITE_TIMEOUT - 10)
    assert (client.state, backend.state) == ("open", "open")


def test_an_idle_websocket_has_no_time_limit(gateway: Gateway, loop: Loop) -> None:
    client, backend = gateway.opened()
    loop.advance(7200)
    client.feed(frame(PING, masked=True))
    backend.feed(frame(PONG))
    assert (client.output, backend.output) == (frame(PONG), frame(PING, masked=True))


# Ends


def ended(gateway: Gateway, client: Wire, backend: Wire) -> None:
    assert (client.lost, backend.lost) == (True, True)
    assert not gateway.server.state.connections
    assert not gateway.server.state.tasks
    assert gateway.endpoints[0].in_flight == 0


@pytest.mark.parametrize("by_client", [False, True])
def test_a_closing_handshake(gateway: Gateway, by_client: bool) -> None:
    """… whoever begins it. The backend ends its connection first, as a server must (RFC 6455 §7.1.1)."""
    client, backend = gateway.opened()
    if by_client:
        client.feed(close(1000, "bye", masked=True))
        assert backend.output == close(1000, "bye", masked=True)
        backend.feed(close(1000, "bye"))
    else:
        backend.feed(close(1001))
        client.feed(close(1001, masked=True))
    backend.feed_eof()
    assert client.state == "ending"
    client.feed_eof()
    assert (client.state, backend.state) == ("closed", "closed")
    ended(gateway, client, backend)


def test_the_answer_to_a_close_still_arrives_behind_a_half_close(gateway: Gateway) -> None:
    client, backend = gateway.opened()
    client.feed(close(1000, masked=True))
    client.feed_eof()
    assert backend.state == "ending"
    backend.feed(close(1000))
    backend.feed_eof()
    assert client.output == close(1000)
    ended(gateway, client, backend)


@pytest.mark.parametrize("by_client", [False, True])
def test_a_half_that_does_not_follow_is_closed(gateway: Gateway, loop: Loop, by_client: bool) -> None:
    client, backend = gateway.opened()
    first, other = (client, backend) if by_client else (backend, client)
    first.feed_eof()
    assert other.state == "ending"
    loop.advance(CLOSE_TIMEOUT + 1)
    ended(gateway, client, backend)


@pytest.mark.parametrize("by_client", [False, True])
def test_a_connection_that_breaks_breaks_the_other(gateway: Gateway, by_client: bool) -> None:
    client, backend = gateway.opened()
    (client if by_client else backend).lose(ConnectionResetError())
    assert (backend if by_client else client).state == "aborted"
    ended(gateway, client, backend)


@pytest.mark.parametrize("by_client", [False, True])
def test_tls_knows_no_half_close(gateway: Gateway, by_client: bool) -> None:
    """… so that the whole connection ends with the first end."""
    client, backend = gateway.opened(tls=True)
    (client if by_client else backend).feed_eof()
    assert (client.state, backend.state) == ("closed", "closed")
    ended(gateway, client, backend)


def test_what_waits_for_a_slow_client_still_arrives_when_the_backend_has_ended(gateway: Gateway) -> None:
    client, backend = gateway.opened()
    client.reading = False
    backend.feed(frame(BINARY, b"x" * 30_000), close(1000))
    backend.feed_eof()
    assert not client.lost
    client.take()
    client.feed_eof()
    assert client.state == "closed"
    ended(gateway, client, backend)


def test_a_slow_client_has_not_forever_when_the_backend_has_ended(gateway: Gateway, loop: Loop) -> None:
    client, backend = gateway.opened()
    client.reading = False
    backend.feed(frame(BINARY, b"x" * 300_000))
    backend.lose()
    loop.advance(CLOSE_TIMEOUT + 1)
    assert client.state == "aborted"
    ended(gateway, client, backend)


#: What a WebSocket needs for itself. Idle connections are their pools', which other tests leave as well.
OURS = ("app.websocket", "app.listeners", "app.upstream.exchange", "websockets")


def test_nothing_is_left_of_it(gateway: Gateway) -> None:
    """… not even a circle of references: the collector comes by rarely."""

    def once() -> None:
        client, backend = gateway.opened()
        client.feed(frame(TEXT, b"hi", masked=True))
        backend.feed(close(1000))
        backend.feed_eof()
        client.feed_eof()
        gateway.loop.wires.clear()
        refused = gateway.client(HANDSHAKE)
        gateway.backend().feed(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        assert refused.lost

    once()
    while gc.collect():  # what other tests left, which has generators to be ended first
        pass
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        once()
        gc.collect()
        left = {type(thing).__name__ for thing in gc.garbage if type(thing).__module__.startswith(OURS)}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert left == set()


# The server stops


def test_a_websocket_has_some_time_when_the_server_stops(gateway: Gateway, loop: Loop) -> None:
    """… and then a close between two frames; its client answers that to the backend (RFC 6455 §7.4.1)."""
    client, backend = gateway.opened()
    backend.feed(frame(TEXT, b"one"))
    for connection in list(gateway.server.state.connections):
        connection.shutdown()
    loop.advance(GRACE - 1)
    backend.feed(frame(TEXT, b"two"))
    loop.advance(1)
    assert client.output == frame(TEXT, b"one") + frame(TEXT, b"two") + GOING_AWAY
    assert close(1001) == GOING_AWAY
    backend.feed(frame(TEXT, b"too late"))
    assert client.output.endswith(GOING_AWAY)
    client.feed(close(1001, masked=True))
    assert backend.output == close(1001, masked=True)
    backend.feed(close(1001))
    backend.feed_eof()
    client.feed_eof()
    ended(gateway, client, backend)


def test_a_websocket_within_a_frame_is_closed_when_the_server_stops(gateway: Gateway, loop: Loop) -> None:
    client, backend = gateway.opened()
    backend.feed(frame(BINARY, b"x" * 1000)[:500])
    for connection in list(gateway.server.state.connections):
        connection.shutdown()
    loop.advance(GRACE + 1)
    assert client.output == frame(BINARY, b"x" * 1000)[:500]
    assert (client.state, backend.state) == ("closed", "closed")
    ended(gateway, client, backend)


def test_a_websocket_that_ends_while_the_server_stops(gateway: Gateway, loop: Loop) -> None:
    client, backend = gateway.opened()
    for connection in list(gateway.server.state.connections):
        connection.shutdown()
    loop.advance(GRACE - 1)
    backend.feed_eof()
    loop.advance(2)
    assert client.output == b""
    ended(gateway, client, backend)


def test_a_client_that_does_not_answer_the_close_is_closed(gateway: Gateway, loop: Loop) -> None:
    client, backend = gateway.opened()
    for connection in list(gateway.server.state.connections):
        connection.shutdown()
    loop.advance(GRACE + 3)
    ended(gateway, client, backend)


def test_the_servers_own_limit_counts(loop: Loop) -> None:
    gateway = Gateway(loop, timeout_graceful_shutdown=30)
    client, _ = gateway.opened()
    for connection in list(gateway.server.state.connections):
        connection.shutdown()
    loop.advance(28)
    assert client.output == b""
    loop.advance(1.5)
    assert client.output == GOING_AWAY


def test_a_websocket_that_the_server_cancels_is_closed(gateway: Gateway, loop: Loop) -> None:
    client, backend = gateway.opened()
    for task in list(gateway.server.state.tasks):
        task.cancel()
    loop.settle()
    ended(gateway, client, backend)


def test_a_handshake_that_is_answered_while_the_server_stops(gateway: Gateway, loop: Loop) -> None:
    client = gateway.client(HANDSHAKE)
    for connection in list(gateway.server.state.connections):
        connection.shutdown()
    gateway.backend().feed(SWITCHING)
    assert client.state == "open"
    loop.advance(GRACE + 1)
    assert client.output.endswith(GOING_AWAY)


# The log


def test_the_access_log_has_one_line_at_the_end(gateway: Gateway, loop: Loop) -> None:
    client, backend = gateway.opened()
    client.feed(frame(TEXT, b"abc", masked=True))
    backend.feed(frame(TEXT, b"hello"), frame(TEXT, b"you"))
    loop.advance(60)
    assert gateway.lines == []
    client.lose()
    (line,) = gateway.lines
    entry = json.loads(line)
    assert (entry["DownstreamStatus"], entry["OriginStatus"]) == (101, 101)
    assert (entry["RequestContentSize"], entry["DownstreamContentSize"]) == (9, 12)
    assert (entry["RequestPath"], entry["ResponseFlags"]) == ("/chat?a=b", "-")


@pytest.mark.parametrize("by_client", [False, True])
def test_a_connection_that_broke_is_flagged(gateway: Gateway, by_client: bool) -> None:
    client, backend = gateway.opened()
    (client if by_client else backend).lose(ConnectionResetError())
    assert json.loads(gateway.lines[0])["ResponseFlags"] == ("DC" if by_client else "UC")


# Where frames end


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 1, 125, 126, 127, 65535, 65536]), st.booleans())), st.data())
def test_boundaries(sizes: list[tuple[int, bool]], data: st.DataObject) -> None:
    """It is between two frames exactly behind each of them, however they are cut."""
    stream, ends = b"", {0}
    for size, masked in sizes:
        stream += frame(CLOSE, b"x" * size, masked=masked)
        ends.add(len(stream))
    places = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=20)) | ends)
    boundaries = Boundaries()
    for start, stop in zip([0, *places], places, strict=False):
        boundaries.feed(stream[start:stop])
        assert boundaries.between == (stop in ends)


def test_boundaries_byte_by_byte() -> None:
    stream = frames(masked=False) + frame(BINARY, b"x" * 300, masked=True)
    boundaries = Boundaries()
    for index in range(len(stream)):
        boundaries.feed(stream[index : index + 1])
    assert boundaries.between


def test_the_tunnel_knows_boundaries_of_small_frames(gateway: Gateway) -> None:
    client, backend = gateway.opened()
    half = backend.get_protocol()
    for size in (0, 1, 2, 123, 124, 125, 126, 127, 128, 300):
        whole = frame(BINARY, b"\x7e" * size)
        for pieces in cuts(whole):
            for index, piece in enumerate(pieces):
                backend.feed(piece)
                assert half.boundaries.between == (index == len(pieces) - 1)  # type: ignore[attr-defined]
    assert client.state == "open"
