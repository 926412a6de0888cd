"""Which manifest files there are, and which folders tell when that changes. Everything here blocks: use a thread."""

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from app.providers.manifests import MAX_BYTES
from routes.problems import Problem

SUFFIXES = (".yaml", ".yml", ".json")
#: A file that was written to more recently than this is not read yet: whoever writes may not be done, and a second
#: write within one tick of the file system's clock (10 ms and less) would leave the same signature.
SETTLE_SECONDS = 0.02
_ATTEMPTS = 10
_MAX_LINKS = 40


class Signature(NamedTuple):
    """What tells one content of a file from the next without reading it; of a link, what it leads to counts."""

    modified_ns: int
    size: int
    inode: int
    device: int


class Folder(NamedTuple):
    """A folder to watch. One that was deleted and made again is another one, and has to be watched anew."""

    path: str
    inode: int
    device: int


@dataclass(slots=True)
class Scan:
    """What is there. ``files`` has each file's signature, or the reason why there is no reading it.

    ``unlisted`` are folders that are there but could not be looked into: nothing is known of what is in them.
    ``names`` says which names matter in a folder to watch; None is all of them. ``listed`` are the folders that were
    looked into, by what they really are. ``tangled``: some file has several names, or a link leads there.
    """

    files: dict[str, Signature | str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    folders: set[Folder] = field(default_factory=set)
    names: dict[str, set[str] | None] = field(default_factory=dict)
    listed: dict[str, str] = field(default_factory=dict)
    missing: bool = False
    tangled: bool = False

    def concerns(self, path: str) -> bool:
        """Whether a change of what is at ``path`` can matter; it need not where /tmp is watched for one file's sake."""
        folder, name = os.path.split(path)
        names = self.names.get(folder)
        return names is None or name in names

    def files_at(self, paths: Iterable[str]) -> list[str] | None:
        """The manifest files, there or not, that are meant by ``paths`` in watched folders, by their own names.

        None where it takes a scan to know what became of them.
        """
        found = []
        for path in paths:
            folder, name = os.path.split(path)
            if not self.concerns(path):
                continue
            if self.tangled or folder not in self.listed or not _is_text(name):
                return None
            here = os.path.join(self.listed[folder], name)
            if name.startswith(".") or not name.lower().endswith(SUFFIXES):
                if os.path.islink(here):
                    return None  # to a folder, it may be
                continue
            with suppress(FileNotFoundError):
                if not stat.S_ISREG(os.lstat(here).st_mode):
                    return None
            found.append(here)
        return found


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class ChangingError(OSError):
    """A file was written to each time it was read."""


def scan(paths: Sequence[Path]) -> Scan:
    """The files at ``paths``: a file whatever its name, a folder's and its sub-folders' YAML and JSON files.

    Names that begin with a dot are passed over in folders. Links are followed; what several paths or links lead to is
    there once, under the first of its names.
    """
    found = _Scanner()
    for path in paths:
        found.path(str(path))
    return found.scan


def read_file(path: str) -> bytes:
    """A file's bytes, at most one more than a manifest may have."""
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)


def read_settled(path: str, read: Callable[[str], bytes]) -> tuple[Signature, bytes]:
    """A file's bytes with the signature that goes with them; no bytes where they would be too many.

    Raises:
        ChangingError: it did not stay as it was for long enough to be read.
        OSError: it cannot be read.
    """
    for _ in range(_ATTEMPTS):
        before = signature_of(path)
        if not is_settled(before):
            time.sleep(SETTLE_SECONDS)
            continue
        if (data := _read_as(before, path, read)) is not None:
            return before, data
    raise ChangingError("is being written to: it is read as soon as it stays as it is")


def read_at_once(path: str, read: Callable[[str], bytes]) -> tuple[Signature, bytes] | None:
    """The same for a file of which is known that whoever wrote it is done; None where it is not so.

    Raises:
        OSError: it cannot be read.
    """
    before = signature_of(path)
    data = _read_as(before, path, read)
    return (before, data) if data is not None else None


def is_settled(signature: Signature) -> bool:
    """Whether another content would have another signature."""
    return not 0 <= time.time_ns() - signature.modified_ns < SETTLE_SECONDS * 1e9


def _read_as(before: Signature, path: str, read: Callable[[str], bytes]) -> bytes | None:
    data = b"" if before.size > MAX_BYTES else read(path)
    return data if signature_of(path) == before else None


def signature_of(path: str) -> Signature:
    """The signature of what is at ``path`` now.

    Raises:
        OSError: nothing is there, or nothing can be learnt of it.
    """
    return _signature(os.stat(path))


def reason(error: OSError) -> str:
    """What to say of a file that cannot be read."""
    return f"cannot be read: {error.strerror or error}"


