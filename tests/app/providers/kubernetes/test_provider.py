"""What a provider makes of a cluster. Time is the test's own: what waits for a while has it at once."""

import asyncio
import logging
from typing import Any

import pytest

from app.providers.base import Place, Provider
from app.providers.kubernetes.api import ApiError
from app.providers.kubernetes.provider import KubernetesProvider
from routes.graph.nodes import Address, ServiceTarget
from routes.resources.core import ConfigMap, CustomResourceDefinition, Namespace, Secret
from routes.resources.extension import Extension
from routes.resources.http import HTTPRoute, UnreadableHTTPRoute
from routes.resources.meta import Key
from tests.app.providers.kubernetes.following import (
    GATEWAY,
    Cluster,
    config_map,
    endpoint_slice,
    following,
    policy,
    route,
    scenario,
)
from tests.app.providers.kubernetes.memory import Asked
from tests.helpers.apikinds import definition, first_gateway_api, gateway_api

WEB = ServiceTarget("default", "web", "")


def key(name: str, namespace: str = "default") -> Key:
    return Key(GATEWAY, "HTTPRoute", namespace, name)


def gone(asked: Asked) -> ApiError:
    return ApiError(0, "", "connection refused")


def test_it_is_a_provider() -> None:
    async def play() -> None:
        cluster = Cluster()
        provider: Provider = KubernetesProvider(cluster.client)
        assert provider.name == "kubernetes"
        assert await provider.locate([(key("a"), "spec"), (key("b"), "")]) == [Place("", 0), Place("", 0)]

    scenario(play)


def test_objects_come_change_and_go() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(route("a"))
        async with following(cluster) as follower:
            assert follower.names() == ["a"]
            assert (follower.said(), follower.unread) == ([], {})
            cluster.put(route("b"))
            assert [each.key for each in (await follower.next()).upserts] == [key("b")]
            cluster.put(route("b", "/b"))
            change = await follower.next()
            assert [each.key for each in change.upserts] == [key("b")]
            assert (change.problems, change.unread) == (None, None)
            cluster.delete(route("a"))
            assert (await follower.next()).deletes == (key("a"),)
            assert follower.names() == ["b"]

    scenario(play)


def test_what_is_read_of_an_object() -> None:
    async def play() -> None:
        cluster = Cluster()
        raw = route("a")
        raw["metadata"]["labels"] = {"a": "b"}
        raw["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{…}", "c": "d"}
        raw["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1"}]
        stored = cluster.put(raw)["metadata"]
        async with following(cluster) as follower:
            metadata = follower.objects[key("a")].metadata
            assert (metadata.labels, metadata.annotations) == ({"a": "b"}, {"c": "d"})
            assert (metadata.uid, metadata.generation) == (stored["uid"], 1)
            assert metadata.creation_timestamp is not None
            assert metadata.owner_references is None

    scenario(play)


def test_only_what_is_needed_is_asked_for() -> None:
    async def play() -> None:
        cluster = Cluster()
        for type_ in ("kubernetes.io/tls", "Opaque"):
            name = type_.rpartition("/")[2].lower()
            cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": type_, "data": {}})
        cluster.put(config_map("nobodys"))
        cluster.put(definition("example.com", "Unheard", "unheards", ["v1"]))
        async with following(cluster) as follower:
            assert follower.names("Secret") == ["tls"]
            assert follower.names("ConfigMap") == []
            namespace = follower.objects[Key("", "Namespace", "", "default")]
            assert isinstance(namespace, Namespace)
            assert namespace.metadata.labels == {"kubernetes.io/metadata.name": "default"}
            assert not cluster.client.count("list", "configmaps")
            assert "unheards.example.com" not in follower.names("CustomResourceDefinition")

    scenario(play)


def test_a_written_status_is_no_change_and_is_stored() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(route("a"))
        async with following(cluster) as follower:
            statuses = follower.provider.statuses
            assert statuses.take_changed() == {key("a")}
            cluster.status(route("a"), {"parents": [{"controllerName": "x"}]})
            await follower.quiet()
            stored = statuses.stored(key("a"))
            assert stored is not None
            assert stored.status == {"parents": [{"controllerName": "x"}]}
            assert stored.path == "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/a"
            assert (stored.generation, stored.api_version) == (1, f"{GATEWAY}/v1")
            assert stored.resource_version == str(cluster.store.version)
            assert statuses.take_changed() == {key("a")}
            assert statuses.take_changed() == set()
            assert statuses.keys() == [key("a")]
            cluster.delete(route("a"))
            await follower.next()
            assert (statuses.stored(key("a")), statuses.take_changed()) == (None, {key("a")})

    scenario(play)


