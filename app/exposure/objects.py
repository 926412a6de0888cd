"""The Service and the EndpointSlices by which a Gateway of a cluster is reached. Nothing is read or written here.

A Service without selector, in the Gateway's own namespace, has a port for each port of its listeners; EndpointSlices
lead from there to the replicas, whose addresses are those of the Service that chooses our own pods.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Final

from app.exposure.seal import Seal
from app.providers.kubernetes.api import Object
from routes.graph.nodes import GatewayNode
from routes.resources.gateway import Gateway
from routes.resources.meta import GATEWAY_GROUP, V1ALPHA1_GROUP, Key
from routes.table.types import PortKey

#: What all objects of ours bear, and are watched by.
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "moongate"
GATEWAY_NAME: Final = f"{GATEWAY_GROUP}/gateway-name"
GATEWAY_CLASS_NAME: Final = f"{GATEWAY_GROUP}/gateway-class-name"
#: Whose objects they are, where several Moongates share a cluster.
CONTROLLER: Final = "moongate.dev/controller-name"
#: That its ports are those that we have bound.
SEAL: Final = "moongate.dev/ports-seal"
#: A hash of what was applied, by which it is known that a field has to go which others may have set as well.
APPLIED: Final = "moongate.dev/applied"
SERVICE_NAME: Final = "kubernetes.io/service-name"
_SLICES_MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"

#: The API's limits: characters of a name and of a label's value, and endpoints of a slice.
_LONGEST: Final = 63
_MOST_ENDPOINTS: Final = 1000
_HASH: Final = 8

_SERVICE: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
#: Lists in which others may have entries beside ours, and the field that tells the entries apart.
_SHARED_LISTS: Final = {("Service", "ports"): "name", ("Service", "ownerReferences"): "uid"}

_NO_SEAL: Final = Seal(b"")

Network = IPv4Network | IPv6Network


def service_names(gateway: Gateway) -> tuple[str, str]:
    """What the Gateway's Service is called, and what it is called where somebody else's has that name.

    The name of a Service is shorter than a Gateway's, has no dots and begins with a letter.
    """
    return _service_names(gateway.key, gateway.spec.gateway_class_name)


@lru_cache(4096)
def _service_names(gateway: Key, class_: str) -> tuple[str, str]:
    plain = f"{gateway.name}-{class_}"
    stem = re.sub(r"[^-a-z0-9]", "-", plain)
    stem = stem if stem[0].isalpha() else f"gateway-{stem}"
    hashed = _cut(stem, _hash(*gateway, plain))
    fits = len(plain) <= _LONGEST and _SERVICE.fullmatch(plain) is not None
    return (plain if fits else hashed), hashed


def listener_ports(node: GatewayNode) -> tuple[int, ...]:
    """The port numbers of the Gateway's listeners that are served."""
    return tuple(sorted({listener.source.port for listener in node.all_listeners if listener.valid}))


def static_address(gateway: Gateway, networks: Iterable[Network]) -> tuple[str, str]:
    """The address that the Gateway asks for and may have, "" for any, and why it cannot have the others, "" if it can.

    A Service has one address of those that can be asked for.
    """
    chosen, problems = "", []
    for wanted in gateway.spec.addresses:
        if not wanted.value or wanted.type != "IPAddress":
            continue
        address = ip_address(wanted.value)
        if not any(address in network for network in networks):
            problems.append(f"{wanted.value} is in none of the networks of MOONGATE_STATIC_ADDRESSES")
        elif chosen:
            problems.append(f"{wanted.value} cannot be had beside {chosen}: a Service has one address of its own")
        else:
            chosen = wanted.value
    return chosen, "; ".join(problems)


