"""A request's way through a port: listener, hostname, path, predicates."""

from collections.abc import Callable

from routes.resources.meta import GATEWAY_GROUP, Key
from routes.table.types import Port, PortKey, RoutingTable

Compile = Callable[[str], RoutingTable[str]]

GATEWAY = """
kind: Gateway
metadata: {{name: gw}}
spec:
  gatewayClassName: moongate
  listeners: [{listeners}]
---
"""
LISTENERS = (
    "{name: exact, port: 80, protocol: HTTP, hostname: a.example.com},"
    "{name: wildcard, port: 80, protocol: HTTP, hostname: '*.example.com'},"
    "{name: any, port: 80, protocol: HTTP}"
)


def route(name: str, *, hostnames: str = "", section: str = "", matches: str = "{}") -> str:
    section = f", sectionName: {section}" if section else ""
    return f"""
kind: HTTPRoute
metadata: {{name: {name}}}
spec: {{parentRefs: [{{name: gw{section}}}], hostnames: [{hostnames}], rules: [{{matches: [{matches}]}}]}}
---"""


def port_of(table: RoutingTable[str]) -> Port[str]:
    [port] = table.ports.values()
    return port


def answers(port: Port[str], host: str, path: str = "/") -> str | None:
    return port.find(host, path, "GET", (), b"")


def test_exactly_the_most_specific_listener_is_considered(compiled: Compile) -> None:
    """Listener isolation: nothing matches there → nobody answers, never the next listener."""
    table = compiled(
        GATEWAY.format(listeners=LISTENERS)
        + route("exact", section="exact", matches="{path: {value: /exact}}")
        + route("wildcard", section="wildcard", matches="{path: {value: /wildcard}}")
        + route("any", section="any", matches="{path: {value: /any}}")
    )
    port = port_of(table)
    assert answers(port, "a.example.com", "/exact") == "default/exact/0"
    assert answers(port, "a.example.com", "/wildcard") is None
    assert answers(port, "a.example.com", "/any") is None
    assert answers(port, "b.example.com", "/wildcard") == "default/wildcard/0"
    assert answers(port, "b.example.com", "/any") is None
    assert answers(port, "example.com", "/any") == "default/any/0"
    assert answers(port, "example.com", "/wildcard") is None


def test_a_host_that_no_listener_is_for_is_answered_by_nobody(compiled: Compile) -> None:
    """A listener's hostname keeps other hosts out, whatever the routes say."""
    port = port_of(
        compiled(GATEWAY.format(listeners="{name: a, port: 80, protocol: HTTP, hostname: a.com}") + route("a"))
    )
    assert answers(port, "a.com") == "default/a/0"
    assert answers(port, "b.com") is None


def test_a_request_falls_through_to_the_less_specific_hostname(compiled: Compile) -> None:
    """If the more specific route matches no rule, the request falls through to the next less specific route."""
    table = compiled(
        GATEWAY.format(listeners="{name: a, port: 80, protocol: HTTP}")
        + route("precise", hostnames="a.example.com", matches="{path: {value: /precise}}")
        + route("wild", hostnames="'*.example.com'", matches="{path: {value: /wild}}")
        + route("any", matches="{path: {value: /}}")
    )
    port = port_of(table)
    assert answers(port, "a.example.com", "/precise") == "default/precise/0"
    assert answers(port, "a.example.com", "/wild") == "default/wild/0"
    assert answers(port, "a.example.com", "/other") == "default/any/0"
    assert answers(port, "b.example.com", "/precise") == "default/any/0"


def test_the_hostname_is_compared_before_the_path(compiled: Compile) -> None:
    """Most characters of the hostname first, then the match precedence: even Exact loses to a better hostname."""
    table = compiled(
        GATEWAY.format(listeners="{name: a, port: 80, protocol: HTTP}")
        + route("precise", hostnames="a.example.com", matches="{path: {value: /}}")
        + route("wild", hostnames="'*.example.com'", matches="{path: {type: Exact, value: /x}}")
    )
    assert answers(port_of(table), "a.example.com", "/x") == "default/precise/0"


