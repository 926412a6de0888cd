"""Real folders, real notifications. What is waited for is a change, never a time."""

import asyncio
import errno
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.providers import watching
from app.providers.base import Change, Place, Provider
from app.providers.file import FileProvider
from app.providers.folders import Scan, read_file, scan
from routes.problems import Problem
from routes.resources.core import ConfigMap
from routes.resources.meta import Key, Resource

NEVER = 600.0


@pytest.fixture(autouse=True, params=["inotify", "watchfiles"])
def way_of_watching(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of this holds with either: inotify in the event loop, and where that is not to be had watchfiles."""

    def none(*_: object) -> None:
        raise OSError(errno.ENOSYS, "not here")

    if request.param == "watchfiles" or not sys.platform.startswith("linux"):
        monkeypatch.setattr(watching, "Inotify", none)


def config(*names: str, value: str = "x", kind: str = "ConfigMap") -> str:
    return "---\n".join(
        f"apiVersion: v1\nkind: {kind}\nmetadata:\n  name: {name}\ndata:\n  a: {value}\n" for name in names
    )


def key(name: str) -> Key:
    return Key("", "ConfigMap", "default", name)


def replace(path: Path, text: str) -> None:
    """Writes a file the way careful programs do: aside, then over the old one."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text)
    aside.replace(path)


class Follower:
    """A consumer: applies changes to a set of objects."""

    def __init__(self, provider: FileProvider) -> None:
        self.provider = provider
        self.objects: dict[Key, Resource] = {}
        self.problems: tuple[Problem, ...] = ()
        self._changes: AsyncGenerator[Change, None] = provider.changes()

    def apply(self, change: Change) -> Change:
        assert not {resource.key for resource in change.upserts} & set(change.deletes)
        for gone in change.deletes:
            del self.objects[gone]
        for resource in change.upserts:
            assert self.objects.get(resource.key) != resource, "an upsert that changes nothing"
            self.objects[resource.key] = resource
        assert change.problems is not None
        assert change.upserts or change.deletes or change.problems != self.problems
        self.problems = change.problems
        return change

    async def next(self) -> Change:
        return self.apply(await asyncio.wait_for(anext(self._changes), 10))

    async def until(self, expected: dict[str, str]) -> None:
        """Follows until the objects are these, by name and value."""
        while self.values() != expected:
            await self.next()

    def values(self) -> dict[str, str]:
        values = {}
        for key, resource in self.objects.items():
            assert isinstance(resource, ConfigMap)
            values[key.name] = resource.data["a"]
        return values

    def said(self) -> list[str]:
        return [str(problem) for problem in self.problems]

    async def close(self) -> None:
        await self._changes.aclose()


@asynccontextmanager
async def following(*paths: Path, **options: Any) -> AsyncIterator[Follower]:
    """A follower of a provider that looks by itself only if the test asks for that."""
    follower = Follower(FileProvider(paths, **{"rescan": NEVER, "rescan_missing": NEVER, **options}))
    try:
        load = await follower.provider.load()
        if load.upserts or load.problems:
            follower.apply(load)
        yield follower
    finally:
        await follower.close()


async def warm(follower: Follower, folder: Path) -> None:
    """Waits until the watch is known to work, so that what follows is found by it and not by the first look."""
    for name in ("warm", "warmer"):
        replace(folder / "zz-warm.yaml", config(name))
        await follower.until({**{n: v for n, v in follower.values().items() if "warm" not in n}, name: "x"})
    (folder / "zz-warm.yaml").unlink()
    await follower.until({n: v for n, v in follower.values().items() if "warm" not in n})


def scenario(play: Callable[[], Awaitable[None]]) -> None:
    async def within_time() -> None:
        await asyncio.wait_for(play(), 60)

    asyncio.run(within_time())


def test_it_is_a_provider(tmp_path: Path) -> None:
    provider: Provider = FileProvider([tmp_path])
    assert provider.name == "files"
    assert asyncio.run(provider.load()) == Change((), (), ())
    assert asyncio.run(FileProvider([]).load()) == Change((), (), ())


def test_objects_of_somebody_elses_kind_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    text = "apiVersion: example.com/v1\nkind: RateLimit\nmetadata: {name: a}\nspec: {perSecond: 5}\n"
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(text.replace("name: a", "name: b") + "bad: field\n")
    assert asyncio.run(FileProvider([tmp_path]).load()).upserts == ()
    change = asyncio.run(FileProvider([tmp_path], extensions=frozenset({("example.com", "RateLimit")})).load())
    assert [str(resource.key) for resource in change.upserts] == ["RateLimit default/a"]
    assert [str(problem.key) for problem in change.problems or ()] == ["RateLimit default/b"]


# --- which files


def test_folders_are_read_with_their_sub_folders(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "x.yaml").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "a.yaml").write_text(config("a"))
    (tmp_path / "b.yml").write_text(config("b"))
    (tmp_path / "c.json").write_text('{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"x"}}')
    (tmp_path / "deep" / "er" / "D.YAML").write_text(config("d"))
    (tmp_path / "x.yaml" / "e.yaml").write_text(config("e"))
    for passed_over in ("f.txt", ".g.yaml", ".git/h.yaml", "i.yaml~", "yaml"):
        (tmp_path / passed_over).write_text(config("no"))

    async def play() -> None:
        async with following(tmp_path) as follower:
            assert follower.said() == []
            assert sorted(follower.values()) == ["a", "b", "c", "d", "e"]

    scenario(play)