def test_labels_alone_are_a_change() -> None:
    async def play() -> None:
        cluster = Cluster()
        raw = route("a")
        cluster.put(raw)
        async with following(cluster) as follower:
            raw["metadata"]["labels"] = {"app": "other"}
            cluster.put(raw)
            change = await follower.next()
            assert [each.metadata.labels for each in change.upserts] == [{"app": "other"}]
            raw["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
            cluster.put(raw)
            await follower.quiet()

    scenario(play)


def test_endpoints_are_no_change() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(endpoint_slice("web-1", "10.0.0.1"))
        async with following(cluster) as follower:
            assert follower.names("EndpointSlice") == []
            endpoints = follower.provider.endpoints
            assert endpoints.of(WEB) == (Address("10.0.0.1", 8080),)
            cluster.put(endpoint_slice("web-1", "10.0.0.2"))
            await follower.quiet()
            assert endpoints.of(WEB) == (Address("10.0.0.2", 8080),)
            cluster.delete(endpoint_slice("web-1"))
            await follower.quiet()
            assert endpoints.of(WEB) == ()

    scenario(play)


def test_the_gateways_own_services_have_endpoints_too() -> None:
    """A route may lead to the Service of another Gateway."""

    async def play() -> None:
        cluster = Cluster()
        raw = endpoint_slice("web-1", "10.0.0.1")
        raw["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "moongate"
        cluster.put(raw)
        async with following(cluster) as follower:
            assert follower.provider.endpoints.of(WEB) == (Address("10.0.0.1", 8080),)

    scenario(play)


def test_of_config_maps_only_those_that_policies_refer_to_are_read() -> None:
    async def play() -> None:
        cluster = Cluster()
        for name in "abc":
            cluster.put(config_map(name))
        cluster.put(policy("one", "a", "missing"))
        async with following(cluster) as follower:
            assert follower.names("ConfigMap") == ["a"]
            cluster.put(policy("two", "a", "b"))
            await follower.until(lambda: follower.names("ConfigMap") == ["a", "b"])
            cluster.put(config_map("b", "other"))
            await follower.next()
            found = follower.objects[Key("", "ConfigMap", "default", "b")]
            assert isinstance(found, ConfigMap)
            assert found.data == {"ca.crt": "other"}
            cluster.put(config_map("missing"))
            await follower.until(lambda: "missing" in follower.names("ConfigMap"))
            cluster.delete(policy("one"))
            await follower.until(lambda: follower.names("ConfigMap") == ["a", "b"])
            cluster.put(policy("two", "b", "c"))
            await follower.until(lambda: follower.names("ConfigMap") == ["b", "c"])
            cluster.put(config_map("a", "nobody reads it"))
            await follower.quiet()

    scenario(play)


def test_config_maps_of_one_namespace_do_not_take_connections_without_end() -> None:
    async def play() -> None:
        cluster = Cluster()
        names = [f"ca-{number:03}" for number in range(70)]
        for each in names:
            cluster.put(config_map(each))
            cluster.put(policy(each, each))
        async with following(cluster) as follower:
            await follower.until(lambda: len(follower.names("ConfigMap")) == 64)
            await follower.settle(1.0)
            sentence = "ConfigMaps of namespace default are not read: BackendTLSPolicies refer to more than 64 there"
            assert follower.said() == [f"error: 6 {sentence}"]
            left_out = sorted({*names} - {*follower.names("ConfigMap")})
            cluster.delete(policy(follower.names("ConfigMap")[0]))
            await follower.until(lambda: left_out[0] in follower.names("ConfigMap"))
            await follower.settle(1.0)
            assert follower.said() == [f"error: 5 {sentence}"]
            for each in left_out:
                cluster.delete(policy(each))
            await follower.settle(1.0)
            assert follower.said() == []
            assert len(follower.names("ConfigMap")) == 63

    scenario(play)


def test_of_secrets_and_config_maps_nothing_is_kept_that_nobody_reads() -> None:
    async def play() -> None:
        cluster = Cluster()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "type": "kubernetes.io/tls"}
        cluster.put({**secret, "data": {"tls.crt": "YQ==", "tls.key": "Yg==", "large": "eA=="}})
        cluster.put({**config_map("a"), "data": {"ca.crt": "x", "large": "y"}})
        cluster.put(policy("one", "a"))
        async with following(cluster) as follower:
            found = follower.objects[Key("", "Secret", "default", "a")]
            assert isinstance(found, Secret)
            assert found.data == {"tls.crt": b"a", "tls.key": b"b"}
            authorities = follower.objects[Key("", "ConfigMap", "default", "a")]
            assert isinstance(authorities, ConfigMap)
            assert authorities.data == {"ca.crt": "x"}

    scenario(play)


def test_objects_of_somebody_elses_kind() -> None:
    async def play() -> None:
        cluster = Cluster()
        raw = {"apiVersion": "example.com/v2", "kind": "RateLimit", "metadata": {"name": "a"}, "spec": {"perSecond": 5}}
        limit = Key("example.com", "RateLimit", "default", "a")
        async with following(cluster, extensions=frozenset({("example.com", "RateLimit")})) as follower:
            cluster.put(definition("example.com", "RateLimit", "ratelimits", ["v2"]))
            cluster.put(raw)
            await follower.until(lambda: limit in follower.objects)
            found = follower.objects[limit]
            assert isinstance(found, Extension)
            assert found.spec == {"perSecond": 5}

    scenario(play)


# --- what is installed


def test_the_first_generation_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        cluster = Cluster(*first_gateway_api())
        cluster.put(
            {
                "apiVersion": "networking.x-k8s.io/v1alpha1",
                "kind": "HTTPRoute",
                "metadata": {"name": "a"},
                "spec": {"rules": [{"forwardTo": [{"serviceName": "web", "port": 80}]}]},
            }
        )
        with caplog.at_level(logging.INFO):
            async with following(cluster) as follower:
                assert [str(each.key) for each in follower.objects.values() if isinstance(each, HTTPRoute)] == [
                    "HTTPRoute default/a"
                ]
                assert follower.said() == []
        said = "gateway.networking.k8s.io is not installed: there are no objects of that generation of the Gateway API"
        assert [each.message for each in caplog.records if "installed" in each.message] == [said]

    scenario(play)


def test_both_generations() -> None:
    async def play() -> None:
        cluster = Cluster(*gateway_api(), *first_gateway_api())
        cluster.put(route("a"))
        early = route("a", version="networking.x-k8s.io/v1alpha1")
        cluster.put({**early, "spec": {"rules": [{"forwardTo": [{"serviceName": "web", "port": 80}]}]}})
        async with following(cluster) as follower:
            assert (follower.names(), follower.said()) == (["a", "a"], [])
            stored = follower.provider.statuses.stored(Key("networking.x-k8s.io", "HTTPRoute", "default", "a"))
            assert stored is not None
            assert stored.path == "/apis/networking.x-k8s.io/v1alpha1/namespaces/default/httproutes/a"

    scenario(play)


def test_nothing_is_installed_until_later() -> None:
    async def play() -> None:
        cluster = Cluster(definition("example.com", "Unheard", "unheards", ["v1"]))
        async with following(cluster) as follower:
            (said,) = follower.said()
            assert "the Gateway API is not installed" in said
            cluster.install(*gateway_api())
            cluster.put(route("a"))
            await follower.until(lambda: follower.names() == ["a"] and not follower.problems)

    scenario(play)


def test_definitions_go_and_come_back_with_their_objects() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(route("a"))
        cluster.put(policy("one", "a"))
        async with following(cluster) as follower:
            for round_ in range(3):
                for each in gateway_api():
                    cluster.delete(each)
                await follower.until(
                    lambda: any("the Gateway API is not installed" in each for each in follower.said())
                )
                assert (follower.names(), len(follower.problems)) == ([], 1)
                cluster.install(*gateway_api())
                cluster.put(route("a", f"/{round_}"))
                await follower.until(lambda: follower.names() == ["a"] and not follower.problems)
                await follower.quiet(60)

    scenario(play)


def test_an_older_release_and_its_update(caplog: pytest.LogCaptureFixture) -> None:
    """v1beta1 until there is v1: the objects are the same ones, and none of them goes meanwhile."""

    def of(*versions: str) -> list[dict[str, object]]:
        kinds = (("GatewayClass", "gatewayclasses"), ("Gateway", "gateways"), ("HTTPRoute", "httproutes"))
        return [definition(GATEWAY, kind, plural, versions, namespaced=kind[-1] != "s") for kind, plural in kinds]

    async def play() -> None:
        cluster = Cluster(*of("v1beta1"))
        cluster.put(route("a", version=f"{GATEWAY}/v1beta1"))
        with caplog.at_level(logging.INFO):
            async with following(cluster) as follower:
                assert (follower.names(), follower.said()) == (["a"], [])
                for versions in (("v1beta1", "v1"), ("v1",), ("v1beta1",)):
                    cluster.install(*of(*versions))
                    await follower.quiet()
                    stored = follower.provider.statuses.stored(key("a"))
                    assert stored is not None
                    cluster.put(route("a", f"/{len(versions)}{versions[0]}", version=f"{GATEWAY}/{versions[0]}"))
                    assert [each.key for each in (await follower.next()).upserts] == [key("a")]
        said = [each.message for each in caplog.records if "installed" in each.message]
        assert said[:2] == [
            "ReferenceGrant (gateway.networking.k8s.io) is not installed: references into other namespaces are refused",
            "ListenerSet (gateway.networking.k8s.io) is not installed: all listeners are those of Gateways",
        ]
        assert len(said) == len(set(said)) == 4

    scenario(play)


def test_a_generation_without_one_of_its_vital_kinds() -> None:
    async def play() -> None:
        cluster = Cluster(*(each for each in gateway_api() if not each["metadata"]["name"].startswith("httproutes")))
        async with following(cluster) as follower:
            assert follower.said() == [
                "warning: HTTPRoute (gateway.networking.k8s.io) is not installed: "
                "there are no routes of this generation"
            ]

    scenario(play)


def test_definitions_tell_their_release() -> None:
    async def play() -> None:
        cluster = Cluster(*gateway_api("v1.6.0", "experimental"))
        async with following(cluster) as follower:
            found = follower.objects[
                Key("apiextensions.k8s.io", "CustomResourceDefinition", "", f"httproutes.{GATEWAY}")
            ]
            assert isinstance(found, CustomResourceDefinition)
            assert found.metadata.annotations[f"{GATEWAY}/bundle-version"] == "v1.6.0"
            cluster.install(*gateway_api("v1.7.0", "experimental"))
            await follower.until(
                lambda: all(
                    each.metadata.annotations[f"{GATEWAY}/bundle-version"] == "v1.7.0"
                    for each in follower.objects.values()
                    if isinstance(each, CustomResourceDefinition)
                )
            )

    scenario(play)


# --- what may not be read


def forbidden(*plurals: str, namespace: str | None = None) -> "Refusing":
    return Refusing(plurals, namespace)


class Refusing:
    def __init__(self, plurals: tuple[str, ...], namespace: str | None) -> None:
        self.plurals = plurals
        self.namespace = namespace
        self.on = True

    def __call__(self, asked: Asked) -> ApiError | None:
        if not self.on or (self.plurals and asked.plural not in self.plurals):
            return None
        if self.namespace is not None and asked.namespace != self.namespace:
            return None
        return ApiError(403, "Forbidden", f"{asked.plural} is forbidden")


def test_a_forbidden_kind_is_named_and_all_else_is_served() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(route("a"))
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "type": "kubernetes.io/tls"}
        cluster.put(secret)
        refusing = cluster.client.refuse = forbidden("secrets")
        async with following(cluster) as follower:
            assert follower.names() == ["a"]
            assert follower.names("Secret") == []
            assert follower.unread == {("", "Secret", ""): "secrets is forbidden (403 Forbidden)"}
            assert follower.said() == [
                "error: Secret cannot be read, HTTPS listeners have no certificates: "
                "secrets is forbidden (403 Forbidden)"
            ]
            refusing.on = False
            await follower.until(lambda: not follower.problems)
            assert (follower.unread, follower.names("Secret")) == ({}, ["a"])
            assert isinstance(follower.objects[Key("", "Secret", "default", "a")], Secret)

    scenario(play)


