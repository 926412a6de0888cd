"""Writes statuses to the API server: the leader's job, done calmly.

What a status should be is made of the latest graph at the moment of writing, so that nothing older can come after it.
What is stored is compared first, and its resourceVersion goes along, so that what others write meanwhile is never lost.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from app.patience import Patience
from app.providers.kubernetes.api import Api, ApiError, Object, Statuses, Stored
from app.reconciler import State
from app.status.agenda import Agenda
from app.status.merge import Ownership, Status, counts_alone, merge, observed
from app.status.patches import Node, frame, status, v1alpha1_gateways
from routes.graph.nodes import Graph
from routes.resources.meta import V1ALPHA1_GROUP, Key

logger = logging.getLogger(__name__)

#: Requests that are under way together.
_AT_ONCE = 8
#: Where nothing changes but how much is attached to an object, it is written after so many seconds of quiet, and while
#: changes go on so many seconds after it was written last, at first and at most.
_QUIET, _COUNTING, _LONGEST_COUNTING = 1.0, 1.0, 5.0
#: Seconds between two looks at what others have written.
_LOOKING = 1.0
#: Objects that are compared in one go, before others get a turn.
_TURN = 32
#: Seconds that a server may ask us to wait.
_LONGEST_WAIT = 60.0
#: Answers that are about the server or about us, and not about one object.
_EVERYBODYS = frozenset({0, 401, 429, 503, 504})

#: Classes first, for with them it begins; then Gateways. Everything else is after them.
_RANKS = {"GatewayClass": 0, "Gateway": 1, "ListenerSet": 2}
#: What tells how much is attached.
_COUNTED = ("Gateway", "ListenerSet")


class _Write(NamedTuple):
    key: Key
    stored: Stored
    status: Status


class _Counted(NamedTuple):
    """When an object was written, and how long it may be until that is done again for a number alone."""

    at: float
    span: float


class StatusWriter:
    """Follows the states that are served and, while it leads, writes what they mean for each object of ours.

    ``clock`` gives seconds that only grow, ``now`` the time that is written, ``chance`` numbers from 0 to 1.
    """

    def __init__(
        self,
        api: Api,
        statuses: Statuses,
        controller_name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._api = api
        self._statuses = statuses
        self._controller_name = controller_name
        self._clock = clock
        self._now = now
        # What is to be written. Routes are looked up in the graph, of which there are many.
        self._graph = Graph((), {}, {})
        self._nodes: dict[Key, Node] = {}
        self._gateways: frozenset[tuple[str, str]] = frozenset()
        self._leading = False
        self._agenda = Agenda(clock, lambda key: _RANKS.get(key.kind, 3))
        #: Those on the agenda for no other reason than that their stored status has changed.
        self._looked: set[Key] = set()
        # What has been written.
        #: What we know to be stored before Statuses does.
        self._ahead: dict[Key, Stored] = {}
        self._counted: dict[Key, _Counted] = {}
        #: When something of it changed last.
        self._moved: dict[Key, float] = {}
        #: Until when what others undid is left so.
        self._left: dict[Key, float] = {}
        # What went wrong.
        self._undone = Patience(1.0, 60.0, chance)
        self._conflicts = Patience(0.05, 5.0, chance)
        self._faults = Patience(0.5, 30.0, chance)
        self._refusals = Patience(1.0, 300.0, chance)
        self._outages = Patience(0.25, 5.0, chance)
        self._resume = 0.0
        self._pauses = 0
        self._out = False
        self._complaints: set[tuple[object, ...]] = set()

    def publish(self, state: State) -> None:
        """``state`` is served from now on."""
        self._graph = state.graph
        nodes: dict[Key, Node] = {**frame(state.graph), **state.graph.policies}
        before, self._nodes = self._nodes, nodes
        others = (each.key for each in state.graph.foreign if each.key.group == V1ALPHA1_GROUP)
        self._gateways |= v1alpha1_gateways(state.graph)
        self._gateways -= {(key.namespace, key.name) for key in others}
        if self._leading:
            for key, node in nodes.items():
                if before.get(key) is not node:
                    self._want(key)
            for key in state.changed:
                self._want(key)

    def lead(self, leading: bool) -> None:
        """Whether to write. Who begins to goes through all objects once."""
        if leading is self._leading:
            return
        self._leading = leading
        if leading:
            for key in (*self._nodes, *self._graph.routes):
                self._want(key)
        else:
            self._agenda.clear()
            for kept in (self._looked, self._ahead, self._counted, self._moved, self._left, self._complaints):
                kept.clear()

    async def run(self) -> None:
        """Write what there is to write, until cancelled."""
        room = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look())
            while True:
                await room.acquire()
                group.create_task(self._write(await self._next(), room))

    def _want(self, key: Key) -> None:
        self._looked.discard(key)
        self._conflicts.forget(key)
        if key.kind in _COUNTED:
            self._moved[key] = self._clock()
        self._agenda.put(key)

    async def _look(self) -> None:
        """See to what others have written."""
        while True:
            await asyncio.sleep(_LOOKING)
            changed = self._statuses.take_changed()
            for key in changed if self._leading else ():
                stored, ahead = self._statuses.stored(key), self._ahead.get(key)
                if stored is None:
                    self._forget(key)
                elif ahead is not None and ahead.resource_version == stored.resource_version:
                    del self._ahead[key]  # we wrote it ourselves
                elif key not in self._agenda:
                    self._looked.add(key)
                    self._agenda.put(key)
            now = self._clock()
            for key in [key for key, last in self._counted.items() if last.at + 2 * last.span < now]:
                del self._counted[key]
            for key in [key for key, at in self._left.items() if at + _LONGEST_WAIT < now]:
                del self._left[key]
                self._undone.forget(key)

    async def _next(self) -> _Write:
        """The next thing to write."""
        compared = 0
        while True:
            key = await self._agenda.take()
            while (wait := self._resume - self._clock()) > 0:
                await asyncio.sleep(wait)
            try:
                write = self._due(key)
            except Exception:
                logger.exception("the status of %s could not be made", key)
                self._agenda.put(key, self._clock() + self._refusals.after(key))
                write = None
            if write is not None:
                return write
            self._agenda.done(key)
            compared += 1
            if compared % _TURN == 0:
                await asyncio.sleep(0)

    def _due(self, key: Key) -> _Write | None:
        """What to write of ``key`` now."""
        looked = key in self._looked
        self._looked.discard(key)
        node, stored = self._nodes.get(key) or self._graph.routes.get(key), self._stored(key)
        if node is None or stored is None or not self._leading:
            return None
        owned = Ownership.of(key, self._controller_name, self._gateways)
        metadata = node.source.metadata
        if (metadata.uid and metadata.uid != stored.uid) or observed(stored.status, owned) > metadata.generation:
            return None  # one of the two is behind, and is heard of again
        merged = merge(stored.status, status(node, self._controller_name), owned, self._now())
        if merged is None:
            return None
        now = self._clock()
        at, last = now, self._counted.get(key)
        if last is not None and counts_alone(stored.status, merged):
            at = min(self._moved.get(key, now) + _QUIET, last.at + last.span)
        if looked:
            at = max(at, self._left.get(key, now))
        if at > now:
            self._agenda.put(key, at)
            if looked:
                self._looked.add(key)
            return None
        if looked:
            self._left[key] = now + self._undone.after(key)
        return _Write(key, stored, merged)

    def _stored(self, key: Key) -> Stored | None:
        stored, ahead = self._statuses.stored(key), self._ahead.get(key)
        if stored is None or ahead is None:
            return stored
        if ahead.uid == stored.uid and _version(ahead) > _version(stored):
            return ahead
        del self._ahead[key]
        return stored

    async def _write(self, write: _Write, room: asyncio.Semaphore) -> None:
        pauses = self._pauses
        try:
            try:
                answer = await self._api.merge(f"{write.stored.path}/status", _patch(write))
            except ApiError as error:
                await self._failed(write, error, pauses)
            else:
                self._written(write, answer)
        except Exception:
            logger.exception("the status of %s could not be written", write.key)
            self._again(write.key, self._refusals.after(write.key))
        finally:
            self._agenda.done(write.key)
            room.release()

    def _written(self, write: _Write, answer: Object) -> None:
        key = write.key
        self._ahead[key] = _stored_in(answer, write.stored)
        if key.kind in _COUNTED:
            now, last = self._clock(), self._counted.get(key)
            again = last is not None and now < last.at + 2 * last.span
            self._counted[key] = _Counted(now, min(_LONGEST_COUNTING, 2 * last.span) if last and again else _COUNTING)
        for patience in (self._conflicts, self._faults, self._refusals):
            patience.forget(key)
        self._complaints -= {_place(key), (key,)}
        self._outages.forget(None)
        if self._out:
            self._out = False
            logger.info("statuses are written again")

    async def _failed(self, write: _Write, error: ApiError, pauses: int) -> None:
        key = write.key
        if error.status == 409:
            try:
                self._ahead[key] = _stored_in(await self._api.get(write.stored.path), write.stored)
                self._again(key, self._conflicts.after(key))
                return
            except ApiError as another:
                error = another
        if error.status == 404:
            # Should it be gone, that is heard of before this is over.
            self._again(key, self._refusals.after(key))
        elif error.status in _EVERYBODYS:
            if not self._out:
                self._out = True
                logger.warning("statuses wait: %s", error.message)
            self._pause(error, pauses)
            self._again(key, 0.0)
        elif error.status >= 500:
            self._pause(error, pauses)
            self._complain((key,), key, error)
            self._again(key, self._faults.after(key))
        else:
            self._complain(_place(key) if error.status == 403 else (key,), key, error)
            self._again(key, self._refusals.after(key))

    def _pause(self, error: ApiError, pauses: int) -> None:
        """Leave the server alone for a while. Requests that were under way together fail once."""
        if pauses == self._pauses:
            self._pauses += 1
            asked = min(error.retry_after, _LONGEST_WAIT)
            self._resume = self._clock() + max(asked, self._outages.after(None))

    def _again(self, key: Key, seconds: float) -> None:
        if self._leading:
            self._agenda.put(key, self._clock() + seconds)

    def _complain(self, what: tuple[object, ...], key: Key, error: ApiError) -> None:
        if what not in self._complaints:
            self._complaints.add(what)
            logger.error("the status of %s cannot be written: %s", key, error.message)

    def _forget(self, key: Key) -> None:
        """``key`` is gone."""
        self._ahead.pop(key, None)
        self._counted.pop(key, None)
        self._moved.pop(key, None)
        self._left.pop(key, None)
        self._complaints.discard((key,))
        for patience in (self._undone, self._conflicts, self._faults, self._refusals):
            patience.forget(key)


def _place(key: Key) -> tuple[object, ...]:
    """What a permission is given for."""
    return key.group, key.kind, key.namespace


def _patch(write: _Write) -> Object:
    """A JSON merge patch (RFC 7396), in which null takes a field out; a Conflict where something else is stored."""
    before, after = write.stored.status, write.status
    fields = [field for field in {**before, **after} if before.get(field) != after.get(field)]
    return {
        "metadata": {"uid": write.stored.uid, "resourceVersion": write.stored.resource_version},
        "status": {field: after.get(field) for field in fields},
    }


def _stored_in(answer: Object, before: Stored) -> Stored:
    """What the API server has answered to be stored now."""
    metadata = answer["metadata"]
    return Stored(
        before.path,
        metadata["uid"],
        metadata["resourceVersion"],
        metadata.get("generation", 0),
        before.api_version,
        answer.get("status") or {},
    )


def _version(stored: Stored) -> int:
    """Resource versions are numbers that grow; where one is not, the last that was heard of counts."""
    return int(stored.resource_version) if stored.resource_version.isdecimal() else 0
