"""What an Exposure writes, when and in which order, and what it knows of ports and addresses."""

import copy
import importlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from app.exposure.exposure import Exposure
from app.exposure.ports import FIRST, LAST, home
from app.providers.kubernetes.api import Object
from app.settings import Settings
from routes.resources.gateway import Gateway
from routes.resources.meta import GATEWAY_GROUP, V1ALPHA1_GROUP, Key
from routes.table.types import PortKey
from tests.app.exposure.cluster import Cluster, replicas, state_of
from tests.wire.harness import Loop

SHOP = Key(GATEWAY_GROUP, "Gateway", "shop", "web")
SERVICE = "/api/v1/namespaces/shop/services/web-moongate"
SLICE = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/web-moongate-ipv4"
REPLICAS = "/apis/discovery.k8s.io/v1/namespaces/moongate-system/endpointslices/moongate-x7k2p"

CLASS = """---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: moongate}
spec: {controllerName: moongate.dev/gateway}
"""


def gateway(name: str = "web", *ports: int, **spec: str) -> str:
    """A Gateway in namespace shop; ``ports`` of HTTP listeners, 80 where none is said."""
    listeners = ", ".join(f"{{name: l-{port}, port: {port}, protocol: HTTP}}" for port in ports or (80,))
    more = "".join(f", {field}: {value}" for field, value in spec.items() if field != "class_")
    return f"""---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: shop, uid: uid-of-{name}, generation: {abs(hash((ports, *spec.items())))}}}
spec: {{gatewayClassName: {spec.get("class_", "moongate")}, listeners: [{listeners}]{more}}}
"""


class Replica:
    """One replica's Exposure, and what it was told."""

    def __init__(self, cluster: Cluster, loop: Loop, *, leading: bool = True, **settings: Any) -> None:
        self.loop = loop
        self.told = 0
        given = Settings(provider="kubernetes", replicas_service="moongate", **settings)
        self.exposure = Exposure(cluster, cluster.follow, given, self._tell)
        loop.run(self.exposure.load())
        self.exposure.lead(leading)
        self.running = loop.create_task(self.exposure.run())

    def _tell(self) -> None:
        self.told += 1

    def serve(self, *manifests: str) -> None:
        """Make ``manifests`` the present state."""
        state = state_of("".join([CLASS, *manifests]))
        self.exposure.prepare(state.table)
        self.exposure.publish(state)
        self.loop.settle()


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.finish()


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster.put(REPLICAS, replicas("10.0.0.1", "10.0.0.2"))
    return cluster


def test_a_gateway_gets_its_service_first_and_then_a_slice(loop: Loop, cluster: Cluster) -> None:
    Replica(cluster, loop).serve(gateway())
    assert cluster.writes == ["apply web-moongate", "apply web-moongate-ipv4"]
    port = home(PortKey(SHOP, 80))
    assert cluster.objects[SERVICE]["spec"]["ports"][0] | {"nodePort": 0} == {
        "name": "port-80", "port": 80, "protocol": "TCP", "targetPort": port, "nodePort": 0
    }  # fmt: skip
    assert cluster.objects[SLICE]["ports"] == [{"name": "port-80", "port": port, "protocol": "TCP"}]
    assert [each["addresses"] for each in cluster.objects[SLICE]["endpoints"]] == [["10.0.0.1"], ["10.0.0.2"]]


