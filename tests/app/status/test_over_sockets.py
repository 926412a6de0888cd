"""Statuses written by the real client to an API server over real sockets, which tells them back by a watch."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from app.providers.kubernetes.client import Client
from app.providers.kubernetes.provider import KubernetesProvider
from app.reconciler import State
from app.status.writer import StatusWriter
from routes.graph.nodes import Options
from routes.graph.rebuild import Rebuilding
from routes.snapshot import Snapshot
from tests.app.status.world import OURS, THEIRS, gateway, gateway_class, route
from tests.helpers.apiserver import ApiServer


def types(document: dict[str, Any]) -> set[str]:
    return {each["type"] for each in document["status"]["conditions"]}


def test_a_status_is_written_and_a_foreign_one_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with ApiServer() as server:
            monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "config")))
            for manifest in (gateway_class(), gateway(), route("r", "g")):
                server.put(manifest)
            theirs = {"controllerName": THEIRS, "parentRef": {"name": "other"}, "conditions": []}
            server.put_status({**route("r", "g"), "status": {"parents": [theirs]}})
            async with Client.from_environment() as client:
                provider = KubernetesProvider(client)
                change = await provider.load()
                writer = StatusWriter(client, provider.statuses, OURS)
                snapshot = Snapshot(change.upserts)
                step = Rebuilding(Options(controller_name=OURS)).build(snapshot, snapshot.keys())
                writer.publish(State(step.graph, cast(Any, None), frozenset(), 0, (), step.routes))
                # Somebody writes after we have read, which only the server knows of.
                server.put_status({**gateway(), "status": {"conditions": [{"type": "example.com/Own"}]}})
                writer.lead(True)
                running = asyncio.create_task(writer.run())
                await server.until(lambda: len(server.get(route("r", "g"))["status"]["parents"]) == 2)
                first, second = server.get(route("r", "g"))["status"]["parents"]
                assert first == theirs
                assert second["controllerName"] == OURS
                wanted = {"example.com/Own", "Accepted", "Programmed"}
                await server.until(lambda: types(server.get(gateway())) >= wanted)
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running
                await provider.close()

    asyncio.run(main())
