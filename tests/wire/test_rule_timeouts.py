"""``timeouts`` of a rule: ``request`` for all that is done for a request, ``backendRequest`` for each attempt."""

import pytest

from app.upstream.health import BURST
from tests.wire.harness import Loop, Wire
from tests.wire.rules import GET, OK, Ruled, backend, retry, status, timeouts
from tests.wire.websockets import HANDSHAKE, SWITCHED, SWITCHING, TEXT, frame

HALF = OK[:-1]
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"

BOTH = pytest.mark.parametrize("limits", [timeouts("2s"), timeouts(None, "2s")], ids=["request", "backendRequest"])


@BOTH
def test_a_backend_that_does_not_answer_in_time_is_504(loop: Loop, limits: object) -> None:
    rig = Ruled(loop, timeouts=limits)
    client = rig.client(GET)
    loop.advance(1.5)
    assert status(client) == 0
    loop.advance(0.5)
    assert status(client) == 504
    assert rig.records[0].flags == "UT"
    assert rig.got()[1].lost


@BOTH
def test_an_answer_in_time_is_an_answer_and_leaves_no_timer(loop: Loop, limits: object) -> None:
    rig = Ruled(loop, timeouts=limits)
    client = rig.client(GET)
    loop.advance(1.5)
    rig.answers(OK)
    loop.advance(3)
    assert client.output.endswith(b"\r\n\r\nok")
    assert client.state == "open"


@BOTH
def test_an_answer_that_has_begun_is_cut_off(loop: Loop, limits: object) -> None:
    rig = Ruled(loop, timeouts=limits)
    client = rig.client(GET)
    rig.answers(HALF)
    loop.advance(2)
    assert status(client) == 200
    assert client.state == "aborted"


@pytest.mark.parametrize("limits", [timeouts("0s"), timeouts("0s", "0s")])
def test_zero_is_no_limit(loop: Loop, limits: object) -> None:
    rig = Ruled(loop, timeouts=limits)
    client = rig.client(GET)
    loop.advance(3600)
    rig.answers(OK)
    assert status(client) == 200


def test_no_limit_of_the_attempt_beside_one_of_the_request(loop: Loop) -> None:
    rig = Ruled(loop, timeouts=timeouts("5s", "0s"))
    client = rig.client(GET)
    loop.advance(4)
    assert status(client) == 0
    loop.advance(1)
    assert status(client) == 504


def test_a_client_that_sends_its_body_too_slowly_is_504(loop: Loop) -> None:
    rig = Ruled(loop, timeouts=timeouts("2s"))
    client = rig.client(CHUNKED)
    loop.advance(1.5)
    client.feed(b"1\r\n!\r\n")
    loop.advance(0.5)
    assert status(client) == 504


def test_the_time_for_a_connection_counts(loop: Loop) -> None:
    rig = Ruled(loop, timeouts=timeouts("2s"))

    async def never() -> None:
        await loop.create_future()

    loop.connecting = never
    client = rig.client(GET)
    loop.advance(2)
    assert status(client) == 504


def test_an_endpoint_that_answers_nothing_in_the_time_of_requests_is_passed_over(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2), timeouts=timeouts("1s"))
    counts = [0, 0, 0]
    for _ in range(60):
        rig.client(GET)
        number, wire = rig.got()
        counts[number] += 1
        if number == 1:
            loop.advance(1)
        else:
            wire.feed(OK)
        if counts[1] == BURST:
            break
    for _ in range(10):
        rig.client(GET)
        assert rig.answers(OK) == [2]


def test_a_client_that_is_slow_is_not_the_endpoints_fault(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2), timeouts=timeouts("1s"))
    for _ in range(10 * BURST):
        rig.client(CHUNKED)
        loop.advance(1)
    served = set()
    for _ in range(40):
        rig.client(GET)
        served.update(rig.answers(OK))
    assert served == {1, 2}


def test_retries_count_into_the_time_of_the_request(loop: Loop) -> None:
    rig = Ruled(loop, timeouts=timeouts("3s", "1s"), retry=retry(100))
    client = rig.client(GET)
    loop.advance(2.5)
    assert status(client) == 0
    assert rig.records[0].retries == 2
    loop.advance(0.5)
    assert status(client) == 504
    assert rig.records[0].retries == 2


def test_a_pause_between_attempts_counts_into_the_time_of_the_request(loop: Loop) -> None:
    rig = Ruled(loop, timeouts=timeouts("2s"), retry=retry(1, backoff="1m"))
    rig.refusing = {1}
    client = rig.client(GET)
    loop.advance(2)
    assert status(client) == 504


def test_a_client_that_leaves_in_a_pause_is_not_answered(loop: Loop) -> None:
    rig = Ruled(loop, retry=retry(1, backoff="1m"))
    rig.refusing = {1}
    client = rig.client(GET)
    client.lose()
    assert rig.records[0].flags == "DC"


# WebSockets


def opened(rig: Ruled) -> tuple[Wire, Wire]:
    client = rig.client(HANDSHAKE)
    _, backend = rig.got()
    backend.feed(SWITCHING)
    assert client.output == SWITCHED
    return client, backend


@BOTH
def test_a_websocket_that_is_open_has_no_limit(loop: Loop, limits: object) -> None:
    rig = Ruled(loop, ws="auto", timeouts=limits)
    client, backend = opened(rig)
    loop.advance(60)
    backend.feed(frame(TEXT, b"still here", masked=False))
    assert client.output.endswith(b"still here")
    assert client.state == "open"
    client.lose()


@BOTH
def test_a_handshake_that_is_not_answered_in_time_is_504(loop: Loop, limits: object) -> None:
    rig = Ruled(loop, ws="auto", timeouts=limits)
    client = rig.client(HANDSHAKE)
    loop.advance(2)
    assert status(client) == 504