def test_ports_that_somebody_else_wrote_into_a_service_claim_nothing(loop: Loop, cluster: Cluster) -> None:
    """A tenant brings a Gateway of his own, whose listener would be bound where another's is, and says that it is."""
    keys: dict[str, Any] = {"session_key": "a secret of the replicas"}
    leader = Replica(cluster, loop, **keys)
    leader.serve(gateway())
    taken = home(PortKey(SHOP, 80))
    thief = Key(GATEWAY_GROUP, "Gateway", "shop", "a-thief")
    port = next(each for each in range(1, 65536) if home(PortKey(thief, each)) == taken)
    leader.serve(gateway(), gateway("a-thief", port))
    path = "/api/v1/namespaces/shop/services/a-thief-moongate"
    assert cluster.objects[path]["spec"]["ports"][0]["targetPort"] == taken + 1
    forged = copy.deepcopy(cluster.objects[path])
    forged["spec"]["ports"][0]["targetPort"] = taken
    leader.exposure.lead(False)
    cluster.put(path, forged)
    late = Replica(cluster, loop, leading=False, **keys)
    for replica in (leader, late):
        replica.serve(gateway(), gateway("a-thief", port))
        assert replica.exposure.bound(PortKey(SHOP, 80)) == taken
        assert replica.exposure.bound(PortKey(thief, port)) == taken + 1


def test_ports_that_no_gateway_has_are_not_used_up_by_who_writes_services(loop: Loop, cluster: Cluster) -> None:
    keys: dict[str, Any] = {"session_key": "a secret of the replicas"}
    leader = Replica(cluster, loop, **keys)
    leader.serve(gateway())
    ghost = copy.deepcopy(cluster.objects[SERVICE])
    ghost["metadata"] |= {"name": "ghost", "uid": "ghost"}
    ghost["metadata"]["ownerReferences"][0]["name"] = "ghost"
    ghost["spec"]["ports"] = [
        {"name": f"port-{n}", "port": n, "protocol": "TCP", "targetPort": target}
        for n, target in enumerate(range(FIRST, LAST + 1), start=1)
    ]
    cluster.put("/api/v1/namespaces/shop/services/ghost", ghost)
    late = Replica(cluster, loop, leading=False, **keys)
    late.serve(gateway(), gateway("new"))
    new = PortKey(Key(GATEWAY_GROUP, "Gateway", "shop", "new"), 80)
    assert late.exposure.bound(new) == home(new)


def test_ports_of_ours_are_known_after_a_restart_by_who_has_the_key(loop: Loop, cluster: Cluster) -> None:
    port = PortKey(SHOP, 80)
    first = Replica(cluster, loop, session_key="a secret of the replicas", admin=f"127.0.0.1:{home(port)}")
    first.serve(gateway())  # not at home, where the admin port is
    elsewhere = first.exposure.bound(port)
    assert elsewhere != home(port)
    for key, found in (("a secret of the replicas", elsewhere), ("another secret, a new one", home(port))):
        later = Replica(cluster, loop, leading=False, session_key=key)
        later.serve(gateway())
        assert later.exposure.bound(port) == found


def test_nothing_is_written_twice_and_nothing_by_who_does_not_lead(loop: Loop, cluster: Cluster) -> None:
    first = Replica(cluster, loop)
    first.serve(gateway())
    cluster.writes.clear()
    first.serve(gateway())
    Replica(cluster, loop).serve(gateway())  # as after a restart
    Replica(cluster, loop, leading=False).serve(gateway(), gateway("other"))
    assert cluster.writes == []


def test_addresses_are_told_once_there_is_a_slice(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop, service_type="ClusterIP")
    with cluster.refusing("endpointslices/", 500, "etcd is away"):
        replica.serve(gateway())
        assert SERVICE in cluster.objects
        assert replica.exposure.addresses() == {SHOP: ()}
        assert replica.exposure.unassigned()[SHOP] == "etcd is away (500 )"
    loop.advance(1.0)
    assert replica.exposure.addresses() == {SHOP: (cluster.objects[SERVICE]["spec"]["clusterIP"],)}


def test_a_load_balancers_addresses_are_the_gateways_on_every_replica(loop: Loop, cluster: Cluster) -> None:
    leader, other = Replica(cluster, loop), Replica(cluster, loop, leading=False)
    for replica in (leader, other):
        replica.serve(gateway())
        assert SHOP not in replica.exposure.addresses()
        assert "load balancer" in replica.exposure.unassigned()[SHOP]
    cluster.balance(SERVICE, {"ip": "203.0.113.7"}, {"hostname": "lb.example.com"})
    loop.settle()
    for replica in (leader, other):
        assert replica.exposure.addresses() == {SHOP: ("203.0.113.7", "lb.example.com")}
        assert replica.told


