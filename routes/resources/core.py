"""Kubernetes' own objects, as far as a gateway reads them: Services and their endpoints, Secrets, workloads.

The API: https://kubernetes.io/docs/reference/kubernetes-api/. Fields that nobody here uses are known, so that a
manifest with them is not refused, and untyped.
"""

import binascii
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from routes.resources.fields import first_repeat, refuse
from routes.resources.meta import (
    CORE_GROUP,
    DEFINITIONS_GROUP,
    GATEWAY_GROUP,
    V1ALPHA1_GROUP,
    X_GROUP,
    Bool,
    Model,
    PortNumber,
    Resource,
)

Protocol = Literal["TCP", "UDP", "SCTP"]


def _port_or_name(value: Any) -> Any:
    # A union would name both of its members in the error's place; this keeps the place as it is in the manifest.
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise PydanticCustomError("int_or_string", "must be a port number or a port's name")
    if isinstance(value, int) and not 1 <= value <= 65535:
        raise refuse("must be between 1 and 65535")
    return value


class ServicePort(Model):
    """A port of a Service. ``target_port`` is a pod's port by number or name; None is the same as ``port``.

    ``name`` "" is the only port's; it is what ties the port to those of EndpointSlices.
    """

    name: str = ""
    port: PortNumber
    protocol: Protocol = "TCP"
    target_port: Annotated[int | str | None, BeforeValidator(_port_or_name)] = None
    app_protocol: str | None = None
    node_port: Any = None


class ServiceSpec(Model):
    """``selector`` empty: endpoints are written by hand. ``cluster_ip`` "None" is a headless Service."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    ports: tuple[ServicePort, ...] = ()
    selector: dict[str, str] = Field(default_factory=dict)
    cluster_ip: Annotated[str, Field(alias="clusterIP")] = ""
    external_name: str | None = None

    allocate_load_balancer_node_ports: Any = None
    cluster_ips: Annotated[Any, Field(alias="clusterIPs")] = None
    external_ips: Annotated[Any, Field(alias="externalIPs")] = None
    external_traffic_policy: Any = None
    health_check_node_port: Any = None
    internal_traffic_policy: Any = None
    ip_families: Any = None
    ip_family_policy: Any = None
    load_balancer_class: Any = None
    load_balancer_ip: Annotated[Any, Field(alias="loadBalancerIP")] = None
    load_balancer_source_ranges: Any = None
    publish_not_ready_addresses: Bool = False
    session_affinity: Any = None
    session_affinity_config: Any = None
    traffic_distribution: Any = None

    @model_validator(mode="after")
    def _ports_told_apart(self) -> Self:
        if len(self.ports) > 1:
            for index, port in enumerate(self.ports):
                if not port.name:
                    raise refuse("required where a Service has several ports", "ports", index, "name")
            if repeat := first_repeat(port.name for port in self.ports):
                raise refuse(f"the port at index {repeat[0]} has this name already", "ports", repeat[1], "name")
        if self.type == "ExternalName" and not self.external_name:
            raise refuse('required where type is "ExternalName"', "externalName")
        return self


class Service(Resource):
    """A name for a set of pods, and its ports."""

    group: ClassVar[str] = CORE_GROUP

    api_version: str = "v1"
    kind: Literal["Service"] = "Service"
    spec: ServiceSpec = ServiceSpec()


def _decoded(data: Any) -> Any:
    """A map of base64 texts as a map of bytes; bytes stay, for use from Python. Errors name keys, never content."""
    if not isinstance(data, Mapping):
        return data
    decoded: dict[Any, Any] = {}
    for key, value in data.items():
        if isinstance(value, bytes):
            decoded[key] = value
            continue
        if not isinstance(value, str):
            raise PydanticCustomError("refused", "{sentence}", {"sentence": "must be base64 text", "at": (key,)})
        try:
            # Line breaks are what the base64 command and YAML's block text bring along; Kubernetes skips them as well.
            decoded[key] = b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
        except (binascii.Error, ValueError):
            sentence = f"must be base64: the value of {key!r} is not (plain text goes into stringData)"
            raise PydanticCustomError("refused", "{sentence}", {"sentence": sentence, "at": (key,)}) from None
    return decoded


class Secret(Resource):
    """Bytes by key. ``data`` holds the content of both ``data``, decoded, and ``stringData``, which wins.

    Neither ``repr`` nor the text of a ValidationError shows any content.
    """

    model_config = ConfigDict(hide_input_in_errors=True)
    group: ClassVar[str] = CORE_GROUP

    api_version: str = "v1"
    kind: Literal["Secret"] = "Secret"
    type: str = "Opaque"
    immutable: Bool | None = None
    # Before data, whose validator takes it in.
    string_data: dict[str, str] = Field(default_factory=dict, repr=False)
    data: dict[str, bytes] = Field(default_factory=dict, repr=False, validate_default=True)

    @field_validator("data", mode="before")
    @classmethod
    def _decode(cls, data: Any) -> Any:
        return _decoded(data)

    @field_validator("data")
    @classmethod
    def _merge(cls, data: dict[str, bytes], info: ValidationInfo) -> dict[str, bytes]:
        plain: dict[str, str] = info.data.get("string_data", {})
        return data | {key: text.encode() for key, text in plain.items()}


class ConfigMap(Resource):
    """Text by key, and bytes by key."""

    group: ClassVar[str] = CORE_GROUP

    api_version: str = "v1"
    kind: Literal["ConfigMap"] = "ConfigMap"
    data: dict[str, str] = Field(default_factory=dict)
    binary_data: Annotated[dict[str, bytes], BeforeValidator(_decoded)] = Field(default_factory=dict)
    immutable: Bool | None = None


class Namespace(Resource):
    """A namespace, for its labels."""

    group: ClassVar[str] = CORE_GROUP
    namespaced: ClassVar[bool] = False

    api_version: str = "v1"
    kind: Literal["Namespace"] = "Namespace"
    spec: Any = None


class CustomResourceDefinition(Resource):
    """A kind of the Gateway API that is installed in a cluster: its name, ``<plural>.<group>``, and annotations."""

    group: ClassVar[str] = DEFINITIONS_GROUP
    namespaced: ClassVar[bool] = False

    api_version: str = f"{DEFINITIONS_GROUP}/v1"
    kind: Literal["CustomResourceDefinition"] = "CustomResourceDefinition"


def defines_gateway_kind(raw: Mapping[str, Any]) -> bool:
    """Whether a CustomResourceDefinition is for a kind of the Gateway API."""
    group = str(_mapping(raw, "metadata").get("name")).partition(".")[2]
    return group in (GATEWAY_GROUP, X_GROUP, V1ALPHA1_GROUP)


def definition_parts(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What a :class:`CustomResourceDefinition` is validated from; schemas are the API server's to read."""
    known = ("name", "annotations", "uid", "resourceVersion")
    return {
        "apiVersion": raw["apiVersion"],
        "kind": raw["kind"],
        "metadata": {key: value for key, value in _mapping(raw, "metadata").items() if key in known},
    }


