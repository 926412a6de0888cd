"""Where frames begin and end in a stream of bytes, and nothing else of them (RFC 6455 §5.2)."""


class Boundaries:
    """Follows one direction of a WebSocket."""

    __slots__ = ("_head", "_left", "between")

    def __init__(self) -> None:
        # The beginning of a frame's head, and how much of its payload is to come
        self._head = b""
        self._left = 0
        #: Whether the last byte ended a frame, or none has come.
        self.between = True

    def feed(self, data: bytes) -> None:
        """Bytes have passed."""
        position, end = 0, len(data)
        while position < end:
            if self._left:
                step = min(self._left, end - position)
                self._left -= step
                position += step
                continue
            # The longest head has 14 bytes.
            head = self._head + data[position : position + 14 - len(self._head)]
            size = _head_size(head)
            if len(head) < size:
                self._head = head
                break
            position += size - len(self._head)
            self._head = b""
            self._left = _payload_size(head)
        self.between = not (self._left or self._head)


def _head_size(head: bytes) -> int:
    """How long a head is that begins so; 2 if its beginning does not say."""
    if len(head) < 2:
        return 2
    length = head[1] & 0x7F
    return 2 + (2 if length == 126 else 8 if length == 127 else 0) + (4 if head[1] & 0x80 else 0)


def _payload_size(head: bytes) -> int:
    length = head[1] & 0x7F
    if length < 126:
        return length
    return int.from_bytes(head[2 : 4 if length == 126 else 10])
