"""Windows in both directions (RFC 9113 §5.2, §6.9): what may be sent, what is taken, and what is kept."""

import pytest

from app.http2.frames import Code
from app.http2.writer import CONNECTION_WINDOW, MAX_HELD, STREAM_WINDOW
from tests.wire.http2 import (
    DATA,
    GET,
    NO_SETTINGS,
    PADDED,
    POST,
    PREFACE,
    Peer,
    data,
    frame,
    headers,
    rst,
    server,
    settings,
    stream_error,
    window,
)

FULL = b"x" * 16384


def answering(*streams: int, beginning: bytes = NO_SETTINGS) -> Peer:
    """A server that has answered requests on ``streams`` with a head, and is to send bodies."""
    peer = server(PREFACE + beginning)
    for stream in streams:
        peer.feed(headers(stream, GET, end=True))
        peer.connection.send_head(peer.heard.streams[stream], 200, [])
    peer.output()
    peer.heard.told.clear()
    return peer


def uploading(*streams: int) -> Peer:
    peer = server().feed(*[headers(stream, POST) for stream in streams])
    peer.heard.told.clear()
    return peer


# What we send


def test_what_may_be_sent_is_what_both_windows_allow() -> None:
    peer = answering(1, 3)
    one, three = peer.heard.streams[1], peer.heard.streams[3]
    assert peer.connection.room(one) == 65535
    peer.connection.send_data(one, b"x" * 40000)
    assert peer.connection.room(one) == 25535
    assert peer.connection.room(three) == 25535
    peer.feed(window(0, 100_000))
    assert peer.connection.room(one) == 25535
    assert peer.connection.room(three) == 65535


def test_data_is_cut_into_frames() -> None:
    peer = answering(1)
    peer.connection.send_data(peer.heard.streams[1], b"x" * 40000, end=True)
    assert [(flags, len(payload)) for _, flags, _, payload in peer.frames()] == [(0, 16384), (0, 16384), (1, 7232)]


def test_frames_are_as_large_as_the_peer_takes_them() -> None:
    peer = answering(1, beginning=settings((5, 32768)))
    peer.connection.send_data(peer.heard.streams[1], b"x" * 40000)
    assert [len(payload) for *_, payload in peer.frames()] == [32768, 7232]


def test_a_stream_that_waits_is_told_when_its_window_opens() -> None:
    peer = answering(1, beginning=settings((4, 10)))
    stream = peer.heard.streams[1]
    peer.connection.send_data(stream, b"x" * 10)
    peer.connection.wait(stream)
    assert peer.feed(window(0, 5)).told == []
    assert peer.feed(window(1, 5)).told == [(1, "window")]
    assert peer.connection.room(stream) == 5
    assert peer.feed(window(1, 5)).told == [], "it is told once"


def test_streams_that_wait_for_the_connection_are_told_in_their_order() -> None:
    peer = answering(1, 3, 5)
    streams = peer.heard.streams
    for stream in (5, 1, 3):
        peer.connection.wait(streams[stream])
    peer.connection.send_data(streams[1], b"x" * 65535)
    assert peer.feed(window(1, 1)).told == [], "the connection's is shut"
    assert peer.feed(window(0, 1)).told == [(5, "window"), (1, "window"), (3, "window")]


def test_settings_change_the_windows_of_open_streams() -> None:
    """RFC 9113 §6.9.2: they may become negative."""
    peer = answering(1)
    stream = peer.heard.streams[1]
    peer.connection.send_data(stream, b"x" * 1000)
    peer.feed(settings((4, 500)))
    assert peer.connection.room(stream) == -500
    peer.connection.wait(stream)
    peer.told.clear()
    assert peer.feed(window(1, 500)).told == []
    assert peer.feed(settings((4, 600))).told == [(1, "window"), "settings"]
    assert peer.connection.room(stream) == 100


