"""networking.x-k8s.io/v1alpha1, the Gateway API of early 2021 (release v0.1.0), as it is written in manifests.

Only :mod:`routes.resources.conversion` reads these models; everything else sees v1. Beyond that release's schema they
refuse what v1's field types refuse anyway (host names, paths, header names), so that an error is told in the words and
at the place of the manifest a person wrote.
"""

from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from routes.resources.fields import (
    Hostname,
    HTTPHeaderName,
    HTTPHeaderValue,
    KindName,
    Weight,
    check_hostname,
    check_path,
    refuse,
    unique_values,
)
from routes.resources.http import GatewayAllowance
from routes.resources.meta import V1ALPHA1_GROUP, LabelSelector, Model, ObjectName, PortNumber, Resource

API_VERSION = f"{V1ALPHA1_GROUP}/v1alpha1"

_ServiceName = Annotated[str, StringConstraints(max_length=253)]


class LocalObjectReference(Model):
    """An object in the namespace of whoever names it. The core group is written "core"."""

    group: ObjectName
    kind: ObjectName
    name: ObjectName


class GatewayClassSpec(Model):
    """``controller`` is a domain and a path."""

    controller: Annotated[str, StringConstraints(max_length=253)]
    parameters_ref: LocalObjectReference | None = None


class GatewayClass(Resource):
    """A kind of Gateway, for the whole cluster."""

    group: ClassVar[str] = V1ALPHA1_GROUP
    namespaced: ClassVar[bool] = False

    api_version: str = API_VERSION
    kind: Literal["GatewayClass"] = "GatewayClass"
    spec: GatewayClassSpec


class TLSOverridePolicy(Model):
    """Whether routes may bring certificates."""

    certificate: Literal["Allow", "Deny"] = "Deny"


class GatewayTLSConfig(Model):
    """TLS of a listener."""

    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    route_override: TLSOverridePolicy = TLSOverridePolicy()
    certificate_ref: LocalObjectReference | None = None
    options: dict[str, str] = Field(default_factory=dict)


class RouteNamespaces(Model):
    """The namespaces that routes are selected in."""

    from_: Annotated[Literal["All", "Selector", "Same"], Field(alias="from")] = "Same"
    selector: LabelSelector | None = None


class RouteBindingSelector(Model):
    """Which routes a listener takes: one kind, by namespace and by the routes' own labels."""

    namespaces: RouteNamespaces = RouteNamespaces()
    selector: LabelSelector = LabelSelector()
    group: ObjectName = V1ALPHA1_GROUP
    kind: KindName


def _listener_hostname(hostname: str | None) -> str | None:
    return check_hostname(hostname) if hostname not in (None, "", "*") else None


class Listener(Model):
    """A port and a protocol; it has no name. A hostname of "*" or "" is read as none."""

    hostname: Annotated[str | None, AfterValidator(_listener_hostname)] = None
    port: PortNumber
    protocol: Annotated[str, StringConstraints(min_length=1)]
    tls: GatewayTLSConfig | None = None
    routes: RouteBindingSelector


class GatewayAddress(Model):
    """An address to listen on."""

    type: Literal["IPAddress", "NamedAddress"] = "IPAddress"
    value: ObjectName


class GatewaySpec(Model):
    """Listeners, and what they share."""

    gateway_class_name: ObjectName
    listeners: Annotated[tuple[Listener, ...], Field(min_length=1, max_length=64)]
    addresses: Annotated[tuple[GatewayAddress, ...], Field(max_length=16)] = ()


class Gateway(Resource):
    """Where traffic comes in; it selects its routes."""

    group: ClassVar[str] = V1ALPHA1_GROUP

    api_version: str = API_VERSION
    kind: Literal["Gateway"] = "Gateway"
    spec: GatewaySpec