def test_a_path_of_its_own_is_read_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / ".manifests").write_text(config("a"))

    async def play() -> None:
        async with following(tmp_path / ".manifests") as follower:
            assert follower.values() == {"a": "x"}

    scenario(play)


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.yaml").write_text("kind: 1\n")
    monkeypatch.chdir(tmp_path)

    async def play() -> None:
        async with following(Path("conf")) as follower:
            assert follower.problems[0].file == os.path.join("conf", "a.yaml")
            replace(tmp_path / "conf" / "a.yaml", config("a"))
            await follower.until({"a": "x"})

    scenario(play)


def test_circles_of_links_and_files_with_two_names(tmp_path: Path) -> None:
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "a.yaml").write_text(config("a"))
    (folder / "b.yaml").symlink_to("a.yaml")
    (folder / "circle").symlink_to(folder)
    (folder / "self.yaml").symlink_to("self.yaml")

    async def play() -> None:
        async with following(folder, folder / "a.yaml", tmp_path) as follower:
            assert follower.values() == {"a": "x"}
            (problem,) = follower.said()
            assert problem.startswith(f"{folder}/self.yaml: error: cannot be read: Too many levels")

    scenario(play)


def test_a_link_to_nothing_is_reported_until_there_is_something(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "conf" / "a.yaml").symlink_to("../elsewhere/a.txt")

    async def play() -> None:
        async with following(tmp_path / "conf") as follower:
            assert follower.said() == [f"{tmp_path}/conf/a.yaml: error: is a link to a file that does not exist"]
            await warm(follower, tmp_path / "conf")
            (tmp_path / "elsewhere" / "a.txt").write_text(config("a"))
            await follower.until({"a": "x"})
            assert follower.said() == []
            (tmp_path / "elsewhere" / "a.txt").write_text(config("a", value="in place"))
            await follower.until({"a": "in place"})

    scenario(play)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")

    async def play() -> None:
        async with following(tmp_path) as follower:
            assert follower.said() == [f"{tmp_path}/a.yaml: error: is neither a file nor a folder"]

    scenario(play)


def test_which_changes_of_a_shared_folder_matter(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "a.yaml").write_text(config("a"))
    found = scan([tmp_path / "a.yaml", tmp_path / "conf"])
    assert found.concerns(str(tmp_path / "a.yaml"))
    assert found.concerns(str(tmp_path / "conf"))
    assert found.concerns(str(tmp_path / "conf" / "anything"))
    assert not found.concerns(str(tmp_path / "b.yaml"))


# --- changes


def test_files_are_written_renamed_over_and_deleted(tmp_path: Path) -> None:
    async def play() -> None:
        async with following(tmp_path) as follower:
            await warm(follower, tmp_path)
            (tmp_path / "a.yaml").write_text(config("a", "b"))
            await follower.until({"a": "x", "b": "x"})
            replace(tmp_path / "a.yaml", config("a", value="y") + "---\n" + config("b"))
            change = await follower.next()
            assert [resource.key for resource in change.upserts] == [key("a")]
            assert change.deletes == ()
            assert follower.values() == {"a": "y", "b": "x"}
            replace(tmp_path / "a.yaml", config("c"))
            change = await follower.next()
            assert change.deletes == (key("a"), key("b"))
            assert follower.values() == {"c": "x"}
            (tmp_path / "a.yaml").rename(tmp_path / "b.yaml")
            replace(tmp_path / "c.yaml", config("d"))
            await follower.until({"c": "x", "d": "x"})
            (tmp_path / "b.yaml").unlink()
            await follower.until({"d": "x"})
            assert follower.said() == []

    scenario(play)


