"""``retry`` of a rule: what is sent again, how often, where to and when."""

import re

import pytest

from app.forwarding import MAX_KEPT
from app.upstream.retry import Retry
from middleware.errors import BadGateway, ConnectFailed, UpstreamTimeout
from routes.resources.http import HTTPRouteRetry
from tests.wire.harness import Loop
from tests.wire.rules import BUSY, GET, OK, POST, Ruled, backend, retry, status, timeouts
from tests.wire.websockets import HANDSHAKE, SWITCHED, SWITCHING

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
#: Longer than any pause between attempts where the route names none.
PAUSE = 0.5


def in_turn(rig: Ruled, *answers: bytes) -> list[int]:
    """Who got the attempts that ended in ``answers``, with the pauses in between."""
    found = []
    for answer in answers:
        found += rig.answers(answer)
        rig.loop.advance(PAUSE)
    return found


# Statuses


def test_an_answer_with_a_listed_status_is_not_seen_by_the_client(loop: Loop) -> None:
    rig = Ruled(loop, retry=retry(1, 503))
    client = rig.client(GET)
    in_turn(rig, BUSY, OK)
    assert client.output.endswith(b"\r\n\r\nok")
    assert status(client) == 200
    assert rig.records[0].retries == 1


def test_the_last_answer_is_the_clients_with_its_body(loop: Loop) -> None:
    rig = Ruled(loop, retry=retry(2, 503))
    client = rig.client(GET)
    in_turn(rig, BUSY, BUSY, BUSY.replace(b"Content-Length", b"X-A: 3\r\nContent-Length"))
    assert status(client) == 503
    assert b"\r\nx-a: 3\r\n" in client.output
    assert client.output.endswith(b"\r\n\r\nbusy")
    assert rig.records[0].retries == 2
    assert rig.records[0].flags == ""


@pytest.mark.parametrize("listed", [(), (502, 504)])
def test_a_status_that_is_not_listed_is_an_answer(loop: Loop, listed: tuple[int, ...]) -> None:
    rig = Ruled(loop, retry=retry(3, *listed))
    client = rig.client(GET)
    in_turn(rig, BUSY)
    assert status(client) == 503


def test_without_a_number_there_is_one_retry(loop: Loop) -> None:
    rig = Ruled(loop, retry=HTTPRouteRetry(codes=(503,)))
    client = rig.client(GET)
    in_turn(rig, BUSY, BUSY)
    assert status(client) == 503


def test_zero_attempts_are_no_retry(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2), retry=retry(0, 503))
    client = rig.client(GET)
    in_turn(rig, BUSY)
    assert status(client) == 503


def test_zero_attempts_are_no_retry_where_nobody_took_the_request_either(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2), retry=retry(0))
    rig.refusing = {1, 2}
    client = rig.client(GET)
    assert status(client) == 502
    assert len(loop.asked) == 1


def test_a_whole_answer_that_is_dropped_leaves_its_connection(loop: Loop) -> None:
    rig = Ruled(loop, retry=retry(1, 503))
    rig.client(GET)
    in_turn(rig, BUSY, OK)
    assert len(loop.wires) == 1


def test_of_a_dropped_answer_no_more_is_read_than_has_come(loop: Loop) -> None:
    rig = Ruled(loop, retry=retry(1, 503))
    client = rig.client(GET)
    in_turn(rig, b"HTTP/1.1 503 Busy\r\nContent-Length: 1000000000\r\n\r\nbusy", OK)
    assert status(client) == 200
    assert [wire.state for wire in loop.wires] == ["aborted", "open"]


def test_an_interim_answer_does_not_make_it_final(loop: Loop) -> None:
    rig = Ruled(loop, retry=retry(1, 503))
    client = rig.client(GET)
    in_turn(rig, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + BUSY, OK)
    assert b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" in client.output
    assert status(client) == 200


# Where to


def test_another_endpoint_is_asked_first(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2, 3), retry=retry(3, 503))
    rig.client(GET)
    first, second, third, again = in_turn(rig, BUSY, BUSY, BUSY, OK)
    assert {first, second, third} == {1, 2, 3}
    assert again != third


