"""The codec of a backend's responses, by itself: from bytes to what its sink is told.

Every case runs whole, byte by byte, and cut in two at every place, with one and the same outcome, over the codec in use
and over one on another parser: what two of them agree on is less likely to be a mistake of either.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from app.upstream.codec import MAX_FIELDS, MAX_HEAD, HttptoolsCodec, ProtocolError, ResponseCodec, ResponseSink
from app.upstream.fields import Fields
from tests.wire.harness import cuts, however_cut
from tests.wire.zttp_codec import ZttpCodec

Codecs = Callable[[ResponseSink], ResponseCodec]
CODECS: list[Codecs] = [HttptoolsCodec, ZttpCodec]


@pytest.fixture(params=CODECS, ids=lambda codec: codec.__name__)
def codecs(request: pytest.FixtureRequest) -> Codecs:
    made: Codecs = request.param
    return made


#: What zttp reads in another way, and no codec around it can change. Each has a test at the end of this module.
ZTTPS_OWN = frozenset(
    {
        "empty lines before it (§2.2)",
        "a bare carriage return as the end of the head",
        "the coding 'chunked\\t'",
        "the coding 'chunked \\t'",
        "a chunk's size '3;'",
        "a chunk's size '3;a b'",
    }
)


def by_codec(cases: Sequence[tuple[Any, ...]]) -> Any:
    """A test's parameters: each of ``cases``, whose first item is its name, over each codec."""
    return [
        pytest.param(codec, *rest, id=f"{codec.__name__}-{name}")
        for codec in CODECS
        for name, *rest in cases
        if codec is not ZttpCodec or name not in ZTTPS_OWN
    ]


