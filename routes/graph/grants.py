"""ReferenceGrants: who may point into whose namespace."""

from collections.abc import Iterable

from routes.resources.meta import GATEWAY_GROUP, Key
from routes.resources.policy import ReferenceGrant
from routes.snapshot import Snapshot

_NOTHING = Snapshot()


class Grants:
    """All grants, by the namespace that gives them. Several add up; without one nothing crosses a namespace.

    ``snapshot`` says which namespaces' grants cannot be read.
    """

    def __init__(self, grants: Iterable[ReferenceGrant], snapshot: Snapshot = _NOTHING) -> None:
        self._snapshot = snapshot
        self._by_namespace: dict[str, list[ReferenceGrant]] = {}
        for grant in grants:
            self._by_namespace.setdefault(grant.metadata.namespace or "", []).append(grant)

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Grants":
        """Those of ``snapshot``."""
        return cls(snapshot.of(ReferenceGrant).values(), snapshot)

    def refusal(self, source: Key, target: Key) -> str:
        """Why the object ``source`` may not refer to ``target``, "" if it may."""
        if self.permit(source, target):
            return ""
        namespace = target.namespace
        why = self._snapshot.why_unread(Key(GATEWAY_GROUP, "ReferenceGrant", namespace, ""))
        if why:
            return f"whether a ReferenceGrant in {namespace} lets {source} use {target} cannot be read: {why}"
        return f"no ReferenceGrant in {namespace} lets {source} use {target}"

    def permit(self, source: Key, target: Key) -> bool:
        """Whether the object ``source`` may refer to ``target``.

        An entry of ``from`` and one of ``to`` of the same grant must fit; kinds are compared exactly. A target need not
        exist: asking this first keeps its existence from leaking.
        """
        if source.namespace == target.namespace:
            return True
        return any(
            any(
                (peer.group, peer.kind, peer.namespace) == (source.group, source.kind, source.namespace)
                for peer in grant.spec.from_
            )
            and any(
                (peer.group, peer.kind) == (target.group, target.kind) and peer.name in (None, "", target.name)
                for peer in grant.spec.to
            )
            for grant in self._by_namespace.get(target.namespace, ())
        )