def test_a_restarted_replica_binds_what_is_stored(loop: Loop, cluster: Cluster) -> None:
    Replica(cluster, loop).serve(gateway())
    ports = copy.deepcopy(cluster.objects[SERVICE]["spec"]["ports"])
    ports[0]["targetPort"] = 12_345
    cluster.edit(SERVICE, ports=ports)
    assert Replica(cluster, loop, leading=False).exposure.bound(PortKey(SHOP, 80)) == 12_345


def test_a_replica_follows_what_the_leader_has_stored(loop: Loop, cluster: Cluster) -> None:
    other = Replica(cluster, loop, leading=False)
    other.serve(gateway())
    assert other.exposure.bound(PortKey(SHOP, 80)) == home(PortKey(SHOP, 80))
    # The leader knew of a Gateway that is gone by now.
    leader = Replica(cluster, loop, admin=f"0.0.0.0:{home(PortKey(SHOP, 80))}")
    leader.serve(gateway())
    assert other.exposure.bound(PortKey(SHOP, 80)) == home(PortKey(SHOP, 80)) + 1
    assert other.told


def test_two_gateways_with_one_port_number_have_two_ports(loop: Loop, cluster: Cluster) -> None:
    Replica(cluster, loop).serve(gateway(), gateway("other"))
    targets = {
        cluster.objects[path]["spec"]["ports"][0]["targetPort"] for path in cluster.objects if "services" in path
    }
    assert len(targets) == 2


def test_endpoints_follow_the_replicas(loop: Loop, cluster: Cluster) -> None:
    Replica(cluster, loop).serve(gateway())
    cluster.writes.clear()
    cluster.put(REPLICAS, replicas("10.0.0.1", ready=False, serving=True, terminating=True))
    loop.settle()
    assert cluster.writes == ["apply web-moongate-ipv4"]
    assert cluster.objects[SLICE]["endpoints"] == [
        {"addresses": ["10.0.0.1"], "conditions": {"ready": False, "serving": True, "terminating": True}}
    ]


def test_an_address_stays_when_no_replica_is_there(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop, service_type="ClusterIP")
    replica.serve(gateway())
    before = replica.exposure.addresses()
    cluster.remove(REPLICAS)
    loop.settle()
    assert SLICE not in cluster.objects
    assert replica.exposure.addresses() == before != {}


def test_what_others_change_or_delete_is_put_right_and_what_they_add_stays(loop: Loop, cluster: Cluster) -> None:
    Replica(cluster, loop).serve(gateway())
    cluster.edit(SERVICE, type="ClusterIP")
    loop.settle()
    assert cluster.objects[SERVICE]["spec"]["type"] == "LoadBalancer"
    loop.advance(5.0)
    cluster.remove(SLICE)
    loop.settle()
    assert SLICE in cluster.objects
    loop.advance(5.0)
    cluster.writes.clear()
    cluster.edit(SERVICE, externalTrafficPolicy="Local")
    loop.settle()
    assert cluster.writes == []


