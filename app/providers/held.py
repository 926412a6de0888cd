"""What is held of all files: which of them each object is served from, and what comes of reading some again."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.providers.base import Change, Place
from app.providers.contents import File, load, merge
from app.providers.documents import Span
from app.providers.folders import Scan, read_at_once, read_settled, scan, signature_of
from app.providers.manifests import lines_of, unusable
from app.providers.yamltext import steps
from routes.problems import Problem
from routes.resources.meta import Key, Resource
from routes.resources.scheme import ExtensionKinds


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of all files. Never changed, only replaced.

    ``files`` is the set of files by path; all else follows from it and from the scan. ``owners`` has the file that
    each served object is taken from, ``rivals`` all files that an object is in, in order, where these are several.
    ``troubled`` are the files with problems of their own.
    """

    files: Mapping[str, File] = field(default_factory=dict)
    scan: Scan = field(default_factory=Scan)
    owners: Mapping[Key, str] = field(default_factory=dict)
    rivals: Mapping[Key, tuple[str, ...]] = field(default_factory=dict)
    troubled: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()

    def served(self, key: Key) -> Resource | None:
        """The object of this key, if there is one."""
        owner = self.owners.get(key)
        return self.files[owner].objects[key].resource if owner is not None else None


def survey(before: Held, paths: Sequence[Path], read: Callable[[str], bytes], extensions: ExtensionKinds) -> Held:
    """Looks at all files and reads those that changed."""
    found = scan(paths)
    files: dict[str, File] = {}
    for path, signature in found.files.items():
        old = before.files.get(path, File())
        if isinstance(signature, str):
            files[path] = merge(path, old, None, unusable(path, signature))
        elif old.signature == signature and old.settled:
            files[path] = old
        else:
            files[path] = load(path, old, lambda path: read_settled(path, read), extensions)
    for path, old in before.files.items():
        if path not in files and any(path == folder or path.startswith(folder + os.sep) for folder in found.unlisted):
            files[path] = old
    found.files = {}

    owners: dict[Key, str] = {}
    rivals: dict[Key, tuple[str, ...]] = {}
    for path in sorted(files):
        for key in files[path].objects:
            if owners.setdefault(key, path) != path:
                rivals[key] = (*rivals.get(key, (owners[key],)), path)
    troubled = frozenset(path for path, file in files.items() if file.problems)
    return Held(files, found, owners, rivals, troubled, _problems(files, found, rivals, troubled))


def reread(before: Held, paths: Sequence[str], read: Callable[[str], bytes], extensions: ExtensionKinds) -> Held:
    """Reads ``paths`` alone, or forgets those that are gone. Everything else stays."""
    files, rivals = dict(before.files), dict(before.rivals)
    moved: dict[Key, str | None] = {}
    for path in paths:
        old = files.pop(path, File())
        if os.path.lexists(path):
            files[path] = load(path, old, lambda path: read_at_once(path, read) or read_settled(path, read), extensions)
        new = files.get(path, File())
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
    return Held(files, before.scan, owners, rivals, troubled, _problems(files, before.scan, rivals, troubled))


def difference(before: Held, after: Held, keys: Iterable[Key]) -> Change | None:
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


def keys_in(paths: Sequence[str], state: Held) -> Iterator[Key]:
    """The objects in the files at ``paths``, served from there or not."""
    return (key for path in paths if (file := state.files.get(path)) is not None for key in file.objects)


def locate(state: Held, places: Sequence[tuple[Key, str]], read: Callable[[str], bytes]) -> list[Place]:
    """The line of each object, or of one of its fields; 0 where the file is not what it was when it was read."""
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


def _problems(
    files: Mapping[str, File], found: Scan, rivals: Mapping[Key, tuple[str, ...]], troubled: frozenset[str]
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
