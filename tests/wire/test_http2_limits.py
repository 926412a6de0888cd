"""What a client may do for nothing, and what it may not: floods that are cheap for it and cost us."""

import pytest

from app.http2.frames import Code
from app.http2.limits import IDLE_SPAN, MAX_IDLE_FRAMES, MAX_RESETS, MAX_UNREAD, RESET_SPAN
from app.http2.server import MAX_STREAMS
from tests.wire.http2 import (
    CONTINUATION,
    DATA,
    GET,
    HEADERS,
    PING,
    POST,
    PRIORITY,
    Peer,
    data,
    frame,
    headers,
    literal,
    rst,
    server,
    settings,
    stream_error,
    window,
)


def answer(peer: Peer, stream: int) -> None:
    peer.connection.send_head(peer.heard.streams[stream], 200, [], end=True)


def test_more_streams_than_allowed_are_refused() -> None:
    peer = server().feed(*[headers(1 + 2 * index, GET, end=True) for index in range(MAX_STREAMS)])
    assert len(peer.told) == MAX_STREAMS
    peer.feed(headers(257, GET, end=True))
    assert (peer.told, peer.frames()) == ([], [stream_error(257, Code.REFUSED_STREAM)])
    answer(peer, 1)
    assert len(peer.feed(headers(259, GET, end=True)).told) == 1


def test_a_stream_that_was_reset_counts_until_it_was_let_go() -> None:
    """CVE-2023-44487: a reset costs the client nothing, and the request that it ends may still run."""
    peer = server().feed(*[headers(1 + 2 * index, GET, end=True) + rst(1 + 2 * index) for index in range(MAX_STREAMS)])
    peer.output()
    peer.feed(headers(257, GET, end=True))
    assert peer.frames() == [stream_error(257, Code.REFUSED_STREAM)]
    peer.connection.let_go()
    peer.told.clear()
    assert len(peer.feed(headers(259, GET, end=True)).told) == 1


def rapid(peer: Peer, times: int, first: int = 1) -> None:
    for stream in range(first, first + 2 * times, 2):
        peer.feed(headers(stream, GET, end=True), rst(stream))
        peer.connection.let_go()


def test_rapid_resets_end_the_connection() -> None:
    peer = server()
    rapid(peer, MAX_RESETS)
    assert peer.failure is None
    rapid(peer, 1, 1001)
    assert peer.failure == Code.ENHANCE_YOUR_CALM
    assert b"too many streams reset" in peer.output()


def test_resets_now_and_then_do_not() -> None:
    peer = server()
    for turn in range(10):
        rapid(peer, MAX_RESETS, 1 + turn * 1000)
        peer.clock.now += RESET_SPAN
    assert peer.failure is None


def test_resets_among_requests_that_end_well_do_not() -> None:
    peer = server()
    for stream in range(1, 4 * MAX_RESETS, 4):
        peer.feed(headers(stream, GET, end=True))
        answer(peer, stream)
        rapid(peer, 1, stream + 2)
    assert peer.failure is None


@pytest.mark.parametrize(
    "provocation",
    [
        pytest.param(lambda stream: window(stream, 0), id="a window of nothing"),
        pytest.param(lambda stream: window(stream, 2**31 - 1), id="a window too large"),
        pytest.param(lambda stream: data(stream, b"x"), id="DATA behind the end"),
        pytest.param(lambda stream: frame(PRIORITY, 0, stream, b"\0"), id="a malformed PRIORITY"),
        pytest.param(lambda stream: headers(stream, literal((b"x", b"y")), end=True), id="HEADERS behind the end"),
    ],
)
def test_resets_that_the_client_provokes_count_as_well(provocation: object) -> None:
    """CVE-2025-8671, MadeYouReset."""
    assert callable(provocation)
    peer = server()
    for stream in range(1, 2 * MAX_RESETS + 3, 2):
        assert peer.failure is None
        peer.feed(headers(stream, GET, end=True), provocation(stream))
        if peer.failure is None:
            peer.connection.let_go()
            assert peer.frames()[-1][0] == 3
    assert peer.failure == Code.ENHANCE_YOUR_CALM


def test_malformed_requests_count_as_well() -> None:
    peer = server().feed(*[headers(1 + 2 * index, b"\x82", end=True) for index in range(MAX_RESETS + 1)])
    assert peer.failure == Code.ENHANCE_YOUR_CALM


FLOODS = {
    "PING": frame(PING, 0, 0, b"12345678"),
    "answers to no PING": frame(PING, 1, 0, b"12345678"),
    "SETTINGS": settings(),
    "acknowledgements": frame(4, 1, 0),
    "PRIORITY": frame(PRIORITY, 0, 1, b"\0\0\0\3\1"),
    "WINDOW_UPDATE": window(0, 1),
    "WINDOW_UPDATE of a stream": window(1, 1),
    "empty DATA": data(1, b""),
    "DATA of nothing but padding": frame(DATA, 8, 1, b"\0"),
    "RST_STREAM of nothing": rst(3),
    "unknown frames": frame(77, 0, 0, b""),
    "GOAWAY": frame(7, 0, 0, bytes(8)),
}


