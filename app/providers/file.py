"""Objects from manifest files and folders of them, read again as they change."""

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from os import sep
from pathlib import Path

from watchfiles import awatch

from app.providers.base import Change, Place
from app.providers.documents import Span
from app.providers.folders import ChangingError, Scan, Signature, read_file, read_settled, reason, scan, signature_of
from app.providers.manifests import Manifests, lines_of, read_manifests, too_large, unusable
from app.providers.yamltext import steps
from routes.problems import Problem
from routes.resources.meta import Key, Resource
from routes.resources.scheme import ExtensionKinds

_log = logging.getLogger(__name__)

_DEBOUNCE_MS = 50
#: Milliseconds between two looks of the watcher. Its thread holds up the event loop's each time: every 10 ms that costs
#: a tenth of the CPU time under load.
_STEP_MS = 100


@dataclass(frozen=True, slots=True)
class _Placed:
    """An object and where it is written. ``line`` 0 and ``span`` None: it is what the file said before."""

    resource: Resource
    line: int
    span: Span | None


@dataclass(frozen=True, slots=True)
class _File:
    """What is held of a file. ``signature`` None: there was no reading it, and it is tried again at every scan."""

    signature: Signature | None = None
    objects: Mapping[Key, _Placed] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _State:
    """Everything a `FileProvider` knows. Never changed, only replaced.

    ``files`` is the set of files by path; all else follows from it and from the scan. ``owners`` has the file that
    each served object is taken from.
    """

    files: Mapping[str, _File] = field(default_factory=dict)
    scan: Scan = field(default_factory=Scan)
    served: Mapping[Key, Resource] = field(default_factory=dict)
    owners: Mapping[Key, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


class FileProvider:
    """Serves the objects in ``paths``: files, whatever their names, and folders' YAML and JSON files, sub-folders too.

    - A file that cannot be read keeps the objects it had, and so does an object that is wrong in a file that can.
    - A deleted file takes its objects away.
    - Of an object in two files, the one in the file whose path sorts first is served. When it goes, the other is.
    - An object that was read again and is equal stays the same instance.

    ``rescan`` and ``rescan_missing`` are the seconds between looks at the files where no change is notified of, the
    second while one of ``paths`` does not exist. ``read`` gets a file's bytes. ``extensions`` are the groups and kinds
    of other people's objects that are read as well.
    """

    name = "files"

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        rescan: float = 5.0,
        rescan_missing: float = 1.0,
        read: Callable[[str], bytes] = read_file,
        extensions: ExtensionKinds = frozenset(),
    ) -> None:
        self._paths = tuple(paths)
        self._extensions = extensions
        self._rescan = rescan
        self._rescan_missing = rescan_missing
        self._read = read
        self._state = _State()
        self._unwatched = False

    async def load(self) -> Change:
        """Reads all files. Never raises for what is wrong with them: that is in the problems."""
        return await self._refresh() or Change(problems=self._state.problems)

    async def changes(self) -> AsyncGenerator[Change, None]:
        """What changed since `load`, one change for what happened together, and none where nothing came of it."""
        while True:
            watched, interval = self._state.scan.folders, self._interval()
            async with aclosing(self._looks(interval)) as looks:
                async for _ in looks:
                    change = await self._refresh()
                    if change:
                        yield change
                    if (self._state.scan.folders, self._interval()) != (watched, interval):
                        break

    async def locate(self, places: Sequence[tuple[Key, str]]) -> list[Place]:
        """The lines of objects' fields; each file is read once. Where a file was changed since, or says nothing valid
        of the object, the line is that of the object or 0."""
        return await asyncio.to_thread(_locate, self._state, tuple(places), self._read)

    async def _refresh(self) -> Change | None:
        """Brings the state up to date; what came of it, or None. The only place that changes what is held.

        The work is done on the side from a state that stays as it is, and the result is put in place at once, so that
        a cancellation in between leaves nothing half done.
        """
        before = self._state
        after = await asyncio.to_thread(_survey, before, self._paths, self._read, self._extensions)
        self._state = after
        upserts = tuple(resource for key, resource in after.served.items() if before.served.get(key) is not resource)
        deletes = tuple(key for key in before.served if key not in after.served)
        if not upserts and not deletes and after.problems == before.problems:
            return None
        return Change(upserts, deletes, after.problems)

    def _interval(self) -> float:
        return self._rescan_missing if self._state.scan.missing else self._rescan

    async def _looks(self, interval: float) -> AsyncGenerator[None, None]:
        """Yields each time the files have to be looked at: first once they are watched, so that no change falls
        between, then after changes, and after ``interval`` seconds without."""
        watch = awatch(
            *sorted(folder.path for folder in self._state.scan.folders),
            watch_filter=lambda _, path: self._state.scan.concerns(path),
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            rust_timeout=max(1, int(interval * 1000)),
            yield_on_timeout=True,
            # The scan finds the sub-folders, and unlike the watcher it also follows links that are made later.
            recursive=False,
            ignore_permission_denied=True,
        )
        first = asyncio.ensure_future(anext(watch))
        try:
            await asyncio.sleep(0)  # the watch begins with the first step of its generator
            yield
            await first
            self._unwatched = False
            yield
            async for _ in watch:
                yield
        except Exception as error:  # no watches left, a folder that went away, a name that is not UTF-8, and more
            if not self._unwatched:
                _log.warning("cannot watch the manifests, looking every %g s: %s", interval, error)
            self._unwatched = True
            await asyncio.sleep(interval)
        finally:
            first.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await first
            await watch.aclose()


