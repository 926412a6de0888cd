"""An Exposure with the client and the reflectors that it has in a cluster."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from app.exposure.exposure import Exposure
from app.providers.kubernetes.client import Client
from app.providers.kubernetes.credentials import Credentials
from app.providers.kubernetes.reflector import Reflector
from app.reconciler import stop
from app.settings import Settings
from routes.resources.meta import GATEWAY_GROUP, Key
from tests.app.exposure.cluster import replicas, state_of
from tests.helpers.apiserver import ApiServer

MANIFESTS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: moongate}
spec: {controllerName: moongate.dev/gateway}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: shop, uid: uid-of-web, generation: 1}
spec: {gatewayClassName: moongate, listeners: [{name: web, port: 80, protocol: HTTP}]}
"""
KEY = Key(GATEWAY_GROUP, "Gateway", "shop", "web")


@asynccontextmanager
async def exposed(server: ApiServer, told: asyncio.Event, *, leading: bool = True) -> AsyncIterator[Exposure]:
    credentials = Credentials(
        f"http://127.0.0.1:{server.port}", "moongate-system", ssl.create_default_context(), auth=None
    )
    settings = Settings(provider="kubernetes", replicas_service="moongate")
    async with Client(credentials) as client:
        exposure = Exposure(client, partial(Reflector, client), settings, told.set)
        await exposure.load()
        state = state_of(MANIFESTS)
        exposure.prepare(state.table)
        exposure.publish(state)
        exposure.lead(leading)
        running = asyncio.create_task(exposure.run())
        try:
            yield exposure
        finally:
            await stop(running)
            await exposure.stop()


def test_a_gateway_is_exposed_and_followed(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        told = asyncio.Event()
        async with ApiServer() as server:
            server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
            server.put(replicas("10.0.0.1"))
            async with exposed(server, told) as leader, exposed(server, asyncio.Event(), leading=False) as other:
                [slice_] = await server.until(lambda: ours(server))
                [service] = [each for each in server.objects("services") if each["metadata"]["namespace"] == "shop"]
                assert service["metadata"]["ownerReferences"][0]["uid"] == "uid-of-web"
                port = leader.bound(next(iter(state_of(MANIFESTS).table.ports)))
                assert service["spec"]["ports"][0]["targetPort"] == slice_["ports"][0]["port"] == port
                assert other.bound(next(iter(state_of(MANIFESTS).table.ports))) == port

                server.put(replicas("10.0.0.1", "10.0.0.2"))
                await server.until(lambda: len(ours(server)[0]["endpoints"]) == 2)
                server.delete(ours(server)[0])
                await server.until(lambda: ours(server))
                server.put_status(service | {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}})
                while leader.addresses() != {KEY: ("203.0.113.7",)}:
                    await told.wait()
                    told.clear()
            # As after a restart: what is there is right, and only the slice is written when it changes.
            written = len(server.writes)
            async with exposed(server, asyncio.Event()):
                server.put(replicas("10.0.0.2"))
                await server.until(lambda: len(ours(server)[0]["endpoints"]) == 1)
            assert [each.path.rpartition("/")[2] for each in server.writes[written:]] == ["web-moongate-ipv4"]

    asyncio.run(run())
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def ours(server: ApiServer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.objects("endpointslices", "discovery.k8s.io")
    return [each for each in found if each["metadata"]["namespace"] == "shop"]
