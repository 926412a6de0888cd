"""What a replica does when a part of it that writes breaks."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app import cluster as module
from app.cluster import Cluster
from app.settings import Settings
from routes.graph.nodes import Options, Sockets
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


def _writes(task: "asyncio.Task[Any]") -> bool:
    return not task.done() and "_kept" in repr(task.get_coro())