def test_who_changes_it_back_each_time_is_not_fought_without_pause(
    loop: Loop, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    Replica(cluster, loop).serve(gateway())
    cluster.writes.clear()
    fight = cluster.follower_of("/api/v1/services").on_change

    def meddle(namespace: str, name: str, stored: dict[str, Any] | None) -> None:
        fight(namespace, name, stored)
        if stored is not None and stored["spec"]["type"] != "ClusterIP":
            loop.call_soon(lambda: cluster.edit(SERVICE, type="ClusterIP"))

    cluster.follower_of("/api/v1/services").on_change = meddle
    cluster.edit(SERVICE, type="ClusterIP")
    loop.advance(300.0)
    assert 5 < len(cluster.writes) < 20
    assert "somebody else changes its Service or EndpointSlices time and again" in caplog.text


def test_a_gateway_without_a_good_listener_keeps_its_address_and_has_no_endpoints(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop)
    replica.serve(gateway())
    cluster.writes.clear()
    replica.serve(gateway(addresses="[{type: Hostname, value: a.example.com}]"))
    assert cluster.writes == ["delete web-moongate-ipv4"]
    replica.serve(gateway())
    assert cluster.writes == ["delete web-moongate-ipv4", "apply web-moongate-ipv4"]


def test_a_port_that_a_service_still_has_is_nobody_elses(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop)
    replica.serve(gateway())
    ports = copy.deepcopy(cluster.objects[SERVICE]["spec"]["ports"])
    ports[0]["targetPort"] = home(PortKey(SHOP._replace(name="other"), 80))
    replica.exposure.lead(False)
    cluster.edit(SERVICE, ports=ports)
    replica.serve(gateway("other"))
    assert replica.exposure.bound(PortKey(SHOP._replace(name="other"), 80)) == ports[0]["targetPort"] + 1


def test_a_listener_comes_and_goes_with_its_port(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop)
    for ports in ((80, 8080), (8080,)):
        replica.serve(gateway("web", *ports))
        for path in (SERVICE, SLICE):
            found = cluster.objects[path].get("spec", cluster.objects[path])["ports"]
            assert [each["name"] for each in found] == [f"port-{port}" for port in ports]


def test_with_another_class_the_service_is_another_and_the_old_one_goes_last(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop)
    replica.serve(gateway())
    bound = replica.exposure.bound(PortKey(SHOP, 80))
    cluster.writes.clear()
    replica.serve(CLASS.replace("name: moongate", "name: second"), gateway(class_="second"))
    assert cluster.writes == [
        "apply web-second", "apply web-second-ipv4", "delete web-moongate-ipv4", "delete web-moongate"
    ]  # fmt: skip
    assert replica.exposure.bound(PortKey(SHOP, 80)) == bound


def test_what_was_made_for_a_gateway_of_anothers_class_is_taken_away(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop)
    replica.serve(gateway())
    cluster.writes.clear()
    replica.serve(gateway(class_="traefik"))
    assert cluster.writes == ["delete web-moongate-ipv4", "delete web-moongate"]


def test_a_class_that_is_away_does_not_cost_the_address(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop)
    replica.serve(gateway())
    cluster.writes.clear()
    state = state_of(gateway())
    replica.exposure.publish(state)
    loop.settle()
    assert cluster.writes == ["delete web-moongate-ipv4"]


def test_nothing_is_deleted_of_a_gateway_that_is_not_known(loop: Loop, cluster: Cluster) -> None:
    """It is gone, and its objects go with it; or it cannot be read."""
    replica = Replica(cluster, loop)
    replica.serve(gateway())
    cluster.writes.clear()
    replica.serve()
    assert cluster.writes == []


def test_what_another_moongate_has_made_is_left_alone(loop: Loop, cluster: Cluster) -> None:
    second = CLASS.replace("moongate.dev/gateway", "example.com/second").replace("name: moongate", "name: second")
    other = Replica(cluster, loop, controller_name="example.com/second")
    state = state_of(CLASS + gateway())
    other.exposure.publish(state)
    loop.settle()
    cluster.writes.clear()
    Replica(cluster, loop).serve(second, gateway(class_="second"))
    assert cluster.writes == []


def test_a_service_that_is_somebodys_own_is_left_alone_and_ours_has_another_name(loop: Loop, cluster: Cluster) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web-moongate", "namespace": "shop"},
        "spec": {"ports": [{"port": 1}]},
    }
    before = copy.deepcopy(cluster.put(SERVICE, theirs))
    Replica(cluster, loop).serve(gateway())
    assert cluster.objects[SERVICE] == before
    [name] = [path.rpartition("/")[2] for path in cluster.objects if "/services/web-moongate-" in path]
    assert cluster.writes == [f"apply {name}", f"apply {name}-ipv4"]
    cluster.writes.clear()
    Replica(cluster, loop).serve(gateway())
    assert cluster.writes == []


