"""Whatever is written as status, an API server with the CRDs of Gateway API v1.7.0 and v0.1.0 takes it."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from app.status.merge import Ownership, merge
from app.status.patches import statuses, v1alpha1_gateways
from routes.graph.build import build_graph
from routes.graph.nodes import Graph, Options
from routes.resources.meta import V1ALPHA1_GROUP, Key
from routes.resources.scheme import parse
from routes.snapshot import Snapshot
from tests.helpers.gatewayapi import OLDER, schemas
from tests.routes.test_golden import INPUTS, graph_of, name_of

Schema = Mapping[str, Any]

TYPES: dict[str, Any] = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}
#: Keywords that constrain nothing that is checked here: the CEL rules of a status are about addresses of type Hostname.
SILENT = {"description", "default", "x-kubernetes-validations", "oneOf", "x-kubernetes-list-map-keys"}
KNOWN = SILENT | {"type", "properties", "required", "items", "enum", "format", "pattern", "x-kubernetes-list-type"}
KNOWN |= {"minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@cache
def read_once() -> dict[tuple[str, str], Schema]:
    return {**schemas(), **schemas(OLDER)}


def complaints(schema: Schema, value: Any, place: str = "status") -> Iterator[str]:
    """What of ``value`` breaks the schema. A field that the schema does not have would be pruned, and so breaks it."""
    assert set(schema) <= KNOWN, f"{place} has what this test does not know: {set(schema) - KNOWN}"
    if not isinstance(value, TYPES[schema["type"]]):
        yield f"{place}: {value!r} is no {schema['type']}"
        return
    size = value if isinstance(value, int) else len(value)
    for least in ("minLength", "minItems", "minimum"):
        if size < schema.get(least, size):
            yield f"{place}: {least}: {size}"
    for most in ("maxLength", "maxItems", "maximum"):
        if size > schema.get(most, size):
            yield f"{place}: {most}: {size}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: {value!r} is none of {schema['enum']}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{place}: {value!r} does not match {schema['pattern']}"
    if schema.get("format") == "date-time":
        datetime.fromisoformat(value)
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{place}: no {name}"
    for name, part in value.items() if isinstance(value, dict) else ():
        if name in schema["properties"]:
            yield from complaints(schema["properties"][name], part, f"{place}.{name}")
        else:
            yield f"{place}: {name} is no field"
    if isinstance(value, list):
        keys = schema.get("x-kubernetes-list-map-keys")
        distinct = [tuple(item[key] for key in keys) for item in value] if keys else []
        if len(set(distinct)) < len(distinct):
            yield f"{place}: {keys} are not distinct"
        for index, item in enumerate(value):
            yield from complaints(schema["items"], item, f"{place}[{index}]")


def refused(graph: Graph, controller_name: str, present: Mapping[Key, Any] | None = None) -> list[str]:
    """What an API server has against the statuses of ``graph``, laid over those that are ``present``."""
    found = []
    for key, ours in statuses(graph, controller_name).items():
        version = "v1alpha1" if key.group == V1ALPHA1_GROUP else "v1"
        schema = read_once()[f"{key.group}/{version}", key.kind]
        owned = Ownership.of(key, controller_name, v1alpha1_gateways(graph))
        written = merge((present or {}).get(key, {}), ours, owned, NOW)
        assert written is not None
        found += [f"{key}: {each}" for each in complaints(schema["properties"]["status"], written)]
    return found


@pytest.mark.parametrize("manifests", INPUTS, ids=name_of)
def test_the_api_takes_every_recorded_status(manifests: Path) -> None:
    _, graph, options = graph_of(manifests.read_text(encoding="utf-8"))
    assert not refused(graph, options.controller_name)


def gateway(name: str, **spec: Any) -> dict[str, Any]:
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    return of("Gateway", name, gatewayClassName="moongate", listeners=listeners) | {
        "spec": {"gatewayClassName": "moongate", "listeners": listeners, **spec}
    }


def of(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    version = "gateway.networking.k8s.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "a"}, "spec": spec}


def built(*documents: dict[str, Any]) -> Graph:
    resources = [resource for each in documents if (resource := parse(each)) is not None]
    return build_graph(Snapshot(resources), Options())


def test_the_parents_that_a_route_names_come_before_those_that_take_it_unasked() -> None:
    """``status.parents`` has room for 32."""
    asked = [{"name": f"named-{number:02}"} for number in range(30)]
    gateways = [gateway(each["name"]) for each in asked]
    gateways += [gateway(f"default-{number}", defaultScope="All") for number in range(5)]
    graph = built(*gateways, of("HTTPRoute", "r", parentRefs=asked, useDefaultGateways="All", rules=[{}]))
    assert not refused(graph, "example.com/c")
    status = next(status for key, status in statuses(graph, "example.com/c").items() if key.kind == "HTTPRoute")
    names = [parent["parentRef"]["name"] for parent in status["parents"]]
    assert names == [each["name"] for each in asked] + ["default-0", "default-1"]


def test_a_listener_with_64_bad_certificates_has_a_message_that_can_be_read() -> None:
    refs = [{"name": f"{number:0>250}", "namespace": "b"} for number in range(64)]
    tls = {"certificateRefs": refs}
    listeners = [{"name": "https", "port": 443, "protocol": "HTTPS", "tls": tls}]
    graph = built(gateway("g", listeners=listeners))
    assert not refused(graph, "example.com/c")
    [node] = graph.gateways.values()
    [message] = [each.message for each in node.listeners[0].conditions if each.type == "ResolvedRefs"]
    assert message.endswith("; and 56 more")


def test_conditions_of_others_leave_ours_no_more_room_than_the_api_has() -> None:
    """Eight in one place. Theirs are not ours to give up, and without the limit nothing could be written at all."""
    graph = built(gateway("g"))
    [key] = graph.gateways
    foreign = [
        {"type": f"example.com/{number}", "status": "True", "reason": "x", "message": "", "lastTransitionTime": time}
        for number, time in enumerate(["2024-01-01T00:00:00Z"] * 7)
    ]
    assert not refused(graph, "example.com/c", {key: {"conditions": foreign}})
    written = merge({"conditions": foreign}, statuses(graph, "example.com/c")[key], Ownership("example.com/c"), NOW)
    assert written is not None
    assert [each["type"] for each in written["conditions"][7:]] == ["Accepted"]
    assert written["conditions"][:7] == foreign
