"""Whole tables against the spec's own words, carried out one by one without any index."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from routes.graph.build import build_graph
from routes.graph.nodes import Options
from routes.resources.gateway import Gateway
from routes.resources.http import HTTPRoute, HTTPRouteMatch, HTTPRouteRule, HTTPRouteSpec, ParentReference
from routes.resources.meta import ObjectMeta
from routes.snapshot import Snapshot
from routes.table.compile import compile_table
from routes.table.types import Port

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Request:
    host: str
    path: str
    method: str
    headers: Fields
    query: str


# The oracle: sections "Hostname", "Precedence" and "HTTPRouteMatch" of the Gateway API, read literally.


def fits_host(pattern: str, host: str) -> bool:
    """A wildcard stands for one or more labels; no hostname stands for all."""
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and host != pattern[1:]
    return pattern in ("", host)


def host_rank(pattern: str) -> tuple[int, int]:
    """Most characters in a matching non-wildcard hostname, then in a matching hostname."""
    return (0 if pattern.startswith("*.") else -len(pattern), -len(pattern))


def fits(match: HTTPRouteMatch, request: Request) -> bool:
    """Path AND method AND all headers AND all query parameters; of a header name given twice the first entry."""
    if match.path.type == "Exact":
        on_path = match.path.value == request.path
    else:
        elements = [element for element in match.path.value.split("/") if element]
        on_path = request.path.split("/")[1 : len(elements) + 1] == elements
    wanted = {header.name.lower(): header.value for header in reversed(match.headers)}
    there: dict[str, str] = {}
    for name, value in request.headers:
        there[name.decode()] = f"{there[name.decode()]}, {value.decode()}" if name.decode() in there else value.decode()
    asked = dict(reversed(parse_qsl(request.query, keep_blank_values=True)))
    return (
        on_path
        and match.method in (None, request.method)
        and all(there.get(name) == value for name, value in wanted.items())
        and all(asked.get(parameter.name) == parameter.value for parameter in match.query_params)
    )


def ranked(routes: list[HTTPRoute], request: Request) -> Iterator[tuple[Any, str]]:
    """Every (route, rule, match) that fits, with its place in the order of precedence."""
    for route in routes:
        hosts = [name for name in route.spec.hostnames or ("",) if fits_host(name, request.host)]
        age = route.metadata.creation_timestamp
        for number, rule in enumerate(route.spec.rules) if hosts else ():
            for index, match in enumerate(rule.matches):
                if fits(match, request):
                    exact = match.path.type == "Exact"
                    place = (
                        min(map(host_rank, hosts)),
                        not exact,
                        0 if exact else -len(match.path.value.rstrip("/")),
                        match.method is None,
                        -len({header.name.lower() for header in match.headers}),
                        -len(match.query_params),
                        age.timestamp() if age else float("inf"),
                        f"{route.metadata.namespace}/{route.metadata.name}",
                        number,
                        index,
                    )
                    yield place, f"{route.key.qualified_name}/{number}"


def by_the_spec(gateway: Gateway, routes: list[HTTPRoute], request: Request) -> str | None:
    """The most specific listener alone, and in it the best of all matches that fit."""
    listeners = [one for one in gateway.spec.listeners if fits_host(one.hostname or "", request.host)]
    if not listeners:
        return None
    best = min(listeners, key=lambda one: host_rank(one.hostname or ""))
    here = [route for route in routes if route.spec.parent_refs[0].section_name in (None, best.name)]
    return min(ranked(here, request), default=(None, None))[1]


# Random routes and requests from so few words that they often meet; each is one draw, the simplest first.

HOSTS = ["com", "a.com", "b.com", "a.b.com", "c.a.b.com", "org"]
PATTERNS = ["com", "a.com", "a.b.com", "c.a.b.com", "*.com", "*.b.com", "*.a.b.com", "*.org"]
PATHS = ["/", "/a", "/a/", "/ab", "/a/b", "/a/b/", "/a/b/c", "/b"]


def named(*entries: str) -> list[dict[str, str]]:
    return [dict(zip(("name", "value"), entry.split("="), strict=True)) for entry in entries]


MATCHES = [
    HTTPRouteMatch.model_validate(
        {"path": {"type": kind, "value": path}, "method": method, "headers": headers, "queryParams": query}
    )
    for query in ([], named("p=1"), named("P=1"), named("p=2", "q=1"), named("q=1"))
    for headers in ([], named("x=1"), named("X=2"), named("x=1", "y=2"), named("X=1", "x=2"), named("y=1, 2"))
    for method in (None, "GET", "POST")
    for kind in ("PathPrefix", "Exact")
    for path in PATHS
]
#: Every second match is one of these, which tell requests apart by method, headers and query alone.
EVERYWHERE = [match for match in MATCHES if (match.path.type, match.path.value) == ("PathPrefix", "/")]
REQUESTS = [
    Request(host, path, method, headers, query)
    for query in ("", "p=1", "p=2&q=1", "P=1", "p=1&p=2&P=2", "q=%31&p=2", "q=2&q=1")
    for headers in ((), ((b"x", b"1"),), ((b"x", b"2"), (b"y", b"2")), ((b"y", b"1"), (b"x", b"1"), (b"y", b"2")))
    for method in ("GET", "POST")
    for path in [*PATHS, "/a/b/c/d", "//a", "/abc"]
    for host in HOSTS
]

matches = st.sampled_from(EVERYWHERE) | st.sampled_from(MATCHES)
rules = st.lists(matches, max_size=3).map(lambda matches: HTTPRouteRule(matches=tuple(matches)))
specs = st.fixed_dictionaries(
    {
        "section": st.sampled_from([None, None, None, "l0", "l1"]),
        "hostnames": st.just([]) | st.lists(st.sampled_from(PATTERNS), max_size=2),
        "rules": st.lists(rules, min_size=1, max_size=3),
        "created": st.sampled_from([None, datetime(2024, 1, 1), datetime(2024, 1, 2)]),
    }
)
names = st.sampled_from([("a", "a"), ("a", "b"), ("a-b", "a"), ("b", "a")])
route_sets = st.dictionaries(names, specs, min_size=1, max_size=4)
listener_sets = st.lists(st.sampled_from([None, *PATTERNS]), min_size=1, max_size=3, unique=True)


def gateway_of(hostnames: list[str | None]) -> Gateway:
    listeners = [
        {"name": f"l{index}", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
        | ({"hostname": hostname} if hostname else {})
        for index, hostname in enumerate(hostnames)
    ]
    spec = {"gatewayClassName": "moongate", "listeners": listeners}
    return Gateway.model_validate({"metadata": {"name": "gw", "namespace": "a"}, "spec": spec})


def route_of(namespace: str, name: str, spec: dict[str, Any]) -> HTTPRoute:
    return HTTPRoute(
        metadata=ObjectMeta(namespace=namespace, name=name, creation_timestamp=spec["created"]),
        spec=HTTPRouteSpec(
            parent_refs=(ParentReference(namespace="a", name="gw", section_name=spec["section"]),),
            hostnames=tuple(spec["hostnames"]),
            rules=tuple(spec["rules"]),
        ),
    )


def port_of(gateway: Gateway, routes: list[HTTPRoute]) -> Port[str]:
    table = compile_table(build_graph(Snapshot([gateway, *routes]), Options()), lambda rule: rule.name)
    [port] = table.ports.values()
    return port


@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(listener_sets, route_sets, st.lists(st.sampled_from(REQUESTS), min_size=8, max_size=12))
def test_a_table_finds_the_rule_that_the_spec_names(
    hostnames: list[str | None], specs_by_name: dict[tuple[str, str], dict[str, Any]], asked: list[Request]
) -> None:
    """Listener isolation, hostname precedence, match precedence, ties: all at once."""
    gateway = gateway_of(hostnames)
    routes = [route_of(*name, spec) for name, spec in specs_by_name.items()]
    port = port_of(gateway, routes)
    for request in asked:
        found = port.find(request.host, request.path, request.method, request.headers, request.query.encode())
        event("a rule" if found else "no rule")
        assert found == by_the_spec(gateway, routes, request)
