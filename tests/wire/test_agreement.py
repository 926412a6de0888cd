"""Other parsers as oracles: what we take, they must read in the same way, however broken it is.

A message that means one thing to us and another to who gets it next is how requests are smuggled. What follows names
every class of bytes that one of them refuses and we take; none is known that two of them take and read differently.
"""

import re
from collections.abc import Callable, Iterator

import h11
import pytest
import zttp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.upstream.codec import HttptoolsCodec
from tests.wire.harness import Seen, outcome
from tests.wire.test_codec import heard
from tests.wire.test_random import REQUESTS, RESPONSES, fresh, mutated
from tests.wire.zttp_codec import ZttpCodec

#: Line breaks around responses, which belong to none.
_LOOSE_BREAKS = rb"\A[\r\n]|\n\r?\n[\r\n]"
#: Control bytes in a reason phrase, which is never passed on.
_BAD_PHRASE = rb"HTTP/1\.[01] \d{3}[^\r\n]*[\x00-\x08\x0b-\x1f\x7f]"
#: More than one blank within the request line, which is made anew for the backend.
_BLANKS = rb"  +(?:[/*]|[Hh][Tt][Tt][Pp])"
#: Trailers with names that belong into a head; they are dropped, all of them.
_TRAILERS = rb"\n0+(;[^\r\n]*)?\r\n([^\r\n]+\r\n)+"

RESPONSES_TAKEN = re.compile(b"|".join((_LOOSE_BREAKS, _BAD_PHRASE)))
REQUESTS_TAKEN = re.compile(b"|".join((_BLANKS, _TRAILERS)))


@settings(max_examples=600, deadline=None)
@given(mutated(RESPONSES), st.sampled_from(["GET", "HEAD"]), st.booleans())
@example(b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", False)
def test_responses(sent: bytes, method: str, eof: bool) -> None:
    """What both codecs tell of a response is the same; what ours reads to its end, the other does not refuse."""
    told, failed = heard(HttptoolsCodec, [sent], method, eof=eof)
    other, refused = heard(ZttpCodec, [sent], method, eof=eof)
    for one, two in zip(told, other, strict=False):
        if isinstance(one, bytes) and isinstance(two, bytes):
            assert one.startswith(two) or two.startswith(one)
        else:
            assert one == two
    if told and told[-1] == ("end", [], True) and not failed:
        assert (other == told and not refused) or RESPONSES_TAKEN.search(sent)


def by_h11(data: bytes) -> Iterator[Seen]:
    """The requests that h11 finds. Raises its error for what is malformed.

    Line breaks before a request belong to none, and we look over bare ones, too (RFC 9112 §2.2).
    """
    while data := data.lstrip(b"\r\n"):
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(data)
        head = connection.next_event()
        if not isinstance(head, h11.Request):
            return
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
        if event is h11.PAUSED:
            # It asks for another protocol, which it is not given.
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            event = connection.next_event()
        if not isinstance(event, h11.EndOfMessage):
            return
        fields = [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in head.headers]
        yield Seen(head.method.decode(), head.target, fields, body, head.http_version.decode())
        if connection.their_state is h11.MUST_CLOSE:
            return
        data = connection.trailing_data[0]


def by_zttp(data: bytes) -> Iterator[Seen]:
    """The first request that zttp finds. Raises its error for what is malformed."""
    connection = zttp.Connection(zttp.SERVER)
    connection.receive_data(data.lstrip(b"\r\n") or b"\r\n")
    head = connection.next_event()
    if not isinstance(head, zttp.Request):
        return
    body = b""
    event: zttp.Event = head
    while not head.end_stream and isinstance(event := connection.next_event(), zttp.Data):
        body += event.data
    if head.end_stream or isinstance(event, zttp.EndOfMessage):
        fields = [(name.lower(), value) for name, value in head.headers]
        fields = [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in fields]
        yield Seen(head.method.decode(), head.target, fields, body, head.http_version.decode())


@pytest.mark.parametrize(("oracle", "error"), [(by_h11, h11.ProtocolError), (by_zttp, zttp.ProtocolError)])
@settings(max_examples=400, deadline=None)
@given(sent=mutated(REQUESTS))
@example(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
@example(b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n")
def test_requests(oracle: Callable[[bytes], Iterator[Seen]], error: type[Exception], sent: bytes) -> None:
    """Every request that we take, another parser takes, with the same method, target, fields and body."""
    with fresh() as loop:
        taken = outcome(loop, [sent]).seen
    requests = oracle(sent)
    for ours in taken[:1] if oracle is by_zttp else taken:
        try:
            theirs = next(requests, None)
        except error:
            theirs = None
        if theirs is None:
            assert REQUESTS_TAKEN.search(sent)
            return
        if not theirs.target.startswith((b"/", b"*")):
            # The absolute form is for us alone: its authority has become the Host, and the backend gets its path.
            assert b"://" in theirs.target
            assert dict(ours.fields)[b"host"] in theirs.target
            assert theirs.target.endswith(ours.target) or ours.target in (b"*", b"/") or ours.target.startswith(b"/?")
            continue
        fields = [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in ours.fields]
        assert (ours.method, ours.target, fields, ours.body, ours.version) == (
            theirs.method, theirs.target, theirs.fields, theirs.body, theirs.version,
        )  # fmt: skip
