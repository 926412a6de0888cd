"""Regular expressions of matches: RE2's syntax, which takes time in proportion to the text, whatever the pattern.

RE2 (https://github.com/google/re2/wiki/Syntax) has no look-around and no backreferences; the API leaves the dialect of
RegularExpression to the implementation, and Envoy and Istio use this one.
"""

from functools import lru_cache
from typing import Any

import re2  # type: ignore[import-untyped]

#: What one pattern may take, compiled and while it matches: a larger one is refused, and matching falls back to a
#: slower way, still in linear time, before it takes more.
MAX_BYTES = 2**20


class Pattern:
    """A compiled pattern. Equal where the text is."""

    __slots__ = ("_fullmatch", "text")

    def __init__(self, text: str, compiled: Any) -> None:
        self.text = text
        self._fullmatch = compiled.fullmatch

    def matches(self, value: bytes) -> bool:
        """Whether all of ``value``, not only a part of it, is what the pattern describes, as with Envoy and Istio.

        Both are read as UTF-8, so that ``.`` is a character; bytes that are not are met by ``\\C`` alone.
        """
        return self._fullmatch(value) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


def compile_pattern(text: str) -> Pattern:
    """The pattern for whole values. Raises ValueError, with what :func:`pattern_fault` says, where there is none."""
    found = _compiled(text)
    if isinstance(found, str):
        raise ValueError(found)
    return found


def pattern_fault(text: str) -> str:
    """What is wrong with a pattern, "" where nothing is."""
    found = _compiled(text)
    return found if isinstance(found, str) else ""


# Checked when the graph is built and used when the table is: compiled once where the two follow each other.
@lru_cache(maxsize=1024)
def _compiled(text: str) -> Pattern | str:
    options = re2.Options()
    options.max_mem = MAX_BYTES
    options.log_errors = False
    options.never_capture = True
    try:
        return Pattern(text, re2.compile(text.encode("utf-8", "surrogatepass"), options))
    except re2.error as error:
        reason = error.args[0]
        return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