def test_what_was_read_before_it_was_forbidden_goes_on() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(route("a"))
        async with following(cluster) as follower:
            cluster.client.refuse = forbidden("httproutes")
            cluster.client.cut()
            await follower.next()
            assert set(follower.unread) == {(GATEWAY, "HTTPRoute", "")}
            assert follower.names() == ["a"]
            await follower.quiet(300)

    scenario(play)


def test_a_kind_that_may_be_listed_and_not_watched() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(route("a"))

        def refuse(asked: Asked) -> ApiError | None:
            watches = asked.verb == "watch" and asked.plural == "httproutes"
            return ApiError(403, "Forbidden", "no watch") if watches else None

        cluster.client.refuse = refuse
        async with following(cluster) as follower:
            assert follower.names() == ["a"]
            await follower.until(lambda: bool(follower.unread))
            cluster.put(route("b"))
            await follower.until(lambda: follower.names() == ["a", "b"])
            assert set(follower.unread) == {(GATEWAY, "HTTPRoute", "")}
            await follower.quiet(300)
            assert cluster.client.count("list", "httproutes") < 60

    scenario(play)


def test_namespaces_may_be_chosen() -> None:
    async def play() -> None:
        cluster = Cluster()
        for name in "abc":
            cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            cluster.put(route(f"in-{name}", namespace=name))
        async with following(cluster, "a", "b", "missing") as follower:
            assert follower.names() == ["in-a", "in-b"]
            assert follower.names("Namespace") == ["a", "b"]
            cluster.put(route("more", namespace="c"))
            await follower.quiet()
            cluster.put(route("more", namespace="b"))
            await follower.next()
            assert follower.names() == ["in-a", "in-b", "more"]
            whole = {each.plural for each in cluster.client.asked if not each.namespace}
            assert whole == {"gatewayclasses", "namespaces", "customresourcedefinitions"}

    scenario(play)


