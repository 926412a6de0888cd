"""What is wrong with a manifest, place by place, in plain sentences.

pydantic says what it expected; a person wants to know what to write. :func:`field_errors` turns the one into the other.
"""

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from routes.resources.fields import CONFIDENTIAL, SENTENCES

Path = tuple[str | int, ...]

_LONGEST_ECHO = 60


def field_name(path: Iterable[str | int]) -> str:
    """A path as people write it: ``spec.rules[0].backendRefs[1].port``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One mistake. ``path`` is spelled as in manifests and leads from the document's root, () being all of it."""

    path: Path
    message: str

    @property
    def field(self) -> str:
        """``path`` as people write it."""
        return field_name(self.path)

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.path else self.message


class ManifestError(ValueError):
    """A document that cannot be read as the object it wants to be; ``errors`` is never empty."""

    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(map(str, self.errors)))


class ConversionError(ValueError):
    """An object of an older version says what v1 has no words for. ``path`` and ``field`` are the older object's."""

    def __init__(self, path: Path, message: str) -> None:
        self.path = path
        self.message = message
        super().__init__(f"{self.field}: {message}")

    @property
    def field(self) -> str:
        """``path`` as people write it."""
        return field_name(self.path)


def suggestion(word: str, known: Iterable[str], *, cutoff: float = 0.68) -> str:
    """``; did you mean "…"?`` where a known word is close to ``word`` or begins with it, else nothing."""
    spelling = {candidate.lower(): candidate for candidate in known}
    plain = word.lower().replace("_", "")
    begun = [candidate for candidate in spelling if len(plain) > 3 and candidate.startswith(plain)]
    close = get_close_matches(plain, spelling, n=1, cutoff=cutoff) or begun
    return f'; did you mean "{spelling[close[0]]}"?' if close else ""


def either(choices: Sequence[str]) -> str:
    """``a, b or c``."""
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"


#: What a field is called in the other version of the API, both ways.
_OTHER_VERSION = {
    "forwardTo": "backendRefs",
    "backendRefs": "forwardTo",
    "gateways": "parentRefs",
    "parentRefs": "gateways",
    "controller": "controllerName",
    "controllerName": "controller",
    "serviceName": "name",
    "certificateRef": "certificateRefs",
    "certificateRefs": "certificateRef",
    "routes": "allowedRoutes",
    "allowedRoutes": "routes",
}


def field_errors(
    error: ValidationError, model: type[BaseModel], document: Mapping[str, Any], *, confidential: bool = False
) -> tuple[FieldError, ...]:
    """The mistakes in ``document`` that kept it from becoming a ``model``.

    ``confidential`` documents (Secrets) never have any of their content repeated.
    """
    found: dict[FieldError, None] = {}
    for detail in error.errors(include_url=False):
        context = detail.get("ctx", {})
        if detail["type"] == "too_short" and len(detail["input"]) >= context["min_length"]:
            continue  # pydantic doesn't count entries with mistakes of their own
        place = (*detail["loc"], *context.get("at", ()))
        if detail["type"] == "invalid_key":
            place = place[:-1]  # a key that is no string can't be part of a path
        path = _path_in(document, place)
        found[FieldError(path, _sentence(detail, model, confidential=confidential))] = None
    return tuple(found)


def describe_all(error: ValidationError) -> str:
    """The mistakes that pydantic found, as one sentence without places."""
    return "; ".join(dict.fromkeys(_sentence(detail, BaseModel, confidential=False) for detail in error.errors()))


def _holds(value: Any, index: Any) -> bool:
    return isinstance(value, (list, tuple)) and isinstance(index, int) and index < len(value)


def _path_in(document: Any, place: Sequence[Any]) -> Path:
    """``place`` without what pydantic adds to name a union's member or a mapping's key."""
    path: list[str | int] = []
    here = document
    for index, part in enumerate(place):
        if (isinstance(here, Mapping) and part in here) or _holds(here, part):
            here = here[part]
        elif index < len(place) - 1 or part == "[key]" or not isinstance(here, Mapping):
            continue
        path.append(part if isinstance(part, (str, int)) and not isinstance(part, bool) else str(part))
    return tuple(path)


