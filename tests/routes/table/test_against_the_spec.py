"""Whole tables against the spec's own words, carried out one by one without any index."""

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import product
from random import Random
from typing import Any, TypeVar

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
from tests.routes.table.oracle import Request, by_the_spec

T = TypeVar("T")

# Random routes and requests from so few words that they often meet; each is one draw, the simplest first.

HOSTS = ["com", "a.com", "b.com", "a.b.com", "c.a.b.com", "org"]
PATTERNS = ["com", "a.com", "a.b.com", "c.a.b.com", "*.com", "*.b.com", "*.a.b.com", "*.org"]
PATTERN_PATHS = ["/.*", "/a", "/a/b?", "(/[a-b])+", "/x"]
PATHS = ["/", "/a", "/a/", "/ab", "/a/b", "/a/b/", "/a/b/c", "/b"]


def named(*entries: str) -> list[dict[str, str]]:
    """``name=value``, and ``name~pattern``."""
    found = []
    for entry in entries:
        name, sign, value = re.split("([=~])", entry)
        found.append({"name": name, "value": value} | ({"type": "RegularExpression"} if sign == "~" else {}))
    return found


MATCHES = [
    HTTPRouteMatch.model_validate(
        {"path": {"type": kind, "value": path}, "method": method, "headers": headers, "queryParams": query}
    )
    for query in ([], named("p=1"), named("P=1"), named("p=2", "q=1"), named("q=1"), named("p~[12]"))
    for headers in (
        [],
        named("x=1"),
        named("X=2"),
        named("x=1", "y=2"),
        named("X=1", "x=2"),
        named("y=1,2"),
        named("x~1|2"),
    )
    for method in (None, "GET", "POST")
    for kind, path in [*product(("PathPrefix", "Exact"), PATHS), *product(["RegularExpression"], PATTERN_PATHS)]
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
NAMES = [("a", "a"), ("a", "b"), ("a-b", "a"), ("b", "a")]
names = st.sampled_from(NAMES)
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


def check(
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


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(listener_sets, route_sets, st.lists(st.sampled_from(REQUESTS), min_size=8, max_size=12))
def test_a_table_finds_the_rule_that_the_spec_names(
    hostnames: list[str | None], specs_by_name: dict[tuple[str, str], dict[str, Any]], asked: list[Request]
) -> None:
    """Small tables, and the smallest that fails."""
    check(hostnames, specs_by_name, asked)


@settings(max_examples=20_000, deadline=None)
@given(st.integers(0, 2**64))
def test_many_tables_find_the_rules_that_the_spec_names(seed: int) -> None:
    """Drawn by Python, in a tenth of the time."""
    chance = Random(seed)

    def some(most: int, values: Sequence[T], least: int = 0) -> list[T]:
        return [chance.choice(values) for _ in range(chance.randint(least, most))]

    specs = {
        name: {
            "section": chance.choice([None, None, None, "l0", "l1"]),
            "hostnames": list(dict.fromkeys(some(2, PATTERNS))),
            "rules": [
                HTTPRouteRule(matches=tuple(some(3, chance.choice([EVERYWHERE, MATCHES]))))
                for _ in range(chance.randint(1, 3))
            ],
            "created": chance.choice([None, datetime(2024, 1, 1), datetime(2024, 1, 2)]),
        }
        for name in chance.sample(NAMES, chance.randint(1, 4))
    }
    listeners = chance.sample([None, None, *PATTERNS], chance.randint(1, 2))
    check(list(dict.fromkeys(listeners)), specs, some(4, REQUESTS, 4))
