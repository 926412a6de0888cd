"""Connections that the kernel has accepted and we have not: what becomes of them when a socket stops listening.

A client whose handshake is done takes itself for connected and may have sent its request. Closing the listening socket
resets it, however short the time since the event loop accepted the last one. On Linux a socket filter helps: the socket
refuses first segments (SYN) silently, handshakes that have begun come to their end, the event loop accepts them as
ever, and then the queue is empty and stays so. Who comes in this moment sends its SYN again after a second, and is
refused by the socket that is gone.
"""

import asyncio
import ctypes
import socket
import struct
import sys
from asyncio import Server
from collections.abc import Iterable
from typing import Any, Final

#: Seconds for handshakes that have begun: a round trip to clients far away.
HANDSHAKE: Final = 0.25
#: Seconds for the event loop to accept what waits.
ACCEPT: Final = 5.0

#: linux/asm-generic/socket.h; Python has no name for it.
_SO_ATTACH_FILTER: Final = 26
#: Classic BPF over the TCP header: load the byte of the flags, keep SYN and ACK; SYN alone is dropped, all else passes.
_DROP_SYN: Final = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFF))
)
#: Where struct tcp_info has the number of connections that wait for accept(): tcpi_unacked, of a listening socket.
_WAITING: Final = slice(24, 28)


async def accept_all(servers: Iterable[Server]) -> None:
    """Let no further client connect, and accept those that have. The sockets must be this process's alone.

    Does nothing where the kernel has no such filter: then the last clients of a socket may be reset.
    """
    listening = [each for server in servers for each in server.sockets if _refuse_new(each)]
    if not listening:
        return
    await asyncio.sleep(HANDSHAKE)
    deadline = asyncio.get_running_loop().time() + ACCEPT
    while any(map(_waiting, listening)) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.01)


def _refuse_new(listening: Any) -> bool:
    """Attach the filter. ``listening`` is a socket in all but its class, which is the event loop's."""
    if sys.platform != "linux" or listening.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    program = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
    pointer = struct.pack("HL", len(_DROP_SYN) // 8, ctypes.addressof(program))
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)
    except OSError:
        return False
    return True


def _waiting(listening: Any) -> int:
    info: bytes = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _WAITING.stop)
    return int.from_bytes(info[_WAITING], sys.byteorder)
