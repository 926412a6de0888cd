"""What several workers have counted, in files of a folder that is theirs alone.

Each worker writes all that it has counted into a file of its own, about once a second and when it ends, and holds a
lock as long as it lives. Whoever is asked reads the others' files. A worker without its lock has ended, be it by
SIGKILL: its file becomes part of the sums in ``ended``, which so never get smaller.
"""

import fcntl
import json
import logging
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from app.observability.counting import Cell, CellKey, Counter, Load, LoadKey, Present

logger = logging.getLogger(__name__)

#: Seconds between two writes.
PERIOD: Final = 1.0

_PREFIX: Final = "moongate-"
_ENDED: Final = "ended"
#: Loads that are worked on before the event loop has its turn.
_PIECE: Final = 256


def place(parent: int) -> Path | None:
    """The folder for the workers of the process ``parent``, made if need be; None where nothing can be written.

    The name says when the process began, so that another with its number never gets what is left of it.
    """
    for base in _bases():
        folder = base / f"{_PREFIX}{os.getuid()}-{parent}-{_begun(parent)}"
        with suppress(OSError):
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
                _sweep(base)
                return folder
    return None


def remove(parent: int) -> None:
    """Leave nothing of the folder for the workers of ``parent``, which have ended."""
    for base in _bases():
        folder = base / f"{_PREFIX}{os.getuid()}-{parent}-{_begun(parent)}"
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)


def _bases() -> Iterator[Path]:
    # Memory, where there is a folder for that: it can be written also where the rest of the system cannot.
    if os.access("/dev/shm", os.W_OK | os.X_OK):  # noqa: S108 - what is made there is checked
        yield Path("/dev/shm")  # noqa: S108
    with suppress(OSError):
        yield Path(tempfile.gettempdir())


def _begun(process: int) -> str:
    """When a process began, in the kernel's own unit; "0" where the system does not tell."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "0"


def _sweep(base: Path) -> None:
    """Remove what processes left that had no chance to, or no way of knowing."""
    for folder in base.glob(f"{_PREFIX}{os.getuid()}-*"):
        process, _, begun = folder.name.removeprefix(f"{_PREFIX}{os.getuid()}-").partition("-")
        if process.isdigit() and begun != "0" and _begun(int(process)) != begun:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class Told:
    """What the other workers have told: ``loads`` of all that there were, and the rest of each that lives.

    ``sums`` are numbers by name, of all that there were."""

    loads: dict[LoadKey, Load] = field(default_factory=dict)
    living: list[Mapping[str, Any]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)


class Share:
    """One worker's part in the folder. All of it blocks, and is for a thread."""

    def __init__(self, folder: Path, counter: Counter) -> None:
        self._folder = folder
        self._counter = counter
        self._bounds = range(len(counter.buckets))
        self._name = f"{os.getpid()}-{time.monotonic_ns()}"
        self._lines: dict[LoadKey, tuple[Load, int, bytes]] = {}
        self._turn = threading.Lock()
        with self._alone():
            self._lock = os.open(self._path("lock"), os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def write(self, sums: Mapping[str, float], more: Mapping[str, Any]) -> None:
        """Write down what has been counted. ``sums`` go on when the worker has ended, ``more`` does not."""
        with self._turn:
            lines: dict[LoadKey, tuple[Load, int, bytes]] = {}
            for number, (key, load) in enumerate(list(self._counter.loads.items())):
                if number % _PIECE == _PIECE - 1:
                    time.sleep(0.0002)
                before = self._lines.get(key)
                if before is None or before[0] is not load or load.changed or before[1] != load.in_flight:
                    load.changed = False
                    flying = load.in_flight
                    before = load, flying, _line(key, load, flying)
                lines[key] = before
            self._lines = lines
            head = json.dumps({"sums": sums, **more}).encode()
            self._replace(self._name, [head, *(line for _, _, line in lines.values())])

    def read(self, present: Present) -> Told:
        """What the others have written, without what is gone."""
        told = Told()
        with self._turn, self._alone():
            self._bury(present)
            for name in self._names():
                if name != self._name:
                    head = self._add(name, told, present)
                    if name != _ENDED:
                        told.living.append(head)
        return told

    def close(self) -> None:
        """The worker has ended, and has written for the last time."""
        with self._turn:
            os.close(self._lock)

    def _bury(self, present: Present) -> None:
        """Add the files of those that have ended to the sums of all that have. Under the folder's lock."""
        names = [name for name in self._names() if name not in (_ENDED, self._name) and self._has_ended(name)]
        if not names:
            return
        told = Told()
        # Where this was interrupted, a file may be left that the sums have already.
        buried = set(self._add(_ENDED, told, present).get("buried", ()))
        for name in names:
            if name not in buried:
                self._add(name, told, present)
        lines = []
        for key, load in told.loads.items():
            load.in_flight = 0
            lines.append(_line(key, load, 0))
        self._replace(_ENDED, [json.dumps({"sums": told.sums, "buried": names}).encode(), *lines])
        for name in names:
            for suffix in ("json", "new", "lock"):
                self._path(suffix, name).unlink(missing_ok=True)

    def _has_ended(self, name: str) -> bool:
        try:
            lock = os.open(self._path("lock", name), os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(lock)

    def _names(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def _add(self, name: str, told: Told, present: Present) -> Mapping[str, Any]:
        try:
            lines = self._path("json", name).read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        head: dict[str, Any] = json.loads(lines[0])
        for sum_, value in head.pop("sums").items():
            told.sums[sum_] = told.sums.get(sum_, 0) + value
        for number, line in enumerate(lines[1:]):
            if number % _PIECE == _PIECE - 1:
                time.sleep(0.0002)
            (port, rule, backend), flying, retries, ejections, cells = json.loads(line)
            key = present.key(LoadKey(port, rule, backend))
            load = told.loads.get(key)
            if load is None:
                load = told.loads[key] = Load(self._bounds)
            load.in_flight += flying
            load.retries += retries
            load.ejections += ejections
            for method, protocol, status, duration, received, sent, buckets in cells:
                part = Cell(len(self._bounds))
                part.duration, part.received, part.sent, part.buckets = duration, received, sent, buckets
                load.cell(CellKey(method, protocol, status)).add(part)
        return head

    def _replace(self, name: str, lines: list[bytes]) -> None:
        new = self._path("new", name)
        with open(new, "wb", opener=_privately) as file:
            file.write(b"\n".join(lines))
        new.replace(self._path("json", name))

    def _path(self, suffix: str, name: str = "") -> Path:
        return self._folder / f"{name or self._name}.{suffix}"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = os.open(self._folder / "turn", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _line(key: LoadKey, load: Load, flying: int) -> bytes:
    port, rule, backend = key
    cells = [(*name, cell.duration, cell.received, cell.sent, cell.buckets) for name, cell in list(load.cells.items())]
    named = (None if port is None else str(port), rule, backend)
    return json.dumps((named, flying, load.retries, load.ejections, cells), separators=(",", ":")).encode()
