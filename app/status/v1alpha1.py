"""Status in the words of networking.x-k8s.io/v1alpha1, for the objects that are written in that version.

Its conditions are other ones: Admitted for v1's Accepted of classes and routes, Scheduled and Ready for Accepted and
Programmed of Gateways, Detached for the opposite of Accepted of listeners. Listeners are told by their port alone, and
a route's entries by Gateway, without the name of a controller.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from app.status.parts import Status, addresses, conditions
from routes.graph.nodes import Condition, GatewayClassNode, GatewayNode, ListenerNode, ParentNode, RouteNode

#: The condition types that are ours. A class is created with InvalidParameters, of which nothing is known yet.
TYPES = frozenset(
    {"Admitted", "InvalidParameters", "Scheduled", "Ready", "Conflicted", "Detached", "ResolvedRefs"}
    | {"PartiallyInvalid"}
)
#: The API has room for no more in the status of a route.
MAX_GATEWAYS = 100

#: What v1's conditions are called here, those of an object and those of a listener.
_NAMES = {"Accepted": "Admitted", "ResolvedRefs": "ResolvedRefs", "PartiallyInvalid": "PartiallyInvalid"}
_GATEWAY_NAMES = {"Accepted": "Scheduled", "Programmed": "Ready"}
_LISTENER_NAMES = {
    "Accepted": "Detached",
    "Programmed": "Ready",
    "ResolvedRefs": "ResolvedRefs",
    "Conflicted": "Conflicted",
}
#: This version's reasons for what v1 calls otherwise, by v1's reason. Others are the same words.
_REASONS = {"Accepted": "Admitted"}
_GATEWAY_REASONS = {
    "Accepted": "Scheduled",
    "Programmed": "Ready",
    "Invalid": "ListenersNotValid",
    "Pending": "ListenersNotReady",
    "NoResources": "ListenersNotReady",
    "AddressNotUsable": "AddressNotAssigned",
}
_LISTENER_REASONS = {
    "Accepted": "Attached",
    "Programmed": "Ready",
    "UnsupportedValue": "UnsupportedExtension",
    "InvalidRouteKinds": "InvalidRoutesRef",
    "RefNotPermitted": "InvalidCertificateRef",
}
#: The reasons for which v1 does not accept a listener and this version calls it Conflicted, and nothing else.
_CONFLICTS = ("HostnameConflict", "ProtocolConflict")


def gateway_class(node: GatewayClassNode) -> Status:
    """``status`` of a GatewayClass."""
    return {"conditions": conditions(_named(node.conditions, _NAMES, _REASONS))}


def gateway(node: GatewayNode) -> Status:
    """``status`` of a Gateway. Of several listeners on a port the worst of each condition is told."""
    ports: dict[int, list[ListenerNode]] = {}
    for listener in node.listeners:
        ports.setdefault(listener.source.port, []).append(listener)
    return {
        **addresses(node.addresses, named="NamedAddress"),
        "conditions": conditions(_named(node.conditions, _GATEWAY_NAMES, _GATEWAY_REASONS)),
        "listeners": [_port(port, listeners) for port, listeners in ports.items()],
    }


def route(node: RouteNode) -> Status:
    """``status`` of an HTTPRoute. What v1 tells beside Accepted has no other place here, and so stays as it is."""
    found: dict[tuple[str, str], ParentNode] = {}
    for parent in node.parents:
        found.setdefault((parent.gateway.namespace, parent.gateway.name), parent)
    return {
        "gateways": [
            {
                "gatewayRef": {"namespace": namespace, "name": name},
                "conditions": conditions(_named(parent.conditions, _NAMES, _REASONS)),
            }
            for (namespace, name), parent in list(found.items())[:MAX_GATEWAYS]
        ]
    }


def _port(port: int, listeners: list[ListenerNode]) -> Status:
    hostnames = {listener.source.hostname for listener in listeners}
    told: dict[str, Condition] = {}
    for condition in (condition for listener in listeners for condition in _of_listener(listener)):
        bad = condition.type in ("Conflicted", "Detached")
        if condition.type not in told or (condition.status is bad and told[condition.type].status is not bad):
            told[condition.type] = condition
    hostname = hostnames.pop() if len(hostnames) == 1 else None
    return {
        "port": port,
        "protocol": listeners[0].source.protocol,
        **({"hostname": hostname} if hostname else {}),
        "conditions": conditions(told.values()),
    }


def _of_listener(node: ListenerNode) -> Iterable[Condition]:
    for condition in _named(node.conditions, _LISTENER_NAMES, _LISTENER_REASONS):
        if condition.type != "Detached":
            yield condition
        elif condition.reason in _CONFLICTS:
            yield replace(condition, status=False, reason="Attached", message="its port is served")
        else:
            yield replace(condition, status=not condition.status)


def _named(found: Iterable[Condition], names: Mapping[str, str], reasons: Mapping[str, str]) -> Iterable[Condition]:
    """Those conditions that this version has, in its own words."""
    for condition in found:
        if (name := names.get(condition.type)) is not None:
            yield replace(condition, type=name, reason=reasons.get(condition.reason, condition.reason))
