"""When there is something to look at in the folders of manifests: as the system tells, and every now and then."""

import asyncio
import errno
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any

from watchfiles import awatch

from app.providers.folders import Scan
from app.providers.held import Held
from app.providers.inotify import Inotify

_log = logging.getLogger(__name__)

#: Seconds in which changes that come soon after another are gathered, and for which a file that somebody has begun to
#: write is left alone.
_GATHER = 0.05
#: Milliseconds between two looks of watchfiles, where inotify is not to be had. Its thread holds up the event loop's
#: each time: every 10 ms that costs a tenth of the CPU time under load.
_STEP_MS = 100


class Watching:
    """Watches the folders of the present ``scan``: by inotify or, where that is not to be had, by watchfiles.

    ``survey`` looks at all files, beside the event loop.
    """

    def __init__(self, scan: Callable[[], Scan], survey: Callable[[], Coroutine[Any, Any, Held]]) -> None:
        self._scan = scan
        self._survey = survey
        self._unwatched = False

    async def looks(self, interval: float) -> AsyncGenerator[Sequence[str] | Held | None, None]:
        """Yields each time there is something to look at: the files that have changed, or None for everything.

        Everything first once all is watched, so that no change falls between, and after ``interval`` seconds without:
        then what was found is yielded, as a change that is notified of does not wait for that. What a look leads to is
        to be in the present scan when the next is asked for.
        """
        try:
            watch = Inotify(sorted(folder.path for folder in self._scan().folders))
        except OSError as error:
            if error.errno != errno.ENOSYS:
                _log.debug("no inotify: %s", error)
            async with aclosing(self._looks_of_watchfiles(interval)) as looks:
                async for _ in looks:
                    yield None
            return
        with watch:
            self._unwatched = False
            yield None
            while True:
                await watch.wait(interval)
                happened = watch.take()
                if not happened:
                    survey = asyncio.ensure_future(self._survey())
                    try:
                        await watch.wait(None, survey)
                        if survey.done():
                            yield survey.result()
                            continue
                        happened = watch.take()
                    finally:
                        survey.cancel()
                if not happened.lost and not happened.paths:
                    if self._scan().files_at(happened.begun) == []:
                        continue
                    await watch.wait(_GATHER)  # for the end of what was begun
                    happened.add(watch.take())
                if not happened or happened.lost or self._scan().files_at(happened.begun - happened.paths) != []:
                    yield None
                elif (files := self._scan().files_at(happened.paths)) != []:
                    yield files
                else:
                    continue
                # Who changes a thousand files is served the first of them at once, and then many together.
                await asyncio.sleep(_GATHER)

    async def _looks_of_watchfiles(self, interval: float) -> AsyncGenerator[None, None]:
        watch = awatch(
            *sorted(folder.path for folder in self._scan().folders),
            watch_filter=lambda _, path: self._scan().concerns(path),
            debounce=int(_GATHER * 1000),
            step=_STEP_MS,
            rust_timeout=max(1, int(interval * 1000)),
            yield_on_timeout=True,
            # The scan finds the sub-folders, and unlike the watcher it also follows links that are made later.
            recursive=False,
            ignore_permission_denied=True,
        )
        first = asyncio.ensure_future(anext(watch))
        try:
            await asyncio.sleep(0)  # the watch begins with the first step of its generator
            yield
            await first
            self._unwatched = False
            yield
            async for _ in watch:
                yield
        except Exception as error:  # no watches left, a folder that went away, a name that is not UTF-8, and more
            if not self._unwatched:
                _log.warning("cannot watch the manifests, looking every %g s: %s", interval, error)
            self._unwatched = True
            await asyncio.sleep(interval)
        finally:
            first.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await first
            await watch.aclose()
