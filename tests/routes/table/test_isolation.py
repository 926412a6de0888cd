"""Each request is on one listener, whether its Gateway has it or a ListenerSet adds it, and whatever routes say."""

from collections.abc import Callable

import pytest

from routes.table.types import RoutingTable

Compile = Callable[[str], RoutingTable[str]]

LISTENERS = {
    "empty": "",
    "wild": "hostname: '*.example.com'",
    "narrower": "hostname: '*.foo.example.com'",
    "exact": "hostname: abc.foo.example.com",
}
#: The listener that each host is on.
HOSTS = {
    "bar.com": "empty",
    "example.com": "empty",
    "bar.example.com": "wild",
    "foo.example.com": "wild",
    "bar.foo.example.com": "narrower",
    "a.b.foo.example.com": "narrower",
    "abc.foo.example.com": "exact",
}
#: What routes may say of hostnames, none of which takes a host away from its listener.
HOSTNAMES = {
    "empty": "bar.com, example.com, '*.example.com', abc.foo.example.com",
    "wild": "'*.example.com', abc.foo.example.com, bar.com",
    "narrower": "'*.foo.example.com', '*.com'",
    "exact": "'*.com', abc.foo.example.com",
}


def gateway(names: list[str]) -> str:
    return f"""
kind: Gateway
metadata: {{name: gw}}
spec:
  gatewayClassName: moongate
  allowedListeners: {{namespaces: {{from: Same}}}}
  listeners: [{", ".join(map(listener, names))}]
---"""


def listener(name: str) -> str:
    return f"{{name: {name}, port: 80, protocol: HTTP, {LISTENERS[name]}}}"


def listener_set(name: str) -> str:
    return f"""
kind: ListenerSet
metadata: {{name: {name}}}
spec: {{parentRef: {{name: gw}}, listeners: [{listener(name)}]}}
---"""


def route(name: str, parent: str, hostnames: str) -> str:
    return f"""
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{{parent}, sectionName: {name}}}]
  hostnames: [{hostnames}]
  rules: [{{matches: [{{path: {{value: /{name}}}}}]}}]
---"""


@pytest.mark.parametrize("added", [[], ["wild", "exact"], ["empty", "narrower"]], ids=" ".join)
@pytest.mark.parametrize("hostnames", [dict.fromkeys(LISTENERS, ""), HOSTNAMES], ids=["without", "with hostnames"])
def test_a_request_is_on_the_listener_of_its_host_and_on_no_other(
    compiled: Compile, added: list[str], hostnames: dict[str, str]
) -> None:
    """For distinct listeners, requests should match at most one (GatewaySpec.listeners): elsewhere nobody answers."""
    table = compiled(
        gateway([name for name in LISTENERS if name not in added])
        + "".join(map(listener_set, added))
        + "".join(
            route(name, f"kind: ListenerSet, name: {name}" if name in added else "name: gw", hostnames[name])
            for name in LISTENERS
        )
    )
    [port] = table.ports.values()
    for host, right in HOSTS.items():
        for name in LISTENERS:
            found = port.find(host, f"/{name}", "GET", (), b"")
            assert found == (f"default/{name}/0" if name == right else None), (host, name)


def test_the_listeners_of_sets_are_found_under_the_sets_name(compiled: Compile) -> None:
    """By which a socket that is there already can be given to one of them."""
    table = compiled(gateway(["empty"]) + listener_set("wild"))
    assert set(table.listeners) == {"default/gw/empty", "default/wild/wild"}
