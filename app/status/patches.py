"""The status of every object that is ours, from the graph alone. Transition times are the writer's."""

from collections.abc import Sequence
from typing import Any

from routes.graph.addresses import address_type
from routes.graph.features import FEATURES
from routes.graph.nodes import (
    Condition,
    GatewayClassNode,
    GatewayNode,
    Graph,
    ListenerNode,
    ListenerSetNode,
    ParentNode,
    PolicyNode,
    RouteNode,
)
from routes.resources.meta import Key

Status = dict[str, Any]

#: The API has room for no more in the status of a policy (PolicyStatus).
MAX_ANCESTORS = 16
#: Nor in that of a route (RouteStatus).
MAX_PARENTS = 32
#: How much the API takes.
_MOST_ADDRESSES = 16
_LONGEST_MESSAGE = 32768


def statuses(graph: Graph, controller_name: str) -> dict[Key, Status]:
    """``status`` by object, as the API spells it, with those that we made ourselves and no manifest holds.

    Routes and ListenerSets that name no Gateway of ours get none: their status belongs to others.
    """
    found: dict[Key, Status] = {node.source.key: _class(node) for node in graph.classes}
    found |= {key: _gateway(node) for key, node in graph.gateways.items()}
    found |= {
        node.source.key: _listener_set(node) for gateway in graph.gateways.values() for node in gateway.listener_sets
    }
    found |= {key: _route(node, controller_name) for key, node in graph.routes.items() if node.parents}
    found |= policy_statuses(graph, controller_name)
    return found


def _class(node: GatewayClassNode) -> Status:
    return {
        "conditions": _conditions(node.conditions),
        "supportedFeatures": [{"name": feature} for feature in FEATURES],
    }


def policy_statuses(graph: Graph, controller_name: str) -> dict[Key, Status]:
    """``status`` of BackendTLSPolicies by the Gateways that use their Services; none for those that nobody uses."""
    return {key: _policy(node, controller_name) for key, node in graph.policies.items() if node.ancestors}


def _policy(node: PolicyNode, controller_name: str) -> Status:
    return {"ancestors": [_ancestor(gateway, node, controller_name) for gateway in node.ancestors[:MAX_ANCESTORS]]}


def _ancestor(gateway: Key, node: PolicyNode, controller_name: str) -> Status:
    return {
        "ancestorRef": {
            "group": gateway.group,
            "kind": gateway.kind,
            "namespace": gateway.namespace,
            "name": gateway.name,
        },
        "controllerName": controller_name,
        "conditions": _conditions(node.conditions),
    }


def _gateway(node: GatewayNode) -> Status:
    addresses = [{"type": address_type(value), "value": value} for value in node.addresses[:_MOST_ADDRESSES]]
    return {
        **({"addresses": addresses} if addresses else {}),
        "conditions": _conditions(node.conditions),
        "listeners": [_listener(listener) for listener in node.listeners],
        "attachedListenerSets": sum(listener_set.attached for listener_set in node.listener_sets),
    }


def _listener_set(node: ListenerSetNode) -> Status:
    return {
        "conditions": _conditions(node.conditions),
        "listeners": [_listener(listener) for listener in node.listeners],
    }


def _listener(node: ListenerNode) -> Status:
    return {
        "name": node.source.name,
        "attachedRoutes": node.attached_routes,
        "supportedKinds": [{"group": kind.group, "kind": kind.kind} for kind in node.supported_kinds],
        "conditions": _conditions(node.conditions),
    }


def _route(node: RouteNode, controller_name: str) -> Status:
    # Those that the route names come before the Gateways that take it unasked.
    parents = sorted(node.parents, key=lambda parent: parent.index < 0)[:MAX_PARENTS]
    return {"parents": [_parent(parent, controller_name) for parent in parents]}


def _parent(node: ParentNode, controller_name: str) -> Status:
    return {
        "controllerName": controller_name,
        "parentRef": node.ref.model_dump(by_alias=True, exclude_none=True),
        "conditions": _conditions(node.conditions),
    }


def _conditions(conditions: Sequence[Condition]) -> list[Status]:
    return [
        {
            "type": condition.type,
            "status": "True" if condition.status else "False",
            "reason": condition.reason,
            "message": condition.message[:_LONGEST_MESSAGE],
            "observedGeneration": condition.observed_generation,
        }
        for condition in conditions
    ]
