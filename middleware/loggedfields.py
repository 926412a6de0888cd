"""What the access log tells of header fields: nothing, that they were there, or their values too."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Final, Literal

from middleware.via import PSEUDONYM

Fate = Literal["drop", "redact", "keep"]

#: What is told in the place of a value.
REDACTED: Final = "REDACTED"
#: Bytes of a value that are told, and of a name with which a field is told of at all.
MAX_VALUE: Final = 1024
MAX_NAME: Final = 64
#: Names that are told of one message.
MAX_NAMES: Final = 64

#: Parts of the names of fields that bear credentials: where they are kept somebody has named them one by one.
_SECRET: Final = (
    "access-key", "api-key", "apikey", "assertion", "authenti", "authoriz", "client-cert", "cookie", "credential",
    "jwt", "passw", "private-key", "saml", "sec-websocket-protocol", "secret", "session", "signature", "token",
    "x-auth",
)  # fmt: skip


class LoggedFields:
    """Renders header fields as members of a JSON object, under Traefik's keys: ``"request_User-Agent":"curl/8"``.

    ``default`` says what is told of them, and ``named`` of single ones (names in lower case). With ``default`` as
    ``keep``, fields that bear credentials by their names, such as ``Authorization``, ``Cookie`` and ``X-Api-Key``, are
    told of without their values: those are kept only where they are named. ``Host`` is told elsewhere.
    """

    def __init__(self, default: Fate, named: Mapping[str, Fate]) -> None:
        self._default = default
        self._named = dict(named)
        # Bounded, since clients choose the names.
        self._known = lru_cache(maxsize=1024)(self._decide)

    @property
    def silent(self) -> bool:
        """Whether nothing is told of any field."""
        return self._default == "drop" and all(fate == "drop" for fate in self._named.values())

    def members(self, prefix: str, fields: Iterable[tuple[bytes, bytes]]) -> str:
        """The members for ``fields``, each behind a comma; of those that came more than once the values are joined."""
        found: dict[str, bytes | None] = {}
        for name, value in fields:
            if len(name) > MAX_NAME:
                continue
            key, fate = self._known(name)
            if not key:
                continue
            if key not in found:
                if len(found) == MAX_NAMES:
                    break
                found[key] = value[: MAX_VALUE + 1] if fate == "keep" else None
            elif (before := found[key]) is not None and len(before) <= MAX_VALUE:
                found[key] = b"%b,%b" % (before, value[: MAX_VALUE + 1])
        return "".join([f',"{prefix}{key}":{_value(value)}' for key, value in found.items()])

    def _decide(self, name: bytes) -> tuple[str, Fate]:
        """The name as Traefik writes it, empty where nothing is told of the field; and what is told."""
        lowered = name.decode("latin-1").lower()
        if lowered == "host" or PSEUDONYM.fullmatch(lowered) is None:
            return "", "drop"
        fate = self._named.get(lowered)
        if fate is None:
            fate = self._default
            dashed = lowered.replace("_", "-")
            if fate == "keep" and any(part in dashed for part in _SECRET):
                fate = "redact"
        return "" if fate == "drop" else "-".join(part.capitalize() for part in lowered.split("-")), fate


def _value(value: bytes | None) -> str:
    if value is None:
        return f'"{REDACTED}"'
    text = value[:MAX_VALUE].decode("utf-8", "backslashreplace")
    return encode_basestring_ascii(text if len(value) <= MAX_VALUE else f"{text}…")
