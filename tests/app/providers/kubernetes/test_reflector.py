"""How a collection is followed: what is told is always what the server had, whatever the connection does."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.providers.kubernetes.api import ApiError
from app.providers.kubernetes.reflector import Found, Reflector
from tests.app.providers.kubernetes.following import Cluster, config_map, following, route, scenario
from tests.app.providers.kubernetes.memory import Asked

PATH = "/api/v1/configmaps"


class Told:
    """What a reflector tells."""

    def __init__(self, cluster: Cluster, path: str = PATH, **options: Any) -> None:
        self.objects: dict[str, Any] = {}
        self.log: list[str] = []
        self.reflector = Reflector(cluster.client, path, {}, self._take, **options)

    def _take(self, namespace: str, name: str, found: dict[str, Any] | None) -> None:
        assert namespace == "default"
        if found is None:
            del self.objects[name]
            self.log.append(f"-{name}")
        else:
            assert self.objects.get(name) != found
            self.log.append(f"{'*' if name in self.objects else '+'}{name}")
            self.objects[name] = found

    def take(self) -> list[str]:
        log, self.log = self.log, []
        return log


@asynccontextmanager
async def reflecting(cluster: Cluster, path: str = PATH, **options: Any) -> AsyncIterator[Told]:
    told = Told(cluster, path, **options)
    task = asyncio.create_task(told.reflector.run())
    try:
        await told.reflector.settled.wait()
        yield told
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()


def test_what_is_there_and_what_happens() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(config_map("a"))
        async with reflecting(cluster) as told:
            assert (told.reflector.found, told.reflector.why) == (Found.SYNCED, "")
            assert told.take() == ["+a"]
            cluster.put(config_map("b"))
            cluster.put(config_map("a", "y"))
            cluster.delete(config_map("b"))
            await asyncio.sleep(1)
            assert told.take() == ["+b", "*a", "-b"]

    scenario(play)


def test_what_happens_between_list_and_watch_is_told() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(config_map("a"))
        written = False

        def write(asked: Asked) -> None:
            nonlocal written
            if asked.verb == "watch" and not written:
                written = True
                cluster.delete(config_map("a"))
                cluster.put(config_map("b"))

        cluster.client.refuse = write
        async with reflecting(cluster) as told:
            await asyncio.sleep(1)
            assert told.take() == ["+a", "-a", "+b"]
            assert cluster.client.count("list", "configmaps") == 1

    scenario(play)


def test_many_come_in_pages() -> None:
    async def play() -> None:
        cluster = Cluster()
        for number in range(600):
            cluster.put(config_map(f"c-{number:03}"))
        pages = 0

        def count() -> None:
            nonlocal pages
            pages += 1

        cluster.client.between_pages = count
        async with reflecting(cluster) as told:
            assert len(told.objects) == 600
            assert pages == 2
            (listed,) = [each for each in cluster.client.asked if each.verb == "list"]
            assert listed.params["limit"] == "250"

    scenario(play)


def test_a_list_that_is_forgotten_between_its_pages_is_asked_for_in_one_piece() -> None:
    async def play() -> None:
        cluster = Cluster()
        for number in range(600):
            cluster.put(config_map(f"c-{number:03}"))

        def forget() -> None:
            cluster.delete(config_map("c-000"))
            cluster.store.compact()
            cluster.client.between_pages = lambda: None

        cluster.client.between_pages = forget
        async with reflecting(cluster) as told:
            assert sorted(told.objects) == [f"c-{number:03}" for number in range(1, 600)]
            listed = [each.params["limit"] for each in cluster.client.asked if each.verb == "list"]
            assert listed == ["250", "0"]

    scenario(play)


def test_a_broken_watch_goes_on_where_it_was() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(config_map("a"))
        async with reflecting(cluster) as told:
            for _ in range(5):
                cluster.client.cut()
                cluster.put(config_map("a", str(cluster.store.version)))
                await asyncio.sleep(1)
                assert told.take()[-1] == "*a"
            assert cluster.client.count("list", "configmaps") == 1

    scenario(play)


def test_what_was_deleted_when_its_version_is_forgotten_is_found() -> None:
    async def play() -> None:
        cluster = Cluster()
        for name in "abc":
            cluster.put(config_map(name))
        async with reflecting(cluster) as told:
            told.take()
            cluster.client.refuse = lambda asked: ApiError(0, "", "away")
            cluster.client.cut()
            await asyncio.sleep(1)
            cluster.delete(config_map("a"))
            cluster.put(config_map("b", "y"))
            cluster.delete(config_map("c"))
            cluster.put(config_map("c"))
            cluster.put(config_map("d"))
            cluster.store.compact()
            told.take()
            cluster.client.refuse = lambda asked: None
            await asyncio.sleep(10)
            assert sorted(told.take()) == ["*b", "*c", "+d", "-a"]

    scenario(play)


class Script:
    """A client whose watches give lines as they stand here; the last of them stays open."""

    def __init__(self, *watches: list[bytes | ApiError]) -> None:
        self.watches = list(watches)
        self.listed = 0
        self.asked: list[Mapping[str, str]] = []

    async def list(
        self, path: str, params: Mapping[str, str], *, metadata_only: bool = False
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        self.listed += 1
        yield {"metadata": {"resourceVersion": str(self.listed * 100)}}

    async def watch(
        self, path: str, params: Mapping[str, str], *, metadata_only: bool = False
    ) -> AsyncGenerator[bytes, None]:
        self.asked.append(params)
        yield b""
        if not self.watches:
            await asyncio.get_running_loop().create_future()
        for line in list(self.watches.pop(0)):
            if isinstance(line, ApiError):
                raise line
            yield line


def event(type_: str, version: int, name: str = "a") -> bytes:
    metadata = {"name": name, "namespace": "default", "uid": name, "resourceVersion": str(version)}
    return json.dumps({"type": type_, "object": {"metadata": metadata}}).encode()


def scripted(*watches: list[bytes | ApiError], seconds: float = 100) -> tuple[Script, list[str]]:
    """What a client was asked, and what came of its answers."""
    script = Script(*watches)
    log: list[str] = []

    async def play() -> None:
        reflector = Reflector(script, PATH, {}, lambda _, name, found: log.append(f"{'+' if found else '-'}{name}"))
        task = asyncio.create_task(reflector.run())
        await asyncio.wait({task}, timeout=seconds)
        task.cancel()
        await asyncio.wait({task})

    scenario(play)
    return script, log


def test_a_watch_begins_at_the_last_version_and_asks_for_bookmarks() -> None:
    script, log = scripted([event("ADDED", 101), event("BOOKMARK", 150)], [event("MODIFIED", 160)])
    assert [each["resourceVersion"] for each in script.asked] == ["100", "150", "160"]
    assert {each["allowWatchBookmarks"] for each in script.asked} == {"true"}
    assert all(240 <= int(each["timeoutSeconds"]) <= 360 for each in script.asked)
    assert (log, script.listed) == (["+a", "+a"], 1)


def test_an_error_event_has_everything_listed_again() -> None:
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old", "metadata": {}}
    error = json.dumps({"type": "ERROR", "object": gone}).encode()
    script, log = scripted([event("ADDED", 101), error])
    assert [each["resourceVersion"] for each in script.asked] == ["100", "200"]
    assert log == ["+a", "-a"]


def test_lines_that_are_no_events_have_everything_listed_again() -> None:
    for line in (
        b"{",
        b"[]",
        b"7",
        b'{"type":"ADDED"}',
        b'{"type":"ADDED","object":{"metadata":{}}}',
        b'{"object":{}}',
    ):
        script, _ = scripted([line])
        assert [each["resourceVersion"] for each in script.asked] == ["100", "200"]


def test_an_object_that_is_told_again_is_no_news() -> None:
    _, log = scripted([event("ADDED", 101), event("ADDED", 101), event("DELETED", 103, "never-seen")])
    assert log == ["+a"]


def test_a_server_that_falls_silent_is_asked_again() -> None:
    script, _ = scripted(seconds=400)
    assert len(script.asked) == 3
    assert script.listed == 1


def test_a_server_that_ends_every_watch_is_not_stormed() -> None:
    script, _ = scripted(*([] for _ in range(10_000)), seconds=600)
    assert len(script.asked) < 60


def test_a_server_that_forgets_every_version_is_not_stormed() -> None:
    forgotten: list[bytes | ApiError] = [ApiError(410, "Expired", "too old")]
    script, _ = scripted(*(forgotten for _ in range(10_000)), seconds=600)
    assert script.listed < 60


def test_objects_too_large_for_a_page_are_listed_in_smaller_ones() -> None:
    """Whoever may store objects of a megabyte must not keep us from reading everybody else's."""

    async def play() -> None:
        cluster = Cluster()
        for number in range(40):
            cluster.put(config_map(f"a-{number}"))
        limits = []

        def refuse(asked: Asked) -> ApiError | None:
            limits.append(asked.params.get("limit"))
            too_many = asked.verb == "list" and not 0 < int(asked.params["limit"]) <= 15
            return ApiError(0, "TooLarge", "an answer of more than 16777216 bytes") if too_many else None

        cluster.client.refuse = refuse
        async with reflecting(cluster) as told:
            assert limits[:3] == ["250", "62", "15"]
            assert told.reflector.found is Found.SYNCED
            assert len(told.objects) == 40
            told.reflector.again(anew=True)
            await asyncio.sleep(5)
            assert [each for each in limits[3:] if each is not None] == ["15"]
            assert (told.reflector.found, told.reflector.why) == (Found.SYNCED, "")

    scenario(play)


