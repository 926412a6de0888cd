"""Look-up by path: exact paths by hash, prefixes segment by segment.

PathPrefix is element-wise (HTTPPathMatch): ``/abc`` takes ``/abc``, ``/abc/`` and ``/abc/def``, never ``/abcd``, and a
trailing slash of the prefix means nothing. Exact is byte for byte.
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


_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
#: Characters that mean the same encoded or not (RFC 3986 §2.3).
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def matched_path(raw: bytes) -> str | None:
    """The path that rules are matched with, None where it holds dot segments.

    What means the same is made the same (RFC 3986 §6.2.2): unreserved characters are decoded, escapes upper case. An
    encoded slash stays encoded: it is not the separator. Dot segments are refused, since a backend that resolves them
    would read another path than the one whose rule sent the request there; clients resolve them before they send.
    """
    path = raw.decode("latin-1")
    if "%" in path:
        path = _ESCAPE.sub(_plain, path)
    if "/." in path and any(segment in (".", "..") for segment in path.split("/")):
        return None
    return path


def _plain(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()
