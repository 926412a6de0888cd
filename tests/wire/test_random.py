"""Bytes that nobody would think of: nothing raises, everything ends, and cutting them differently changes nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from app.upstream.codec import HttptoolsCodec
from middleware.errors import BadGateway
from tests.wire.apps import Script, body, length, start
from tests.wire.harness import Loop, Outcome, Server, Wire, outcome
from tests.wire.test_codec import BAD, READ, UNTIL_THE_END, heard
from tests.wire.test_proxy_wire import Between
from tests.wire.test_requests import REFUSED, SERVED
from tests.wire.test_upstream import Client, exchange_of

#: What mistakes and attacks are made of.
TOKENS = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b",", b";", b"0", b"5", b"0\r\n\r\n", b"\x0b",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Host: b\r\n", b"X: y\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"HTTP/1.1", b"HTTP/1.0", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One of ``seeds``, or two in a row, with a few bytes changed, left out, doubled or put in."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(seeds), min_size=1, max_size=2))))
    for _ in range(draw(st.integers(0, 3))):
        where = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 12))
        what = draw(
            st.one_of(st.sampled_from(TOKENS), st.binary(max_size=3), st.just(bytes(data[where : where + size])))
        )
        data[where : where + draw(st.sampled_from([0, 0, 1, size]))] = what
    return bytes(data)


@st.composite
def cut(draw: st.DrawFn, size: int) -> list[slice]:
    """Some way to cut ``size`` bytes into pieces."""
    places = [0, *sorted(draw(st.sets(st.integers(1, max(1, size - 1)), max_size=8))), size]
    return [slice(first, last) for first, last in pairwise(places) if first < last]


@contextmanager
def fresh() -> Iterator[Loop]:
    loop = Loop()
    try:
        yield loop
    except BaseException:
        loop.end()
        raise
    loop.finish()


def check(result: Outcome) -> None:
    """An answer, a wait, or the end; and no more answers than there can be."""
    assert result.state in ("open", "ending", "closed", "aborted")
    assert result.answers.count(b"HTTP/1.1 200 OK") == len(result.seen)
    if result.state == "ending":
        assert b"connection: close\r\n" in result.answers


REQUESTS = [data for _, data, _ in SERVED] + [data for _, data, _ in REFUSED]
RESPONSES = [data for *_, data, _ in READ + UNTIL_THE_END] + [data for _, data in BAD]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_requests_however_they_are_cut(data: st.DataObject) -> None:
    sent = data.draw(st.one_of(mutated(REQUESTS), st.binary(max_size=60)))
    pieces = [sent[part] for part in data.draw(cut(len(sent)))]
    with fresh() as loop:
        whole = outcome(loop, [sent] if sent else [])
        check(whole)
        assert outcome(loop, pieces) == whole


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_responses_however_they_are_cut(data: st.DataObject) -> None:
    sent = data.draw(st.one_of(mutated(RESPONSES), st.binary(max_size=60)))
    pieces = [sent[part] for part in data.draw(cut(len(sent)))]
    method = data.draw(st.sampled_from(["GET", "HEAD"]))
    eof = data.draw(st.booleans())
    whole = heard(HttptoolsCodec, [sent], method, eof=eof)
    assert heard(HttptoolsCodec, pieces, method, eof=eof) == whole
    ends = [event for event in whole[0] if isinstance(event, tuple) and event[0] == "end"]
    assert len(ends) <= 1


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_backend_may_send_anything(data: st.DataObject) -> None:
    """The request ends well, fails with BadGateway, or waits; with the end of the connection it waits no more."""
    sent = data.draw(st.one_of(mutated(RESPONSES), st.binary(max_size=60)))
    pieces = [sent[part] for part in data.draw(cut(len(sent)))]
    with fresh() as loop:
        client = Client(loop)
        task = client.ask(data.draw(st.sampled_from(["GET", "HEAD"])))
        wire = client.wire()
        wire.feed(*pieces)
        if not task.done():
            wire.feed_eof()
            loop.settle()
        assert task.done()
        error = task.exception()
        assert error is None or type(error) is BadGateway
        if error is None:
            exchange = exchange_of(task)
            loop.run(exchange.aclose())
            loop.settle()
            assert 200 <= exchange.status <= 599
        else:
            assert wire.lost


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_a_backend_gets_is_one_request_or_a_part_of_one(data: st.DataObject) -> None:
    """… whatever the client sent, in the eyes of another parser, until the backend has answered."""
    sent = data.draw(mutated(REQUESTS))
    pieces = [sent[part] for part in data.draw(cut(len(sent)))]
    with fresh() as loop:
        between = Between(loop)
        between.client(*pieces)
        assert len(loop.wires) <= 1
        for backend in loop.wires:
            assert requests_in(backend.output) <= 1


def requests_in(data: bytes) -> int:
    """How many whole requests h11 finds, which raises for what is malformed."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    count = 0
    while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
        if isinstance(event, h11.EndOfMessage):
            count += 1
    assert not connection.trailing_data[0] or connection.their_state is not h11.DONE
    return count


@settings(max_examples=200, deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=20), max_size=5),
    sized=st.booleans(),
    status=st.sampled_from([200, 204, 304, 404, 500]),
    method=st.sampled_from(["GET", "HEAD"]),
    version=st.sampled_from(["1.0", "1.1"]),
)
def test_an_answer_is_read_as_it_was_meant(
    pieces: list[bytes], sized: bool, status: int, method: str, version: str
) -> None:
    """… by another parser."""
    whole = b"".join(pieces)
    fields = [length(len(whole))] if sized else []
    messages = [start(status, *fields), *[body(piece, True) for piece in pieces], body()]
    with fresh() as loop:
        wire: Wire = Server(loop, Script(*messages)).connect()
        wire.feed(f"{method} / HTTP/{version}\r\nHost: a\r\n\r\n".encode())
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(wire.output)
        if wire.state == "closed":
            connection.receive_data(b"")
        head = connection.next_event()
        assert isinstance(head, h11.Response)
        assert head.status_code == status
        got = b""
        while isinstance(event := connection.next_event(), h11.Data):
            got += event.data
        assert isinstance(event, h11.EndOfMessage)
        assert not connection.trailing_data[0]
        assert got == (b"" if method == "HEAD" or status in (204, 304) else whole)
        assert (wire.state == "open") == (version == "1.1")
