"""``sessionPersistence`` of a rule (GEP-1619): a client's token leads to the endpoint that served it first."""

import re
from collections import Counter
from typing import Any

import pytest

from app.sessions import Sessions, common_key
from app.upstream.health import Endpoint
from routes.graph.nodes import Address
from tests.wire.harness import Loop, Wire
from tests.wire.rules import BUSY, OK, Ruled, backend, retry, session
from tests.wire.websockets import HANDSHAKE, SWITCHING

MANY = tuple(range(1, 9))
COOKIE = session(cookie={"name": "stay"})
HEADER = session(type="Header", header={"name": "X-Stay"})

SET_COOKIE = re.compile(rb"set-cookie: stay=([A-Za-z0-9_.-]+)((?:; [A-Za-z-]+(?:=[^;\r]*)?)*)\r\n")


def asking(*fields: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def token_of(client: Wire) -> bytes:
    """The one token that the client was given."""
    [(token, _)] = SET_COOKIE.findall(client.output)
    found: bytes = token
    return found


def served(rig: Ruled, *fields: bytes) -> tuple[int, Wire]:
    """Who served a request, and its client."""
    client = rig.client(asking(*fields))
    [number] = rig.answers(OK)
    return number, client


def test_a_client_with_its_cookie_stays_at_its_endpoint(loop: Loop) -> None:
    rig = Ruled(loop, backend(*MANY), session_persistence=COOKIE)
    first, client = served(rig)
    cookie = b"Cookie: a=b; stay=" + token_of(client) + b"; c=d"
    for _ in range(50):
        number, client = served(rig, cookie)
        assert number == first
        assert b"set-cookie" not in client.output, "it has it already"


def test_clients_without_a_cookie_are_spread(loop: Loop) -> None:
    rig = Ruled(loop, backend(*MANY), session_persistence=COOKIE)
    assert len({served(rig)[0] for _ in range(80)}) > 4


def test_a_client_with_its_header_stays_at_its_endpoint(loop: Loop) -> None:
    rig = Ruled(loop, backend(*MANY), session_persistence=HEADER)
    first, client = served(rig)
    [token] = re.findall(rb"x-stay: (.*?)\r\n", client.output)
    for _ in range(50):
        number, client = served(rig, b"x-STAY: " + token)
        assert number == first
        assert b"x-stay" not in client.output
    assert b"set-cookie" not in client.output


def test_the_cookie_is_passed_on(loop: Loop) -> None:
    rig = Ruled(loop, session_persistence=COOKIE)
    _, client = served(rig)
    cookie = b"stay=" + token_of(client)
    rig.client(asking(b"Cookie: " + cookie))
    assert b"\r\ncookie: " + cookie + b"\r\n" in rig.got()[1].output


def test_a_session_outlives_a_change_that_leaves_its_endpoint(loop: Loop) -> None:
    rig = Ruled(loop, backend(*MANY), session_persistence=COOKIE)
    first, client = served(rig)
    cookie = b"Cookie: stay=" + token_of(client)
    rig.change(backend(*MANY, 20, 21, 22), session_persistence=COOKIE)
    assert {served(rig, cookie)[0] for _ in range(20)} == {first}


def test_where_its_endpoint_is_gone_a_client_gets_another_and_a_new_cookie(loop: Loop) -> None:
    rig = Ruled(loop, backend(1), session_persistence=COOKIE)
    _, client = served(rig)
    old = token_of(client)
    rig.change(backend(2, 3), session_persistence=COOKIE)
    first, client = served(rig, b"Cookie: stay=" + old)
    new = token_of(client)
    assert new != old
    assert {served(rig, b"Cookie: stay=" + new)[0] for _ in range(20)} == {first}


def test_where_its_endpoint_is_gone_a_client_keeps_those_of_other_backends(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, name="one"), backend(*MANY, name="two"), session_persistence=COOKIE)
    first, client = served(rig)
    assert first == 1
    two, client = served(rig, b"Cookie: stay=" + token_of(client))
    token = b".".join(reversed(token_of(client).split(b".")))  # the backend first whose endpoint will be gone
    rig.change(backend(2, name="one"), backend(*MANY, name="two"), session_persistence=COOKIE)
    first, client = served(rig, b"Cookie: stay=" + token)
    assert first == 2
    cookie = b"Cookie: stay=" + token_of(client)
    assert {served(rig, cookie)[0] for _ in range(20)} == {2, two}


