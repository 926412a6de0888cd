"""What YAML says, as nodes and as plain values, within bounds.

A manifest is a person's text and may be anyone's: nesting, aliases and numbers are limited, and what goes wrong is
said without quoting the text, which may hold passwords.
"""

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

if TYPE_CHECKING:
    from yaml import SafeLoader as BaseLoader
else:
    try:
        from yaml import CSafeLoader as BaseLoader
    except ImportError:  # PyYAML without libyaml: the same results, about ten times slower
        from yaml import SafeLoader as BaseLoader

#: The steps from a document's root to a value in it: keys and list indexes.
Path = tuple[str | int, ...]

MAX_DEPTH = 100
#: How many values aliases may add to what is written out in one file.
MAX_ALIASED = 1_000_000
MAX_MISTAKES = 100
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_TAG = "tag:yaml.org,2002:"
TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels"


class UnreadableError(ValueError):
    """The text cannot be read as YAML or JSON at all; ``line`` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something in a document that can be read but must not be used, such as a key that is given twice."""

    path: Path
    message: str
    line: int


class _BoundError(yaml.MarkedYAMLError):
    """YAML that is well-formed and still not taken."""


class _Bounded:
    """Keeps a loader from following nesting to the end of the C stack, which would end the process.

    The composer, the C one too, calls these two around every node; no path resolvers are registered, so the methods
    they replace do nothing.
    """

    depth = 0
    composed = 0
    # Kubernetes reads YAML through JSON, which has no dates: 2024-01-01 is a string there, and so is "=".
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_TAG + "timestamp", _TAG + "value")]
        for first, resolvers in yaml.resolver.Resolver.yaml_implicit_resolvers.items()
    }

    def descend_resolver(self, current_node: Node | None, current_index: object) -> None:
        self.composed += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _BoundError(None, None, TOO_DEEP, current_node.start_mark if current_node else None)

    def ascend_resolver(self) -> None:
        self.depth -= 1


class Loader(_Bounded, BaseLoader):
    """The YAML reader: PyYAML's safe one, in C where there is one, with bounds."""


class Builder:
    """Nodes to plain values. What must not be used is written down as a mistake and left out."""

    def __init__(self, loader: BaseLoader, above: int = 0) -> None:
        self._loader = loader
        self._above = above
        self._path: list[str | int] = []
        self.mistakes: list[Mistake] = []

    def build(self, node: Node) -> Any:
        """The value of a node.

        Raises:
            UnreadableError: there are more mistakes than anyone would read.
        """
        tag = node.tag
        if isinstance(node, ScalarNode):
            return node.value if tag == _TAG + "str" else self._scalar(node)
        if isinstance(node, MappingNode) and tag == _TAG + "map":
            return self._mapping(node)
        if isinstance(node, SequenceNode) and tag == _TAG + "seq":
            values = []
            for index, item in enumerate(node.value):
                self._path.append(index)
                values.append(self.build(item))
                self._path.pop()
            return values
        self._mistake(node, "has a YAML tag, which manifests do not use")
        return None

    def _mapping(self, node: MappingNode) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        merged: list[dict[str, Any]] = []
        for key_node, value_node in node.value:
            key = key_node.value
            if key_node.tag == _TAG + "merge":
                merged += self._merged(value_node)
                continue
            if key_node.tag != _TAG + "str" or not isinstance(key_node, ScalarNode):
                shown = f'the key "{short(key)}"' if isinstance(key_node, ScalarNode) else "a key"
                self._mistake(key_node, f"{shown} is not a string: put it in quotes")
                continue
            line = self._line(key_node)
            self._path.append(key)
            if key in lines:
                first = lines[key]
                self._mistake(key_node, f'the key "{short(key)}" on line {line} was given on line {first} already')
            else:
                lines[key] = line
                values[key] = self.build(value_node)
            self._path.pop()
        for other in merged:  # what the mapping says itself goes first, then the mappings in their order
            for key, value in other.items():
                values.setdefault(key, value)
        return values

    def _merged(self, node: Node) -> list[dict[str, Any]]:
        nodes: list[Node] = node.value if isinstance(node, SequenceNode) else [node]
        mappings = [each for each in nodes if isinstance(each, MappingNode) and each.tag == _TAG + "map"]
        if len(mappings) == len(nodes):
            return [self._mapping(each) for each in mappings]
        self._mistake(node, 'the key "<<" takes a mapping or a list of mappings')
        return []

    def _scalar(self, node: ScalarNode) -> Any:
        try:
            match node.tag.removeprefix(_TAG):
                case "null":
                    return None
                case "bool":
                    return self._loader.bool_values[node.value.lower()]
                case "int" | "float" if ":" in node.value:
                    return node.value  # 12:30 is a number to YAML 1.1, and a string to Kubernetes
                case "int":
                    return self._loader.construct_yaml_int(node)
                case "float":
                    number = self._loader.construct_yaml_float(node)
                    if math.isfinite(number):
                        return number
                    self._mistake(node, "is a number that JSON does not have")
                case _:
                    self._mistake(node, "has a YAML tag, which manifests do not use")
        except (ValueError, KeyError, IndexError, OverflowError):
            self._mistake(node, "is not what its YAML type asks for")
        return None

    def _mistake(self, node: Node, message: str) -> None:
        if len(self.mistakes) == MAX_MISTAKES:
            raise UnreadableError(f"has more than {MAX_MISTAKES} mistakes in one document", self._line(node))
        self.mistakes.append(Mistake(tuple(self._path), message, self._line(node)))

    def _line(self, node: Node) -> int:
        return node.start_mark.line + 1 + self._above


