"""What became of the sockets changes what is told, and nothing of what is served."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from routes.graph.build import build_graph
from routes.graph.nodes import CertificatePair, Options, Sockets
from routes.resources.gateway import Gateway, ListenerSet
from routes.resources.http import HTTPRoute
from routes.resources.meta import GATEWAY_GROUP, Key, Resource
from routes.snapshot import Snapshot
from routes.table.compile import compile_table
from routes.table.describe import describe

META = {"name": "a", "namespace": "default"}


def listener(port: int) -> dict[str, Any]:
    return {"name": f"p{port}", "port": port, "protocol": "HTTP"}


GATEWAY = Gateway.model_validate(
    {
        "metadata": META,
        "spec": {
            "gatewayClassName": "moongate",
            "addresses": [{"value": "10.0.0.1"}, {"value": "10.0.0.2"}],
            "allowedListeners": {"namespaces": {"from": "Same"}},
            "listeners": [listener(80), listener(81)],
        },
    }
)
SET = ListenerSet.model_validate(
    {"metadata": META, "spec": {"parentRef": {"name": "a"}, "listeners": [listener(82), listener(83)]}}
)
PARENTS = [{"name": "a"}, {"name": "a", "kind": "ListenerSet"}]
ROUTE = HTTPRoute.model_validate({"metadata": META, "spec": {"parentRefs": PARENTS}})
OBJECTS: list[Resource] = [GATEWAY, SET, ROUTE]
SOCKETS = st.builds(
    Sockets,
    refused=st.dictionaries(
        st.sampled_from([(GATEWAY.key, port) for port in range(80, 84)]), st.just("[Errno 98] Address already in use")
    ),
    addresses=st.dictionaries(
        st.just(GATEWAY.key), st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "::1"]), unique=True).map(tuple)
    ),
)


@given(SOCKETS)
def test_the_table_is_the_same_whatever_became_of_the_sockets(sockets: Sockets) -> None:
    """Otherwise a port that was refused would never be tried again."""
    with_sockets, without = (
        describe(compile_table(build_graph(Snapshot(OBJECTS), Options(), each), lambda rule: rule))
        for each in (sockets, Sockets())
    )
    assert with_sockets == without


@given(SOCKETS)
def test_a_listener_is_programmed_where_its_port_is_open_and_an_address_is_there(sockets: Sockets) -> None:
    [gateway] = build_graph(Snapshot(OBJECTS), Options(), sockets).gateways.values()
    somewhere = sockets.addresses.get(gateway.source.key) != ()
    for node in gateway.all_listeners:
        closed = (gateway.source.key, node.source.port) in sockets.refused
        found = {condition.type: condition.status for condition in node.conditions}
        assert (found["Programmed"], found["Accepted"]) == (somewhere and not closed, not closed)
    assert [condition.status for condition in gateway.conditions if condition.type == "Accepted"] == [True]


def test_what_is_known_of_another_gateway_is_not_told_of_this_one() -> None:
    other = Key(GATEWAY_GROUP, "Gateway", "default", "b")
    sockets = Sockets({(other, 80): "closed"}, {other: ()})
    assert build_graph(Snapshot(OBJECTS), Options(), sockets) == build_graph(Snapshot(OBJECTS), Options())


def test_a_certificate_stays_where_its_secret_cannot_be_read_any_more() -> None:
    """Nobody has said that it is gone."""
    secret = Key("", "Secret", "default", "certificate")
    tls = {"certificateRefs": [{"name": "certificate"}]}
    secure = {"name": "secure", "port": 443, "protocol": "HTTPS", "tls": tls}
    gateway = Gateway.model_validate(
        {"metadata": META, "spec": {"gatewayClassName": "moongate", "listeners": [secure]}}
    )
    last = CertificatePair(secret, b"certificate", b"key")
    for unread, kept in (({("", "Secret", ""): "forbidden"}, (last,)), ({}, ())):
        snapshot = Snapshot([gateway], unread)
        graph = build_graph(snapshot, Options(), Sockets(certificates={secret: last}))
        (listener,) = graph.gateways[gateway.key].listeners
        assert listener.certificates == kept
