"""One connection of a client through its life: bodies, interim and early answers, pipelining, ends."""

import re

import pytest
from starlette.types import Receive, Scope, Send

from app.listeners.clock import HEAD_TIMEOUT
from app.listeners.serial import GRACE
from middleware.answer import CYCLE
from tests.wire.apps import Steps, body, length, start
from tests.wire.harness import Loop, Server, Wire, undated
from tests.wire.test_responses import GET, LAST, POST


@pytest.fixture
def app() -> Steps:
    return Steps()


@pytest.fixture
def server(loop: Loop, app: Steps) -> Server:
    return Server(loop, app)


@pytest.fixture
def wire(server: Server) -> Wire:
    return server.connect()


UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue \r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


# The scope


def test_the_scope_of_a_request(wire: Wire, app: Steps) -> None:
    wire.feed(b"GET /a%2Fb%C3%A4?c=%20 HTTP/1.1\r\nHost: a\r\n\r\n")
    scope = {key: value for key, value in app.calls[0].scope.items() if key != CYCLE}
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "server": ("192.0.2.1", 80),
        "client": ("192.0.2.7", 40000),
        "root_path": "",
        "path": "/a/bä",
        "raw_path": b"/a%2Fb%C3%A4",
        "query_string": b"c=%20",
        "headers": [(b"host", b"a")],
        "state": {},
        "extensions": {"http.response.early_hint": {}, "http.response.trailers": {}},
    }


def test_the_scheme_behind_tls(server: Server, app: Steps) -> None:
    server.connect(tls=True).feed(GET)
    assert app.calls[0].scope["scheme"] == "https"


def test_a_root_path_is_part_of_the_paths(loop: Loop, app: Steps) -> None:
    Server(loop, app, root_path="/root").connect().feed(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    scope = app.calls[0].scope
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/root", "/root/a", b"/root/a")


# Bodies of requests


def test_a_body_comes_as_it_comes(wire: Wire, app: Steps) -> None:
    wire.feed(UPLOAD)
    (call,) = app.calls
    first = call.wants()
    wire.feed(b"0123")
    assert first() == {"type": "http.request", "body": b"0123", "more_body": True}
    wire.feed(b"45", b"67")
    assert call.receive() == {"type": "http.request", "body": b"4567", "more_body": True}
    wire.feed(b"89")
    assert call.receive() == {"type": "http.request", "body": b"89", "more_body": False}
    gone = call.wants()
    wire.lose()
    assert gone() == {"type": "http.disconnect"}


def test_a_request_without_a_body_has_an_empty_one(wire: Wire, app: Steps) -> None:
    wire.feed(GET)
    assert app.calls[0].receive() == {"type": "http.request", "body": b"", "more_body": False}


def test_what_came_of_a_body_is_there_although_the_client_left(wire: Wire, app: Steps) -> None:
    wire.feed(UPLOAD + b"0123")
    wire.lose()
    assert app.calls[0].receive() == {"type": "http.request", "body": b"0123", "more_body": True}
    assert app.calls[0].receive() == {"type": "http.disconnect"}


def test_a_complete_answer_ends_receiving(wire: Wire, app: Steps) -> None:
    wire.feed(GET)
    (call,) = app.calls
    call.receive()
    more = call.wants()
    call.answer()
    assert more() == {"type": "http.disconnect"}
    assert call.left == 0


def test_a_client_waits_while_nobody_takes_its_body(wire: Wire, app: Steps) -> None:
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
    for _ in range(20):
        wire.feed(b"x" * 50_000)
    assert wire.paused
    assert wire.unread >= 850_000
    taken = 0
    while taken < 1_000_000:
        message = app.calls[0].receive()
        taken += len(message["body"])
        assert len(message["body"]) < 64 * 1024 + 256 * 1024 + 1
    assert not message["more_body"]
    assert not wire.paused


# Expect: 100-continue, RFC 9110 §10.1.1


def test_100_is_sent_when_the_body_is_asked_for_and_not_before(wire: Wire, app: Steps) -> None:
    wire.feed(EXPECTING)
    assert wire.output == b""
    body_comes = app.calls[0].wants()
    assert wire.output == CONTINUE
    wire.feed(b"hi")
    assert body_comes() == {"type": "http.request", "body": b"hi", "more_body": False}
    app.calls[0].answer()
    assert wire.output.count(CONTINUE) == 1
    assert wire.state == "open"


def test_100_is_sent_once(wire: Wire, app: Steps) -> None:
    wire.feed(EXPECTING)
    first = app.calls[0].wants()
    wire.feed(b"h")
    first()
    app.calls[0].wants()
    assert wire.output == CONTINUE


def test_100_is_not_sent_to_a_client_that_did_not_wait(wire: Wire, app: Steps) -> None:
    wire.feed(EXPECTING + b"h")
    assert app.calls[0].receive()["body"] == b"h"
    assert wire.output == b""


def test_100_never_follows_a_final_status(wire: Wire, app: Steps) -> None:
    wire.feed(EXPECTING)
    app.calls[0].send(start(200, length(4)), body(b"ab", True))
    app.calls[0].wants()
    assert CONTINUE not in wire.output


def test_an_answer_instead_of_100_ends_the_connection(wire: Wire, app: Steps) -> None:
    """The client may or may not send its body now: its next bytes could be read in two ways."""
    wire.feed(EXPECTING)
    app.calls[0].answer()
    assert b"\r\nconnection: close\r\n" in wire.output
    assert wire.state == "ending"
    wire.feed(b"hi" + GET)
    assert len(app.calls) == 1


def test_another_expectation_is_the_applications_business(wire: Wire, app: Steps) -> None:
    wire.feed(UPLOAD.replace(b"\r\n\r\n", b"\r\nExpect: something\r\n\r\n"))
    app.calls[0].wants()
    assert wire.output == b""


def test_a_request_ahead_is_not_told_to_go_on_before_its_turn(wire: Wire, app: Steps) -> None:
    wire.feed(GET + EXPECTING)
    assert wire.output == b""
    app.calls[0].answer()
    assert CONTINUE not in wire.output
    app.calls[1].wants()
    assert wire.output.endswith(CONTINUE)


# Answers before the end of the request, RFC 9112 §9.5


def test_the_rest_of_a_body_is_read_to_get_at_the_next_request(wire: Wire, app: Steps) -> None:
    wire.feed(UPLOAD + b"0123")
    app.calls[0].answer()
    assert wire.state == "open"
    wire.feed(b"456789" + GET)
    app.calls[1].answer()
    assert wire.output.count(b"HTTP/1.1 200 OK") == 2


def test_a_paused_client_can_go_on_when_its_answer_is_complete(wire: Wire, app: Steps) -> None:
    size = 300_000
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size, *[b"x" * 10_000] * 30, GET)
    assert wire.paused
    app.calls[0].answer()
    app.calls[1].answer()
    assert wire.output.count(b"HTTP/1.1 200 OK") == 2


