"""Which listeners take a route: parentRefs, allowedRoutes, hostnames, and the selectors of v1alpha1."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from routes.graph import conditions
from routes.graph.hostnames import meeting
from routes.graph.listeners import HTTP_ROUTE
from routes.graph.nodes import Attachment, Condition, GatewayNode, ListenerNode, ParentNode
from routes.resources.core import Namespace
from routes.resources.gateway import SelectingListener
from routes.resources.http import HTTPRoute, ParentReference, SelectedHTTPRoute
from routes.resources.meta import GATEWAY_GROUP, Key
from routes.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Parents:
    """The Gateways that routes may attach to, and the labels of the namespaces that routes come from."""

    gateways: Mapping[Key, GatewayNode]
    by_name: Mapping[tuple[str, str], GatewayNode]
    namespaces: Mapping[Key, Namespace]

    @classmethod
    def of(cls, gateways: Mapping[Key, GatewayNode], snapshot: Snapshot) -> "Parents":
        """Index ``gateways``; where two API groups hold the same name, the v1 one is meant by a parentRef."""
        by_name: dict[tuple[str, str], GatewayNode] = {}
        for key, gateway in gateways.items():
            if key.group == GATEWAY_GROUP or (key.namespace, key.name) not in by_name:
                by_name[key.namespace, key.name] = gateway
        return cls(gateways, by_name, snapshot.of(Namespace))

    def labels(self, namespace: str) -> dict[str, str]:
        """The namespace's labels; the one that every namespace bears is there even where no manifest holds it."""
        found = self.namespaces.get(Key("", "Namespace", "", namespace))
        return {"kubernetes.io/metadata.name": namespace} | (found.metadata.labels if found else {})


def attach(route: HTTPRoute, parents: Parents) -> tuple[ParentNode, ...]:
    """A node for each parentRef that leads to one of our Gateways; others are somebody else's and get none."""
    return tuple(_parent(route, index, ref, gateway, parents) for index, ref, gateway in _parent_refs(route, parents))


def _parent_refs(route: HTTPRoute, parents: Parents) -> Iterator[tuple[int, ParentReference, GatewayNode]]:
    namespace = route.metadata.namespace or ""
    if isinstance(route, SelectedHTTPRoute):
        for gateway in parents.gateways.values():
            if any(_selects(gateway, listener, route, parents) for listener in gateway.listeners):
                yield -1, _ref_to(gateway), gateway
        return
    if not route.spec.parent_refs:
        # A laptop's route names no Gateway; the one that nobody wrote is the one that is meant.
        for gateway in parents.gateways.values():
            if gateway.default:
                yield -1, _ref_to(gateway), gateway
        return
    for index, ref in enumerate(route.spec.parent_refs):
        if (ref.group, ref.kind) != (GATEWAY_GROUP, "Gateway"):
            continue
        found = parents.by_name.get((ref.namespace or namespace, ref.name))
        if found is not None:
            yield index, ref, found


def _ref_to(gateway: GatewayNode) -> ParentReference:
    meta = gateway.source.metadata
    return ParentReference(namespace=meta.namespace, name=meta.name)


def _selects(gateway: GatewayNode, listener: ListenerNode, route: SelectedHTTPRoute, parents: Parents) -> bool:
    """v1alpha1: the listener chooses by kind, label and namespace, and the route says which Gateways may choose it."""
    if not isinstance(listener.source, SelectingListener) or HTTP_ROUTE not in listener.supported_kinds:
        return False
    if not listener.source.route_selector.matches(route.metadata.labels):
        return False
    if not _namespace_allowed(route, gateway, listener, parents):
        return False
    home = gateway.source.metadata
    match route.gateways.allow:
        case "All":
            return True
        case "SameNamespace":
            return home.namespace == route.metadata.namespace
        case _:
            return any((ref.namespace, ref.name) == (home.namespace, home.name) for ref in route.gateways.gateway_refs)


def _parent(route: HTTPRoute, index: int, ref: ParentReference, gateway: GatewayNode, parents: Parents) -> ParentNode:
    attachments: list[Attachment] = []
    misses: list[tuple[int, Condition]] = []
    for listener in gateway.listeners:
        outcome = _on_listener(route, ref, gateway, listener, parents)
        if isinstance(outcome, Attachment):
            attachments.append(outcome)
        elif outcome is not None:
            misses.append(outcome)
    generation = route.metadata.generation
    if attachments:
        accepted = conditions.route_accepted(generation)
    elif misses:
        accepted = max(misses, key=lambda miss: miss[0])[1]
    else:
        wanted = " and ".join(
            part
            for part in (f"name {ref.section_name}" if ref.section_name else "", f"port {ref.port}" if ref.port else "")
            if part
        )
        accepted = conditions.route_no_matching_parent(
            generation, f"{gateway.source.key} has no listener of {wanted}: it has {_listener_names(gateway)}"
        )
    return ParentNode(ref, index, gateway.source.key, tuple(attachments), (accepted,))


def _on_listener(
    route: HTTPRoute, ref: ParentReference, gateway: GatewayNode, listener: ListenerNode, parents: Parents
) -> Attachment | tuple[int, Condition] | None:
    """The attachment, or how near it came (a larger number is nearer) and why not; None where ``ref`` means another."""
    source = listener.source
    if (ref.section_name and ref.section_name != source.name) or (ref.port and ref.port != source.port):
        return None
    if isinstance(route, SelectedHTTPRoute) and not _selects(gateway, listener, route, parents):
        return None
    generation = route.metadata.generation
    if HTTP_ROUTE not in listener.supported_kinds:
        return 0, conditions.route_not_allowed(generation, f"listener {source.name} takes no HTTPRoutes")
    if not _namespace_allowed(route, gateway, listener, parents):
        message = f"listener {source.name} takes no routes from namespace {route.metadata.namespace}"
        return 1, conditions.route_not_allowed(generation, message)
    hostnames = meeting(source.hostname, route.spec.hostnames)
    if hostnames is None:
        message = f"listener {source.name} is for {source.hostname}, the route for {', '.join(route.spec.hostnames)}"
        return 2, conditions.route_no_matching_hostname(generation, message)
    return Attachment(source.name, hostnames)


def _namespace_allowed(route: HTTPRoute, gateway: GatewayNode, listener: ListenerNode, parents: Parents) -> bool:
    namespaces = listener.source.allowed_routes.namespaces
    namespace = route.metadata.namespace or ""
    match namespaces.from_:
        case "All":
            return True
        case "Selector":
            return namespaces.selector is not None and namespaces.selector.matches(parents.labels(namespace))
        case "None":
            return False
        case _:
            return namespace == gateway.source.metadata.namespace


def _listener_names(gateway: GatewayNode) -> str:
    return ", ".join(f"{listener.source.name} (port {listener.source.port})" for listener in gateway.listeners)
