"""What an API server with the CRDs of Gateway API v1.7.0 refuses is refused here: read from the CRDs themselves.

Of each kind that is served, ``full.yaml`` has manifests with every field. Each constraint of the schema (types,
required fields, lengths, sizes, ranges, patterns, enumerations, keys of lists) is broken at each place by itself; each
CEL rule by a value in ``rules.yaml``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy, deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from routes.resources.meta import GATEWAY_GROUP
from routes.resources.scheme import SUPPORTED, ManifestError, parse
from tests.helpers.gatewayapi import files, schemas

HERE = Path(__file__).parent
Schema = Mapping[str, Any]
Place = tuple[str | int, ...]

#: What is served of the API.
KINDS = sorted({kind for version, kind in SUPPORTED if version.startswith(f"{GATEWAY_GROUP}/")})

#: Rules that look at the object's earlier value; there is none in a manifest.
TRANSITIONS = {"field is immutable"}
#: CEL's oneOf of a Gateway's address: an IPAddress is one.
BROKEN_ONE_OF = {"spec.addresses[]": {"type": "IPAddress", "value": "some.example"}}


@cache
def full() -> tuple[dict[str, Any], ...]:
    return tuple(yaml.safe_load((HERE / "full.yaml").read_text()))


@cache
def rules() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HERE / "rules.yaml").read_text())
    return found


def served(kind: str) -> list[tuple[str, Schema]]:
    """The schemas of the kind's ``spec``, by apiVersion."""
    return [
        (version, schema["properties"]["spec"])
        for (version, name), schema in schemas().items()
        if name == kind and (version, name) in SUPPORTED
    ]


class Nowhere(LookupError):
    """No full manifest has this field."""


def places(kind: str, steps: Sequence[str]) -> tuple[dict[str, Any], Place]:
    """The first full manifest of ``kind`` with what ``steps`` lead to, and where ("[]" is any item, "{}" any key)."""

    def look(value: Any, rest: Sequence[str]) -> Place | None:
        if not rest:
            return ()
        step, *further = rest
        if step == "[]":
            items: Any = enumerate(value) if isinstance(value, list) else ()
        elif not isinstance(value, dict):
            return None
        else:
            items = value.items() if step == "{}" else [(step, value[step])] if step in value else ()
        for key, item in items:
            found = look(item, further)
            if found is not None:
                return (key, *found)
        return None

    for manifest in full():
        if manifest["kind"] == kind and (found := look(manifest, steps)) is not None:
            return manifest, found
    raise Nowhere(f"full.yaml has no {kind} with {name_of(steps)}")


def name_of(steps: Sequence[str]) -> str:
    return ".".join(steps).replace(".[]", "[]").replace(".{}", "{}")


def at(manifest: Mapping[str, Any], place: Place) -> Any:
    value: Any = manifest
    for step in place:
        value = value[step]
    return value


def broken(manifest: Mapping[str, Any], place: Place, value: Any, version: str) -> dict[str, Any]:
    """The manifest with ``value`` at ``place``; only what is around that place is copied."""

    def change(part: Any, rest: Place) -> Any:
        if not rest:
            return value
        copied = copy(part)
        copied[rest[0]] = change(part[rest[0]], rest[1:])
        return copied

    changed: dict[str, Any] = change(manifest, place)
    return {**changed, "apiVersion": version}


