"""BackendTLSPolicies: which Services are spoken to by TLS, whom their certificates must name, and who says so."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from routes.graph import conditions
from routes.graph.nodes import BackendNode, BackendTLS, Condition, Options, PolicyNode, RouteNode
from routes.graph.seniority import seniority
from routes.resources.core import ConfigMap, Service
from routes.resources.filters import LocalObjectReference
from routes.resources.meta import CORE_GROUP, Key
from routes.resources.policy import BackendTLSPolicy, PolicyTargetReference, UnreadableBackendTLSPolicy
from routes.snapshot import Snapshot

#: The key of a ConfigMap under which the certificates of authorities stand.
AUTHORITIES = "ca.crt"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----")

#: A Service, and the name of one of its ports or None for all of them: what two policies may both want.
Target = tuple[Key, str | None]


@dataclass(frozen=True, slots=True)
class Policies:
    """All policies by what they are for: the first of each list is the one that counts."""

    nodes: Mapping[Key, PolicyNode]
    _by_target: Mapping[Target, Sequence[Key]]
    #: The policies by the objects that their nodes follow from, beside other policies.
    _by_object: Mapping[Key, Sequence[Key]]

    @classmethod
    def of(cls, snapshot: Snapshot, options: Options) -> "Policies":
        """The nodes of all policies in ``snapshot``, as yet without ancestors."""
        return cls({}, {}, {}).after(snapshot, options, None)

    def after(self, snapshot: Snapshot, options: Options, changed: Collection[Key] | None) -> "Policies":
        """The same for another ``snapshot``, in which only ``changed`` are not as they were; None is everything.

        Itself where nothing has become of it.
        """
        if changed is not None and all(key.kind != "BackendTLSPolicy" for key in changed):
            anew: dict[Key, PolicyNode] = {}
            for key in {policy for each in changed for policy in self._by_object.get(each, ())}:
                source = self.nodes[key].source
                node = policy_node(source, _rivals(source, self._by_target), snapshot, options)
                if node != self.nodes[key]:
                    anew[key] = node
            return Policies({**self.nodes, **anew}, self._by_target, self._by_object) if anew else self
        sources = snapshot.of(BackendTLSPolicy)
        wanted: dict[Target, list[Key]] = {}
        for source in sorted(sources.values(), key=seniority):
            for target in source.spec.target_refs:
                if _is_service(target):
                    wanted.setdefault(_target(source, target), []).append(source.key)
        nodes = {
            key: policy_node(source, _rivals(source, wanted), snapshot, options)
            for key, source in sorted(sources.items())
        }
        by_object: dict[Key, list[Key]] = {}
        for key, source in sources.items():
            for each in _named(source):
                by_object.setdefault(each, []).append(key)
        return Policies(nodes, wanted, by_object)

    def for_port(self, service: Key, port: str) -> PolicyNode | None:
        """The policy of one port of a Service: one that names the port comes before one for all ports."""
        for target in ((service, port), (service, None)):
            if policies := self._by_target.get(target):
                return self.nodes[policies[0]]
        return None


def policy_node(
    policy: BackendTLSPolicy,
    rivals: Mapping[Target, Key],
    snapshot: Snapshot,
    options: Options,
) -> PolicyNode:
    """What comes of a policy. ``rivals`` are the policies that go before it, by what it wants as well."""
    generation = policy.metadata.generation
    authorities, refused = _authorities(policy, snapshot, options)
    validation = policy.spec.validation
    well_known = validation.well_known_ca_certificates
    invalid = policy.fault if isinstance(policy, UnreadableBackendTLSPolicy) else ""
    if well_known not in (None, "System"):
        invalid = f"wellKnownCACertificates: {well_known} is not known, only System is"
    elif validation.ca_certificate_refs is not None and not authorities:
        invalid = "; ".join(message for _, message in refused)
    absent = [fault for target in policy.spec.target_refs if (fault := _absence(policy, target, snapshot))]
    accepted: Condition
    if len(absent) == len(policy.spec.target_refs):
        accepted = conditions.policy_target_not_found(generation, "; ".join(absent))
    elif rivals:
        lost = "; ".join(f"{rival} comes first for {_words(target)}" for target, rival in rivals.items())
        accepted = conditions.policy_conflicted(generation, lost)
    elif well_known is not None and invalid:
        accepted = conditions.policy_invalid(generation, invalid)
    elif invalid:
        accepted = conditions.policy_no_valid_authority(generation, invalid)
    else:
        accepted = conditions.policy_accepted(generation, "; ".join((*absent, *_in_vain(policy))))
    if refused:
        resolved = conditions.policy_refs_not_resolved(
            generation, refused[0][0], "; ".join(message for _, message in refused)
        )
    else:
        resolved = conditions.policy_refs_resolved(generation)
    names = validation.subject_alt_names
    tls = BackendTLS(
        validation.hostname,
        authorities,
        tuple(name.hostname for name in names if name.hostname is not None),
        tuple(name.uri for name in names if name.uri is not None),
    )
    return PolicyNode(policy, None if invalid else tls, invalid, (accepted, resolved))


def with_ancestors(policies: Mapping[Key, PolicyNode], uses: Iterable[tuple[Key, Key]]) -> dict[Key, PolicyNode]:
    """The policies with the Gateways through which their Services are used; ``uses`` is of :func:`uses`, of all routes.

    A policy that has them already stays the same."""
    if not policies:
        return {}
    users: dict[Key, set[Key]] = {}
    for service, gateway in uses:
        users.setdefault(service, set()).add(gateway)
    found = {key: _ancestors(node, users) for key, node in policies.items()}
    return {
        key: node if node.ancestors == found[key] else replace(node, ancestors=found[key])
        for key, node in policies.items()
    }


def uses(route: RouteNode) -> set[tuple[Key, Key]]:
    """The Services that a route uses, each with a Gateway through which it does."""
    gateways = {parent.gateway for parent in route.parents if parent.attachments}
    return {(service, gateway) for gateway in gateways for service in _services(route)}


def services_of(policy: PolicyNode) -> Iterable[Key]:
    """The Services that a policy is for, there or not."""
    return (_target(policy.source, target)[0] for target in policy.source.spec.target_refs if _is_service(target))


def _ancestors(node: PolicyNode, users: Mapping[Key, set[Key]]) -> tuple[Key, ...]:
    return tuple(sorted({gateway for service in services_of(node) for gateway in users.get(service, ())}))


def _services(route: RouteNode) -> Iterable[Key]:
    """The Services that a route may use, found or not."""
    for rule in route.rules:
        filters = [*rule.filters, *(filter_ for backend in rule.backends for filter_ in backend.filters)]
        backends: list[BackendNode] = [*rule.backends, *(each.backend for each in filters if each.backend is not None)]
        for backend in backends:
            if backend.reason not in ("InvalidKind", "RefNotPermitted"):
                namespace = backend.ref.namespace or route.source.metadata.namespace or ""
                yield Key(CORE_GROUP, "Service", namespace, backend.ref.name)


def _named(policy: BackendTLSPolicy) -> set[Key]:
    """The objects that a policy's node follows from, beside other policies."""
    namespace = policy.metadata.namespace or ""
    refs = policy.spec.validation.ca_certificate_refs or ()
    found = {_target(policy, target)[0] for target in policy.spec.target_refs if _is_service(target)}
    return found | {Key(ref.group, ref.kind, namespace, ref.name) for ref in refs}


