"""A snapshot is a value: what is added to or taken from it makes another one."""

from hypothesis import given
from hypothesis import strategies as st

from routes.resources.core import ConfigMap, Service, Workload
from routes.resources.http import HTTPRoute, HTTPRouteSpec, SelectedHTTPRoute
from routes.resources.meta import GATEWAY_GROUP, V1ALPHA1_GROUP, Key, ObjectMeta, Resource
from routes.snapshot import Snapshot


def service(name: str, version: str = "") -> Service:
    return Service(metadata=ObjectMeta(name=name, namespace="default", labels={"version": version}))


def config(name: str, version: str = "") -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default", labels={"version": version}))


def test_resources_are_found_by_model_and_name() -> None:
    one = service("a")
    snapshot = Snapshot([one, config("a")])
    assert snapshot.of(Service) == {one.key: one}
    assert snapshot.find(Service, "default", "a") is one
    assert snapshot.find(Service, "other", "a") is None
    assert snapshot.find(Service, "default", "b") is None
    assert len(snapshot) == 2


def test_an_empty_snapshot_holds_nothing_of_any_model() -> None:
    assert not Snapshot().of(Service)
    assert len(Snapshot()) == 0


def test_the_later_of_two_with_one_key_is_kept() -> None:
    assert Snapshot([service("a", "1"), service("a", "2")]).of(Service) == {service("a").key: service("a", "2")}


def test_a_v1alpha1_route_stands_with_the_v1_routes_under_a_key_of_its_own() -> None:
    meta = ObjectMeta(name="a", namespace="default")
    new = HTTPRoute(metadata=meta, spec=HTTPRouteSpec())
    old = SelectedHTTPRoute(api_version=f"{V1ALPHA1_GROUP}/v1alpha1", metadata=meta, spec=HTTPRouteSpec())
    snapshot = Snapshot([new, old])
    assert (
        set(snapshot.of(HTTPRoute))
        == set(snapshot.of(SelectedHTTPRoute))
        == {
            Key(GATEWAY_GROUP, "HTTPRoute", "default", "a"),
            Key(V1ALPHA1_GROUP, "HTTPRoute", "default", "a"),
        }
    )
    assert snapshot.find(HTTPRoute, "default", "a") is new


def test_workloads_of_all_kinds_stand_together() -> None:
    meta = ObjectMeta(name="a", namespace="default")
    kinds = [Workload(kind="Deployment", metadata=meta), Workload(api_version="v1", kind="Pod", metadata=meta)]
    assert list(Snapshot(kinds).of(Workload).values()) == kinds


def test_adding_and_replacing_leave_the_snapshot_as_it_was() -> None:
    before = Snapshot([service("a", "1"), config("c")])
    after = before.with_([service("a", "2"), service("b")])
    assert before.of(Service) == {service("a").key: service("a", "1")}
    assert list(after.of(Service).values()) == [service("a", "2"), service("b")]


def test_taking_away_leaves_the_snapshot_as_it_was_and_absent_keys_are_no_error() -> None:
    before = Snapshot([service("a"), service("b")])
    after = before.without([service("a").key, service("a").key, config("never").key])
    assert list(before.of(Service)) == [service("a").key, service("b").key]
    assert list(after.of(Service)) == [service("b").key]


def test_what_did_not_change_is_shared() -> None:
    before = Snapshot([service("a"), config("c")])
    assert before.with_([service("b")]).of(ConfigMap) is before.of(ConfigMap)
    assert before.without([service("a").key]).of(ConfigMap) is before.of(ConfigMap)
    assert before.without([service("never").key]).of(Service) is before.of(Service)


RESOURCES = st.builds(
    lambda make, name, version: make(name, version),
    st.sampled_from([service, config]),
    st.sampled_from("abc"),
    st.sampled_from("12"),
)


@given(st.lists(st.tuples(st.booleans(), st.lists(RESOURCES, max_size=3)), max_size=8))
def test_any_row_of_changes_comes_to_what_one_dict_would_hold(steps: list[tuple[bool, list[Resource]]]) -> None:
    snapshot, kept = Snapshot(), dict[Key, Resource]()
    for add, resources in steps:
        if add:
            snapshot = snapshot.with_(resources)
            kept |= {resource.key: resource for resource in resources}
        else:
            snapshot = snapshot.without(resource.key for resource in resources)
            kept = {key: resource for key, resource in kept.items() if key not in {each.key for each in resources}}
        assert {**snapshot.of(Service), **snapshot.of(ConfigMap)} == kept
        assert len(snapshot) == len(kept)