def service(
    node: GatewayNode,
    name: str,
    bound: Callable[[PortKey], int],
    type_: str,
    address: str,
    controller_name: str,
    seal: Seal = _NO_SEAL,
) -> Object:
    """The Service of a Gateway with at least one listener that is served.

    ``address`` is the one that it asks for, "" for any; only a load balancer can give that.
    """
    bound_ports = _bound_ports(node, bound)
    ports = [
        {"name": _port_name(port), "port": port, "protocol": "TCP", "targetPort": number}
        for port, number in bound_ports
    ]
    metadata = _metadata(node.source, name, controller_name)
    if sealed := seal.of(node.source.key, dict(bound_ports)):
        metadata["annotations"][SEAL] = sealed
    spec: dict[str, Any] = {"ports": ports, "type": type_, "ipFamilyPolicy": "PreferDualStack"}
    if address:
        spec |= {"type": "LoadBalancer", "loadBalancerIP": address}
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": spec,
    }
    return _with_hash(body)


def endpoint_slices(
    node: GatewayNode,
    name: str,
    bound: Callable[[PortKey], int],
    endpoints: Mapping[str, Sequence[Object]],
    controller_name: str,
) -> list[Object]:
    """The EndpointSlices of the Service ``name``: for each family of addresses one, or as many as hold all.

    ``endpoints`` are those of our own pods (:func:`endpoints_by_family`).
    """
    ports = [
        {"name": _port_name(port), "port": number, "protocol": "TCP"} for port, number in _bound_ports(node, bound)
    ]
    found: list[Object] = []
    for family, every in endpoints.items():
        parts = [list(every[at : at + _MOST_ENDPOINTS]) for at in range(0, len(every), _MOST_ENDPOINTS)] or [[]]
        for number, part in enumerate(parts, start=1):
            suffix = f"-{number}" if number > 1 else ""
            metadata = _metadata(node.source, f"{name}-{family.lower()}{suffix}", controller_name)
            metadata["labels"] |= {SERVICE_NAME: name, _SLICES_MANAGED_BY: MANAGER}
            body = {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": metadata,
                "addressType": family,
                "endpoints": part,
                "ports": ports,
            }
            found.append(_with_hash(body))
    return found


def endpoints_by_family(replicas: Iterable[Object]) -> dict[str, list[Object]]:
    """The endpoints of ``replicas`` in the order of their addresses, for each family that there is.

    While endpoints move from one slice to another they may stand in both; the more useful one counts.
    """
    found: dict[str, dict[str, Object]] = {}
    for each in replicas:
        family = each.get("addressType")
        if family not in ("IPv4", "IPv6"):
            continue
        known = found.setdefault(family, {})
        for endpoint in each.get("endpoints") or ():
            address = endpoint["addresses"][0]
            if address not in known or _use(endpoint) > _use(known[address]):
                known[address] = endpoint
    return {
        family: [_copied(known[address]) for address in sorted(known, key=ip_address)]
        for family, known in sorted(found.items())
    }


def addresses(stored: Object) -> tuple[str, ...]:
    """The IP addresses and host names at which a Service is reached with the port numbers of its listeners.

    Those of its load balancer or, without one, of the cluster alone: at a node's address (type NodePort) the ports have
    other numbers.
    """
    spec = stored.get("spec") or {}
    if spec.get("type") == "LoadBalancer":
        balancer = (stored.get("status") or {}).get("loadBalancer") or {}
        found = [entry.get("ip") or entry.get("hostname") for entry in balancer.get("ingress") or ()]
    else:
        found = [*(spec.get("clusterIPs") or ()), spec.get("clusterIP")]
    return tuple(dict.fromkeys(address for address in found if address and address != "None"))


def stored_ports(stored: Object, seal: Seal = _NO_SEAL) -> dict[PortKey, int]:
    """The ports that the listeners of a Service's Gateway are bound to, as the Service has it; none where it was not
    us who wrote them."""
    owner = owner_of(stored)
    if owner is None:
        return {}
    found: dict[int, int] = {}
    for port in (stored.get("spec") or {}).get("ports") or ():
        target = port.get("targetPort")
        if port.get("name") == _port_name(port["port"]) and isinstance(target, int):
            found[port["port"]] = target
    told = (stored["metadata"].get("annotations") or {}).get(SEAL, "")
    if not seal.fits(told, owner[0], found):
        return {}
    return {PortKey(owner[0], port): target for port, target in found.items()}


