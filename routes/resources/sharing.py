"""Objects in less memory: equal parts are one part, and the parts of one model share what they have in common.

Ten thousand routes say the same again and again: the same parent, the same backend, the same "/". Parts never change,
so that they may as well be the same object; and what pydantic makes of a part is a dictionary and a set of its own,
where Python lets the instances of a class share the names of their attributes.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from routes.resources.meta import Model, Resource

M = TypeVar("M", bound=Model)

#: How many different parts are known at a time; what is forgotten is only not shared with what comes later.
_KNOWN = 4096

_set: Callable[[object, str, Any], None] = object.__setattr__


def shared(model: M) -> M:
    """An equal model, whose parts are those of earlier ones where they are equal.

    Which fields were written and which left out is not kept (``model_fields_set``).
    """
    made = type(model).__new__(type(model))
    # One by one, by name: so the dictionary is laid out once for the class, and an instance holds only the values.
    for name, value in model.__dict__.items():
        # An object's metadata and spec are its own; looking whether they are known would take longer than it saves.
        _set(made, name, shared(value) if isinstance(model, Resource) and isinstance(value, Model) else _shared(value))
    _set(made, "__pydantic_fields_set__", _NO_FIELDS)
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made


#: Nobody adds to it: models are frozen.
_NO_FIELDS: set[str] = set()


def _shared(value: Any) -> Any:
    if isinstance(value, Model):
        return _part(value)
    if isinstance(value, tuple):
        return _items(value) if value else ()
    if isinstance(value, dict) and not value:
        return _NOTHING
    return value


def _part(part: Model) -> Model:
    try:
        return _known(part)
    except TypeError:  # it has a dictionary somewhere, which has no hash
        return shared(part)


def _items(items: tuple[Any, ...]) -> tuple[Any, ...]:
    try:
        return _known_items(items)
    except TypeError:
        return tuple(_shared(item) for item in items)


_NOTHING: dict[str, Any] = {}


@lru_cache(_KNOWN)
def _known(part: Model) -> Model:
    return shared(part)


@lru_cache(_KNOWN)
def _known_items(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_shared(item) for item in items)