class Heard:
    """A sink that writes down what it is told, pieces of a body put together; ``error`` is what ended the reading."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.error = False

    def on_informational(self, status: int, fields: Fields) -> None:
        self.told.append(("interim", status, list(fields)))

    def on_head(self, status: int, fields: Fields) -> None:
        self.told.append((status, list(fields)))

    def on_switch(self, fields: Fields, behind: bytes) -> None:
        self.told.append(("switch", list(fields), behind))

    def on_data(self, data: bytes) -> None:
        last = self.told[-1]
        if isinstance(last, bytes):
            self.told[-1] = last + data
        else:
            self.told.append(data)

    def on_end(self, trailers: Fields, *, reusable: bool) -> None:
        self.told.append(("end", list(trailers), reusable))


def heard(
    codecs: Codecs, pieces: Sequence[bytes], method: str, *, eof: bool = False, upgrade: bool = False
) -> tuple[list[object], bool]:
    sink = Heard()
    codec = codecs(sink)
    codec.expect(method, upgrade=upgrade)
    try:
        for piece in pieces:
            codec.feed(piece)
        if eof:
            codec.eof()
    except ProtocolError:
        return sink.told, True
    return sink.told, False


def end(*trailers: tuple[bytes, bytes], reusable: bool = True) -> object:
    return "end", list(trailers), reusable


def field(name: str, value: str) -> tuple[bytes, bytes]:
    return name.encode(), value.encode()


CHUNKED = field("transfer-encoding", "chunked")
OK = b"HTTP/1.1 200 OK\r\n"
OK_CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"

READ: list[tuple[str, str, bytes, list[object]]] = [
    (
        "a length",
        "GET",
        OK + b"Content-Length: 5\r\n\r\nhello",
        [(200, [field("content-length", "5")]), b"hello", end()],
    ),
    (
        "a length with zeros before it",
        "GET",
        OK + b"Content-Length: 005\r\n\r\nhello",
        [(200, [field("content-length", "005")]), b"hello", end()],
    ),
    ("length 0", "GET", EMPTY, [(200, [field("content-length", "0")]), end()]),
    (
        "chunks (RFC 9112 §7.1)",
        "GET",
        OK_CHUNKED + b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
        [(200, [CHUNKED]), b"abc0123456789", end()],
    ),
    ("no chunk but the last", "GET", OK_CHUNKED + b"0\r\n\r\n", [(200, [CHUNKED]), end()]),
    (
        "the coding in capitals and blanks",
        "GET",
        OK + b"Transfer-Encoding:\t CHUNKED  \r\n\r\n0\r\n\r\n",
        [(200, [field("transfer-encoding", "CHUNKED")]), end()],
    ),
    (
        "extensions are passed over (§7.1.1)",
        "GET",
        OK_CHUNKED + b'3;a;b=c;d="e"\r\nabc\r\n0;x\r\n\r\n',
        [(200, [CHUNKED]), b"abc", end()],
    ),
    (
        "trailers are kept apart (§7.1.2)",
        "GET",
        OK_CHUNKED + b"1\r\na\r\n0\r\nX-Sum: 1\r\nX-Sum: 2 \r\n\r\n",
        [(200, [CHUNKED]), b"a", end(field("x-sum", "1"), field("x-sum", "2"))],
    ),
    (
        "line breaks in a chunk's data",
        "GET",
        OK_CHUNKED + b"4\r\n\r\n\r\n\r\n0\r\n\r\n",
        [(200, [CHUNKED]), b"\r\n\r\n", end()],
    ),
    (
        "a body that looks like a response",
        "GET",
        OK + b"Content-Length: 19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        [(200, [field("content-length", "19")]), b"HTTP/1.1 200 OK\r\n\r\n", end()],
    ),
    # Heads
    (
        "no reason phrase (§4)",
        "GET",
        b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
        [(200, [field("content-length", "0")]), end()],
    ),
    (
        "not even the blank before it",
        "GET",
        b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        [(200, [field("content-length", "0")]), end()],
    ),
    (
        "a reason phrase of many words",
        "GET",
        b"HTTP/1.1 404 None \xe2\x82\xac here\r\nContent-Length: 0\r\n\r\n",
        [(404, [field("content-length", "0")]), end()],
    ),
    (
        "a status that nobody knows",
        "GET",
        b"HTTP/1.1 599 X\r\nContent-Length: 0\r\n\r\n",
        [(599, [field("content-length", "0")]), end()],
    ),
    (
        "blanks around a value",
        "GET",
        OK + b"X: \t a b \t\r\nY:\r\nContent-Length: 0\r\n\r\n",
        [(200, [field("x", "a b"), field("y", ""), field("content-length", "0")]), end()],
    ),
    (
        "a field of the same name twice",
        "GET",
        OK + b"Set-Cookie: a\r\nX: 1\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
        [
            (200, [field("set-cookie", "a"), field("x", "1"), field("set-cookie", "b"), field("content-length", "0")]),
            end(),
        ],
    ),
    (
        "bytes beyond ASCII in a value",
        "GET",
        OK + b"X: \xff\r\nContent-Length: 0\r\n\r\n",
        [(200, [(b"x", b"\xff"), field("content-length", "0")]), end()],
    ),
    ("empty lines before it (§2.2)", "GET", b"\r\n\r\n" + EMPTY, [(200, [field("content-length", "0")]), end()]),
    (
        "an upgrade that is only offered (RFC 9110 §7.8)",
        "GET",
        OK + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n",
        [(200, [field("connection", "upgrade"), field("upgrade", "h2c"), field("content-length", "0")]), end()],
    ),
    # No body: RFC 9112 §6.3
    ("HEAD with a length", "HEAD", OK + b"Content-Length: 5\r\n\r\n", [(200, [field("content-length", "5")]), end()]),
    ("HEAD with chunks", "HEAD", OK_CHUNKED, [(200, [CHUNKED]), end()]),
    ("HEAD with length 0", "HEAD", EMPTY, [(200, [field("content-length", "0")]), end()]),
    ("204", "GET", b"HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n", [(204, [field("x", "1")]), end()]),
    (
        "204 with a length that means nothing",
        "GET",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        [(204, [field("content-length", "5")]), end()],
    ),
    (
        "304 with the length of what it does not send",
        "GET",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        [(304, [field("content-length", "5")]), end()],
    ),
    (
        "304 with the coding of what it does not send",
        "GET",
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        [(304, [CHUNKED]), end()],
    ),
    (
        "304 to HEAD",
        "HEAD",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        [(304, [field("content-length", "5")]), end()],
    ),
    # The last on its connection: RFC 9112 §9.3
    (
        "close",
        "GET",
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi",
        [(200, [field("connection", "close"), field("content-length", "2")]), b"hi", end(reusable=False)],
    ),
    (
        "close among others and in capitals",
        "GET",
        OK + b"Connection: x, CLOSE\r\nContent-Length: 0\r\n\r\n",
        [(200, [field("connection", "x, CLOSE"), field("content-length", "0")]), end(reusable=False)],
    ),
    (
        "close in chunks",
        "GET",
        OK + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        [(200, [field("connection", "close"), CHUNKED]), b"a", end(reusable=False)],
    ),
    (
        "close to HEAD",
        "HEAD",
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\n",
        [(200, [field("connection", "close"), field("content-length", "2")]), end(reusable=False)],
    ),
    (
        "HTTP/1.0",
        "GET",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        [(200, [field("content-length", "2")]), b"hi", end(reusable=False)],
    ),
    (
        "HTTP/1.0 that stays",
        "GET",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
        [(200, [field("connection", "keep-alive"), field("content-length", "2")]), b"hi", end()],
    ),
    # Interim responses: RFC 9110 §15.2
    (
        "100",
        "GET",
        b"HTTP/1.1 100 Continue\r\n\r\n" + EMPTY,
        [("interim", 100, []), (200, [field("content-length", "0")]), end()],
    ),
    (
        "103 with fields, then 100",
        "GET",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 C\r\n\r\n" + EMPTY,
        [("interim", 103, [field("link", "</a>")]), ("interim", 100, []), (200, [field("content-length", "0")]), end()],
    ),
    (
        "103 before an answer to HEAD",
        "HEAD",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\n",
        [("interim", 103, []), (200, [field("content-length", "5")]), end()],
    ),
    (
        "an interim status that nobody knows",
        "GET",
        b"HTTP/1.1 199 X\r\n\r\n" + EMPTY,
        [("interim", 199, []), (200, [field("content-length", "0")]), end()],
    ),
]


@pytest.mark.parametrize(("codecs", "method", "data", "expected"), by_codec(READ))
def test_read(codecs: Codecs, method: str, data: bytes, expected: list[object]) -> None:
    assert however_cut(data, lambda pieces: heard(codecs, pieces, method)) == (expected, False)


@pytest.mark.parametrize(("codecs", "method", "data", "expected"), by_codec(READ))
def test_what_follows_was_not_asked_for(codecs: Codecs, method: str, data: bytes, expected: list[object]) -> None:
    """… and is an error, also where it came with the response: it would be taken for the answer to somebody else."""
    for extra in (b"H", b"0", b"5\r\nhello\r\n0\r\n\r\n", EMPTY, b"\0"):
        if data.endswith(b"\r\n\r\n") or extra != b"0":
            told, failed = however_cut(data + extra, lambda pieces: heard(codecs, pieces, method))
            assert told == expected
            assert failed


def test_one_response_after_the_other(codecs: Codecs) -> None:
    def run(pieces: Sequence[bytes]) -> list[object]:
        sink = Heard()
        codec = codecs(sink)
        for method in ("GET", "HEAD", "HEAD", "POST", "GET"):
            codec.expect(method)
            for piece in pieces if method != "HEAD" else [OK + b"Content-Length: 5\r\n\r\n"]:
                codec.feed(piece)
        return sink.told

    whole = [(200, [CHUNKED]), b"abc", end(field("t", "1"))]
    head = [(200, [field("content-length", "5")]), end()]
    assert however_cut(OK_CHUNKED + b"3\r\nabc\r\n0\r\nT: 1\r\n\r\n", run) == [*whole, *head, *head, *whole, *whole]


UNTIL_THE_END: list[tuple[str, str, bytes, list[object]]] = [
    ("neither length nor chunks (RFC 9112 §6.3)", "GET", OK + b"\r\nabc", [(200, []), b"abc", end(reusable=False)]),
    ("the same and nothing in it", "GET", OK + b"\r\n", [(200, []), end(reusable=False)]),
    ("the same in HTTP/1.0", "GET", b"HTTP/1.0 200 OK\r\n\r\nabc", [(200, []), b"abc", end(reusable=False)]),
    (
        "a client that would stay",
        "GET",
        OK + b"Connection: keep-alive\r\n\r\nabc",
        [(200, [field("connection", "keep-alive")]), b"abc", end(reusable=False)],
    ),
    ("a body that looks like a response", "GET", OK + b"\r\n" + EMPTY, [(200, []), EMPTY, end(reusable=False)]),
    (
        "an interim response before",
        "GET",
        b"HTTP/1.1 100 C\r\n\r\n" + OK + b"\r\nabc",
        [("interim", 100, []), (200, []), b"abc", end(reusable=False)],
    ),
]


@pytest.mark.parametrize(("codecs", "method", "data", "expected"), by_codec(UNTIL_THE_END))
def test_read_until_the_end_of_the_connection(codecs: Codecs, method: str, data: bytes, expected: list[object]) -> None:
    assert however_cut(data, lambda pieces: heard(codecs, pieces, method)) == (expected[:-1], False)
    assert however_cut(data, lambda pieces: heard(codecs, pieces, method, eof=True)) == (expected, False)


def test_head_without_a_length_does_not_last_until_the_end(codecs: Codecs) -> None:
    """… of the connection: its head is all of it. Whether the connection lives on is the codec's to say."""
    told, failed = however_cut(OK + b"\r\n", lambda pieces: heard(codecs, pieces, "HEAD", eof=True))
    assert told[0] == (200, [])
    assert len(told) == 2
    assert not failed


