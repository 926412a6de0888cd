"""How long a client may take, and that nothing of a connection outlives it. Time is the test's own."""

import gc
import weakref
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send

from app.listeners.clock import BODY_TIMEOUT, HEAD_TIMEOUT, WRITE_TIMEOUT
from app.listeners.http import GatewayProtocol
from app.listeners.reader import MAX_FIELDS, MAX_HEAD, MAX_TARGET, MAX_UNFRAMED
from tests.wire.apps import Steps, body, start
from tests.wire.harness import Loop, Recorder, Server, Wire, undated
from tests.wire.test_connection import CONTINUE, EXPECTING, UPLOAD
from tests.wire.test_responses import GET, HEAD, POST

KEEP_ALIVE = 5.0  # uvicorn's default
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def app() -> Steps:
    return Steps()


@pytest.fixture
def server(loop: Loop, app: Steps) -> Server:
    return Server(loop, app)


@pytest.fixture
def wire(server: Server) -> Wire:
    return server.connect()


# Time


def test_a_client_that_sends_nothing_is_closed_without_a_word(wire: Wire, loop: Loop) -> None:
    loop.advance(HEAD_TIMEOUT - 1)
    assert wire.state == "open"
    loop.advance(2)
    assert (wire.state, wire.output, wire.lost) == ("closed", b"", True)


def test_a_head_that_does_not_end_is_408(wire: Wire, loop: Loop) -> None:
    wire.feed(b"GET / HTTP/1.1\r\n")
    for _ in range(14):
        loop.advance(1)
        wire.feed(b"X: 1\r\n")  # what keeps coming does not move the end
    assert wire.state == "open"
    loop.advance(2)
    assert undated(wire.output).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert wire.state == "ending"
    loop.advance(4)
    assert wire.lost


def test_the_408_for_head_has_no_body(wire: Wire, loop: Loop) -> None:
    wire.feed(HEAD[:-2])
    loop.advance(HEAD_TIMEOUT + 1)
    assert wire.output.endswith(b"connection: close\r\n\r\n")


def test_an_idle_connection_is_closed_without_a_word(wire: Wire, app: Steps, loop: Loop) -> None:
    wire.feed(GET)
    loop.advance(3600)  # an application takes as long as it likes
    app.calls[0].answer()
    sent = len(wire.output)
    loop.advance(KEEP_ALIVE - 1)
    assert wire.state == "open"
    loop.advance(2)
    assert (wire.state, len(wire.output)) == ("closed", sent)


