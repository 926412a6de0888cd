"""A reflector against everything that can go wrong between it and the API server, in any order: nothing is lost."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from app.providers.kubernetes import reflector as module
from app.providers.kubernetes.client import Client
from app.providers.kubernetes.reflector import Reflector
from tests.app.providers.kubernetes.test_client import plain, secret
from tests.helpers.apikinds import Object
from tests.helpers.apiserver import ApiServer


class Mirror:
    """What a reflector has told, put together."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.faults: list[str] = []

    def change(self, namespace: str, name: str, found: dict[str, Any] | None) -> None:
        key = namespace, name
        if found is None:
            if self.objects.pop(key, None) is None:
                self.faults.append(f"{name} is gone and was never there")
        elif key in self.objects and self.objects[key]["metadata"] == found["metadata"]:
            self.faults.append(f"{name} is told twice")
        else:
            self.objects[key] = found

    @property
    def versions(self) -> dict[str, str]:
        return {name: found["metadata"]["resourceVersion"] for (_, name), found in self.objects.items()}


def stored(server: ApiServer) -> dict[str, str]:
    """The versions of all Secrets with the label."""
    return {
        found["metadata"]["name"]: found["metadata"]["resourceVersion"]
        for found in server.objects("secrets")
        if (found["metadata"].get("labels") or {}).get("served") == "yes"
    }


def disturbances(server: ApiServer, chance: random.Random) -> list[Callable[[], Any]]:
    """What happens to objects, and to who reads them."""

    def name() -> str:
        return f"s{chance.randrange(12)}"

    def put() -> None:
        labels = {"served": chance.choice(["yes", "yes", "yes", "no"]), "n": str(chance.randrange(1000))}
        server.put(secret(name()) | {"metadata": {"name": name(), "labels": labels}})

    def delete() -> None:
        found = server.objects("secrets")
        if found:
            server.delete(chance.choice(found))

    def refuse() -> None:
        status = chance.choice([401, 403, 409, 410, 429, 500, 503, 504])
        server.answer_next(status, "Told", times=chance.randrange(1, 3))

    async def restart() -> None:
        await server.stop()
        if chance.random() < 0.5:
            put()
            delete()
        if chance.random() < 0.5:
            server.compact()
        await server.start()

    async def step() -> None:
        for _ in range(chance.randrange(30)):
            await asyncio.sleep(0)

    return [
        *[put] * 12,
        *[delete] * 5,
        *[step] * 12,
        server.bookmark,
        server.compact,
        server.cut_watches,
        server.end_watches,
        server.expire_watches,
        lambda: server.expire_watches(code=500, reason="InternalError"),
        lambda: server.inject(b"no json\n"),
        refuse,
        restart,
    ]


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_what_was_told_is_what_is_stored(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 3)
    monkeypatch.setattr(module, "_QUICK", 0.001)
    monkeypatch.setattr(module, "_SLOW", 0.01)
    chance = random.Random(seed)

    async def main() -> None:
        mirror = Mirror()
        async with ApiServer() as server, Client(plain(server.url)) as client:
            server.gone_as_status = chance.random() < 0.5
            told = asyncio.Event()

            def changed(namespace: str, name: str, found: dict[str, Any] | None) -> None:
                mirror.change(namespace, name, found)
                told.set()

            async def converged() -> None:
                async with asyncio.timeout(15):
                    while mirror.versions != stored(server):
                        told.clear()
                        await told.wait()
                await server.until(lambda: server.watching() == 1)

            selected = {"labelSelector": "served=yes"}
            following = asyncio.create_task(Reflector(client, "/api/v1/secrets", selected, changed).run())
            happening = disturbances(server, chance)
            for _ in range(200):
                done = chance.choice(happening)()
                if asyncio.iscoroutine(done):
                    await done
            server.forgive()
            await converged()
            # And what is certain to be gone in between is listed again.
            await server.stop()
            server.put(secret("s0") | {"metadata": {"name": "s0", "labels": {"served": "yes", "n": "last"}}})
            server.compact()
            await server.start()
            await converged()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        assert not mirror.faults

    asyncio.run(main())