def test_the_characters_are_counted_on_the_routes_own_hostname(compiled: Compile) -> None:
    """GatewayRouteHostnameIntersectionPrecedence: not on what it has in common with the listener's hostname."""
    table = compiled(
        GATEWAY.format(listeners="{name: a, port: 80, protocol: HTTP, hostname: a.b.example.com}")
        + route("a-wide", hostnames="'*.example.com'")
        + route("b-narrow", hostnames="'*.b.example.com'")
    )
    assert answers(port_of(table), "a.b.example.com") == "default/b-narrow/0"


def test_a_predicate_that_does_not_fit_leads_to_the_shorter_path(compiled: Compile) -> None:
    """A match is all of its parts: where the header is missing the longer path doesn't match."""
    table = compiled(
        GATEWAY.format(listeners="{name: a, port: 80, protocol: HTTP}")
        + route("long", matches="{path: {value: /a/b}, method: POST}")
        + route("short", matches="{path: {value: /a}}")
    )
    port = port_of(table)
    assert port.find("x", "/a/b", "POST", (), b"") == "default/long/0"
    assert port.find("x", "/a/b", "GET", (), b"") == "default/short/0"
    assert port.find("x", "/b", "GET", (), b"") is None


def test_each_match_of_a_rule_leads_to_it(compiled: Compile) -> None:
    """``matches`` are ORed."""
    table = compiled(
        GATEWAY.format(listeners="{name: a, port: 80, protocol: HTTP}")
        + route("a", matches="{path: {value: /one}}, {path: {value: /two}, method: GET}")
    )
    port = port_of(table)
    assert answers(port, "x", "/one") == answers(port, "x", "/two") == "default/a/0"
    assert answers(port, "x", "/three") is None


def test_ports_are_found_by_listener_and_by_protocol(compiled: Compile) -> None:
    """Names of listeners that are not served lead nowhere; the first port of a protocol is the first Gateway's."""
    table = compiled(
        GATEWAY.format(
            listeners="{name: a, port: 81, protocol: HTTP}, {name: b, port: 80, protocol: HTTP},"
            "{name: c, port: 82, protocol: TCP}"
        )
    )
    gateway = Key(GATEWAY_GROUP, "Gateway", "default", "gw")
    assert table.listeners == {"default/gw/a": PortKey(gateway, 81), "default/gw/b": PortKey(gateway, 80)}
    assert table.first("HTTP") == PortKey(gateway, 81)
    assert table.first("HTTPS") is None
    assert str(PortKey(gateway, 81)) == "default/gw:81"


def test_a_handler_is_made_once_for_each_rule(compiled: Compile) -> None:
    """However many listeners, hostnames and matches lead to it."""
    table = compiled(
        GATEWAY.format(listeners=LISTENERS)
        + route("a", hostnames="a.example.com, '*.example.com'", matches="{method: GET}, {method: PUT}")
    )
    port = port_of(table)
    found = [
        port.find(host, "/", method, (), b"")
        for host in ("a.example.com", "b.example.com")
        for method in ("GET", "PUT")
    ]
    assert found[0] is not None
    assert all(each is found[0] for each in found)


def test_a_path_is_in_doubt_where_any_hostname_of_the_listener_has_a_rule_for_what_a_backend_may_read(
    compiled: Compile,
) -> None:
    """The rule that takes it may be a less specific hostname's, and the other one's a more specific one's."""
    table = compiled(
        GATEWAY.format(listeners="{name: any, port: 80, protocol: HTTP}")
        + route("all", hostnames="'*.com'")
        + route("admin", hostnames="a.com", matches="{path: {value: /admin}}")
    )
    port = port_of(table)
    assert answers(port, "a.com", "//admin") == "default/all/0"
    assert port.in_doubt("a.com", "//admin")
    assert not port.in_doubt("b.com", "//admin")
    assert not port.in_doubt("a.com", "//other")
    assert not port.in_doubt("a.com", "/admin")