CUT_OFF = [
    ("before anything", b""),
    ("in the status line", b"HTTP/1.1 20"),
    ("in the head", OK + b"Content-Le"),
    ("before the last byte of the head", OK + b"\r"),
    ("behind an interim response", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ("before a body", OK + b"Content-Length: 5\r\n\r\n"),
    ("in a body", OK + b"Content-Length: 5\r\n\r\nhell"),
    ("before a chunk", OK_CHUNKED),
    ("in a size", OK_CHUNKED + b"5"),
    ("in a chunk", OK_CHUNKED + b"5\r\nhell"),
    ("behind a chunk", OK_CHUNKED + b"5\r\nhello\r\n"),
    ("in the last chunk", OK_CHUNKED + b"5\r\nhello\r\n0\r\n"),
    ("in the trailers", OK_CHUNKED + b"0\r\nX: 1\r\n"),
]


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in CUT_OFF])
def test_an_end_of_the_connection(codecs: Codecs, data: bytes) -> None:
    """… there is an error, and until then there is none."""
    for pieces in ((data,), tuple(data[index : index + 1] for index in range(len(data)))):
        assert not heard(codecs, pieces, "GET")[1]
        told, failed = heard(codecs, pieces, "GET", eof=True)
        assert failed
        assert not any(isinstance(event, tuple) and event[0] == "end" for event in told)