def test_one_that_refuses_is_not_asked_again_while_there_is_another(loop: Loop) -> None:
    """As the official test has it: of two endpoints one refuses, and ten requests in a row are answered."""
    rig = Ruled(loop, backend(1, 2), retry=retry(100))
    rig.refusing = {1}
    for _ in range(10):
        client = rig.client(GET)
        assert in_turn(rig, OK) == [2]
        assert status(client) == 200
    assert [host for host, _ in loop.asked].count("192.0.2.1") <= 10
    assert max(record.retries for record in rig.records) <= 1


def test_one_that_refuses_is_not_asked_instead_of_one_that_was_busy(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2), retry=retry(4, 503))
    rig.refusing = {1}
    for _ in range(20):
        client = rig.client(GET)
        assert in_turn(rig, BUSY, BUSY, OK) == [2, 2, 2]
        assert status(client) == 200


def test_the_only_endpoint_is_asked_again(loop: Loop) -> None:
    rig = Ruled(loop, retry=retry(2))
    rig.refusing = {1}
    client = rig.client(GET)
    rig.loop.advance(2 * PAUSE)
    assert len(loop.asked) == 3
    assert status(client) == 502
    assert rig.records[0].flags == "UF"


# Errors


@pytest.mark.parametrize("codes", [(), (503,)])
def test_a_connection_that_ends_without_an_answer(loop: Loop, codes: tuple[int, ...]) -> None:
    rig = Ruled(loop, retry=retry(1, *codes))
    client = rig.client(GET)
    rig.got()[1].feed_eof()
    loop.advance(PAUSE)
    in_turn(rig, OK)
    assert status(client) == 200


def test_a_reset_in_the_middle_of_a_head(loop: Loop) -> None:
    rig = Ruled(loop, retry=retry(1))
    client = rig.client(GET)
    _, wire = rig.got()
    wire.feed(b"HTTP/1.1 200")
    wire.lose(ConnectionResetError())
    loop.advance(PAUSE)
    in_turn(rig, OK)
    assert status(client) == 200


def test_what_broke_when_the_answer_had_begun_is_cut_off(loop: Loop) -> None:
    rig = Ruled(loop, retry=retry(1))
    client = rig.client(GET)
    _, wire = rig.got()
    wire.feed(OK[:-1])
    wire.feed_eof()
    loop.advance(PAUSE)
    assert rig.silent
    assert client.state == "aborted"


def test_an_attempt_that_takes_too_long(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2), retry=retry(1), timeouts=timeouts(None, "1s"))
    client = rig.client(GET)
    first, _ = rig.got()
    loop.advance(1)
    [second] = in_turn(rig, OK)
    assert {first, second} == {1, 2}
    assert status(client) == 200


def test_no_attempt_is_left_after_one_that_takes_too_long(loop: Loop) -> None:
    rig = Ruled(loop, retry=retry(1), timeouts=timeouts(None, "1s"))
    client = rig.client(GET)
    loop.advance(3)
    assert status(client) == 504
    assert rig.records[0].retries == 1


# What may be done twice


def test_a_post_whose_connection_broke_may_have_been_worked_on(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2), retry=retry(3, 500))
    client = rig.client(POST)
    rig.got()[1].feed_eof()
    loop.advance(PAUSE)
    assert rig.silent
    assert status(client) == 502


def test_a_post_whose_connection_broke_is_sent_again_where_502_is_listed(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2), retry=retry(3, 502))
    client = rig.client(POST)
    rig.got()[1].feed_eof()
    loop.advance(PAUSE)
    in_turn(rig, OK)
    assert status(client) == 200


@pytest.mark.parametrize(("codes", "expected"), [((), 504), ((504,), 200)])
def test_a_post_that_was_not_answered_in_time(loop: Loop, codes: tuple[int, ...], expected: int) -> None:
    rig = Ruled(loop, retry=retry(1, *codes), timeouts=timeouts(None, "1s"))
    client = rig.client(POST)
    rig.got()
    loop.advance(1.5)
    if expected == 200:
        in_turn(rig, OK)
    assert status(client) == expected


