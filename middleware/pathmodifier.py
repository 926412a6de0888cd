"""The new path that a redirect or a rewrite asks for (HTTPPathModifier)."""

import re
from collections.abc import Callable
from typing import Final

from routes.resources.filters import HTTPPathModifier
from routes.table.paths import behind_prefix, prefix_key

#: Makes a path, as it stands in a request, of another.
PathChange = Callable[[bytes], bytes]

#: What may stand in a path (RFC 3986 §3.3); all else is encoded, "?" and "#" among it.
_ENCODED: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^-A-Za-z0-9/._~!$&'()*+,;=:@%]")


def path_change(modifier: HTTPPathModifier, prefix: str | None) -> PathChange | None:
    """What ``modifier`` does with a path; None where it cannot be done: a prefix is to be replaced, and there is none.

    ``prefix`` is the PathPrefix of the rule's only match. A slash at its end or at that of its replacement means
    nothing, and what follows it in the path stays byte for byte as it was sent. A path that does not begin with it,
    since a filter of the rule has changed it for one of a backendRef, stays as it is; so does ``*``.
    """
    if modifier.replace_full_path is not None:
        full = _absolute(_encoded(modifier.replace_full_path))
        return lambda path: full
    if prefix is None or modifier.replace_prefix_match is None:
        return None
    key = prefix_key(prefix)
    replacement = _encoded(modifier.replace_prefix_match).rstrip(b"/")
    if replacement:
        replacement = _absolute(replacement)

    def replaced(path: bytes) -> bytes:
        rest = behind_prefix(path, key)
        return path if rest is None else (replacement + rest) or b"/"

    return replaced


def _absolute(path: bytes) -> bytes:
    return path if path.startswith(b"/") else b"/" + path


def _encoded(path: str) -> bytes:
    return _ENCODED.sub(lambda match: b"%%%02X" % match[0][0], path.encode())