def test_a_file_of_its_own_is_followed_over_renames_and_deletion(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(config("a"))

    async def play() -> None:
        async with following(path) as follower:
            for value in ("1", "2", "3"):
                replace(path, config("a", value=f'"{value}"'))
                await follower.until({"a": value})
            path.unlink()
            await follower.until({})
            assert follower.said() == [f"{path}: error: no such file or folder; it is read as soon as it appears"]
            path.write_text(config("a"))
            await follower.until({"a": "x"})
            assert follower.said() == []

    scenario(play)


def test_what_changes_between_load_and_watch_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(config("a"))

    async def play() -> None:
        async with following(tmp_path) as follower:
            replace(tmp_path / "a.yaml", config("a", value="y"))
            await follower.until({"a": "y"})

    scenario(play)


def test_a_config_map_is_swapped_at_once(tmp_path: Path) -> None:
    def version(name: str, *objects: str) -> None:
        (tmp_path / name).mkdir()
        for index, value in enumerate(objects):
            (tmp_path / name / f"{index}.yaml").write_text(config(f"object-{index}", value=value))
        (tmp_path / "..data_tmp").symlink_to(name)
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")

    version("..2026_01", "old", "old")
    for index in range(2):
        (tmp_path / f"{index}.yaml").symlink_to(Path("..data") / f"{index}.yaml")

    async def play() -> None:
        async with following(tmp_path) as follower:
            assert follower.values() == {"object-0": "old", "object-1": "old"}
            for round_ in range(3):
                version(f"..2026_02_{round_}", f"new-{round_}", f"new-{round_}")
                change = await follower.next()
                assert len(change.upserts) == 2
                assert set(follower.values().values()) == {f"new-{round_}"}
            assert follower.said() == []

    scenario(play)


def test_a_parent_that_is_a_link_is_pointed_elsewhere(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "trees" / name / "conf").mkdir(parents=True)
        (tmp_path / "trees" / name / "conf" / "a.yaml").write_text(config("a", value=name))
    current = tmp_path / "current"
    current.symlink_to("trees/one")

    async def play() -> None:
        async with following(current / "conf") as follower:
            await warm(follower, tmp_path / "trees" / "one" / "conf")
            (tmp_path / "aside").symlink_to("trees/two")
            (tmp_path / "aside").replace(current)
            await follower.until({"a": "two"})
            replace(tmp_path / "trees" / "two" / "conf" / "a.yaml", config("a", value="three"))
            await follower.until({"a": "three"})

    scenario(play)


def test_new_sub_folders_are_watched_and_lost_ones_forgotten(tmp_path: Path) -> None:
    async def play() -> None:
        async with following(tmp_path) as follower:
            await warm(follower, tmp_path)
            for round_ in range(3):
                (tmp_path / "sub" / "folder").mkdir(parents=True)
                (tmp_path / "sub" / "folder" / "a.yaml").write_text(config("a", value=f"made-{round_}"))
                await follower.until({"a": f"made-{round_}"})
                replace(tmp_path / "sub" / "folder" / "a.yaml", config("a", value="changed"))
                await follower.until({"a": "changed"})
                (tmp_path / "sub" / "folder").rename(tmp_path / "moved")
                (tmp_path / "moved" / "b.yaml").write_text(config("b"))
                await follower.until({"a": "changed", "b": "x"})
                for path in ("moved/a.yaml", "moved/b.yaml"):
                    (tmp_path / path).unlink()
                (tmp_path / "moved").rmdir()
                (tmp_path / "sub").rmdir()
                await follower.until({})

    scenario(play)


def test_a_path_that_does_not_exist_is_read_when_it_appears(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet"

    async def play() -> None:
        async with following(path, tmp_path / "nor.yaml", rescan_missing=0.05) as follower:
            assert follower.objects == {}
            assert follower.said() == [
                f"{path}: error: no such file or folder; it is read as soon as it appears",
                f"{tmp_path}/nor.yaml: error: no such file or folder; it is read as soon as it appears",
            ]
            path.mkdir(parents=True)
            (path / "a.yaml").write_text(config("a"))
            await follower.until({"a": "x"})
            assert [problem.file for problem in follower.problems] == [f"{tmp_path}/nor.yaml"]
            (tmp_path / "nor.yaml").write_text(config("b"))
            await follower.until({"a": "x", "b": "x"})
            assert follower.said() == []

    scenario(play)


def test_files_are_looked_at_where_they_cannot_be_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unwatchable(*paths: str, **options: Any) -> AsyncGenerator[set[Any], None]:
        raise OSError("OS file watch limit reached")
        yield set()

    monkeypatch.setattr(watching, "awatch", unwatchable)

    async def play() -> None:
        async with following(tmp_path, rescan=0.02) as follower:
            for value in ("one", "two"):
                replace(tmp_path / "a.yaml", config("a", value=value))
                await follower.until({"a": value})

    scenario(play)


def test_a_change_that_no_notification_tells_is_found_by_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scan, "concerns", lambda *_: False)

    async def play() -> None:
        async with following(tmp_path, rescan=0.02) as follower:
            for value in ("one", "two", "three"):
                replace(tmp_path / "a.yaml", config("a", value=value))
                await follower.until({"a": value})

    scenario(play)


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    try:
        (tmp_path / "\udcff").mkdir()
    except (OSError, UnicodeError):
        pytest.skip("no such names here")
    (tmp_path / "\udcff" / "a.yaml").write_text(config("no"))
    (tmp_path / "\udcfe").write_text("no manifest")

    async def play() -> None:
        async with following(tmp_path, tmp_path / "\udcff", rescan=0.05) as follower:
            await warm(follower, tmp_path)
            # the watcher itself fails over such a name, and not for good
            (tmp_path / "b\udcff.yaml").write_text(config("no"))
            (tmp_path / "c.yaml").write_text(config("c"))
            await follower.until({"c": "x"})
            assert [said.removeprefix(str(tmp_path)) for said in follower.said()] == [
                "/b�.yaml: error: has a name that is not UTF-8: rename it",
                "/�: error: has a name that is not UTF-8: rename it",
                "/�: error: has a name that is not UTF-8: rename it",
            ]

    scenario(play)


def test_iteration_ends_when_cancelled(tmp_path: Path) -> None:
    async def play() -> None:
        provider = FileProvider([tmp_path])
        await provider.load()

        async def consume() -> None:
            async with aclosing(provider.changes()) as changes:
                async for _ in changes:
                    raise AssertionError("nothing changed")

        for steps in (0, 1, 2, 3, 50):
            task = asyncio.create_task(consume())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 5)

    scenario(play)


