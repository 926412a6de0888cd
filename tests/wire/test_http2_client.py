"""A server's frames to a client, in literal bytes.

Every case runs whole, byte by byte, and cut in two at every place, with one and the same outcome.
"""

import struct
from typing import Any

import pytest

from app.http2.frames import Code
from tests.wire.harness import however_cut
from tests.wire.http2 import (
    DATA,
    END_HEADERS,
    GOAWAY,
    NO_SETTINGS,
    OK,
    PADDED,
    PREFACE,
    PUSH,
    Peer,
    client,
    data,
    frame,
    headers,
    literal,
    result,
    rst,
    settings,
    split_frames,
    stream_error,
    window,
)


def asked(method: bytes = b"GET", *, end: bool = True) -> Peer:
    """A client that has sent a request on stream 1."""
    peer = client()
    peer.heard.streams[1] = peer.connection.send_request(method, b"http", b"a", b"/", [], end=end)
    peer.output()
    return peer


def run(sent: bytes, method: bytes = b"GET", *, end: bool = True) -> tuple[list[Any], Code | None, bytes]:
    return however_cut(sent, lambda pieces: result(asked(method, end=end), pieces))


def test_a_client_begins_with_the_preface_its_settings_and_a_larger_window() -> None:
    assert (
        client(b"").greeting
        == (
            PREFACE + b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"
            b"\x00\x04\x00\x04\x00\x00"  # INITIAL_WINDOW_SIZE 256 KiB
            b"\x00\x02\x00\x00\x00\x00"  # ENABLE_PUSH 0
            b"\x00\x06\x00\x04\x00\x00"  # MAX_HEADER_LIST_SIZE 256 KiB
            b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x0f\x00\x01"
        )
    )


def test_a_request_may_be_sent_before_the_server_has_said_anything() -> None:
    peer = client(b"")
    peer.connection.send_request(b"GET", b"http", b"a", b"/x", [(b"accept", b"*/*")], end=True)
    assert peer.output() == b"\x00\x00\x0f\x01\x05\x00\x00\x00\x01\x82\x86\x01\x01a\x04\x02/x\x0f\x04\x03*/*"


def test_a_request_with_a_body_and_trailers() -> None:
    peer = client()
    stream = peer.connection.send_request(b"POST", b"https", b"a", b"/", [])
    peer.connection.send_data(stream, b"ab")
    peer.connection.send_trailers(stream, [(b"x", b"1")])
    assert peer.output() == (
        headers(1, b"\x83\x87\x01\x01a\x84") + data(1, b"ab") + headers(1, literal((b"x", b"1")), end=True)
    )


def test_an_extended_connect() -> None:
    peer = client(settings((8, 1)))
    assert peer.connection.extended_connect
    peer.connection.send_request(b"CONNECT", b"http", b"a", b"/", [], protocol=b"websocket")
    block = b"\x02\x07CONNECT\x86\x01\x01a\x84\x00\x09:protocol\x09websocket"
    assert peer.output() == headers(1, block)


ANSWERED: Any = (1, 200, [], False)

