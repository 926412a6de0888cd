"""Objects from manifest files and folders of them, read again as they change."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from itertools import chain
from pathlib import Path

from app.providers.base import Change, Place
from app.providers.folders import read_file
from app.providers.held import Held, difference, keys_in, locate, reread, survey
from app.providers.watching import Watching
from routes.resources.meta import Key
from routes.resources.scheme import ExtensionKinds

#: So many changed files of so many bytes are read in the event loop, in a few milliseconds. A thread would get at the
#: interpreter only when the event loop lets go of it, which under load is every 5 ms.
_FEW, _SMALL = 4, 16 * 2**10


class FileProvider:
    """Serves the objects in ``paths``: files, whatever their names, and folders' YAML and JSON files, sub-folders too.

    - A file that cannot be read keeps the objects it had, and so does an object that is wrong in a file that can.
    - A deleted file takes its objects away.
    - Of an object in two files, the one in the file whose path sorts first is served. When it goes, the other is.
    - An object that was read again and is equal stays the same instance.

    ``rescan`` and ``rescan_missing`` are the seconds between looks at the files where no change is notified of, the
    second while one of ``paths`` does not exist. ``read`` gets a file's bytes. ``extensions`` are the groups and kinds
    of other people's objects that are read as well.
    """

    name = "files"

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        rescan: float = 5.0,
        rescan_missing: float = 1.0,
        read: Callable[[str], bytes] = read_file,
        extensions: ExtensionKinds = frozenset(),
    ) -> None:
        self._paths = tuple(paths)
        self._extensions = extensions
        self._rescan = rescan
        self._rescan_missing = rescan_missing
        self._read = read
        self._held = Held()
        self._watching = Watching(lambda: self._held.scan, self._survey)

    async def load(self) -> Change:
        """Reads all files. Never raises for what is wrong with them: that is in the problems."""
        return await self._refresh() or Change(problems=self._held.problems)

    async def changes(self) -> AsyncGenerator[Change, None]:
        """What changed since `load`, one change for what happened together, and none where nothing came of it."""
        while True:
            watched, interval = self._held.scan.folders, self._interval()
            async with aclosing(self._watching.looks(interval)) as looks:
                async for look in looks:
                    if isinstance(look, Held):
                        change = self._adopt(look)
                    else:
                        change = await self._refresh() if look is None else await self._read_again(look)
                    if change:
                        yield change
                    if (self._held.scan.folders, self._interval()) != (watched, interval):
                        break

    async def look(self) -> Change | None:
        """What a look at all files finds, though nothing was notified of."""
        return await self._refresh()

    async def locate(self, places: Sequence[tuple[Key, str]]) -> list[Place]:
        """The lines of objects' fields; each file is read once. Where a file was changed since, or says nothing valid
        of the object, the line is that of the object or 0."""
        return await asyncio.to_thread(locate, self._held, tuple(places), self._read)

    async def _refresh(self) -> Change | None:
        """Brings the state up to date; what came of it, or None. The only place that changes what is held.

        The work is done on the side from a state that stays as it is, and the result is put in place at once, so that
        a cancellation in between leaves nothing half done.
        """
        while True:
            before = self._held
            found = await self._survey()
            # What came in between was read later.
            if self._held is before:
                return self._adopt(found)

    async def _survey(self) -> Held:
        return await asyncio.to_thread(survey, self._held, self._paths, self._read, self._extensions)

    def _adopt(self, state: Held) -> Change | None:
        before, self._held = self._held, state
        return difference(before, self._held, dict.fromkeys(chain(before.owners, self._held.owners)))

    async def _read_again(self, files: Sequence[str]) -> Change | None:
        """The same where it is known that only ``files`` have changed, and that these are written to their end."""
        before = self._held
        look = (before, files, self._read, self._extensions)
        if len(files) <= _FEW and all(_size(path) <= _SMALL for path in files):
            self._held = reread(*look)
        else:
            self._held = await asyncio.to_thread(reread, *look)
        return difference(before, self._held, dict.fromkeys(chain(keys_in(files, before), keys_in(files, self._held))))

    def _interval(self) -> float:
        return self._rescan_missing if self._held.scan.missing else self._rescan


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