# --- what is read again, and what counts as a change


def counting(reads: list[str]) -> Callable[[str], bytes]:
    def read(path: str) -> bytes:
        reads.append(os.path.basename(path))
        return read_file(path)

    return read


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    reads: list[str] = []
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.yaml").write_text(config(name))

    async def play() -> None:
        async with following(tmp_path, read=counting(reads)) as follower:
            assert reads == ["a.yaml", "b.yaml", "c.yaml"]
            replace(tmp_path / "b.yaml", config("b", value="y"))
            await follower.until({"a": "x", "b": "y", "c": "x"})
            assert reads[3:] == ["b.yaml"]
            (tmp_path / "c.yaml").unlink()
            await follower.until({"a": "x", "b": "y"})
            assert reads[3:] == ["b.yaml"]

    scenario(play)


def test_an_equal_object_stays_the_same_instance_and_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(config("a", "b"))

    async def play() -> None:
        async with following(tmp_path) as follower:
            before = dict(follower.objects)
            replace(tmp_path / "a.yaml", "# only a comment\n" + config("a", "b"))
            (tmp_path / "b.yaml").touch()
            assert (await follower.next()).upserts == ()  # the empty file's problem, and nothing of the comment
            assert all(follower.objects[key] is before[key] for key in before)
            replace(tmp_path / "b.yaml", "# moved\n" + (tmp_path / "a.yaml").read_text())
            (tmp_path / "a.yaml").unlink()
            await follower.next()
            assert follower.values() == {"a": "x", "b": "x"}
            assert all(follower.objects[key] is before[key] for key in before)

    scenario(play)


