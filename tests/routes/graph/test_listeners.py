"""What of listeners no manifest can show, since the schema refuses it before."""

from routes.graph.build import build_graph
from routes.graph.nodes import Condition, ListenerNode, Options
from routes.graph.review import review
from routes.resources.gateway import Gateway, GatewaySpec, Listener, ListenerTLSConfig
from routes.resources.meta import ObjectMeta
from routes.snapshot import Snapshot


def built(*listeners: Listener) -> tuple[ListenerNode, ...]:
    # An API server without the schema's rules may hold what the model refuses.
    spec = GatewaySpec.model_construct(gateway_class_name="moongate", listeners=listeners, tls=None)
    gateway = Gateway(metadata=ObjectMeta(name="a", namespace="default"), spec=spec)
    return build_graph(Snapshot([gateway]), Options()).gateways[gateway.key].listeners


def condition(listener: ListenerNode, type_: str) -> Condition:
    [found] = [each for each in listener.conditions if each.type == type_]
    return found


def http(name: str, port: int = 80, hostname: str | None = None) -> Listener:
    return Listener(name=name, port=port, protocol="HTTP", hostname=hostname)


def test_listeners_of_one_port_protocol_and_hostname_conflict_and_none_wins() -> None:
    """Same port + protocol + hostname → HostnameConflict on every listener concerned, and on no other."""
    first, second, distinct = built(http("a"), http("b"), http("c", hostname="c.example.com"))
    for listener in (first, second):
        assert not listener.valid
        for type_, status in (("Conflicted", True), ("Accepted", False), ("Programmed", False)):
            found = condition(listener, type_)
            assert (found.status, found.reason) == (status, "HostnameConflict")
        assert condition(listener, "Conflicted").message == "several listeners want any host on port 80"
    assert distinct.valid
    assert condition(distinct, "Conflicted").reason == "NoConflicts"


def test_an_empty_hostname_is_none() -> None:
    """Empty or absent = any host."""
    empty = http("b").model_copy(update={"hostname": ""})
    assert [listener.valid for listener in built(http("a"), empty)] == [False, False]


def test_the_same_hostname_on_different_ports_is_no_conflict() -> None:
    """Listeners are distinct by port and hostname."""
    assert all(listener.valid for listener in built(http("a", 80, "a.com"), http("b", 81, "a.com")))


def test_a_conflict_is_one_problem_and_not_three() -> None:
    """Accepted and Programmed only repeat what Conflicted says."""
    listeners = (http("a"), http("b"))
    spec = GatewaySpec.model_construct(gateway_class_name="moongate", listeners=listeners, tls=None)
    gateway = Gateway(metadata=ObjectMeta(name="a", namespace="default"), spec=spec)
    problems = review(build_graph(Snapshot([gateway]), Options()))
    assert [problem.field for problem in problems] == ["spec.listeners[0]", "spec.listeners[1]"]


def test_an_https_listener_that_would_pass_tls_through_is_not_served() -> None:
    """HTTPS: Terminate only."""
    tls = ListenerTLSConfig.model_validate({"mode": "Passthrough", "certificateRefs": [{"name": "a"}]})
    [listener] = built(Listener.model_construct(**(dict(http("a")) | {"protocol": "HTTPS", "tls": tls})))
    assert not listener.valid
    assert condition(listener, "Accepted").reason == "UnsupportedValue"
    assert "Passthrough" in condition(listener, "Accepted").message