class _Scanner:
    def __init__(self) -> None:
        self.scan = Scan()
        self._seen: set[str] = set()

    def path(self, path: str) -> None:
        if self._unspeakable(path):
            return
        self._watch_way(path)
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            self.scan.missing = True
            self._problem(path, "no such file or folder; it is read as soon as it appears")
            return
        except OSError as error:
            self.scan.unlisted.append(path)
            self._problem(path, reason(error))
            return
        if stat.S_ISDIR(status.st_mode):
            self._tree(path)
        elif self._first(os.path.realpath(path)):
            self._file(path, status)

    def _tree(self, top: str) -> None:
        pending = [top]
        while pending:
            folder = pending.pop()
            real = os.path.realpath(folder)
            if not self._first(real):
                continue
            self._watch(folder)
            self.scan.listed[real] = folder
            try:
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except (FileNotFoundError, NotADirectoryError):
                continue  # it went away between two looks, which its parent tells
            except OSError as error:
                self.scan.unlisted.append(folder)
                self._problem(folder, reason(error))
                continue
            below = [entry.path for entry in entries if not entry.name.startswith(".") and self._entry(entry, real)]
            pending += reversed(below)

    def _entry(self, entry: os.DirEntry[str], folder: str) -> bool:
        """Takes an entry of the real ``folder`` if it is a file; whether it is a folder."""
        wanted = entry.name.lower().endswith(SUFFIXES)
        try:
            if (wanted or entry.is_dir()) and self._unspeakable(entry.path):
                return False
            link = entry.is_symlink()
            if not link and not wanted:
                return entry.is_dir(follow_symlinks=False)
            if link:
                self.scan.tangled = True
                self._watch_way(entry.path)
            status = os.stat(entry.path)
        except OSError as error:
            if wanted and os.path.lexists(entry.path):
                gone = isinstance(error, FileNotFoundError)
                self.scan.files[entry.path] = "is a link to a file that does not exist" if gone else reason(error)
            return False
        if stat.S_ISDIR(status.st_mode):
            return True
        if wanted and self._first(os.path.realpath(entry.path) if link else os.path.join(folder, entry.name)):
            self._file(entry.path, status)
        return False

    def _file(self, path: str, status: os.stat_result) -> None:
        # opening a pipe would wait for someone to write to it
        regular = stat.S_ISREG(status.st_mode)
        self.scan.files[path] = _signature(status) if regular else "is neither a file nor a folder"

    def _unspeakable(self, path: str) -> bool:
        """Whether a path cannot be written in a message or a status page, nor be watched; such a one is not read."""
        try:
            path.encode()
        except UnicodeEncodeError:
            self._problem(os.fsencode(path).decode("utf-8", "replace"), "has a name that is not UTF-8: rename it")
            return True
        return False

    def _first(self, real: str) -> bool:
        """Whether what is really at ``real`` was not met by another name, as happens in circles of links."""
        first = real not in self._seen
        self._seen.add(real)
        self.scan.tangled |= not first
        return first

    def _watch_way(self, path: str) -> None:
        for folder, name in _way(path):
            self._watch(folder, name)

    def _watch(self, folder: str, name: str | None = None) -> None:
        """Has a folder watched, for all its names or for one of them."""
        try:
            status = os.stat(folder)
        except OSError:
            return
        if stat.S_ISDIR(status.st_mode):
            real = os.path.realpath(folder)
            self.scan.folders.add(Folder(real, status.st_ino, status.st_dev))
            names = self.scan.names.setdefault(real, set())
            if name is None or names is None:
                self.scan.names[real] = None
            else:
                names.add(name)

    def _problem(self, path: str, message: str) -> None:
        self.scan.problems.append(Problem(message, file=path))


def _signature(status: os.stat_result) -> Signature:
    return Signature(status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)


def _way(path: str) -> Iterator[tuple[str, str]]:
    """The names, with their folders, that decide what ``path`` leads to: each link on the way, which may be one of its
    parents, and what it leads to in the end."""
    here, *rest = Path(path if os.path.isabs(path) else os.path.join(os.getcwd(), path)).parts
    pending = rest[::-1]
    links = 0
    while pending:
        name = pending.pop()
        if name == "..":
            here = os.path.dirname(here)
            continue
        step = os.path.join(here, name)
        try:
            target = Path(os.readlink(step))
        except OSError:  # no link
            if not pending:
                yield here, name
            here = step
            continue
        yield here, name
        links += 1
        if links > _MAX_LINKS:
            return
        if target.is_absolute():
            here = target.parts[0]
        pending += reversed(target.parts[1:] if target.is_absolute() else target.parts)
