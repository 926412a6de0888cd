"""Reading a file of many documents again: only those that are not word for word as they were are decoded anew."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from app.providers.manifests import MAX_BYTES, Definition, Manifests, read_manifests
from routes.resources.meta import Key
from routes.resources.scheme import ExtensionKinds

#: Characters below which a file is read as a whole.
_SMALL = 2**16

#: YAML takes this for the beginning of a document wherever it stands at the beginning of a line.
_BEGIN = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
#: What reaches beyond its document (anchors, directives, and the end of one that another can follow without "---"), and
#: what ends a line for YAML alone.
_FAR_REACHING = re.compile("&|^[%.]|\r(?!\n)|[\x85\u2028\u2029]", re.MULTILINE)


class _Part(NamedTuple):
    """A document of a text: ``text[start:end]``, from line ``line`` on."""

    start: int
    end: int
    line: int


@dataclass(frozen=True, slots=True)
class Parts:
    """Which object came of which document: by the hash of its words its key, and where the document began."""

    known: Mapping[int, tuple[Key, int, int]] = field(default_factory=dict)


def read_again(
    data: bytes, file: str, extensions: ExtensionKinds, parts: Parts, before: Mapping[Key, Definition]
) -> tuple[Manifests, Parts]:
    """What :func:`read_manifests` says, and what it takes to be quick about it the next time.

    ``parts`` and ``before`` are what came of it the last time. Where anything is wrong, all is read as if for the first
    time: which of two definitions counts, and what of a file can be used, takes all of it.
    """
    text = _divisible(data, file)
    if text is None:
        return read_manifests(data, file, extensions), Parts()
    divided = list(_parts(text))
    kept: dict[Key, Definition] = {}
    rest: list[str] = []
    for part in divided:
        words = text[part.start : part.end]
        key, start, line = parts.known.get(hash(words), (None, 0, 0))
        if key is None or key not in before or key in kept:
            rest.append(words)
            continue
        kept[key] = _moved(before[key], part.start - start, part.line - line)
        # A comment of as many characters and lines, so that all others stay where they are.
        lines = words.count("\n")
        rest.append("#" * (len(words) - lines) + "\n" * lines)
    others = "".join(rest)
    now = read_manifests(others, file, extensions) if not kept or others.strip("#\n") else NOTHING
    if kept and (now.problems or any(each.resource.key in kept for each in now.objects)):
        now, kept = read_manifests(text, file, extensions), {}
    objects = tuple(sorted((*kept.values(), *_within(divided, now.objects)), key=_place)) if kept else now.objects
    found = Manifests(objects, now.problems, now.failed, now.complete)
    return found, Parts() if found.problems else _learnt(text, divided, objects)


NOTHING = Manifests((), (), {}, complete=True)


def _divisible(data: bytes, file: str) -> str | None:
    """The text, if its documents can be told apart without reading them and are worth it."""
    if len(data) < _SMALL or len(data) > MAX_BYTES or file.endswith(".json"):
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if _FAR_REACHING.search(text) else text


def _parts(text: str) -> Iterator[_Part]:
    begins = [match.start() for match in _BEGIN.finditer(text)]
    if not begins or begins[0]:
        begins.insert(0, 0)
    line = 1
    for start, end in zip(begins, [*begins[1:], len(text)], strict=True):
        yield _Part(start, end, line)
        line += text.count("\n", start, end)


def _within(parts: Sequence[_Part], objects: Sequence[Definition]) -> Iterator[Definition]:
    """The objects, none of which ends behind its document: in YAML one may end where the next begins, blanks away."""
    starts = [part.start for part in parts]
    for each in objects:
        end = parts[bisect_right(starts, each.span.start) - 1].end
        yield each if each.span.end <= end else replace(each, span=replace(each.span, end=end))


def _place(definition: Definition) -> int:
    return definition.span.start


def _moved(definition: Definition, characters: int, lines: int) -> Definition:
    if not characters and not lines:
        return definition
    span = definition.span
    moved = replace(span, start=span.start + characters, end=span.end + characters, line=span.line + lines)
    return Definition(definition.resource, definition.line + lines, moved)


def _learnt(text: str, parts: list[_Part], objects: Sequence[Definition]) -> Parts:
    """The documents of one object each."""
    known: dict[int, tuple[Key, int, int]] = {}
    pending = iter(objects)
    each = next(pending, None)
    for part in parts:
        inside = []
        while each is not None and each.span.start < part.end:
            inside.append(each)
            each = next(pending, None)
        if len(inside) == 1 and not inside[0].span.path:
            known[hash(text[part.start : part.end])] = (inside[0].resource.key, part.start, part.line)
    return Parts(known)
