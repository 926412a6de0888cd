"""Which kinds are read from an API server, and where they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from app.providers.kubernetes.api import Api, ApiError
from routes.graph.backends import SERVICE_NAME
from routes.resources.meta import CORE_GROUP, GATEWAY_GROUP, V1ALPHA1_GROUP, X_GROUP, Key, Resource
from routes.resources.policy import BackendTLSPolicy
from routes.resources.scheme import ExtensionKinds

CRDS: Final = "apiextensions.k8s.io"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind that is read.

    ``versions``: the first that is served is read. ``purpose`` is what is missing where the kind is. ``params`` are
    selectors. ``vital`` kinds are those without which a generation of the Gateway API does nothing. ``written``:
    somebody like us writes its status. Of ``data_only`` ones a part is read. ``custom`` kinds are there only when
    somebody has installed them.
    """

    group: str
    name: str
    plural: str
    versions: tuple[str, ...]
    purpose: str
    namespaced: bool = True
    params: Mapping[str, str] = field(default_factory=dict, hash=False)
    vital: bool = False
    written: bool = False
    metadata_only: bool = False
    data_only: bool = False

    @property
    def custom(self) -> bool:
        """Whether it is defined by a CustomResourceDefinition."""
        return self.group not in (CORE_GROUP, SLICES.group, CRDS)

    @property
    def api_version(self) -> str:
        """What its objects bear that do not say their version themselves."""
        return f"{self.group}/{self.versions[0]}" if self.group else self.versions[0]

    def defined_by(self, definition: str) -> bool:
        """Whether a CustomResourceDefinition of this name may be the kind's."""
        plural, _, group = definition.partition(".")
        return group == self.group and (plural == self.plural or not self.plural)

    def paths(self, namespace: str = "") -> tuple[str, ...]:
        """Where its objects are, of one namespace or of all ("")."""
        return tuple(collection(self.group, version, self.plural, namespace) for version in self.versions)

    def __str__(self) -> str:
        return f"{self.name} ({self.group})" if self.group else self.name


def collection(group: str, version: str, plural: str, namespace: str = "") -> str:
    """The path of a collection, of one namespace or of all ("")."""
    api = f"/apis/{group}/{version}" if group else f"/api/{version}"
    return f"{api}/namespaces/{namespace}/{plural}" if namespace else f"{api}/{plural}"


SLICES: Final = Kind(
    "discovery.k8s.io",
    "EndpointSlice",
    "endpointslices",
    ("v1",),
    "Services have no endpoints",
    # Ours are read as well: a route of one Gateway may lead to the Service of another.
    params={"labelSelector": SERVICE_NAME},
)
NAMESPACES: Final = Kind(
    CORE_GROUP,
    "Namespace",
    "namespaces",
    ("v1",),
    'of a namespace only the name is known to the selectors of "from: Selector"',
    namespaced=False,
    metadata_only=True,
)
CONFIG_MAPS: Final = Kind(
    CORE_GROUP,
    "ConfigMap",
    "configmaps",
    ("v1",),
    "BackendTLSPolicies that refer to it have no authority",
    data_only=True,
)
DEFINITIONS: Final = Kind(
    CRDS,
    "CustomResourceDefinition",
    "customresourcedefinitions",
    ("v1",),
    "the Gateway API's version is not known, and kinds that are installed later are found within 30 seconds",
    namespaced=False,
    metadata_only=True,
)