def test_an_end_of_the_connection_between_responses_is_none(codecs: Codecs) -> None:
    assert heard(codecs, [EMPTY], "GET", eof=True)[1] is False


BAD: list[tuple[str, bytes]] = [
    # Status lines: RFC 9112 §4
    ("no response at all", b"hello\r\n\r\n"),
    ("a request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("HTML without a head", b"<html>"),
    ("the beginning of TLS", b"\x15\x03\x01\x00\x02\x02\x46"),
    ("the beginning of HTTP/2", b"\x00\x00\x06\x04\x00\x00\x00\x00\x00"),
    ("a blank before it", b" HTTP/1.1 200 OK\r\n\r\n"),
    ("two blanks", b"HTTP/1.1  200 OK\r\n\r\n"),
    ("small letters", b"http/1.1 200 OK\r\n\r\n"),
    ("HTTP/2.0", b"HTTP/2.0 200 OK\r\n\r\n"),
    ("HTTP/1.2", b"HTTP/1.2 200 OK\r\n\r\n"),
    ("HTTP/0.9", b"HTTP/0.9 200 OK\r\n\r\n"),
    ("a version of more digits", b"HTTP/1.10 200 OK\r\n\r\n"),
    ("Icecast's", b"ICY 200 OK\r\n\r\n"),
    ("a status of two digits", b"HTTP/1.1 20 OK\r\n\r\n"),
    ("a status of four digits", b"HTTP/1.1 2000 OK\r\n\r\n"),
    ("a status of letters", b"HTTP/1.1 2xx OK\r\n\r\n"),
    ("status 099 (RFC 9110 §15)", b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
    ("status 000", b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n"),
    ("status 600", b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n"),
    ("status 999", b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n"),
    ("a bare line feed behind the status line", b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"),
    ("a bare carriage return behind the status line", b"HTTP/1.1 200 OK\rContent-Length: 0\r\n\r\n"),
    ("101 that nobody asked for (RFC 9110 §15.2.2)", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    ("101 with all its fields", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    # Fields: RFC 9112 §5
    ("a blank before the colon", OK + b"X : a\r\n\r\n"),
    ("a blank before the colon of Content-Length", OK + b"Content-Length : 5\r\n\r\nhello"),
    ("a blank before the first field", OK + b" X: a\r\n\r\n"),
    ("a folded line (§5.2)", OK + b"X: a\r\n b\r\n\r\n"),
    ("a line folded with a tab", OK + b"X: a\r\n\tb\r\n\r\n"),
    ("a field without a colon", OK + b"X\r\n\r\n"),
    ("a field without a name", OK + b": a\r\n\r\n"),
    ("a bare line feed behind a field", OK + b"X: a\nY: b\r\n\r\n"),
    ("a bare line feed as the end of the head", OK + b"X: a\r\n\n"),
    ("a bare carriage return in a value", OK + b"X: a\rb\r\n\r\n"),
    ("a bare carriage return as the end of the head", OK + b"X: a\r\n\rb"),
    *[
        (f"byte {byte:#04x} in a value", OK + b"X: a%cb\r\n\r\n" % byte)
        for byte in (0x00, 0x01, 0x08, 0x0B, 0x0C, 0x1F, 0x7F)
    ],
    *[
        (f"byte {byte:#04x} in a name", OK + b"X%cY: a\r\n\r\n" % byte)
        for byte in (0x00, 0x20, 0x22, 0x28, 0x40, 0x7F, 0xE9)
    ],
    # Framing: RFC 9112 §6
    ("two lengths", OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    ("the same length twice", OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    *[
        (f"Content-Length {value!r}", OK + b"Content-Length: " + value.encode() + b"\r\n\r\nhello")
        for value in ("", "5, 5", "+5", "-5", "0x5", "5 5", "5.0", "x", "18446744073709551616")
    ],
    ("a length beside chunks (§6.1)", OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunks beside a length", OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    ("chunks in HTTP/1.0 (§6.1)", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunked in two fields (§6.1)", OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    *[
        (f"the coding {value!r}", OK + b"Transfer-Encoding: " + value.encode() + b"\r\n\r\n0\r\n\r\n")
        for value in (
            "",
            "gzip",
            "gzip, chunked",
            "chunked, gzip",
            "chunked, chunked",
            "identity",
            "xchunked",
            "chunked;q=1",
            "chunked\t",
            "chunked \t",
        )
    ],
    ("an interim response with a length (RFC 9110 §8.6)", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\n"),
    ("an interim response in chunks (§6.1)", b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n"),
]


@pytest.mark.parametrize(("codecs", "data"), by_codec(BAD))
def test_no_response(codecs: Codecs, data: bytes) -> None:
    for method in ("GET", "HEAD"):
        told, failed = however_cut(data, lambda pieces, method=method: heard(codecs, pieces, method))  # type: ignore[misc]
        assert failed
        assert told == []


BAD_BODIES: list[tuple[str, bytes, bytes]] = [
    *[
        (f"a chunk's size {size!r}", size.encode() + b"\r\nabc\r\n0\r\n\r\n", b"")
        for size in ("", "g", "0x3", "-3", "+3", " 3", "3 ", "3;", "3;a b", "3;a\x00", "10000000000000000")
    ],
    ("a bare line feed behind a size", b"3\nabc\r\n0\r\n\r\n", b""),
    ("a bare line feed in an extension", b"3;a\nbc\r\nabc\r\n0\r\n\r\n", b""),
    ("a chunk shorter than its data", b"3\r\nabcd\r\n0\r\n\r\n", b"abc"),
    ("no line break behind a chunk's data", b"3\r\nabc0\r\n\r\n", b"abc"),
    ("a bare line feed behind a chunk's data", b"3\r\nabc\n0\r\n\r\n", b"abc"),
    ("a bare line feed behind the last chunk", b"0\n\r\n", b""),
    ("a bare line feed as the end of the trailers", b"0\r\n\n", b""),
    ("a folded trailer", b"0\r\nX: a\r\n b\r\n\r\n", b""),
    ("a trailer with a blank before its colon", b"0\r\nX : a\r\n\r\n", b""),
    ("a bare line feed behind a trailer", b"0\r\nX: a\nY: b\r\n\r\n", b""),
    ("a length among the trailers", b"0\r\nContent-Length: 5\r\n\r\n", b""),
]


@pytest.mark.parametrize(("codecs", "data", "before"), by_codec(BAD_BODIES))
def test_no_body(codecs: Codecs, data: bytes, before: bytes) -> None:
    told, failed = however_cut(OK_CHUNKED + data, lambda pieces: heard(codecs, pieces, "GET"))
    assert failed
    assert told == [(200, [CHUNKED]), *([before] if before else [])]


ENDLESS = [
    ("a status line", b"HTTP/1.1 200 ", b"y"),
    ("a value", OK + b"X: ", b"y"),
    ("a name", OK, b"y"),
    ("blanks", OK + b"X:", b" "),
    ("small fields", OK, b"X: y\r\n"),
    ("an extension", OK_CHUNKED + b"1;", b"y"),
    ("a trailer", OK_CHUNKED + b"0\r\nX: ", b"y"),
    ("small trailers", OK_CHUNKED + b"0\r\n", b"X: y\r\n"),
    ("empty lines", b"", b"\r\n"),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("data", "more"), [pytest.param(data, more, id=name) for name, data, more in ENDLESS])
def test_without_end(codecs: Codecs, data: bytes, more: bytes, method: str) -> None:
    """… is an error before it has cost much."""
    pieces = [data, *[more * (1000 // len(more))] * (3 * MAX_HEAD // 1000)]
    assert heard(codecs, pieces, method)[1]


def test_a_head_as_large_as_may_be() -> None:
    fields = b"".join(b"x%d: %b\r\n" % (index, b"y" * 200) for index in range(MAX_FIELDS - 1))
    head = OK + b"Content-Length: 0\r\n" + fields
    assert not heard(HttptoolsCodec, [head + b"\r\n"], "GET")[1]
    assert heard(HttptoolsCodec, [head + b"z: y\r\n\r\n"], "GET")[1]


def test_a_body_in_the_smallest_chunks_is_no_head(codecs: Codecs) -> None:
    told, failed = heard(codecs, [OK_CHUNKED + b"1;extension\r\nx\r\n" * 40_000 + b"0\r\n\r\n"], "GET")
    assert told[1] == b"x" * 40_000
    assert not failed


# Another protocol: RFC 9110 §7.8


SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
SWITCHED = [field("connection", "upgrade"), field("upgrade", "x")]


def test_101_that_was_asked_for() -> None:
    told = however_cut(SWITCHING, lambda pieces: heard(HttptoolsCodec, pieces, "GET", upgrade=True))
    assert told == ([("switch", SWITCHED, b"")], False)


def test_what_is_behind_101_is_not_looked_at() -> None:
    for pieces in cuts(SWITCHING):
        told = heard(HttptoolsCodec, [*pieces[:-1], pieces[-1] + EMPTY], "GET", upgrade=True)
        assert told == ([("switch", SWITCHED, EMPTY)], False)


def test_an_ordinary_answer_to_who_asked_for_another_protocol(codecs: Codecs) -> None:
    for data in (b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", OK + b"Upgrade: x\r\nConnection: upgrade\r\n\r\n"):
        told, failed = however_cut(data, lambda pieces: heard(codecs, pieces, "GET", upgrade=True, eof=True))
        assert not failed
        assert [item[0] for item in told if isinstance(item, tuple)][1:] == ["end"]


@pytest.mark.parametrize(
    "data",
    [
        SWITCHING.replace(b"Upgrade: x\r\n", b""),
        SWITCHING.replace(b"Connection: upgrade\r\n", b""),
        SWITCHING.replace(b"HTTP/1.1", b"HTTP/1.0"),
        SWITCHING.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
        SWITCHING.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ],
)
def test_a_bad_101(codecs: Codecs, data: bytes) -> None:
    told, failed = however_cut(data, lambda pieces: heard(codecs, pieces, "GET", upgrade=True))
    assert (told, failed) == ([], True)


def test_101_is_asked_for_once(codecs: Codecs) -> None:
    sink = Heard()
    codec = codecs(sink)
    codec.expect("GET", upgrade=True)
    codec.feed(EMPTY)
    codec.expect("GET")
    with pytest.raises(ProtocolError):
        codec.feed(SWITCHING)


# What is zttp's own: it stands here so that a version of it that changes its mind is noticed.


@pytest.mark.parametrize("name", ["chunked\t", "chunked \t"])
def test_zttp_takes_a_tab_behind_the_coding(name: str) -> None:
    """… as RFC 9110 §5.6.3 allows; llhttp does not."""
    told, failed = heard(ZttpCodec, [OK + b"Transfer-Encoding: %b\r\n\r\n0\r\n\r\n" % name.encode()], "GET")
    assert told == [(200, [CHUNKED]), end()]
    assert not failed


def test_zttp_takes_no_empty_line_before_a_response() -> None:
    """… which only a server should look over (RFC 9112 §2.2)."""
    assert heard(ZttpCodec, [b"\r\n" + EMPTY], "GET") == ([], True)


@pytest.mark.parametrize("extension", [b"", b"a b", b"a=", b"=", b'"'])
def test_zttp_takes_anything_for_an_extension(extension: bytes) -> None:
    """… of a chunk, where RFC 9112 §7.1.1 has a grammar. What it reads is the same."""
    told, failed = heard(ZttpCodec, [OK_CHUNKED + b"3;%b\r\nabc\r\n0\r\n\r\n" % extension], "GET")
    assert told == [(200, [CHUNKED]), b"abc", end()]
    assert not failed


def test_zttp_waits_for_the_end_of_the_head_before_it_looks_at_its_lines() -> None:
    data = OK + b"X: a\r\n\rb"
    assert heard(ZttpCodec, [data], "GET") == ([], False)
    assert heard(ZttpCodec, [data + b"\r\n\r\n"], "GET") == ([], True)


def test_zttp_has_limits_of_its_own() -> None:
    """… which cannot be changed: 100 fields, 16 KiB for each, 64 KiB for all. Backends send more."""
    for few, many in (
        (b"X: y\r\n" * 99, b"X: y\r\n" * 100),
        (b"X: %b\r\n" % (b"y" * 16_000), b"X: %b\r\n" % (b"y" * 17_000)),
        ((b"X: %b\r\n" % (b"y" * 8_000)) * 7, (b"X: %b\r\n" % (b"y" * 8_000)) * 9),
    ):
        assert not heard(ZttpCodec, [OK + b"Content-Length: 0\r\n" + few + b"\r\n"], "GET")[1]
        assert heard(ZttpCodec, [OK + b"Content-Length: 0\r\n" + many + b"\r\n"], "GET")[1]