def _part_models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's type has room for."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = typing.get_origin(annotation)
    if origin in (tuple, dict, typing.Union, types.UnionType, typing.Annotated):
        return [model for argument in typing.get_args(annotation) for model in _part_models(argument)]
    return []


def _known_fields(model: type[BaseModel], parent: Sequence[Any]) -> list[str]:
    """How the fields at ``parent`` are spelled, or nothing where any key goes."""
    for part in parent:
        if isinstance(part, int):
            continue
        field = next((f for name, f in model.model_fields.items() if (f.alias or name) == part), None)
        parts = _part_models(field.annotation) if field else []
        if not parts:
            return []
        model = parts[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _kind_of(value: Any) -> str:
    for type_, words in (
        (bool, "a boolean"),
        (int, "a number"),
        (float, "a number"),
        (str, "a string"),
        (bytes, "bytes"),
        (Mapping, "a mapping"),
        (Sequence, "a list"),
    ):
        if isinstance(value, type_):
            return words
    return "nothing" if value is None else f"a {type(value).__name__}"


def _quoted(value: Any) -> str:
    return describe(value).removeprefix("the string ") if isinstance(value, str) else describe(value)


def describe(value: Any) -> str:
    """A value as it may be named in a message: scalars with their content, cut where it is long."""
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, str):
        text = value if len(value) <= _LONGEST_ECHO else f"{value[:_LONGEST_ECHO]}…"
        return f'the string "{text}"'
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return _kind_of(value)


_WANTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "int_parsing": "an integer",
    "bool_type": "true or false",
    "string_type": "a string",
    "bytes_type": "a string",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "datetime_type": 'a time such as "2026-01-31T12:00:00Z"',
    "datetime_parsing": 'a time such as "2026-01-31T12:00:00Z"',
    "datetime_from_date_parsing": 'a time such as "2026-01-31T12:00:00Z"',
}


def _sentence(detail: ErrorDetails, model: type[BaseModel], *, confidential: bool) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    echo = _kind_of(value) if confidential else describe(value)
    if kind in _WANTED:
        sentence = f"must be {_WANTED[kind]}, not {echo}"
        scalar = kind == "string_type" and isinstance(value, (bool, int, float))
        return f"{sentence}: put it in quotes" if scalar else sentence
    match kind:
        case "refused":
            return str(context["sentence"])
        case "missing":
            return "required"
        case "extra_forbidden":
            return _unknown(str(detail["loc"][-1]), _known_fields(model, detail["loc"][:-1]))
        case "invalid_key":
            return f"a field's name must be a string, not {echo}: put it in quotes"
        case "literal_error":
            return _not_one_of(str(context["expected"]), value, _kind_of(value) if confidential else _quoted(value))
        case "string_pattern_mismatch":
            pattern = str(context["pattern"])
            secret = confidential or pattern in CONFIDENTIAL
            wanted = SENTENCES.get(pattern, f"text that matches {pattern}")
            return f"must be {wanted}" + ("" if secret else f", not {_quoted(value)}")
        case "string_too_short" if context["min_length"] == 1:
            return "must not be empty"
        case "string_too_long":
            return f"must have at most {context['max_length']} characters, not {len(value)}"
        case "too_long":
            # pydantic does not count a mapping to its end.
            return f"must have at most {context['max_length']} entries, not {context['actual_length'] or len(value)}"
        case "too_short":
            least = context["min_length"]
            return f"must have at least {least} {'entry' if least == 1 else 'entries'}"
        case "greater_than_equal":
            return f"must be {context['ge']} or more, not {echo}"
        case "less_than_equal":
            return f"must be {context['le']} or less, not {echo}"
        case "int_or_string":
            return f"must be a port number or a port's name, not {echo}"
        case _:
            return detail["msg"]


def _unknown(name: str, known: list[str]) -> str:
    other = _OTHER_VERSION.get(name)
    if other in known:
        return f'unknown field; did you mean "{other}"? ("{name}" belongs to another version of the API)'
    return f"unknown field{suggestion(name, known)}"


def _not_one_of(expected: str, value: Any, echo: str) -> str:
    choices = expected.replace(" or ", ", ").replace("'", "").split(", ")
    close = suggestion(value, choices) if isinstance(value, str) else ""
    return f"must be {either(choices)}, not {echo}{close}"
