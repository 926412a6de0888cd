"""A manifest file's text to objects and to what is wrong with it. No I/O: the caller has read the file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.providers.documents import Document, Lines, Span, json_documents, yaml_documents
from app.providers.yamltext import Mistake, Path, UnreadableError, steps
from routes.problems import Problem, Severity
from routes.resources.errors import ManifestError, field_name
from routes.resources.meta import Key, Resource
from routes.resources.scheme import SUPPORTED, ExtensionKinds, model_of, not_served, parse

MAX_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Definition:
    """An object, the line it begins on (from 1), and where its text is for `line_of`."""

    resource: Resource
    line: int
    span: Span


@dataclass(frozen=True, slots=True)
class Manifests:
    """What a file says.

    ``failed`` has the keys of objects that are in the file but wrong, with their lines. Where ``complete`` is False
    there is something in the file, or all of it, of which not even the key can be told; an object that used to be in
    the file and is in neither ``objects`` nor ``failed`` may then still be in it.
    """

    objects: tuple[Definition, ...]
    problems: tuple[Problem, ...]
    failed: Mapping[Key, int]
    complete: bool


def read_manifests(text: bytes | str, file: str, extensions: ExtensionKinds = frozenset()) -> Manifests:
    """The objects in a YAML text, or in a JSON one where ``file`` ends with ``.json``. ``file`` names it in problems.

    ``extensions`` are the groups and kinds of other people's objects that are read as well.

    Never raises: what cannot be read is a problem. A file that cannot be read to its end gives no objects at all, so
    that half a file is never taken for the whole.
    """
    try:
        reader = _Reader(file, extensions)
        for document in _documents(text, file):
            reader.add(document)
    except UnreadableError as error:
        return unusable(file, error.message, error.line)
    if not reader.documents:
        return unusable(file, "holds no objects; delete the file to take its objects away")
    return Manifests(tuple(reader.objects.values()), tuple(reader.problems), reader.failed, reader.complete)


def unusable(file: str, message: str, line: int = 0) -> Manifests:
    """What a file says of which nothing can be used."""
    return Manifests((), (Problem(message, file=file, line=line),), {}, complete=False)


def too_large(size: int) -> str:
    """What is wrong with a file of ``size`` bytes, if that is too much; else ""."""
    if size <= MAX_BYTES:
        return ""
    limit = MAX_BYTES // 2**20
    return f"has {size / 2**20:.1f} MiB, and files above {limit} MiB are not read: split it into several files"


def lines_of(text: bytes | str) -> Lines:
    """What finds the lines of fields in ``text``, which is what `read_manifests` read when it gave the spans."""
    return Lines(_decode(text))


def line_of(text: bytes | str, span: Span, field: str) -> int:
    """The line of an object's field, spelled as in `Problem.field`, or of what is around it where it is not there."""
    return lines_of(text).of(span, steps(field))


def _documents(text: bytes | str, file: str) -> Iterator[Document]:
    if reason := too_large(len(text)):
        raise UnreadableError(reason, 0)
    return (json_documents if file.endswith(".json") else yaml_documents)(_decode(text))


def _decode(text: bytes | str) -> str:
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise UnreadableError(f"is not UTF-8: byte {error.start} is no part of a character", line) from None


