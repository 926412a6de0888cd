"""From changes to what is served: snapshot, graph, table, and one swap."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from itertools import chain

from app.journal import Journal, What
from app.notes import Notes
from app.providers.base import Change, Provider
from app.proxy import RuleProxy
from routes.graph.certificates import last_good
from routes.graph.nodes import DNSName, Graph, Options, Sockets
from routes.graph.rebuild import Rebuilding
from routes.graph.review import Reviewing
from routes.problems import Problem, Severity
from routes.resources.meta import Key
from routes.snapshot import Snapshot
from routes.table.compile import Compiler
from routes.table.types import RoutingTable, Rule

logger = logging.getLogger(__name__)


#: Where a change makes more routes anew than this, they are made in a thread. Below, a thread costs more than it frees:
#: it gets at the interpreter only when the event loop lets go of it, which under load is every 5 ms.
_IN_THE_LOOP = 64


@dataclass(frozen=True, slots=True)
class State:
    """Everything that is known at one moment. ``names`` are the host names that backends are looked up by, and
    ``served`` is the number of routes in the table.

    Of ``problems`` only those that the provider found have a file and a line; :func:`located` finds the others'.
    ``changed`` are the routes that came, went or have another node than in the state before.
    """

    graph: Graph
    table: RoutingTable[RuleProxy]
    names: frozenset[DNSName]
    served: int
    problems: tuple[Problem, ...]
    changed: Collection[Key]


class Reconciler:
    """Follows a provider and calls ``swap`` with each new state; what came of each change is in ``journal``.

    A state is built from values alone, beside the event loop if it takes long; nothing of it is served before it is
    whole. Changes that come meanwhile are built together afterwards.
    """

    def __init__(
        self,
        provider: Provider,
        options: Options,
        make: Callable[[Rule, RuleProxy | None], RuleProxy],
        swap: Callable[[State], Awaitable[None]],
        journal: Journal | None = None,
    ) -> None:
        self._provider = provider
        self._options = options
        self._make = make
        self._swap = swap
        self._journal = Journal() if journal is None else journal
        self._notes = Notes(self._journal)
        self._turn = asyncio.Lock()
        # Set where there is news of the sockets.
        self._told = asyncio.Event()
        # The mutable state, changed by _reconcile and what it calls alone.
        self._snapshot = Snapshot()
        self._sockets = Sockets()
        self._reported: tuple[Problem, ...] = ()
        self._builder = _Builder(options, make, {})
        self._logged: set[Problem] = set()

    def proxies(self, route: Key) -> Sequence[RuleProxy]:
        """Those that serve the rules of ``route``."""
        return self._builder.compiler.handlers.get(route, ())

    def all_proxies(self) -> Iterator[RuleProxy]:
        """Those that serve the rules of all routes."""
        return chain.from_iterable(list(self._builder.compiler.handlers.values()))

    async def load(self) -> None:
        """Read everything once and swap it in."""
        await self._reconcile(await self._provider.load())

    async def follow(self) -> None:
        """Serve every change, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_sockets())
            async with aclosing(self._provider.changes()) as changes:
                async for change in changes:
                    await self._try(change)

    async def look_again(self) -> None:
        """Serve what the provider finds now, though nobody told of a change."""
        change = await self._provider.look()
        if change is not None:
            await self._try(change)

    def sockets(self, feedback: Sockets) -> None:
        """Hear what came of the sockets that the last table asked for; :meth:`follow` builds with what is new."""
        if feedback != self._sockets:
            self._sockets = replace(feedback, certificates=self._sockets.certificates)
            self._told.set()

    async def _follow_sockets(self) -> None:
        while await self._told.wait():
            self._told.clear()
            await self._try(Change())

    async def _try(self, change: Change) -> None:
        try:
            await self._reconcile(change)
        except Exception:
            logger.exception("a change could not be built; what was served before goes on")

    async def _reconcile(self, change: Change) -> None:
        async with self._turn:
            before = self._snapshot
            snapshot = before.without(change.deletes).with_(change.upserts)
            if change.unread is not None:
                snapshot = snapshot.knowing(change.unread)
            keys = {*change.deletes, *(resource.key for resource in change.upserts)}
            self._snapshot = snapshot
            if change.problems is not None:
                self._reported = change.problems
            began = time.perf_counter()
            try:
                state = await self._built(keys)
            except Exception as error:
                self._journal.built(time.perf_counter() - began, f"{type(error).__name__}; the log has more")
                # Some of what it keeps may be of this change and some not. The next change is built from nothing.
                self._builder = _Builder(self._options, self._make, self._builder.compiler.handlers)
                raise
            self._journal.built(time.perf_counter() - began)
            await self._swap(state)
            what: dict[Key, What] = dict.fromkeys((key for key in change.deletes if before.get(key)), "removed")
            for resource in change.upserts:
                what[resource.key] = "added" if before.get(resource.key) is None else "changed"
            self._notes.changed(what, state.changed, state.graph, state.served)
            self._sockets = replace(self._sockets, certificates=last_good(state.graph))
            await self._log(state)

    async def _built(self, keys: Collection[Key]) -> State:
        builder = self._builder
        step = (self._snapshot, keys, self._sockets, self._reported)
        if builder.weight(self._snapshot, keys) <= _IN_THE_LOOP:
            return builder.build(*step)
        return await asyncio.to_thread(builder.build, *step)

    async def _log(self, state: State) -> None:
        """Say what is new among the problems, and what has been mended."""
        problems = set(state.problems)
        new = [problem for problem in state.problems if problem not in self._logged]
        self._notes.problems(new, list(self._logged - problems))
        for problem in await located(self._provider, new):
            level = logging.ERROR if problem.severity is Severity.ERROR else logging.WARNING
            logger.log(level, "%s", problem)
        for problem in self._logged - problems:
            logger.info("mended: %s", problem)
        self._logged = problems
        logger.info(
            "serving %d routes of %d Gateways, %d problems",
            state.served,
            len(state.graph.gateways),
            len(problems),
        )