class ForwardTo(Model):
    """A backend in the route's namespace and its share. ``service_name`` counts where ``backend_ref`` is set, too."""

    service_name: _ServiceName | None = None
    backend_ref: LocalObjectReference | None = None
    port: PortNumber
    weight: Weight = 1

    @model_validator(mode="after")
    def _has_backend(self) -> Self:
        return _with_backend(self, self.service_name, self.backend_ref)


ModelT = TypeVar("ModelT", bound=Model)


def _with_backend(model: ModelT, service_name: str | None, backend_ref: LocalObjectReference | None) -> ModelT:
    if not service_name and backend_ref is None:
        raise refuse("required where backendRef is not set", "serviceName")
    return model


class HTTPRequestHeaderFilter(Model):
    """Headers to append to, by name, and to take out."""

    add: dict[HTTPHeaderName, HTTPHeaderValue] = Field(default_factory=dict)
    remove: Annotated[tuple[str, ...], Field(max_length=16), AfterValidator(unique_values)] = ()


class HTTPRequestMirrorFilter(Model):
    """A copy of each request for one more backend."""

    service_name: _ServiceName | None = None
    backend_ref: LocalObjectReference | None = None
    port: PortNumber

    @model_validator(mode="after")
    def _has_backend(self) -> Self:
        return _with_backend(self, self.service_name, self.backend_ref)


class HTTPRouteFilter(Model):
    """One step on a request's way; ``type`` says which of the other fields is set."""

    type: Literal["RequestHeaderModifier", "RequestMirror", "ExtensionRef"]
    request_header_modifier: HTTPRequestHeaderFilter | None = None
    request_mirror: HTTPRequestMirrorFilter | None = None
    extension_ref: LocalObjectReference | None = None

    @model_validator(mode="after")
    def _field_of_type(self) -> Self:
        for type_, field, value in (
            ("RequestHeaderModifier", "requestHeaderModifier", self.request_header_modifier),
            ("RequestMirror", "requestMirror", self.request_mirror),
            ("ExtensionRef", "extensionRef", self.extension_ref),
        ):
            if type_ == self.type and value is None:
                raise refuse(f'required where type is "{type_}"', field)
            if type_ != self.type and value is not None:
                raise refuse(f'must not be set where type is "{self.type}": it belongs to "{type_}"', field)
        return self


class HTTPPathMatch(Model):
    """v1 calls ``Prefix`` PathPrefix, and has no ``ImplementationSpecific``."""

    type: Literal["Exact", "Prefix", "RegularExpression", "ImplementationSpecific"] = "Prefix"
    value: Annotated[str, StringConstraints(min_length=1, max_length=1024)]

    @model_validator(mode="after")
    def _path_of_type(self) -> Self:
        if self.type in ("Exact", "Prefix"):
            check_path(self.value, "value")
        return self


class HTTPHeaderMatch(Model):
    """Headers a request must have, all of them."""

    type: Literal["Exact", "RegularExpression", "ImplementationSpecific"] = "Exact"
    values: Annotated[dict[HTTPHeaderName, HTTPHeaderValue], Field(min_length=1)]


class HTTPRouteMatch(Model):
    """One way to match: everything in it must fit."""

    path: HTTPPathMatch = HTTPPathMatch(value="/")
    headers: HTTPHeaderMatch | None = None
    extension_ref: LocalObjectReference | None = None


class HTTPRouteForwardTo(ForwardTo):
    """A backend with its own filters."""

    filters: Annotated[tuple[HTTPRouteFilter, ...], Field(max_length=16)] = ()


class HTTPRouteRule(Model):
    """What to do with requests that fit one of ``matches``."""

    matches: Annotated[tuple[HTTPRouteMatch, ...], Field(max_length=8)] = (HTTPRouteMatch(),)
    filters: Annotated[tuple[HTTPRouteFilter, ...], Field(max_length=16)] = ()
    forward_to: Annotated[tuple[HTTPRouteForwardTo, ...], Field(max_length=4)] = ()


class RouteTLSConfig(Model):
    """A certificate for the route's hosts; it counts only where a listener's routeOverride is Allow."""

    certificate_ref: LocalObjectReference


