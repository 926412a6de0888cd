"""The API's filters in a rule, from the client's bytes to those of the backends."""

from typing import Any

import pytest

from app.upstream.resolver import Resolver
from routes.graph.nodes import Address, DNSName
from routes.resources.filters import FILTER_FIELDS, HTTPRouteFilter
from routes.table.types import Backend, Filter
from tests.wire.harness import Loop
from tests.wire.rules import BUSY, GET, OK, POST, Ruled, backend, retry, status, timeouts

OTHER = {"backendRef": {"name": "other", "port": 80}}
SAYS_USER = {"allowedResponseHeaders": ["X-User"]}
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def made(type_: str, own: Backend | None = None, **config: Any) -> Filter:
    source = HTTPRouteFilter.model_validate({"type": type_, FILTER_FIELDS[type_][1]: config})
    return Filter(type_, source.config, own)


def mirror(number: int) -> Filter:
    return made("RequestMirror", backend(number, name="mirror"), **OTHER)


def asked(number: int) -> Filter:
    return made("ExternalAuth", backend(number, name="auth"), protocol="HTTP", http={}, **OTHER)


def ends(rig: Ruled) -> dict[int, Any]:
    return dict(rig.backends)


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
def test_a_mirror_gets_what_the_backend_gets_and_changes_nothing(loop: Loop, request_: bytes) -> None:
    rig = Ruled(loop, filters=(mirror(9),))
    client = rig.client(request_)
    found = ends(rig)
    assert found[9].output == found[1].output
    found[9].feed(BUSY)
    assert status(client) == 0
    found[1].feed(OK)
    assert client.output.endswith(b"\r\n\r\nok")
    assert (rig.records[0].backend, rig.records[0].endpoint) == ("b", "192.0.2.1:80")


def test_a_mirror_that_is_not_there_harms_nobody(loop: Loop) -> None:
    rig = Ruled(loop, filters=(mirror(9),))
    rig.refusing = {9}
    client = rig.client(POST)
    rig.answers(OK)
    assert status(client) == 200
    assert rig.records[0].flags == ""


def test_a_mirror_that_is_slow_holds_nobody_back(loop: Loop) -> None:
    rig = Ruled(loop, filters=(mirror(9),), timeouts=timeouts("1s"))
    client = rig.client(GET)
    ends(rig)[1].feed(OK)
    loop.advance(2)
    assert status(client) == 200
    assert client.state == "open"


def test_a_client_that_leaves_ends_its_own_request_and_not_the_copy(loop: Loop) -> None:
    rig = Ruled(loop, filters=(mirror(9),))
    client = rig.client(GET)
    client.lose()
    found = ends(rig)
    assert found[1].lost
    assert not found[9].lost
    assert rig.records[0].flags == "DC"
    found[9].feed(OK)


def test_a_request_that_is_sent_again_is_mirrored_once(loop: Loop) -> None:
    rig = Ruled(loop, filters=(mirror(9),), retry=retry(1, 503))
    client = rig.client(POST)
    found = ends(rig)
    found[1].feed(BUSY)
    loop.advance(0.5)
    found[1].feed(OK)
    assert status(client) == 200
    assert found[9].output.count(b"POST / ") == 1
    assert found[1].output.count(b"POST / ") == 2
    found[9].feed(OK)


def test_who_is_asked_for_permission_is_asked_first(loop: Loop) -> None:
    rig = Ruled(loop, filters=(asked(9),))
    client = rig.client(POST)
    assert rig.answers(OK) == [9]
    assert rig.answers(OK) == [1]
    assert client.output.endswith(b"\r\n\r\nok")
    assert rig.records[0].backend == "b"


