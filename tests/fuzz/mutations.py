"""Manifests made wrong in all the ways in which people, editors, templates and attackers do it; the same for a seed."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def originals() -> list[str]:
    """The repository's own manifests and the inputs of the golden tests."""
    folders = ("app/demo/manifests", "deploy", "tests/e2e/seed", "tests/e2e/v1", "tests/golden", "tests/app/cli")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.yaml")]
    texts = [path.read_text() for path in sorted(paths) if not path.name.endswith(".out.yaml")]
    assert len(texts) > 90
    return texts


SCALARS = (
    "null", "~", "true", "0", "-1", "65536", "9" * 400, "1e400", ".nan", ".inf", "0x1F", "0o17", "1_000", "12:30", "''",
    '""', "[]", "{}", "- x", "2024-01-01", "!!binary aGk=", "!!python/object:os.system x", "!secret x", "*nowhere",
    "&a [*a]", "<<: {a: b}", "? x", "|", ">-", "%YAML 1.1", "---", "...", "\u202e\u0000", "\ud83d\ude00".encode(
        "utf-16", "surrogatepass").decode("utf-16"), "\u00e4\u0308\u200b", "\x07", "a" * 70_000, "[" * 300,
    "{a: " * 150,
    "- " * 200, "@", "`", "\t", "# end", "*.example.com", "/../..", "%2f", "default/../x", "../../etc/passwd",
)  # fmt: skip

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**31, 2**63, 2**200, 1.5, 1e308, "", " ", "*", "/", "\u0000", "ä", "a" * 5000, "null",
    [], {}, [[]], [None], {"": None}, {"a": {"b": "c"}}, ["a", 1, None], {"name": "x"}, [{"name": "x"}] * 70,
)  # fmt: skip


def mutated(text: str, random: Random) -> bytes:
    """``text`` with one to three mutations."""
    for _ in range(random.choice((1, 1, 2, 3))):
        text = random.choice(TEXTUAL if random.random() < 0.4 else STRUCTURAL)(text, random)
    data = text.encode("utf-8", "surrogatepass")
    return random.choice(BINARY)(data, random) if random.random() < 0.15 else data


def _delete_lines(text: str, random: Random) -> str:
    lines = text.splitlines(keepends=True)
    at = random.randrange(len(lines) or 1)
    return "".join(lines[:at] + lines[at + random.randint(1, 4) :])


def _duplicate_lines(text: str, random: Random) -> str:
    lines = text.splitlines(keepends=True)
    at, count = random.randrange(len(lines) or 1), random.randint(1, 6)
    return "".join(lines[: at + count] + lines[at : at + count] * random.choice((1, 1, 50)) + lines[at + count :])


def _swap_lines(text: str, random: Random) -> str:
    lines = text.splitlines(keepends=True) or [""]
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return "".join(lines)


def _indent(text: str, random: Random) -> str:
    lines = text.splitlines(keepends=True) or [""]
    at = random.randrange(len(lines))
    lines[at] = random.choice((" ", "  ", "\t", "      ")) + lines[at]
    return "".join(lines)


def _replace_value(text: str, random: Random) -> str:
    lines = text.splitlines(keepends=True) or [""]
    at = random.randrange(len(lines))
    key, colon, _ = lines[at].partition(": ")
    lines[at] = f"{key}{colon}{random.choice(SCALARS)}\n"
    return "".join(lines)


def _insert(text: str, random: Random) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice(SCALARS) + text[at:]


def _truncate(text: str, random: Random) -> str:
    return text[: random.randrange(len(text) + 1)]


def _swap_characters(text: str, random: Random) -> str:
    characters = list(text)
    for _ in range(random.randint(1, 5)):
        if characters:
            characters[random.randrange(len(characters))] = chr(random.choice((0x20, 0x3A, 0x7B, 0x5D, 0x27, 0x2028)))
    return "".join(characters)


def _structured(change: Callable[[Any, Random], None]) -> Callable[[str, Random], str]:
    def mutate(text: str, random: Random) -> str:
        try:
            documents = [each for each in yaml.load_all(text, yaml.CSafeLoader) if isinstance(each, dict)]
        except (yaml.YAMLError, ValueError, RecursionError, OverflowError):
            return text
        documents = deepcopy(documents)
        if documents:
            change(random.choice(documents), random)
        try:
            if random.random() < 0.2:
                return "\n---\n".join(json.dumps(each, default=str) for each in documents)
            return yaml.dump_all(documents, Dumper=yaml.CSafeDumper)
        except (yaml.YAMLError, ValueError, RecursionError, UnicodeError, TypeError):
            return text

    return mutate


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a document with each of its keys."""
    found: list[tuple[Any, Any]] = []
    stack = [value]
    while stack and len(found) < 5000:
        part = stack.pop()
        items: Any = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for key, item in items:
            found.append((part, key))
            stack.append(item)
    return found


def _other_value(document: Any, random: Random) -> None:
    part, key = random.choice(_places(document))
    part[key] = deepcopy(random.choice(VALUES))


def _swapped_values(document: Any, random: Random) -> None:
    (one, key), (other, name) = random.choice(_places(document)), random.choice(_places(document))
    one[key], other[name] = deepcopy(other[name]), deepcopy(one[key])


def _deep(document: Any, random: Random) -> None:
    part, key = random.choice(_places(document))
    value = part[key]
    for _ in range(random.choice((3, 90, 150))):
        value = random.choice(([value], {"a": value}))
    part[key] = value


def _unknown_key(document: Any, random: Random) -> None:
    part, _ = random.choice(_places(document))
    if isinstance(part, dict):
        part[random.choice(("", "__proto__", "spec", "metadata", "x" * 300, "ünknown", "name "))] = random.choice(
            VALUES
        )


def _many_items(document: Any, random: Random) -> None:
    lists = [part[key] for part, key in _places(document) if isinstance(part[key], list) and part[key]]
    if lists:
        chosen = random.choice(lists)
        chosen += [deepcopy(random.choice(chosen)) for _ in range(random.choice((1, 20, 200)))]


def _flip_bytes(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.randint(1, 8)):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _other_encoding(data: bytes, random: Random) -> bytes:
    return data.decode("utf-8", "replace").encode(random.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7")))


def _raw_bytes(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice((b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"\x1b[0m")) + data[at:]


TEXTUAL = (_delete_lines, _duplicate_lines, _swap_lines, _indent, _replace_value, _insert, _truncate, _swap_characters)
STRUCTURAL = tuple(map(_structured, (_other_value, _other_value, _swapped_values, _deep, _unknown_key, _many_items)))
BINARY = (_flip_bytes, _other_encoding, _raw_bytes)
