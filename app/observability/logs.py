"""Where the access log goes, and which requests and fields are in it."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from app.settings import Settings
from middleware.accesslog import AccessLog, Selection
from middleware.linewriter import LineWriter
from middleware.loggedfields import LoggedFields

logger = logging.getLogger(__name__)

#: Who may read a new log file, less what the umask takes: it tells who asked for what.
_MODE: Final = 0o640


class LogFile:
    """A file that lines are appended to, by any number of processes. Raises OSError where it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = _open(path)
        #: Whether the last line was written in part, for want of room.
        self._torn = False

    def write(self, text: str) -> None:
        """Append whole lines: where there is room for them, in one piece, so that those of other processes stay whole.

        Raises OSError.
        """
        data = text.encode()
        if self._torn:
            data = b"\n" + data
        while data:
            written = os.write(self._descriptor, data)
            self._torn = data[written - 1 : written] != b"\n"
            data = data[written:]

    def flush(self) -> None:
        """Nothing is kept back."""

    def reopen(self) -> None:
        """Go on in the file that has the path now; where that cannot be opened, in the old one, and log why."""
        try:
            opened = _open(self.path)
        except OSError as error:
            logger.error("the access log %s cannot be opened anew, the old file goes on: %s", self.path, error.strerror)
            return
        old, self._descriptor, self._torn = self._descriptor, opened, False
        os.close(old)


def _open(path: Path) -> int:
    # Without O_NONBLOCK a FIFO that nobody reads would be waited for.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, _MODE)
    os.set_blocking(descriptor, True)
    return descriptor


class AccessLines:
    """The lines' way out: to the file of the settings, or to standard output. Raises OSError for a file that cannot be
    opened."""

    def __init__(self, path: Path | None) -> None:
        self._file = LogFile(path) if path is not None else None
        self._writer = LineWriter(sys.stdout if self._file is None else self._file)
        self.write = self._writer.write
        self.close = self._writer.close

    def reopen(self) -> None:
        """Go on in the file that has the path now, from the next line on. Does not wait; any thread may ask."""
        if self._file is not None:
            self._writer.call(self._file.reopen)
            self._writer.start()


def access_log(settings: Settings, write: Callable[[str], None]) -> AccessLog:
    """The observer that ``settings`` ask for, whose lines ``write`` gets."""
    assert settings.access_log != "off", "somebody asked for it"
    return AccessLog(
        format=settings.access_log,
        write=write,
        only=Selection(
            statuses=frozenset(_statuses(settings.access_log_status)),
            min_duration=round(settings.access_log_min_duration * 1e9),
            retries=settings.access_log_retries,
        ),
        fields=LoggedFields(settings.access_log_headers, settings.access_log_header),
    )


def _statuses(ranges: tuple[str, ...]) -> list[int]:
    found: list[int] = []
    for part in ranges:
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
