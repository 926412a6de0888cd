"""Objects from manifest files and folders of them, read again as they change."""

import asyncio
import errno
import gc
import logging
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from os import sep
from pathlib import Path

from watchfiles import awatch

from app.providers.again import Parts, read_again
from app.providers.base import Change, Place
from app.providers.documents import Span
from app.providers.folders import (
    ChangingError,
    Scan,
    Signature,
    is_settled,
    read_at_once,
    read_file,
    read_settled,
    reason,
    scan,
    signature_of,
)
from app.providers.inotify import Inotify
from app.providers.manifests import Definition, Manifests, lines_of, too_large, unusable
from app.providers.yamltext import steps
from routes.problems import Problem
from routes.resources.meta import Key, Resource
from routes.resources.scheme import ExtensionKinds

_log = logging.getLogger(__name__)

#: Seconds in which changes that come soon after another are gathered, and for which a file that somebody has begun to
#: write is left alone.
_GATHER = 0.05
#: Milliseconds between two looks of watchfiles, where inotify is not to be had. Its thread holds up the event loop's
#: each time: every 10 ms that costs a tenth of the CPU time under load.
_STEP_MS = 100
#: So many changed files of so many bytes are read in the event loop, in a few milliseconds. A thread would get at the
#: interpreter only when the event loop lets go of it, which under load is every 5 ms.
_FEW, _SMALL = 4, 16 * 2**10


@dataclass(frozen=True, slots=True)
class _Placed:
    """An object and where it is written. ``line`` 0 and ``span`` None: it is what the file said before."""

    resource: Resource
    line: int
    span: Span | None


_NO_PARTS = Parts()


@dataclass(frozen=True, slots=True)
class _File:
    """What is held of a file. ``signature`` None: there was no reading it, and it is tried again at every scan.

    ``settled`` False: it was read so soon after it was written that another content may have the same signature.
    """

    signature: Signature | None = None
    settled: bool = True
    objects: Mapping[Key, _Placed] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    parts: Parts = _NO_PARTS


