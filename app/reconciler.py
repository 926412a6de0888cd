"""From changes to what is served: snapshot, graph, table, and one swap."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

from app.providers.base import Change, Provider
from app.proxy import RuleProxy
from routes.graph.build import build_graph
from routes.graph.nodes import Graph, Options, Sockets
from routes.graph.review import review
from routes.problems import Problem, Severity
from routes.resources.meta import Key
from routes.snapshot import Snapshot
from routes.table.compile import compile_table
from routes.table.types import RoutingTable, Rule

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """Everything that is known at one moment.

    Of ``problems`` only those that the provider found have a file and a line; :func:`located` finds the others'.
    """

    graph: Graph
    table: RoutingTable[RuleProxy]
    rules: tuple[Rule, ...]
    problems: tuple[Problem, ...]


class Reconciler:
    """Follows a provider and calls ``swap`` with each new state.

    A state is built beside the event loop, from values alone; nothing of it is served before it is whole. Changes that
    come meanwhile are built together afterwards.
    """

    def __init__(
        self,
        provider: Provider,
        options: Options,
        make: Callable[[Rule, RuleProxy | None], RuleProxy],
        swap: Callable[[State], Awaitable[None]],
    ) -> None:
        self._provider = provider
        self._options = options
        self._make = make
        self._swap = swap
        # The mutable state, changed by _apply, sockets and _build alone.
        self._snapshot = Snapshot()
        self._sockets = Sockets()
        self._told = asyncio.Event()
        self._one_by_one = asyncio.Lock()
        self._reported: tuple[Problem, ...] = ()
        self._proxies: dict[tuple[Key, int], RuleProxy] = {}
        self._logged: set[Problem] = set()

    async def load(self) -> None:
        """Read everything once and swap it in."""
        self._apply(await self._provider.load())
        await self._reconcile()

    async def follow(self) -> None:
        """Serve every change, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_sockets())
            async with aclosing(self._provider.changes()) as changes:
                async for change in changes:
                    self._apply(change)
                    await self._again()

    def sockets(self, feedback: Sockets) -> None:
        """Hear what came of the sockets that the last table asked for; what is new goes into the next build."""
        if feedback != self._sockets:
            self._sockets = feedback
            self._told.set()

    async def _follow_sockets(self) -> None:
        while await self._told.wait():
            self._told.clear()
            await self._again()

    async def _again(self) -> None:
        try:
            await self._reconcile()
        except Exception:
            logger.exception("a change could not be built; what was served before goes on")

    def _apply(self, change: Change) -> None:
        self._snapshot = self._snapshot.without(change.deletes).with_(change.upserts)
        if change.problems is not None:
            self._reported = change.problems

    async def _reconcile(self) -> None:
        async with self._one_by_one:
            state = await asyncio.to_thread(self._build, self._snapshot)
            await self._swap(state)
            await self._log(state)

    def _build(self, snapshot: Snapshot) -> State:
        graph = build_graph(snapshot, self._options, self._sockets)
        proxies: dict[tuple[Key, int], RuleProxy] = {}

        def serve(rule: Rule) -> RuleProxy:
            kept = self._proxies.get((rule.route, rule.index))
            found = kept if kept is not None and kept.rule == rule else self._make(rule, kept)
            proxies[rule.route, rule.index] = found
            return found

        table = compile_table(graph, serve)
        self._proxies = proxies
        return State(graph, table, tuple(proxy.rule for proxy in proxies.values()), (*self._reported, *review(graph)))

    async def _log(self, state: State) -> None:
        """Say what is new among the problems, and what has been mended."""
        problems = set(state.problems)
        new = [problem for problem in state.problems if problem not in self._logged]
        for problem in await located(self._provider, new):
            level = logging.ERROR if problem.severity is Severity.ERROR else logging.WARNING
            logger.log(level, "%s", problem)
        for problem in self._logged - problems:
            logger.info("mended: %s", problem)
        self._logged = problems
        logger.info(
            "serving %d routes of %d Gateways, %d problems",
            sum(any(parent.attachments for parent in route.parents) for route in state.graph.routes.values()),
            len(state.graph.gateways),
            len(problems),
        )


async def located(provider: Provider, problems: Sequence[Problem]) -> list[Problem]:
    """``problems`` with the file and line of what they are about, where that is not known yet."""
    lost = [problem for problem in problems if problem.key is not None and not problem.file]
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
