"""How the commands print: YAML a person can read, JSON for programs, columns, and problems on standard error."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import yaml

from routes.problems import Problem


class _Dumper(yaml.SafeDumper):
    """Conditions and the like on a line each, and nothing as a reference to something else."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def mapping(self, data: dict[str, Any]) -> yaml.Node:
        flat = bool(data) and not any(isinstance(value, dict | list) for value in data.values())
        return self.represent_mapping("tag:yaml.org,2002:map", data, flow_style=flat)


_Dumper.add_representer(dict, _Dumper.mapping)


def as_yaml(value: Any, *, flat: bool = True) -> str:
    """``value`` as YAML; ``flat`` has mappings of plain values on one line."""
    dumper = _Dumper if flat else yaml.SafeDumper
    text: str = yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return text


def as_json(value: Any) -> str:
    """``value`` as JSON, in lines."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def plain(problem: Problem) -> dict[str, Any]:
    """A problem as plain data."""
    return asdict(problem) | {"key": str(problem.key or "")}


def flat(value: Any) -> str:
    """Nested plain data in a line: ``set: x-a, to: default/copy:80``."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {flat(each)}" if each else str(name) for name, each in value.items())
    return ", ".join(map(flat, value)) if isinstance(value, list) else str(value)


def tell(problems: Iterable[Problem]) -> None:
    """Print each problem in a line on standard error."""
    for problem in problems:
        print(problem, file=sys.stderr)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """``rows``, the first being the headings, below each other; the last column is not filled up."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    )
