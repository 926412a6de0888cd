"""What header modifiers make of requests and answers."""

import asyncio
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream.fields import forwarded
from middleware.headers import RequestHeaderModifierMiddleware, ResponseHeaderModifierMiddleware
from routes.resources.filters import UNMODIFIABLE, HTTPHeader, HTTPHeaderFilter
from tests.helpers.asgi import Backend, Fields, ask, handshake, request


def modifier(
    set: dict[str, str] | None = None, add: dict[str, str] | None = None, remove: tuple[str, ...] = ()
) -> HTTPHeaderFilter:
    return HTTPHeaderFilter(
        set=tuple(HTTPHeader(name=name, value=value) for name, value in (set or {}).items()),
        add=tuple(HTTPHeader(name=name, value=value) for name, value in (add or {}).items()),
        remove=remove,
    )


def received(config: HTTPHeaderFilter, fields: Fields) -> Fields:
    """What a backend gets of ``fields`` behind the filter."""
    backend = Backend()
    ask(RequestHeaderModifierMiddleware(backend, config=config), request(fields=fields))
    return backend.fields


def answered(config: HTTPHeaderFilter, fields: Fields) -> Fields:
    """What a client gets of an answer's ``fields`` behind the filter."""
    return ask(ResponseHeaderModifierMiddleware(Backend(fields=fields), config=config), request()).fields


def test_set_leaves_one_line_of_a_name_however_many_there_were_and_however_it_is_spelled() -> None:
    fields = [(b"x-a", b"1"), (b"b", b"2"), (b"x-a", b"3")]
    assert received(modifier(set={"X-A": "new"}), fields) == [(b"b", b"2"), (b"x-a", b"new")]


def test_set_makes_a_field_that_was_not_there() -> None:
    assert received(modifier(set={"X-A": "new"}), [(b"b", b"2")]) == [(b"b", b"2"), (b"x-a", b"new")]


def test_add_puts_another_line_behind_what_is_there() -> None:
    assert received(modifier(add={"X-A": "b,c"}), [(b"x-a", b"a")]) == [(b"x-a", b"a"), (b"x-a", b"b,c")]


def test_remove_takes_all_lines_of_a_name_whatever_its_case() -> None:
    assert received(modifier(remove=("X-A",)), [(b"x-a", b"1"), (b"b", b"2"), (b"x-a", b"3")]) == [(b"b", b"2")]


def test_a_request_that_others_still_read_is_not_changed() -> None:
    scope = request(fields=[(b"x-a", b"1")])
    ask(RequestHeaderModifierMiddleware(Backend(), config=modifier(remove=("x-a",))), scope)
    assert scope["headers"] == [(b"x-a", b"1")]


NAMES = st.text(alphabet="abAB", min_size=1, max_size=2)
VALUES = st.text(alphabet=string.ascii_letters, min_size=1, max_size=3)
FIELDS = st.lists(st.tuples(NAMES.map(lambda name: name.lower().encode()), VALUES.map(str.encode)), max_size=8)


@given(
    fields=FIELDS,
    names=st.lists(NAMES, unique_by=str.lower, max_size=6),
    value=VALUES,
    cuts=st.tuples(st.integers(0, 6), st.integers(0, 6)).map(sorted),
)
def test_the_three_lists_mean_what_they_say_for_any_fields(
    fields: Fields, names: list[str], value: str, cuts: list[int]
) -> None:
    first, second = cuts
    to_set, to_add, to_remove = names[:first], names[first:second], names[second:]
    config = modifier(dict.fromkeys(to_set, value), dict.fromkeys(to_add, value), tuple(to_remove))
    for result in (received(config, fields), answered(config, fields)):
        for name in {name for name, _ in fields} | {name.lower().encode() for name in names}:
            before = [each for field, each in fields if field == name]
            after = [each for field, each in result if field == name]
            if any(name == each.lower().encode() for each in to_set):
                assert after == [value.encode()]
            elif any(name == each.lower().encode() for each in to_add):
                assert after == [*before, value.encode()]
            elif any(name == each.lower().encode() for each in to_remove):
                assert after == []
            else:
                assert after == before