class HTTPRouteSpec(Model):
    """``gateways`` says which Gateways may select this route."""

    gateways: GatewayAllowance = GatewayAllowance()
    hostnames: Annotated[tuple[Hostname, ...], Field(max_length=16)] = ()
    tls: RouteTLSConfig | None = None
    rules: Annotated[tuple[HTTPRouteRule, ...], Field(min_length=1, max_length=16)]


class HTTPRoute(Resource):
    """Requests of some host names and what becomes of them."""

    group: ClassVar[str] = V1ALPHA1_GROUP

    api_version: str = API_VERSION
    kind: Literal["HTTPRoute"] = "HTTPRoute"
    spec: HTTPRouteSpec


class TLSRouteMatch(Model):
    """Server names of a TLS handshake; without any it is the listener's."""

    snis: Annotated[tuple[Hostname, ...], Field(max_length=16)] = ()
    extension_ref: LocalObjectReference | None = None


class TLSRouteRule(Model):
    """Where connections for these server names go."""

    matches: Annotated[tuple[TLSRouteMatch, ...], Field(max_length=8)] = ()
    forward_to: Annotated[tuple[ForwardTo, ...], Field(min_length=1, max_length=4)]


class TLSRouteSpec(Model):
    """``gateways`` says which Gateways may select this route."""

    gateways: GatewayAllowance = GatewayAllowance()
    rules: Annotated[tuple[TLSRouteRule, ...], Field(min_length=1, max_length=16)]


class TLSRoute(Resource):
    """TLS connections, by server name."""

    group: ClassVar[str] = V1ALPHA1_GROUP

    api_version: str = API_VERSION
    kind: Literal["TLSRoute"] = "TLSRoute"
    spec: TLSRouteSpec


class StreamRouteMatch(Model):
    """A match of a TCPRoute or UDPRoute: nothing but extensions."""

    extension_ref: LocalObjectReference | None = None


class StreamRouteRule(Model):
    """Where connections or packets go."""

    matches: Annotated[tuple[StreamRouteMatch, ...], Field(max_length=8)] = ()
    forward_to: Annotated[tuple[ForwardTo, ...], Field(min_length=1, max_length=4)]


class StreamRouteSpec(Model):
    """``gateways`` says which Gateways may select this route."""

    gateways: GatewayAllowance = GatewayAllowance()
    rules: Annotated[tuple[StreamRouteRule, ...], Field(min_length=1, max_length=16)]


class TCPRoute(Resource):
    """TCP connections of a port."""

    group: ClassVar[str] = V1ALPHA1_GROUP

    api_version: str = API_VERSION
    kind: Literal["TCPRoute"] = "TCPRoute"
    spec: StreamRouteSpec


class UDPRoute(Resource):
    """UDP packets of a port."""

    group: ClassVar[str] = V1ALPHA1_GROUP

    api_version: str = API_VERSION
    kind: Literal["UDPRoute"] = "UDPRoute"
    spec: StreamRouteSpec


class BackendRef(Model):
    """Objects that a policy is about."""

    group: Annotated[str, StringConstraints(max_length=253)]
    kind: Annotated[str, StringConstraints(max_length=253)] = "Service"
    name: Annotated[str, StringConstraints(max_length=253)]
    port: PortNumber | None = None


class BackendTLSConfig(Model):
    """Who signs the backends' certificates."""

    certificate_authority_ref: LocalObjectReference | None = None
    options: dict[str, str] = Field(default_factory=dict)


class BackendPolicySpec(Model):
    """How to talk to these backends."""

    backend_refs: Annotated[tuple[BackendRef, ...], Field(max_length=16)]
    tls: BackendTLSConfig | None = None


class BackendPolicy(Resource):
    """TLS towards backends."""

    group: ClassVar[str] = V1ALPHA1_GROUP

    api_version: str = API_VERSION
    kind: Literal["BackendPolicy"] = "BackendPolicy"
    spec: BackendPolicySpec
