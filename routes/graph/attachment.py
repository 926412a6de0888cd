"""Which listeners take a route: parentRefs, allowedRoutes, hostnames, and the selectors of v1alpha1."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from routes.graph import conditions
from routes.graph.hostnames import meeting
from routes.graph.namespaces import Namespaces
from routes.graph.nodes import Attachment, Condition, GatewayNode, ListenerNode, ListenerSetNode, ParentNode
from routes.resources.gateway import SelectingListener
from routes.resources.http import HTTPRoute, ParentReference, SelectedHTTPRoute, UnreadableHTTPRoute
from routes.resources.meta import GATEWAY_GROUP, Key

Parent = GatewayNode | ListenerSetNode


@dataclass(frozen=True, slots=True)
class Parents:
    """The Gateways and ListenerSets that routes may attach to, and the namespaces that routes come from.

    ``by_name`` is by kind, namespace and name.
    """

    gateways: Mapping[Key, GatewayNode]
    by_name: Mapping[tuple[str, str, str], Parent]
    namespaces: Namespaces

    @classmethod
    def of(cls, gateways: Mapping[Key, GatewayNode], namespaces: Namespaces) -> "Parents":
        """Index ``gateways``; where two API groups hold the same name, the v1 one is meant by a parentRef."""
        by_name: dict[tuple[str, str, str], Parent] = {}
        for key, gateway in gateways.items():
            if key.group == GATEWAY_GROUP or key[1:] not in by_name:
                by_name[key[1:]] = gateway
            for node in gateway.listener_sets:
                by_name[node.source.key[1:]] = node
        return cls(gateways, by_name, namespaces)


def attach(route: HTTPRoute, parents: Parents) -> tuple[ParentNode, ...]:
    """A node for each parentRef to one of our Gateways or their ListenerSets; others are not ours and get none.

    One to a Gateway never reaches the listeners of its ListenerSets, nor the reverse.
    """
    return tuple(_parent(route, index, ref, parent, parents) for index, ref, parent in _parent_refs(route, parents))


def _parent_refs(route: HTTPRoute, parents: Parents) -> Iterator[tuple[int, ParentReference, Parent]]:
    namespace = route.metadata.namespace or ""
    if isinstance(route, SelectedHTTPRoute):
        for gateway in parents.gateways.values():
            if any(_selects(gateway, listener, route, parents) for listener in gateway.listeners):
                yield -1, _ref_to(gateway), gateway
        return
    named = {(ref.namespace or namespace, ref.name) for ref in route.spec.parent_refs if ref.kind == "Gateway"}
    if route.spec.use_default_gateways == "All":
        for gateway in parents.gateways.values():
            if gateway.source.spec.default_scope == "All" and gateway.source.key[2:] not in named:
                yield -1, _ref_to(gateway), gateway
    if not route.spec.parent_refs:
        # A laptop's route names no Gateway; the one that nobody wrote is the one that is meant.
        for gateway in parents.gateways.values():
            if gateway.default:
                yield -1, _ref_to(gateway), gateway
        return
    for index, ref in enumerate(route.spec.parent_refs):
        found = parents.by_name.get((ref.kind, ref.namespace or namespace, ref.name))
        if found is not None and ref.group == GATEWAY_GROUP:
            yield index, ref, found


def _ref_to(gateway: GatewayNode) -> ParentReference:
    meta = gateway.source.metadata
    return ParentReference(namespace=meta.namespace, name=meta.name)


def _selects(gateway: Parent, listener: ListenerNode, route: SelectedHTTPRoute, parents: Parents) -> bool:
    """v1alpha1: the listener chooses by kind, label and namespace, and the route says which Gateways may choose it."""
    if not isinstance(listener.source, SelectingListener) or not _takes_kind(listener, route):
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


def _parent(route: HTTPRoute, index: int, ref: ParentReference, parent: Parent, parents: Parents) -> ParentNode:
    attachments: list[Attachment] = []
    misses: list[tuple[int, Condition]] = []
    generation = route.metadata.generation
    gateway = parent.gateway if isinstance(parent, ListenerSetNode) else parent.source.key
    if isinstance(route, UnreadableHTTPRoute):
        refused = conditions.route_refused(generation, "UnsupportedValue", f"spec.{route.fault}")
        return ParentNode(ref, index, parent.source.key, gateway, (), (refused,))
    for listener in parent.listeners:
        outcome = _on_listener(route, ref, parent, listener, parents)
        if isinstance(outcome, Attachment):
            attachments.append(outcome)
        elif outcome is not None:
            misses.append(outcome)
    if attachments:
        accepted = conditions.route_accepted(generation)
    elif misses:
        accepted = max(misses, key=lambda miss: miss[0])[1]
    else:
        accepted = conditions.route_no_matching_parent(generation, _nothing(ref, parent))
    return ParentNode(ref, index, parent.source.key, gateway, tuple(attachments), (accepted,))


def _nothing(ref: ParentReference, parent: Parent) -> str:
    """That there is no such listener."""
    key = parent.source.key
    if isinstance(parent, ListenerSetNode) and not parent.listeners:
        return f"{key} is not attached to a Gateway: {parent.conditions[0].message}"
    name = f"name {ref.section_name}" if ref.section_name else ""
    port = f"port {ref.port}" if ref.port else ""
    wanted = " and ".join(filter(None, (name, port)))
    there = ", ".join(f"{listener.source.name} (port {listener.source.port})" for listener in parent.listeners)
    return f"{key} has no listener of {wanted}: it has {there}"


def _on_listener(
    route: HTTPRoute, ref: ParentReference, parent: Parent, listener: ListenerNode, parents: Parents
) -> Attachment | tuple[int, Condition] | None:
    """The attachment, or how near it came (a larger number is nearer) and why not; None where ``ref`` means another."""
    source = listener.source
    if (ref.section_name and ref.section_name != source.name) or (ref.port and ref.port != source.port):
        return None
    if isinstance(route, SelectedHTTPRoute) and not _selects(parent, listener, route, parents):
        return None
    generation = route.metadata.generation
    if not _takes_kind(listener, route):
        return 0, conditions.route_not_allowed(generation, f"listener {source.name} takes no {route.kind}s")
    if not _namespace_allowed(route, parent, listener, parents):
        namespace = route.metadata.namespace or ""
        doubt = parents.namespaces.doubt(source.allowed_routes.namespaces, namespace)
        message = f"listener {source.name} takes no routes from namespace {namespace}{doubt}"
        return 1, conditions.route_not_allowed(generation, message)
    hostnames = meeting(source.hostname, route.spec.hostnames)
    if hostnames is None:
        message = f"listener {source.name} is for {source.hostname}, the route for {', '.join(route.spec.hostnames)}"
        return 2, conditions.route_no_matching_hostname(generation, message)
    return Attachment(source.name, hostnames)


def _takes_kind(listener: ListenerNode, route: HTTPRoute) -> bool:
    return any(kind.kind == route.kind for kind in listener.supported_kinds)


def _namespace_allowed(route: HTTPRoute, parent: Parent, listener: ListenerNode, parents: Parents) -> bool:
    # "Same" is the namespace of the object that the listener stands in, not that of its Gateway.
    home = parent.source.metadata.namespace or ""
    return parents.namespaces.admit(listener.source.allowed_routes.namespaces, home, route.metadata.namespace or "")