@pytest.mark.parametrize("name", sorted(UNMODIFIABLE))
def test_what_frames_a_message_or_belongs_to_a_connection_stays_as_it_is(name: str) -> None:
    there = [(name.encode(), b"0"), (b"x-kept", b"1")]
    kept = [field for field in there if field[0] != b"connection"]  # it has been done what it says
    for config in (modifier(set={name.title(): "7"}), modifier(add={name: "7"}), modifier(remove=(name.upper(),))):
        assert config.unmodifiable
        assert received(config, there) == kept
        assert answered(config, there) == there


def test_a_length_that_a_filter_sets_never_becomes_the_length_of_the_body() -> None:
    fields = received(
        modifier(set={"Content-Length": "3", "Transfer-Encoding": "chunked"}), [(b"content-length", b"9")]
    )
    assert forwarded(fields) == ([(b"content-length", b"9")], 9, False)


def test_host_can_be_set_and_is_then_the_one_host() -> None:
    config = modifier(set={"Host": "other.example:8080", "X": "1"})
    assert received(config, [(b"x-a", b"1"), (b"host", b"a")]) == [
        (b"host", b"other.example:8080"),
        (b"x-a", b"1"),
        (b"x", b"1"),
    ]
    assert not config.unmodifiable


@pytest.mark.parametrize(
    "config",
    [
        modifier(add={"Host": "b"}),
        modifier(remove=("host",)),
        modifier(set={"Host": "a/b"}),
        modifier(set={"host": "user@b"}),
        modifier(set={"host": "b:port"}),
    ],
)
def test_a_request_always_has_one_host_that_is_a_host(config: HTTPHeaderFilter) -> None:
    assert config.unmodifiable
    assert received(config, [(b"host", b"a")]) == [(b"host", b"a")]


@pytest.mark.parametrize(
    "connection",
    [b"x-user", b"close, X-User", b"keep-alive,x-user , x-other"],
)
def test_a_client_cannot_have_a_field_of_the_filters_taken_away(connection: bytes) -> None:
    fields = [(b"connection", connection), (b"x-user", b"mallory"), (b"a", b"1")]
    sent = received(modifier(set={"X-User": "alice"}), fields)
    assert forwarded(sent)[0] == [(b"a", b"1"), (b"x-user", b"alice")]
    sent = received(modifier(add={"X-User": "alice"}), fields)
    assert forwarded(sent)[0] == [(b"a", b"1"), (b"x-user", b"alice")]


def test_what_a_connection_says_of_itself_is_left_for_its_end() -> None:
    """… or a body would lose its framing, and a client the trailers that it takes."""
    fields = [
        (b"connection", b"te, transfer-encoding, upgrade"),
        (b"te", b"trailers"),
        (b"transfer-encoding", b"chunked"),
    ]
    sent = received(modifier(set={"a": "1"}), fields)
    assert forwarded(sent) == ([(b"a", b"1"), (b"te", b"trailers")], None, False)


def test_each_set_cookie_of_an_answer_stays_a_line_of_its_own() -> None:
    cookies = [(b"set-cookie", b"a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT"), (b"set-cookie", b"b=2")]
    assert answered(modifier(add={"Set-Cookie": "c=3"}), cookies) == [*cookies, (b"set-cookie", b"c=3")]


def test_an_answers_fields_are_found_whatever_the_case_that_an_application_gives_them() -> None:
    assert answered(modifier(set={"server": "us"}, remove=("x-a",)), [(b"Server", b"it"), (b"X-A", b"1")]) == [
        (b"server", b"us")
    ]


def test_the_accept_of_a_websocket_is_an_answer_too() -> None:
    app = ResponseHeaderModifierMiddleware(Backend(fields=[(b"x-a", b"1")]), config=modifier(set={"x-a": "2"}))
    assert ask(app, handshake()).fields == [(b"x-a", b"2")]


def test_a_filter_of_requests_leaves_the_way_back_untouched() -> None:
    """The proxy writes an answer directly where nobody listens to it."""
    ways: list[object] = []

    async def app(scope: object, receive: object, send: object) -> None:
        ways.append(send)

    async def send(message: object) -> None: ...

    async def receive() -> dict[str, str]:
        return {}

    asyncio.run(RequestHeaderModifierMiddleware(app, config=modifier(set={"a": "1"}))(request(), receive, send))
    assert ways == [send]
