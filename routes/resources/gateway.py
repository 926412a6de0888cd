"""GatewayClass, Gateway and ListenerSet, v1 experimental channel: where traffic comes in.

The API: https://gateway-api.sigs.k8s.io/reference/spec/#gateway. Models refuse what the API server's schema and its
rules (CEL) refuse; conflicts between listeners that the schema lets pass are the graph's.
"""

from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from routes.resources.fields import (
    LABEL_VALUE,
    AddressType,
    ControllerName,
    GroupName,
    Hostname,
    KindName,
    ListenerProtocol,
    OptionValue,
    SectionName,
    check_address,
    check_qualified_keys,
    check_routability,
    first_repeat,
    refuse,
    unique_names,
)
from routes.resources.filters import HTTPExternalAuthFilter, LocalObjectReference
from routes.resources.meta import (
    CORE_GROUP,
    GATEWAY_GROUP,
    LabelSelector,
    Model,
    Namespace,
    ObjectName,
    PortNumber,
    Resource,
)

_WITHOUT_TLS: Final = ("HTTP", "TCP", "UDP")
_WITHOUT_HOSTNAME: Final = ("TCP", "UDP")
_WITH_FILTERS: Final = ("HTTP", "HTTPS")


class ParametersReference(Model):
    """An object with more settings; ``namespace`` only where its kind has one."""

    group: GroupName
    kind: KindName
    name: ObjectName
    namespace: Namespace | None = None


class GatewayClassSpec(Model):
    """Which controller serves the class's Gateways."""

    controller_name: ControllerName
    parameters_ref: ParametersReference | None = None
    description: Annotated[str, StringConstraints(max_length=64)] | None = None


class GatewayClass(Resource):
    """A kind of Gateway, for the whole cluster."""

    group: ClassVar[str] = GATEWAY_GROUP
    namespaced: ClassVar[bool] = False

    api_version: str = f"{GATEWAY_GROUP}/v1"
    kind: Literal["GatewayClass"] = "GatewayClass"
    spec: GatewayClassSpec


class UnreadableGatewayClass(GatewayClass):
    """A class of which ``fault`` says what cannot be read."""

    fault: str


class SecretObjectReference(Model):
    """A Secret, or another object with a certificate; ``namespace`` None is that of the object that names it."""

    group: GroupName = CORE_GROUP
    kind: KindName = "Secret"
    name: ObjectName
    namespace: Namespace | None = None


class ObjectReference(Model):
    """An object of any kind; ``namespace`` None is that of the object that names it."""

    group: GroupName
    kind: KindName
    name: ObjectName
    namespace: Namespace | None = None