def test_where_its_endpoint_refuses_a_client_gets_another_and_a_new_cookie(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2), session_persistence=COOKIE)
    first, client = served(rig)
    token = token_of(client)
    loop.wires[0].lose()
    rig.refusing = {first}
    number, client = served(rig, b"Cookie: stay=" + token)
    assert number != first
    assert token_of(client) != token
    asked = len(loop.asked)
    served(rig, b"Cookie: stay=" + token)
    assert len(loop.asked) == asked, "it is known to refuse"


def test_a_retry_at_another_endpoint_takes_the_session_there(loop: Loop) -> None:
    rig = Ruled(loop, backend(1, 2), session_persistence=COOKIE, retry=retry(1, 503))
    first, client = served(rig)
    token = token_of(client)
    client = rig.client(asking(b"Cookie: stay=" + token))
    assert rig.answers(BUSY, OK) == [first, 3 - first]
    assert token_of(client) != token


def test_a_websocket_stays_too(loop: Loop) -> None:
    rig = Ruled(loop, backend(*MANY), ws="auto", session_persistence=COOKIE)
    client = rig.client(HANDSHAKE)
    first, wire = rig.got()
    wire.feed(SWITCHING)
    token = token_of(client)
    client.lose()
    for _ in range(10):
        client = rig.client(HANDSHAKE.replace(b"Host: a\r\n", b"Host: a\r\nCookie: stay=" + token + b"\r\n"))
        assert rig.got()[0] == first
        client.lose()


# Weights


def test_weights_choose_the_backend_and_the_session_the_endpoint_of_each(loop: Loop) -> None:
    """ "Session persistence MUST NOT override which backend is selected during traffic splitting" (GEP-1619)."""
    one, two = backend(1, 2, 3, name="one", weight=3), backend(11, 12, 13, name="two")
    rig = Ruled(loop, one, two, session_persistence=COOKIE)
    jar = b""
    found: Counter[int] = Counter()
    for _ in range(40):
        number, client = served(rig, b"Cookie: stay=" + jar)
        if SET_COOKIE.search(client.output):
            jar = token_of(client)
        found[number] += 1
    assert sorted(found.values()) == [10, 30]


def test_a_token_does_not_grow_with_backends_that_are_gone(loop: Loop) -> None:
    jar = b""
    rig = Ruled(loop, session_persistence=COOKIE)
    for number in range(1, 40):
        rig.change(backend(number, name="one"), backend(100 + number, name="two"), session_persistence=COOKIE)
        _, client = served(rig, b"Cookie: stay=" + jar)
        jar = token_of(client)
    assert len(jar) < 100


# What a client may say


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b".",
        b"x" * 22,
        b"!" * 22,
        b"=" * 22,
        b"\xff" * 22,
        b"A" * 43,
        b"." * 1000,
        b"x" * 22 + b"." + b"y" * 22,
        b'"',
    ],
)
def test_what_is_no_token_of_ours_is_as_none(loop: Loop, value: bytes) -> None:
    rig = Ruled(loop, backend(*MANY), session_persistence=COOKIE)
    _, client = served(rig, b"Cookie: stay=" + value)
    assert len(token_of(client)) == 22


def test_of_several_cookies_of_the_name_the_one_that_is_ours_counts(loop: Loop) -> None:
    rig = Ruled(loop, backend(*MANY), session_persistence=COOKIE)
    first, client = served(rig)
    cookies = b"Cookie: stay=other; astay=x; stay=" + token_of(client)
    assert {served(rig, b"Cookie: stay=", cookies)[0] for _ in range(20)} == {first}


# Tokens by themselves

