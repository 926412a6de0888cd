"""The status of every object that is ours, from the graph alone. Transition times are the writer's."""

from app.status import v1alpha1
from app.status.parts import Status, addresses, conditions
from routes.graph.features import FEATURES
from routes.graph.nodes import (
    GatewayClassNode,
    GatewayNode,
    Graph,
    ListenerNode,
    ListenerSetNode,
    ParentNode,
    PolicyNode,
    RouteNode,
)
from routes.resources.meta import V1ALPHA1_GROUP, Key

#: What has a status.
Node = GatewayClassNode | GatewayNode | ListenerSetNode | RouteNode | PolicyNode

#: The API has room for no more in the status of a policy (PolicyStatus).
MAX_ANCESTORS = 16
#: Nor in that of a route (RouteStatus).
MAX_PARENTS = 32


def statuses(graph: Graph, controller_name: str) -> dict[Key, Status]:
    """``status`` by object, as the API spells it, with those that we made ourselves and no manifest holds.

    Routes and ListenerSets that name no Gateway of ours get none: their status belongs to others. So do
    BackendTLSPolicies for Services that no Gateway of ours uses.
    """
    policies = {key: node for key, node in graph.policies.items() if node.ancestors}
    routes = {key: node for key, node in graph.routes.items() if node.parents}
    return {key: status(node, controller_name) for key, node in (frame(graph) | routes | policies).items()}


def frame(graph: Graph) -> dict[Key, GatewayClassNode | GatewayNode | ListenerSetNode]:
    """The classes, Gateways and ListenerSets of ``graph``, in this order."""
    found: dict[Key, GatewayClassNode | GatewayNode | ListenerSetNode] = {
        node.source.key: node for node in graph.classes
    }
    found |= graph.gateways
    found |= {node.source.key: node for gateway in graph.gateways.values() for node in gateway.listener_sets}
    return found


def v1alpha1_gateways(graph: Graph) -> frozenset[tuple[str, str]]:
    """Namespace and name of our Gateways that routes of that version may be on: the entries for them are ours."""
    found = (key for key, node in graph.gateways.items() if key.group == V1ALPHA1_GROUP or node.default)
    return frozenset((key.namespace, key.name) for key in found)


def status(node: Node, controller_name: str) -> Status:
    """``status`` of one object, in the words of the API version that it is written in.

    Of a route or policy that is not ours it has no entries, which is what :func:`app.status.merge.merge` takes ours
    out by.
    """
    older = node.source.key.group == V1ALPHA1_GROUP
    match node:
        case GatewayClassNode():
            return v1alpha1.gateway_class(node) if older else _class(node)
        case GatewayNode():
            return v1alpha1.gateway(node) if older else _gateway(node)
        case ListenerSetNode():
            return _listener_set(node)
        case RouteNode():
            return v1alpha1.route(node) if older else _route(node, controller_name)
        case PolicyNode():
            return {"ancestors": [_ancestor(each, node, controller_name) for each in node.ancestors[:MAX_ANCESTORS]]}


def _class(node: GatewayClassNode) -> Status:
    return {
        "conditions": conditions(node.conditions),
        "supportedFeatures": [{"name": feature} for feature in FEATURES],
    }


def _ancestor(gateway: Key, node: PolicyNode, controller_name: str) -> Status:
    return {
        "ancestorRef": {
            "group": gateway.group,
            "kind": gateway.kind,
            "namespace": gateway.namespace,
            "name": gateway.name,
        },
        "controllerName": controller_name,
        "conditions": conditions(node.conditions),
    }


def _gateway(node: GatewayNode) -> Status:
    return {
        **addresses(node.addresses),
        "conditions": conditions(node.conditions),
        "listeners": [_listener(listener) for listener in node.listeners],
        "attachedListenerSets": sum(listener_set.attached for listener_set in node.listener_sets),
    }


def _listener_set(node: ListenerSetNode) -> Status:
    return {
        "conditions": conditions(node.conditions),
        "listeners": [_listener(listener) for listener in node.listeners],
    }


def _listener(node: ListenerNode) -> Status:
    return {
        "name": node.source.name,
        "attachedRoutes": node.attached_routes,
        "supportedKinds": [{"group": kind.group, "kind": kind.kind} for kind in node.supported_kinds],
        "conditions": conditions(node.conditions),
    }


def _route(node: RouteNode, controller_name: str) -> Status:
    # Those that the route names come before the Gateways that take it unasked.
    parents = sorted(node.parents, key=lambda parent: parent.index < 0)[:MAX_PARENTS]
    return {"parents": [_parent(parent, controller_name) for parent in parents]}


def _parent(node: ParentNode, controller_name: str) -> Status:
    return {
        "controllerName": controller_name,
        "parentRef": node.ref.model_dump(by_alias=True, exclude_none=True),
        "conditions": conditions(node.conditions),
    }
