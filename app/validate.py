"""``moongate validate``: every problem of some manifests, without serving them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from app.providers.file import FileProvider
from app.reconciler import located
from routes.graph.build import build_graph
from routes.graph.nodes import Options
from routes.graph.review import review
from routes.problems import Problem, Severity
from routes.snapshot import Snapshot


async def find_problems(paths: Sequence[Path], options: Options) -> list[Problem]:
    """The problems of the files and of what their objects mean together, by file and line."""
    provider = FileProvider(paths, extensions=options.extensions)
    change = await provider.load()
    graph = build_graph(Snapshot(change.upserts), options)
    problems = (*(change.problems or ()), *await located(provider, review(graph)))
    return sorted(problems, key=lambda problem: (problem.file, problem.line, problem.field))


def print_problems(problems: Sequence[Problem], *, as_json: bool) -> int:
    """Print ``problems``, and answer the exit code: 1 where one of them is an error."""
    if as_json:
        print(json.dumps([asdict(problem) | {"key": str(problem.key or "")} for problem in problems], indent=2))
    else:
        for problem in problems:
            print(problem)
        errors = sum(problem.severity is Severity.ERROR for problem in problems)
        counts = f"{_count(errors, 'error')}, {_count(len(problems) - errors, 'warning')}"
        print(counts if problems else "no problems")
    return int(any(problem.severity is Severity.ERROR for problem in problems))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
