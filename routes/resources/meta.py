"""What every Kubernetes object has: its identity, its metadata, and how its fields are spelled."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints
from pydantic.alias_generators import to_camel

#: An integer as the API server takes it: "80" and 80.0 are wrong types.
Int = Annotated[int, Strict()]
Bool = Annotated[bool, Strict()]
PortNumber = Annotated[int, Strict(), Field(ge=1, le=65535)]

DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DNS_SUBDOMAIN = rf"{DNS_LABEL}(\.{DNS_LABEL})*"
#: RFC 1123 subdomain: what an object may be called.
ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Namespace = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=rf"^{DNS_LABEL}$")]

GATEWAY_GROUP = "gateway.networking.k8s.io"
V1ALPHA1_GROUP = "networking.x-k8s.io"
#: Where the API's experiments live.
X_GROUP = "gateway.networking.x-k8s.io"
DEFINITIONS_GROUP = "apiextensions.k8s.io"
CORE_GROUP = ""


class Key(NamedTuple):
    """What names an object: API group, kind, namespace ("" for cluster-wide kinds) and name."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def qualified_name(self) -> str:
        """``namespace/name``, the form people write."""
        return f"{self.namespace}/{self.name}"


class Model(BaseModel):
    """A part of an object: immutable, camelCase in manifests and snake_case in Python.

    A manifest's unknown fields are refused or passed over by whoever reads it
    (``model_validate(raw, extra="forbid", by_alias=True, by_name=False)``): a file is a person's and a typing
    error should be named, an API server's object may come from a newer version.
    """

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="ignore"
    )


class ObjectMeta(Model):
    """``metadata``: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/

    ``resource_version`` is another one after each write, be it of the status: two that differ in it alone are equal,
    so that nothing is built anew for it.
    """

    name: ObjectName
    namespace: Namespace | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    uid: str = ""
    resource_version: str = ""
    generation: Int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: Int | None = None
    finalizers: tuple[str, ...] = ()
    generate_name: str | None = None
    managed_fields: Any = None
    owner_references: Any = None
    self_link: str | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ObjectMeta):
            return NotImplemented
        mine, others = self.__dict__, other.__dict__
        return mine == others or {**mine, "resource_version": ""} == {**others, "resource_version": ""}

    __hash__ = None  # type: ignore[assignment]


class Resource(Model):
    """An object with a name. ``api_version`` is the version it was written in, even where the model is v1's."""

    group: ClassVar[str]
    namespaced: ClassVar[bool] = True

    api_version: str
    kind: str
    metadata: ObjectMeta

    @property
    def key(self) -> Key:
        """The object's identity; the group is the one it was written in, so that two APIs may hold the same name."""
        group, slash, _ = self.api_version.partition("/")
        return Key(group if slash else CORE_GROUP, self.kind, self.metadata.namespace or "", self.metadata.name)


class LabelSelectorRequirement(Model):
    """One line of ``matchExpressions``."""

    key: str
    operator: str = Field(pattern=r"^(In|NotIn|Exists|DoesNotExist)$")
    values: tuple[str, ...] = ()

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether ``labels`` fit. NotIn is also true where the label is absent, as in Kubernetes."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case _:
                return self.key not in labels


class LabelSelector(Model):
    """``matchLabels`` and ``matchExpressions``, all of which must fit; an empty selector takes everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether an object with ``labels`` is selected."""
        return all(labels.get(name) == value for name, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )
