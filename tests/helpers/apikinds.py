"""Which kinds of objects the API server of tests knows, and the definitions of the Gateway API's."""

from collections.abc import Iterable
from typing import Any, NamedTuple

Object = dict[str, Any]


class Kind(NamedTuple):
    """A collection of the API. ``versions`` are those served, ``status`` says that there is a status subresource."""

    group: str
    versions: tuple[str, ...]
    plural: str
    kind: str
    namespaced: bool = True
    status: bool = False
    #: Defined by a CustomResourceDefinition.
    custom: bool = False
    #: Objects have ``metadata.generation``.
    generation: bool = False

    @property
    def qualified(self) -> str:
        """As it is called in messages: ``gateways.gateway.networking.k8s.io``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def api_version(self, version: str) -> str:
        return f"{self.group}/{version}" if self.group else version


BUILT_IN = (
    Kind("", ("v1",), "namespaces", "Namespace", namespaced=False, status=True),
    Kind("", ("v1",), "services", "Service", status=True),
    Kind("", ("v1",), "secrets", "Secret"),
    Kind("", ("v1",), "configmaps", "ConfigMap"),
    Kind("", ("v1",), "pods", "Pod", status=True),
    Kind("discovery.k8s.io", ("v1",), "endpointslices", "EndpointSlice", generation=True),
    Kind("coordination.k8s.io", ("v1",), "leases", "Lease"),
    Kind(
        "apiextensions.k8s.io",
        ("v1",),
        "customresourcedefinitions",
        "CustomResourceDefinition",
        namespaced=False,
        status=True,
        generation=True,
    ),
)

_GATEWAY_API = "gateway.networking.k8s.io"
_EARLY = "networking.x-k8s.io"

#: Kind, plural, versions, in the standard channel of v1.7.0.
_STANDARD: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("GatewayClass", "gatewayclasses", ("v1", "v1beta1")),
    ("Gateway", "gateways", ("v1", "v1beta1")),
    ("HTTPRoute", "httproutes", ("v1", "v1beta1")),
    ("GRPCRoute", "grpcroutes", ("v1",)),
    ("TLSRoute", "tlsroutes", ("v1",)),
    ("TCPRoute", "tcproutes", ("v1",)),
    ("UDPRoute", "udproutes", ("v1",)),
    ("ReferenceGrant", "referencegrants", ("v1", "v1beta1")),
    ("BackendTLSPolicy", "backendtlspolicies", ("v1",)),
    ("ListenerSet", "listenersets", ("v1",)),
)
#: What of it has more versions in the experimental channel.
_EXPERIMENTAL = {
    "TLSRoute": ("v1", "v1alpha2", "v1alpha3"),
    "TCPRoute": ("v1", "v1alpha2"),
    "UDPRoute": ("v1", "v1alpha2"),
    "BackendTLSPolicy": ("v1", "v1alpha3"),
}
#: Those of the article, release v0.1.0.
_FIRST: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("GatewayClass", "gatewayclasses", ("v1alpha1",)),
    ("Gateway", "gateways", ("v1alpha1",)),
    ("HTTPRoute", "httproutes", ("v1alpha1",)),
    ("TCPRoute", "tcproutes", ("v1alpha1",)),
    ("TLSRoute", "tlsroutes", ("v1alpha1",)),
    ("UDPRoute", "udproutes", ("v1alpha1",)),
    ("BackendPolicy", "backendpolicies", ("v1alpha1",)),
)


def definition(
    group: str,
    kind: str,
    plural: str,
    versions: Iterable[str],
    *,
    namespaced: bool = True,
    status: bool = True,
    annotations: dict[str, str] | None = None,
) -> Object:
    """A CustomResourceDefinition, without schemas."""
    subresources: Object = {"subresources": {"status": {}}} if status else {}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", **({"annotations": annotations} if annotations else {})},
        "spec": {
            "group": group,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "scope": "Namespaced" if namespaced else "Cluster",
            "versions": [
                {"name": version, "served": True, "storage": number == 0, **subresources}
                for number, version in enumerate(versions)
            ],
        },
    }


def gateway_api(bundle: str = "v1.7.0", channel: str = "standard") -> list[Object]:
    """The definitions of the Gateway API's kinds in v1.7.0, with ``bundle`` and ``channel`` in their annotations."""
    annotations = {f"{_GATEWAY_API}/bundle-version": bundle, f"{_GATEWAY_API}/channel": channel}
    return [
        definition(
            _GATEWAY_API,
            kind,
            plural,
            _EXPERIMENTAL.get(kind, versions) if channel == "experimental" else versions,
            namespaced=kind != "GatewayClass",
            status=kind != "ReferenceGrant",
            annotations=annotations,
        )
        for kind, plural, versions in _STANDARD
    ]


def first_gateway_api() -> list[Object]:
    """The definitions of release v0.1.0, which the article uses; nothing in them tells the release."""
    return [
        definition(_EARLY, kind, plural, versions, namespaced=kind != "GatewayClass")
        for kind, plural, versions in _FIRST
    ]


def defined(crd: Object) -> Kind | None:
    """The kind that a CustomResourceDefinition defines; None where it serves no version."""
    spec = crd["spec"]
    served = tuple(version["name"] for version in spec["versions"] if version.get("served", True))
    if not served:
        return None
    return Kind(
        spec["group"],
        served,
        spec["names"]["plural"],
        spec["names"]["kind"],
        namespaced=spec["scope"] == "Namespaced",
        status=any("status" in (version.get("subresources") or {}) for version in spec["versions"]),
        custom=True,
        generation=True,
    )
