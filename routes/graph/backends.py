"""Where the requests of a backendRef go: endpoints in the manifests, a Service's in a cluster, or a DNS name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from routes.graph.grants import Grants
from routes.graph.nodes import Address, BackendNode, BackendProtocol, DNSName, FilterNode, Options, ServiceTarget
from routes.graph.policies import Policies
from routes.resources.core import Endpoints, EndpointSlice, Service, ServicePort, Workload
from routes.resources.filters import BackendObjectReference
from routes.resources.http import HTTPRoute
from routes.resources.meta import CORE_GROUP, Key
from routes.snapshot import Snapshot

#: The label by which EndpointSlices name their Service.
SERVICE_NAME = "kubernetes.io/service-name"
#: What a Service port's appProtocol makes us speak to it. A WebSocket begins as a request of HTTP/1.1 (RFC 6455 §1.3).
#: "https" alone says nothing of whom to trust: only a BackendTLSPolicy makes it TLS.
APP_PROTOCOLS = {
    "": BackendProtocol.HTTP,
    "http": BackendProtocol.HTTP,
    "https": BackendProtocol.HTTP,
    "kubernetes.io/h2c": BackendProtocol.H2C,
    "kubernetes.io/ws": BackendProtocol.HTTP,
    "kubernetes.io/wss": BackendProtocol.HTTP,
}


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that a Service's endpoints are found from, indexed once for a build."""

    snapshot: Snapshot
    services: Mapping[Key, Service]
    slices: Mapping[tuple[str, str], Sequence[EndpointSlice]]
    endpoints: Mapping[Key, Endpoints]
    workloads: Mapping[str, Sequence[Workload]]
    grants: Grants
    policies: Policies
    options: Options

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        grants: Grants,
        policies: Policies,
        options: Options,
        before: "Services | None" = None,
        changed: Iterable[Key] = (),
    ) -> "Services":
        """Index what ``snapshot`` holds; of what ``before`` has indexed only ``changed`` are not as they were."""
        if before is None:
            slices = _by_service(snapshot.of(EndpointSlice).values())
        elif before.snapshot.of(EndpointSlice) is snapshot.of(EndpointSlice):
            slices = before.slices
        else:
            slices = _with_slices(before, snapshot, changed)
        if before is not None and before.snapshot.of(Workload) is snapshot.of(Workload):
            workloads = before.workloads
        else:
            workloads = _by_namespace(snapshot.of(Workload).values())
        endpoints = snapshot.of(Endpoints)
        return cls(snapshot, snapshot.of(Service), slices, endpoints, workloads, grants, policies, options)

    def resolve(
        self, route: HTTPRoute, ref: BackendObjectReference, filters: tuple[FilterNode, ...] = ()
    ) -> BackendNode:
        """The node of one backendRef of ``route``, with the reason for status where it leads nowhere."""
        return replace(self._resolve(route, ref), filters=filters) if filters else self._resolve(route, ref)

    def _resolve(self, route: HTTPRoute, ref: BackendObjectReference) -> BackendNode:
        namespace = ref.namespace or route.metadata.namespace or ""
        target = Key(ref.group, ref.kind, namespace, ref.name)
        name = f"{namespace}/{ref.name}:{ref.port}" if ref.port else f"{namespace}/{ref.name}"
        if (ref.group, ref.kind) != (CORE_GROUP, "Service"):
            message = f"{ref.kind} of group {ref.group!r}: a backend is a Service of the core group"
            return BackendNode(ref, name, reason="InvalidKind", message=message)
        if refusal := self.grants.refusal(route.key, target):
            return BackendNode(ref, name, reason="RefNotPermitted", message=refusal)
        service = self.services.get(target)
        if service is None:
            return BackendNode(ref, name, reason="BackendNotFound", message=self.snapshot.absence(target))
        if self.options.cluster and service.spec.type == "ExternalName":
            # Whoever may write a Service could reach with it, as us and past any ReferenceGrant, what he may not reach:
            # other namespaces, our own loopback interface, a cloud's metadata server (CVE-2021-25740).
            message = f"{target} is of type ExternalName, which is not served in a cluster"
            return BackendNode(ref, name, reason="InvalidKind", message=message)
        ports = [port for port in service.spec.ports if port.protocol == "TCP"]
        port = next((port for port in ports if port.port == ref.port), None)
        if port is None and not (service.spec.type == "ExternalName" and not service.spec.ports):
            known = ", ".join(str(port.port) for port in ports) or "none"
            message = f"{target} has no TCP port {ref.port}: it has {known}"
            return BackendNode(ref, name, reason="BackendNotFound", message=message)
        app_protocol = (port.app_protocol or "") if port is not None else ""
        # Kubernetes' own names are written exactly so, and those of IANA's list in any case.
        protocol = APP_PROTOCOLS.get(app_protocol if "/" in app_protocol else app_protocol.lower())
        if protocol is None:
            message = f"{target}: appProtocol {app_protocol} is not served"
            return BackendNode(ref, name, reason="UnsupportedProtocol", message=message)
        policy = self.policies.for_port(target, port.name if port is not None else "")
        if policy is None:
            if app_protocol == "kubernetes.io/wss":
                message = f"{target}: appProtocol {app_protocol} needs a BackendTLSPolicy, which says whom to trust"
                return BackendNode(ref, name, reason="UnsupportedProtocol", message=message)
            return replace(self._place(ref, name, service, port), protocol=protocol)
        if policy.tls is None:
            message = f"{policy.source.key} cannot be met: {policy.message}"
            return BackendNode(ref, name, reason="UnsupportedProtocol", message=message)
        return replace(self._place(ref, name, service, port), protocol=protocol, tls=policy.tls)

    def _place(self, ref: BackendObjectReference, name: str, service: Service, port: ServicePort | None) -> BackendNode:
        namespace = service.metadata.namespace or ""
        number = ref.port or 0
        if self.options.cluster and port is not None:
            return BackendNode(ref, name, service=ServiceTarget(namespace, service.metadata.name, port.name))
        slices = self.slices.get((namespace, service.metadata.name))
        if slices is not None and port is not None:
            # In whatever order they came: the same objects are the same table.
            ordered = sorted(slices, key=lambda each: each.metadata.name)
            return BackendNode(ref, name, addresses=together(serving_in(each, port.name) for each in ordered))
        endpoints = self.endpoints.get(Key(CORE_GROUP, "Endpoints", namespace, service.metadata.name))
        if endpoints is not None and port is not None:
            return BackendNode(ref, name, addresses=_unique(_in_subsets(endpoints, port)))
        hint = ""
        if port is not None:
            number, hint = self._target_port(service, port)
        if service.spec.type == "ExternalName":
            return BackendNode(ref, name, dns=DNSName(service.spec.external_name or "", number), hint=hint)
        host = self.options.service_dns.replace("{name}", service.metadata.name).replace("{namespace}", namespace)
        return BackendNode(ref, name, dns=DNSName(host, number), hint=hint)

    def _target_port(self, service: Service, port: ServicePort) -> tuple[int, str]:
        """The number of a targetPort, and a hint where it had to be guessed."""
        if port.target_port is None:
            return port.port, ""
        if isinstance(port.target_port, int):
            return port.target_port, ""
        selector = service.spec.selector
        for workload in self.workloads.get(service.metadata.namespace or "", ()):
            fits = selector and all(workload.pod_labels.get(label) == value for label, value in selector.items())
            number = workload.port_named(port.target_port) if fits else None
            if number is not None:
                return number, ""
        hint = (
            f"targetPort {port.target_port!r} of {service.key} is in no workload of the manifests, "
            f"port {port.port} is used"
        )
        return port.port, hint


