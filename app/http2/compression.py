"""HPACK (RFC 7541): fields from a header block and back.

The tables and the Huffman code are those of the library ``hpack``. Its loop over a block costs about 10 µs a field,
which is why there is one of our own; and its limit is on the whole list, where ours also bounds what is kept.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from hpack.exceptions import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

Fields = list[tuple[bytes, bytes]]

#: Bytes of the table that the peer may fill: what every peer may use without asking (RFC 9113 §6.5.2).
TABLE_SIZE: Final = 4096
#: What RFC 7541 §4.1 adds to the bytes of each field.
OVERHEAD: Final = 32

#: RFC 7541, appendix A, from 1 on.
STATIC: Final = ((b"", b""), *HeaderTable.STATIC_TABLE)
_DYNAMIC: Final = len(STATIC)

#: Fields whose values are short enough to be worth remembering, and how many.
_SHORT: Final = 128
_REMEMBERED: Final = 4096

#: Fields that nobody on the way may keep in a table (RFC 7541 §7.1.3).
_SECRET: Final = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"})


#: A name in lower case (RFC 9113 §8.2, RFC 9110 §5.6.2), with a colon before those that are not fields.
NAME: Final = re.compile(rb":?[!#$%&'*+.^_`|~0-9a-z-]+")


class CompressionError(Exception):
    """Bytes that are no header block; the table is out of step, and the connection has to end."""


class ListTooLargeError(Exception):
    """A header list that nobody would want to keep; the connection has to end."""


class FieldDecoder:
    """Reads the header blocks of one connection."""

    __slots__ = ("_entries", "_max_size", "_table", "changed", "size")

    def __init__(self, max_size: int) -> None:
        self._table = HeaderTable()
        self._entries = self._table.dynamic_entries
        self._max_size = max_size
        #: Whether the last block changed the table: what other blocks mean may then have changed.
        self.changed = False
        #: The size of the last block's list, as RFC 9113 §10.5.1 counts it.
        self.size = 0

    def decode(self, block: bytes) -> Fields:
        """The fields of ``block``. Raises CompressionError, or ListTooLargeError before more than that is kept."""
        try:
            return self._decode(block)
        except (HPACKError, IndexError):
            raise CompressionError("a malformed header block") from None

    def _decode(self, block: bytes) -> Fields:
        fields: Fields = []
        entries = self._entries
        size = position = 0
        end = len(block)
        self.changed = False
        while position < end:
            first = block[position]
            position += 1
            if first & 0x80:  # an indexed field (§6.1)
                index = first & 0x7F
                if index == 0x7F:
                    index, position = _integer(block, position, 0x7F)
                elif not index:
                    raise CompressionError("index 0")
                field = STATIC[index] if index < _DYNAMIC else entries[index - _DYNAMIC]
            elif first & 0x60 == 0x20:  # another size of the table (§6.3)
                new, position = _integer(block, position, 0x1F) if first == 0x3F else (first & 0x1F, position)
                if fields or new > TABLE_SIZE:
                    raise CompressionError("a change of the table's size that is not allowed")
                self._table.maxsize = new
                self.changed = True
                continue
            else:  # a literal (§6.2)
                mask = 0x3F if first & 0x40 else 0x0F
                index = first & mask
                if index == mask:
                    index, position = _integer(block, position, mask)
                secret = first & 0xF0 == 0x10
                if index:
                    name = (STATIC[index] if index < _DYNAMIC else entries[index - _DYNAMIC])[0]
                else:
                    name, position = _string(block, position, secret=False)
                value, position = _string(block, position, secret=secret)
                field = (name, value)
                if first & 0x40:
                    self._table.add(name, value)
                    self.changed = True
            size += OVERHEAD + len(field[0]) + len(field[1])
            if size > self._max_size:
                raise ListTooLargeError
            fields.append(field)
        self.size = size
        return fields


def _integer(block: bytes, position: int, start: int) -> tuple[int, int]:
    """An integer that does not fit its prefix (§5.1), and where it ends."""
    shift = 0
    while True:
        byte = block[position]
        position += 1
        start += (byte & 0x7F) << shift
        if byte < 0x80:
            return start, position
        shift += 7
        if shift > 28:
            raise CompressionError("an integer that is too long")


def _string(block: bytes, position: int, *, secret: bool) -> tuple[bytes, int]:
    """A string (§5.2), and where it ends."""
    first = block[position]
    length = first & 0x7F
    position += 1
    if length == 0x7F:
        length, position = _integer(block, position, 0x7F)
    end = position + length
    if end > len(block):
        raise CompressionError("a string that is cut off")
    raw = block[position:end]
    if first & 0x80:
        raw = decode_huffman(raw) if secret or length > _SHORT else _expanded(raw)
    return raw, end


_expanded = lru_cache(_REMEMBERED)(decode_huffman)


def encode(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A header block of ``fields`` that no table is needed for, thus with no state to get wrong.

    Names must be in lower case. Raises ValueError for bytes that no field may have (RFC 9113 §8.2.1).
    """
    return b"".join(
        [_known(field) if len(field[1]) < _SHORT and field[0] not in _SECRET else _encoded(field) for field in fields]
    )


def status(code: int) -> bytes:
    """``:status`` as it is encoded."""
    return _known((b":status", b"%d" % code))


def _encoded(field: tuple[bytes, bytes]) -> bytes:
    name, value = field
    value = value.strip(b" \t")
    if b"\n" in value or b"\r" in value or b"\0" in value or NAME.fullmatch(name) is None:
        raise ValueError(f"not a field: {name!r}")
    index = _BY_FIELD.get(field)
    if index is not None:
        return bytes((0x80 | index,))
    prefix = 0x10 if name in _SECRET else 0x00
    index = _BY_NAME.get(name)
    if index is not None:
        head = bytes((prefix | index,)) if index < 0x0F else bytes((prefix | 0x0F, index - 0x0F))
    else:
        head = bytes((prefix,)) + _length(len(name)) + name
    return head + _length(len(value)) + value


_known = lru_cache(_REMEMBERED)(_encoded)


def _length(size: int) -> bytes:
    if size < 0x7F:
        return bytes((size,))
    parts = bytearray((0x7F,))
    size -= 0x7F
    while size > 0x7F:
        parts.append(0x80 | size & 0x7F)
        size >>= 7
    parts.append(size)
    return bytes(parts)


_BY_FIELD: Final = {field: index for index, field in enumerate(STATIC) if index}
_BY_NAME: Final = {field[0]: index for index, field in reversed(list(enumerate(STATIC))) if index}
