"""What filters refer to: the backends of mirrors and authorization servers, and the objects of ExtensionRefs."""

from collections.abc import Iterable
from dataclasses import dataclass

from routes.graph.backends import Services
from routes.graph.nodes import BackendNode, FilterNode
from routes.graph.support import filter_fault
from routes.resources.extension import Extension
from routes.resources.filters import HTTPRouteFilter, LocalObjectReference
from routes.resources.http import HTTPBackendRef, HTTPRoute
from routes.resources.meta import Key
from routes.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class References:
    """Everything that a route's rules may name. ``kinds`` are those an ExtensionRef may be of."""

    services: Services
    snapshot: Snapshot
    kinds: frozenset[tuple[str, str]]

    def backend(self, route: HTTPRoute, ref: HTTPBackendRef) -> BackendNode:
        """The node of a backendRef of ``route``, with its filters."""
        return self.services.resolve(route, ref, self.filters(route, ref.filters))

    def filters(self, route: HTTPRoute, filters: Iterable[HTTPRouteFilter]) -> tuple[FilterNode, ...]:
        """The nodes of ``filters``, in their order."""
        return tuple(self._filter(route, filter_) for filter_ in filters)

    def _filter(self, route: HTTPRoute, filter_: HTTPRouteFilter) -> FilterNode:
        if filter_.request_mirror is not None:
            return FilterNode(filter_, self.services.resolve(route, filter_.request_mirror.backend_ref))
        if filter_.external_auth is not None:
            # Who cannot be asked has not said yes: no request passes.
            backend = self.services.resolve(route, filter_.external_auth.backend_ref)
            return FilterNode(filter_, backend, unsupported=filter_fault(filter_) or backend.message)
        if filter_.extension_ref is not None:
            return self._extension(route, filter_, filter_.extension_ref)
        return FilterNode(filter_)

    def _extension(self, route: HTTPRoute, filter_: HTTPRouteFilter, ref: LocalObjectReference) -> FilterNode:
        key = Key(ref.group, ref.kind, route.metadata.namespace or "", ref.name)
        if (ref.group, ref.kind) not in self.kinds:
            message = f"{ref.kind} of group {ref.group!r}: no filter is configured by objects of this kind"
            return FilterNode(filter_, unsupported=message, reason="InvalidKind")
        found = self.snapshot.of(Extension).get(key)
        if found is None:
            return FilterNode(filter_, unsupported=self.snapshot.absence(key), reason="BackendNotFound")
        return FilterNode(filter_, extension=found)