def test_no_more_than_a_bound_is_read_of_a_body_that_nobody_wants(wire: Wire, app: Steps) -> None:
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n")
    app.calls[0].answer()
    for _ in range(11):
        wire.feed(b"x" * 100_000)
    assert wire.state == "ending"
    assert undated(wire.output).endswith(b"\r\n\r\nok")


def test_what_follows_such_a_body_in_the_same_bytes_is_not_looked_at(wire: Wire, app: Steps) -> None:
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    app.calls[0].answer()
    for _ in range(10):
        wire.feed(b"%x\r\n" % 100_000 + b"x" * 100_000 + b"\r\n")
    wire.feed(b"%x\r\n" % 100_000 + b"x" * 100_000 + b"\r\n0\r\n\r\n" + GET)
    assert wire.state == "ending"
    assert len(app.calls) == 1


def test_a_last_request_with_an_early_answer_leaves_the_client_time_to_read_it(
    wire: Wire, app: Steps, loop: Loop
) -> None:
    wire.feed(UPLOAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"01")
    app.calls[0].answer()
    assert wire.state == "ending"
    wire.feed(b"23")
    assert wire.unread == 0
    loop.advance(4)
    assert wire.lost


def test_a_bad_body_behind_a_complete_answer_gets_no_second_one(wire: Wire, app: Steps) -> None:
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    app.calls[0].answer()
    wire.feed(b"!\r\n")
    assert wire.output.count(b"HTTP/1.1") == 1
    assert wire.state == "ending"


def test_a_bad_body_breaks_an_answer_that_has_begun(wire: Wire, app: Steps) -> None:
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    app.calls[0].send(start(), body(b"ab", True))
    wire.feed(b"!\r\n")
    assert wire.state == "aborted"
    assert app.calls[0].left == 1


def test_a_bad_body_is_refused_and_the_application_told(wire: Wire, app: Steps) -> None:
    wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
    wire.feed(b"!\r\n")
    (call,) = app.calls
    assert undated(wire.output).startswith(b"HTTP/1.1 400 ")
    assert call.left == 1
    assert call.receive() == {"type": "http.disconnect"}
    assert b"100 Continue" not in wire.output
    wire.lose()
    assert call.left == 1


# Pipelining, RFC 9112 §9.3.2


