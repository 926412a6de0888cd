"""Heads of answers that come again are not read again, and nobody can tell."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from app.listeners.cycle import Cycle
from app.upstream.codec import HttptoolsCodec, ProtocolError
from app.upstream.fields import KeptFields
from middleware.answer import CYCLE
from tests.wire.harness import Loop, Server, undated
from tests.wire.test_codec import BAD, READ, Heard
from tests.wire.test_random import mutated

OK = b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 2\r\n\r\n"
RESPONSES = [OK + b"hi", *(data for *_, data, _ in READ), *(data for _, data in BAD)]


def told(pieces: Sequence[tuple[str, Sequence[bytes]]]) -> list[object]:
    """What a codec tells of responses to requests with these methods, each in pieces; an error ends it."""
    sink = Heard()
    codec = HttptoolsCodec(sink)
    for method, parts in pieces:
        codec.expect(method)
        sink.told.append(method)
        try:
            for part in parts:
                codec.feed(part)
        except ProtocolError:
            sink.told.append("error")
            return sink.told
        last = sink.told[-1]
        if not isinstance(last, tuple) or last[0] != "end" or not last[-1]:
            return sink.told  # nothing more would be asked on such a connection
    return sink.told


def in_two(data: bytes) -> tuple[bytes, bytes]:
    """Cut so that every head is read."""
    return data[:1], data[1:]


@pytest.mark.parametrize(
    ("method", "second"),
    [
        ("GET", OK + b"hi"),
        ("GET", OK + b"h"),
        ("GET", OK + b"hi!"),
        ("GET", OK + b"hi\r\n"),
        ("GET", OK + b"hi" + OK + b"hi"),
        ("GET", OK),
        ("HEAD", OK),
        ("HEAD", OK + b"hi"),
        ("GET", OK[:-2]),
        ("GET", OK[:-2] + b"Transfer-Encoding: chunked\r\n\r\nhi"),
        ("GET", OK[:-2] + b"Connection: close\r\n\r\nhi"),
        ("GET", b"\r\n" + OK + b"hi"),
    ],
)
def test_behind_a_known_head(method: str, second: bytes) -> None:
    sent = [("GET", OK + b"hi"), ("GET", OK + b"ho"), (method, second), ("GET", OK + b"hi")]
    assert told([(each, (data,)) for each, data in sent]) == told([(each, in_two(data)) for each, data in sent])


def test_the_rest_of_a_body_may_come_later() -> None:
    sent = [("GET", (OK + b"hi",)), ("GET", (OK + b"h", b"o")), ("GET", (OK, b"h", b"a")), ("GET", (OK, b"hey"))]
    ends: object = ("end", [], True)
    head = (200, [(b"server", b"s"), (b"content-length", b"2")])
    whole = [each for body in (b"hi", b"ho", b"ha") for each in ("GET", head, body, ends)]
    assert told(sent) == [*whole, "GET", head, b"he", ends, "error"]


@settings(max_examples=500, deadline=None)
@given(
    st.lists(mutated(RESPONSES), min_size=1, max_size=2),
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["GET", "GET", "HEAD"])), max_size=5),
)
def test_any_bytes_again_and_again(responses: list[bytes], order: list[tuple[int, str]]) -> None:
    sent = [(method, responses[place % len(responses)]) for place, method in order]
    assert told([(each, (data,)) for each, data in sent]) == told([(each, in_two(data)) for each, data in sent])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                (b"server", b"s"),
                (b"connection", b"keep-alive"),
                (b"connection", b"x"),
                (b"x", b"y"),
                (b"date", b"Tue, 24 Nov 2026 12:00:00 GMT"),
                (b"keep-alive", b"1"),
            ]
        ),
        max_size=4,
        unique=True,
    ),
    st.sampled_from([200, 204, 304, 404]),
    st.lists(st.sampled_from(["GET", "HEAD", "GET close", "GET 1.0"]), min_size=1, max_size=4),
)
def test_the_client_gets_the_same_head(fields: list[tuple[bytes, bytes]], status: int, asked: list[str]) -> None:
    fields = [*fields, (b"content-length", b"0")]
    kept = KeptFields(fields)
    sources: list[list[tuple[bytes, bytes]]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        cycle: Cycle = scope[CYCLE]
        cycle.respond(status, sources.pop(), relayed=True)
        cycle.end()

    loop = Loop()
    server = Server(loop, app)
    for each in asked:
        answers = []
        for source in (fields, kept):
            sources.append(source)
            wire = server.connect()
            method, _, how = each.partition(" ")
            version, more = ("1.0", b"") if how == "1.0" else ("1.1", b"Connection: close\r\n" if how else b"")
            wire.feed(f"{method} / HTTP/{version}\r\nHost: a\r\n".encode() + more + b"\r\n")
            answers.append((wire.output if b"date" in dict(fields) else undated(wire.output), wire.state))
            wire.lose()
        assert answers[0] == answers[1]
    loop.finish()
    assert kept == fields