def test_pauses_grow_and_differ() -> None:
    async def times() -> list[float]:
        cluster = Cluster()
        loop = asyncio.get_running_loop()
        asked: list[float] = []

        def refuse(_: Asked) -> ApiError:
            asked.append(loop.time() - 1000.0)
            return ApiError(0, "", "away")

        cluster.client.refuse = refuse
        reflector = Reflector(cluster.client, PATH, {}, lambda *_: None)
        task = asyncio.create_task(reflector.run())
        await asyncio.wait({task}, timeout=600)
        task.cancel()
        await asyncio.wait({task})
        return asked

    async def play() -> None:
        first, second = await times(), await times()
        assert first != second
        pauses = [later - before for before, later in pairwise(first)]
        assert pauses[0] <= 0.1
        assert all(15 <= pause <= 30 for pause in pauses[6:])

    scenario(play)


def test_a_server_is_not_asked_before_the_time_that_it_says() -> None:
    async def play() -> None:
        cluster = Cluster()
        loop = asyncio.get_running_loop()
        asked: list[float] = []

        def refuse(_: Asked) -> ApiError:
            asked.append(loop.time())
            return ApiError(429, "TooManyRequests", "later", 7.0)

        cluster.client.refuse = refuse
        reflector = Reflector(cluster.client, PATH, {}, lambda *_: None)
        task = asyncio.create_task(reflector.run())
        await asyncio.sleep(1)
        reflector.again()
        await asyncio.sleep(60)
        task.cancel()
        await asyncio.wait({task})
        assert all(later - before >= 7.0 for before, later in pairwise(asked))

    scenario(play)