def test_a_stream_that_was_reset_is_not_told() -> None:
    peer = answering(1, beginning=settings((4, 0)))
    peer.connection.wait(peer.heard.streams[1])
    assert peer.feed(rst(1), window(0, 1)).told == [(1, "reset", Code.CANCEL)]


# What we receive


def test_a_streams_window_is_given_back_as_its_bytes_are_consumed() -> None:
    peer = uploading(1)
    stream = peer.heard.streams[1]
    peer.feed(*[data(1, FULL)] * 8)
    assert peer.output() == b"", "nothing was consumed"
    peer.connection.consumed(stream, STREAM_WINDOW // 4 - 1)
    assert peer.output() == b"", "little by little is not told"
    peer.connection.consumed(stream, 1)
    assert peer.output() == window(1, STREAM_WINDOW // 4)


def test_more_than_a_streams_window_resets_it() -> None:
    peer = uploading(1).feed(*[data(1, FULL)] * 16)
    assert peer.failure is None
    peer.feed(data(1, b"x"))
    assert stream_error(1, Code.FLOW_CONTROL_ERROR) in peer.frames()
    assert peer.told[-1] == (1, "reset", Code.FLOW_CONTROL_ERROR)


def test_padding_is_given_back_at_once() -> None:
    """It counts for the windows (§6.9.1), and nobody consumes it."""
    peer = uploading(1)
    peer.feed(*[frame(DATA, PADDED, 1, b"\xff" + b"x" + bytes(255))] * 300)
    updates = [frame for frame in peer.frames() if frame[2] == 1]
    assert updates == [(8, 0, 1, (256 * 256).to_bytes(4, "big"))]


def test_a_slow_upload_does_not_stall_another() -> None:
    """The connection's window is given back at once: what one stream keeps takes nothing from the others."""
    peer = uploading(1, 3)
    peer.feed(*[data(1, FULL)] * 16)
    for _ in range(512):  # 8 MiB
        peer.feed(data(3, FULL))
        peer.connection.consumed(peer.heard.streams[3], 16384)
    assert peer.failure is None
    assert peer.heard.streams[1].held == STREAM_WINDOW


def test_what_a_connection_makes_us_keep_is_bounded() -> None:
    streams = range(1, 101, 2)
    peer = uploading(*streams)
    sent = 0
    for stream in streams:
        for _ in range(16):
            peer.feed(data(stream, FULL))
            if peer.failure is not None:
                break
            sent += 16384
    assert peer.failure == Code.FLOW_CONTROL_ERROR, "a client that minds no window"
    assert sent <= MAX_HELD


def test_the_connections_window_opens_again_when_bytes_are_consumed() -> None:
    streams = range(1, 33, 2)
    peer = uploading(*streams)
    for stream in streams:
        peer.feed(*[data(stream, FULL)] * 16)
    assert peer.failure is None
    total = sum(int.from_bytes(payload, "big") for *_, stream, payload in peer.frames() if stream == 0)
    assert total + CONNECTION_WINDOW == MAX_HELD, "all of it was used"
    peer.connection.release(peer.heard.streams[1])
    assert (8, 0, 0, STREAM_WINDOW.to_bytes(4, "big")) in peer.frames()


def test_what_comes_on_a_stream_that_was_reset_costs_the_others_nothing() -> None:
    peer = uploading(1, 3)
    peer.connection.reset(peer.heard.streams[1], Code.CANCEL)
    for _ in range(500):  # 8 MB
        peer.feed(data(1, FULL))
    assert peer.failure is None


@pytest.mark.parametrize("how", ["reset", "release"])
def test_what_an_ended_stream_held_is_let_go(how: str) -> None:
    peer = uploading(1).feed(*[data(1, FULL)] * 8)
    stream = peer.heard.streams[1]
    if how == "reset":
        peer.feed(rst(1))
    else:
        peer.connection.release(stream)
    assert stream.held == 0
    peer.connection.consumed(stream, 16384)
    assert stream.held == 0, "late news of it does no harm"
