"""What has happened to the configuration: which objects changed, when, and what came of it."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

#: What can happen to an object; the last is the gateway itself.
What = Literal["added", "changed", "removed", "problem", "mended", "gateway"]

#: Events that are kept.
CAPACITY: Final = 500


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one object. ``number`` counts from 1 and is never used twice.

    ``subject`` is the object as people write it (``HTTPRoute default/http-app-1``), "" for the gateway itself.
    ``text`` is a sentence: what it changed in what is served, or what is wrong.
    """

    number: int
    at: datetime
    kind: What
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Build:
    """One attempt to serve a change. ``duration`` is the building's alone, in seconds. ``error``: why nothing of it is
    served, "" where it is."""

    at: datetime
    duration: float
    error: str = ""


class Journal:
    """The last events, the last build and how many there were. All of it in the event loop.

    ``heard`` are called after each event and each build, and must not block.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._events: deque[Event] = deque(maxlen=CAPACITY)
        self._count = 0
        self.last_build: Build | None = None
        self.builds = 0
        self.failed_builds = 0
        self.heard: set[Callable[[], None]] = set()

    def note(self, kind: What, subject: str, text: str) -> None:
        """Something happened."""
        self._count += 1
        self._events.append(Event(self._count, self._now(), kind, subject, text))
        self._tell()

    def built(self, duration: float, error: str = "") -> None:
        """A change was built in ``duration`` seconds, or could not be."""
        self.last_build = Build(self._now(), duration, error)
        self.builds += 1
        self.failed_builds += bool(error)
        self._tell()

    def latest(self, most: int = CAPACITY) -> Iterator[Event]:
        """The newest first, ``most`` of them."""
        for _, event in zip(range(most), reversed(self._events), strict=False):
            yield event

    @property
    def count(self) -> int:
        """The number of the last event, 0 where there was none."""
        return self._count

    def _tell(self) -> None:
        for each in tuple(self.heard):
            each()