def flooded(flood: bytes, times: int) -> Peer:
    peer = server().feed(headers(1, POST), headers(3, GET, end=True))
    answer(peer, 3)
    for _ in range(times):
        peer.feed(flood)
        peer.connection.taken()
    return peer


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_frames_without_use(flood: bytes) -> None:
    assert flooded(flood, MAX_IDLE_FRAMES - 10).failure is None
    assert flooded(flood, MAX_IDLE_FRAMES + 10).failure == Code.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_the_same_frames_at_leisure(flood: bytes) -> None:
    peer = flooded(flood, MAX_IDLE_FRAMES - 10)
    peer.clock.now += IDLE_SPAN
    for _ in range(MAX_IDLE_FRAMES - 10):
        peer.feed(flood)
        peer.connection.taken()
    assert peer.failure is None


def test_frames_without_use_among_useful_ones() -> None:
    """gRPC sends a PING and a WINDOW_UPDATE for what it gets."""
    peer = server().feed(headers(1, POST))
    for _ in range(2 * MAX_IDLE_FRAMES):
        peer.feed(data(1, b"x"), FLOODS["PING"], window(0, 1), window(1, 1))
        peer.connection.consumed(peer.heard.streams[1], 1)
        peer.connection.taken()
    assert peer.failure is None


def test_a_setting_that_touches_every_stream_costs_more() -> None:
    peer = server().feed(*[headers(1 + 2 * index, POST) for index in range(100)])
    peer.feed(settings(*[(4, index) for index in range(1000)]))
    assert peer.failure == Code.ENHANCE_YOUR_CALM


def test_answers_that_are_not_read() -> None:
    """The answers to pings would pile up: useful frames do not pay for them."""
    peer = server().feed(headers(1, POST))
    for _ in range(MAX_UNREAD + 1):
        peer.feed(FLOODS["PING"], data(1, b"x"))
        peer.connection.consumed(peer.heard.streams[1], 1)
    assert peer.failure == Code.ENHANCE_YOUR_CALM
    assert b"not read" in peer.output()


def test_a_header_block_of_endless_frames() -> None:
    peer = server().feed(frame(HEADERS, 0, 1, GET), *[frame(CONTINUATION, 0, 1)] * 15)
    assert peer.failure is None
    assert peer.feed(frame(CONTINUATION, 0, 1)).failure == Code.ENHANCE_YOUR_CALM


def test_a_header_block_of_endless_bytes() -> None:
    """CVE-2024-27316 and others: it is ended before it is kept."""
    piece = b"\x00\x01x\x7f\xff\x7d" + b"y" * 16254
    peer = server().feed(frame(HEADERS, 0, 1, piece), *[frame(CONTINUATION, 0, 1, piece)] * 4)
    assert peer.failure is None
    assert peer.feed(frame(CONTINUATION, 0, 1, piece)).failure == Code.ENHANCE_YOUR_CALM


def test_a_small_block_of_many_bytes() -> None:
    """A field of 4000 bytes in the table, named again and again by one byte."""
    field = b"\x40\x01x\x7f\x80\x1e" + b"y" * 3967
    peer = server().feed(headers(1, GET + field, end=True))
    assert peer.failure is None
    peer.feed(headers(3, GET + b"\xbe" * 17, end=True))
    assert peer.failure is None
    assert peer.told[-1] == (3, "too large")
    peer.feed(headers(5, GET + b"\xbe" * 100, end=True))
    assert peer.failure == Code.ENHANCE_YOUR_CALM


def test_trailers_that_are_too_large() -> None:
    peer = server().feed(headers(1, POST), headers(1, b"\x90" * 101, end=True))
    assert stream_error(1, Code.ENHANCE_YOUR_CALM) in peer.frames()


def test_streams_that_ended_are_forgotten() -> None:
    peer = server()
    for stream in range(1, 20_001, 2):
        peer.feed(headers(stream, GET, end=True))
        answer(peer, stream)
    for stream in range(20_001, 30_001, 2):
        peer.feed(headers(stream, POST))
        peer.connection.reset(peer.heard.streams[stream], Code.NO_ERROR)
    connection = peer.connection
    assert not connection.streams
    assert len(connection._ended) <= 64
    assert len(connection._reset) <= 1024


def test_known_blocks_are_few_and_small() -> None:
    peer = server()
    for index in range(200):
        peer.feed(headers(1 + 2 * index, GET + literal((b"x", b"%d" % index)), end=True))
        answer(peer, 1 + 2 * index)
    peer.feed(headers(1001, GET + literal((b"x", b"y" * 100)) * 6, end=True))
    assert 0 < len(peer.connection._heads) <= 32
    assert all(len(block) <= 512 for block in peer.connection._heads)