def test_one_request_at_a_time(wire: Wire, app: Steps) -> None:
    wire.feed(GET * 3)
    assert len(app.calls) == 1
    for index in range(3):
        app.calls[index].answer(b"%d" % index)
    assert re.findall(rb"\r\n\r\n(\d)", wire.output) == [b"0", b"1", b"2"]


def test_a_client_that_is_too_far_ahead_has_to_wait(wire: Wire, app: Steps) -> None:
    for _ in range(50):
        wire.feed(GET)
    assert wire.paused
    assert wire.unread > 0
    for index in range(50):
        app.calls[index].answer()
    assert wire.output.count(b"HTTP/1.1 200") == 50
    assert not wire.paused


def test_a_hundred_requests_at_once_are_all_served(wire: Wire, app: Steps) -> None:
    wire.feed(GET * 100)
    for index in range(100):
        app.calls[index].answer()
    assert wire.output.count(b"HTTP/1.1 200") == 100
    assert wire.state == "open"


def test_requests_ahead_are_bounded_even_at_once(wire: Wire, app: Steps) -> None:
    wire.feed(GET * 5000)
    for index in range(257):
        app.calls[index].answer()
    assert wire.output.count(b"HTTP/1.1 200") == 257
    assert wire.output.count(b"HTTP/1.1 400") == 1
    assert wire.state == "ending"


def test_a_body_that_is_taken_does_not_let_more_requests_ahead_in(wire: Wire, app: Steps) -> None:
    wire.feed(POST + GET * 40)
    assert wire.paused
    app.calls[0].receive()
    assert wire.paused


def test_bodies_of_requests_ahead_wait_outside(wire: Wire, app: Steps) -> None:
    wire.feed(GET)
    for _ in range(30):
        wire.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + b"x" * 30_000, b"x" * 30_000)
    assert wire.paused
    assert wire.unread > 1_500_000
    app.calls[0].answer()
    for index in range(1, 31):
        got = 0
        while True:
            message = app.calls[index].receive()
            got += len(message["body"])
            if not message["more_body"]:
                break
        assert got == 60_000
        app.calls[index].answer()
    assert wire.unread == 0


def test_a_last_answer_leaves_out_what_was_asked_ahead(wire: Wire, app: Steps) -> None:
    wire.feed(GET * 3)
    app.calls[0].send(start(200, (b"connection", b"close"), length(0)), body())
    app.calls[0].finish()
    assert len(app.calls) == 1
    assert wire.state == "ending"


def test_answers_of_a_client_that_does_not_read_do_not_pile_up(wire: Wire, app: Steps) -> None:
    wire.reading = False
    for _ in range(200):
        wire.feed(GET)
        for call in app.calls:
            if not call.end.done():
                call.answer(b"x" * 10_000)
    assert wire.largest_wait < 64 * 1024 + 11_000
    assert wire.unread > 0
    wire.reading = True
    wire.take()
    for _ in range(200):
        for call in app.calls:
            if not call.end.done():
                call.answer(b"x" * 10_000)
    assert wire.output.count(b"HTTP/1.1 200") == 200


# Who does not read


def test_an_application_waits_for_a_client_that_does_not_read(wire: Wire, app: Steps) -> None:
    wire.feed(GET)
    (call,) = app.calls
    wire.reading = False
    call.send(start())
    call.send(body(b"x" * 60_000, True))
    taken = call.sends(body(b"x" * 10_000, True))
    assert not taken()
    wire.take(30_000)
    assert not taken()
    wire.take(30_000)
    assert taken()


def test_an_application_that_waits_learns_of_the_clients_leave(wire: Wire, app: Steps) -> None:
    wire.feed(GET)
    (call,) = app.calls
    wire.reading = False
    call.send(start())
    taken = call.sends(body(b"x" * 100_000, True))
    assert not taken()
    wire.lose()
    assert taken()
    assert call.left == 1


def test_the_last_piece_waits_for_nobody(wire: Wire, app: Steps) -> None:
    wire.feed(LAST)
    wire.reading = False
    app.calls[0].answer(b"x" * 1_000_000)
    assert wire.state == "closed"
    assert not wire.lost
    wire.take()
    assert wire.lost


# Who leaves


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_a_client_that_leaves_is_told_once(wire: Wire, app: Steps, error: Exception | None) -> None:
    wire.feed(GET + GET)
    wire.lose(error)
    (call,) = app.calls
    assert call.left == 1
    assert call.receive()["type"] == "http.disconnect"


def test_the_end_of_sending_is_the_end(wire: Wire, app: Steps) -> None:
    wire.feed(GET)
    wire.feed_eof()
    assert app.calls[0].left == 1
    assert wire.lost