def test_a_forbidden_namespace_is_named_and_all_else_is_served() -> None:
    async def play() -> None:
        cluster = Cluster()
        for name in "ab":
            cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            cluster.put(route(f"in-{name}", namespace=name))
        cluster.client.refuse = forbidden(namespace="b")
        async with following(cluster, "a", "b") as follower:
            assert follower.names() == ["in-a"]
            assert {namespace for _, _, namespace in follower.unread} == {"b"}
            assert (GATEWAY, "HTTPRoute", "b") in follower.unread
            said = "HTTPRoute (gateway.networking.k8s.io) of namespace b cannot be read"
            assert any(said in each for each in follower.said())

    scenario(play)


def test_roles_that_say_nothing_of_what_is_cluster_wide() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})
        cluster.put(route("in-a", namespace="a"))
        cluster.client.refuse = forbidden(namespace="")
        async with following(cluster, "a") as follower:
            assert follower.names() == ["in-a"]
            assert set(follower.unread) == {
                ("apiextensions.k8s.io", "CustomResourceDefinition", ""),
                (GATEWAY, "GatewayClass", ""),
                ("", "Namespace", ""),
            }
            assert (
                'warning: Namespace cannot be read, of a namespace only the name is known to the selectors of "from: '
                'Selector": namespaces is forbidden (403 Forbidden)'
            ) in follower.said()

    scenario(play)