def test_a_listener_that_fails_stops_nothing() -> None:
    async def play() -> None:
        cluster = Cluster()
        cluster.put(config_map("a"))
        told: list[str] = []

        def take(_: str, name: str, found: dict[str, Any] | None) -> None:
            told.append(name)
            if len(told) == 1:
                raise RuntimeError("an error of ours")

        reflector = Reflector(cluster.client, PATH, {}, take)
        task = asyncio.create_task(reflector.run())
        await reflector.settled.wait()
        cluster.put(config_map("b"))
        await asyncio.sleep(1)
        assert told == ["a", "a", "b"]
        task.cancel()
        await asyncio.wait({task})

    scenario(play)


def test_a_collection_that_must_be_there_keeps_its_objects_whatever_is_answered() -> None:
    """404 is also what a proxy on the way says that does not know better."""

    async def play() -> None:
        cluster = Cluster()
        cluster.put(config_map("a"))
        async with reflecting(cluster) as told:
            cluster.client.refuse = lambda asked: ApiError(404, "NotFound", "no such site")
            cluster.client.cut()
            await asyncio.sleep(100)
            assert (told.reflector.found, list(told.objects)) == (Found.SYNCED, ["a"])
            assert told.reflector.why == "no such site (404 NotFound)"

    scenario(play)