_GATEWAY_API: Final = (
    Kind(
        GATEWAY_GROUP,
        "GatewayClass",
        "gatewayclasses",
        ("v1", "v1beta1"),
        "no Gateway of this generation is anyone's",
        namespaced=False,
        vital=True,
        written=True,
    ),
    Kind(
        GATEWAY_GROUP,
        "Gateway",
        "gateways",
        ("v1", "v1beta1"),
        "nothing of this generation listens",
        vital=True,
        written=True,
    ),
    Kind(
        GATEWAY_GROUP,
        "HTTPRoute",
        "httproutes",
        ("v1", "v1beta1"),
        "there are no routes of this generation",
        vital=True,
        written=True,
    ),
    Kind(
        GATEWAY_GROUP,
        "ReferenceGrant",
        "referencegrants",
        ("v1", "v1beta1"),
        "references into other namespaces are refused",
    ),
    Kind(GATEWAY_GROUP, "ListenerSet", "listenersets", ("v1",), "all listeners are those of Gateways", written=True),
    Kind(
        GATEWAY_GROUP,
        "BackendTLSPolicy",
        "backendtlspolicies",
        ("v1", "v1alpha3"),
        "all backends are spoken to in clear",
        written=True,
    ),
    Kind(
        V1ALPHA1_GROUP,
        "GatewayClass",
        "gatewayclasses",
        ("v1alpha1",),
        "no Gateway of this generation is anyone's",
        namespaced=False,
        vital=True,
        written=True,
    ),
    Kind(
        V1ALPHA1_GROUP,
        "Gateway",
        "gateways",
        ("v1alpha1",),
        "nothing of this generation listens",
        vital=True,
        written=True,
    ),
    Kind(
        V1ALPHA1_GROUP,
        "HTTPRoute",
        "httproutes",
        ("v1alpha1",),
        "there are no routes of this generation",
        vital=True,
        written=True,
    ),
)
_CORE: Final = (
    Kind(CORE_GROUP, "Service", "services", ("v1",), "routes have no backends"),
    Kind(
        CORE_GROUP,
        "Secret",
        "secrets",
        ("v1",),
        "HTTPS listeners have no certificates",
        params={"fieldSelector": "type=kubernetes.io/tls"},
        data_only=True,
    ),
)

#: What is always read, in whole collections.
KINDS: Final = (DEFINITIONS, *_GATEWAY_API, NAMESPACES, *_CORE, SLICES)
#: The generations of the Gateway API.
GENERATIONS: Final = (GATEWAY_GROUP, V1ALPHA1_GROUP)
#: The groups whose CustomResourceDefinitions are read.
DEFINED_GROUPS: Final = (*GENERATIONS, X_GROUP)

_BY_NAME: Final = {(kind.group, kind.name): kind for kind in KINDS}


def path_of(key: Key, api_version: str) -> str:
    """Where the object of a kind that is always read is, in one version."""
    version = api_version.rpartition("/")[2]
    return f"{collection(key.group, version, _BY_NAME[key.group, key.kind].plural, key.namespace)}/{key.name}"


def extension_kinds(extensions: ExtensionKinds) -> list[Kind]:
    """Other people's kinds, of which plural and versions are for the API server to say."""
    return [
        Kind(group, name, "", (), "filters that refer to it are errors")
        for group, name in sorted(extensions)
        if group and (group, name) not in _BY_NAME
    ]


async def discover(api: Api, kind: Kind, namespace: str) -> tuple[str, ...]:
    """Where the objects of somebody's kind are. Raises ApiError; 404 where it is not installed."""
    group = await api.get(f"/apis/{kind.group}")
    preferred = group.get("preferredVersion", {}).get("version", "")
    versions = [each["version"] for each in group.get("versions", ())]
    for version in sorted(versions, key=lambda each: each != preferred):
        listed = await api.get(f"/apis/{kind.group}/{version}")
        for resource in listed.get("resources", ()):
            # An ExtensionRef is to an object of the route's namespace.
            if resource["kind"] == kind.name and resource["namespaced"] and "/" not in resource["name"]:
                return (collection(kind.group, version, resource["name"], namespace),)
    raise ApiError(404, "NotFound", f"{kind.group} has no kind {kind.name} in namespaces")


def references(resource: Resource | None) -> frozenset[Key]:
    """The ConfigMaps that ``resource`` refers to: of all there are in a cluster, these are read."""
    if not isinstance(resource, BackendTLSPolicy):
        return frozenset()
    return frozenset(
        Key(CORE_GROUP, "ConfigMap", resource.metadata.namespace or "", ref.name)
        for ref in resource.spec.validation.ca_certificate_refs or ()
        if (ref.group, ref.kind) == (CORE_GROUP, "ConfigMap")
    )