def test_two_writes_within_one_tick_of_the_clock(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(config("a", value="aaa"))

    async def play() -> None:
        async with following(path) as follower:
            for value in ("bbb", "ccc", "ddd"):
                path.write_text(config("a", value="eee"))
                path.write_text(config("a", value=value))
                await follower.until({"a": value})

    scenario(play)


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(config("a", value="old"))
    reads: list[str] = []

    def read(name: str) -> bytes:
        data = read_file(name)
        reads.append(name)
        if len(reads) == 1:
            path.write_text(config("a", value="newer"))
        return data

    async def play() -> None:
        async with following(path, read=read) as follower:
            assert follower.values() == {"a": "newer"}
            assert len(reads) == 2

    scenario(play)


def test_a_file_that_never_stops_changing(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(config("a"))
    busy = False
    writes = 0

    def read(name: str) -> bytes:
        nonlocal writes
        if busy:
            writes += 1
            path.write_text(config("a", "b", value=f'"{"y" * writes}"'))
        return read_file(name)

    async def play() -> None:
        nonlocal busy
        async with following(path, read=read, rescan=0.05) as follower:
            busy = True
            path.write_text(config("a", value="z"))
            await follower.next()
            assert follower.values() == {"a": "x"}
            assert follower.said() == [
                f"{path}: error: is being written to: it is read as soon as it stays as it is"
                " (1 object from before kept)"
            ]
            busy = False
            await follower.next()
            assert set(follower.values()) == {"a", "b"}
            assert follower.said() == []

    scenario(play)


# --- what is wrong


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("a: b: c\n", "a.yaml:1: error: is not YAML: mapping values are not allowed in this context"),
        ("", "a.yaml: error: holds no objects; delete the file to take its objects away"),
        ("# all gone\n", "a.yaml: error: holds no objects; delete the file to take its objects away"),
        ("\x00", "a.yaml:1: error: holds a control character, which YAML does not allow"),
        (config("a") + "---\n[", "a.yaml:8: error: is not YAML: while parsing a flow node"),
    ],
)
def test_a_broken_file_keeps_its_objects(tmp_path: Path, broken: str, words: str) -> None:
    (tmp_path / "a.yaml").write_text(config("a", "b"))

    async def play() -> None:
        async with following(tmp_path) as follower:
            before = dict(follower.objects)
            replace(tmp_path / "a.yaml", broken)
            change = await follower.next()
            assert (change.upserts, change.deletes) == ((), ())
            assert follower.objects == before
            (said,) = follower.said()
            assert said.startswith(f"{tmp_path}/{words}")
            assert said.endswith(" (2 objects from before kept)")
            replace(tmp_path / "a.yaml", config("a", value="mended"))
            await follower.next()
            assert follower.values() == {"a": "mended"}
            assert follower.said() == []

    scenario(play)


def test_a_file_that_was_never_good_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(config("a") + "---\n[")
    (tmp_path / "b.yaml").write_text(config("b"))

    async def play() -> None:
        async with following(tmp_path) as follower:
            assert follower.values() == {"b": "x"}
            assert len(follower.problems) == 1
            assert "before" not in follower.said()[0]

    scenario(play)


