"""What the head of an answer holds, in whatever version of HTTP it is sent (RFC 9110 §6.6.1, §7.6.1, §8.6)."""

from collections.abc import Sequence
from typing import Final

from app.upstream.fields import end_to_end
from middleware.connection import HOP_BY_HOP, USUAL_OPTIONS
from middleware.date import date_field

#: Statuses of answers without a body, beside those to HEAD (RFC 9110 §6.4.1).
NO_BODY: Final = frozenset({204, 304})

Fields = Sequence[tuple[bytes, bytes]]


def with_added(fields: Fields, added: Fields) -> Fields:
    """``fields`` with those of ``added`` in the place of others by their names, all in lower case."""
    names = {name for name, _ in added}
    return [*(field for field in fields if field[0] not in names), *added]


def answer_fields(status: int, fields: Fields, *, relayed: bool) -> tuple[Fields, int | None, bytes]:
    """What of ``fields`` the client gets, with one Date; how long they say that the body is; and ``Connection``.

    ``relayed``: they are a backend's, with names in lower case. Raises RuntimeError for a length in doubt.
    """
    kept = fields if relayed else [(name.lower(), value) for name, value in fields]
    values = dict(kept)
    plain = len(values) == len(kept)
    if not plain:
        kept = _unrepeated(kept)
    options = b""
    if not HOP_BY_HOP.isdisjoint(values):
        options = values.get(b"connection", b"").lower()
        if plain and options in USUAL_OPTIONS:
            kept = [field for field in kept if field[0] not in HOP_BY_HOP]
        else:
            kept = end_to_end(kept)
    text = values.get(b"content-length")
    length: int | None = None
    if text is not None:
        if not text.isdigit():
            raise RuntimeError("a Content-Length in doubt")
        length = int(text)
        if status == 204:
            kept = [field for field in kept if field[0] != b"content-length"]  # never in it (RFC 9110 §8.6)
    if b"date" not in values:
        kept = [*kept, date_field()]
    return kept, length, options


def _unrepeated(fields: Fields) -> Fields:
    """``fields`` with one Date. Raises RuntimeError for more than one Content-Length."""
    names = [name for name, _ in fields]
    if names.count(b"content-length") > 1:
        raise RuntimeError("a Content-Length in doubt")
    date = names.index(b"date") if b"date" in names else -1
    return [field for place, field in enumerate(fields) if field[0] != b"date" or place == date]
