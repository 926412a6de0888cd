"""What is said about others' objects: who may point into a namespace, and how a Service's backends prove themselves.

The API: ReferenceGrant v1 and v1beta1, BackendTLSPolicy v1 and v1alpha3.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from routes.resources.fields import (
    AbsoluteURI,
    GroupName,
    Hostname,
    KindName,
    OptionValue,
    PreciseHostname,
    SectionName,
    WellKnownCertificates,
    first_repeat,
    refuse,
)
from routes.resources.filters import LocalObjectReference
from routes.resources.meta import GATEWAY_GROUP, Model, Namespace, ObjectName, Resource


class ReferenceGrantFrom(Model):
    """Objects of one kind in one namespace, as the ones that point."""

    group: GroupName
    kind: KindName
    namespace: Namespace


class ReferenceGrantTo(Model):
    """Objects of one kind in the grant's namespace; ``name`` None is all of them."""

    group: GroupName
    kind: KindName
    name: ObjectName | None = None


class ReferenceGrantSpec(Model):
    """A reference is allowed where one entry of each list fits."""

    from_: Annotated[tuple[ReferenceGrantFrom, ...], Field(min_length=1, max_length=16, alias="from")]
    to: Annotated[tuple[ReferenceGrantTo, ...], Field(min_length=1, max_length=16)]


class ReferenceGrant(Resource):
    """A permission that lives with what is pointed at."""

    group: ClassVar[str] = GATEWAY_GROUP

    api_version: str = f"{GATEWAY_GROUP}/v1"
    kind: Literal["ReferenceGrant"] = "ReferenceGrant"
    spec: ReferenceGrantSpec


class PolicyTargetReference(LocalObjectReference):
    """What a policy is about. ``section_name`` is the name of a Service's port; None is all of them."""

    section_name: SectionName | None = None


def _check_targets(targets: tuple[PolicyTargetReference, ...]) -> tuple[PolicyTargetReference, ...]:
    """Entries for one target must say which part of it they mean, and no part twice."""
    if len(targets) < 2:
        return targets
    if repeat := first_repeat(targets):
        raise refuse(f"says the same as the entry at index {repeat[0]}", repeat[1])
    whole: dict[tuple[str, str, str], bool] = {}
    for index, target in enumerate(targets):
        all_of_it = target.section_name is None
        if whole.setdefault((target.group, target.kind, target.name), all_of_it) != all_of_it:
            raise refuse(f"all entries for {target.kind} {target.name!r} must set sectionName", index)
    return targets


class SubjectAltName(Model):
    """A name that a backend's certificate may bear: a host name, or a URI such as a SPIFFE ID."""

    type: Literal["Hostname", "URI"]
    hostname: Hostname | None = None
    uri: AbsoluteURI | None = None

    @model_validator(mode="after")
    def _field_of_type(self) -> Self:
        for type_, field, value in (("Hostname", "hostname", self.hostname), ("URI", "uri", self.uri)):
            if type_ == self.type and value is None:
                raise refuse(f'required where type is "{type_}"', field)
            if type_ != self.type and value is not None:
                raise refuse(f'must not be set where type is "{self.type}"', field)
        return self


class BackendTLSPolicyValidation(Model):
    """Who may have signed a backend's certificate, and whom it has to name.

    ``hostname`` is asked for by SNI; it is also the name that the certificate must bear, unless there are
    ``subject_alt_names``, of which it must bear one.
    """

    ca_certificate_refs: Annotated[
        tuple[LocalObjectReference, ...] | None, Field(alias="caCertificateRefs", min_length=1, max_length=8)
    ] = None
    well_known_ca_certificates: Annotated[WellKnownCertificates | None, Field(alias="wellKnownCACertificates")] = None
    hostname: PreciseHostname
    subject_alt_names: Annotated[tuple[SubjectAltName, ...], Field(max_length=5)] = ()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.ca_certificate_refs is None and self.well_known_ca_certificates is None:
            raise refuse("required: set caCertificateRefs or wellKnownCACertificates", "caCertificateRefs")
        if self.ca_certificate_refs is not None and self.well_known_ca_certificates is not None:
            raise refuse("must not be set beside caCertificateRefs: choose one of them", "wellKnownCACertificates")
        return self


class BackendTLSPolicySpec(Model):
    """Which Services are spoken to by TLS, and how they prove who they are."""

    target_refs: Annotated[
        tuple[PolicyTargetReference, ...], Field(min_length=1, max_length=16), AfterValidator(_check_targets)
    ]
    validation: BackendTLSPolicyValidation
    options: Annotated[dict[str, OptionValue], Field(max_length=16)] = Field(default_factory=dict)


class BackendTLSPolicy(Resource):
    """TLS on the way to a Service of the same namespace."""

    group: ClassVar[str] = GATEWAY_GROUP

    api_version: str = f"{GATEWAY_GROUP}/v1"
    kind: Literal["BackendTLSPolicy"] = "BackendTLSPolicy"
    spec: BackendTLSPolicySpec


class UnreadableBackendTLSPolicy(BackendTLSPolicy):
    """A policy of a newer version of the API: what it is for is known, what it asks of backends is not.

    ``fault`` is what is wrong with its ``validation``, which holds nothing that was written.
    """

    fault: str
