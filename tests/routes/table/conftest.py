"""Routing tables from a few lines of YAML."""

from collections.abc import Callable

import pytest
import yaml

from routes.graph.build import build_graph
from routes.graph.nodes import Options
from routes.resources.meta import Resource
from routes.resources.scheme import parse
from routes.snapshot import Snapshot
from routes.table.compile import compile_table
from routes.table.types import RoutingTable

Compile = Callable[[str], RoutingTable[str]]


def resources(text: str) -> list[Resource]:
    """The objects of ``text``, whose group is the Gateway API's unless they say otherwise."""
    documents = filter(None, yaml.safe_load_all(text))
    found = [parse({"apiVersion": "gateway.networking.k8s.io/v1"} | raw) for raw in documents]
    return [resource for resource in found if resource is not None]


@pytest.fixture
def compiled() -> Compile:
    """Compiles manifests to a table whose handlers are the names of rules."""

    def compile_(text: str) -> RoutingTable[str]:
        return compile_table(build_graph(Snapshot(resources(text)), Options()), lambda rule: rule.name)

    return compile_