def _by_service(slices: Iterable[EndpointSlice]) -> Mapping[tuple[str, str], Sequence[EndpointSlice]]:
    found: dict[tuple[str, str], list[EndpointSlice]] = {}
    for endpoint_slice in slices:
        name = endpoint_slice.metadata.labels.get(SERVICE_NAME)
        if name:
            found.setdefault((endpoint_slice.metadata.namespace or "", name), []).append(endpoint_slice)
    return found


def _with_slices(
    before: Services, snapshot: Snapshot, changed: Iterable[Key]
) -> Mapping[tuple[str, str], Sequence[EndpointSlice]]:
    old, new = before.snapshot.of(EndpointSlice), snapshot.of(EndpointSlice)
    gone = [found for key in changed if (found := old.get(key)) is not None]
    come = [found for key in changed if (found := new.get(key)) is not None]
    slices = dict(before.slices)
    for service in _by_service(gone):
        left = [each for each in slices[service] if all(each is not one for one in gone)]
        if left:
            slices[service] = left
        else:
            del slices[service]
    for service, new_ones in _by_service(come).items():
        slices[service] = [*slices.get(service, ()), *new_ones]
    return slices


def _by_namespace(workloads: Iterable[Workload]) -> Mapping[str, Sequence[Workload]]:
    found: dict[str, list[Workload]] = {}
    for workload in workloads:
        found.setdefault(workload.metadata.namespace or "", []).append(workload)
    return found


class Serving(NamedTuple):
    """The endpoints of a port, as kube-proxy has it: those that are ready and, for where there is none, those that end
    but serve."""

    ready: tuple[Address, ...] = ()
    ending: tuple[Address, ...] = ()


def serving_in(endpoint_slice: EndpointSlice, port: str) -> Serving:
    """The endpoints of one slice on its port of the name ``port``.

    ``ready`` and ``serving`` unset count as true, ``terminating`` unset as false.
    """
    ready: list[Address] = []
    ending: list[Address] = []
    for slice_port in endpoint_slice.ports if endpoint_slice.address_type != "FQDN" else ():
        if slice_port.name != port or slice_port.port is None:
            continue
        for endpoint in endpoint_slice.endpoints:
            conditions = endpoint.conditions
            if conditions.ready is not False:
                found = ready
            elif conditions.terminating and conditions.serving is not False:
                found = ending
            else:
                continue
            # Any of an endpoint's addresses is as good as the other (EndpointSlice, endpoints.addresses).
            found += (Address(host, slice_port.port) for host in endpoint.addresses)
    return Serving(tuple(ready), tuple(ending))


def together(slices: Iterable[Serving]) -> tuple[Address, ...]:
    """The endpoints of all slices: the ready ones of all together are the Service's, whichever slice has them."""
    known = list(slices)
    ready = [address for serving in known for address in serving.ready]
    return _unique(ready or (address for serving in known for address in serving.ending))


def _in_subsets(endpoints: Endpoints, port: ServicePort) -> Iterable[Address]:
    for subset in endpoints.subsets:
        for subset_port in subset.ports:
            if subset_port.name == port.name and subset_port.port is not None:
                for address in subset.addresses:
                    yield Address(address.ip, subset_port.port)


def _unique(addresses: Iterable[Address]) -> tuple[Address, ...]:
    return tuple(dict.fromkeys(addresses))
