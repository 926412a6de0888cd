"""What a backend is told of the client, and that only the gateway and its trusted proxies tell it."""

import asyncio
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from middleware.forwarded import FORWARDED_FIELDS, ForwardedMiddleware, split_port

Fields = list[tuple[bytes, bytes]]

STRANGER = ("192.0.2.7", 40000)
PROXY = ("10.0.0.1", 40000)


def pass_through(scope: Scope, **options: Any) -> Scope:
    """The scope that the application behind the middleware gets."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    options = {"server": "moon", "trusted_proxies": [ip_network("10.0.0.0/8"), ip_network("fd00::/8")], **options}
    asyncio.run(ForwardedMiddleware(app, **options)(scope, receive, send))
    return seen[0]


def http(*headers: tuple[bytes, bytes], client: tuple[str, int] | None = STRANGER, **scope: Any) -> Scope:
    return {
        "type": "http",
        "scheme": "http",
        "client": client,
        "headers": [(b"host", b"example.com"), *headers],
        **scope,
    }


def told(scope: Scope, **options: Any) -> dict[str, list[str]]:
    """All fields of the kind that reach the backend, by name."""
    result: dict[str, list[str]] = {}
    for name, value in pass_through(scope, **options)["headers"]:
        if name.replace(b"_", b"-") in FORWARDED_FIELDS:
            result.setdefault(name.decode(), []).append(value.decode("latin-1"))
    return result


def test_a_plain_request_gets_all_six_fields() -> None:
    assert told(http()) == {
        "x-forwarded-server": ["moon"],
        "x-forwarded-for": ["192.0.2.7"],
        "x-real-ip": ["192.0.2.7"],
        "x-forwarded-proto": ["http"],
        "x-forwarded-host": ["example.com"],
        "x-forwarded-port": ["80"],
    }


def test_other_fields_keep_their_order_and_repetitions() -> None:
    others = [(b"accept", b"a"), (b"cookie", b"1"), (b"x-custom", b"x"), (b"cookie", b"2"), (b"snake_case", b"s")]
    assert pass_through(http(*others))["headers"][1:6] == others


def test_the_servers_scope_and_list_are_left_alone() -> None:
    scope = http((b"x-real-ip", b"6.6.6.6"))
    headers = scope["headers"]
    before = list(headers)
    inner = pass_through(scope)
    assert scope["headers"] is headers
    assert headers == before
    assert inner is not scope


def test_other_scope_types_pass_untouched() -> None:
    scope: Scope = {"type": "lifespan"}
    assert pass_through(scope) is scope


@pytest.mark.parametrize(
    "name",
    [
        "x-forwarded-for",
        "x-forwarded-server",
        "x-forwarded-prefix",
        "x-forwarded-tls-client-cert",
        "x-forwarded-tls-client-cert-info",
        "x-forwarded-uri",
        "x-forwarded-method",
        "x-forwarded-ssl",
        "forwarded",
        "x-real-ip",
        "x_forwarded_for",
        "x_forwarded-for",
        "x-real_ip",
        "x_forwarded_tls_client_cert_info",
    ],
)
def test_what_a_stranger_says_is_dropped(name: str) -> None:
    values = [value for _, value in pass_through(http((name.encode(), b"forged")))["headers"]]
    assert b"forged" not in values


def test_a_trusted_proxy_may_not_use_underscores_either() -> None:
    assert "x_forwarded_for" not in told(http((b"x_forwarded_for", b"6.6.6.6"), client=PROXY))


def test_a_trusted_proxys_list_is_continued() -> None:
    assert told(http((b"x-forwarded-for", b"192.0.2.9, 10.0.0.9"), client=PROXY))["x-forwarded-for"] == [
        "192.0.2.9, 10.0.0.9, 10.0.0.1"
    ]


def test_repeated_lists_of_a_trusted_proxy_are_joined_in_order() -> None:
    fields = [(b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b""), (b"x-forwarded-for", b" 2.2.2.2, 3.3.3.3 ")]
    assert told(http(*fields, client=PROXY))["x-forwarded-for"] == ["1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1"]


def test_a_trusted_proxy_without_a_list_begins_it() -> None:
    assert told(http(client=PROXY))["x-forwarded-for"] == ["10.0.0.1"]


def test_a_trusted_proxys_host_port_proto_and_real_address_are_kept() -> None:
    fields = {
        "x-forwarded-host": ["shop.example"],
        "x-forwarded-port": ["8443"],
        "x-forwarded-proto": ["https"],
        "x-real-ip": ["192.0.2.9"],
    }
    sent = [(name.encode(), values[0].encode()) for name, values in fields.items()]
    assert told(http(*sent, client=PROXY)) == fields | {
        "x-forwarded-server": ["moon"],
        "x-forwarded-for": ["10.0.0.1"],
    }


def test_of_a_trusted_proxys_repeated_proto_the_first_is_kept() -> None:
    fields = [(b"x-forwarded-proto", b""), (b"x-forwarded-proto", b"https"), (b"x-forwarded-proto", b"http")]
    assert told(http(*fields, client=PROXY))["x-forwarded-proto"] == ["https"]


def test_a_trusted_proxys_proto_decides_the_port() -> None:
    assert told(http((b"x-forwarded-proto", b"https"), client=PROXY))["x-forwarded-port"] == ["443"]


def test_a_trusted_proxys_prefix_and_certificate_pass() -> None:
    fields = [(b"x-forwarded-prefix", b"/api"), (b"x-forwarded-tls-client-cert", b"pem"), (b"forwarded", b"for=_x")]
    seen = pass_through(http(*fields, client=PROXY))["headers"]
    assert [field for field in seen if field in fields] == fields


def test_a_trusted_proxys_server_name_is_replaced() -> None:
    assert told(http((b"x-forwarded-server", b"edge"), client=PROXY))["x-forwarded-server"] == ["moon"]


def test_nobody_is_trusted_by_default() -> None:
    assert told(http((b"x-forwarded-for", b"6.6.6.6"), client=PROXY), trusted_proxies=())["x-forwarded-for"] == [
        "10.0.0.1"
    ]


@pytest.mark.parametrize(
    ("client", "address", "trusted"),
    [
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fd00::1", "fd00::1", True),
        ("2001:DB8::1", "2001:db8::1", False),
        ("fe80::1%eth0", "fe80::1", False),
        ("testclient", "testclient", False),
    ],
)
def test_a_peer_is_known_by_its_address(client: str, address: str, trusted: bool) -> None:
    chain = f"1.1.1.1, {address}" if trusted else address
    fields = told(http((b"x-forwarded-for", b"1.1.1.1"), client=(client, 1)))
    assert fields["x-forwarded-for"] == [chain]
    assert fields["x-real-ip"] == [address]


def test_of_a_unix_socket_no_address_is_told() -> None:
    fields = told(http((b"x-forwarded-for", b"6.6.6.6"), (b"x-real-ip", b"6.6.6.6"), client=None))
    assert fields.keys() == {"x-forwarded-server", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"}


@pytest.mark.parametrize(
    ("type_", "scheme", "proto", "port"),
    [
        ("http", "http", "http", "80"),
        ("http", "https", "https", "443"),
        ("websocket", "ws", "ws", "80"),
        ("websocket", "wss", "wss", "443"),
    ],
)
def test_proto_and_default_port_follow_the_scheme(type_: str, scheme: str, proto: str, port: str) -> None:
    fields = told(http(type=type_, scheme=scheme))
    assert (fields["x-forwarded-proto"], fields["x-forwarded-port"]) == ([proto], [port])


@pytest.mark.parametrize(
    ("host", "port"),
    [
        (b"example.com:8080", "8080"),
        (b"[2001:db8::1]", "443"),
        (b"[2001:db8::1]:8443", "8443"),
        (b"2001:db8::1", "443"),
        (b"example.com:", "443"),
        (b"example.com:http", "443"),
    ],
)
def test_the_port_is_that_of_the_host(host: bytes, port: str) -> None:
    fields = told(http(headers=[(b"host", host)], scheme="https"))
    assert fields["x-forwarded-port"] == [port]
    assert fields["x-forwarded-host"] == [host.decode()]


def test_without_a_host_none_is_told() -> None:
    assert "x-forwarded-host" not in told(http(headers=[]))


def test_without_a_server_name_none_is_told() -> None:
    assert "x-forwarded-server" not in told(http(), server="")


@pytest.mark.parametrize("server", ["a\r\nb: c", "möön"])
def test_a_server_name_that_no_field_can_carry_is_refused(server: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        pass_through(http(), server=server)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (b"keep-alive", [b"keep-alive"]),
        (b"close, X-Forwarded-For, x-real-ip, X_Real_Ip", [b"close"]),
        (b"Forwarded", []),
        (b"upgrade,x-custom", [b"upgrade, x-custom"]),
    ],
)
def test_no_client_can_have_the_fields_taken_away_by_a_later_hop(options: bytes, left: list[bytes]) -> None:
    headers = pass_through(http((b"connection", options)))["headers"]
    assert [value for name, value in headers if name == b"connection"] == left


names = st.one_of(
    st.sampled_from(sorted(FORWARDED_FIELDS)),
    st.sampled_from(sorted(FORWARDED_FIELDS)).map(lambda name: name.replace(b"-", b"_")),
    st.sampled_from(sorted(FORWARDED_FIELDS)).map(lambda name: name.replace(b"-", b"_", 1)),
    st.text("abcx-_", min_size=1).map(str.encode),
)
values = st.binary(max_size=20)


@given(st.lists(st.tuples(names, values)))
def test_a_stranger_never_changes_what_is_told(headers: Fields) -> None:
    assert told(http(*headers)) == told(http())


@given(st.lists(st.tuples(names, values)))
def test_a_trusted_proxy_never_makes_a_field_of_ours_ambiguous(headers: Fields) -> None:
    fields = told(http(*headers, client=PROXY))
    for name in told(http()):
        assert len(fields[name]) == 1
    assert not [name for name in fields if "_" in name]
    assert fields["x-forwarded-for"][0].endswith("10.0.0.1")


@given(st.text("abc.[]:0123", max_size=12).map(str.encode))
def test_a_host_and_its_port_are_parts_of_the_whole(authority: bytes) -> None:
    host, port = split_port(authority)
    assert authority in (host, host + b":" + port)
    assert port == b"" or port.isdigit()
