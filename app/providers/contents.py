"""What is held of one file: what it says, and of what it says wrongly what it said before."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from app.providers.again import Parts, read_again
from app.providers.documents import Span
from app.providers.folders import ChangingError, Signature, is_settled, reason
from app.providers.manifests import Definition, Manifests, too_large, unusable
from routes.problems import Problem
from routes.resources.meta import Key, Resource
from routes.resources.scheme import ExtensionKinds


@dataclass(frozen=True, slots=True)
class Placed:
    """An object and where it is written. ``line`` 0 and ``span`` None: it is what the file said before."""

    resource: Resource
    line: int
    span: Span | None


_NO_PARTS = Parts()


@dataclass(frozen=True, slots=True)
class File:
    """What is held of a file. ``signature`` None: there was no reading it, and it is tried again at every scan.

    ``settled`` False: it was read so soon after it was written that another content may have the same signature.
    """

    signature: Signature | None = None
    settled: bool = True
    objects: Mapping[Key, Placed] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    parts: Parts = _NO_PARTS


def load(path: str, old: File, read: Callable[[str], tuple[Signature, bytes]], extensions: ExtensionKinds) -> File:
    """Read a file of which ``old`` is held. What is wrong with it is in its problems."""
    try:
        signature, data = read(path)
    except ChangingError as error:
        return merge(path, old, None, unusable(path, str(error)))
    except OSError as error:
        return merge(path, old, None, unusable(path, reason(error)))
    if large := too_large(signature.size):
        return merge(path, old, signature, unusable(path, large))
    before = {
        key: Definition(placed.resource, placed.line, placed.span)
        for key, placed in (old.objects.items() if old.parts.known else ())
        if placed.span is not None
    }
    with _uncollected():
        manifests, parts = read_again(data, path, extensions, old.parts, before)
        return replace(merge(path, old, signature, manifests), parts=parts)


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


def merge(path: str, old: File, signature: Signature | None, now: Manifests) -> File:
    """What is held of a file after it was read: what it says, and of what it says wrongly what it said before."""
    objects: dict[Key, Placed] = {}
    for definition in now.objects:
        key = definition.resource.key
        last = old.objects.get(key)
        resource = _same(last.resource if last else None, definition.resource)
        objects[key] = Placed(resource, definition.line, definition.span)
    kept: set[Key] = set()
    for key, last in old.objects.items():
        if key not in objects and (key in now.failed or not now.complete):
            objects[key] = replace(last, line=now.failed.get(key, 0), span=None)
            kept.add(key)
    settled = signature is not None and is_settled(signature)
    return File(signature, settled, objects, tuple(_noted(now.problems, kept)))


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
