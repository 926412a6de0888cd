"""The API without sockets, over the store of the API server of tests: for tests in time of their own."""

import asyncio
import re

from app.providers.kubernetes.api import ApiError, Object
from tests.helpers.apistore import Collection, Refusal, Store


class Direct:
    """Implements :class:`app.providers.kubernetes.api.Api`, for one client of ``store``.

    While ``error`` is set all requests fail with it, and while ``silent`` they get no answer.
    """

    def __init__(self, store: Store, namespace: str = "default") -> None:
        self.namespace = namespace
        self.error: ApiError | None = None
        self.silent = False
        #: Requests so far: method and path.
        self.requests: list[tuple[str, str]] = []
        self._store = store

    async def get(self, path: str) -> Object:
        return await self._do("GET", path, None)

    async def create(self, path: str, body: Object) -> Object:
        return await self._do("POST", path, body)

    async def replace(self, path: str, body: Object) -> Object:
        return await self._do("PUT", path, body)

    async def merge(self, path: str, body: Object) -> Object:
        return await self._do("MERGE", path, body)

    async def apply(self, path: str, body: Object) -> Object:
        return await self._do("APPLY", path, body)

    async def delete(self, path: str) -> None:
        try:
            await self._do("DELETE", path, None)
        except ApiError as error:
            if error.status != 404:
                raise

    async def _do(self, method: str, path: str, body: Object | None) -> Object:
        self.requests.append((method, path))
        await asyncio.sleep(0)
        if self.silent:
            await asyncio.get_running_loop().create_future()
        if self.error is not None:
            raise self.error
        try:
            return self._done(method, path, dict(body or {}))
        except Refusal as refusal:
            raise ApiError(refusal.code, refusal.reason, str(refusal)) from None

    def _done(self, method: str, path: str, body: Object) -> Object:
        found = re.fullmatch(
            r"/(?:api|apis/(?P<group>[^/]+))/[^/]+(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)"
            r"(?:/(?P<name>[^/]+)(?P<status>/status)?)?",
            path,
        )
        assert found, path
        collection: Collection = found["group"] or "", found["plural"]
        namespace, name, status = found["namespace"] or "", found["name"] or "", bool(found["status"])
        assert collection in self._store.kinds, path
        match method:
            case "GET":
                return self._store.get(collection, namespace, name)
            case "POST":
                return self._store.create(collection, namespace, dict(body))
            case "PUT":
                return self._store.replace(collection, namespace, name, dict(body), status=status)
            case "MERGE":
                return self._store.merge(collection, namespace, name, dict(body), status=status)
            case "APPLY":
                return self._store.apply(
                    collection, namespace, name, dict(body), manager="moongate", force=True, status=status
                )[0]
            case _:
                return self._store.delete(collection, namespace, name)
