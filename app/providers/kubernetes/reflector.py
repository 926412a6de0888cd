"""One collection of an API server, followed: listed in pages, then watched, and listed again where that does not do.

In: a collection's path and what to leave out of it. Out: each object that is new or another, and each that is gone.
Not here: what the objects mean.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from enum import Enum
from typing import Any, Final, Protocol

from pydantic_core import from_json

from app.providers.kubernetes.api import ApiError

logger = logging.getLogger(__name__)

#: Objects a page: few enough that decoding one does not hold the event loop up for long. Where they come to more than
#: the client takes there are fewer by this factor, down to one.
_PAGE: Final = 250
_SMALLER: Final = 4
#: Seconds of work after which the event loop has its turn.
_SLICE: Final = 0.003
#: Seconds without a line after which a watch counts as broken: a server with nothing to tell sends a bookmark every
#: minute.
_SILENCE: Final = 150.0
#: Seconds that the server is asked to keep a watch open, so that not all are begun anew at the same time.
_OPEN: Final = (240, 360)
#: A watch that ends sooner, in seconds, is not begun anew without a pause.
_SOON: Final = 5.0
#: Seconds between tries: at first, and at most.
_QUICK, _SLOW = 0.1, 30.0

#: Refusals that pass, by themselves or with new credentials.
_PASSING: Final = frozenset({401, 408, 409, 410, 429})
#: Answers to a watch after which it may be taken up where it broke; after all others everything is listed again.
_RESUMED: Final = frozenset({0, 401, 429, 500, 502, 503})

#: Times that a server may fail to take a watch up before everything is listed again.
_STUBBORN: Final = 3

Name = tuple[str, str]


class Collections(Protocol):
    """Requests for many objects. All raise ApiError, and try nothing again."""

    def list(
        self, path: str, params: Mapping[str, str], *, metadata_only: bool = False
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        """The pages of the collection at ``path``, of ``limit`` objects each; with "0" it is one."""
        ...

    def watch(
        self, path: str, params: Mapping[str, str], *, metadata_only: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """The lines of a watch until the server ends it, and before them an empty one, when it is open. An ApiError
        with status 0 where it breaks."""
        ...


class Found(Enum):
    """What is known of a collection."""

    NOTHING = "nothing"  # as yet
    SYNCED = "synced"
    ABSENT = "absent"
    REFUSED = "refused"


class Reflector:
    """Follows the collection at ``path`` and tells each change: ``on_change(namespace, name, object)``, the object None
    where it is gone. What was told is always what the server had at one time, whatever happened to the connection, and
    an object is not told again as long as it is the same. It is the listener's own; nothing of it is kept here.

    Of several paths (the same objects in several versions) the first that is there counts; ``path`` may be a function
    that finds them. A collection that is ``optional`` may be absent, and takes its objects
    along when it vanishes; of any other, 404 is an error that passes. ``params`` are selectors. With ``metadata_only``
    the server is asked for the objects' metadata alone.

    ``on_state`` is called when any of :attr:`found`, :attr:`why` and :attr:`failures` is another.
    """

    def __init__(
        self,
        client: Collections,
        path: str | Sequence[str] | Callable[[], Awaitable[Sequence[str]]],
        params: Mapping[str, str],
        on_change: Callable[[str, str, dict[str, Any] | None], None],
        *,
        optional: bool = False,
        metadata_only: bool = False,
        on_state: "Callable[[Reflector], None]" = lambda reflector: None,
    ) -> None:
        self._client = client
        self._where = (path,) if isinstance(path, str) else path
        self._params = params
        self._on_change = on_change
        self._optional = optional
        self._metadata_only = metadata_only
        self._on_state = on_state
        self.found = Found.NOTHING
        #: Set when the first list is in, or it is known why there is none.
        self.settled = asyncio.Event()
        #: Why the collection cannot be read or followed, in the server's words; "" where it can.
        self.why = ""
        #: How often that was tried in a row.
        self.failures = 0
        # The mutable state of following: where, from which version on ("": it has to be listed), in one piece or in
        # pages and of how many objects, whether the last version was forgotten by the server, and what was told last of
        # each object, as a hash of uid and resourceVersion.
        self._paths: Sequence[str] = ()
        self._path = ""
        self._version = ""
        self._whole = False
        self._page = _PAGE
        self._expired = False
        self._told: dict[Name, int] = {}
        self._watching: asyncio.Timeout | None = None
        self._wake = asyncio.Event()
        self._worked_since = 0.0

    async def run(self) -> None:
        """Follow, until cancelled."""
        while True:
            asked_for = 0.0
            try:
                if not self._version:
                    await self._list()
                    if self.found is not Found.REFUSED:  # which may be about watches alone
                        self._tell(Found.SYNCED, "", self.failures)
                if await self._watch():
                    continue
            except ApiError as error:
                self._failed(error)
                asked_for = error.retry_after
            except Exception as error:
                logger.exception("%s could not be followed, and is listed again", self._path)
                self._version = ""
                self._failed(ApiError(0, "Internal", f"{error!r}: see the log"))
            await self._rest(asked_for)

    def again(self, *, anew: bool = False) -> None:
        """Look now, where the collection is not there or cannot be read, or may be there in a better version. With
        ``anew`` it is listed again in any case."""
        if self._watching is None:
            self._wake.set()
        elif (anew or self._path != self._paths[0]) and not self._watching.expired():
            self._version = ""
            self._watching.reschedule(0.0)

    async def _list(self) -> None:
        self._wake.clear()
        self._paths = await self._where() if callable(self._where) else self._where
        for path in self._paths:
            try:
                await self._list_at(path)
            except ApiError as error:
                if error.status != 404 or path == self._paths[-1]:
                    raise
            else:
                return

    async def _list_at(self, path: str) -> None:
        there: set[Name] = set()
        params = {**self._params, "limit": "0" if self._whole else str(self._page)}
        version = ""
        async with aclosing(self._client.list(path, params, metadata_only=self._metadata_only)) as pages:
            async for page in pages:
                version = version or page["metadata"]["resourceVersion"]
                for item in page.get("items") or ():
                    there.add(self._put(item))
                    await self._breathe()
        for name in self._told.keys() - there:
            self._remove(name)
        self._path, self._version, self._whole = path, version, False

    async def _watch(self) -> bool:
        """Follow from the last version on. Whether it is to be taken up at once, when the server has ended it."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        params = {
            **self._params,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(random.randint(*_OPEN)),  # noqa: S311
        }
        try:
            async with (
                asyncio.timeout(_SILENCE) as self._watching,
                aclosing(self._client.watch(self._path, params, metadata_only=self._metadata_only)) as lines,
            ):
                async for line in lines:
                    self._go_on(self._watching, loop.time())
                    if line:
                        self._event(line)
                        self._expired = False
                        await self._breathe()
                    self._tell(Found.SYNCED, "", 0 if line else self.failures)
        except TimeoutError:
            if self._version:
                raise ApiError(0, "Timeout", "the server fell silent") from None
            return True  # by again()
        finally:
            self._watching = None
        if loop.time() - begun >= _SOON:
            return True
        self._tell(Found.SYNCED, "", self.failures + 1)
        return False

    @staticmethod
    def _go_on(watching: asyncio.Timeout, now: float) -> None:
        """Put the end of patience off; rarely, since it takes longer than to look at the clock."""
        deadline = watching.when()
        if deadline is not None and 0.0 < deadline < now + _SILENCE / 2 and not watching.expired():
            watching.reschedule(now + _SILENCE)

    def _event(self, line: bytes) -> None:
        try:
            event = from_json(line, cache_strings="keys")
            type_, item = event["type"], event["object"]
            version = "" if type_ == "ERROR" else item["metadata"]["resourceVersion"]
            name = ("", "") if type_ in ("ERROR", "BOOKMARK") else _name(item)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self._version = ""
            raise ApiError(0, "Malformed", f"it tells what is no event: {error!r}") from error
        if type_ == "ERROR":
            raise ApiError(item.get("code", 500), item.get("reason", ""), item.get("message", ""))
        if type_ in ("ADDED", "MODIFIED"):
            self._put(item)
        elif type_ == "DELETED" and name in self._told:
            self._remove(name)
        if self._version:  # again() wants a list
            self._version = version

    def _put(self, item: dict[str, Any]) -> Name:
        metadata = item["metadata"]
        name = _name(item)
        version = hash((metadata.get("uid"), metadata.get("resourceVersion")))
        if self._told.get(name) != version:
            self._on_change(*name, item)
            self._told[name] = version
        return name

    def _remove(self, name: Name) -> None:
        self._on_change(*name, None)
        del self._told[name]

    async def _breathe(self) -> None:
        """Let the event loop go on where this has been at work for long."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._worked_since > _SLICE:
            await asyncio.sleep(0)
            self._worked_since = loop.time()

    def _failed(self, error: ApiError) -> None:
        status = error.status
        why = f"{error.message} ({status} {error.reason})" if status else error.message
        listing, found = not self._version, self.found
        if error.reason == "TooLarge" and listing and not self._whole:
            self._page = max(1, self._page // _SMALLER)
        # What a server does not know any more in the middle of a list it will know in one piece.
        self._whole = status == 410 and listing
        if status not in _RESUMED or (status >= 500 and self.failures >= _STUBBORN):
            self._version = ""
        failures = self.failures + 1
        if status == 410 and not self._expired:
            # However long there was no server before, there is one now.
            failures, self._expired = 1, True
        if status == 404 and self._optional and listing:
            found = Found.ABSENT
            for name in list(self._told):
                self._remove(name)
        elif 400 <= status < 500 and status != 404 and status not in _PASSING:
            found = Found.REFUSED
        self._tell(found, why, failures)

    def _tell(self, found: Found, why: str, failures: int) -> None:
        if (found, why, failures) == (self.found, self.why, self.failures):
            return
        self.found, self.why, self.failures = found, why, failures
        if found is not Found.NOTHING:
            self.settled.set()
        self._on_state(self)

    async def _rest(self, asked_for: float) -> None:
        """Rest the longer the more has failed, until somebody wants to look again; as long as the server asks for."""
        seconds = min(_QUICK * 3 ** min(self.failures - 1, 9), _SLOW) * random.uniform(0.5, 1.0)  # noqa: S311
        asked_for = min(asked_for, _SLOW)
        await asyncio.sleep(asked_for)
        try:
            async with asyncio.timeout(max(seconds - asked_for, 0.0)):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
        self.failures = min(self.failures, 1)


def _name(item: Mapping[str, Any]) -> Name:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
