"""Namespaces and who is let in from them: ``allowedRoutes.namespaces`` and ``allowedListeners.namespaces``."""

from collections.abc import Mapping
from dataclasses import dataclass

from routes.resources.core import Namespace
from routes.resources.gateway import ListenerNamespaces, RouteNamespaces
from routes.resources.meta import Key
from routes.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The Namespace objects that are known."""

    found: Mapping[Key, Namespace]

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Namespaces":
        """Those of ``snapshot``."""
        return cls(snapshot.of(Namespace))

    def labels(self, namespace: str) -> dict[str, str]:
        """The namespace's labels; the one that every namespace bears is there even where no manifest holds it."""
        found = self.found.get(Key("", "Namespace", "", namespace))
        return {"kubernetes.io/metadata.name": namespace} | (found.metadata.labels if found else {})

    def admit(self, allowed: RouteNamespaces | ListenerNamespaces, home: str, namespace: str) -> bool:
        """Whether ``allowed``, which stands in the namespace ``home``, lets in what comes from ``namespace``."""
        match allowed.from_:
            case "All":
                return True
            case "Selector":
                return allowed.selector is not None and allowed.selector.matches(self.labels(namespace))
            case "None":
                return False
            case _:
                return namespace == home
