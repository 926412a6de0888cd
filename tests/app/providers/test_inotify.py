"""What the file provider makes of notifications: which files it looks at, and which it leaves alone."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.providers import folders, held
from app.providers.folders import Scan, read_file
from app.providers.inotify import Inotify
from tests.app.providers.test_file_provider import config, following, replace

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


def run(play: Callable[[], Awaitable[None]]) -> None:
    async def within_time() -> None:
        await asyncio.wait_for(play(), 60)

    asyncio.run(within_time())


def test_a_file_is_whole_when_it_is_closed_or_renamed_or_gone(tmp_path: Path) -> None:
    async def play() -> None:
        with Inotify([str(tmp_path)]) as watch:
            with (tmp_path / "a").open("w") as file:
                await watch.wait(None)
                begun = watch.take()
                assert (begun.paths, begun.begun, begun.lost) == (set(), {str(tmp_path / "a")}, False)
                file.write("x")
            await watch.wait(None)
            assert watch.take().paths == {str(tmp_path / "a")}
            os.replace(tmp_path / "a", tmp_path / "b")
            (tmp_path / "b").unlink()
            assert watch.take().paths == {str(tmp_path / "a"), str(tmp_path / "b")}
            assert not watch.take()

    run(play)


def test_after_a_folder_came_or_went_everything_has_to_be_looked_at(tmp_path: Path) -> None:
    async def play() -> None:
        with Inotify([str(tmp_path)]) as watch:
            (tmp_path / "folder").mkdir()
            assert watch.take().lost
        with Inotify([str(tmp_path / "folder")]) as watch:
            (tmp_path / "folder").rmdir()
            assert watch.take().lost

    run(play)


def test_what_cannot_be_watched_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ("nothing", "file"):
        with pytest.raises(OSError):
            Inotify([str(tmp_path / path)])


def test_of_many_files_only_the_one_that_changed_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        (tmp_path / f"{name}.yaml").write_text(config(name))
    scans: list[object] = []
    read: list[str] = []
    scan = folders.scan

    def counted(*paths: object) -> Scan:
        scans.append(paths)
        return scan(*paths)  # type: ignore[arg-type]

    def reading(path: str) -> bytes:
        read.append(Path(path).name)
        return read_file(path)

    async def play() -> None:
        async with following(tmp_path, read=reading) as follower:
            replace(tmp_path / "a.yaml", config("a", value="first"))
            await follower.until({"a": "first", "b": "x", "c": "x"})
            monkeypatch.setattr(held, "scan", counted)
            # The first look may have come before the notice of what it found.
            replace(tmp_path / "a.yaml", config("a", value="second"))
            await follower.until({"a": "second", "b": "x", "c": "x"})
            read.clear()
            replace(tmp_path / "b.yaml", config("b", value="y"))
            await follower.until({"a": "second", "b": "y", "c": "x"})
            (tmp_path / "c.yaml").unlink()
            await follower.until({"a": "second", "b": "y"})
            (tmp_path / "d.yaml").write_text(config("d"))
            await follower.until({"a": "second", "b": "y", "d": "x"})
            assert scans == []
            assert set(read) == {"b.yaml", "d.yaml"}

    run(play)
