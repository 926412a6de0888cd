"""No manifest, whatever is in it, crashes or hangs the gateway, or takes down a route that is served."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.providers.file import FileProvider
from app.providers.manifests import read_manifests
from app.status.patches import statuses
from app.tls.certificates import check_pair
from routes.graph.build import build_graph
from routes.graph.nodes import Options
from routes.graph.review import review
from routes.resources.meta import GATEWAY_GROUP, Key, Resource
from routes.resources.scheme import SUPPORTED
from routes.snapshot import Snapshot
from routes.table.compile import compile_table
from routes.table.describe import describe
from routes.table.types import PortKey, RoutingTable, Rule
from tests.fuzz.mutations import mutated, originals

#: Of the first test; there are :data:`SHARDS` of them, each with seeds of its own.
MANIFESTS = 10_000
SHARDS = 10
#: Seconds of this process's CPU time for one manifest, from its bytes to the table.
LIMIT = 5.0

GOOD = """
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: isolated},
 spec: {controllerName: moongate.dev/gateway}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: good, namespace: isolated},
 spec: {gatewayClassName: isolated, listeners: [{name: web, port: 7777, protocol: HTTP}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: good, namespace: isolated}
spec:
  parentRefs: [{name: good}]
  hostnames: [good.example]
  rules:
    - matches: [{path: {value: /good}}]
      backendRefs: [{name: good, port: 80}]
---
{apiVersion: v1, kind: Service, metadata: {name: good, namespace: isolated}, spec: {ports: [{port: 80}]}}
"""
OPTIONS = Options(check_certificate=check_pair)
GOOD_RESOURCES = {each.resource.key: each.resource for each in read_manifests(GOOD, "good.yaml").objects}
PORT = PortKey(Key(GATEWAY_GROUP, "Gateway", "isolated", "good"), 7777)


class TooLongError(Exception):
    """A manifest took more than :data:`LIMIT`."""


@contextmanager
def limited() -> Iterator[None]:
    """Raises TooLongError in what takes too much CPU time; how busy the machine is does not count."""

    def end(number: int, frame: FrameType | None) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def table_of(resources: dict[Key, Resource]) -> RoutingTable[Rule]:
    """Everything that is built of objects."""
    graph = build_graph(Snapshot(resources.values()), OPTIONS)
    for problem in review(graph):
        str(problem)
    table = compile_table(graph, _itself)
    statuses(graph, OPTIONS.controller_name)
    describe(table)
    return table


def _itself(rule: Rule) -> Rule:
    return rule


def serves_good(table: RoutingTable[Rule]) -> bool:
    found = table.ports[PORT].find("good.example", "/good", "GET", (), b"")
    return found is not None and not found.invalid and [each.invalid for each in found.backends] == [""]


def outcome(data: bytes, name: str) -> str:
    """What is wrong with what comes of a manifest beside the good one, "" where nothing is."""
    try:
        with limited():
            read = read_manifests(data, name)
            for problem in read.problems:
                str(problem)
            # As the provider has it: of an object in two files the first file's counts.
            found = {each.resource.key: each.resource for each in read.objects} | GOOD_RESOURCES
            table = table_of(found)
    except TooLongError:
        return "hangs"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "" if serves_good(table) else "takes down the good route"


def test_the_good_route_is_served() -> None:
    assert outcome(b"", "empty.yaml") == ""


@pytest.mark.parametrize("shard", range(SHARDS))
def test_mutated_manifests_never_crash_hang_or_take_down_a_served_route(shard: int) -> None:
    texts = originals()
    random = Random(f"moongate {shard}")
    refused = 0
    for number in range(MANIFESTS // SHARDS):
        data = mutated(random.choice(texts), random)
        name = "mutated.json" if data.startswith(b"{") and random.random() < 0.5 else "mutated.yaml"
        found = outcome(data, name)
        assert not found, f"shard {shard}, manifest {number}: {found}\n{data[:4000]!r}"
        refused += bool(read_manifests(data, name).problems) if number % 20 == 0 else 0
    assert refused > MANIFESTS // SHARDS // 20 // 4, "the mutations do little harm"


def test_a_folder_whose_files_are_mutated_again_and_again_serves_on(tmp_path: Path) -> None:
    """Through the file provider, whose last good objects stay: the good route is there after each of the changes."""
    texts, random = originals(), Random("moongate folder")
    (tmp_path / "good.yaml").write_text(GOOD)
    victim = tmp_path / "mutated.yaml"
    provider = FileProvider([tmp_path])
    served: dict[Key, Resource] = {}

    async def main() -> None:
        for number in range(200):
            victim.write_bytes(mutated(random.choice(texts), random))
            # Files that were written just now are read once more a moment later; these are old, each by another age.
            for path in (victim, tmp_path / "good.yaml"):
                os.utime(path, ns=(0, 10**18 + (number if path == victim else 0)))
            change = await provider.load()
            for key in change.deletes:
                served.pop(key, None)
            served.update({resource.key: resource for resource in change.upserts})
            with limited():
                assert serves_good(table_of(served)), f"manifest {number}"

    asyncio.run(main())


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_values: st.SearchStrategy[Any] = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
_FIELDS = (
    "parentRefs", "hostnames", "rules", "matches", "path", "type", "value", "headers", "name", "filters", "backendRefs",
    "port", "weight", "listeners", "protocol", "hostname", "tls", "certificateRefs", "addresses", "gatewayClassName",
    "allowedRoutes", "namespaces", "from", "selector", "matchLabels", "to", "targetRefs", "validation", "ports",
    "endpoints", "data", "requestRedirect", "urlRewrite", "cors", "timeouts", "retry", "spec", "metadata", "status",
)  # fmt: skip
_likely: st.SearchStrategy[Any] = st.recursive(
    _scalars | st.sampled_from(["HTTP", "HTTPS", "Exact", "PathPrefix", "/", "good", "moongate", "isolated", 80, 443]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=6),
    max_leaves=25,
)


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(sorted(SUPPORTED)),
    st.fixed_dictionaries({"name": st.sampled_from(["x", "other"])}) | _values,
    _likely | _values,
    st.dictionaries(st.sampled_from(["data", "endpoints", "ports", "addressType", "subsets", "extra"]), _likely),
)
def test_objects_of_any_content_never_crash(kind: tuple[str, str], metadata: Any, spec: Any, rest: Any) -> None:
    document = {"apiVersion": kind[0], "kind": kind[1], "metadata": metadata, "spec": spec, **rest}
    data = yaml.dump(document, Dumper=yaml.CSafeDumper, allow_unicode=True).encode("utf-8", "surrogatepass")
    assert outcome(data, "any.yaml") == ""


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.sampled_from(["any.yaml", "any.json"]))
def test_bytes_of_any_kind_never_crash(data: bytes, name: str) -> None:
    assert outcome(data, name) == ""


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.text(alphabet="abc:-[]{}&*!|>'\"%@`#?,\n\t 01~<.", max_size=120))
def test_text_of_yamls_own_characters_never_crashes(text: str) -> None:
    assert outcome(text.encode(), "any.yaml") == ""