@dataclass(frozen=True, slots=True)
class _State:
    """Everything a `FileProvider` knows. Never changed, only replaced.

    ``files`` is the set of files by path; all else follows from it and from the scan. ``owners`` has the file that
    each served object is taken from, ``rivals`` all files that an object is in, in order, where these are several.
    ``troubled`` are the files with problems of their own.
    """

    files: Mapping[str, _File] = field(default_factory=dict)
    scan: Scan = field(default_factory=Scan)
    owners: Mapping[Key, str] = field(default_factory=dict)
    rivals: Mapping[Key, tuple[str, ...]] = field(default_factory=dict)
    troubled: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()

    def served(self, key: Key) -> Resource | None:
        """The object of this key, if there is one."""
        owner = self.owners.get(key)
        return self.files[owner].objects[key].resource if owner is not None else None


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
                async for look in looks:
                    if isinstance(look, _State):
                        change = self._adopt(look)
                    else:
                        change = await self._refresh() if look is None else await self._read_again(look)
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
        return self._adopt(await self._survey())

    async def _survey(self) -> _State:
        return await asyncio.to_thread(_survey, self._state, self._paths, self._read, self._extensions)

    def _adopt(self, state: _State) -> Change | None:
        before, self._state = self._state, state
        return _difference(before, self._state, dict.fromkeys(chain(before.owners, self._state.owners)))

    async def _read_again(self, files: Sequence[str]) -> Change | None:
        """The same where it is known that only ``files`` have changed, and that these are written to their end."""
        before = self._state
        look = (before, files, self._read, self._extensions)
        if len(files) <= _FEW and all(_size(path) <= _SMALL for path in files):
            self._state = _reread(*look)
        else:
            self._state = await asyncio.to_thread(_reread, *look)
        return _difference(before, self._state, dict.fromkeys(chain(_keys(files, before), _keys(files, self._state))))

    def _interval(self) -> float:
        return self._rescan_missing if self._state.scan.missing else self._rescan

    async def _looks(self, interval: float) -> AsyncGenerator[Sequence[str] | _State | None, None]:
        """Yields each time there is something to look at: the files that have changed, or None for everything.

        Everything first once all is watched, so that no change falls between, and after ``interval`` seconds without:
        then what was found is yielded, as a change that is notified of does not wait for that.
        """
        try:
            watch = Inotify(sorted(folder.path for folder in self._state.scan.folders))
        except OSError as error:
            if error.errno != errno.ENOSYS:
                _log.debug("no inotify: %s", error)
            async with aclosing(self._looks_of_watchfiles(interval)) as looks:
                async for _ in looks:
                    yield None
            return
        with watch:
            self._unwatched = False
            yield None
            while True:
                await watch.wait(interval)
                happened = watch.take()
                if not happened:
                    survey = asyncio.ensure_future(self._survey())
                    try:
                        await watch.wait(None, survey)
                        if survey.done():
                            yield survey.result()
                            continue
                        happened = watch.take()
                    finally:
                        survey.cancel()
                if not happened.lost and not happened.paths:
                    if self._state.scan.files_at(happened.begun) == []:
                        continue
                    await watch.wait(_GATHER)  # for the end of what was begun
                    happened.add(watch.take())
                if not happened or happened.lost or self._state.scan.files_at(happened.begun - happened.paths) != []:
                    yield None
                elif (files := self._state.scan.files_at(happened.paths)) != []:
                    yield files
                else:
                    continue
                # Who changes a thousand files is served the first of them at once, and then many together.
                await asyncio.sleep(_GATHER)

    async def _looks_of_watchfiles(self, interval: float) -> AsyncGenerator[None, None]:
        watch = awatch(
            *sorted(folder.path for folder in self._state.scan.folders),
            watch_filter=lambda _, path: self._state.scan.concerns(path),
            debounce=int(_GATHER * 1000),
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
        elif old.signature == signature and old.settled:
            files[path] = old
        else:
            files[path] = _load(path, old, lambda path: read_settled(path, read), extensions)
    for path, old in before.files.items():
        if path not in files and any(path == folder or path.startswith(folder + sep) for folder in found.unlisted):
            files[path] = old
    found.files = {}

    owners: dict[Key, str] = {}
    rivals: dict[Key, tuple[str, ...]] = {}
    for path in sorted(files):
        for key in files[path].objects:
            if owners.setdefault(key, path) != path:
                rivals[key] = (*rivals.get(key, (owners[key],)), path)
    troubled = frozenset(path for path, file in files.items() if file.problems)
    return _State(files, found, owners, rivals, troubled, _problems(files, found, rivals, troubled))


def _reread(before: _State, paths: Sequence[str], read: Callable[[str], bytes], extensions: ExtensionKinds) -> _State:
    """Reads ``paths`` alone, or forgets those that are gone. Everything else stays."""
    files, rivals = dict(before.files), dict(before.rivals)
    moved: dict[Key, str | None] = {}
    for path in paths:
        old = files.pop(path, _File())
        if os.path.lexists(path):
            files[path] = _load(
                path, old, lambda path: read_at_once(path, read) or read_settled(path, read), extensions
            )
        new = files.get(path, _File())
        for key in old.objects.keys() | new.objects.keys():
            # Who has it: those who had it, but for this file, which may have it now.
            owner = moved.get(key, before.owners.get(key))
            there = {*rivals.pop(key, (owner,))} - {None, path} | ({path} if key in new.objects else set())
            files_of_it = tuple(sorted(filter(None, there)))
            if len(files_of_it) > 1:
                rivals[key] = files_of_it
            if (now := next(iter(files_of_it), None)) != owner:
                moved[key] = now
    owners = before.owners
    if moved:
        owners = {**owners, **{key: owner for key, owner in moved.items() if owner is not None}}
        for key in moved:
            if moved[key] is None:
                owners.pop(key, None)
    troubled = before.troubled
    if changed := {path for path in paths if bool((file := files.get(path)) and file.problems) != (path in troubled)}:
        troubled ^= changed
    return _State(files, before.scan, owners, rivals, troubled, _problems(files, before.scan, rivals, troubled))


def _difference(before: _State, after: _State, keys: Iterable[Key]) -> Change | None:
    """What became different of the objects of ``keys``, and of all problems; None if nothing did."""
    upserts: list[Resource] = []
    deletes: list[Key] = []
    for key in keys:
        old, new = before.served(key), after.served(key)
        if new is None and old is not None:
            deletes.append(key)
        elif new is not None and old is not new and old != new:
            upserts.append(new)
    if not upserts and not deletes and after.problems == before.problems:
        return None
    return Change(tuple(upserts), tuple(deletes), after.problems)


def _keys(paths: Sequence[str], state: _State) -> Iterator[Key]:
    return (key for path in paths if (file := state.files.get(path)) is not None for key in file.objects)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _problems(
    files: Mapping[str, _File], found: Scan, rivals: Mapping[Key, tuple[str, ...]], troubled: frozenset[str]
) -> tuple[Problem, ...]:
    """All problems, in the order of files."""
    problems = list(found.problems)
    late: dict[str, dict[Key, str]] = {}
    for key, (owner, *others) in rivals.items():
        for path in others:
            late.setdefault(path, {})[key] = owner
    for path in sorted(troubled | late.keys()):
        problems += files[path].problems
        mine = late.get(path, {})
        for key, placed in files[path].objects.items() if mine else ():
            if key in mine:
                at = files[mine[key]].objects[key].line
                place = f"{mine[key]}:{at}" if at else mine[key]
                message = f"is defined in {place} already: this definition is passed over"
                problems.append(Problem(message, key=key, file=path, line=placed.line))
    return tuple(problems)


def _load(path: str, old: _File, read: Callable[[str], tuple[Signature, bytes]], extensions: ExtensionKinds) -> _File:
    try:
        signature, data = read(path)
    except ChangingError as error:
        return _merge(path, old, None, unusable(path, str(error)))
    except OSError as error:
        return _merge(path, old, None, unusable(path, reason(error)))
    if large := too_large(signature.size):
        return _merge(path, old, signature, unusable(path, large))
    before = {
        key: Definition(placed.resource, placed.line, placed.span)
        for key, placed in (old.objects.items() if old.parts.known else ())
        if placed.span is not None
    }
    with _uncollected():
        manifests, parts = read_again(data, path, extensions, old.parts, before)
        return replace(_merge(path, old, signature, manifests), parts=parts)


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
    settled = signature is not None and is_settled(signature)
    return _File(signature, settled, objects, tuple(_noted(now.problems, kept)))


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