class ListenerTLSConfig(Model):
    """Where TLS ends: here (``Terminate``, with these certificates) or at the backend (``Passthrough``)."""

    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    certificate_refs: Annotated[tuple[SecretObjectReference, ...], Field(max_length=64)] = ()
    options: Annotated[dict[str, OptionValue], Field(max_length=16)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_certificate(self) -> Self:
        if self.mode == "Terminate" and not self.certificate_refs and not self.options:
            raise refuse('required where mode is "Terminate": name a Secret with a certificate', "certificateRefs")
        return self


class RouteGroupKind(Model):
    """A kind of route."""

    group: GroupName = GATEWAY_GROUP
    kind: KindName


class RouteNamespaces(Model):
    """The namespaces that routes may come from; ``selector`` counts only with ``Selector``."""

    from_: Annotated[Literal["All", "Selector", "Same"], Field(alias="from")] = "Same"
    selector: LabelSelector | None = None


class AllowedRoutes(Model):
    """Which routes a listener takes; ``kinds`` None is every kind that fits the protocol."""

    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: Annotated[tuple[RouteGroupKind, ...], Field(max_length=8)] | None = None


class ListenerRequestFilter(Model):
    """One step of every request to a listener before it is routed; ``type`` says which of the other fields is set."""

    type: Literal["ExternalAuth", "ExtensionRef"]
    external_auth: HTTPExternalAuthFilter | None = None
    extension_ref: LocalObjectReference | None = None

    @model_validator(mode="after")
    def _field_of_type(self) -> Self:
        for type_, field, value in (
            ("ExternalAuth", "externalAuth", self.external_auth),
            ("ExtensionRef", "extensionRef", self.extension_ref),
        ):
            if type_ == self.type and value is None:
                raise refuse(f'required where type is "{type_}"', field)
            if type_ != self.type and value is not None:
                raise refuse(f'must not be set where type is "{self.type}"', field)
        return self


class ListenerFilters(Model):
    """What happens to all requests of a listener (experimental channel)."""

    requests: Annotated[tuple[ListenerRequestFilter, ...], Field(max_length=16)] = ()


class Listener(Model):
    """A port, a protocol and a host name; ``hostname`` None is every host."""

    name: SectionName
    hostname: Hostname | None = None
    port: PortNumber
    protocol: ListenerProtocol
    tls: ListenerTLSConfig | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()
    filters: ListenerFilters | None = None

    @model_validator(mode="after")
    def _fields_of_protocol(self) -> Self:
        if self.filters is not None and self.protocol not in _WITH_FILTERS:
            raise refuse(f"must not be set where protocol is {self.protocol}, only with HTTP and HTTPS", "filters")
        if self.tls is not None and self.protocol in _WITHOUT_TLS:
            raise refuse(f"must not be set where protocol is {self.protocol}", "tls")
        if self.tls is None and self.protocol == "TLS":
            raise refuse("required where protocol is TLS", "tls")
        if self.tls is not None and self.protocol == "HTTPS" and self.tls.mode != "Terminate":
            raise refuse('must be "Terminate" where protocol is HTTPS; Passthrough goes with TLS', "tls", "mode")
        if self.hostname is not None and self.protocol in _WITHOUT_HOSTNAME:
            raise refuse(f"must not be set where protocol is {self.protocol}, which has no host names", "hostname")
        return self


class UnreadableListener(Listener):
    """A listener of which ``fault`` says what cannot be read; only its name is known, and perhaps port and protocol."""

    fault: str


class SelectingListener(Listener):
    """A listener that picks its routes by their labels, whatever parents they name.

    v1 has no field for it: v1alpha1's ``routes.selector`` becomes one of these, and no v1 manifest does. Which
    namespaces they come from is still said by ``allowed_routes``, and the route has its say, too
    (:class:`~routes.resources.http.GatewayAllowance`).
    """

    route_selector: LabelSelector = LabelSelector()


class GatewaySpecAddress(Model):
    """An address to listen on; ``value`` None asks for any one of the type."""

    type: AddressType = "IPAddress"
    value: Annotated[str, StringConstraints(max_length=253)] | None = None
    routability: Annotated[str, StringConstraints(max_length=253), AfterValidator(check_routability)] = ""

    @model_validator(mode="after")
    def _value_of_type(self) -> Self:
        if self.value:
            check_address(self.type, self.value, "value")
        return self


_LabelValue = Annotated[str, StringConstraints(max_length=63, pattern=LABEL_VALUE)]


class GatewayInfrastructure(Model):
    """Labels and annotations for what a controller creates for this Gateway, and a place for more settings."""

    labels: Annotated[dict[str, _LabelValue], Field(max_length=8), AfterValidator(check_qualified_keys)] = Field(
        default_factory=dict
    )
    annotations: Annotated[dict[str, OptionValue], Field(max_length=16), AfterValidator(check_qualified_keys)] = Field(
        default_factory=dict
    )
    parameters_ref: LocalObjectReference | None = None


class ListenerNamespaces(Model):
    """The namespaces that ListenerSets may come from; none by default."""

    from_: Annotated[Literal["All", "Selector", "Same", "None"], Field(alias="from")] = "None"
    selector: LabelSelector | None = None


class AllowedListeners(Model):
    """Which ListenerSets may add to a Gateway."""

    namespaces: ListenerNamespaces = ListenerNamespaces()


def _check_bundles(references: tuple[ObjectReference, ...]) -> tuple[ObjectReference, ...]:
    for index, reference in enumerate(references):
        bundle = (reference.group, reference.kind) == ("certificates.k8s.io", "ClusterTrustBundle")
        if bundle and reference.namespace is not None:
            raise refuse("must not be set for a ClusterTrustBundle, which has none", index, "namespace")
    return references


class FrontendTLSValidation(Model):
    """How clients show who they are: by certificates that one of ``ca_certificate_refs`` has signed."""

    ca_certificate_refs: Annotated[
        tuple[ObjectReference, ...], Field(min_length=1, max_length=16), AfterValidator(_check_bundles)
    ]
    mode: Literal["AllowValidOnly", "AllowInsecureFallback"] = "AllowValidOnly"


class FrontendTLS(Model):
    """TLS towards clients; ``validation`` None asks for no client certificate."""

    validation: FrontendTLSValidation | None = None


class TLSPortConfig(Model):
    """TLS towards clients on one port, in place of the default."""

    port: PortNumber
    tls: FrontendTLS


def _check_ports(configs: tuple[TLSPortConfig, ...]) -> tuple[TLSPortConfig, ...]:
    if repeat := first_repeat(config.port for config in configs):
        raise refuse(f"the entry at index {repeat[0]} has this port already", repeat[1], "port")
    return configs


class FrontendTLSConfig(Model):
    """TLS towards clients, by port."""

    default: FrontendTLS
    per_port: Annotated[tuple[TLSPortConfig, ...], Field(max_length=64), AfterValidator(_check_ports)] = ()


class GatewayBackendTLS(Model):
    """The certificate that a Gateway shows to its backends."""

    client_certificate_ref: SecretObjectReference | None = None


class GatewayTLSConfig(Model):
    """TLS for all listeners of a Gateway."""

    backend: GatewayBackendTLS | None = None
    frontend: FrontendTLSConfig | None = None


def _check_listeners(listeners: tuple[Listener, ...]) -> tuple[Listener, ...]:
    """Names are unique, and so are port, protocol and host name together."""
    if len(listeners) > 1:
        unique_names(listeners)
        if repeat := first_repeat((one.port, one.protocol, one.hostname) for one in listeners):
            sentence = f"has the port, protocol and hostname of the listener {listeners[repeat[0]].name!r}"
            raise refuse(sentence, repeat[1])
    return listeners


def _check_addresses(addresses: tuple[GatewaySpecAddress, ...]) -> tuple[GatewaySpecAddress, ...]:
    known = ("IPAddress", "Hostname")
    keys: list[Any] = [(a.type, a.value) if a.value and a.type in known else n for n, a in enumerate(addresses)]
    if repeat := first_repeat(keys):
        raise refuse(f"{addresses[repeat[1]].value!r} is already in this list, at index {repeat[0]}", repeat[1])
    return addresses


_Listeners = Annotated[tuple[Listener, ...], Field(min_length=1, max_length=64), AfterValidator(_check_listeners)]


class GatewaySpec(Model):
    """Listeners, and what they share."""

    gateway_class_name: ObjectName
    listeners: _Listeners
    addresses: Annotated[tuple[GatewaySpecAddress, ...], Field(max_length=16), AfterValidator(_check_addresses)] = ()
    infrastructure: GatewayInfrastructure | None = None
    allowed_listeners: AllowedListeners = AllowedListeners()
    tls: GatewayTLSConfig | None = None
    default_scope: Literal["All", "None"] | None = None


class Gateway(Resource):
    """Where traffic comes in."""

    group: ClassVar[str] = GATEWAY_GROUP

    api_version: str = f"{GATEWAY_GROUP}/v1"
    kind: Literal["Gateway"] = "Gateway"
    spec: GatewaySpec


class UnreadableGateway(Gateway):
    """A Gateway of which ``fault`` says what cannot be read, beside listeners; the rest is as it was written."""

    fault: str


class ParentGatewayReference(Model):
    """The Gateway that a ListenerSet adds to; ``namespace`` None is the set's own."""

    group: GroupName = GATEWAY_GROUP
    kind: KindName = "Gateway"
    name: ObjectName
    namespace: Namespace | None = None


class ListenerSetSpec(Model):
    """Listeners as a Gateway has them, and the Gateway that they are for."""

    parent_ref: ParentGatewayReference
    listeners: _Listeners


class ListenerSet(Resource):
    """More listeners for a Gateway that allows it, from whoever may not write the Gateway itself."""

    group: ClassVar[str] = GATEWAY_GROUP

    api_version: str = f"{GATEWAY_GROUP}/v1"
    kind: Literal["ListenerSet"] = "ListenerSet"
    spec: ListenerSetSpec
