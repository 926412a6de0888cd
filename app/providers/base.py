"""What every source of objects offers to the part that builds routes from them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from routes.problems import Problem
from routes.resources.meta import Key, Resource


@dataclass(frozen=True, slots=True)
class Change:
    """What is different since the change before.

    ``upserts`` are new objects and objects with a new value, ``deletes`` the keys of those that went away; a key is
    never in both. ``problems`` is the provider's whole list after this change, or None where it is as it was, and so is
    ``unread``: what there may be and cannot be read, see :attr:`routes.snapshot.Snapshot.unread`.
    """

    upserts: tuple[Resource, ...] = ()
    deletes: tuple[Key, ...] = ()
    problems: tuple[Problem, ...] | None = None
    unread: Mapping[tuple[str, str, str], str] | None = None


class Place(NamedTuple):
    """A line in a file, counted from 1; 0 is unknown, as is an empty ``file``."""

    file: str
    line: int


class Provider(Protocol):
    """A source of objects.

    One consumer calls ``load`` once and then goes through ``changes``; applying every change in order to what
    ``load`` gave always yields the provider's present set of objects.
    """

    @property
    def name(self) -> str:
        """What to call the provider in logs and in the status page."""
        ...

    async def load(self) -> Change:
        """Everything there is, and the whole list of problems. What is wrong with the source is a problem in the
        list, never an exception."""
        ...

    def changes(self) -> AsyncGenerator[Change, None]:
        """What changed since ``load``, for as long as it is iterated. It ends only by cancellation (or ``aclose``)."""
        ...

    async def look(self) -> Change | None:
        """What a look at everything finds, that nobody told of; None where nothing is different. What it answers is to
        be applied in its turn among :meth:`changes`."""
        ...

    async def locate(self, places: Sequence[tuple[Key, str]]) -> list[Place]:
        """The file and line of each ``(key, field)``, in the order asked; a field is spelled as in ``Problem.field``.

        Takes many at once and may wait: lines are not kept in memory, so that finding them means reading files,
        which must neither stop the event loop nor be done again for each of a file's thousand problems.
        """
        ...