ENDPOINTS = [Endpoint(Address(f"10.0.0.{number}", 80), None) for number in range(1, 5)]  # type: ignore[arg-type]


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def sessions(rule: str = "default/r/0", key: bytes = b"key", clock: Any = None, **source: Any) -> Sessions:
    return Sessions(session(**(source or {"cookie": {"name": "stay"}})), rule, key, clock=clock or Clock())


def given(made: Sessions, endpoint: Endpoint, scheme: str = "http") -> str:
    [(_, value)] = made.of({"headers": [], "scheme": scheme}, "b", ENDPOINTS).adds(endpoint)
    return value.decode()


def bound(made: Sessions, value: str) -> Endpoint | None:
    cookie = value.partition(";")[0].encode()
    return made.of({"headers": [(b"cookie", cookie)], "scheme": "http"}, "b", ENDPOINTS).endpoint


def test_a_token_leads_back_to_its_endpoint_in_any_process_with_the_key() -> None:
    for endpoint in ENDPOINTS:
        assert bound(sessions(), given(sessions(), endpoint)) is endpoint


@pytest.mark.parametrize("other", [{"rule": "default/r/1"}, {"key": b"another"}])
def test_a_token_means_nothing_to_another_rule_or_key(other: dict[str, Any]) -> None:
    assert bound(sessions(**other), given(sessions(), ENDPOINTS[0])) is None


def test_a_cookie_of_a_session_is_not_for_scripts_nor_for_other_sites() -> None:
    value = given(sessions(), ENDPOINTS[0])
    assert value.partition(";")[2] == " Path=/; HttpOnly; SameSite=Strict"


@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_a_cookie_that_was_given_in_tls_stays_there(scheme: str) -> None:
    assert given(sessions(), ENDPOINTS[0], scheme).endswith("; Secure")


def test_the_path_of_the_cookie() -> None:
    made = sessions(cookie={"name": "stay", "path": "/a;b\r\nc d/é"})
    assert "; Path=/a%3Bb%0D%0Ac%20d/%C3%A9; " in given(made, ENDPOINTS[0])


def test_without_a_name_each_rule_has_a_cookie_of_its_own() -> None:
    names = {given(sessions(rule, cookie={}), ENDPOINTS[0]).partition("=")[0] for rule in ("a/b/0", "a/b/1")}
    assert len(names) == 2
    assert all(re.fullmatch("moongate-[0-9a-f]{8}", name) for name in names)


def test_a_permanent_cookie_has_an_age() -> None:
    made = sessions(cookie={"name": "stay", "lifetimeType": "Permanent"}, absoluteTimeout="5m")
    assert "; Max-Age=300" in given(made, ENDPOINTS[0])


@pytest.mark.parametrize("lifetime", ["Session", "Permanent"])
def test_after_its_time_a_session_is_over_whatever_the_client_keeps(lifetime: str) -> None:
    clock = Clock()
    made = sessions(clock=clock, cookie={"name": "stay", "lifetimeType": lifetime}, absoluteTimeout="5m")
    value = given(made, ENDPOINTS[0])
    assert ("Max-Age" in value) is (lifetime == "Permanent")
    clock.now += 299
    assert bound(made, value) is ENDPOINTS[0]
    clock.now += 1
    assert bound(made, value) is None


def test_no_client_makes_its_session_longer() -> None:
    clock = Clock()
    made = sessions(clock=clock, cookie={"name": "stay"}, absoluteTimeout="5m")
    name, _, token = given(made, ENDPOINTS[0]).partition(";")[0].partition("=")
    clock.now += 301
    for index in range(len(token)):
        other = "A" if token[index] != "A" else "B"
        assert bound(made, f"{name}={token[:index]}{other}{token[index + 1 :]}") is None


def test_zero_is_no_limit_for_a_session() -> None:
    clock = Clock()
    made = sessions(clock=clock, cookie={"name": "stay"}, absoluteTimeout="0s")
    value = given(made, ENDPOINTS[0])
    clock.now += 1e8
    assert bound(made, value) is ENDPOINTS[0]


def test_the_common_key_is_one_and_long_enough() -> None:
    assert common_key() == common_key()
    assert len(common_key()) >= 16
