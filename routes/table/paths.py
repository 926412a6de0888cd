"""Look-up by path: exact paths by hash, prefixes segment by segment.

PathPrefix is element-wise (HTTPPathMatch): ``/abc`` takes ``/abc``, ``/abc/`` and ``/abc/def``, never ``/abcd``, and a
trailing slash of the prefix means nothing. Exact is byte for byte.

What is forwarded is the path as the client sent it, and backends do not agree on what some paths mean. The decision:
no request reaches a backend by one rule that the backend may read as a path of another rule's. So

- escapes that change nothing (RFC 3986 §6.2.2) are undone before rules are matched: ``/%61dmin`` is ``/admin``;
- refused, whatever the rules are: dot segments in every spelling that some backend resolves (``..``, ``%2e%2e``,
  ``..;x``, ``..%2f``, ``..%5c``, and these encoded twice), ``%00``, and an encoded slash within a path parameter;
- ``//``, ``;``, ``%2F``, ``%5C`` and what is encoded twice are matched as they stand, as the API wants it, and
  forwarded. But where a backend that is lax in all of these (:func:`lax_reading`) would read a path that more rules
  claim, the request is refused: ``//admin``, ``/x%2F..`` or ``/admin;x`` beside a rule for ``/admin``. Keys as in S3,
  ``/bucket/a//b%2Fc``, go through.

It suffices to ask for the laxest reading: a rule's path has nothing in it that laxness would change, so that a rule
which any reading reaches is reached by that one. Not so a RegularExpression, which may ask for ``//`` or ``%2F``: where
there are some, every reading is asked for (:func:`lax_readings`). Patterns see the path as it is matched, escapes of
unreserved characters undone. Out of this are rules that themselves name ``;``, ``%5C`` or ``%25``:
who writes them knows the backend. Not covered: backends that ignore case, dots or blanks at the end of a name
(Windows), that take overlong UTF-8, or that decode ``%3F`` before they look for the query.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, Self, TypeVar

from routes.regex import Pattern, compile_pattern
from routes.resources.http import HTTPPathMatch

T = TypeVar("T")


class PathKey(NamedTuple):
    """A list's place: the ``type`` of HTTPPathMatch, and its value in the table's form."""

    type: str
    value: str


class PathMap(Generic[T]):
    """Lists of entries by exact path, by pattern and by prefix, each list in order of precedence."""

    __slots__ = ("_depth", "_exact", "_patterns", "_prefixes")

    def __init__(self) -> None:
        self._exact: Mapping[str, tuple[T, ...]] = _NONE
        self._prefixes: Mapping[str, tuple[T, ...]] = _NONE
        # The longest pattern first.
        self._patterns: tuple[tuple[Pattern, tuple[T, ...]], ...] = ()
        # No path is cut more often than the longest prefix has segments, however many slashes a client sends.
        self._depth = 0

    def with_(self, changes: Mapping[PathKey, tuple[T, ...]]) -> Self:
        """A map in which these lists are added or replaced, and those that are empty taken away."""
        changed = type(self)()
        changed._exact = _changed(self._exact, changes, "Exact")
        changed._patterns = _patterns(self._patterns, changes)
        changed._prefixes = prefixes = _changed(self._prefixes, changes, "PathPrefix")
        changed._depth = self._depth
        if prefixes is not self._prefixes:
            depths = [path.count("/") for type_, path in changes if type_ == "PathPrefix"]
            if max(depths) > self._depth:
                changed._depth = max(depths)
            if self._depth in depths:  # the deepest may have gone
                changed._depth = max((prefix.count("/") for prefix in prefixes), default=0)
        return changed

    def get(self, key: PathKey) -> tuple[T, ...]:
        """The list of a path as a rule has it, empty where there is none."""
        if key.type == "Exact":
            return self._exact.get(key.value, ())
        if key.type == "PathPrefix":
            return self._prefixes.get(key.value, ())
        return next((entries for pattern, entries in self._patterns if pattern.text == key.value), ())

    def candidates(self, path: str) -> Sequence[Sequence[T]]:
        """The lists that ``path`` reaches: exact first, then patterns, then prefixes from the longest to "/"."""
        found: list[Sequence[T]] = []
        prefixes = self._prefixes
        if self._depth:
            # From the shortest to the longest, as the slashes come.
            position = path.find("/", 1)
            cuts = 1
            while position > 0 and cuts <= self._depth:
                entries = prefixes.get(path[:position])
                if entries is not None:
                    found.append(entries)
                position = path.find("/", position + 1)
                cuts += 1
            if position < 0 and cuts <= self._depth:
                entries = prefixes.get(path)
                if entries is not None:
                    found.append(entries)
            found.reverse()
        if self._patterns:
            raw = path.encode("latin-1")
            found[:0] = [entries for pattern, entries in self._patterns if pattern.matches(raw)]
        entries = self._exact.get(path)
        if entries is not None:
            found.insert(0, entries)
        entries = prefixes.get("")
        if entries is not None:
            found.append(entries)
        return found

    def claimed_otherwise(self, path: str, reading: str) -> bool:
        """Whether ``reading``, the laxest of ``path``, reaches a list that ``path`` does not. Where there are patterns,
        whether any reading does."""
        known = self.candidates(path)
        return any(
            all(entries is not one for one in known)
            for each in (lax_readings(path) if self._patterns else (reading,))
            for entries in self.candidates(each)
        )

    def __bool__(self) -> bool:
        return bool(self._exact or self._prefixes or self._patterns)

    def items(self) -> Iterator[tuple[str, str, Sequence[T]]]:
        """All lists with the type and value of their path."""
        for path, entries in self._exact.items():
            yield "Exact", path, entries
        for pattern, entries in self._patterns:
            yield "RegularExpression", pattern.text, entries
        for prefix, entries in self._prefixes.items():
            yield "PathPrefix", prefix or "/", entries


_NONE: Mapping[str, tuple[Any, ...]] = MappingProxyType({})


def _changed(
    lists: Mapping[str, tuple[T, ...]], changes: Mapping[PathKey, tuple[T, ...]], type_: str
) -> Mapping[str, tuple[T, ...]]:
    mine = [(key.value, entries) for key, entries in changes.items() if key.type == type_]
    if not mine:
        return lists
    changed = dict(lists)
    for path, entries in mine:
        if entries:
            changed[path] = entries
        else:
            changed.pop(path, None)
    return changed or _NONE


def _patterns(
    lists: tuple[tuple[Pattern, tuple[T, ...]], ...], changes: Mapping[PathKey, tuple[T, ...]]
) -> tuple[tuple[Pattern, tuple[T, ...]], ...]:
    mine = {key.value: entries for key, entries in changes.items() if key.type == "RegularExpression"}
    if not mine:
        return lists
    kept = [(pattern, entries) for pattern, entries in lists if pattern.text not in mine]
    kept += [(compile_pattern(text), entries) for text, entries in mine.items() if entries]
    return tuple(sorted(kept, key=lambda each: (-len(each[0].text), each[0].text)))


def path_key(path: HTTPPathMatch) -> PathKey:
    """The place of a rule's path in the table."""
    match path.type:
        case "Exact":
            return PathKey("Exact", exact_key(path.value))
        case "PathPrefix":
            return PathKey("PathPrefix", prefix_key(path.value))
        case _:
            return PathKey("RegularExpression", path.value)