def test_kinds_that_come_where_definitions_may_not_be_read() -> None:
    async def play() -> None:
        cluster = Cluster(*first_gateway_api())
        cluster.client.refuse = forbidden("customresourcedefinitions")
        async with following(cluster) as follower:
            cluster.install(*gateway_api())
            cluster.put(route("a"))
            await follower.until(lambda: follower.names() == ["a"])

    scenario(play)


# --- what cannot be read


def grant(name: str, **spec: object) -> dict[str, Any]:
    good = {
        "from": [{"group": GATEWAY, "kind": "HTTPRoute", "namespace": "a"}],
        "to": [{"group": "", "kind": "Service"}],
    }
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": f"{GATEWAY}/v1", "kind": "ReferenceGrant", "metadata": metadata, "spec": {**good, **spec}}


def granted(name: str) -> Key:
    return Key(GATEWAY, "ReferenceGrant", "default", name)


def test_a_malformed_object_keeps_its_last_good_state() -> None:
    """The API server of these tests validates nothing."""

    async def play() -> None:
        cluster = Cluster()
        good, bad, never = grant("a"), grant("a", to=7), grant("never-good", to="all")
        cluster.put(good)
        cluster.put(never)
        async with following(cluster) as follower:
            assert follower.names("ReferenceGrant") == ["a"]
            (problem,) = follower.problems
            assert (problem.key, problem.field, problem.file) == (granted("never-good"), "spec.to", "")
            cluster.put(bad)
            change = await follower.next()
            assert (change.upserts, change.deletes) == ((), ())
            assert [each.key for each in follower.problems] == [granted("never-good"), granted("a")]
            bad["metadata"]["labels"] = {"a": "b"}
            cluster.put(bad)
            await follower.quiet()
            cluster.put(good)
            await follower.next()
            assert [each.key for each in follower.problems] == [granted("never-good")]
            cluster.delete(never)
            await follower.next()
            assert follower.said() == []

    scenario(play)


