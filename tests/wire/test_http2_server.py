"""A client's frames to a server, in literal bytes: RFC 9113 §3 to §8 and RFC 8441.

Every case runs whole, byte by byte, and cut in two at every place, with one and the same outcome.
"""

import struct
from typing import Any

import pytest

from app.http2.frames import Code
from tests.wire.harness import however_cut
from tests.wire.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    GOAWAY,
    HEADERS,
    NO_SETTINGS,
    OK,
    PADDED,
    PING,
    POST,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    PUSH,
    RST,
    SETTINGS,
    SETTINGS_ACK,
    WINDOW,
    data,
    frame,
    headers,
    literal,
    request,
    result,
    rst,
    server,
    settings,
    split_frames,
    stream_error,
    window,
)

OPENED: Any = (1, "GET", b"/", [], True)
POSTED: Any = (1, "POST", b"/", [], False)


def run(sent: bytes) -> tuple[list[Any], Code | None, bytes]:
    return however_cut(sent, lambda pieces: result(server(), pieces))


def test_a_server_begins_with_its_settings_and_a_larger_window() -> None:
    assert server(b"").greeting == (
        b"\x00\x00\x18\x04\x00\x00\x00\x00\x00"  # SETTINGS
        b"\x00\x04\x00\x04\x00\x00"  # INITIAL_WINDOW_SIZE 256 KiB
        b"\x00\x03\x00\x00\x00\x80"  # MAX_CONCURRENT_STREAMS 128
        b"\x00\x06\x00\x01\x00\x00"  # MAX_HEADER_LIST_SIZE 64 KiB
        b"\x00\x08\x00\x00\x00\x01"  # ENABLE_CONNECT_PROTOCOL 1
        b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x0f\x00\x01"  # WINDOW_UPDATE to 1 MiB
    )


def test_the_preface_and_the_settings_are_acknowledged() -> None:
    told, failure, output = however_cut(PREFACE + NO_SETTINGS, lambda pieces: result(server(b""), pieces))
    assert (told, failure, output) == (["settings"], None, SETTINGS_ACK)