def exact_key(value: str) -> str:
    """The form of a rule's exact path in the table: that of :func:`matched_path`."""
    return _ESCAPE.sub(_plain, value)


def prefix_key(value: str) -> str:
    """The form of a rule's prefix in the table: as above and without its trailing slash, "" for "/"."""
    return exact_key(value).removesuffix("/")


def behind_prefix(raw: bytes, key: str) -> bytes | None:
    """What follows a prefix in a path as it was sent, byte for byte; None where the path does not begin with it.

    ``key`` is the :func:`prefix_key`, which is found in the :func:`matched_path`: in ``raw`` it may be spelled with
    more escapes.
    """
    prefix = key.encode("latin-1", "replace")
    end = len(prefix)
    if not raw.startswith(prefix):
        end = position = 0
        while position < len(prefix):
            escape = _RAW_ESCAPE.match(raw, end)
            unit = _plain_bytes(escape) if escape is not None else raw[end : end + 1]
            if not unit or not prefix.startswith(unit, position):
                return None
            end += len(unit) if escape is None else 3
            position += len(unit)
    return raw[end:] if len(raw) == end or raw[end : end + 1] == b"/" else None


_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_RAW_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
#: Characters that mean the same encoded or not (RFC 3986 §2.3).
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

_ENCODED_TWICE = re.compile(r"%(?:25)+")
_LAXLY_DECODED = _UNRESERVED | {"/", "\\", ";"}
#: Escapes that a backend may decode to another path. Those of unreserved characters are left where they were nested.
_UNUSUAL = re.compile(
    "%(?:00|25|" + "|".join(f"{ord(each):02X}" for each in sorted(_LAXLY_DECODED)) + ")", re.IGNORECASE
)
#: Who drops a parameter before decoding and who decodes first read different paths.
_SLASH_IN_PARAMETER = re.compile(r"(?:;|%3B)[^/]*(?:%2F|%5C|\\)", re.IGNORECASE)
_PARAMETER = re.compile(r";[^/]*")
_SLASHES = re.compile(r"/{2,}")


