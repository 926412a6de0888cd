"""A Kubernetes API server for tests: in memory, over real sockets, with the faults that a gateway has to live with.

Answers, versions and refusals are shaped as a real one's (1.36). Not there: protobuf and YAML, schemas and admission
but for names and labels, JSON and strategic patches, WatchList, deletion of collections, controllers (see
:meth:`Store.collect_garbage`).
"""

import asyncio
import json
import re
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote

import uvicorn
import yaml
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from tests.helpers.apikinds import Kind, Object, gateway_api
from tests.helpers.apistore import Collection, Refusal, Store, check_fields, collection_of, selected
from tests.helpers.waiting import wait_until

T = TypeVar("T")

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_MERGE, _APPLY = "application/merge-patch+json", "application/apply-patch+yaml"


class Request(NamedTuple):
    """A request that came. ``body`` is None where there was none."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class Hold:
    """Keeps requests waiting until it is released."""

    def __init__(self, method: str, path: str) -> None:
        self.method = method
        self.path = path
        #: Requests that wait here.
        self.waiting = 0
        self.released = asyncio.Event()

    def release(self) -> None:
        self.released.set()


class _Target(NamedTuple):
    """What a path names."""

    kind: Kind
    version: str
    namespace: str
    name: str
    subresource: str

    @property
    def collection(self) -> Collection:
        return self.kind.group, self.kind.plural


class _Watch:
    def __init__(self, request: Request, client: Any, bookmarks: bool) -> None:
        self.request = request
        self.client = client
        self.bookmarks = bookmarks
        #: What is to be sent beside events, in order; None: the end.
        self.asides: list[bytes | None] = []
        self.bookmark = False
        self.woken = asyncio.Event()


class ApiServer:
    """``async with ApiServer() as server:`` serves it in the present loop, ``with server.in_thread():`` in a thread.

    Objects are written with :meth:`put`, :meth:`put_status` and :meth:`delete`, or by requests.
    """

    def __init__(self, *, gateway: bool = True, context: ssl.SSLContext | None = None) -> None:
        self.store = Store()
        self.store.changed = self._pulse_soon
        #: Every request, in the order in which they came.
        self.requests: list[Request] = []
        #: Bearer tokens that are taken; None takes anybody.
        self.tokens: set[str] | None = None
        #: A watch from a version that is gone is refused with status 410, in place of an event that says so.
        self.gone_as_status = False
        self.port = 0
        self._context = context
        self._forbidden: list[tuple[str, str, str | None]] = []
        self._answers: list[tuple[list[int], str, str, Refusal]] = []
        self._holds: list[Hold] = []
        self._serial = 0
        self._lists: dict[str, tuple[int, list[Object]]] = {}
        self._watches: list[_Watch] = []
        self._waiting: set[asyncio.Event] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: asyncio.Server | None = None
        self._state = ServerState()
        if gateway:
            for crd in gateway_api():
                self.put(crd)

    # What a test does with objects

    def put(self, manifest: Object) -> Object:
        """Create or replace an object, whatever its version, and its namespace where that is missing."""
        collection, namespace, name = self._place(manifest)
        with self.store.lock:
            if self.store.kinds[collection].namespaced:
                with suppress(Refusal):
                    self.store.create(("", "namespaces"), "", {"metadata": {"name": namespace}})
            body = json.loads(json.dumps(manifest))
            body.setdefault("metadata", {}).pop("resourceVersion", None)
            try:
                old = self.store.get(collection, namespace, name)
            except Refusal:
                return self.store.create(collection, namespace, body)
            body["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            return self.store.replace(collection, namespace, name, body, status=False)

    def put_status(self, manifest: Object) -> Object:
        """Replace the status of an object."""
        collection, namespace, name = self._place(manifest)
        return self.store.replace(collection, namespace, name, {"status": manifest.get("status", {})}, status=True)

    def put_all(self, text: str) -> None:
        """Put each document of a YAML text."""
        for manifest in yaml.safe_load_all(text):
            if manifest:
                self.put(manifest)

    def delete(self, manifest: Object) -> None:
        self.store.delete(*self._place(manifest))

    def get(self, manifest: Object) -> Object:
        """What is stored of the object that ``manifest`` names."""
        return self.store.get(*self._place(manifest))

    def objects(self, plural: str, group: str = "") -> list[Object]:
        return self.store.objects((group, plural))

    def _place(self, manifest: Object) -> tuple[Collection, str, str]:
        collection = collection_of(self.store, manifest["apiVersion"], manifest["kind"])
        namespaced = self.store.kinds[collection].namespaced
        return (
            collection,
            manifest["metadata"].get("namespace", "default") if namespaced else "",
            manifest["metadata"]["name"],
        )

    # What a test sees

    def count(self, method: str = "", path: str = "") -> int:
        """Requests of ``method`` whose path the regular expression ``path`` is found in; watches have method WATCH."""
        return len(self.found(method, path))

    def found(self, method: str = "", path: str = "") -> list[Request]:
        return [each for each in self.requests if (not method or each.method == method) and re.search(path, each.path)]

    @property
    def writes(self) -> list[Request]:
        return [each for each in self.requests if each.method not in ("GET", "WATCH")]

    def watching(self, path: str = "") -> int:
        """Watches that are open on paths in which the regular expression is found."""
        return sum(bool(re.search(path, watch.request.path)) for watch in self._watches)

    async def until(self, condition: Callable[[], T], *, seconds: float = 15.0, what: str = "") -> T:
        """The first true answer of ``condition``, which is asked whenever an object changes, a request comes or a watch
        ends. AssertionError, naming ``what``, when there was none in ``seconds``."""
        woken = asyncio.Event()
        self._waiting.add(woken)
        try:
            async with asyncio.timeout(seconds):
                while not (answer := condition()):
                    await woken.wait()
                    woken.clear()
                return answer
        except TimeoutError:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}") from None
        finally:
            self._waiting.discard(woken)

    # Faults

    def forbid(self, resource: str, *, verb: str = "*", namespace: str | None = None) -> None:
        """Refuse (403) requests for ``resource``, its plural: all, or those in ``namespace``; "": cluster-wide ones."""
        self._forbidden.append((resource, verb, namespace))

    def allow(self, resource: str) -> None:
        """Take back every :meth:`forbid` of ``resource``."""
        self._forbidden = [each for each in self._forbidden if each[0] != resource]

    def answer_next(
        self,
        status: int,
        reason: str = "InternalError",
        message: str = "told to fail",
        *,
        retry_after: int | None = None,
        method: str = "",
        path: str = "",
        times: int = 1,
    ) -> None:
        """Answer the next requests that fit with an error, such as 429 with ``retry_after`` seconds."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        details = None if retry_after is None else {"retryAfterSeconds": retry_after}
        self._answers.append(([times], method, path, Refusal(status, reason, message, details=details, **headers)))

    def forgive(self) -> None:
        """Take back every :meth:`answer_next`."""
        self._answers.clear()

    def hold(self, method: str = "", path: str = "") -> Hold:
        """Keep requests that fit waiting."""
        hold = Hold(method, path)
        self._holds.append(hold)
        return hold

    def cut_watches(self, path: str = "") -> None:
        """Break the connections of watches without a word."""
        for watch in self._fitting(path):
            self._abort(watch.client)

    def end_watches(self, path: str = "") -> None:
        """End watches in order, as the server does after a while."""
        self.inject(None, path)

    def expire_watches(self, path: str = "", *, code: int = 410, reason: str = "Expired") -> None:
        """End watches with an event that says that their version is gone, or something else that is wrong."""
        status = Refusal(code, reason, "too old resource version: 1 (2)" if code == 410 else "told to fail").status
        self.inject(_line({"type": "ERROR", "object": status}), path)
        self.inject(None, path)

    def inject(self, line: bytes | None, path: str = "") -> None:
        """Send anything to watches, behind all events there have been."""
        for watch in self._fitting(path):
            watch.asides.append(line)
        self._pulse_soon()

    def bookmark(self) -> None:
        """Send a bookmark to the watches that want them."""
        for watch in self._watches:
            watch.bookmark = watch.bookmarks
        self._pulse_soon()

    def compact(self) -> None:
        """Lists to be continued and watches that begin now know nothing of what was before."""
        self.store.compact()
        self._lists.clear()

    async def stop(self) -> None:
        """Refuse connections, and break all there are."""
        assert self._server is not None
        assert self._loop is not None
        # What is accepted by now must be a connection before the server closes, or Python 3.11 loses its socket.
        for each in self._server.sockets:
            self._loop.remove_reader(each.fileno())
        for _ in range(2):
            await asyncio.sleep(0)
        self._server.close()
        self._server = None
        for hold in self._holds:
            hold.release()
        for protocol in list(self._state.connections):
            protocol.transport.abort()
        await self.until(lambda: not self._state.connections)
        while self._state.tasks:
            await asyncio.wait(list(self._state.tasks))

    async def start(self) -> None:
        """Listen, after :meth:`stop` on the same port."""
        self._loop = asyncio.get_running_loop()
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            http="httptools",
            timeout_keep_alive=600,
        )
        config.load()
        self._state = ServerState()

        def connected() -> asyncio.Protocol:
            made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self._state, app_state={}
            )
            lost = made.connection_lost

            def connection_lost(error: Exception | None) -> None:
                lost(error)
                self._pulse()

            made.connection_lost = connection_lost  # type: ignore[method-assign,assignment]
            return made

        self._server = await self._loop.create_server(connected, "127.0.0.1", self.port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def __aenter__(self) -> "ApiServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            await self.stop()
        self._loop = None

    @contextmanager
    def in_thread(self) -> Iterator[int]:
        """Serve in a thread; gives the port. :meth:`call` does there what touches connections."""
        stop = asyncio.Event()
        started: list[int] = []

        async def main() -> None:
            async with self:
                started.append(self.port)
                await stop.wait()

        thread = threading.Thread(target=lambda: asyncio.run(main()))
        thread.start()
        try:
            wait_until(lambda: started, what="the API server listens")
            yield self.port
        finally:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(stop.set)
            thread.join()

    def call(self, what: Callable[[], Any]) -> Any:
        """Do in the server's thread, and wait for, what ``what`` returns or, if that is a coroutine, what it gives."""
        assert self._loop is not None

        async def do() -> Any:
            answer = what()
            return await answer if asyncio.iscoroutine(answer) else answer

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result(15)

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    def kubeconfig(
        self, path: Path, *, user: Object | None = None, cluster: Object | None = None, namespace: str = ""
    ) -> Path:
        """Write a kubeconfig that leads here."""
        context = {"cluster": "test", "user": "test", **({"namespace": namespace} if namespace else {})}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url, **(cluster or {})}}],
            "users": [{"name": "test", "user": user or {}}],
            "contexts": [{"name": "test", "context": context}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    # The sockets' side

    def _fitting(self, path: str) -> list[_Watch]:
        return [watch for watch in self._watches if re.search(path, watch.request.path)]

    def _abort(self, client: Any) -> None:
        for protocol in list(self._state.connections):
            if getattr(protocol, "client", None) == client:
                protocol.transport.abort()

    def _pulse_soon(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._pulse)

    def _pulse(self) -> None:
        for event in self._waiting:
            event.set()
        for watch in self._watches:
            watch.woken.set()

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        watch = scope["method"] == "GET" and query.get("watch", "false") in ("1", "true")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        method = "WATCH" if watch else scope["method"]
        request = Request(method, unquote(scope["path"]), query, headers, json.loads(body) if body else None)
        self.requests.append(request)
        self._pulse()
        try:
            for hold in list(self._holds):
                if not hold.released.is_set() and _fits(request, hold.method, hold.path):
                    hold.waiting += 1
                    self._pulse()
                    await hold.released.wait()
                    hold.waiting -= 1
                    if self._server is None:
                        return
            self._check(request)
            if not watch:
                await _respond(send, *self._answer(request))
                return
            target = self._target(request)
            if target is None:
                raise _NO_PAGE
            await self._stream(request, target, scope, receive, send)
        except Refusal as refusal:
            if refusal is _NO_PAGE:
                await _respond(send, 404, b"404 page not found\n")
            else:
                await _respond(send, refusal.code, refusal.status, refusal.headers)

    def _check(self, request: Request) -> None:
        """Who asks, and whether the test wants something to go wrong."""
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens is not None and given not in self.tokens:
            raise Refusal(401, "Unauthorized", "Unauthorized")
        for answer in self._answers:
            left, method, path, refusal = answer
            if _fits(request, method, path):
                left[0] -= 1
                if not left[0]:
                    self._answers.remove(answer)
                raise refusal
        target = self._target(request)
        if target is None:
            return
        verb = _verb(request, target)
        for resource, forbidden, namespace in self._forbidden:
            if resource != target.kind.plural or forbidden not in ("*", verb):
                continue
            if namespace is None or namespace == target.namespace:
                raise _forbidden(target, verb)

    def _target(self, request: Request) -> _Target | None:
        parts = request.path.strip("/").split("/")
        if parts[:2] == ["api", "v1"]:
            group, version, rest = "", "v1", parts[2:]
        elif parts[0] == "apis" and len(parts) > 3:
            group, version, rest = parts[1], parts[2], parts[3:]
        else:
            return None
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2 and not (group == "" and rest[2] in ("status", "finalize")):
            namespace, rest = rest[1], rest[2:]
        kind = self.store.kind((group, rest[0])) if rest and len(rest) <= 3 else None
        if kind is None or version not in kind.versions or bool(namespace) > kind.namespaced:
            return None
        name, subresource = (*rest[1:], "", "")[:2]
        if name and kind.namespaced and not namespace:
            return None
        if subresource and not (subresource == "status" and kind.status):
            return None
        return _Target(kind, version, namespace, name, subresource)

    # Answers

    def _answer(self, request: Request) -> tuple[int, Any]:
        target = self._target(request)
        if target is None:
            return self._discovery(request)
        collection, namespace, name, status = (
            target.collection,
            target.namespace,
            target.name,
            target.subresource == "status",
        )
        body = request.body
        method = request.method
        if body is not None and method != "DELETE" and not isinstance(body, dict):
            raise Refusal(400, "BadRequest", "the object provided is unrecognized")
        if method in ("POST", "PUT"):
            expected = target.kind.api_version(target.version), target.kind.kind
            if (body.get("apiVersion", expected[0]), body.get("kind", expected[1])) != expected:
                raise Refusal(400, "BadRequest", "the API version in the data does not match the expected API version")
        code, made = 200, None
        if method == "GET" and name:
            made = self.store.get(collection, namespace, name)
        elif method == "GET":
            return 200, self._list(request, target)
        elif method == "POST" and not name:
            code, made = 201, self.store.create(collection, namespace, body)
        elif method == "PUT" and name:
            made = self.store.replace(collection, namespace, name, body, status=status)
        elif method == "PATCH" and name:
            code, made = self._patch(request, target, status)
        elif method == "DELETE" and name:
            going = self.store.delete(collection, namespace, name, (body or {}).get("preconditions"))
            if "deletionTimestamp" not in going["metadata"] and not target.kind.custom:
                details = {"name": name, "kind": target.kind.plural, "uid": going["metadata"]["uid"]}
                return 200, {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "metadata": {},
                    "status": "Success",
                    "details": details,
                }
            made = going
        else:
            raise Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        return code, _rendered(made, target, request)

    def _patch(self, request: Request, target: _Target, status: bool) -> tuple[int, Object]:
        collection, namespace, name = target.collection, target.namespace, target.name
        form = request.headers.get("content-type", "").partition(";")[0]
        if form == _MERGE:
            return 200, self.store.merge(collection, namespace, name, request.body, status=status)
        if form != _APPLY:
            message = (
                f"the body of the request was in an unknown format - accepted media types include: {_MERGE}, {_APPLY}"
            )
            raise Refusal(415, "UnsupportedMediaType", message)
        manager = request.query.get("fieldManager")
        if not manager:
            why = "fieldManager: Required value: is required for apply patch"
            raise Refusal(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {why}')
        if not (request.body.get("apiVersion") and request.body.get("kind")):
            raise Refusal(400, "BadRequest", "invalid object type: apiVersion and kind are required")
        force = request.query.get("force") == "true"
        made, new = self.store.apply(
            collection, namespace, name, request.body, manager=manager, force=force, status=status
        )
        return 201 if new else 200, made

    def _list(self, request: Request, target: _Target) -> Object:
        query = request.query
        check_fields(target.kind, query.get("fieldSelector", ""))
        token = query.get("continue", "")
        if token:
            if re.fullmatch(r"[0-9]+-[0-9]+-[0-9]+(-any)?", token) is None:
                raise Refusal(400, "BadRequest", "invalid continue token: continue key is not valid")
            if token not in self._lists and not token.endswith("-any"):
                raise self._list_is_gone(request, target, token)
            version, left = self._lists.pop(token, (self.store.version, []))
        else:
            with self.store.lock:
                version = self.store.version
                if query.get("resourceVersion", "0").isdigit() and int(query.get("resourceVersion") or 0) > version:
                    raise Refusal(
                        504,
                        "Timeout",
                        f"Timeout: Too large resource version: {query['resourceVersion']}, current: {version}",
                        details={"causes": [{"reason": "ResourceVersionTooLarge"}], "retryAfterSeconds": 1},
                    )
                labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
                selected(None, labels, fields)
                left = [
                    each
                    for each in self.store.objects(target.collection, target.namespace)
                    if selected(each, labels, fields)
                ]
        limit = int(query.get("limit") or 0)
        metadata: Object = {"resourceVersion": str(version)}
        if limit and len(left) > limit:
            self._serial += 1
            go_on = f"{version}-{len(left) - limit}-{self._serial}"
            self._lists[go_on] = version, left[limit:]
            metadata |= {"continue": go_on, "remainingItemCount": len(left) - limit}
            left = left[:limit]
        items = [_rendered(each, target, request) for each in left]
        if _only_metadata(request, "PartialObjectMetadataList"):
            return {
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "items": items,
            }
        if not target.kind.custom:
            items = [
                {field: value for field, value in each.items() if field not in ("kind", "apiVersion")} for each in items
            ]
        api_version = target.kind.api_version(target.version)
        return {"kind": f"{target.kind.kind}List", "apiVersion": api_version, "metadata": metadata, "items": items}

    def _list_is_gone(self, request: Request, target: _Target, token: str) -> Refusal:
        """The refusal, which bears a token with which what is left now can be had."""
        refusal = Refusal(
            410, "Expired", "The provided continue parameter is too old to display a consistent list result."
        )
        left = int(token.split("-")[1])
        refusal.go_on = f"{token}-any"
        now = self.store.objects(target.collection, target.namespace)
        wanted = [
            each
            for each in now
            if selected(each, request.query.get("labelSelector", ""), request.query.get("fieldSelector", ""))
        ]
        self._lists[refusal.go_on] = self.store.version, wanted[-left:] if left else []
        return refusal

    async def _stream(self, request: Request, target: _Target, scope: Scope, receive: Receive, send: Send) -> None:
        query = request.query
        if query.get("sendInitialEvents"):
            raise Refusal(422, "Invalid", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch")
        labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        if target.name:
            fields = f"metadata.name={target.name}"
        check_fields(target.kind, fields)
        watch = _Watch(request, scope["client"], query.get("allowWatchBookmarks") in ("1", "true"))
        epoch = self.store.epoch(target.collection)
        since = query.get("resourceVersion") or "0"
        with self.store.lock:
            lines: list[bytes] = []
            at = int(since)
            if since == "0":
                at = self.store.version
                found = self.store.objects(target.collection, target.namespace)
                lines = [_event("ADDED", each, target, request) for each in found if selected(each, labels, fields)]
            elif at < self.store.compacted:
                gone = Refusal(410, "Expired", f"too old resource version: {at} ({self.store.compacted})")
                if self.gone_as_status:
                    raise gone
                content = [(b"content-type", b"application/json")]
                await send({"type": "http.response.start", "status": 200, "headers": content})
                await send({"type": "http.response.body", "body": _line({"type": "ERROR", "object": gone.status})})
                return
        gone_away = asyncio.ensure_future(_gone(receive, watch.woken))
        loop = asyncio.get_running_loop()
        ends = loop.call_later(float(query.get("timeoutSeconds") or 3600), self._end, watch)
        self._watches.append(watch)
        self._pulse()
        try:
            content = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": content})
            await send({"type": "http.response.body", "body": b"".join(lines), "more_body": True})
            while not gone_away.done():
                watch.woken.clear()
                over = self.store.epoch(target.collection) != epoch
                now = self.store.version
                for version, old, new in self.store.events(target.collection, at):
                    at = version
                    if target.namespace and (new or old or {})["metadata"]["namespace"] != target.namespace:
                        continue
                    line = _told(old, new, version, labels, fields, target, request)
                    if line:
                        await send({"type": "http.response.body", "body": line, "more_body": True})
                if watch.bookmark:
                    watch.bookmark = False
                    mark = {"metadata": {"resourceVersion": str(now), "creationTimestamp": None}}
                    line = _event("BOOKMARK", mark, target, request)
                    await send({"type": "http.response.body", "body": line, "more_body": True})
                while watch.asides:
                    aside = watch.asides.pop(0)
                    if aside is None:
                        over = True
                        break
                    await send({"type": "http.response.body", "body": aside, "more_body": True})
                if over:
                    await send({"type": "http.response.body", "body": b""})
                    return
                await watch.woken.wait()
        finally:
            ends.cancel()
            gone_away.cancel()
            self._watches.remove(watch)
            self._pulse()

    def _end(self, watch: _Watch) -> None:
        watch.asides.append(None)
        watch.woken.set()

    def _discovery(self, request: Request) -> tuple[int, Any]:
        path = request.path.rstrip("/")
        if path in ("/livez", "/readyz", "/healthz"):
            return 200, b"ok"
        if path == "/version":
            return 200, {"major": "1", "minor": "36", "gitVersion": "v1.36.3"}
        if path == "/api":
            return 200, {"kind": "APIVersions", "versions": ["v1"]}
        versions: dict[str, list[str]] = {}
        for (group, _), kind in self.store.kinds.items():
            if group:
                known = versions.setdefault(group, [])
                known += [version for version in kind.versions if version not in known]
        if path == "/apis":
            return 200, {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [_group(*each) for each in versions.items()],
            }
        group = path.removeprefix("/apis/")
        if group in versions:
            return 200, {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions[group])}
        group, _, version = ("", "", "v1") if path == "/api/v1" else group.rpartition("/")
        kinds = [kind for kind in self.store.kinds.values() if kind.group == group and version in kind.versions]
        if not kinds or request.method != "GET":
            raise _NO_PAGE
        resources = []
        for kind in kinds:
            both = {"singularName": kind.kind.lower(), "namespaced": kind.namespaced, "kind": kind.kind}
            verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
            resources.append({"name": kind.plural, **both, "verbs": verbs})
            if kind.status:
                resources.append({"name": f"{kind.plural}/status", **both, "verbs": ["get", "patch", "update"]})
        group_version = f"{group}/{version}" if group else version
        return 200, {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": group_version,
            "resources": resources,
        }


@asynccontextmanager
async def api_server(*, gateway: bool = True) -> AsyncIterator[ApiServer]:
    """An :class:`ApiServer` that listens; with the Gateway API's kinds, or without."""
    async with ApiServer(gateway=gateway) as server:
        yield server


_NO_PAGE = Refusal(404, "NotFound", "404 page not found")


def _fits(request: Request, method: str, path: str) -> bool:
    return (not method or request.method == method) and re.search(path, request.path) is not None


def _verb(request: Request, target: _Target) -> str:
    if request.method == "WATCH":
        return "watch"
    if request.method == "GET":
        return "get" if target.name else "list"
    return _VERBS.get(request.method, "")


def _forbidden(target: _Target, verb: str) -> Refusal:
    kind = target.kind
    where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    resource = kind.plural + (f"/{target.subresource}" if target.subresource else "")
    what = f'{kind.qualified} "{target.name}"' if target.name else kind.qualified
    details = {key: value for key, value in {"name": target.name, "group": kind.group}.items() if value}
    return Refusal(
        403,
        "Forbidden",
        f'{what} is forbidden: User "system:serviceaccount:default:test" cannot {verb} resource "{resource}" '
        f'in API group "{kind.group}" {where}',
        details={**details, "kind": kind.plural},
    )


def _group(group: str, versions: list[str]) -> Object:
    found = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": found, "preferredVersion": found[0]}


def _only_metadata(request: Request, kind: str) -> bool:
    return f"as={kind};" in request.headers.get("accept", "").replace(" ", "").partition(",")[0] + ";"


def _rendered(made: Object, target: _Target, request: Request) -> Object:
    """The object in the version asked for, or only its metadata."""
    if any(_only_metadata(request, f"PartialObjectMetadata{end}") for end in ("", "List")):
        return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": made["metadata"]}
    return {**made, "kind": target.kind.kind, "apiVersion": target.kind.api_version(target.version)}


def _told(
    old: Object | None,
    new: Object | None,
    version: int,
    labels: str,
    fields: str,
    target: _Target,
    request: Request,
) -> bytes:
    """The event for a watch with selectors: what begins to fit is added, what ends to is deleted."""
    before, after = selected(old, labels, fields), selected(new, labels, fields)
    if after:
        assert new is not None
        return _event("MODIFIED" if before else "ADDED", new, target, request)
    if before:
        assert old is not None
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(version)}}
        return _event("DELETED", last, target, request)
    return b""


def _event(name: str, made: Object, target: _Target, request: Request) -> bytes:
    return _line({"type": name, "object": _rendered(made, target, request)})


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


async def _gone(receive: Receive, woken: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    woken.set()


async def _respond(send: Send, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
    text = isinstance(answer, bytes)
    body = answer if text else json.dumps(answer, separators=(",", ":")).encode()
    fields = [
        (b"content-type", b"text/plain; charset=utf-8" if text else b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in (headers or {}).items()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
