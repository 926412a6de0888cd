"""The API server of tests does what a real one does: without that, no test that uses it says anything."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import httpx2
import pytest

from tests.helpers.apikinds import Object, definition, first_gateway_api, gateway_api
from tests.helpers.apiserver import ApiServer

GATEWAYS = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways"
SECRETS = "/api/v1/namespaces/default/secrets"
SERVICES = "/api/v1/namespaces/default/services"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
MERGE = {"content-type": "application/merge-patch+json"}
APPLY = {"content-type": "application/apply-patch+yaml"}

Use = Callable[[ApiServer, httpx2.AsyncClient], Coroutine[Any, Any, None]]


def with_server(use: Use) -> None:
    async def main() -> None:
        async with ApiServer() as server, httpx2.AsyncClient(base_url=server.url, trust_env=False) as http:
            await use(server, http)

    asyncio.run(main())


def secret(name: str, **metadata: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, **metadata}}


def gateway(name: str, class_name: str = "moongate", **more: Any) -> Object:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name},
        "spec": {"gatewayClassName": class_name},
        **more,
    }


def service(name: str, *ports: int, **spec: Any) -> Object:
    named = [{"name": f"p{port}", "port": port} for port in ports]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": named, **spec}}


class Watch:
    """A watch, event by event."""

    def __init__(self, http: httpx2.AsyncClient, path: str, **params: str) -> None:
        self._asked = http.stream("GET", path, params={"watch": "1", **params})

    async def __aenter__(self) -> "Watch":
        response = await self._asked.__aenter__()
        self.status = response.status_code
        self._lines = response.aiter_lines()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._asked.__aexit__(None, None, None)

    async def next(self) -> tuple[str, Object]:
        event = json.loads(await anext(self._lines))
        return event["type"], event["object"]

    async def names(self, count: int) -> list[tuple[str, str]]:
        return [(type_, found["metadata"]["name"]) for type_, found in [await self.next() for _ in range(count)]]

    async def ended(self) -> bool:
        return await anext(self._lines, None) is None


# Versions


def test_every_write_has_a_version_of_its_own_and_one_that_changes_nothing_is_none() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        first = (await http.post(GATEWAYS, json=gateway("a"))).json()["metadata"]["resourceVersion"]
        second = (await http.post(SECRETS, json=secret("a"))).json()["metadata"]["resourceVersion"]
        assert int(second) > int(first)
        patch = {"spec": {"gatewayClassName": "moongate"}}
        same = (await http.patch(f"{GATEWAYS}/a", json=patch, headers=MERGE)).json()
        assert same["metadata"]["resourceVersion"] == first
        listed = (await http.get(GATEWAYS)).json()
        assert listed["metadata"]["resourceVersion"] == second

    with_server(use)


def test_generation_rises_with_the_spec_alone_and_each_write_ignores_the_others_part() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        made = (await http.post(GATEWAYS, json=gateway("a", status={"addresses": []}))).json()
        assert made["metadata"]["generation"] == 1
        assert "status" not in made
        both = {"metadata": {"labels": {"x": "y"}}, "spec": {"gatewayClassName": "other"}, "status": {"x": 1}}
        merged = (await http.patch(f"{GATEWAYS}/a/status", json=both, headers=MERGE)).json()
        assert (merged["metadata"]["generation"], merged["status"]) == (1, {"x": 1})
        assert merged["spec"] == made["spec"]
        assert "labels" not in merged["metadata"]
        both["status"] = {"x": 2}
        merged = (await http.patch(f"{GATEWAYS}/a", json=both, headers=MERGE)).json()
        assert (merged["metadata"]["generation"], merged["status"]) == (2, {"x": 1})
        labelled = (await http.patch(f"{GATEWAYS}/a", json={"metadata": {"labels": None}}, headers=MERGE)).json()
        assert labelled["metadata"]["generation"] == 2

    with_server(use)


@pytest.mark.parametrize("end", ["", "/status"])
def test_a_write_of_what_is_not_the_latest_is_a_conflict(end: str) -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        made = (await http.post(GATEWAYS, json=gateway("a"))).json()
        server.put(gateway("a", "other"))
        answer = await http.put(f"{GATEWAYS}/a{end}", json={**made, "status": {"x": 1}})
        assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
        answer = await http.patch(f"{GATEWAYS}/a{end}", json=made, headers=MERGE)
        assert answer.status_code == 409
        assert server.get(gateway("a"))["spec"]["gatewayClassName"] == "other"

    with_server(use)


def test_a_custom_object_is_replaced_with_its_version_only() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        await http.post(GATEWAYS, json=gateway("a"))
        answer = await http.put(f"{GATEWAYS}/a", json=gateway("a", "other"))
        assert (answer.status_code, answer.json()["reason"]) == (422, "Invalid")
        await http.post(SECRETS, json=secret("a"))
        assert (await http.put(f"{SECRETS}/a", json=secret("a", labels={"x": "y"}))).status_code == 200

    with_server(use)


def test_an_object_is_served_in_every_version_of_its_kind() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        server.put(gateway("a"))
        found = (await http.get(GATEWAYS.replace("v1", "v1beta1"))).json()
        assert found["items"][0]["apiVersion"] == "gateway.networking.k8s.io/v1beta1"
        assert (await http.get(GATEWAYS.replace("v1", "v1alpha2"))).status_code == 404

    with_server(use)


# Refusals


def test_what_is_not_there_or_there_already() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        missing = await http.get(f"{GATEWAYS}/a")
        assert (missing.status_code, missing.json()["reason"]) == (404, "NotFound")
        assert missing.json()["message"] == 'gateways.gateway.networking.k8s.io "a" not found'
        assert (await http.delete(f"{GATEWAYS}/a")).status_code == 404
        assert (await http.patch(f"{GATEWAYS}/a", json={}, headers=MERGE)).status_code == 404
        await http.post(GATEWAYS, json=gateway("a"))
        again = await http.post(GATEWAYS, json=gateway("a"))
        assert (again.status_code, again.json()["reason"]) == (409, "AlreadyExists")
        elsewhere = await http.post(GATEWAYS.replace("default", "nowhere"), json=gateway("a"))
        assert elsewhere.json()["message"] == 'namespaces "nowhere" not found'

    with_server(use)


@pytest.mark.parametrize(
    "made",
    [
        service("a" * 64, 80),
        service("1a", 80),
        service("a"),
        {**service("a"), "spec": {"ports": [{"port": 80}, {"port": 81}]}},
        service("a", 80, 80),
        {**service("a", 80), "metadata": {"name": "a", "labels": {"gateway": "g" * 64}}},
    ],
)
def test_names_and_labels_and_ports_are_checked(made: Object) -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        answer = await http.post(SERVICES, json=made)
        assert (answer.status_code, answer.json()["reason"]) == (422, "Invalid")

    with_server(use)


def test_a_service_is_given_addresses_and_ports_and_keeps_them() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        made = (await http.post(SERVICES, json=service("a", 80, type="LoadBalancer"))).json()
        assert made["spec"]["clusterIPs"] == [made["spec"]["clusterIP"]]
        assert made["spec"]["ports"][0]["nodePort"] > 30000
        assert made["status"] == {"loadBalancer": {}}
        body = service("a", 80, 443, type="LoadBalancer")
        replaced = (await http.put(f"{SERVICES}/a", json=body)).json()
        assert replaced["spec"]["clusterIP"] == made["spec"]["clusterIP"]
        assert replaced["spec"]["ports"][0] == made["spec"]["ports"][0]

    with_server(use)


def test_who_may_not_and_who_is_not_known() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        server.forbid("secrets", verb="list", namespace="")
        assert (await http.get("/api/v1/secrets")).json()["message"] == (
            'secrets is forbidden: User "system:serviceaccount:default:test" cannot list resource "secrets" '
            'in API group "" at the cluster scope'
        )
        assert (await http.get(SECRETS)).status_code == 200
        server.forbid("secrets", namespace="default")
        assert (await http.get(SECRETS)).status_code == 403
        server.allow("secrets")
        assert (await http.get("/api/v1/secrets")).status_code == 200
        server.tokens = {"good"}
        assert (await http.get(SECRETS)).status_code == 401
        assert (await http.get(SECRETS, headers={"authorization": "Bearer good"})).status_code == 200

    with_server(use)


# Lists and watches


def test_the_pages_of_a_list_are_of_one_version() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        for name in "abc":
            server.put(secret(name))
        first = (await http.get(SECRETS, params={"limit": "2"})).json()
        server.delete(secret("c"))
        server.put(secret("d"))
        go_on = first["metadata"]["continue"]
        second = (await http.get(SECRETS, params={"limit": "2", "continue": go_on})).json()
        assert [item["metadata"]["name"] for item in second["items"]] == ["c"]
        assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        assert "continue" not in second["metadata"]

    with_server(use)


def test_a_list_goes_on_after_compaction_only_as_it_is_now() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        for name in "abc":
            server.put(secret(name))
        first = (await http.get(SECRETS, params={"limit": "2"})).json()
        server.compact()
        gone = await http.get(SECRETS, params={"limit": "2", "continue": first["metadata"]["continue"]})
        assert (gone.status_code, gone.json()["reason"]) == (410, "Expired")
        go_on = gone.json()["metadata"]["continue"]
        rest = (await http.get(SECRETS, params={"limit": "2", "continue": go_on})).json()
        assert [item["metadata"]["name"] for item in rest["items"]] == ["c"]

    with_server(use)


def test_a_watch_tells_each_change_after_its_version_in_order_and_no_other() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        server.put(secret("before"))
        version = (await http.get(SECRETS)).json()["metadata"]["resourceVersion"]
        server.put(secret("a"))
        server.put(gateway("another"))
        async with Watch(http, SECRETS, resourceVersion=version) as watch:
            assert await watch.names(1) == [("ADDED", "a")]
            server.put(secret("a", labels={"x": "y"}))
            server.delete(secret("a"))
            server.put(secret("a"))
            assert await watch.names(3) == [("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "a")]
            server.put({**secret("b"), "metadata": {"name": "b", "namespace": "other"}})
            server.delete(secret("a"))
            type_, last = await watch.next()
            assert type_ == "DELETED"
            assert last["metadata"]["resourceVersion"] == str(server.store.version)

    with_server(use)


def test_a_watch_without_a_version_begins_with_what_there_is() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        server.put(secret("a"))
        async with Watch(http, SECRETS) as watch:
            assert await watch.names(1) == [("ADDED", "a")]

    with_server(use)


def test_an_object_comes_and_goes_with_the_selector_that_it_fits() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        server.put(secret("a"))
        version = str(server.store.version)
        async with Watch(http, SECRETS, labelSelector="x in (y, z),!w", resourceVersion=version) as watch:
            server.put(secret("a", labels={"x": "z"}))
            server.put(secret("a", labels={"x": "y"}))
            server.put(secret("a", labels={"x": "y", "w": ""}))
            assert await watch.names(3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
        server.put({**secret("tls"), "type": "kubernetes.io/tls"})
        found = (await http.get("/api/v1/secrets", params={"fieldSelector": "type=kubernetes.io/tls"})).json()
        assert [item["metadata"]["name"] for item in found["items"]] == ["tls"]
        unknown = await http.get("/api/v1/secrets", params={"fieldSelector": "data=x"})
        assert unknown.json()["message"] == "field label not supported: data"

    with_server(use)


def test_a_bookmark_comes_behind_what_was_before_it_to_who_wants_one() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        version = str(server.store.version)
        wants = Watch(http, SECRETS, resourceVersion=version, allowWatchBookmarks="true")
        async with wants, Watch(http, SECRETS, resourceVersion=version) as other:
            server.put(secret("a"))
            server.put(gateway("a"))
            server.bookmark()
            server.put(secret("b"))
            assert await wants.names(1) == [("ADDED", "a")]
            events = [await wants.next(), await wants.next()]
            [mark] = [found for type_, found in events if type_ == "BOOKMARK"]
            assert set(mark) == {"kind", "apiVersion", "metadata"}
            assert int(mark["metadata"]["resourceVersion"]) > int(version)
            assert await other.names(2) == [("ADDED", "a"), ("ADDED", "b")]

    with_server(use)


def test_a_version_that_is_gone_is_told_by_an_event_or_by_the_status() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        version = str(server.store.version)
        async with Watch(http, SECRETS, resourceVersion=version) as running:
            server.put(secret("a"))
            server.compact()
            assert await running.names(1) == [("ADDED", "a")]  # who has begun gets everything
            async with Watch(http, SECRETS, resourceVersion=version) as late:
                type_, status = await late.next()
                assert (type_, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
                assert await late.ended()
            server.gone_as_status = True
            async with Watch(http, SECRETS, resourceVersion=version) as late:
                assert late.status == 410

    with_server(use)


# Server-side apply


def test_apply_makes_what_is_not_there_and_takes_away_what_it_no_longer_says() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        params = {"fieldManager": "us", "force": "true"}
        body = service("a", 80, 443)
        made = await http.patch(f"{SERVICES}/a", params=params, json=body, headers=APPLY)
        assert made.status_code == 201
        server.store.merge(
            ("", "services"), "default", "a", {"metadata": {"annotations": {"foreign": "x"}}}, status=False
        )
        body = service("a", 443)
        body["metadata"]["labels"] = {"x": "y"}
        changed = (await http.patch(f"{SERVICES}/a", params=params, json=body, headers=APPLY)).json()
        assert [port["port"] for port in changed["spec"]["ports"]] == [443]
        assert changed["metadata"]["annotations"] == {"foreign": "x"}
        again = (await http.patch(f"{SERVICES}/a", params=params, json=body, headers=APPLY)).json()
        assert again == changed

    with_server(use)


def test_conditions_of_two_managers_live_side_by_side_and_parents_do_not() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        server.put(gateway("a"))

        async def apply(manager: str, **status: Any) -> httpx2.Response:
            params = {"fieldManager": manager}
            return await http.patch(
                f"{GATEWAYS}/a/status", params=params, json={**gateway("a"), "status": status}, headers=APPLY
            )

        await apply("us", conditions=[{"type": "Accepted", "status": "True"}])
        await apply("them", conditions=[{"type": "Theirs", "status": "True"}])
        both = (await apply("us", conditions=[{"type": "Programmed", "status": "True"}])).json()["status"]
        assert [each["type"] for each in both["conditions"]] == ["Theirs", "Programmed"]
        conflict = await apply("them", conditions=[{"type": "Programmed", "status": "False"}])
        assert (conflict.status_code, conflict.json()["reason"]) == (409, "Conflict")
        await apply("us", parents=[{"controllerName": "us"}])
        conflict = await apply("them", parents=[{"controllerName": "them"}])
        assert conflict.status_code == 409  # the list is atomic

    with_server(use)


# Definitions


def test_a_kind_comes_and_goes_with_its_definition() -> None:
    async def main() -> None:
        async with ApiServer(gateway=False) as server, httpx2.AsyncClient(base_url=server.url) as http:
            assert (await http.get(GATEWAYS)).status_code == 404
            assert (await http.get("/apis/gateway.networking.k8s.io/v1")).status_code == 404
            for crd in gateway_api():
                server.put(crd)
            names = [
                each["name"] for each in (await http.get("/apis/gateway.networking.k8s.io/v1")).json()["resources"]
            ]
            assert "gateways/status" in names
            assert "referencegrants" in names
            assert "referencegrants/status" not in names
            server.put(gateway("a"))
            async with Watch(http, GATEWAYS) as watch:
                await watch.names(1)
                for crd in gateway_api():
                    server.delete(crd)
                assert await watch.names(1) == [("DELETED", "a")]
                assert await watch.ended()
            assert (await http.get(GATEWAYS)).status_code == 404
            for crd in first_gateway_api():
                server.put(crd)
            groups = (await http.get("/apis")).json()["groups"]
            assert "networking.x-k8s.io" in [group["name"] for group in groups]
            server.put(definition("example.com", "Widget", "widgets", ["v1"]))
            assert (await http.get("/apis/example.com/v1/widgets")).json()["kind"] == "WidgetList"

    asyncio.run(main())


# Ends


def test_finalizers_and_owners() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        owner = server.put({**gateway("a"), "metadata": {"name": "a", "finalizers": ["x/y"]}})
        reference = {"apiVersion": owner["apiVersion"], "kind": "Gateway", "name": "a", "uid": owner["metadata"]["uid"]}
        server.put(secret("owned", ownerReferences=[reference]))
        await http.delete(f"{GATEWAYS}/a")
        server.store.collect_garbage()
        assert "deletionTimestamp" in server.get(gateway("a"))["metadata"]
        assert server.get(secret("owned"))
        await http.patch(f"{GATEWAYS}/a", json={"metadata": {"finalizers": None}}, headers=MERGE)
        server.store.collect_garbage()
        assert not server.objects("gateways", "gateway.networking.k8s.io")
        assert not server.objects("secrets")

    with_server(use)


def test_a_server_that_stops_breaks_everything_and_comes_back_with_what_it_had() -> None:
    async def use(server: ApiServer, http: httpx2.AsyncClient) -> None:
        server.put(secret("a"))
        async with Watch(http, SECRETS) as watch:
            await watch.names(1)
            await server.stop()
            with pytest.raises(httpx2.RemoteProtocolError):
                await watch.next()
        with pytest.raises(httpx2.ConnectError):
            await http.get(SECRETS)
        await server.start()
        assert (await http.get(f"{SECRETS}/a")).status_code == 200

    with_server(use)


def test_it_can_run_in_a_thread() -> None:
    server = ApiServer()
    with server.in_thread() as port, httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        server.put(secret("a"))
        assert http.get(f"{SECRETS}/a").status_code == 200
        server.call(server.stop)
        with pytest.raises(httpx2.ConnectError):
            http.get(SECRETS)
        server.call(server.start)
        assert http.get(SECRETS).status_code == 200
