"""What a replica does when a part of it that writes breaks."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app import cluster as module
from app.cluster import Cluster
from app.exposure.objects import CONTROLLER, MANAGED_BY, MANAGER
from app.settings import Settings
from routes.graph.nodes import Options, Sockets
from routes.resources.meta import GATEWAY_GROUP, Key
from routes.table.types import PortKey
from tests.helpers.apiserver import ApiServer


class Broken:
    """A writer with a fault."""

    def __init__(self, *_: Any) -> None: ...

    async def run(self) -> None:
        raise RuntimeError("a fault of ours")

    def lead(self, leading: bool) -> None: ...


def test_a_fault_of_what_writes_gives_up_the_lease_and_leaves_the_rest_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "StatusWriter", Broken)

    async def main() -> None:
        async with ApiServer() as server:
            monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config")))
            settings = Settings(provider="kubernetes", lease="moongate")
            async with Cluster(settings, Options(cluster=True)) as cluster:
                told: list[Sockets] = []
                cluster.start(told.append, lambda: None)
                while "cannot write any more" not in caplog.text:
                    await asyncio.sleep(0)
                others = asyncio.all_tasks() - {asyncio.current_task()}
                await server.until(lambda: not any(_writes(task) for task in others), what="nothing writes any more")
            leases = server.objects("leases", "coordination.k8s.io")
            assert not any(lease["spec"].get("holderIdentity") for lease in leases)

    asyncio.run(main())


def test_a_fault_of_what_writes_leaves_the_ports_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or this replica would bind a listener elsewhere than where its Gateway's Service leads to."""
    monkeypatch.setattr(module, "StatusWriter", Broken)
    web = Key(GATEWAY_GROUP, "Gateway", "default", "web")

    async def main() -> None:
        async with ApiServer() as server:
            monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config")))
            settings = Settings(provider="kubernetes", lease="moongate", replicas_service="replicas")
            async with Cluster(settings, Options(cluster=True)) as cluster:
                await cluster.load()
                others = asyncio.all_tasks()
                moved = asyncio.Event()
                cluster.start(lambda sockets: None, moved.set)
                writing = asyncio.all_tasks() - others
                await server.until(
                    lambda: not any(_writes(task) for task in writing), what="nothing of it writes any more"
                )
                server.put(exposing(web, 12_345))
                async with asyncio.timeout(15):
                    while cluster.bound(PortKey(web, 80)) != 12_345:
                        await moved.wait()
                        moved.clear()

    asyncio.run(main())


def exposing(gateway: Key, port: int) -> dict[str, Any]:
    """A Service of ours for a Gateway, which leads to ``port`` of a replica."""
    owner = {"apiVersion": f"{gateway.group}/v1", "kind": "Gateway", "name": gateway.name, "uid": "1"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": gateway.name,
            "namespace": gateway.namespace,
            "labels": {MANAGED_BY: MANAGER},
            "annotations": {CONTROLLER: "moongate.dev/gateway"},
            "ownerReferences": [owner],
        },
        "spec": {"ports": [{"name": "port-80", "port": 80, "targetPort": port}]},
    }


def _writes(task: "asyncio.Task[Any]") -> bool:
    return not task.done() and "_kept" in repr(task.get_coro())
