"""ReferenceGrants: who may point into whose namespace."""

from collections.abc import Iterable

from routes.resources.meta import Key
from routes.resources.policy import ReferenceGrant


class Grants:
    """All grants, by the namespace that gives them. Several add up; without one nothing crosses a namespace."""

    def __init__(self, grants: Iterable[ReferenceGrant]) -> None:
        self._by_namespace: dict[str, list[ReferenceGrant]] = {}
        for grant in grants:
            self._by_namespace.setdefault(grant.metadata.namespace or "", []).append(grant)

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