SERVED: list[tuple[str, bytes, list[Any]]] = [
    ("a request without a body", headers(1, GET, end=True), [OPENED]),
    (
        "a body in pieces",
        headers(1, POST) + data(1, b"ab") + data(1, b"c", end=True),
        [POSTED, (1, "data", b"abc"), (1, "end", [])],
    ),
    ("an empty end", headers(1, POST) + data(1, b"", end=True), [POSTED, (1, "end", [])]),
    (
        "trailers (§8.1)",
        headers(1, POST) + data(1, b"a") + headers(1, literal((b"x", b"1")), end=True),
        [POSTED, (1, "data", b"a"), (1, "end", [(b"x", b"1")])],
    ),
    (
        "two requests at once, their bodies mixed",
        headers(1, POST) + headers(3, POST) + data(3, b"b") + data(1, b"a", end=True) + data(3, b"", end=True),
        [POSTED, (3, "POST", b"/", [], False), (3, "data", b"b"), (1, "data", b"a"), (1, "end", []), (3, "end", [])],
    ),
    ("the same block again", headers(1, GET, end=True) + headers(3, GET, end=True), [OPENED, (3, *OPENED[1:])]),
    ("ids may be left out", headers(7, GET, end=True), [(7, *OPENED[1:])]),
    (
        "padding of a HEADERS frame (§6.2)",
        frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\x03" + GET + b"\0\0\0"),
        [OPENED],
    ),
    (
        "a priority, which is of no interest (§5.3.2)",
        frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, b"\0\0\0\3\x10" + GET),
        [OPENED],
    ),
    (
        "padding and priority",
        frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED | PADDED, 1, b"\1\0\0\0\3\x10" + GET + b"\0"),
        [OPENED],
    ),
    (
        "padding of DATA (§6.1)",
        headers(1, POST) + frame(DATA, END_STREAM | PADDED, 1, b"\2ab\0\0"),
        [POSTED, (1, "data", b"ab"), (1, "end", [])],
    ),
    (
        "a block in pieces (§6.10)",
        frame(HEADERS, END_STREAM, 1, GET[:2]) + frame(CONTINUATION, 0, 1) + frame(CONTINUATION, 4, 1, GET[2:]),
        [OPENED],
    ),
    ("an unknown frame (§5.5)", frame(99, 255, 5, b"x") + headers(1, GET, end=True), [OPENED]),
    ("PRIORITY on an idle stream (§6.3)", frame(PRIORITY, 0, 5, b"\0\0\0\1\x10") + headers(1, GET, end=True), [OPENED]),
    ("the reserved bit (§4.1)", frame(HEADERS, 5, 0x80000001, GET), [OPENED]),
    ("unknown settings (§6.5.2)", settings((0xFF, 7)) + headers(1, GET, end=True), ["settings", OPENED]),
    ("a reset by the client (§6.4)", headers(1, POST) + rst(1), [POSTED, (1, "reset", Code.CANCEL)]),
    (
        "frames that crossed nothing: window and priority behind the end (§5.1)",
        headers(1, POST) + rst(1) + window(1, 1) + frame(PRIORITY, 0, 1, b"\0\0\0\5\1") + rst(1),
        [POSTED, (1, "reset", Code.CANCEL)],
    ),
    ("GOAWAY of the client", frame(GOAWAY, 0, 0, struct.pack(">LL", 0, 0) + b"bye"), [
        ("goaway", 0, Code.NO_ERROR, b"bye"),
    ]),
    ("the answer to a PING", frame(PING, ACK, 0, b"12345678"), [("ping", b"12345678")]),
    (
        "cookie crumbs are one field (§8.2.3)",
        headers(1, request((b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"), (b"cookie", b"c")), end=True),
        [(1, "GET", b"/", [(b"cookie", b"a=1; b=2; c"), (b"x", b"y")], True)],
    ),
    (
        "te may say trailers (§8.2.2)",
        headers(1, request((b"te", b"trailers")), end=True),
        [(1, "GET", b"/", [(b"te", b"trailers")], True)],
    ),
    (
        "a value of any other bytes (§8.2.1)",
        headers(1, request((b"x", b"a\tb \xff"),), end=True),
        [(1, "GET", b"/", [(b"x", b"a\tb \xff")], True)],
    ),
    (
        "a body as long as it says",
        headers(1, request((b"content-length", b"2"), method=b"POST")) + data(1, b"a") + data(1, b"b", end=True),
        [(1, "POST", b"/", [(b"content-length", b"2")], False), (1, "data", b"ab"), (1, "end", [])],
    ),
    (
        "CONNECT (§8.5)",
        headers(1, literal((b":method", b"CONNECT"), (b":authority", b"a:1"))),
        [(1, "CONNECT", None, [], False)],
    ),
    (
        "extended CONNECT (RFC 8441 §4)",
        headers(1, request((b":protocol", b"websocket"), method=b"CONNECT")),
        [(1, "CONNECT", b"/", [], False)],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "expected"), [pytest.param(*case[1:], id=case[0]) for case in SERVED])
def test_what_is_served(sent: bytes, expected: list[Any]) -> None:
    told, failure, _ = run(sent)
    assert failure is None
    assert told == expected


FATAL: list[tuple[str, bytes, Code]] = [
    ("a frame larger than allowed (§4.2)", b"\x00\x40\x01\x00\x00\x00\x00\x00\x01", Code.FRAME_SIZE_ERROR),
    ("DATA on stream 0 (§6.1)", data(0, b"a"), Code.PROTOCOL_ERROR),
    ("DATA on an idle stream (§5.1)", data(1, b"a"), Code.PROTOCOL_ERROR),
    ("DATA behind both ends (§5.1)", headers(1, POST) + rst(1) + data(1, b"a"), Code.STREAM_CLOSED),
    ("padding as long as the frame", headers(1, POST) + frame(DATA, PADDED, 1, b"\2ab"[:2]), Code.PROTOCOL_ERROR),
    ("padding without its length", headers(1, POST) + frame(DATA, PADDED, 1), Code.PROTOCOL_ERROR),
    ("HEADERS on stream 0 (§6.2)", headers(0, GET), Code.PROTOCOL_ERROR),
    ("HEADERS on a stream of the server's (§5.1.1)", headers(2, GET), Code.PROTOCOL_ERROR),
    ("ids that go back (§5.1.1)", headers(5, GET, end=True) + headers(3, GET, end=True), Code.PROTOCOL_ERROR),
    ("HEADERS behind a reset (§5.1)", headers(1, POST) + rst(1) + headers(1, GET, end=True), Code.STREAM_CLOSED),
    ("HEADERS with too much padding", frame(HEADERS, 5 | PADDED, 1, b"\x07" + GET), Code.PROTOCOL_ERROR),
    ("HEADERS with a priority cut off", frame(HEADERS, 5 | PRIORITIZED, 1, b"\0\0"), Code.PROTOCOL_ERROR),
    ("a stream that depends on itself", frame(HEADERS, 5 | PRIORITIZED, 1, b"\0\0\0\1\1" + GET), Code.PROTOCOL_ERROR),
    ("PRIORITY on stream 0 (§6.3)", frame(PRIORITY, 0, 0, b"\0\0\0\1\1"), Code.PROTOCOL_ERROR),
    ("RST_STREAM on stream 0 (§6.4)", rst(0), Code.PROTOCOL_ERROR),
    ("RST_STREAM on an idle stream (§6.4)", rst(1), Code.PROTOCOL_ERROR),
    ("RST_STREAM of another size", headers(1, POST) + frame(RST, 0, 1, b"\0\0\0"), Code.FRAME_SIZE_ERROR),
    ("SETTINGS on a stream (§6.5)", frame(SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    ("an acknowledgement with a payload", frame(SETTINGS, ACK, 0, b"\0" * 6), Code.FRAME_SIZE_ERROR),
    ("SETTINGS of another size", frame(SETTINGS, 0, 0, b"\0" * 5), Code.FRAME_SIZE_ERROR),
    ("ENABLE_PUSH 2 (§6.5.2)", settings((2, 2)), Code.PROTOCOL_ERROR),
    ("a window of 2^31", settings((4, 2**31)), Code.FLOW_CONTROL_ERROR),
    ("a frame size below 2^14", settings((5, 2**14 - 1)), Code.PROTOCOL_ERROR),
    ("a frame size of 2^24", settings((5, 2**24)), Code.PROTOCOL_ERROR),
    ("ENABLE_CONNECT_PROTOCOL 2 (RFC 8441 §3)", settings((8, 2)), Code.PROTOCOL_ERROR),
    ("ENABLE_CONNECT_PROTOCOL taken back", settings((8, 1), (8, 0)), Code.PROTOCOL_ERROR),
    ("PUSH_PROMISE of a client (§8.4)", frame(PUSH, 4, 1, b"\0\0\0\2" + GET), Code.PROTOCOL_ERROR),
    ("PING on a stream (§6.7)", frame(PING, 0, 1, b"12345678"), Code.PROTOCOL_ERROR),
    ("PING of another size", frame(PING, 0, 0, b"1234567"), Code.FRAME_SIZE_ERROR),
    ("GOAWAY on a stream (§6.8)", frame(GOAWAY, 0, 1, b"\0" * 8), Code.PROTOCOL_ERROR),
    ("GOAWAY that is too short", frame(GOAWAY, 0, 0, b"\0" * 7), Code.FRAME_SIZE_ERROR),
    ("WINDOW_UPDATE of nothing (§6.9)", window(0, 0), Code.PROTOCOL_ERROR),
    ("WINDOW_UPDATE of another size", frame(WINDOW, 0, 0, b"\0\0\1"), Code.FRAME_SIZE_ERROR),
    ("WINDOW_UPDATE on an idle stream", window(1, 1), Code.PROTOCOL_ERROR),
    ("a window beyond 2^31-1 (§6.9.1)", window(0, 2**31 - 1), Code.FLOW_CONTROL_ERROR),
    (
        "a stream's window beyond 2^31-1 by SETTINGS (§6.9.2)",
        headers(1, POST) + window(1, 2**31 - 1 - 65535) + settings((4, 65536)),
        Code.FLOW_CONTROL_ERROR,
    ),
    ("CONTINUATION of nothing (§6.10)", frame(CONTINUATION, 4, 1, GET), Code.PROTOCOL_ERROR),
    (
        "CONTINUATION behind a whole block",
        headers(1, GET) + frame(CONTINUATION, 4, 1, b""),
        Code.PROTOCOL_ERROR,
    ),
    (
        "CONTINUATION of another stream",
        frame(HEADERS, 1, 1, GET[:2]) + frame(CONTINUATION, 4, 3, GET[2:]),
        Code.PROTOCOL_ERROR,
    ),
    ("another frame within a block", frame(HEADERS, 1, 1, GET) + frame(PING, 0, 0, b"12345678"), Code.PROTOCOL_ERROR),
    ("an unknown frame within a block", frame(HEADERS, 1, 1, GET) + frame(99, 0, 1), Code.PROTOCOL_ERROR),
    # RFC 7541
    ("index 0 (§6.1)", headers(1, b"\x80", end=True), Code.COMPRESSION_ERROR),
    ("an index beyond the table (§2.3.3)", headers(1, b"\xbe", end=True), Code.COMPRESSION_ERROR),
    ("a literal's index beyond the table", headers(1, b"\x7e\x00", end=True), Code.COMPRESSION_ERROR),
    ("a string that is cut off (§5.2)", headers(1, b"\x00\x01a\x05b", end=True), Code.COMPRESSION_ERROR),
    ("an integer that is cut off (§5.1)", headers(1, b"\xff\x80", end=True), Code.COMPRESSION_ERROR),
    ("an integer that never ends", headers(1, b"\xff" + b"\x80" * 9 + b"\0", end=True), Code.COMPRESSION_ERROR),
    ("a table larger than allowed (§6.3)", headers(1, b"\x3f\xe2\x1f" + GET, end=True), Code.COMPRESSION_ERROR),
    ("a table's size behind a field (§4.2)", headers(1, GET + b"\x20", end=True), Code.COMPRESSION_ERROR),
    ("Huffman code with EOS (§5.2)", headers(1, b"\x00\x84\xff\xff\xff\xff\x00", end=True), Code.COMPRESSION_ERROR),
    ("Huffman padding of 8 bits", headers(1, b"\x00\x82\x1f\xff\x00", end=True), Code.COMPRESSION_ERROR),
    ("Huffman padding with zeros", headers(1, b"\x00\x81\x18\x00", end=True), Code.COMPRESSION_ERROR),
]


@pytest.mark.parametrize(("sent", "code"), [pytest.param(*case[1:], id=case[0]) for case in FATAL])
def test_what_ends_the_connection(sent: bytes, code: Code) -> None:
    _, failure, output = run(sent)
    assert failure == code
    kind, _, stream, payload = split_frames(output)[-1]
    assert (kind, stream) == (GOAWAY, 0)
    assert struct.unpack_from(">L", payload, 4)[0] == code


def field(name: bytes, value: bytes) -> bytes:
    return headers(1, request((name, value)), end=True)


M, S, P, A = (b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")


def pseudo(*fields: tuple[bytes, bytes]) -> bytes:
    return headers(1, literal(*fields), end=True)


#: Malformed requests (§8.1.1): the stream is reset with PROTOCOL_ERROR, and nobody hears of it.
MALFORMED: list[tuple[str, bytes]] = [
    ("an upper-case name (§8.2)", field(b"X", b"1")),
    ("an empty name", field(b"", b"1")),
    ("a blank in a name (§8.2.1)", field(b"a b", b"1")),
    ("a colon in a name", field(b"a:", b"1")),
    ("a byte beyond ASCII in a name", field(b"\xe4", b"1")),
    ("a null in a name", field(b"a\0", b"1")),
    ("a null in a value", field(b"x", b"a\0b")),
    ("a line feed in a value", field(b"x", b"a\nb")),
    ("a carriage return in a value", field(b"x", b"a\rb")),
    ("a blank before a value", field(b"x", b" a")),
    ("a blank behind a value", field(b"x", b"a ")),
    ("a tab behind a value", field(b"x", b"a\t")),
    ("connection (§8.2.2)", field(b"connection", b"close")),
    ("proxy-connection", field(b"proxy-connection", b"close")),
    ("keep-alive", field(b"keep-alive", b"1")),
    ("transfer-encoding", field(b"transfer-encoding", b"chunked")),
    ("upgrade", field(b"upgrade", b"websocket")),
    ("te other than trailers", field(b"te", b"gzip")),
    ("an unknown pseudo-header field (§8.3)", field(b":x", b"1")),
    ("a response's pseudo-header field", field(b":status", b"200")),
    ("a pseudo-header field behind a field", pseudo(M, S, (b"x", b"1"), P, A)),
    ("a pseudo-header field twice", pseudo(M, S, P, P, A)),
    ("no :method (§8.3.1)", pseudo(S, P, A)),
    ("no :scheme", pseudo(M, P, A)),
    ("no :path", pseudo(M, S, A)),
    ("an empty :path", pseudo(M, S, (b":path", b""), A)),
    ("an empty :method", pseudo((b":method", b""), S, P, A)),
    ("a :method that is no token", pseudo((b":method", b"G T"), S, P, A)),
    ("CONNECT with :path (§8.5)", pseudo((b":method", b"CONNECT"), P, A)),
    ("CONNECT with :scheme", pseudo((b":method", b"CONNECT"), S, A)),
    ("CONNECT without :authority", pseudo((b":method", b"CONNECT"))),
    (":protocol without CONNECT (RFC 8441 §4)", pseudo(M, S, P, A, (b":protocol", b"websocket"))),
    (
        ":protocol without :path",
        pseudo((b":method", b"CONNECT"), S, A, (b":protocol", b"websocket")),
    ),
    ("a Content-Length that is no number", field(b"content-length", b"1a")),
    ("a Content-Length with a sign", field(b"content-length", b"+1")),
    ("a Content-Length twice", headers(1, request((b"content-length", b"0"), (b"content-length", b"0")), end=True)),
    ("a Content-Length and no body (§8.1.1)", field(b"content-length", b"1")),
]


@pytest.mark.parametrize("sent", [pytest.param(sent, id=name) for name, sent in MALFORMED])
def test_a_malformed_request_resets_its_stream(sent: bytes) -> None:
    told, failure, output = run(sent + headers(3, GET, end=True))
    assert failure is None
    assert [what for what in told if what[0] != "malformed"] == [(3, *OPENED[1:])]
    assert len(told) == 2, "it was told of"
    assert split_frames(output) == [stream_error(1, Code.PROTOCOL_ERROR)]


LENGTH_2 = headers(1, request((b"content-length", b"2"), method=b"POST"))

#: What resets a stream whose request has begun.
BROKEN: list[tuple[str, bytes, Code]] = [
    ("more than Content-Length says (§8.1.1)", LENGTH_2 + data(1, b"abc"), Code.PROTOCOL_ERROR),
    ("less than Content-Length says", LENGTH_2 + data(1, b"a", end=True), Code.PROTOCOL_ERROR),
    ("less than that before trailers", LENGTH_2 + headers(1, literal((b"x", b"1")), end=True), Code.PROTOCOL_ERROR),
    ("trailers without an end (§8.1)", headers(1, POST) + headers(1, literal((b"x", b"1"))), Code.PROTOCOL_ERROR),
    ("trailers with a pseudo-header field", headers(1, POST) + headers(1, b"\x84", end=True), Code.PROTOCOL_ERROR),
    ("DATA behind the end (§5.1)", headers(1, GET, end=True) + data(1, b"a"), Code.STREAM_CLOSED),
    ("HEADERS behind the end (§5.1)", headers(1, GET, end=True) + headers(1, GET, end=True), Code.STREAM_CLOSED),
    ("WINDOW_UPDATE of nothing (§6.9)", headers(1, POST) + window(1, 0), Code.PROTOCOL_ERROR),
    ("a window beyond 2^31-1", headers(1, POST) + window(1, 2**31 - 1), Code.FLOW_CONTROL_ERROR),
    ("PRIORITY of another size (§6.3)", headers(1, POST) + frame(PRIORITY, 0, 1, b"\0\0\0\5"), Code.FRAME_SIZE_ERROR),
    ("PRIORITY on itself", headers(1, POST) + frame(PRIORITY, 0, 1, b"\0\0\0\1\1"), Code.PROTOCOL_ERROR),
]


@pytest.mark.parametrize(("sent", "code"), [pytest.param(*case[1:], id=case[0]) for case in BROKEN])
def test_what_resets_a_stream(sent: bytes, code: Code) -> None:
    told, failure, output = run(sent)
    assert failure is None
    assert told[-1] == (1, "reset", code)
    assert split_frames(output) == [stream_error(1, code)]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET / HTTP/1.1\r\n", id="HTTP/1.1"),
        pytest.param(PREFACE[:16] + b"XX\r\n\r\n\r\n", id="almost a preface"),
        pytest.param(PREFACE + headers(1, GET, end=True), id="no SETTINGS first"),
        pytest.param(PREFACE + SETTINGS_ACK, id="only an acknowledgement"),
    ],
)
def test_another_beginning(sent: bytes) -> None:
    told, failure, _ = however_cut(sent, lambda pieces: result(server(b""), pieces))
    assert (told, failure) == ([], Code.PROTOCOL_ERROR)


def test_frames_on_a_stream_that_we_reset_may_still_come() -> None:
    """RFC 9113 §5.1: they were sent before the peer knew."""
    peer = server().feed(headers(1, POST))
    peer.connection.reset(peer.heard.streams[1], Code.CANCEL)
    assert peer.frames() == [stream_error(1, Code.CANCEL)]
    assert peer.told == [POSTED]
    peer.feed(data(1, b"x"), headers(1, b"\x40\x01x\x01y", end=True), headers(3, GET + b"\xbe", end=True))
    assert peer.failure is None
    assert peer.told == [(3, "GET", b"/", [(b"x", b"y")], True)], "the table is kept up"


def test_what_an_indexed_block_means_changes_with_the_table() -> None:
    """RFC 7541 §2.3.3: the block is the same, its fields are not."""
    peer = server().feed(headers(1, GET + b"\x40\x01x\x01a", end=True), headers(3, GET + b"\xbe", end=True))
    peer.feed(headers(5, GET + b"\xbe", end=True), headers(7, GET + b"\x40\x01x\x01b", end=True))
    peer.feed(headers(9, GET + b"\xbe", end=True))
    assert [told[3] for told in peer.told] == [[(b"x", value)] for value in (b"a", b"a", b"a", b"b", b"b")]


def test_a_request_with_more_fields_than_are_served_is_told_as_such() -> None:
    fields = [(b"x", b"%d" % index) for index in range(101)]
    assert server().feed(headers(1, request(*fields[:100]), end=True)).told[0][:2] == (1, "GET")
    assert server().feed(headers(1, request(*fields), end=True)).told == [(1, "too large")]


def test_a_response_head_body_and_end() -> None:
    peer = server().feed(headers(1, GET, end=True))
    stream = peer.heard.streams[1]
    peer.connection.send_head(stream, 103, [(b"link", b"</a>")])
    peer.connection.send_head(stream, 200, [(b"content-length", b"2"), (b"x-y", b"z"), (b"set-cookie", b"a=b")])
    peer.connection.send_data(stream, b"ok", end=True)
    assert peer.output() == (
        b"\x00\x00\x0c\x01\x04\x00\x00\x00\x01\x08\x03103\x0f\x1e\x04</a>"
        b"\x00\x00\x12\x01\x04\x00\x00\x00\x01\x88\x0f\x0d\x012\x00\x03x-y\x01z\x1f\x28\x03a=b"
        b"\x00\x00\x02\x00\x01\x00\x00\x00\x01ok"
    )
    assert not peer.connection.streams


def test_trailers_end_a_response() -> None:
    peer = server().feed(headers(1, GET, end=True))
    stream = peer.heard.streams[1]
    peer.connection.send_head(stream, 200, [])
    peer.connection.send_trailers(stream, [(b"grpc-status", b"0")])
    assert peer.output() == headers(1, OK) + headers(1, b"\x00\x0bgrpc-status\x010", end=True)
    assert not peer.connection.streams


def test_a_large_head_is_cut_into_frames() -> None:
    peer = server().feed(headers(1, GET, end=True))
    peer.connection.send_head(peer.heard.streams[1], 200, [(b"x", b"y" * 40_000)], end=True)
    frames = peer.frames()
    assert [(kind, flags, len(payload)) for kind, flags, _, payload in frames] == [
        (HEADERS, END_STREAM, 16384), (CONTINUATION, 0, 16384), (CONTINUATION, END_HEADERS, 7240),
    ]  # fmt: skip


@pytest.mark.parametrize("bad", [(b"x", b"a\r\nb"), (b"x", b"a\0"), (b"X", b"1"), (b"", b"1"), (b"a b", b"1")])
def test_no_field_that_could_not_be_is_sent(bad: tuple[bytes, bytes]) -> None:
    peer = server().feed(headers(1, GET, end=True))
    with pytest.raises(ValueError, match="not a field"):
        peer.connection.send_head(peer.heard.streams[1], 200, [bad])
    assert peer.output() == b""


def test_a_ping_is_answered_and_asked() -> None:
    peer = server().feed(frame(PING, 0, 0, b"12345678"))
    assert peer.output() == frame(PING, ACK, 0, b"12345678")
    peer.connection.ping(b"abcdefgh")
    assert peer.output() == frame(PING, 0, 0, b"abcdefgh")


def test_draining_names_the_last_stream_in_two_steps() -> None:
    """RFC 9113 §6.8: requests that were on their way are still served."""
    peer = server().feed(headers(1, GET, end=True))
    peer.connection.drain()
    assert peer.output() == frame(GOAWAY, 0, 0, b"\x7f\xff\xff\xff\0\0\0\0") + frame(PING, 0, 0, b"draining")
    peer.feed(headers(3, GET, end=True), frame(PING, ACK, 0, b"draining"))
    assert peer.told == [OPENED, (3, *OPENED[1:]), ("ping", b"draining")]
    peer.connection.goaway()
    assert peer.output() == frame(GOAWAY, 0, 0, b"\0\0\0\3\0\0\0\0")
    peer.feed(headers(5, GET, end=True))
    assert (peer.told, peer.frames()) == ([], [stream_error(5, Code.REFUSED_STREAM)])