def test_nobody_is_told_when_the_answer_was_complete(wire: Wire, app: Steps) -> None:
    wire.feed(GET)
    app.calls[0].answer()
    wire.lose()
    assert app.calls[0].left == 0


def test_sending_to_a_client_that_left_is_an_oserror(wire: Wire, app: Steps, caplog: pytest.LogCaptureFixture) -> None:
    wire.feed(GET)
    (call,) = app.calls
    wire.lose()
    with pytest.raises(OSError, match="left"):
        call.send(start())


def test_an_application_that_fails_for_that_is_not_at_fault(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await send(start())

    wire = Server(loop, app).connect()
    wire.feed(GET)
    wire.lose()
    assert not caplog.text


# The end of the server


def stop(server: Server) -> None:
    """What uvicorn does to begin its shutdown."""
    for connection in list(server.state.connections):
        connection.shutdown()
    server.loop.settle()


#: The clock of a connection looks once a second.
SOON = GRACE + 1


def test_a_server_that_stops_ends_idle_connections(server: Server, app: Steps, loop: Loop) -> None:
    fresh, kept = server.connect(), server.connect()
    kept.feed(GET)
    app.calls[0].answer()
    stop(server)
    loop.advance(SOON)
    assert fresh.lost
    assert kept.lost


def test_a_request_that_was_on_its_way_when_the_server_stopped_is_the_last(
    server: Server, app: Steps, loop: Loop
) -> None:
    wire = server.connect()
    stop(server)
    loop.advance(GRACE / 2)
    wire.feed(GET)
    app.calls[0].answer()
    assert b"\r\nconnection: close\r\n" in wire.output
    assert wire.lost


def test_a_head_of_which_a_part_had_come_when_the_server_stopped_may_come_to_its_end(
    server: Server, app: Steps, loop: Loop
) -> None:
    wire = server.connect()
    wire.feed(GET[:10])
    stop(server)
    loop.advance(HEAD_TIMEOUT / 2)
    wire.feed(GET[10:])
    app.calls[0].answer()
    assert b"\r\nconnection: close\r\n" in wire.output
    assert wire.lost


def test_being_told_twice_gives_no_more_time(server: Server, loop: Loop) -> None:
    wire = server.connect()
    for _ in range(6):
        stop(server)
        loop.advance(SOON / 6)
    assert wire.lost


def test_while_draining_an_answer_says_that_it_is_the_last_and_the_idle_stay(server: Server, app: Steps) -> None:
    idle, wire = server.connect(), server.connect()
    for connection in server.state.connections:
        connection.draining = True  # type: ignore[union-attr]  # uvicorn lists its own classes
    wire.feed(GET)
    app.calls[0].answer()
    assert b"\r\nconnection: close\r\n" in wire.output
    assert wire.lost
    assert idle.state == "open"


def test_a_server_that_stops_finishes_what_is_under_way(server: Server, app: Steps, loop: Loop) -> None:
    wire = server.connect()
    wire.feed(GET)
    stop(server)
    app.calls[0].answer()
    assert b"\r\nconnection: close\r\n" in wire.output
    assert wire.lost
    assert not server.state.connections
    assert not server.state.tasks


def test_a_server_that_stops_ends_a_connection_whose_answer_had_begun(server: Server, app: Steps, loop: Loop) -> None:
    wire = server.connect()
    wire.feed(GET)
    app.calls[0].send(start(200, length(2)), body(b"a", True))
    stop(server)
    app.calls[0].send(body(b"b"))
    assert wire.output.endswith(b"\r\n\r\nab")
    assert not wire.lost  # the client could not know, and may have sent another request
    loop.advance(SOON)
    assert wire.lost


def test_a_server_that_stops_does_not_wait_for_the_rest_of_an_unwanted_body(server: Server, app: Steps) -> None:
    wire = server.connect()
    wire.feed(UPLOAD + b"0")
    app.calls[0].answer()
    stop(server)
    assert wire.lost


def test_requests_are_counted(server: Server, app: Steps) -> None:
    wire = server.connect()
    wire.feed(GET * 2)
    app.calls[0].answer()
    app.calls[1].answer()
    assert server.state.total_requests == 2


# Too many connections


def test_connections_beyond_the_limit_get_503(loop: Loop, app: Steps) -> None:
    server = Server(loop, app, limit_concurrency=2)
    first, second, third = server.connect(), server.connect(), server.connect()
    third.feed(GET + GET)
    assert undated(third.output).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert third.output.count(b"HTTP/1.1") == 1
    assert third.state == "ending"
    third.lose()
    first.feed(GET)
    second.feed(GET)
    assert len(app.calls) == 2