def matched_path(raw: bytes) -> str | None:
    """The path that rules are matched with, None where it is to be refused whatever the rules are.

    What means the same is made the same (RFC 3986 §6.2.2): unreserved characters are decoded, escapes upper case. An
    encoded slash stays encoded: it is not the separator.
    """
    path = raw.decode("latin-1")
    if "%" in path:
        path = _ESCAPE.sub(_plain, path)
    elif not ("/." in path or "//" in path or ";" in path or "\\" in path):
        return path
    lax = lax_reading(path)
    if lax is not path and ("%00" in lax or _SLASH_IN_PARAMETER.search(_ENCODED_TWICE.sub("%", path))):
        return None
    if "/." in lax and any(segment in (".", "..") for segment in lax.split("/")):
        return None
    return path


def lax_reading(path: str) -> str:
    """How a backend reads ``path``, as matched, that decodes twice, takes a backslash for a slash, drops parameters
    and merges slashes. ``path`` itself where it is an ordinary one."""
    if not ("//" in path or ";" in path or "\\" in path or ("%" in path and _UNUSUAL.search(path))):
        return path
    path = _ESCAPE.sub(_laxly, _ENCODED_TWICE.sub("%", path)).replace("\\", "/")
    return _SLASHES.sub("/", _PARAMETER.sub("", path))


def lax_readings(path: str) -> set[str]:
    """All readings of ``path``, as matched, by backends that are lax in some of these ways and strict in the others."""
    readings = set()
    for begun in {path, _PARAMETER.sub("", path)}:  # some drop parameters before they decode
        for decoded in {begun, _ESCAPE.sub(_laxly, begun), _ESCAPE.sub(_laxly, _ENCODED_TWICE.sub("%", begun))}:
            for slashes in {decoded, decoded.replace("\\", "/")}:
                for dropped in {slashes, _PARAMETER.sub("", slashes)}:
                    readings |= {dropped, _SLASHES.sub("/", dropped)}
    return readings


def _plain(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def _plain_bytes(escape: re.Match[bytes]) -> bytes:
    character = bytes.fromhex(escape[1].decode())
    return character if character.decode("latin-1") in _UNRESERVED else escape[0].upper()


def _laxly(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _LAXLY_DECODED else escape[0].upper()
