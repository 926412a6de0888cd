"""As much of WebSocket (RFC 6455) as the echo and its clients need: whole messages of less than 64 kB in one frame."""

import base64
import hashlib
from collections.abc import Iterator

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = base64.b64encode(bytes(16))
#: A client must mask what it sends; with this key, masking changes nothing.
_MASK = bytes(4)


def accept_key(key: bytes) -> bytes:
    """What a server answers to ``key`` (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())


def upgrade(host: str, path: str) -> bytes:
    """The request that opens a WebSocket."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY.decode()}\r\n\r\n"
    ).encode()


def frame(opcode: int, payload: bytes, *, mask: bool = False) -> bytes:
    """One final frame."""
    bit = 0x80 if mask else 0
    size = len(payload)
    length = bytes([bit | size]) if size < 126 else bytes([bit | 126]) + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + (_MASK if mask else b"") + payload


class Frames:
    """Cuts what comes in into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Opcode and payload of each frame that is complete."""
        data = self._rest + data
        while len(data) >= 2:
            size, start = data[1] & 0x7F, 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(data[2:10], "big"), 10
            key = b""
            if data[1] & 0x80:
                key, start = data[start : start + 4], start + 4
            end = start + size
            if len(data) < end:
                break
            payload = data[start:end]
            if any(key):
                pad = (key * (size // 4 + 1))[:size]
                payload = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
            yield data[0] & 0x0F, payload
            data = data[end:]
        self._rest = data