def test_gateways_of_two_versions_with_one_name_have_services_of_their_own(loop: Loop, cluster: Cluster) -> None:
    older = """---
apiVersion: networking.x-k8s.io/v1alpha1
kind: GatewayClass
metadata: {name: moongate}
spec: {controller: moongate.dev/gateway}
---
apiVersion: networking.x-k8s.io/v1alpha1
kind: Gateway
metadata: {name: web, namespace: shop, uid: uid-of-older}
spec: {gatewayClassName: moongate, listeners: [{port: 80, protocol: HTTP, routes: {kind: HTTPRoute}}]}
"""
    Replica(cluster, loop).serve(gateway(), older)
    owners = {
        each["metadata"]["ownerReferences"][0]["apiVersion"].partition("/")[0]
        for path, each in cluster.objects.items()
        if "/services/" in path
    }
    assert owners == {GATEWAY_GROUP, V1ALPHA1_GROUP}


def test_a_static_address_is_asked_of_the_load_balancer(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop, service_type="ClusterIP", static_addresses="203.0.113.0/24")
    replica.serve(gateway(addresses="[{value: 203.0.113.9}]"))
    spec = cluster.objects[SERVICE]["spec"]
    assert (spec["type"], spec["loadBalancerIP"]) == ("LoadBalancer", "203.0.113.9")
    assert replica.exposure.unusable() == {}
    assert "203.0.113.9" in replica.exposure.unassigned()[SHOP]


def test_nobody_gets_an_address_that_is_not_given_to_gateways(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop, static_addresses="203.0.113.0/24")
    replica.serve(gateway(addresses="[{value: 10.96.0.1}]"))
    assert cluster.writes == []
    assert replica.exposure.unusable()[SHOP].startswith("10.96.0.1 is in none of the networks")
    replica.serve(gateway(addresses="[{value: 10.96.0.1}, {value: 203.0.113.9}, {value: 203.0.113.10}]"))
    assert cluster.objects[SERVICE]["spec"]["loadBalancerIP"] == "203.0.113.9"
    assert "203.0.113.10 cannot be had beside 203.0.113.9" in replica.exposure.unusable()[SHOP]