def test_an_invalid_object_keeps_its_last_good_version(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(config("a", "b", "c"))

    async def play() -> None:
        async with following(path) as follower:
            replace(path, config("a", value="y") + "---\n" + config("b", value="[1]"))
            await follower.next()
            assert follower.values() == {"a": "y", "b": "x"}
            (said,) = follower.said()
            assert said.startswith(f"{path}:13: error: ConfigMap default/b data.a: ")
            assert said.endswith(" (its last good version is kept)")
            assert await follower.provider.locate([(key("b"), "data.a")]) == [Place(str(path), 8)]
            replace(path, config("b", value="[2]"))
            await follower.next()
            assert follower.values() == {"b": "x"}
            replace(path, config("b", value="z"))
            await follower.until({"b": "z"})
            assert follower.said() == []

    scenario(play)


def test_an_object_that_cannot_be_told_keeps_all_that_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(config("a", "b"))

    async def play() -> None:
        async with following(path) as follower:
            replace(path, config("a", value="y") + "---\n" + config("b", kind="ConfigMop"))
            await follower.next()
            assert follower.values() == {"a": "y", "b": "x"}
            assert follower.said()[0].endswith(" (1 object from before kept)")

    scenario(play)


def test_files_that_cannot_be_read_keep_their_objects(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(config("a"))
    locked = False

    def read(name: str) -> bytes:
        if locked:
            raise PermissionError(13, "Permission denied")
        return read_file(name)

    async def play() -> None:
        nonlocal locked
        async with following(path, read=read, rescan=0.05) as follower:
            locked = True
            replace(path, config("a", value="y"))
            await follower.next()
            assert follower.values() == {"a": "x"}
            assert follower.said() == [f"{path}: error: cannot be read: Permission denied (1 object from before kept)"]
            locked = False  # nothing else changes, as with chmod
            await follower.until({"a": "y"})
            assert follower.said() == []

    scenario(play)


def test_a_folder_that_cannot_be_listed_keeps_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub" / "folder").mkdir(parents=True)
    (tmp_path / "sub" / "folder" / "a.yaml").write_text(config("a"))
    (tmp_path / "sub-way.yaml").write_text(config("b"))
    list_folder = os.scandir
    locked = False

    def listing(path: Any = ".") -> Any:
        if locked and path == str(tmp_path / "sub"):
            raise PermissionError(13, "Permission denied")
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", listing)

    async def play() -> None:
        nonlocal locked
        async with following(tmp_path, rescan=0.05) as follower:
            locked = True
            (tmp_path / "sub-way.yaml").unlink()
            await follower.until({"a": "x"})
            assert follower.said() == [f"{tmp_path}/sub: error: cannot be read: Permission denied"]
            locked = False
            await follower.next()
            assert follower.values() == {"a": "x"}
            assert follower.said() == []

    scenario(play)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    reads: list[str] = []
    path = tmp_path / "a.yaml"
    path.write_text(config("a"))

    async def play() -> None:
        async with following(tmp_path, read=counting(reads)) as follower:
            replace(path, "- some text\n" * (50 * 2**20 // 12))
            await follower.next()
            assert reads == ["a.yaml"]
            assert follower.values() == {"a": "x"}
            assert follower.said() == [
                f"{path}: error: has 50.0 MiB, and files above 32 MiB are not read: split it into several files"
                " (1 object from before kept)"
            ]

    scenario(play)


# --- one object in two files


def test_the_first_file_wins_and_hands_over(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(config("same", value="b"))
    (tmp_path / "c.yaml").write_text("\n\n" + config("same", value="c"))

    async def play() -> None:
        async with following(tmp_path) as follower:
            assert follower.values() == {"same": "b"}
            assert follower.said() == [
                f"{tmp_path}/c.yaml:3: error: ConfigMap default/same: is defined in {tmp_path}/b.yaml:1 already: "
                "this definition is passed over"
            ]
            assert await follower.provider.locate([(key("same"), "data")]) == [Place(f"{tmp_path}/b.yaml", 5)]
            replace(tmp_path / "a.yaml", config("same", value="a"))
            await follower.next()
            assert follower.values() == {"same": "a"}
            assert [problem.file for problem in follower.problems] == [f"{tmp_path}/b.yaml", f"{tmp_path}/c.yaml"]
            (tmp_path / "a.yaml").unlink()
            await follower.until({"same": "b"})
            (tmp_path / "b.yaml").unlink()
            change = await follower.next()
            assert change.deletes == ()
            assert follower.values() == {"same": "c"}
            assert follower.said() == []

    scenario(play)


# --- places


def test_locate(tmp_path: Path) -> None:
    reads: list[str] = []
    path = tmp_path / "a.yaml"
    path.write_text(config("a", "b", "c"))
    item = '{"apiVersion": "v1",\n"kind": "ConfigMap",\n"metadata": {"name": "d"},\n"data": {"a": "x"}}'
    (tmp_path / "b.json").write_text('{"apiVersion": "v1", "kind": "List", "items": [\n' + item + "]}")

    async def play() -> None:
        async with following(tmp_path, read=counting(reads)) as follower:

            async def lines(asked: Sequence[tuple[str, str]]) -> list[tuple[str, int]]:
                places = await follower.provider.locate([(key(name), field) for name, field in asked])
                return [(os.path.basename(place.file), place.line) for place in places]

            del reads[:]
            asked = [("b", "data.a"), ("a", ""), ("d", "data.a"), ("c", "metadata.name"), ("b", "kind"), ("no", "kind")]
            expected = [("a.yaml", 13), ("a.yaml", 1), ("b.json", 5), ("a.yaml", 18), ("a.yaml", 9), ("", 0)]
            assert await lines(asked) == expected
            assert sorted(reads) == ["a.yaml", "b.json"]
            assert await lines([("d", "")]) == [("b.json", 2)]
            assert await lines([]) == []
            path.write_text("\n\n" + config("a", "b"))  # not noticed yet: the object's line is all that is known
            assert await lines([("b", "data.a")]) == [("a.yaml", 8)]
            await follower.next()
            assert await lines([("b", "data.a")]) == [("a.yaml", 15)]
            path.unlink()
            assert await lines([("b", "data.a")]) == [("a.yaml", 10)]

    scenario(play)