class Measure:
    """How large a document is once every alias is replaced by what it stands for."""

    def __init__(self, composed: int, budget: int) -> None:
        self._composed = composed
        self._limit = composed + budget
        self._known: dict[int, tuple[int, int] | None] = {}

    def of(self, root: Node) -> int:
        """How many values aliases add.

        Raises:
            MarkedYAMLError: they add too many, nest too deep, or an alias stands for something around it.
        """
        return self._measure(root)[0] - self._composed

    def _measure(self, node: Node) -> tuple[int, int]:
        if isinstance(node, ScalarNode):
            return 1, 1
        identity = id(node)
        if identity in self._known:
            known = self._known[identity]
            if known is None:
                raise _BoundError(None, None, "holds an alias of itself", node.start_mark)
            return known
        self._known[identity] = None
        size = depth = 0
        pairs = isinstance(node, MappingNode)
        for item in node.value:
            for child in item if pairs else (item,):
                child_size, child_depth = self._measure(child)
                size += child_size
                depth = max(depth, child_depth)
        if size >= self._limit:
            raise _BoundError(
                None, None, f"holds aliases that stand for more than {MAX_ALIASED:,} values", node.start_mark
            )
        if depth >= MAX_DEPTH:
            raise _BoundError(None, None, TOO_DEEP, node.start_mark)
        self._known[identity] = size + 1, depth + 1
        return size + 1, depth + 1


def steps(field: str) -> Path:
    """A field as people write it (``spec.rules[0].matches``) as a path; "" is the whole."""
    return tuple(int(index) if index else key for key, index in _STEP.findall(field))


def seek(node: Node, path: Path) -> tuple[Node, int]:
    """The node at ``path`` and its line from 0, that of its key where it has one; as far along as there are nodes."""
    line = node.start_mark.line
    at = 0
    while at < len(path):
        step = path[at]
        if isinstance(node, MappingNode):
            keys = {key.value: (key, value) for key, value in reversed(node.value) if isinstance(key, ScalarNode)}
            name, length = str(step), 1
            # "metadata.annotations.example.com/owner" ends in one key, and only the mapping can tell
            while name not in keys and at + length < len(path):
                name = f"{name}.{path[at + length]}"
                length += 1
            if name not in keys:
                break
            key, node = keys[name]
            line = key.start_mark.line
            at += length
        elif isinstance(node, SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line
            at += 1
        else:
            break
    return node, line


def unreadable(error: yaml.MarkedYAMLError, last: int) -> UnreadableError:
    """What PyYAML has against a text of ``last`` lines, in one line that repeats nothing of the text."""
    mark = error.problem_mark or error.context_mark
    line = min(mark.line + 1, last) if mark else 1  # libyaml finds the end one line too late
    if isinstance(error, _BoundError):
        return UnreadableError(error.problem or TOO_DEEP, line)
    words = ": ".join(part for part in (error.context, error.problem) if part)
    # PyYAML's own parser, unlike libyaml, names aliases and tags, and those may be an unquoted password's beginning;
    # what stands in quotes for its own sake is one character, or a token such as '<block end>'.
    words = re.sub(r"""\s*(['"])(?!<)(?:(?!\1).){2,}\1""", "", words)
    return UnreadableError(f"is not YAML: {' '.join(words.split())}", line)


def short(key: str) -> str:
    """A key as it may be shown."""
    return key if len(key) <= 64 else f"{key[:64]}…"