def test_what_may_not_be_written_is_logged_once_told_and_tried_again(
    loop: Loop, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    replica = Replica(cluster, loop)
    with cluster.refusing("/services/", 403, 'services "web-moongate" is forbidden'):
        replica.serve(gateway())
        loop.advance(30.0)
        assert 3 < cluster.asked < 20
        assert caplog.text.count("cannot be written") == 1
        assert replica.exposure.addresses() == {SHOP: ()}
        assert 'services "web-moongate" is forbidden (403 Forbidden)' in replica.exposure.unassigned()[SHOP]
    loop.advance(60.0)
    assert SERVICE in cluster.objects
    assert "load balancer" in replica.exposure.unassigned()[SHOP]


def test_one_gateways_trouble_is_not_anothers(loop: Loop, cluster: Cluster) -> None:
    with cluster.refusing("/services/web-", 403, "forbidden"):
        Replica(cluster, loop).serve(gateway(), gateway("other"))
        assert cluster.writes[-2:] == ["apply other-moongate", "apply other-moongate-ipv4"]


def test_while_something_cannot_be_read_nothing_is_written(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop)
    follower = cluster.follower_of("/api/v1/services")
    follower.say("services is forbidden")
    replica.serve(gateway())
    assert cluster.writes == []
    assert replica.exposure.unassigned() == {SHOP: "services is forbidden"}
    follower.say("")
    loop.settle()
    assert cluster.writes == ["apply web-moongate", "apply web-moongate-ipv4"]


def test_who_becomes_the_leader_writes_what_is_missing(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop, leading=False)
    replica.serve(gateway())
    assert cluster.writes == []
    replica.exposure.lead(True)
    loop.settle()
    assert cluster.writes == ["apply web-moongate", "apply web-moongate-ipv4"]


def test_who_stops_follows_no_more(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop)
    replica.serve(gateway())
    following = [each for followers in cluster.followers.values() for each in followers]
    replica.running.cancel()
    loop.settle()
    assert all(each.running for each in following), "who writes no more serves on, and has to know the ports"
    loop.run(replica.exposure.stop())
    assert not any(each.running for each in following)


@pytest.mark.parametrize("place", ["exposure", "writer"])
def test_a_gateway_that_nobody_has_thought_of_holds_up_no_other(
    loop: Loop, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    module = importlib.import_module(f"app.exposure.{place}")
    static_address = module.static_address

    def fault(gateway: Gateway, networks: Any) -> tuple[str, str]:
        if gateway.metadata.name == "a-odd":
            raise LookupError("a fault of ours")
        found: tuple[str, str] = static_address(gateway, networks)
        return found

    monkeypatch.setattr(module, "static_address", fault)
    replica = Replica(cluster, loop, service_type="ClusterIP")
    replica.serve(gateway("a-odd"), gateway())
    assert replica.exposure.addresses()[SHOP] == (cluster.objects[SERVICE]["spec"]["clusterIP"],)
    assert "log" in replica.exposure.unassigned()[Key(GATEWAY_GROUP, "Gateway", "shop", "a-odd")]
    assert "a fault of ours" in caplog.text
    assert not replica.running.done()


def test_an_older_event_does_not_hide_what_was_written(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop)
    replica.serve(gateway())
    older = copy.deepcopy(cluster.objects[SERVICE])
    cluster.edit(SERVICE, type="ClusterIP")
    loop.settle()
    cluster.writes.clear()
    older["spec"]["type"] = "NodePort"
    cluster.follower_of("/api/v1/services").on_change("shop", "web-moongate", older)
    loop.settle()
    assert cluster.writes == []


def test_of_a_gateway_that_is_being_deleted_nothing_is_made_anew(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop)
    replica.serve(gateway())
    replica.serve(gateway().replace("uid-of-web", "uid-of-web, deletionTimestamp: 2026-11-24T00:00:00Z"))
    cluster.writes.clear()
    cluster.remove(SERVICE)
    cluster.put(REPLICAS, replicas("10.0.0.3"))
    loop.advance(5.0)
    assert cluster.writes == ["apply web-moongate-ipv4"]


def test_what_is_deleted_while_its_write_is_answered_is_made_anew(loop: Loop, cluster: Cluster) -> None:
    """As where a Gateway takes the place of one that is deleted with all that it owns."""
    replica = Replica(cluster, loop, service_type="ClusterIP")
    taken: list[str] = []
    apply = cluster.apply

    async def apply_and_lose(path: str, body: Object) -> Object:
        answer = await apply(path, body)
        if path == SERVICE and not taken:
            taken.append(path)
            cluster.remove(path)  # the watch says it before the answer is in
        return answer

    cluster.apply = apply_and_lose  # type: ignore[method-assign]
    replica.serve(gateway("web", 80))
    loop.advance(5)
    assert taken
    assert SERVICE in cluster.objects
    assert replica.exposure.addresses()[SHOP]


def test_what_is_not_what_we_know_is_read_again(loop: Loop, cluster: Cluster) -> None:
    replica = Replica(cluster, loop)
    replica.serve(gateway("web", 80))
    del cluster.objects[SERVICE]  # and no watch says it
    replica.serve(gateway("web", 80, 8080))
    loop.advance(5)
    assert [port["port"] for port in cluster.objects[SERVICE]["spec"]["ports"]] == [80, 8080]