def _is_service(target: PolicyTargetReference) -> bool:
    return (target.group, target.kind) == (CORE_GROUP, "Service")


def _target(policy: BackendTLSPolicy, target: PolicyTargetReference) -> Target:
    return Key(CORE_GROUP, "Service", policy.metadata.namespace or "", target.name), target.section_name


def _words(target: Target) -> str:
    service, port = target
    return f"port {port} of {service}" if port is not None else str(service)


def _rivals(policy: BackendTLSPolicy, wanted: Mapping[Target, Sequence[Key]]) -> dict[Target, Key]:
    targets = [_target(policy, target) for target in policy.spec.target_refs if _is_service(target)]
    return {target: wanted[target][0] for target in targets if wanted[target][0] != policy.key}


def _absence(policy: BackendTLSPolicy, target: PolicyTargetReference, snapshot: Snapshot) -> str:
    """Why a target is not there, "" if it is."""
    if not _is_service(target):
        return f"{target.kind} of group {target.group!r}: a policy is for Services of the core group"
    key, port = _target(policy, target)
    service = snapshot.of(Service).get(key)
    if service is None:
        return snapshot.absence(key)
    if port is not None and all(each.name != port for each in service.spec.ports):
        known = ", ".join(each.name for each in service.spec.ports if each.name) or "none with a name"
        return f"{key} has no port {port}: it has {known}"
    return ""


def _authorities(policy: BackendTLSPolicy, snapshot: Snapshot, options: Options) -> tuple[str, list[tuple[str, str]]]:
    """The certificates that can be used, one after the other, and for each that cannot the reason and a sentence."""
    found: list[str] = []
    refused: list[tuple[str, str]] = []
    for index, ref in enumerate(policy.spec.validation.ca_certificate_refs or ()):
        text, reason, fault = _authority(policy, ref, snapshot, options)
        if fault:
            refused.append((reason, f"caCertificateRefs[{index}]: {fault}"))
        else:
            found.append(text)
    return "\n".join(found), refused


def _authority(
    policy: BackendTLSPolicy, ref: LocalObjectReference, snapshot: Snapshot, options: Options
) -> tuple[str, str, str]:
    """The certificates, or a reason and a sentence."""
    if (ref.group, ref.kind) != (CORE_GROUP, "ConfigMap"):
        fault = f"{ref.kind} of group {ref.group!r}: authorities are in a ConfigMap of the core group"
        return "", "InvalidKind", fault
    key = Key(CORE_GROUP, "ConfigMap", policy.metadata.namespace or "", ref.name)
    config = snapshot.of(ConfigMap).get(key)
    if config is None:
        return "", "InvalidCACertificateRef", snapshot.absence(key)
    text = config.data.get(AUTHORITIES, "")
    if not text:
        return "", "InvalidCACertificateRef", f"{key} has no {AUTHORITIES}"
    # Bundles name their authorities between the certificates, in whatever script: only the certificates are kept.
    certificates = "\n".join(_CERTIFICATE.findall(text))
    fault = options.check_authorities(certificates) if certificates else "holds no PEM certificate"
    return certificates, "InvalidCACertificateRef", f"{key}: {AUTHORITIES} {fault}" if fault else ""


def _in_vain(policy: BackendTLSPolicy) -> Iterable[str]:
    """What of a policy has no effect."""
    for name in policy.spec.options:
        yield f"options: {name} is not known and has no effect"
