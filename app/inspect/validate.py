"""``moongate validate``: every problem of some manifests, without serving them."""

import json
from collections.abc import Sequence

from app.inspect.printing import plain
from routes.problems import Problem, Severity


def print_problems(problems: Sequence[Problem], *, as_json: bool) -> int:
    """Print ``problems``, and answer the exit code: 1 where one of them is an error."""
    if as_json:
        print(json.dumps([plain(problem) for problem in problems], indent=2))
    else:
        for problem in problems:
            print(problem)
        errors = sum(problem.severity is Severity.ERROR for problem in problems)
        counts = f"{_count(errors, 'error')}, {_count(len(problems) - errors, 'warning')}"
        print(counts if problems else "no problems")
    return int(any(problem.severity is Severity.ERROR for problem in problems))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
