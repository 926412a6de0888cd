"""The endpoints of Services as they come and go (EndpointSlices of ``discovery.k8s.io/v1``)."""

import gc

import yaml
from hypothesis import given
from hypothesis import strategies as st

from app.upstream.services import ServiceEndpoints
from routes.graph.backends import SERVICE_NAME, serving_in, together
from routes.graph.nodes import Address, ServiceTarget
from routes.resources.core import EndpointSlice
from routes.resources.meta import Key
from routes.resources.scheme import parse

WEB = ServiceTarget("a", "one", "web")
READY, ENDING, GONE = (
    "ready: true",
    "ready: false, serving: true, terminating: true",
    "ready: false, serving: false, terminating: true",
)


def slice_of(name: str, *hosts: str, service: str = "one", port: str = "web", conditions: str = READY) -> EndpointSlice:
    endpoints = ", ".join(f"{{addresses: ['{host}'], conditions: {{{conditions}}}}}" for host in hosts)
    found = parse(
        yaml.safe_load(
            f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: a, labels: {{kubernetes.io/service-name: '{service}'}}}}
addressType: IPv4
ports: [{{name: {port}, port: 80}}, {{name: other, port: 81}}]
endpoints: [{endpoints}]
"""
        ),
        strict=False,
    )
    assert isinstance(found, EndpointSlice)
    return found


def at(*hosts: str, port: int = 80) -> tuple[Address, ...]:
    return tuple(Address(host, port) for host in hosts)


def test_a_port_is_served_where_all_slices_of_its_service_say() -> None:
    services = ServiceEndpoints()
    for found in (slice_of("y", "10.0.0.2"), slice_of("x", "10.0.0.1"), slice_of("z", "10.0.0.3", service="two")):
        services.put(found)
    assert services.of(WEB) == at("10.0.0.1", "10.0.0.2")
    assert services.of(ServiceTarget("a", "one", "other")) == at("10.0.0.1", "10.0.0.2", port=81)
    assert services.of(ServiceTarget("a", "two", "web")) == at("10.0.0.3")


def test_what_nobody_serves_has_no_endpoints() -> None:
    services = ServiceEndpoints()
    services.put(slice_of("x", "10.0.0.1"))
    for target in (ServiceTarget("b", "one", "web"), ServiceTarget("a", "none", "web"), ServiceTarget("a", "one", "")):
        assert services.of(target) == ()


def test_endpoints_that_end_serve_where_none_is_ready() -> None:
    services = ServiceEndpoints()
    services.put(slice_of("x", "10.0.0.1", conditions=ENDING))
    services.put(slice_of("y", "10.0.0.2", conditions=GONE))
    assert services.of(WEB) == at("10.0.0.1")
    services.put(slice_of("y", "10.0.0.2"))
    assert services.of(WEB) == at("10.0.0.2")


def test_as_long_as_nothing_changes_the_answer_is_the_same_object() -> None:
    services = ServiceEndpoints()
    services.put(slice_of("x", "10.0.0.1"))
    first = services.of(WEB)
    services.put(slice_of("x", "10.0.0.1"))
    services.put(slice_of("y", "10.0.0.9", conditions=GONE))
    assert services.of(WEB) is first
    services.put(slice_of("x", "10.0.0.1", "10.0.0.2"))
    assert services.of(WEB) == at("10.0.0.1", "10.0.0.2")


def test_a_slice_may_move_to_another_service_and_may_lose_its_own() -> None:
    services = ServiceEndpoints()
    services.put(slice_of("x", "10.0.0.1"))
    assert services.of(WEB)
    services.put(slice_of("x", "10.0.0.1", service="two"))
    assert (services.of(WEB), services.of(ServiceTarget("a", "two", "web"))) == ((), at("10.0.0.1"))
    services.put(slice_of("x", "10.0.0.1", service=""))
    assert services.of(ServiceTarget("a", "two", "web")) == ()


def test_who_follows_a_service_sees_it_go_and_come_back() -> None:
    services = ServiceEndpoints()
    followed = services.follow(WEB)
    assert followed.at("web") == ()
    found = slice_of("x", "10.0.0.1")
    services.put(found)
    assert followed.at("web") == at("10.0.0.1")
    services.remove(found.key)
    services.remove(found.key)
    assert followed.at("web") == ()
    services.put(found)
    assert followed.at("web") == at("10.0.0.1")


def test_a_service_without_slices_is_forgotten_when_nobody_follows_it() -> None:
    services = ServiceEndpoints()
    followed = services.follow(WEB)
    services.put(slice_of("x", "10.0.0.1", service="two"))
    services.remove(slice_of("x").key)
    del followed
    gc.collect()
    assert len(services) == 0


NAMES, HOSTS = ["x", "y", "z"], ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
SLICES = st.builds(
    lambda name, hosts, service, conditions: slice_of(name, *hosts, service=service, conditions=conditions),
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(HOSTS), unique=True),
    st.sampled_from(["one", "two", ""]),
    st.sampled_from([READY, ENDING, GONE]),
)


@given(st.lists(SLICES | st.sampled_from(NAMES), max_size=12))
def test_whatever_comes_and_goes_what_is_left_counts(changes: list[EndpointSlice | str]) -> None:
    services = ServiceEndpoints()
    left: dict[str, EndpointSlice] = {}
    for change in changes:
        if isinstance(change, str):
            left.pop(change, None)
            services.remove(Key("discovery.k8s.io", "EndpointSlice", "a", change))
        else:
            left[change.metadata.name] = change
            services.put(change)
        for service in ("one", "two"):
            mine = [left[name] for name in sorted(left) if left[name].metadata.labels[SERVICE_NAME] == service]
            assert services.of(ServiceTarget("a", service, "web")) == together(serving_in(each, "web") for each in mine)