class _Builder:
    """Makes one state after the other, each of what the last one left. ``handlers`` served before the first."""

    def __init__(
        self,
        options: Options,
        make: Callable[[Rule, RuleProxy | None], RuleProxy],
        handlers: Mapping[Key, Sequence[RuleProxy]],
    ) -> None:
        def serve(rule: Rule, before: RuleProxy | None) -> RuleProxy:
            return before if before is not None and before.rule == rule else make(rule, before)

        self.compiler = Compiler[RuleProxy](serve, handlers)
        self._rebuilding = Rebuilding(options)
        self._reviewing = Reviewing()
        self._uses: Counter[DNSName] = Counter()
        self._names: frozenset[DNSName] = frozenset()
        self._begun = False

    def weight(self, snapshot: Snapshot, changed: Collection[Key]) -> int:
        """About how many routes are made anew where ``changed`` are not as they were."""
        return self._rebuilding.weight(snapshot, changed) if self._begun else len(snapshot)

    def build(
        self, snapshot: Snapshot, changed: Collection[Key], sockets: Sockets, reported: tuple[Problem, ...]
    ) -> State:
        """The state of ``snapshot``, in which only ``changed`` are not as they were."""
        step = self._rebuilding.build(snapshot, changed if self._begun else snapshot.keys(), sockets)
        gone = Counter(name for key in step.routes for name in self._names_of(key))
        table = self.compiler.compile(step.graph, step.routes)
        come = Counter(name for key in step.routes for name in self._names_of(key))
        for name in gone.keys() | come.keys():
            self._uses[name] += come[name] - gone[name]
            if not self._uses[name]:
                del self._uses[name]
        if any((name in self._uses) != (name in self._names) for name in gone.keys() | come.keys()):
            self._names = frozenset(self._uses)
        problems = self._reviewing.follow(step.graph, step.routes, others=step.others or not self._begun)
        self._begun = True
        served = len(self.compiler.handlers)
        return State(step.graph, table, self._names, served, (*reported, *problems), step.routes)

    def _names_of(self, route: Key) -> Iterator[DNSName]:
        for proxy in self.compiler.handlers.get(route, ()):
            yield from names_of(proxy.rule)


def names_of(rule: Rule) -> Iterator[DNSName]:
    """The host names by which ``rule`` finds its backends, those of its filters too."""
    filters = (*rule.filters, *(filter_ for backend in rule.backends for filter_ in backend.filters))
    for backend in (*rule.backends, *(filter_.backend for filter_ in filters)):
        if backend is not None and backend.dns is not None:
            yield backend.dns


async def located(provider: Provider, problems: Sequence[Problem]) -> list[Problem]:
    """``problems`` with the file and line of what they are about, where that is not known yet."""
    lost = [problem for problem in problems if problem.key is not None and not problem.file]
    if not lost:
        return list(problems)
    places = await provider.locate([(problem.key, problem.field) for problem in lost if problem.key is not None])
    found = {
        problem: replace(problem, file=place.file, line=place.line) for problem, place in zip(lost, places, strict=True)
    }
    return [found.get(problem, problem) for problem in problems]


async def stop(task: asyncio.Task[None]) -> None:
    """Cancel ``task`` and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