def test_a_route_that_can_be_read_in_part_is_told_as_far_as_it_can() -> None:
    async def play() -> None:
        cluster = Cluster()
        bad = route("a")
        bad["spec"]["hostnames"] = 7
        cluster.put(route("a"))
        async with following(cluster) as follower:
            cluster.put(bad)
            (upsert,) = (await follower.next()).upserts
            assert isinstance(upsert, UnreadableHTTPRoute)
            assert upsert.fault.startswith("hostnames: ")
            assert follower.said() == []
            cluster.status(bad, {"parents": []})
            await follower.quiet()
            assert follower.provider.statuses.keys() == [key("a")]

    scenario(play)


def test_the_last_good_state_is_not_that_of_another_object_of_the_name() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(grant("a"))
        async with following(cluster) as follower:
            cluster.delete(grant("a"))
            cluster.put(grant("a", to=7))
            change = await follower.next()
            assert change.deletes == (granted("a"),)
            assert [each.key for each in follower.problems] == [granted("a")]

    scenario(play)


def test_a_malformed_slice_keeps_its_endpoints() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(endpoint_slice("web-1", "10.0.0.1"))
        async with following(cluster) as follower:
            raw = endpoint_slice("web-1", "10.0.0.2")
            raw["ports"] = [{"port": "http"}]
            cluster.put(raw)
            await follower.next()
            assert [str(each.key) for each in follower.problems] == ["EndpointSlice default/web-1"]
            assert follower.provider.endpoints.of(WEB) == (Address("10.0.0.1", 8080),)
            cluster.put(endpoint_slice("web-1", "10.0.0.2"))
            await follower.next()
            assert follower.provider.endpoints.of(WEB) == (Address("10.0.0.2", 8080),)

    scenario(play)


# --- without an API server


def test_the_start_waits_for_the_server_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(route("a"))
        cluster.client.refuse = gone
        provider = KubernetesProvider(cluster.client)
        loading = asyncio.create_task(provider.load())
        await asyncio.wait({loading}, timeout=3600)
        assert not loading.done()
        said = [each.message for each in caplog.records]
        assert set(said) == {"waiting for the API server: connection refused"}
        assert 5 < len(said) < 200
        assert cluster.client.count("list", "httproutes") < 1000
        cluster.client.refuse = lambda asked: None
        begun = asyncio.get_running_loop().time()
        assert key("a") in {each.key for each in (await loading).upserts}
        assert asyncio.get_running_loop().time() - begun < 35
        await provider.close()

    scenario(play)


def test_the_start_can_be_cancelled_at_once() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.client.refuse = gone
        provider = KubernetesProvider(cluster.client)
        loading = asyncio.create_task(provider.load())
        await asyncio.wait({loading}, timeout=100)
        begun = asyncio.get_running_loop().time()
        loading.cancel()
        await asyncio.wait({loading})
        assert loading.cancelled()
        assert asyncio.get_running_loop().time() == begun
        assert asyncio.all_tasks() == {asyncio.current_task()}

    scenario(play)


