"""What a request line and the Host field ask for (RFC 9112 §3.2, RFC 9110 §7.2)."""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from middleware.errors import BadRequest

#: No host name of DNS is longer than 253 bytes (RFC 1035 §2.3.4); a port may follow.
MAX_AUTHORITY: Final = 300

Fields = list[tuple[bytes, bytes]]

#: Visible ASCII without quotes, angle brackets, "#", which would begin a fragment, and the backslash, which some
#: backends take for a slash. Braces, bars, carets and backquotes should be encoded as well, but browsers send them, and
#: they mean one thing only.
_TARGET = re.compile(rb"[!$-;=?-\[\]-~]+")
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")
#: An http URL; one without a host means nothing (RFC 9110 §4.2.1).
_ABSOLUTE = re.compile(rb"(?i:https?)://([^:/?][^/?]*)([^?]*)(\?.*)?", re.DOTALL)


def split_target(method: str, target: bytes) -> tuple[bytes | None, bytes, bytes]:
    """Authority (of the absolute form, else None), path and query of a request target.

    Raises BadRequest for bytes that do not belong into one, and for forms that a gateway does not serve.
    """
    if _TARGET.fullmatch(target) is None:
        raise BadRequest("the request target has bytes that must be encoded")
    authority: bytes | None = None
    if not target.startswith(b"/"):
        if target == b"*" and method == "OPTIONS":
            return None, b"*", b""
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise BadRequest("the request target is neither a path nor an http URL")
        authority = absolute[1]
        if method == "OPTIONS" and not absolute[2] and not absolute[3]:
            return authority, b"*", b""  # the server as a whole is asked for (RFC 9112 §3.2.4)
        target = (absolute[2] or b"/") + (absolute[3] or b"")
    path, _, query = target.partition(b"?")
    return authority, path, query


def check_host(fields: Fields, place: int, http_version: str, authority: bytes | None) -> None:
    """Make ``fields`` hold the one host that the request is for; that of an absolute target counts (RFC 9112 §3.2.2).

    ``place`` is where Host is in them, -1 where it is not. Raises BadRequest where there is none, or no authority.
    """
    if place < 0:
        if http_version != "1.0":
            raise BadRequest("no Host")
        if authority is not None:
            check_authority(authority)
            fields.append((b"host", authority))
        return
    # What an absolute target replaces must have been a host name, too: nothing malformed is looked over.
    check_authority(fields[place][1])
    if authority is not None:
        check_authority(authority)
        fields[place] = (b"host", authority)


def check_authority(value: bytes) -> None:
    """Raises BadRequest for a value of Host that is no authority."""
    if len(value) > MAX_AUTHORITY or not _is_authority(value):
        raise BadRequest("Host is not a host name")


@lru_cache(maxsize=1024)
def _is_authority(value: bytes) -> bool:
    return _AUTHORITY.fullmatch(value) is not None


def decoded(path: bytes) -> str:
    """The path as ASGI's ``path`` wants it."""
    text = path.decode("ascii")
    return unquote(text) if "%" in text else text