ANSWERS: list[tuple[str, bytes, list[Any]]] = [
    ("no body", headers(1, OK, end=True), [(1, 200, [], True)]),
    ("a body", headers(1, OK) + data(1, b"ab") + data(1, b"c", end=True), [
        ANSWERED, (1, "data", b"abc"), (1, "end", []),
    ]),
    ("padding", headers(1, OK) + frame(DATA, PADDED | 1, 1, b"\1a\0"), [ANSWERED, (1, "data", b"a"), (1, "end", [])]),
    (
        "trailers",
        headers(1, OK) + data(1, b"a") + headers(1, literal((b"grpc-status", b"0")), end=True),
        [ANSWERED, (1, "data", b"a"), (1, "end", [(b"grpc-status", b"0")])],
    ),
    (
        "interim responses (§8.1)",
        headers(1, literal((b":status", b"100"))) + headers(1, literal((b":status", b"103"), (b"link", b"x")))
        + headers(1, OK, end=True),
        [(1, "interim", 100, []), (1, "interim", 103, [(b"link", b"x")]), (1, 200, [], True)],
    ),
    ("several cookies stay several", headers(1, OK + literal((b"set-cookie", b"a"), (b"set-cookie", b"b")), end=True), [
        (1, 200, [(b"set-cookie", b"a"), (b"set-cookie", b"b")], True),
    ]),
    ("a reset", rst(1, 7), [(1, "reset", Code.REFUSED_STREAM)]),
    ("a reset within the body", headers(1, OK) + rst(1, 2), [ANSWERED, (1, "reset", Code.INTERNAL_ERROR)]),
    (
        "GOAWAY that leaves our stream (§6.8)",
        frame(GOAWAY, 0, 0, struct.pack(">LL", 1, 0)) + headers(1, OK, end=True),
        [("goaway", 1, Code.NO_ERROR, b""), (1, 200, [], True)],
    ),
    (
        "GOAWAY that leaves it out",
        frame(GOAWAY, 0, 0, struct.pack(">LL", 0, 11)),
        [(1, "reset", Code.REFUSED_STREAM), ("goaway", 0, Code.ENHANCE_YOUR_CALM, b"")],
    ),
    ("304 with a length and no body", headers(1, b"\x8b" + literal((b"content-length", b"9")), end=True), [
        (1, 304, [(b"content-length", b"9")], True),
    ]),
    ("204 and an empty end", headers(1, b"\x89") + data(1, b"", end=True), [(1, 204, [], False), (1, "end", [])]),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "expected"), [pytest.param(*case[1:], id=case[0]) for case in ANSWERS])
def test_answers(sent: bytes, expected: list[Any]) -> None:
    told, failure, _ = run(sent)
    assert failure is None
    assert told == expected


def test_a_response_to_head_has_a_length_and_no_body() -> None:
    head = headers(1, OK + literal((b"content-length", b"5")), end=True)
    assert run(head, b"HEAD") == ([(1, 200, [(b"content-length", b"5")], True)], None, b"")


def test_an_answer_may_come_before_the_request_is_complete() -> None:
    """RFC 9113 §8.1: the server then says with NO_ERROR that the rest is of no interest."""
    told, failure, _ = run(headers(1, OK, end=True) + rst(1, 0), b"POST", end=False)
    assert (told, failure) == ([(1, 200, [], True), (1, "reset", Code.NO_ERROR)], None)


LENGTH_2 = headers(1, OK + literal((b"content-length", b"2")))

BROKEN: list[tuple[str, bytes, Code]] = [
    ("no :status (§8.3.2)", headers(1, literal((b"x", b"1"))), Code.PROTOCOL_ERROR),
    ("a :status of two digits", headers(1, literal((b":status", b"20"))), Code.PROTOCOL_ERROR),
    ("a :status that is no number", headers(1, literal((b":status", b"2x0"))), Code.PROTOCOL_ERROR),
    ("a :status of 600", headers(1, literal((b":status", b"600"))), Code.PROTOCOL_ERROR),
    (":status twice", headers(1, OK + OK), Code.PROTOCOL_ERROR),
    (":status behind a field", headers(1, literal((b"x", b"1")) + OK), Code.PROTOCOL_ERROR),
    ("101 (§8.6)", headers(1, literal((b":status", b"101"))), Code.PROTOCOL_ERROR),
    ("a request's pseudo-header field", headers(1, OK + b"\x84"), Code.PROTOCOL_ERROR),
    ("an interim response that ends", headers(1, literal((b":status", b"100")), end=True), Code.PROTOCOL_ERROR),
    ("a body before the head", data(1, b"a"), Code.PROTOCOL_ERROR),
    ("a body behind 204", headers(1, b"\x89") + data(1, b"a"), Code.PROTOCOL_ERROR),
    ("more than Content-Length says", LENGTH_2 + data(1, b"abc"), Code.PROTOCOL_ERROR),
    ("less than Content-Length says", LENGTH_2 + data(1, b"a", end=True), Code.PROTOCOL_ERROR),
    ("nothing of Content-Length", headers(1, OK + literal((b"content-length", b"2")), end=True), Code.PROTOCOL_ERROR),
    ("an upper-case name", headers(1, OK + literal((b"X", b"1"))), Code.PROTOCOL_ERROR),
    ("a field of the connection", headers(1, OK + literal((b"connection", b"close"))), Code.PROTOCOL_ERROR),
    ("a line break in a value", headers(1, OK + literal((b"x", b"a\r\nb"))), Code.PROTOCOL_ERROR),
    ("trailers without an end", headers(1, OK) + headers(1, literal((b"x", b"1"))), Code.PROTOCOL_ERROR),
    ("1001 fields", headers(1, OK + b"\x90" * 1001), Code.ENHANCE_YOUR_CALM),
    ("33 interim responses", headers(1, literal((b":status", b"103"))) * 33, Code.ENHANCE_YOUR_CALM),
]


