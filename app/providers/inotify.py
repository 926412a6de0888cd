"""Linux's own notifications of what happens in folders, read in the event loop: no thread, and nothing done while
nothing happens. See inotify(7)."""

import asyncio
import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterable
from typing import Any, Self

_ATTRIB, _CLOSE_WRITE = 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
_UNMOUNT, _OVERFLOW, _IGNORED = 0x2000, 0x4000, 0x8000
_ONLY_FOLDERS, _ISDIR = 0x01000000, 0x40000000
_WANTED = _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF
#: After these nothing is known of what is in a folder.
_LOST = _UNMOUNT | _OVERFLOW | _IGNORED | _DELETE_SELF | _MOVE_SELF
#: After these a file is whole. Behind the others there may be someone who has only begun to write.
_FINAL = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _DELETE

_HEAD = struct.Struct("iIII")
#: Room for many events; one has at most 16 + 256 bytes.
_READ = 2**16


class Happened:
    """What was notified of since it was last taken. ``paths`` are those of files that are as they are to be.

    ``begun`` are those of files that may be written to still. ``lost``: there is more to it, and everything has to be
    looked at.
    """

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.begun: set[str] = set()
        self.lost = False

    def add(self, more: "Happened") -> None:
        """Take what happened afterwards to it."""
        self.paths |= more.paths
        self.begun |= more.begun
        self.lost |= more.lost

    def __bool__(self) -> bool:
        return self.lost or bool(self.paths or self.begun)


class Inotify:
    """Watches ``folders``, not what is in their sub-folders. Use as a context, in the event loop.

    Raises OSError where there is no watching: not on Linux, no folder, or too many watches on the system.
    """

    def __init__(self, folders: Iterable[str]) -> None:
        if sys.platform != "linux":
            raise OSError(errno.ENOSYS, "inotify is Linux's")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._folders: dict[int, str] = {}
        self._happened = Happened()
        self._waiting: asyncio.Future[None] | None = None
        try:
            for folder in folders:
                name = os.fsencode(folder)
                watch = self._checked(self._libc.inotify_add_watch(self._fd, name, _WANTED | _ONLY_FOLDERS))
                self._folders[watch] = folder
        except OSError:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._fd, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    async def wait(self, seconds: float | None, other: asyncio.Future[Any] | None = None) -> None:
        """Wait until something has happened that was not taken, or ``other`` is done, ``seconds`` at most."""
        if self._happened:
            return
        self._waiting = asyncio.get_running_loop().create_future()
        futures = [self._waiting] if other is None else [self._waiting, other]
        try:
            await asyncio.wait(futures, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting = None

    def take(self) -> Happened:
        """What has happened since the last time."""
        self._read()
        happened, self._happened = self._happened, Happened()
        return happened

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._fd, _READ)
            except BlockingIOError:
                break
            self._note(data)
        if self._happened and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _note(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            watch, mask, _, length = _HEAD.unpack_from(data, at)
            name = data[at + _HEAD.size : at + _HEAD.size + length].rstrip(b"\0")
            at += _HEAD.size + length
            folder = self._folders.get(watch)
            if mask & _LOST or folder is None or mask & _ISDIR:
                self._happened.lost = True
            else:
                path = os.path.join(folder, os.fsdecode(name))
                (self._happened.paths if mask & _FINAL else self._happened.begun).add(path)

    def _checked(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
