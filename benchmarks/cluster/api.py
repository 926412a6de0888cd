"""Requests to the API server, with client certificate or token from a kubeconfig. Not the gateway's own client, which
is among what is measured."""

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2
import yaml

Object = Mapping[str, Any]

GATEWAY = "/apis/gateway.networking.k8s.io/v1"
DISCOVERY = "/apis/discovery.k8s.io/v1"
CORE = "/api/v1"
APPS = "/apis/apps/v1"

#: Requests at once, where many objects are made.
AT_ONCE = 16


class Api:
    """The API server that a kubeconfig's current context names. All raise httpx2.HTTPError."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        authority = _data(cluster, "certificate-authority")
        tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if certificate := _data(user, "client-certificate"):
            with tempfile.NamedTemporaryFile() as file:
                file.write(certificate + b"\n" + _data(user, "client-key"))
                file.flush()
                tls.load_cert_chain(file.name)
        headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._client = httpx2.AsyncClient(base_url=cluster["server"], verify=tls, headers=headers, timeout=60)

    async def __aenter__(self) -> "Api":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def get(self, path: str) -> Any:
        """The object or list at ``path``; None where there is nothing."""
        answer = await self._client.get(path)
        return None if answer.status_code == 404 else answer.raise_for_status().json()

    async def create(self, path: str, body: Object) -> Any:
        """The object as created in the collection at ``path``."""
        return (await self._client.post(path, json=body)).raise_for_status().json()

    async def merge(self, path: str, body: Object) -> Any:
        """The object at ``path`` after a JSON merge patch."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return (await self._client.patch(path, content=json.dumps(body), headers=headers)).raise_for_status().json()

    async def delete(self, path: str) -> None:
        """Delete the object at ``path``; that it is not there is no error."""
        answer = await self._client.delete(path)
        if answer.status_code != 404:
            answer.raise_for_status()

    async def watch(self, path: str, version: str) -> AsyncIterator[tuple[str, Any]]:
        """What happens in the collection at ``path`` after ``version``: kind of event and object, for at most an
        hour."""
        params = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "3600"}
        async with self._client.stream("GET", path, params=params, timeout=None) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                event = json.loads(line)
                yield event["type"], event["object"]


async def at_once(jobs: Iterable[Coroutine[Any, Any, Any]], tell: Callable[[int], None]) -> None:
    """Do all jobs, :data:`AT_ONCE` at a time; ``tell`` is told how many are done."""
    left, done = iter(jobs), 0

    async def work() -> None:
        nonlocal done
        for job in left:
            await job
            done += 1
            tell(done)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())


def _named(entries: list[Any], name: str) -> Any:
    return next(entry for entry in entries if entry["name"] == name)


def _data(section: Object, name: str) -> bytes:
    """What is given in a kubeconfig itself or as a file."""
    if f"{name}-data" in section:
        return base64.b64decode(section[f"{name}-data"])
    return Path(section[name]).read_bytes() if name in section else b""
