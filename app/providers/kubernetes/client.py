"""Requests to the Kubernetes API: of single objects, of collections in pages, and watches.

Speaks HTTP/1.1: a watch costs a connection, of which there are as many as collections, and to take an event from the
wire a third of what it costs over HTTP/2 in Python (15 µs against 43).
"""

import asyncio
import json
import random
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Self
from urllib.parse import urlencode

import httpx2
from pydantic_core import from_json

from app.providers.kubernetes.api import ApiError, Object
from app.providers.kubernetes.credentials import ConfigurationError, Credentials

#: Who writes, for server-side apply and in ``managedFields``.
FIELD_MANAGER: Final = "moongate"

#: Seconds for a connection, for each piece of an answer, and for a whole request with new credentials and its answer.
_CONNECT, _READ, _WHOLE = 10.0, 30.0, 120.0
#: Seconds of silence after which a watch counts as broken: servers send a bookmark every minute to who wants them.
_SILENCE: Final = 180.0
#: Seconds after which the server is asked to end a watch, at least and at most, so that watches do not all begin anew
#: at once.
_OPEN: Final = (300, 600)
#: Bytes of an event; objects have 1.5 MiB at most.
_LINE: Final = 8 * 2**20
#: Bytes of any other answer. Objects as large as an API server takes make a page larger than that: it is for who asks
#: to ask for smaller ones, rather than for us to hold what anybody may have stored.
_ANSWER: Final = 16 * 2**20
#: Bytes of a refusal that are read, and characters of one that is not the API's that are told.
_REFUSAL, _TOLD = 64 * 2**10, 200
#: Idle connections that are kept.
_IDLE: Final = 4
#: Objects a page.
_PAGE: Final = 500

#: A peer that vanished without a word is noticed after a minute.
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)

_METADATA: Final = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
_JSON, _MERGE, _APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"


