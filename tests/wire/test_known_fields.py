"""Fields that a client sends again are not read again, and nobody can tell."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from app.upstream.fields import KeptFields, bodiless, forwarded
from app.upstream.http1 import request_head
from middleware.errors import BadRequest
from tests.wire.harness import Loop, Outcome, Server, outcome
from tests.wire.test_random import REQUESTS, fresh, mutated

GET = b"GET /a?b HTTP/1.1\r\nHost: a\r\nCookie: c\r\n\r\n"
FIELDS = GET[GET.index(b"\r\n") :]


def in_single_bytes(messages: Sequence[bytes]) -> Outcome:
    """What comes of ``messages`` where each byte comes alone, so that all are read."""
    with fresh() as loop:
        return outcome(loop, [bytes([byte]) for message in messages for byte in message])


def whole(messages: Sequence[bytes]) -> Outcome:
    with fresh() as loop:
        return outcome(loop, messages)


@pytest.mark.parametrize(
    "line",
    [
        b"GET /a?b HTTP/1.1",
        b"HEAD /%61;b//c?d?e HTTP/1.1",
        b"POST / HTTP/1.1",
        b"GET http://other/ HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET / HTTP/1.0",
        b"GET / HTTP/1.1\r\nContent-Length: 1",
        b"GET / HTTP/1.1\r\nHost: a",
        b"GET / HTTP/1.1\nX: y",
        b"GET /#a HTTP/1.1",
        b"GET /\\ HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"\r\nGET / HTTP/1.1",
        b"CONNECT a:1 HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"get / HTTP/1.1",
        b"",
        b"GET /" + b"a" * 17_000 + b" HTTP/1.1",
    ],
)
def test_behind_any_request_line(line: bytes) -> None:
    messages = [GET, line + FIELDS, GET]
    assert whole(messages) == in_single_bytes(messages)


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
        GET + GET,
        GET + b"\r\n\r\n",
    ],
)
def test_behind_any_first_request(first: bytes) -> None:
    again = b"GET /b HTTP/1.1" + first[first.index(b"\r\n") :]
    messages = [first, again, GET, again]
    assert whole(messages) == in_single_bytes(messages)


def test_a_piece_of_a_head_is_no_head() -> None:
    """What follows "X: " is a field's value, and never becomes what stands behind a request line."""
    messages = [b"GET / HTTP/1.1\r\nX: ", GET, GET, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 43\r\n\r\n", GET]
    assert whole(messages) == in_single_bytes(messages)


@settings(max_examples=300, deadline=None)
@given(st.lists(mutated([GET, *REQUESTS]), min_size=1, max_size=3), st.lists(st.integers(0, 2), max_size=6))
def test_any_bytes_again_and_again(messages: list[bytes], order: list[int]) -> None:
    sent = [messages[place % len(messages)] for place in order]
    assert whole(sent) == in_single_bytes(sent)


def test_an_application_may_change_its_own() -> None:
    async def greedy(scope: Scope, receive: Receive, send: Send) -> None:
        names.append([name for name, _ in scope["headers"]])
        scope["headers"].append((b"mine", b"1"))
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    names: list[list[bytes]] = []
    loop = Loop()
    wire = Server(loop, greedy).connect()
    wire.feed(GET, GET, GET)
    wire.lose()
    loop.finish()
    assert names == [[b"host", b"cookie"]] * 3


NAMES = st.sampled_from([b"host", b"te", b"connection", b"x", b"trailer", b"keep-alive"])
VALUES = st.sampled_from([b"a", b"trailers", b"x", b"0", b"x\r\ny: z", b"\0"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=4), st.lists(st.sampled_from([b"/", b"/a?b", b"/\r\n"]), max_size=3))
def test_the_head_for_the_backend(fields: list[tuple[bytes, bytes]], targets: list[bytes]) -> None:
    """It is the same whether its fields are kept or not, for one backend after another."""
    kept = KeptFields(fields)
    for place, target in enumerate(targets):
        authority = b"backend-%d" % place
        try:
            expected = request_head("GET", target, forwarded(fields)[0], authority)
        except BadRequest:
            with pytest.raises(BadRequest):
                request_head("GET", target, bodiless(kept), authority)
        else:
            assert request_head("GET", target, bodiless(kept), authority) == expected
    assert kept == fields
