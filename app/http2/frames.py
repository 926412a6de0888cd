"""The numbers of RFC 9113, and frames as bytes (§4.1, §6)."""

import struct
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Types (§6)
DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

# Flags (§6)
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20

# Settings (§6.5.2, RFC 8441 §3)
HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6
ENABLE_CONNECT_PROTOCOL: Final = 8

#: The largest window and the largest stream id.
MAX_WINDOW: Final = 2**31 - 1
#: The window of a connection and of its streams before anything else was said (§6.9.2).
DEFAULT_WINDOW: Final = 65_535
#: The size of a frame's payload that every peer takes (§4.2).
DEFAULT_FRAME: Final = 16_384

#: Length (in two parts), type, flags, stream.
HEADER: Final = struct.Struct(">HBBBL")


class Code(IntEnum):
    """Why a stream or a connection ends (§7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class ConnectionFailure(Exception):  # noqa: N818 - the RFC speaks of failures of either
    """The peer broke the rules so that the connection cannot go on (§5.4.1)."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code = code
        self.reason = reason


class StreamFailure(Exception):  # noqa: N818
    """The peer broke the rules on one stream (§5.4.2)."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code = code
        self.reason = reason


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    size = len(payload)
    return HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame with ``values``."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HL", *pair) for pair in values.items()))


def window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return HEADER.pack(0, 4, WINDOW_UPDATE, 0, stream_id) + increment.to_bytes(4, "big")


def rst_stream(stream_id: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return HEADER.pack(0, 4, RST_STREAM, 0, stream_id) + code.to_bytes(4, "big")


def goaway(last_stream_id: int, code: int, reason: bytes = b"") -> bytes:
    """A GOAWAY frame: no stream behind ``last_stream_id`` was or will be worked on."""
    return frame(GOAWAY, 0, 0, struct.pack(">LL", last_stream_id, code) + reason)


def header_frames(stream_id: int, block: bytes, max_frame: int, *, end_stream: bool) -> bytes:
    """HEADERS, and as many CONTINUATION frames as ``block`` needs behind it."""
    flags = END_STREAM if end_stream else 0
    size = len(block)
    if size <= max_frame:
        return HEADER.pack(size >> 8, size & 0xFF, HEADERS, flags | END_HEADERS, stream_id) + block
    parts = [frame(HEADERS, flags, stream_id, block[:max_frame])]
    for start in range(max_frame, size, max_frame):
        last = END_HEADERS if start + max_frame >= size else 0
        parts.append(frame(CONTINUATION, last, stream_id, block[start : start + max_frame]))
    return b"".join(parts)
