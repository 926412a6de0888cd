"""Namespaces and who is let in from them: ``allowedRoutes.namespaces`` and ``allowedListeners.namespaces``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from routes.resources.core import Namespace
from routes.resources.gateway import ListenerNamespaces, RouteNamespaces
from routes.resources.meta import Key
from routes.snapshot import Snapshot

#: The label that every namespace bears.
NAME = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The Namespace objects that are known, and why others are not."""

    found: Mapping[Key, Namespace]
    why_unread: Callable[[Key], str]

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Namespaces":
        """Those of ``snapshot``."""
        return cls(snapshot.of(Namespace), snapshot.why_unread)

    def labels(self, namespace: str) -> dict[str, str]:
        """The namespace's labels; the one that every namespace bears is there even where no manifest holds it."""
        found = self.found.get(_key(namespace))
        return {NAME: namespace} | (found.metadata.labels if found else {})

    def doubt(self, allowed: RouteNamespaces | ListenerNamespaces, namespace: str) -> str:
        """Why it cannot be told whether ``allowed`` selects ``namespace``, "" where it can: then nobody is let in."""
        if allowed.from_ != "Selector" or allowed.selector is None or _key(namespace) in self.found:
            return ""
        selector = allowed.selector
        asked = {*selector.match_labels, *(requirement.key for requirement in selector.match_expressions)}
        why = self.why_unread(_key(namespace)) if asked - {NAME} else ""
        return f", whose labels cannot be read: {why}" if why else ""

    def admit(self, allowed: RouteNamespaces | ListenerNamespaces, home: str, namespace: str) -> bool:
        """Whether ``allowed``, which stands in the namespace ``home``, lets in what comes from ``namespace``."""
        match allowed.from_:
            case "All":
                return True
            case "Selector":
                if allowed.selector is None or self.doubt(allowed, namespace):
                    return False
                return allowed.selector.matches(self.labels(namespace))
            case "None":
                return False
            case _:
                return namespace == home


def _key(namespace: str) -> Key:
    return Key("", "Namespace", "", namespace)