class _Reader:
    """Takes a file's documents one by one, so that the nodes of only one are in memory."""

    def __init__(self, file: str, extensions: ExtensionKinds) -> None:
        self._file = file
        self._extensions = extensions
        self._lines: dict[Key, int] = {}
        self.documents = 0
        self.objects: dict[Key, Definition] = {}
        self.problems: list[Problem] = []
        self.failed: dict[Key, int] = {}
        self.complete = True

    def add(self, document: Document) -> None:
        """Takes a document; one without content does not count."""
        if document.value is not None or document.mistakes:
            self.documents += 1
            self._read(document, document.value, ())

    def _read(self, document: Document, value: Any, path: Path) -> None:
        if not isinstance(value, dict):
            message = "is not an object: an object is a mapping with apiVersion, kind and metadata"
            found = [mistake for mistake in document.mistakes if _leads(path, mistake.path)]
            self._refuse(document, path, None, found or [Mistake(path, message, document.line(path))])
        elif (items := _items(value)) is None:
            self._read_object(document, value, path)
        else:
            below = len(path) + 2
            of_list = [
                mistake
                for mistake in document.mistakes
                if _leads(path, mistake.path) and (len(mistake.path) < below or mistake.path[below - 2] != "items")
            ]
            if of_list or not isinstance(items, list):
                at = (*path, "items")
                of_list = of_list or [Mistake(at, "must be a list of objects", document.line(at))]
                self._refuse(document, path, None, of_list)
                return
            for index, item in enumerate(items):
                self._read(document, _typed(item, value), (*path, "items", index))

    def _read_object(self, document: Document, value: dict[str, Any], path: Path) -> None:
        mistakes = [mistake for mistake in document.mistakes if _leads(path, mistake.path)]
        if mistakes:
            self._refuse(document, path, value, mistakes)
            return
        try:
            resource = parse(value, extensions=self._extensions)
        except ManifestError as error:
            mistakes = []
            for each in error.errors:
                at = (*path, *each.path)
                mistakes.append(Mistake(at, each.message, document.line(at)))
            self._refuse(document, path, value, mistakes)
            return
        if resource is None and not_served(value):
            self._problem(
                f"{value['kind']} is not served: it has no effect",
                _key(value, self._extensions),
                "",
                document.begins(path),
                Severity.WARNING,
            )
        if resource is not None and self._first(resource.key, document.begins(path)):
            span = document.span(path)
            self.objects[resource.key] = Definition(resource, self._lines[resource.key], span)

    def _refuse(self, document: Document, path: Path, value: Any, mistakes: list[Mistake]) -> None:
        key = _key(value, self._extensions) if isinstance(value, dict) else None
        for mistake in mistakes:
            self._problem(mistake.message, key, field_name(mistake.path), mistake.line)
        if key is None or any(mistake.path[len(path) :] in _IDENTITY for mistake in mistakes):
            self.complete = False
        elif self._first(key, line := document.begins(path)):
            self.failed[key] = line

    def _first(self, key: Key, line: int) -> bool:
        """Whether this is the file's first definition of the object; any other counts for nothing."""
        first = self._lines.setdefault(key, line)
        if key not in self.objects and key not in self.failed:
            return True
        message = f"is defined on line {first} of the same file already: this definition is passed over"
        self._problem(message, key, "", line)
        return False

    def _problem(
        self, message: str, key: Key | None, field: str, line: int, severity: Severity = Severity.ERROR
    ) -> None:
        self.problems.append(Problem(message, severity, key, field, self._file, line))


#: A mistake here leaves open which object it is.
_IDENTITY = {("apiVersion",), ("kind",), ("metadata",), ("metadata", "name"), ("metadata", "namespace")}


def _leads(path: Path, below: Path) -> bool:
    return below[: len(path)] == path


def _items(value: dict[str, Any]) -> Any:
    """What a list of objects holds; None for any other object."""
    kind, version = value.get("kind"), value.get("apiVersion")
    if (kind == "List" and version == "v1") or (isinstance(kind, str) and kind.endswith("List") and "items" in value):
        items = value.get("items")
        return [] if items is None else items
    return None


def _typed(item: Any, of: dict[str, Any]) -> Any:
    """An item of a list as an object of its own: the API server leaves out what a list of one kind says for all."""
    kind = of["kind"].removesuffix("List")
    if isinstance(item, dict) and kind and "kind" not in item and "apiVersion" not in item:
        return {"apiVersion": of.get("apiVersion"), "kind": kind, **item}
    return item


def _key(value: dict[str, Any], extensions: ExtensionKinds) -> Key | None:
    """The key of an object that could not be read, where enough of it can."""
    version, kind, metadata = value.get("apiVersion"), value.get("kind"), value.get("metadata")
    if not (isinstance(version, str) and isinstance(kind, str) and isinstance(metadata, dict)):
        return None
    name, namespace = metadata.get("name"), metadata.get("namespace") or ""
    if not (name and isinstance(name, str) and isinstance(namespace, str)):
        return None
    group = version.rpartition("/")[0]
    # The namespace that `parse` would have given it, had it been written in a version that there is.
    models = (model for (_, known), model in SUPPORTED.items() if known == kind)
    model = model_of(version, kind, extensions) or next(models, None)
    if model is not None:
        namespace = (namespace or "default") if model.namespaced else ""
    return Key(group, kind, namespace, name)