def owner_of(stored: Object) -> tuple[Key, str] | None:
    """The Gateway that an object belongs to, and its uid; None where it belongs to none."""
    metadata = stored["metadata"]
    for reference in metadata.get("ownerReferences") or ():
        group = reference["apiVersion"].partition("/")[0]
        if reference["kind"] == "Gateway" and group in (GATEWAY_GROUP, V1ALPHA1_GROUP):
            return Key(group, "Gateway", metadata.get("namespace", ""), reference["name"]), reference["uid"]
    return None


def is_ours(stored: Object, controller_name: str) -> bool:
    """Whether an object was made by a Moongate with this controller name, for a Gateway."""
    metadata = stored["metadata"]
    return (
        (metadata.get("labels") or {}).get(MANAGED_BY) == MANAGER
        and (metadata.get("annotations") or {}).get(CONTROLLER) == controller_name
        and owner_of(stored) is not None
    )


def differs(wanted: Object, stored: Object) -> bool:
    """Whether something of ``wanted`` is otherwise in ``stored``, or something is there that we set earlier.

    What the API server and others have added is not ours to compare. In a list objects do not say their kind.
    """
    fields = {field: value for field, value in wanted.items() if field not in ("apiVersion", "kind")}
    return not _holds(stored, fields, str(wanted["kind"]), "")


def _holds(stored: Any, wanted: Any, kind: str, field: str) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(stored, Mapping) and all(
            _holds(stored.get(name), value, kind, name) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        present = stored or []
        if told_by := _SHARED_LISTS.get((kind, field)):
            by_name = {entry.get(told_by): entry for entry in present}
            return all(_holds(by_name.get(entry[told_by]), entry, kind, "") for entry in wanted)
        return len(present) == len(wanted) and all(
            _holds(entry, value, kind, "") for entry, value in zip(present, wanted, strict=True)
        )
    return bool(stored == wanted)


def _bound_ports(node: GatewayNode, bound: Callable[[PortKey], int]) -> list[tuple[int, int]]:
    every = ((port, bound(PortKey(node.source.key, port))) for port in listener_ports(node))
    return [(port, number) for port, number in every if number]


def _port_name(port: int) -> str:
    return f"port-{port}"


def _metadata(gateway: Gateway, name: str, controller_name: str) -> dict[str, Any]:
    infrastructure = gateway.spec.infrastructure
    labels = infrastructure.labels if infrastructure is not None else {}
    annotations = infrastructure.annotations if infrastructure is not None else {}
    return {
        "name": name,
        "namespace": gateway.metadata.namespace,
        # What we know our objects by goes before what somebody wants them to bear.
        "labels": {
            **labels,
            MANAGED_BY: MANAGER,
            GATEWAY_NAME: _label(gateway.metadata.name),
            GATEWAY_CLASS_NAME: _label(gateway.spec.gateway_class_name),
        },
        "annotations": {**annotations, CONTROLLER: controller_name},
        "ownerReferences": [
            {
                "apiVersion": gateway.api_version,
                "kind": "Gateway",
                "name": gateway.metadata.name,
                "uid": gateway.metadata.uid,
                "controller": True,
            }
        ],
    }


def _with_hash(body: dict[str, Any]) -> Object:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    body["metadata"]["annotations"][APPLIED] = _hash(text)
    return body


def _label(name: str) -> str:
    return name if len(name) <= _LONGEST else _cut(name, _hash(name))


def _cut(text: str, ending: str) -> str:
    return f"{text[: _LONGEST - _HASH - 1].rstrip('-.')}-{ending}"


def _hash(*texts: str) -> str:
    return sha256("\0".join(texts).encode()).hexdigest()[:_HASH]


def _use(endpoint: Object) -> tuple[bool, bool]:
    conditions = endpoint.get("conditions") or {}
    return conditions.get("ready") is not False, conditions.get("serving") is not False


def _copied(endpoint: Object) -> Object:
    found = {field: endpoint[field] for field in ("addresses", "nodeName", "zone", "targetRef") if endpoint.get(field)}
    conditions: Sequence[str] = ("ready", "serving", "terminating")
    told = endpoint.get("conditions") or {}
    return found | {"conditions": {name: told[name] for name in conditions if told.get(name) is not None}}