class EndpointConditions(Model):
    """Whether an endpoint takes traffic; None is unknown, and counts as ready and serving."""

    ready: Bool | None = None
    serving: Bool | None = None
    terminating: Bool | None = None


class Endpoint(Model):
    """One pod, or whatever stands in for it. All its addresses are the same thing: take the first."""

    addresses: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)]
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    node_name: str | None = None
    target_ref: Any = None
    zone: str | None = None
    hints: Any = None
    deprecated_topology: Any = None


class EndpointPort(Model):
    """A port of endpoints; ``port`` None is every port. ``name`` is that of the Service's port."""

    name: str = ""
    port: PortNumber | None = None
    protocol: Protocol = "TCP"
    app_protocol: str | None = None


class EndpointSlice(Resource):
    """A part of a Service's endpoints; the label ``kubernetes.io/service-name`` says of which."""

    group: ClassVar[str] = "discovery.k8s.io"

    api_version: str = "discovery.k8s.io/v1"
    kind: Literal["EndpointSlice"] = "EndpointSlice"
    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class EndpointAddress(Model):
    """An address of an :class:`Endpoints` object."""

    ip: str
    hostname: str | None = None
    node_name: str | None = None
    target_ref: Any = None


class EndpointSubset(Model):
    """Every address with every port."""

    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(Resource):
    """A Service's endpoints in the older form; the Service has the same name."""

    group: ClassVar[str] = CORE_GROUP

    api_version: str = "v1"
    kind: Literal["Endpoints"] = "Endpoints"
    subsets: tuple[EndpointSubset, ...] = ()


WorkloadKind = Literal["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod"]


class ContainerPort(Model):
    """A named port of a container: what a Service's ``targetPort`` may point at."""

    name: str
    container_port: PortNumber
    protocol: str = "TCP"


class Workload(Resource):
    """A Deployment, StatefulSet, DaemonSet, ReplicaSet or Pod: the labels of its pods and their named ports.

    Its group is "apps", or "" for a Pod. Read without a cluster, it says which Services a manifest's pods would be
    behind and which number a named port has; where pods run is not its matter.
    """

    group: ClassVar[str] = "apps"

    api_version: str = "apps/v1"
    kind: WorkloadKind
    pod_labels: dict[str, str] = Field(default_factory=dict)
    ports: tuple[ContainerPort, ...] = ()

    def port_named(self, name: str, protocol: str = "TCP") -> int | None:
        """The number of a named port."""
        return next((p.container_port for p in self.ports if p.name == name and p.protocol == protocol), None)


def _mapping(parent: Any, key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}


def _entries(parent: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    value = parent.get(key)
    if isinstance(value, Sequence) and not isinstance(value, str):
        yield from (entry for entry in value if isinstance(entry, Mapping))


def workload_parts(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What :class:`Workload` is validated from: the parts of a manifest that are used, where they have the right form.

    Nothing in a pod's description is refused: it is another program's to run and to check.
    """
    template = raw if raw["kind"] == "Pod" else _mapping(_mapping(raw, "spec"), "template")
    labels = _mapping(_mapping(template, "metadata"), "labels")
    pod = _mapping(template, "spec")
    ports = [
        {"name": port["name"], "containerPort": number, "protocol": str(port.get("protocol") or "TCP")}
        for kind in ("containers", "initContainers")
        for container in _entries(pod, kind)
        for port in _entries(container, "ports")
        if isinstance(port.get("name"), str) and type(number := port.get("containerPort")) is int and 0 < number < 65536
    ]
    known = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "apiVersion": raw["apiVersion"],
        "kind": raw["kind"],
        "metadata": {key: value for key, value in _mapping(raw, "metadata").items() if key in known},
        "podLabels": {key: value for key, value in labels.items() if isinstance(key, str) and isinstance(value, str)},
        "ports": ports,
    }