class Client:
    """A client of one API server, as long as it is entered (``async with``). Implements
    :class:`~app.providers.kubernetes.api.Api`.

    All requests raise ApiError, and nothing is tried again but, once, what is refused for its credentials (401).
    """

    def __init__(self, credentials: Credentials) -> None:
        #: The namespace of our service account, or the kubeconfig's.
        self.namespace = credentials.namespace
        self._credentials = credentials
        self._http: httpx2.AsyncClient

    @classmethod
    def from_environment(cls) -> Self:
        """A client with the pod's credentials or a kubeconfig's; raises ConfigurationError."""
        return cls(Credentials.from_environment())

    async def __aenter__(self) -> Self:
        credentials = self._credentials
        self._http = httpx2.AsyncClient(
            base_url=credentials.server,
            transport=httpx2.AsyncHTTPTransport(
                verify=credentials.verify,
                proxy=credentials.proxy,
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=_IDLE),
                socket_options=_KEEPALIVE,
            ),
            auth=credentials.auth,
            trust_env=False,
            headers={"User-Agent": f"moongate/{_version()}", "Accept": _JSON, "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def get(self, path: str) -> Object:
        """See :class:`~app.providers.kubernetes.api.Api`, as for all of these."""
        return await self._ask("GET", path)

    async def create(self, path: str, body: Object) -> Object:
        return await self._ask("POST", path, {"fieldManager": FIELD_MANAGER}, body, _JSON)

    async def replace(self, path: str, body: Object) -> Object:
        return await self._ask("PUT", path, {"fieldManager": FIELD_MANAGER}, body, _JSON)

    async def merge(self, path: str, body: Object) -> Object:
        return await self._ask("PATCH", path, {"fieldManager": FIELD_MANAGER}, body, _MERGE)

    async def apply(self, path: str, body: Object) -> Object:
        return await self._ask("PATCH", path, {"fieldManager": FIELD_MANAGER, "force": "true"}, body, _APPLY)

    async def delete(self, path: str) -> None:
        try:
            await self._ask("DELETE", path)
        except ApiError as error:
            if error.status != 404:
                raise

    async def list(
        self, path: str, params: Mapping[str, str] | None = None, *, metadata_only: bool = False
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        """The pages of the collection at ``path``, of 500 objects or of ``limit``; with ``limit`` "0" it is one.

        All are of one version. Where the server has forgotten it before the last page it refuses (410): what then comes
        of another list does not go together with the pages there have been. ``metadata_only`` asks for objects of which
        only ``metadata`` is there.
        """
        accept = _METADATA.format("List") if metadata_only else _JSON
        asked = {"limit": str(_PAGE), **(params or {})}
        while True:
            page = await self._ask("GET", path, asked, accept=accept)
            yield page
            go_on = (page.get("metadata") or {}).get("continue")
            if not go_on:
                return
            asked = {**asked, "continue": go_on}

    async def watch(
        self, path: str, params: Mapping[str, str] | None = None, *, metadata_only: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """The lines of a watch of ``path`` until the server ends it, and before them an empty one, when it is open.

        ApiError with status 0 where it breaks or is silent for three minutes: ask for bookmarks
        (``allowWatchBookmarks``), they come every minute.
        """
        accept = _METADATA.format("") if metadata_only else _JSON
        timeout = str(random.randint(*_OPEN))  # noqa: S311
        asked = {"watch": "true", "timeoutSeconds": timeout, **(params or {})}
        async with self._answer("GET", path, asked, accept=accept, silence=_SILENCE) as response:
            yield b""
            pieces: list[bytes] = []
            size = 0
            async with aclosing(_raw(response)) as chunks:
                async for chunk in chunks:
                    *ended, rest = chunk.split(b"\n")
                    if ended:
                        pieces.append(ended[0])
                        ended[0] = b"".join(pieces)
                        pieces, size = [], 0
                    for line in ended:
                        if line:
                            yield line
                    if rest:
                        pieces.append(rest)
                        size += len(rest)
                        if size > _LINE:
                            raise ApiError(0, "TooLarge", f"{path}: an event of more than {_LINE} bytes")

    async def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "",
        accept: str = _JSON,
    ) -> dict[str, Any]:
        """The object that is the answer."""
        try:
            async with (
                asyncio.timeout(_WHOLE),
                self._answer(method, path, params, body, content_type, accept=accept) as response,
            ):
                content = await _read(response, _ANSWER)
        except TimeoutError:
            raise ApiError(0, "Timeout", f"no answer in {_WHOLE:g} s") from None
        try:
            answer = from_json(content, cache_strings="keys")
        except ValueError:
            raise ApiError(0, "Malformed", f"{path}: the answer is not JSON") from None
        if not isinstance(answer, dict):
            raise ApiError(0, "Malformed", f"{path}: the answer is no object")
        return answer

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "",
        *,
        accept: str = _JSON,
        silence: float | None = None,
    ) -> AsyncIterator[httpx2.Response]:
        """The answer's head, its body as yet unread; ApiError for every other than a success, and for all that breaks
        while it is read."""
        headers = {"Accept": accept}
        if content_type:
            headers["Content-Type"] = content_type
        request = self._http.build_request(
            method,
            f"{path}?{urlencode(params)}" if params else path,
            content=None if body is None else json.dumps(body, separators=(",", ":")).encode(),
            headers=headers,
            timeout=httpx2.Timeout(silence or _READ, connect=_CONNECT),
            extensions={"sni_hostname": self._credentials.server_name} if self._credentials.server_name else None,
        )
        try:
            response = await self._http.send(request, stream=True)
            try:
                if response.status_code >= 300:
                    raise await _refusal(response)
                yield response
            finally:
                await response.aclose()
        except httpx2.TimeoutException as error:
            raise ApiError(0, "Timeout", f"no answer in time ({type(error).__name__})") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise ApiError(0, "Unreachable", str(error) or type(error).__name__) from error
        except ConfigurationError as error:
            raise ApiError(0, "Credentials", str(error)) from error


async def _raw(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    async for chunk in response.aiter_raw():
        yield chunk


async def _read(response: httpx2.Response, most: int) -> bytes:
    pieces = []
    size = 0
    async with aclosing(_raw(response)) as chunks:
        async for chunk in chunks:
            pieces.append(chunk)
            size += len(chunk)
            if size > most:
                raise ApiError(0, "TooLarge", f"an answer of more than {most} bytes")
    return b"".join(pieces)


async def _refusal(response: httpx2.Response) -> ApiError:
    """The server's own words, from a ``Status`` object or, of somebody on the way to it, whatever it is."""
    try:
        content = await _read(response, _REFUSAL)
    except (ApiError, httpx2.HTTPError):
        content = b""
    try:
        status = from_json(content)
        reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    except (ValueError, AttributeError):
        reason, message = "", " ".join(content.decode(errors="replace").split())[:_TOLD]
    after = response.headers.get("retry-after", "")
    return ApiError(
        response.status_code,
        reason or response.reason_phrase,
        message or response.reason_phrase,
        float(after) if after.isascii() and after.isdigit() else 0.0,
    )


def _version() -> str:
    try:
        return version("moongate")
    except PackageNotFoundError:  # run from a folder
        return "0"
