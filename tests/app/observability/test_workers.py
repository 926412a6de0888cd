"""What workers write into their folder, and what is read of it, whoever ended in between."""

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from app.observability import workers
from app.observability.counting import Counter, LoadKey, Present
from app.observability.workers import Share, Told

PRESENT = Present({"default/g:80"}, {"a/r/0"}, {"a/r"}, {"b"})


def worker(folder: Path, requests: int, *, port: str = "default/g:80", rule: str = "a/r/0") -> Share:
    counter = Counter((0.1,))
    for _ in range(requests):
        counter.load(port, rule, "b").count("GET", "1.1", 200, 1, 2, 3)
    share = Share(folder, counter)
    share.write({"failed": 1}, {"clients": [], "endpoints": []})
    return share


def requests(told: Told) -> int:
    return sum(sum(cell.buckets) for load in told.loads.values() for cell in load.cells.values())


def test_each_knows_what_the_others_wrote(tmp_path: Path) -> None:
    one, two = worker(tmp_path, 3), worker(tmp_path, 4)
    assert requests(one.read(PRESENT)) == 4
    assert requests(two.read(PRESENT)) == 3
    assert len(one.read(PRESENT).living) == 1


def test_nothing_is_lost_or_twice_there_when_workers_end(tmp_path: Path) -> None:
    ends = [worker(tmp_path, 3), worker(tmp_path, 4)]
    asks = worker(tmp_path, 0)
    for number, share in enumerate(ends, 1):
        share.close()
        for _ in range(3):
            told = asks.read(PRESENT)
            assert requests(told) == 7
            assert told.sums == {"failed": 2}
            assert len(told.living) == 2 - number
    assert {path.stem for path in tmp_path.glob("*.json")} == {"ended", asks._name}


def test_an_end_in_the_middle_of_summing_counts_nothing_twice(tmp_path: Path) -> None:
    gone, asks = worker(tmp_path, 3), worker(tmp_path, 0)
    gone.close()
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert requests(asks.read(PRESENT)) == 3
    for path, content in kept.items():  # as though it had come to the sums, and not to the files
        if path.stem not in ("ended", "turn"):
            path.write_bytes(content)
    assert requests(asks.read(PRESENT)) == 3
    last = worker(tmp_path, 2)
    last.close()
    assert requests(asks.read(PRESENT)) == 5


def test_what_is_gone_has_no_name_in_what_others_told(tmp_path: Path) -> None:
    asks = worker(tmp_path, 0)
    others = [worker(tmp_path, 1, rule="a/r/1"), worker(tmp_path, 1, rule="x/y/0"), worker(tmp_path, 1, port="old:1")]
    told = asks.read(PRESENT)
    assert set(told.loads) == {
        LoadKey("default/g:80", "a/r/", "b"),
        LoadKey("default/g:80", "", "b"),
        LoadKey("", "a/r/0", "b"),
    }
    assert len(others) == 3


def test_the_folder_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_bases", lambda: iter([tmp_path]))
    folder = workers.place(os.getpid())
    assert folder is not None
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert workers.place(os.getpid()) == folder
    folder.chmod(0o755)
    assert workers.place(os.getpid()) is None
    shutil.rmtree(folder)
    folder.symlink_to(tempfile.gettempdir())
    assert workers.place(os.getpid()) is None
    folder.unlink()
    stale = tmp_path / f"moongate-{os.getuid()}-{os.getpid()}-1"
    stale.mkdir()
    assert workers.place(os.getpid()) == folder
    assert not stale.exists()
    workers.remove(os.getpid())
    assert not folder.exists()


def test_where_nothing_can_be_written_there_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_bases", lambda: iter([tmp_path / "missing"]))
    assert workers.place(os.getpid()) is None