def _survey(before: _State, paths: Sequence[Path], read: Callable[[str], bytes], extensions: ExtensionKinds) -> _State:
    """Looks at all files and reads those that changed."""
    found = scan(paths)
    files: dict[str, _File] = {}
    for path, signature in found.files.items():
        old = before.files.get(path, _File())
        if isinstance(signature, str):
            files[path] = _merge(path, old, None, unusable(path, signature))
        elif old.signature == signature:
            files[path] = old
        else:
            files[path] = _load(path, old, read, extensions)
    for path, old in before.files.items():
        if path not in files and any(path == folder or path.startswith(folder + sep) for folder in found.unlisted):
            files[path] = old

    served: dict[Key, Resource] = {}
    owners: dict[Key, str] = {}
    problems = list(found.problems)
    for path in sorted(files):
        problems += files[path].problems
        for key, placed in files[path].objects.items():
            owner = owners.setdefault(key, path)
            if owner == path:
                served[key] = _same(before.served.get(key), placed.resource)
            else:
                at = files[owner].objects[key].line
                place = f"{owner}:{at}" if at else owner
                message = f"is defined in {place} already: this definition is passed over"
                problems.append(Problem(message, key=key, file=path, line=placed.line))
    return _State(files, found, served, owners, tuple(problems))


def _load(path: str, old: _File, read: Callable[[str], bytes], extensions: ExtensionKinds) -> _File:
    try:
        signature, data = read_settled(path, read)
    except ChangingError as error:
        return _merge(path, old, None, unusable(path, str(error)))
    except OSError as error:
        return _merge(path, old, None, unusable(path, reason(error)))
    if large := too_large(signature.size):
        return _merge(path, old, signature, unusable(path, large))
    with _uncollected():
        return _merge(path, old, signature, read_manifests(data, path, extensions))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Holds the cycle collector back. A large file is millions of live objects without a cycle among them; going
    through them again and again triples the time, and each time stops the event loop, for up to a second."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _merge(path: str, old: _File, signature: Signature | None, now: Manifests) -> _File:
    """What is held of a file after it was read: what it says, and of what it says wrongly what it said before."""
    objects: dict[Key, _Placed] = {}
    for definition in now.objects:
        key = definition.resource.key
        last = old.objects.get(key)
        resource = _same(last.resource if last else None, definition.resource)
        objects[key] = _Placed(resource, definition.line, definition.span)
    kept: set[Key] = set()
    for key, last in old.objects.items():
        if key not in objects and (key in now.failed or not now.complete):
            objects[key] = replace(last, line=now.failed.get(key, 0), span=None)
            kept.add(key)
    return _File(signature, objects, tuple(_noted(now.problems, kept)))


def _same(old: Resource | None, new: Resource) -> Resource:
    return old if old is not None and (old is new or old == new) else new


def _noted(problems: Sequence[Problem], kept: set[Key]) -> list[Problem]:
    """The problems with a word on what is kept for their sake, once for each object and once for all that is left."""
    named = kept & {problem.key for problem in problems if problem.key is not None}
    unnamed = len(kept - named)
    noted = []
    for problem in problems:
        words = ""
        if problem.key in named:
            named.discard(problem.key)
            words = " (its last good version is kept)"
        elif unnamed and problem.key not in kept:
            words = f" ({unnamed} {'object' if unnamed == 1 else 'objects'} from before kept)"
            unnamed = 0
        noted.append(replace(problem, message=problem.message + words))
    return noted


def _locate(state: _State, places: Sequence[tuple[Key, str]], read: Callable[[str], bytes]) -> list[Place]:
    found = [Place("", 0)] * len(places)
    wanted: dict[str, list[tuple[int, int, Span, str]]] = {}
    for index, (key, field_) in enumerate(places):
        path = state.owners.get(key)
        if path is None:
            continue
        placed = state.files[path].objects[key]
        found[index] = Place(path, placed.line)
        if placed.span is not None and (field_ or not placed.line):
            wanted.setdefault(path, []).append((placed.span.start, index, placed.span, field_))
    for path, fields in wanted.items():
        try:
            text = read(path)
            if signature_of(path) != state.files[path].signature:
                continue  # it was changed since, and soon all of this is asked again
        except OSError:
            continue
        lines = lines_of(text)
        for _, index, span, field_ in sorted(fields, key=lambda each: each[:2]):  # an object's fields in a row
            found[index] = Place(path, lines.of(span, steps(field_)))
    return found