def test_the_next_request_has_its_own_time(wire: Wire, app: Steps, loop: Loop) -> None:
    wire.feed(GET)
    app.calls[0].answer()
    loop.advance(KEEP_ALIVE - 1)
    wire.feed(b"GET / ")
    loop.advance(HEAD_TIMEOUT - 2)
    assert wire.state == "open"
    wire.feed(b"HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(app.calls) == 2


def test_a_head_that_began_behind_another_request_has_its_time_from_the_answer_on(
    wire: Wire, app: Steps, loop: Loop
) -> None:
    wire.feed(GET + b"GET /")
    loop.advance(60)
    app.calls[0].answer()
    loop.advance(HEAD_TIMEOUT - 1)
    assert wire.state == "open"
    loop.advance(2)
    assert wire.output.count(b"HTTP/1.1 408") == 1


def test_a_body_of_which_nothing_comes_is_408(wire: Wire, app: Steps, loop: Loop) -> None:
    wire.feed(UPLOAD)
    app.calls[0].wants()
    loop.advance(BODY_TIMEOUT + 1)
    assert wire.output.count(b"HTTP/1.1 408") == 1
    assert app.calls[0].left == 1
    loop.advance(4)
    assert wire.lost
    assert app.calls[0].left == 1


def test_a_body_that_stops_coming_is_408(wire: Wire, app: Steps, loop: Loop) -> None:
    wire.feed(UPLOAD)
    for _ in range(5):
        wire.feed(b"x")
        app.calls[0].receive()
        loop.advance(BODY_TIMEOUT - 2)
    assert wire.state == "open"
    loop.advance(3)
    assert wire.output.count(b"HTTP/1.1 408") == 1


def test_a_body_that_stops_coming_breaks_an_answer_that_has_begun(wire: Wire, app: Steps, loop: Loop) -> None:
    wire.feed(UPLOAD + b"x")
    app.calls[0].send(start(), body(b"a", True))
    loop.advance(BODY_TIMEOUT + 1)
    assert wire.state == "aborted"
    assert app.calls[0].left == 1


def test_a_body_is_not_waited_for_while_the_client_has_to_wait(wire: Wire, app: Steps, loop: Loop) -> None:
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n" + b"x" * 100_000)
    assert wire.paused
    loop.advance(3600)
    assert wire.state == "open"
    app.calls[0].receive()
    loop.advance(BODY_TIMEOUT + 1)
    assert wire.output.count(b"HTTP/1.1 408") == 1


def test_a_body_is_not_waited_for_before_it_was_asked_for(wire: Wire, app: Steps, loop: Loop) -> None:
    wire.feed(EXPECTING)
    loop.advance(3600)
    assert wire.state == "open"
    app.calls[0].wants()
    loop.advance(BODY_TIMEOUT + 1)
    assert undated(wire.output[len(CONTINUE) :]).startswith(b"HTTP/1.1 408 ")


def test_the_body_of_a_request_ahead_is_waited_for_in_its_turn(wire: Wire, app: Steps, loop: Loop) -> None:
    wire.feed(GET + UPLOAD + b"x")
    loop.advance(3600)
    assert wire.state == "open"
    app.calls[0].answer()
    loop.advance(BODY_TIMEOUT - 1)
    assert wire.state == "open"
    loop.advance(2)
    assert wire.output.count(b"HTTP/1.1 408") == 1


def test_the_rest_of_an_unwanted_body_is_waited_for_once(wire: Wire, app: Steps, loop: Loop) -> None:
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    app.calls[0].answer()
    for _ in range(7):
        wire.feed(b"x")
        loop.advance(10)
    assert wire.state == "closed"
    assert wire.output.count(b"HTTP/1.1") == 1


def test_a_client_that_does_not_read_is_cut_off(wire: Wire, app: Steps, loop: Loop) -> None:
    wire.feed(GET)
    wire.reading = False
    app.calls[0].send(start())
    app.calls[0].sends(body(b"x" * 100_000, True))
    loop.advance(WRITE_TIMEOUT - 1)
    assert wire.state == "open"
    loop.advance(3)
    assert wire.state == "aborted"
    assert app.calls[0].left == 1


@pytest.mark.parametrize(
    "meanwhile",
    [
        pytest.param(b"", id="while it sends nothing"),
        pytest.param(GET, id="although it sends another request"),
        pytest.param(b"GET /", id="although it sends a part of one"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_a_client_that_does_not_read_a_complete_answer_is_cut_off(
    wire: Wire, app: Steps, loop: Loop, meanwhile: bytes, last: bool
) -> None:
    wire.feed(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") if last else GET)
    wire.reading = False
    app.calls[0].answer(b"x" * 50_000)
    loop.advance(10)
    wire.feed(meanwhile)
    for call in app.calls[1:]:
        call.answer(b"y" * 50_000)
    loop.advance(WRITE_TIMEOUT + 3)
    assert wire.lost
    assert wire.aborted


def test_a_client_that_finishes_its_upload_still_has_to_read(wire: Wire, app: Steps, loop: Loop) -> None:
    wire.feed(UPLOAD)
    wire.reading = False
    app.calls[0].send(start())
    app.calls[0].sends(body(b"x" * 100_000, True))
    loop.advance(10)
    wire.feed(b"0123456789")
    loop.advance(WRITE_TIMEOUT)
    assert wire.state == "aborted"


def test_a_slow_client_gets_the_whole_of_a_large_answer(wire: Wire, app: Steps, loop: Loop) -> None:
    """It reads for longer than any time-out is long, the idle connection's among them."""
    wire.feed(GET)
    wire.reading = False
    app.calls[0].answer(b"x" * 1_000_000)
    while wire.waiting:
        loop.advance(60)
        wire.take(40_000)
        assert wire.state == "open"
    wire.reading = True
    loop.advance(1)
    wire.feed(GET)
    app.calls[1].answer()
    assert wire.output.endswith(b"\r\n\r\nok")


def test_a_slow_client_gets_the_whole_of_a_last_answer(wire: Wire, app: Steps, loop: Loop) -> None:
    wire.feed(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    wire.reading = False
    app.calls[0].answer(b"x" * 1_000_000)
    while wire.waiting:
        loop.advance(60)
        assert not wire.lost
        wire.take(40_000)
    assert (wire.state, wire.lost) == ("closed", True)


def test_a_slow_client_gets_the_whole_of_an_early_answer(wire: Wire, app: Steps, loop: Loop) -> None:
    wire.feed(EXPECTING)
    wire.reading = False
    app.calls[0].answer(b"x" * 500_000)
    while wire.waiting:
        loop.advance(60)
        assert not wire.lost
        wire.take(40_000)
    assert not wire.aborted
    loop.advance(5)
    assert wire.lost


def test_a_slow_client_reads_a_stream_for_hours(wire: Wire, app: Steps, loop: Loop) -> None:
    wire.feed(GET)
    (call,) = app.calls
    wire.reading = False
    call.send(start())
    for _ in range(50):
        taken = call.sends(body(b"x" * 100_000, True))
        for _ in range(3):
            loop.advance(100)
            wire.take(35_000)
        assert taken()
    assert wire.state == "open"


def test_a_stream_may_be_silent_for_hours(wire: Wire, app: Steps, loop: Loop) -> None:
    wire.feed(GET)
    app.calls[0].send(start(), body(b"x", True))
    loop.advance(3600)
    app.calls[0].send(body(b"y"))
    assert wire.state == "open"


def test_a_client_behind_tls_that_is_refused_is_closed_in_order(server: Server, loop: Loop) -> None:
    wire = server.connect(tls=True)
    wire.feed(b"bad\r\n\r\n")
    assert (wire.state, wire.lost) == ("closed", True)
    assert wire.output.count(b"HTTP/1.1 400") == 1


# Sizes


def limits() -> Iterator[tuple[str, bytes, int]]:
    target = b"/" + b"a" * (MAX_TARGET - 1)
    yield "a target as long as may be", b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n", 200
    yield "a target longer than that", b"GET " + target + b"a HTTP/1.1\r\nHost: a\r\n\r\n", 414
    yield "a target that does not end", b"GET " + target + b"a", 414
    fields = b"".join(b"x%d: y\r\n" % index for index in range(MAX_FIELDS - 1))
    yield "as many fields as may be", b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n", 200
    yield "more fields than that", b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"z: y\r\n\r\n", 431
    room = MAX_HEAD - len(b"Host: a\r\nX: \r\n")
    yield "a head as large as may be", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * room + b"\r\n\r\n", 200
    yield "a head larger than that", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * (room + 1) + b"\r\n\r\n", 431
    endless = b"y" * (MAX_UNFRAMED + 130_000)
    yield "a value that does not end", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + endless, 431
    yield "a name that does not end", b"GET / HTTP/1.1\r\nHost: a\r\n" + endless, 431
    yield "blanks that do not end", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b" " * len(endless), 431
    yield "empty lines that do not end", b"\r\n" * len(endless), 400
    yield "an extension that does not end", CHUNKED + b"1;" + endless, 400
    yield "a trailer that does not end", CHUNKED + b"0\r\nX: " + endless, 400
    yield "trailers that do not end", CHUNKED + b"0\r\n" + b"X: 1\r\n" * len(endless), 400


@pytest.mark.parametrize("piece", [1_000, 60_000])
@pytest.mark.parametrize(("data", "status"), [pytest.param(data, status, id=name) for name, data, status in limits()])
def test_the_limit_for(loop: Loop, data: bytes, status: int, piece: int) -> None:
    wire = Server(loop, Recorder()).connect()
    for index in range(0, len(data), piece):
        wire.feed(data[index : index + piece])
    assert undated(wire.output).startswith(b"HTTP/1.1 %d " % status)
    assert wire.state == ("open" if status == 200 else "ending")
    assert wire.unread == 0


def test_a_body_in_the_smallest_chunks_is_no_head(loop: Loop) -> None:
    app = Recorder()
    wire = Server(loop, app).connect()
    wire.feed(CHUNKED + b"1;extension\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
    assert app.seen[0].body == b"x" * 20_000


# Nothing is left


def test_a_connection_and_its_requests_are_gone_with_it(loop: Loop) -> None:
    """… without the garbage collector: whatever holds what in a circle is taken apart."""

    class Held:
        pass

    scopes: list[weakref.ref[Held]] = []

    class Watching(Recorder):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            held = scope["held"] = Held()
            scopes.append(weakref.ref(held))
            scope["moongate.cycle"].on_disconnect = lambda: held
            await super().__call__(scope, receive, send)
            self.scopes.clear()

    server = Server(loop, Watching())
    gc.collect()
    gc.disable()
    try:
        bad = b"bad\r\n\r\n"
        for data in (GET, POST, GET + GET, UPLOAD, b"GET /", bad, b"", GET + bad, UPLOAD + b"x", CHUNKED + b"!\r\n"):
            wire = server.connect()
            protocol = weakref.ref(wire.get_protocol())
            assert isinstance(protocol(), GatewayProtocol)
            wire.feed(data)
            wire.lose()
            loop.settle()
            assert protocol() is None, data
        assert scopes
        assert not any(scope() for scope in scopes)
    finally:
        gc.enable()


def test_a_request_is_gone_when_it_was_answered(loop: Loop, app: Steps) -> None:
    wire = Server(loop, app).connect()
    gc.collect()
    gc.disable()
    try:
        wire.feed(GET)
        call = app.calls.pop()
        cycle = weakref.ref(call.scope["state"].setdefault("held", Steps()))
        call.answer()
        del call
        loop.settle()
        assert cycle() is None
    finally:
        gc.enable()


def test_nothing_ticks_when_nobody_is_connected(loop: Loop, server: Server) -> None:
    wire = server.connect()
    wire.feed(GET)
    wire.lose()
    loop.settle()
    assert not [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