def test_nothing_is_loaded_before_everything_is_read() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(route("a"))
        cluster.client.refuse = lambda asked: gone(asked) if asked.plural == "endpointslices" else None
        provider = KubernetesProvider(cluster.client)
        loading = asyncio.create_task(provider.load())
        await asyncio.wait({loading}, timeout=100)
        assert not loading.done()
        cluster.client.refuse = lambda asked: None
        await loading
        await provider.close()

    scenario(play)


def test_an_hour_without_a_server() -> None:
    async def play() -> None:
        cluster = Cluster()
        for name in "abc":
            cluster.put(route(name))
        async with following(cluster) as follower:
            cluster.client.refuse = gone
            cluster.client.cut()
            await follower.next()
            assert follower.said() == [
                "error: the API server cannot be followed, what is known goes on: connection refused"
            ]
            assert follower.names() == ["a", "b", "c"]
            asked = len(cluster.client.asked)
            cluster.delete(route("a"))
            cluster.put(route("b", "/b"))
            cluster.put(route("d"))
            cluster.put(endpoint_slice("web-1", "10.0.0.1"))
            cluster.store.compact()
            await follower.quiet(3600)
            assert len(cluster.client.asked) - asked < 3600 / 15 * 20
            cluster.client.refuse = lambda asked: None
            begun = asyncio.get_running_loop().time()
            await follower.until(lambda: follower.names() == ["b", "c", "d"] and not follower.problems)
            await follower.quiet(2)  # of endpoints no change tells
            assert follower.provider.endpoints.of(WEB) == (Address("10.0.0.1", 8080),)
            assert asyncio.get_running_loop().time() - begun < 20

    scenario(play)


def test_a_server_that_is_away_for_a_moment_is_not_worth_a_word() -> None:
    async def play() -> None:
        cluster = Cluster()
        async with following(cluster) as follower:
            cluster.client.refuse = gone
            cluster.client.cut()
            await follower.quiet(1.0)
            cluster.client.refuse = lambda asked: None
            await follower.quiet(60)

    scenario(play)


def test_an_expired_token_is_named_and_what_is_known_goes_on() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(route("a"))
        async with following(cluster) as follower:
            cluster.client.refuse = lambda asked: ApiError(401, "Unauthorized", "Unauthorized")
            cluster.client.cut()
            await follower.next()
            (said,) = follower.said()
            assert said.endswith("Unauthorized (401 Unauthorized)")
            assert (follower.names(), follower.unread) == (["a"], {})
            cluster.client.refuse = lambda asked: None
            await follower.until(lambda: not follower.problems)

    scenario(play)


# --- many at once


def test_a_storm_becomes_few_changes() -> None:
    async def play() -> None:
        cluster = Cluster()
        async with following(cluster) as follower:
            for number in range(1000):
                cluster.put(route(f"r-{number}"))
            await follower.until(lambda: len(follower.names()) == 1000)
            assert follower.changes <= 4

    scenario(play)


def test_what_happens_while_a_change_is_built_is_one_change() -> None:
    async def play() -> None:
        cluster = Cluster()
        async with following(cluster) as follower:
            cluster.put(route("a"))
            await follower.next()
            for number in range(10):
                cluster.put(route(f"b-{number}"))
                await asyncio.sleep(1)
            cluster.delete(route("b-3"))
            await asyncio.sleep(1)
            change = await follower.next()
            assert len(change.upserts) == 9
            assert change.deletes == ()
            await follower.quiet()

    scenario(play)


def test_a_single_event_does_not_wait() -> None:
    async def play() -> None:
        cluster = Cluster()
        async with following(cluster) as follower:
            begun = asyncio.get_running_loop().time()
            cluster.put(route("a"))
            await follower.next()
            assert asyncio.get_running_loop().time() == begun

    scenario(play)


def test_the_end_of_changes_ends_everything() -> None:
    async def play() -> None:
        cluster = Cluster()
        provider = KubernetesProvider(cluster.client)
        await provider.load()
        changes = provider.changes()
        coming = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(1)
        coming.cancel()
        await asyncio.wait({coming})
        assert asyncio.all_tasks() == {asyncio.current_task()}

    scenario(play)