@pytest.mark.parametrize(("sent", "code"), [pytest.param(*case[1:], id=case[0]) for case in BROKEN])
def test_a_broken_answer_resets_its_stream(sent: bytes, code: Code) -> None:
    told, failure, output = result(asked(), [sent])
    assert failure is None
    assert told[-1] == (1, "reset", code)
    assert split_frames(output) == [stream_error(1, code)]


FATAL: list[tuple[str, bytes, Code]] = [
    ("a push, which was not allowed (§8.4)", frame(PUSH, END_HEADERS, 1, b"\0\0\0\2" + OK), Code.PROTOCOL_ERROR),
    ("a stream that nobody opened", headers(3, OK, end=True), Code.PROTOCOL_ERROR),
    ("a stream of the server's", headers(2, OK, end=True), Code.PROTOCOL_ERROR),
    ("DATA on a stream that nobody opened", data(3, b"a"), Code.PROTOCOL_ERROR),
    ("RST_STREAM on one", rst(3), Code.PROTOCOL_ERROR),
    ("WINDOW_UPDATE on one", window(3, 1), Code.PROTOCOL_ERROR),
    ("HEADERS behind both ends", headers(1, OK, end=True) * 2, Code.STREAM_CLOSED),
    ("a server that allows pushes (§6.5.2)", settings((2, 1)), Code.PROTOCOL_ERROR),
    ("a header list without end", headers(1, OK + b"\x40\x01x\x7f\x80\x1e" + b"y" * 3967 + b"\xbe" * 300),
     Code.ENHANCE_YOUR_CALM),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "code"), [pytest.param(*case[1:], id=case[0]) for case in FATAL])
def test_what_ends_the_connection(sent: bytes, code: Code) -> None:
    _, failure, output = result(asked(), [sent])
    assert failure == code
    assert split_frames(output)[-1][:1] == (GOAWAY,)


def test_streams_are_numbered_and_counted() -> None:
    peer = client(settings((3, 2)))
    first = peer.connection.send_request(b"GET", b"http", b"a", b"/", [], end=True)
    assert (first.id, peer.connection.free) == (1, 1)
    assert peer.connection.send_request(b"GET", b"http", b"a", b"/", [], end=True).id == 3
    assert peer.connection.free == 0
    peer.feed(headers(1, OK, end=True))
    assert peer.connection.free == 1


def test_after_goaway_there_is_no_free_stream() -> None:
    peer = asked().feed(frame(GOAWAY, 0, 0, struct.pack(">LL", 1, 0)))
    assert peer.connection.exhausted
    assert peer.connection.free == 0


def test_frames_on_a_stream_that_we_reset_may_still_come() -> None:
    peer = asked()
    peer.connection.reset(peer.heard.streams[1], Code.CANCEL)
    peer.output()
    peer.feed(headers(1, OK + b"\x40\x01x\x01y"), data(1, b"abc", end=True))
    assert (peer.told, peer.failure) == ([], None)
    peer.connection.send_request(b"GET", b"http", b"a", b"/", [], end=True)
    assert peer.feed(headers(3, OK + b"\xbe", end=True)).told == [(3, 200, [(b"x", b"y")], True)]


def test_the_same_block_again() -> None:
    peer = asked().feed(headers(1, OK + literal((b"x", b"y")), end=True))
    peer.connection.send_request(b"GET", b"http", b"a", b"/", [], end=True)
    peer.feed(headers(3, OK + literal((b"x", b"y")), end=True))
    assert peer.told == [(1, 200, [(b"x", b"y")], True), (3, 200, [(b"x", b"y")], True)]


def test_a_server_says_settings_first() -> None:
    peer = client(b"").feed(headers(1, OK, end=True))
    assert peer.failure == Code.PROTOCOL_ERROR
    assert client(b"").feed(NO_SETTINGS).failure is None
