"""All objects that are known at one moment, as one immutable value.

In: resources, from whatever provider. Out: look-ups by model and by name. Not here: what refers to what.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Self, TypeVar, cast

from routes.resources.meta import Key, Resource

R = TypeVar("R", bound=Resource)

_NOTHING: Mapping[Key, Resource] = MappingProxyType({})
_READ: Mapping[tuple[str, str, str], str] = MappingProxyType({})


@cache
def _shelf(model: type[Resource]) -> type[Resource]:
    """The model under which ``model`` is kept: a subclass such as SelectedHTTPRoute stands with its HTTPRoutes."""
    return next(base for base in model.__mro__ if Resource in base.__bases__)


class Snapshot:
    """An immutable set of resources with distinct keys.

    ``with_`` and ``without`` copy only the shelves (one dict a model) that they change, so that a change costs
    a shallow copy of one dict and everything else is shared.
    """

    __slots__ = ("_shelves", "unread")

    def __init__(self, resources: Iterable[Resource] = (), unread: Mapping[tuple[str, str, str], str] = _READ) -> None:
        shelves: dict[type[Resource], dict[Key, Resource]] = {}
        for resource in resources:
            shelves.setdefault(_shelf(type(resource)), {})[resource.key] = resource
        self._shelves: Mapping[type[Resource], Mapping[Key, Resource]] = shelves
        #: What there may be and cannot be read: why, by group, kind and namespace ("" for all of them).
        self.unread = unread

    def why_unread(self, key: Key) -> str:
        """Why it is not known whether there is a ``key``; "" where that is known."""
        group, kind, namespace, _ = key
        return self.unread.get((group, kind, namespace)) or self.unread.get((group, kind, "")) or ""

    def absence(self, key: Key) -> str:
        """A sentence on why ``key`` is not here."""
        why = self.why_unread(key)
        return f"{key} cannot be read: {why}" if why else f"{key} does not exist"

    def of(self, model: type[R]) -> Mapping[Key, R]:
        """All resources of ``model`` by key."""
        return cast(Mapping[Key, R], self._shelves.get(_shelf(model), _NOTHING))

    def find(self, model: type[R], namespace: str, name: str) -> R | None:
        """The resource of ``model`` in its own API group, or None. ``namespace`` is "" for cluster-wide kinds."""
        return self.of(model).get(Key(model.group, model.__name__, namespace, name))

    def get(self, key: Key) -> Resource | None:
        """The resource of any model with this key, or None."""
        return next((found for shelf in self._shelves.values() if (found := shelf.get(key)) is not None), None)

    def with_(self, resources: Iterable[Resource]) -> Self:
        """A snapshot in which ``resources`` are added or replaced."""
        return self._changed(resources, ())

    def without(self, keys: Iterable[Key]) -> Self:
        """A snapshot without ``keys``; absent ones are no error."""
        return self._changed((), keys)

    def _changed(self, upserts: Iterable[Resource], deletes: Iterable[Key]) -> Self:
        shelves = dict(self._shelves)
        copied: dict[type[Resource], dict[Key, Resource]] = {}

        def writable(model: type[Resource]) -> dict[Key, Resource]:
            if model not in copied:
                shelves[model] = copied[model] = dict(shelves.get(model, _NOTHING))
            return copied[model]

        for key in deletes:
            for model, shelf in self._shelves.items():
                if key in shelf:
                    writable(model).pop(key, None)
        for resource in upserts:
            writable(_shelf(type(resource)))[resource.key] = resource
        changed = type(self)(unread=self.unread)
        changed._shelves = shelves
        return changed

    def knowing(self, unread: Mapping[tuple[str, str, str], str]) -> Self:
        """The same objects, where other things are ``unread``."""
        changed = type(self)(unread=unread)
        changed._shelves = self._shelves
        return changed

    def keys(self) -> list[Key]:
        """The keys of all resources."""
        return [key for shelf in self._shelves.values() for key in shelf]

    def __len__(self) -> int:
        return sum(map(len, self._shelves.values()))