def test_who_gets_no_permission_does_not_get_through(loop: Loop) -> None:
    rig = Ruled(loop, filters=(asked(9),))
    client = rig.client(GET)
    rig.answers(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    assert rig.silent
    assert client.output.endswith(b"\r\n\r\nno")


def test_nobody_to_ask_is_no_permission(loop: Loop) -> None:
    rig = Ruled(loop, filters=(asked(9),))
    rig.refusing = {9}
    client = rig.client(GET)
    assert 400 <= status(client) < 600
    assert rig.silent


def test_asking_for_permission_counts_into_the_time_of_the_request(loop: Loop) -> None:
    rig = Ruled(loop, filters=(asked(9),), timeouts=timeouts("1s"))
    client = rig.client(GET)
    loop.advance(1)
    assert status(client) == 504


@pytest.mark.parametrize("request_", [GET, POST, POST[:-1]], ids=["GET", "POST", "half a POST"])
def test_a_client_that_leaves_ends_the_question_for_permission(loop: Loop, request_: bytes) -> None:
    rig = Ruled(loop, filters=(asked(9),))
    rig.client(request_).lose()
    [(number, wire)] = rig.backends
    assert (number, wire.lost) == (9, True)
    assert rig.records[0].flags == "DC"


def test_a_client_that_leaves_before_its_websocket_ends_the_question_for_permission(loop: Loop) -> None:
    rig = Ruled(loop, ws="auto", filters=(asked(9),))
    rig.client(HANDSHAKE).lose()
    [(number, wire)] = rig.backends
    assert (number, wire.lost) == (9, True)
    assert rig.records[0].flags == "DC"


@pytest.mark.parametrize("request_", [GET, POST, HANDSHAKE], ids=["GET", "POST", "WebSocket"])
def test_nothing_is_sent_for_a_client_that_left_while_the_backends_name_was_looked_up(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    found = loop.create_future()

    async def addresses(*_: object) -> Any:
        return await found

    monkeypatch.setattr(Resolver, "addresses", addresses)
    rig = Ruled(loop, Backend("b", 1, dns=DNSName("b.example", 80)), ws="auto")
    rig.client(request_).lose()
    found.set_result((Address("192.0.2.1", 80),))
    loop.settle()
    assert rig.backends == []
    assert rig.records[0].flags == "DC"


@pytest.mark.parametrize("name", [b"X-User", b"x_user"])
def test_what_a_filter_says_comes_not_from_the_client_behind_its_body(loop: Loop, name: bytes) -> None:
    said = made("ExternalAuth", backend(9, name="auth"), protocol="HTTP", http=SAYS_USER, **OTHER)
    removed = made("RequestHeaderModifier", remove=["X-Role"])
    rig = Ruled(loop, filters=(said, removed))
    client = rig.client(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n")
    rig.answers(OK)
    client.feed(name + b": root\r\nX-Role: root\r\nX-Sum: 1\r\n\r\n")
    wire = ends(rig)[1]
    assert wire.output.endswith(b"2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n")
    wire.feed(OK)


def test_the_path_is_rewritten_for_every_attempt_and_the_host_for_one_backend(loop: Loop) -> None:
    path = made("URLRewrite", path={"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"})
    host = made("URLRewrite", hostname="inside.example")
    rig = Ruled(loop, backend(1, filters=(host,)), filters=(path,), prefix="/old", retry=retry(1, 503))
    rig.client(GET.replace(b" / ", b" /old/a%2Fb?c "))
    rig.answers(BUSY)
    loop.advance(0.5)
    [wire] = loop.wires
    assert wire.output == 2 * b"GET /new/a%2Fb?c HTTP/1.1\r\nhost: inside.example\r\n\r\n"
    wire.feed(OK)


def test_trailers_pass_a_filter_of_the_answer(loop: Loop) -> None:
    added = made("ResponseHeaderModifier", add=[{"name": "X-Added", "value": "1"}])
    rig = Ruled(loop, filters=(added,))
    client = rig.client(GET.replace(b"\r\n\r\n", b"\r\nTE: trailers\r\n\r\n"))
    rig.answers(
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nhi\r\n0\r\nX: 1\r\n\r\n"
    )
    assert client.output.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
    assert b"\r\nx-added: 1\r\n" in client.output
    assert client.output.endswith(b"2\r\nhi\r\n0\r\nx: 1\r\n\r\n")


def test_a_redirect_needs_no_backend(loop: Loop) -> None:
    rig = Ruled(loop, Backend("b", 1, invalid="none"), filters=(made("RequestRedirect", scheme="https"),))
    client = rig.client(GET)
    assert status(client) == 302
    assert b"\r\nlocation: https://a/\r\n" in client.output