def test_a_post_that_nobody_took(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2), retry=retry(1))
    rig.refusing = {1}
    for _ in range(10):
        client = rig.client(POST)
        in_turn(rig, OK)
        assert status(client) == 200


# Bodies


def test_a_body_is_sent_again(loop: Loop) -> None:
    rig = Ruled(loop, retry=retry(1, 503))
    client = rig.client(POST)
    in_turn(rig, BUSY, OK)
    assert status(client) == 200
    [wire] = loop.wires
    assert wire.output == 2 * b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi"


def test_what_has_come_of_a_body_is_sent_again_and_then_the_rest(loop: Loop) -> None:
    rig = Ruled(loop, retry=retry(1, 503))
    client = rig.client(CHUNKED + b"2\r\nab\r\n")
    in_turn(rig, BUSY)
    _, wire = rig.got()
    client.feed(b"2\r\ncd\r\n0\r\n\r\n")
    assert wire.output.endswith(b"\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n")
    wire.feed(OK)
    assert status(client) == 200
    assert [wire.state for wire in loop.wires] == ["aborted", "open"], "the first got only a part of the request"


def test_a_body_as_long_as_is_kept_is_sent_again(loop: Loop) -> None:
    rig = Ruled(loop, retry=retry(1, 503))
    client = rig.client(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MAX_KEPT + b"x" * MAX_KEPT)
    in_turn(rig, BUSY, OK)
    assert status(client) == 200
    assert loop.wires[0].output.count(b"x" * MAX_KEPT) == 2


def test_a_longer_body_is_not_sent_again(loop: Loop) -> None:
    size = MAX_KEPT + 1
    rig = Ruled(loop, retry=retry(1, 503))
    client = rig.client(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    in_turn(rig, BUSY)
    assert rig.silent
    assert status(client) == 503
    assert client.output.endswith(b"busy")


def test_a_longer_body_of_which_nothing_was_sent_is(loop: Loop) -> None:
    size = 4 * MAX_KEPT
    rig = Ruled(loop, backend(1, 2), retry=retry(1))
    rig.refusing = {1, 2}
    client = rig.client(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    assert len(loop.asked) == 2
    assert status(client) == 502


# When


def test_a_pause_that_the_route_asks_for(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2), retry=retry(1, 503, backoff="4s"))
    client = rig.client(GET)
    rig.answers(BUSY)
    loop.advance(1.5)
    assert rig.silent
    loop.advance(2.5)
    rig.answers(OK)
    assert status(client) == 200


def test_another_endpoint_is_asked_at_once_where_no_pause_is_asked_for(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2), retry=retry(1, 503))
    rig.client(GET)
    assert {*rig.answers(BUSY, OK)} == {1, 2}


def test_pauses_double_up_to_ten_times_the_first() -> None:
    policy = Retry(backoff=0.1)
    longest = [policy.pause(number, elsewhere=True, chance=lambda: 0.0) for number in range(6)]
    assert longest == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_pauses_are_shortened_by_up_to_a_half() -> None:
    assert Retry(backoff=0.1).pause(0, elsewhere=True, chance=lambda: 1.0) == pytest.approx(0.05)


def test_no_number_of_attempts_makes_a_pause_that_is_none() -> None:
    assert Retry(backoff=0.1).pause(100_000, elsewhere=False, chance=lambda: 0.0) == pytest.approx(1.0)


# Rules that ask for no retry


@pytest.mark.parametrize("error", [BadGateway(), UpstreamTimeout()])
def test_without_retry_only_what_was_not_worked_on_is_sent_again(error: BadGateway) -> None:
    assert not Retry().takes(error, "GET")
    assert Retry().takes(ConnectFailed(), "POST")


# WebSockets


def test_a_handshake_that_is_refused_with_a_listed_status_is_sent_again(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2), ws="auto", retry=retry(1, 503))
    client = rig.client(HANDSHAKE)
    assert {*rig.answers(BUSY, SWITCHING)} == {1, 2}
    assert re.sub(rb"date: .*?\r\n", b"", client.output) == SWITCHED
    client.lose()