def test_the_loop_goes_on_while_a_long_list_is_read() -> None:
    async def play() -> None:
        cluster = Cluster()
        for number in range(200):
            cluster.put(config_map(f"c-{number}"))
        loop = asyncio.get_running_loop()
        turns = 0

        def take(*_: object) -> None:
            loop._clock.now += 0.001  # type: ignore[attr-defined]

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        reflector = Reflector(cluster.client, PATH, {}, take)
        both = [asyncio.create_task(reflector.run()), asyncio.create_task(others())]
        await reflector.settled.wait()
        assert turns >= 40
        for task in both:
            task.cancel()
        await asyncio.wait(both)

    scenario(play)


NAMES = st.sampled_from("abcd")
STEPS = st.one_of(
    st.tuples(st.just("put"), NAMES),
    st.tuples(st.just("delete"), NAMES),
    st.tuples(st.just("status"), NAMES),
    st.tuples(st.sampled_from(["cut", "compact", "down", "up", "wait", "redefine", "follow"]), st.just("")),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_whatever_happens_what_was_told_is_what_the_server_has(steps: list[tuple[str, str]]) -> None:
    async def play() -> None:
        cluster = Cluster()
        collection = ("gateway.networking.k8s.io", "httproutes")
        async with following(cluster) as follower:
            for number, (step, name) in enumerate(steps):
                there = {each["metadata"]["name"] for each in cluster.store.objects(collection)}
                match step:
                    case "put":
                        cluster.put(route(name, f"/{number}"))
                    case "delete" if name in there:
                        cluster.delete(route(name))
                    case "status" if name in there:
                        cluster.status(route(name), {"parents": [{"n": number}]})
                    case "cut":
                        cluster.client.cut()
                    case "compact":
                        cluster.store.compact()
                    case "down":
                        cluster.client.refuse = lambda asked: ApiError(0, "", "away")
                        cluster.client.cut()
                    case "up":
                        cluster.client.refuse = lambda asked: None
                    case "redefine":
                        cluster.store.redefine(collection)
                        cluster.store.changed()
                    case "wait":
                        await asyncio.sleep(1)
                    case "follow":
                        await follower.settle(0.5)
            cluster.client.refuse = lambda asked: None
            await follower.settle(60)
            had = {
                (each["metadata"]["name"], each["metadata"]["uid"], each["metadata"]["generation"]): each
                for each in cluster.store.objects(collection)
            }
            routes = {key: each for key, each in follower.objects.items() if key.kind == "HTTPRoute"}
            metadata = [each.metadata for each in routes.values()]
            assert {(each.name, each.uid, each.generation) for each in metadata} == set(had)
            statuses = follower.provider.statuses
            for raw in had.values():
                key = next(key for key in routes if key.name == raw["metadata"]["name"])
                stored = statuses.stored(key)
                assert stored is not None
                assert stored.status == raw.get("status", {})
            assert follower.said() == []

    scenario(play)
