"""YAML and JSON texts as documents, with the line of everything that is in them. Nothing here knows Kubernetes."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.nodes import Node

from app.providers.yamltext import (
    MAX_ALIASED,
    MAX_DEPTH,
    TOO_DEEP,
    Builder,
    Loader,
    Measure,
    Mistake,
    Path,
    UnreadableError,
    seek,
    short,
    unreadable,
)

#: Composing JSON as YAML only to learn line numbers is not worth minutes and gigabytes.
MAX_JSON_FOR_LINES = 4 * 2**20

_BLANK = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Span:
    """Where in a text a value is written: ``text[start:end]``, whose first character is at ``line`` (from 1) and
    ``column`` (from 0). ``path`` leads from there to the value where only its surroundings are known."""

    start: int
    end: int
    line: int
    column: int
    path: Path = ()


class Document:
    """One document of a text: its value as JSON would have it, and what is wrong with it."""

    def __init__(self, text: str, span: Span, value: Any, mistakes: list[Mistake], root: Node | None = None) -> None:
        self.value = value
        self.mistakes = mistakes
        self._lines = Lines(text)
        self._whole = span
        self._root = root

    def line(self, path: Path) -> int:
        """The line of the value at ``path``, or of the innermost one around it that is there."""
        if self._root is None:
            return self._lines.of(self._whole, path)
        return seek(self._root, path)[1] + 1

    def begins(self, path: Path) -> int:
        """The line where the object at ``path`` begins, or 0 where it takes composing JSON as YAML to know."""
        if self._root is None:
            return 0 if path else self._whole.line
        return seek(self._root, path)[0].start_mark.line + 1

    def span(self, path: Path) -> Span:
        """Where the value at ``path`` is written, for `Lines`."""
        if self._root is None:
            whole = self._whole
            return Span(whole.start, whole.end, whole.line, whole.column, path)
        return _span(seek(self._root, path)[0])


class Lines:
    """Finds lines in a text by composing the part around them again.

    Keeps the last part it composed, so that asking for one object's fields in a row costs one pass.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._last: tuple[int, int] | None = None
        self._root: Node | None = None

    def of(self, span: Span, path: Path) -> int:
        """The line of the value at ``path`` under ``span``, or of the innermost one around it; the line of ``span``
        itself where the part cannot be composed alone."""
        if self._last != (span.start, span.end):
            self._last = (span.start, span.end)
            self._root = self.compose(span)
        if self._root is None:
            return span.line
        return seek(self._root, (*span.path, *path))[1] + span.line

    def compose(self, span: Span) -> Node | None:
        """The nodes of a part, their lines counted from its own first line; None where it is not YAML by itself."""
        part = self._text[span.start : span.end]
        if part.lstrip().startswith("{"):
            if len(part) > MAX_JSON_FOR_LINES:
                return None
            part = part.replace("\t", " ")  # JSON may be indented with tabs, YAML not
        loader = Loader(" " * span.column + part)
        try:
            node: Node | None = loader.get_node() if loader.check_node() else None
        except (yaml.YAMLError, UnicodeError):
            return None  # for one, an alias whose anchor is elsewhere in the document
        finally:
            loader.dispose()
        return node


def yaml_documents(text: str) -> Iterator[Document]:
    """The documents of a YAML text, in order; an empty one has the value None.

    Raises:
        UnreadableError: the text is not YAML, or it goes beyond a bound. Documents before that place were given.
    """
    budget = MAX_ALIASED
    may_alias = "&" in text and "*" in text
    try:
        loader = Loader(text)
        try:
            while loader.check_node():
                loader.composed = 0
                node = loader.get_node()
                assert node is not None
                if may_alias:
                    budget -= Measure(loader.composed, budget).of(node)
                builder = Builder(loader)
                value = builder.build(node)
                yield Document(text, _span(node), value, builder.mistakes, node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise unreadable(error, last=text.count("\n") + 1) from None
    except yaml.reader.ReaderError as error:
        # libyaml counts bytes, PyYAML's own reader characters; they differ only after non-ASCII text
        line = text.encode("utf-8", "replace")[: error.position].count(b"\n") + 1
        raise UnreadableError("holds a control character, which YAML does not allow", line) from None
    except UnicodeEncodeError as error:
        raise UnreadableError("holds half a surrogate pair", text.count("\n", 0, error.start) + 1) from None


def json_documents(text: str) -> Iterator[Document]:
    """The objects of a JSON text: one, or several after each other.

    Raises:
        UnreadableError: the text is not JSON, or it goes beyond a bound. Objects before that place were given.
    """
    start = _after_blank(text, 0)
    while start < len(text):
        line = text.count("\n", 0, start) + 1
        try:
            value, end = _JSON.raw_decode(text, start)
            repeated = _inspect(value)
            if "\\u" in text[start:end]:
                json.dumps(value, ensure_ascii=False).encode()
        except json.JSONDecodeError as error:
            raise UnreadableError(f"is not JSON: {error.msg[:1].lower()}{error.msg[1:]}", error.lineno) from None
        except RecursionError:
            raise UnreadableError(TOO_DEEP, line) from None
        except UnicodeEncodeError:
            raise UnreadableError("holds half a surrogate pair", line) from None
        except _RefusedError as error:
            raise UnreadableError(str(error), line) from None
        span = Span(start, end, line, 0)
        yield Document(text, span, value, _repeated_in_json(text, span, repeated))
        start = _after_blank(text, end)


class _RefusedError(ValueError):
    """A number that JSON texts may spell and manifests may not hold."""


class _Repeating(dict[str, Any]):
    """An object of a JSON text in which keys are given more than once; it has the first value of each."""

    repeated: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    first = _Repeating()
    for key, value in pairs:
        if key in first:
            first.repeated += (key,)
        else:
            first[key] = value
    return first


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _RefusedError("holds a number that is too large")
    return number


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # Python bounds the digits it converts
        raise _RefusedError("holds a number that is too large") from None


def _constant(name: str) -> float:
    raise _RefusedError(f"holds {name}, which JSON does not have")


_JSON = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_number, parse_int=_integer, parse_constant=_constant, strict=True
)


def _inspect(value: Any, path: Path = ()) -> list[Path]:
    """The paths of the keys that a JSON value repeats.

    Raises:
        RecursionError: it is nested deeper than `MAX_DEPTH`.
    """
    if len(path) >= MAX_DEPTH:
        raise RecursionError
    found: list[Path] = []
    if isinstance(value, dict):
        if isinstance(value, _Repeating):
            found += [(*path, key) for key in value.repeated]
        for key, item in value.items():
            if isinstance(item, dict | list):
                found += _inspect(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict | list):
                found += _inspect(item, (*path, index))
    return found


def _repeated_in_json(text: str, span: Span, repeated: list[Path]) -> list[Mistake]:
    if not repeated:
        return []
    root = Lines(text).compose(span)
    if root is not None:
        builder = Builder(Loader(""), above=span.line - 1)
        builder.build(root)
        if builder.mistakes:
            return builder.mistakes
    return [Mistake(path, f'the key "{short(str(path[-1]))}" is given more than once', span.line) for path in repeated]


def _span(node: Node) -> Span:
    start, end = node.start_mark, node.end_mark
    return Span(start.index, end.index, start.line + 1, start.column)


def _after_blank(text: str, start: int) -> int:
    blank = _BLANK.match(text, start)
    return blank.end() if blank else start