def nodes(schema: Schema, steps: tuple[str, ...] = ("spec",)) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Every node of a schema with the steps to it."""
    yield steps, schema
    for name, part in schema.get("properties", {}).items():
        yield from nodes(part, (*steps, name))
    if "items" in schema:
        yield from nodes(schema["items"], (*steps, "[]"))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], (*steps, "{}"))


WRONG_TYPES: dict[str, tuple[Any, ...]] = {
    "string": (7, True, ["a"], {"a": "b"}),
    "integer": ("7", True, 7.5, [7], {"a": 7}),
    "boolean": ("true", 1, ["a"]),
    "array": ("a", {"a": "b"}, 7),
    "object": ("a", ["a"], 7),
}
NOT_MATCHING = ("", " ", "!", "a b", "-", "A_B", "ä", "/", "1e", "a,b", "\x7f", "*")


def violations(schema: Schema, value: Any) -> Iterator[tuple[str, Any]]:
    """Values that break one constraint of the node's schema each, with the constraint's name."""
    for wrong in WRONG_TYPES[schema["type"]]:
        yield f"type {schema['type']}, not {wrong!r}", wrong
    for name in schema.get("required", ()):
        yield f"required {name}", {key: item for key, item in value.items() if key != name}
    if "enum" in schema:
        yield "enum", "NoSuchValue" if schema["type"] == "string" else 7777
    if schema.get("minLength"):
        yield "minLength", ""
    if "maxLength" in schema:
        yield "maxLength", value + value[-1] * (schema["maxLength"] - len(value) + 1)
    if "pattern" in schema:
        wrong = next((each for each in NOT_MATCHING if not re.search(schema["pattern"], each)), None)
        assert wrong is not None, f"no value that does not match {schema['pattern']}"
        yield "pattern", wrong
    if "minimum" in schema:
        yield "minimum", schema["minimum"] - 1
    if "maximum" in schema:
        yield "maximum", schema["maximum"] + 1
    if schema.get("minItems"):
        yield "minItems", []
    if "maxItems" in schema:
        yield "maxItems", many(value, schema["maxItems"] + 1)
    if "maxProperties" in schema:
        yield "maxProperties", {f"example.com/key{index}": "some" for index in range(schema["maxProperties"] + 1)}
    if schema.get("x-kubernetes-list-type") in ("set", "map"):
        yield "list of distinct items", [*value, deepcopy(value[0])]


def many(items: Sequence[Any], count: int) -> list[Any]:
    """``count`` items like the first, distinct where they can be."""
    found = []
    for index in range(count):
        item = deepcopy(items[0])
        if isinstance(item, str):
            item = f"{item}{index}"
        elif "name" in item:
            item["name"] = f"{item['name']}{index}"
        for key in ("port", "sectionName"):
            if key in item and "weight" not in item:
                item[key] = index + 1 if key == "port" else f"section{index}"
        found.append(item)
    return found


def complaint(manifest: Mapping[str, Any], place: Place) -> str:
    """What is wrong with the outcome of parsing a manifest that is broken at ``place``; "" if it is refused there."""
    try:
        parse(manifest)
    except ManifestError as error:
        named = [each.path for each in error.errors]
        if any(path[: len(place)] == place or place[: len(path)] == path for path in named):
            return ""
        return f"refused at {[each.field for each in error.errors]}"
    return "let through"


def test_the_full_manifests_are_valid() -> None:
    for manifest in full():
        if (manifest["apiVersion"], manifest["kind"]) in SUPPORTED:
            assert parse(manifest) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_every_constraint_of_the_schema_is_held(kind: str) -> None:
    let_through: list[str] = []
    tried = 0
    for version, schema in served(kind):
        for steps, node in nodes(schema):
            manifest, place = places(kind, steps)
            for label, value in violations(node, at(manifest, place)):
                tried += 1
                found = complaint(broken(manifest, place, value, version), place)
                if found:
                    let_through.append(f"{version} {name_of(steps)}: {label}: {found}")
    assert not let_through, "\n".join(let_through)
    assert tried > 20


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_is_held(kind: str) -> None:
    let_through: list[str] = []
    for version, schema in served(kind):
        for steps, node in nodes(schema):
            for rule in node.get("x-kubernetes-validations", ()):
                if rule["message"] in TRANSITIONS:
                    continue
                assert rule["message"] in rules(), f"no value that breaks {rule['message']!r}: {rule['rule']}"
                manifest, place = places(kind, steps)
                found = complaint(broken(manifest, place, rules()[rule["message"]], version), place)
                if found:
                    let_through.append(f"{version} {name_of(steps)}: {rule['message']}: {found}")
    assert not let_through, "\n".join(let_through)


@pytest.mark.parametrize("kind", KINDS)
def test_every_alternative_of_the_schema_is_held(kind: str) -> None:
    for version, schema in served(kind):
        for steps, node in nodes(schema):
            assert not {"anyOf", "allOf", "not"} & set(node), f"{name_of(steps)} has what this test does not know"
            if "oneOf" in node:
                manifest, place = places(kind, steps)
                assert not complaint(broken(manifest, place, BROKEN_ONE_OF[name_of(steps)], version), place)


def test_every_broken_value_belongs_to_a_rule() -> None:
    messages = {
        rule["message"]
        for (_, kind), schema in schemas().items()
        if kind in {manifest["kind"] for manifest in full()}
        for _, node in nodes(schema["properties"]["spec"])
        for rule in node.get("x-kubernetes-validations", ())
    }
    assert set(rules()) == messages - TRANSITIONS


def test_the_apis_own_invalid_examples_are_refused() -> None:
    """``hack/invalid-examples`` of the module; each file has one object that an API server refuses."""
    let_through = []
    for name, text in files("hack/invalid-examples/").items():
        refused = 0
        documents = [each for each in yaml.safe_load_all(text) if each]
        for document in documents:
            if (document["apiVersion"], document["kind"]) not in SUPPORTED:
                refused += document["kind"] not in KINDS  # TLSRoutes are not read yet
                continue
            try:
                parse(document)
            except ManifestError:
                refused += 1
        if not refused:
            let_through.append(name)
    assert not let_through
