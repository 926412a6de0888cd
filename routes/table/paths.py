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
which any reading reaches is reached by that one. Out of this are rules that themselves name ``;``, ``%5C`` or ``%25``:
who writes them knows the backend. Not covered: backends that ignore case, dots or blanks at the end of a name
(Windows), that take overlong UTF-8, or that decode ``%3F`` before they look for the query.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class PathMap(Generic[T]):
    """Lists of entries by exact path and by prefix, each list in order of precedence."""

    __slots__ = ("_depth", "_exact", "_prefixes")

    def __init__(self, exact: Mapping[str, Sequence[T]], prefixes: Mapping[str, Sequence[T]]) -> None:
        self._exact = dict(exact)
        self._prefixes = dict(prefixes)
        # No path is cut more often than the longest prefix has segments, however many slashes a client sends.
        self._depth = max((prefix.count("/") for prefix in self._prefixes), default=0)

    def candidates(self, path: str) -> Sequence[Sequence[T]]:
        """The lists that ``path`` reaches: exact first, then prefixes from the longest to "/"."""
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
        entries = self._exact.get(path)
        if entries is not None:
            found.insert(0, entries)
        entries = prefixes.get("")
        if entries is not None:
            found.append(entries)
        return found

    def claimed_otherwise(self, path: str, reading: str) -> bool:
        """Whether ``reading`` reaches a list that ``path`` does not."""
        known = list(self.candidates(path))
        return any(all(entries is not one for one in known) for entries in self.candidates(reading))

    def items(self) -> Iterator[tuple[str, str, Sequence[T]]]:
        """All lists with the type and value of their path."""
        for path, entries in self._exact.items():
            yield "Exact", path, entries
        for prefix, entries in self._prefixes.items():
            yield "PathPrefix", prefix or "/", entries


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


def _plain(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def _plain_bytes(escape: re.Match[bytes]) -> bytes:
    character = bytes.fromhex(escape[1].decode())
    return character if character.decode("latin-1") in _UNRESERVED else escape[0].upper()


def _laxly(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _LAXLY_DECODED else escape[0].upper()
