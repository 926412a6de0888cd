"""Manifests as they would be served: read, built and compiled once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.providers.file import FileProvider
from app.reconciler import located
from routes.graph.build import build_graph
from routes.graph.nodes import Graph, Options
from routes.graph.review import review
from routes.problems import Problem, Severity
from routes.resources.meta import Key, Resource
from routes.snapshot import Snapshot
from routes.table.compile import compile_table
from routes.table.types import RoutingTable, Rule


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything that is known of some manifests. ``problems`` are sorted by file and line."""

    resources: Mapping[Key, Resource]
    graph: Graph
    table: RoutingTable[Rule]
    problems: tuple[Problem, ...]

    @property
    def faulty(self) -> bool:
        """Whether one of the problems is an error."""
        return any(problem.severity is Severity.ERROR for problem in self.problems)


async def load(paths: Sequence[Path], options: Options) -> Loaded:
    """Read ``paths``. What is wrong with a file or an object costs only itself and is in the problems."""
    provider = FileProvider(paths, extensions=options.extensions)
    change = await provider.load()
    graph = build_graph(Snapshot(change.upserts), options)
    problems = (*(change.problems or ()), *await located(provider, review(graph)))
    resources = {resource.key: resource for resource in change.upserts}
    return Loaded(resources, graph, compile_table(graph, _itself), tuple(_in_order(problems)))


def _itself(rule: Rule) -> Rule:
    return rule


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.file, problem.line, problem.field))
