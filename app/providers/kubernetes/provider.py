"""Objects from an API server, as they change."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Final, Protocol

from app.providers.base import Change, Place
from app.providers.kubernetes.api import Api
from app.providers.kubernetes.objects import Objects, Reading, data_parts, slice_parts
from app.providers.kubernetes.reflector import Collections, Found, Reflector
from app.providers.kubernetes.report import Collection, Report, report
from app.providers.kubernetes.resources import (
    CONFIG_MAPS,
    DEFINED_GROUPS,
    DEFINITIONS,
    KINDS,
    NAMESPACES,
    SLICES,
    Kind,
    discover,
    extension_kinds,
    references,
)
from app.providers.kubernetes.statuses import StoredStatuses
from app.upstream.services import ServiceEndpoints
from routes.problems import Problem
from routes.resources.core import EndpointSlice
from routes.resources.meta import Key, Resource
from routes.resources.scheme import ExtensionKinds

logger = logging.getLogger(__name__)

#: Seconds that a burst of events may hold a change up. What comes alone does not wait.
_BURST: Final = 0.02
#: Turns of the event loop in which nothing came, after which a burst is over: from a socket to us it takes so many.
_TURNS: Final = 3
#: Seconds within which all collections are asked for again when one of them answers after a time without a server.
_SPREAD: Final = 1.0
#: ConfigMaps of one namespace that are followed. Each is a connection of every replica, and whoever may write policies
#: may refer to as many as he likes.
_MOST_REFERRED: Final = 64
#: Tries in a row that must fail for it to be worth a word: two to four seconds.
_PATIENCE: Final = 5

_NOTHING: frozenset[Key] = frozenset()


class Client(Collections, Api, Protocol):
    """What a provider asks of an API server."""


@dataclass(slots=True)
class _Followed:
    """A collection, or one object of it."""

    kind: Kind
    namespace: str
    reflector: Reflector
    task: asyncio.Task[None]
    troubled: bool = False


class KubernetesProvider:
    """Serves the objects of a cluster: those of ``namespaces``, or of all where that is empty, and cluster-wide ones.

    - Kinds are read as soon as they are installed, in whatever version is served; when one goes, so do its objects.
    - What may not be read is a problem and in ``Change.unread``; what was read of it before goes on.
    - Without an API server everything goes on as it was, and what happened meanwhile is found when it is back.
    - An object that cannot be read, not even in part, is a problem, and goes on as it was when it could.

    ``statuses`` are those that are stored, and ``endpoints`` those of the Services: what changes of these two is told
    by no change. ``extensions`` are the groups and kinds of other people's objects that are read as well.
    """

    name = "kubernetes"

    def __init__(
        self, client: Client, namespaces: Sequence[str] = (), *, extensions: ExtensionKinds = frozenset()
    ) -> None:
        self.statuses = StoredStatuses()
        self.endpoints = ServiceEndpoints()
        self._client = client
        self._namespaces = tuple(dict.fromkeys(namespaces))
        self._extensions = extension_kinds(extensions)
        self._reading = Reading(extensions)
        self._objects = Objects(self._reading)
        # What is followed, and of the policies which ConfigMaps they refer to.
        self._followed: list[_Followed] = []
        self._referred: dict[Key, _Followed] = {}
        self._references: dict[Key, frozenset[Key]] = {}
        self._uses: Counter[Key] = Counter()
        # Those that are too many, and how many are followed in each namespace.
        self._waiting: dict[Key, None] = {}
        self._referred_in: Counter[str] = Counter()
        # What was said and what there is to say.
        self._loaded = asyncio.Event()
        #: Called where a collection answers that did not: others may be asked again, too.
        self.on_answer: Callable[[], None] = lambda: None
        self._news = asyncio.Event()
        self._events = 0
        self._report = Report()
        self._outage = ""
        self._complaints = 0
        self._told: tuple[Problem, ...] = ()
        self._told_unread: Mapping[tuple[str, str, str], str] = {}

    async def load(self) -> Change:
        """Everything there is. Waits for the API server, for as long as it takes, until all of it is known."""
        try:
            for kind in (*KINDS, *self._extensions):
                for namespace in (self._namespaces if kind.namespaced else ()) or ("",):
                    if kind is not NAMESPACES:
                        self._follow(kind, namespace)
            # Whoever may not see all namespaces may be allowed to see those that are asked for.
            for name in self._namespaces or ("",):
                self._follow(NAMESPACES, name=name)
            await self._loaded.wait()
        except BaseException:
            await self.close()
            raise
        self._news.clear()
        upserts, _ = self._objects.take()
        self._told, self._told_unread = self._problems(), self._report.unread
        return Change(tuple(upserts), (), self._told, self._told_unread)

    async def changes(self) -> AsyncGenerator[Change, None]:
        """What changed since ``load``: all that is known by then in one change, at once."""
        try:
            while await self._news.wait():
                await self._burst()
                self._news.clear()
                if (change := self._take()) is not None:
                    yield change
        finally:
            await self.close()

    async def look(self) -> Change | None:
        """Nothing: an API server tells of every change, and is asked anew where it cannot."""
        return None

    async def locate(self, places: Sequence[tuple[Key, str]]) -> list[Place]:
        """Nothing here comes from files."""
        return [Place("", 0)] * len(places)

    async def close(self) -> None:
        """Stop following. So does the end of :meth:`changes`, and a :meth:`load` that fails."""
        tasks = [each.task for each in self._followed]
        self._followed, self._referred = [], {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _follow(self, kind: Kind, namespace: str = "", name: str = "") -> _Followed:
        """Follow the objects of a kind, or the one of this name."""
        match kind:
            case _ if kind is SLICES:
                change = self._slice
            case _ if kind is DEFINITIONS:
                change = self._definition
            case _:
                change = partial(self._object, kind)
        params = {**kind.params, "fieldSelector": f"metadata.name={name}"} if name else kind.params
        reflector = Reflector(
            self._client,
            partial(discover, self._client, kind, namespace) if not kind.plural else kind.paths(namespace),
            params,
            change,
            optional=kind.custom,
            metadata_only=kind.metadata_only,
            on_state=lambda _: self._state(followed),
        )
        followed = _Followed(kind, namespace, reflector, asyncio.create_task(reflector.run()))
        self._followed.append(followed)
        return followed

    # What the reflectors tell: everything below is called by them, and none of it waits.

    def _object(self, kind: Kind, namespace: str, name: str, raw: dict[str, Any] | None) -> None:
        key = Key(kind.group, kind.name, namespace, name)
        if raw is None:
            self.statuses.remove(key)
            self._objects.remove(key)
        else:
            # An object's version is its own where there are several; Kubernetes' own kinds say nothing of it in lists.
            raw |= {"apiVersion": raw["apiVersion"] if kind.custom else kind.api_version, "kind": kind.name}
            if kind.written:
                self.statuses.put(key, raw)
            if kind.data_only:
                raw = data_parts(raw)
            if not self._objects.put(key, raw):
                return
        self._refer(key, self._objects.get(key))
        self._tell()

    def _slice(self, namespace: str, name: str, raw: dict[str, Any] | None) -> None:
        key = Key(SLICES.group, SLICES.name, namespace, name)
        problems = self._reading.problems.get(key)
        if raw is None:
            self._reading.forget(key)
            self.endpoints.remove(key)
        elif isinstance(found := self._reading.read(key, slice_parts(raw)), EndpointSlice):
            self.endpoints.put(found)
        if self._reading.problems.get(key) != problems:
            self._tell()

    def _definition(self, namespace: str, name: str, raw: dict[str, Any] | None) -> None:
        """A CustomResourceDefinition has come, is another one, or is gone."""
        for followed in self._followed:
            if followed.kind.custom and followed.kind.defined_by(name):
                followed.reflector.again(anew=raw is None)
        if name.partition(".")[2] in DEFINED_GROUPS:
            self._object(DEFINITIONS, namespace, name, raw)

    def _refer(self, key: Key, resource: Resource | None) -> None:
        """Follow the ConfigMaps that are referred to, and no others."""
        before, after = self._references.pop(key, _NOTHING), references(resource)
        if after:
            self._references[key] = after
        for target in sorted(after - before):
            self._uses[target] += 1
            if self._uses[target] > 1:
                continue
            if self._referred_in[target.namespace] < _MOST_REFERRED:
                self._follow_referred(target)
            else:
                self._waiting[target] = None
        for target in before - after:
            self._uses[target] -= 1
            if not self._uses[target]:
                del self._uses[target]
                self._forget_referred(target)

    def _follow_referred(self, target: Key) -> None:
        self._referred_in[target.namespace] += 1
        self._referred[target] = self._follow(CONFIG_MAPS, target.namespace, target.name)

    def _forget_referred(self, target: Key) -> None:
        if target in self._waiting:
            del self._waiting[target]
            return
        followed = self._referred.pop(target)
        self._followed.remove(followed)
        followed.task.cancel()
        self._objects.remove(target)
        self._referred_in[target.namespace] -= 1
        if following := next((each for each in self._waiting if each.namespace == target.namespace), None):
            del self._waiting[following]
            self._follow_referred(following)

    def _state(self, followed: _Followed) -> None:
        reflector = followed.reflector
        troubled = bool(reflector.why) and reflector.found in (Found.NOTHING, Found.SYNCED)
        if followed.troubled and not troubled:
            # The server is back. The others may be waiting for long.
            loop = asyncio.get_running_loop()
            for other in self._followed:
                if other.troubled and other is not followed:
                    loop.call_later(random.uniform(0.0, _SPREAD), other.reflector.again)  # noqa: S311
            self.on_answer()
        followed.troubled = troubled
        if self._loaded.is_set() or all(each.reflector.settled.is_set() for each in self._followed):
            self._loaded.set()
            self._say()
        elif troubled and reflector.failures > self._complaints:
            self._complaints = reflector.failures
            logger.warning("waiting for the API server: %s", reflector.why)

    def _say(self) -> None:
        found = report(
            Collection(each.kind, each.namespace, each.reflector.found, each.reflector.why) for each in self._followed
        )
        for note in found.notes:
            if note not in self._report.notes:
                logger.info("%s", note)
        why = next((each.reflector.why for each in self._followed if _is_lost(each)), "")
        # One sentence for as long as it lasts, whatever else is said meanwhile.
        outage = (self._outage or why) if why else ""
        if (found, outage) != (self._report, self._outage):
            self._report, self._outage = found, outage
            self._tell()

    def _tell(self) -> None:
        self._events += 1
        self._news.set()

    async def _burst(self) -> None:
        """Let come what is on its way already."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _BURST
        turns = 0
        while turns < _TURNS and loop.time() < end:
            events = self._events
            await asyncio.sleep(0)
            turns = turns + 1 if events == self._events else 0

    def _take(self) -> Change | None:
        upserts, deletes = self._objects.take()
        problems, unread = self._problems(), self._report.unread
        change = Change(
            tuple(upserts),
            tuple(deletes),
            problems if problems != self._told else None,
            unread if unread != self._told_unread else None,
        )
        self._told, self._told_unread = problems, unread
        return change if change != Change() else None

    def _problems(self) -> tuple[Problem, ...]:
        problems = list(self._report.problems)
        if self._outage:
            problems.append(Problem(f"the API server cannot be followed, what is known goes on: {self._outage}"))
        for namespace, number in Counter(each.namespace for each in self._waiting).items():
            problems.append(
                Problem(
                    f"{number} ConfigMaps of namespace {namespace} are not read: BackendTLSPolicies refer to more than "
                    f"{_MOST_REFERRED} there"
                )
            )
        return (*problems, *chain.from_iterable(self._reading.problems.values()))


def _is_lost(followed: _Followed) -> bool:
    return followed.troubled and followed.reflector.failures >= _PATIENCE
