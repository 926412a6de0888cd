"""HTTPRoute's filters and what they point at. The API: ``spec.rules[].filters`` and ``backendRefs[].filters``."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from routes.resources.fields import (
    CORSOrigin,
    Count,
    GroupName,
    HTTPHeaderName,
    HTTPHeaderValue,
    KindName,
    PositiveCount,
    PreciseHostname,
    URLPath,
    first_repeat,
    refuse,
    unique_names,
    unique_values,
    wildcard_alone,
)
from routes.resources.meta import CORE_GROUP, X_GROUP, Bool, Model, Namespace, ObjectName, PortNumber

HTTPMethod = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]
HTTPMethodOrAll = Literal[HTTPMethod, "*"]
FilterType = Literal[
    "RequestHeaderModifier",
    "ResponseHeaderModifier",
    "RequestMirror",
    "RequestRedirect",
    "URLRewrite",
    "ExtensionRef",
    "CORS",
    "ExternalAuth",
]


class LocalObjectReference(Model):
    """An object in the namespace of whoever names it."""

    group: GroupName
    kind: KindName
    name: ObjectName


class BackendObjectReference(Model):
    """Where requests go: a Service by default, in ``namespace`` or, where that is None, in the route's own.

    ``port`` is the Service's port, not the pod's; other kinds may do without.
    """

    group: GroupName = CORE_GROUP
    kind: KindName = "Service"
    name: ObjectName
    namespace: Namespace | None = None
    port: PortNumber | None = None

    @model_validator(mode="after")
    def _service_has_port(self) -> Self:
        if self.port is None and self.kind == "Service" and not self.group:
            raise refuse(f"required: say which port of the Service {self.name!r}", "port")
        if self.port is not None and (self.group, self.kind) == (X_GROUP, "XBackend"):
            raise refuse("must not be set for an XBackend, which has its own", "port")
        return self


class HTTPHeader(Model):
    """A header to write."""

    name: HTTPHeaderName
    value: HTTPHeaderValue


Headers = Annotated[tuple[HTTPHeader, ...], Field(max_length=16), AfterValidator(unique_names)]


#: Headers, in lower case, that frame a message or belong to one connection.
UNMODIFIABLE: Final = frozenset(
    {
        "connection",
        "content-length",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


class HTTPHeaderFilter(Model):
    """Headers to overwrite, to append to, and to take out. Names that differ only in case are one header."""

    set: Headers = ()
    add: Headers = ()
    remove: Annotated[tuple[str, ...], Field(max_length=16), AfterValidator(unique_values)] = ()

    @property
    def unmodifiable(self) -> tuple[str, ...]:
        """Those of the names that no filter may change: :data:`UNMODIFIABLE`, and Host unless it is set to a host.

        A request has exactly one Host. Data planes pass over these names, so that a filter breaks no message.
        """
        changed = [header.name for header in self.set if not _AUTHORITY.fullmatch(header.value)]
        changed += [*(header.name for header in self.add), *self.remove]
        names = [name for name in changed if name.lower() == "host"]
        names += [name for name in (*(header.name for header in self.set), *changed) if name.lower() in UNMODIFIABLE]
        return tuple(dict.fromkeys(names))


class Fraction(Model):
    """``numerator`` of ``denominator`` requests."""

    numerator: Count
    denominator: PositiveCount = 100

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        if self.numerator > self.denominator:
            raise refuse(f"must not be greater than the denominator, {self.denominator}", "numerator")
        return self


class HTTPRequestMirrorFilter(Model):
    """A copy of each request for one more backend. Without ``percent`` and ``fraction`` it gets all of them."""

    backend_ref: BackendObjectReference
    percent: Annotated[Count, Field(le=100)] | None = None
    fraction: Fraction | None = None

    @model_validator(mode="after")
    def _one_share(self) -> Self:
        if self.percent is not None and self.fraction is not None:
            raise refuse("must not be set together with percent: choose one of them", "fraction")
        return self


class HTTPPathModifier(Model):
    """A new path: all of it, or its matched prefix (Gateway API "ReplacePrefixMatch")."""

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: Annotated[str, StringConstraints(max_length=1024)] | None = None
    replace_prefix_match: Annotated[str, StringConstraints(max_length=1024)] | None = None

    @model_validator(mode="after")
    def _field_of_type(self) -> Self:
        full = self.type == "ReplaceFullPath"
        wanted, other = ("replaceFullPath", "replacePrefixMatch") if full else ("replacePrefixMatch", "replaceFullPath")
        value, unwanted = self.replace_full_path, self.replace_prefix_match
        if not full:
            value, unwanted = unwanted, value
        if value is None:
            raise refuse(f'required where type is "{self.type}"', wanted)
        if unwanted is not None:
            raise refuse(f'must not be set where type is "{self.type}"', other)
        return self


class HTTPRequestRedirectFilter(Model):
    """An answer that sends the client elsewhere. None means "as in the request"; for ``port`` see the spec's table."""

    scheme: Literal["http", "https"] | None = None
    hostname: PreciseHostname | None = None
    path: HTTPPathModifier | None = None
    port: PortNumber | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


class HTTPURLRewriteFilter(Model):
    """The host name and path that the backend sees."""

    hostname: PreciseHostname | None = None
    path: HTTPPathModifier | None = None


HeaderNames = Annotated[tuple[HTTPHeaderName, ...], Field(max_length=64)]


class HTTPCORSFilter(Model):
    """Which scripts of other origins may read answers. ``max_age`` is in seconds."""

    allow_origins: Annotated[tuple[CORSOrigin, ...], Field(max_length=64), AfterValidator(wildcard_alone)] = ()
    allow_credentials: Bool = False
    allow_methods: Annotated[tuple[HTTPMethodOrAll, ...], Field(max_length=9), AfterValidator(wildcard_alone)] = ()
    allow_headers: Annotated[HeaderNames, AfterValidator(wildcard_alone)] = ()
    expose_headers: Annotated[HeaderNames, AfterValidator(unique_values)] = ()
    max_age: PositiveCount = 5


_PlainNames = Annotated[tuple[str, ...], Field(max_length=64), AfterValidator(unique_values)]


class GRPCAuthConfig(Model):
    """Which request headers an Envoy ext_authz server gets."""

    allowed_headers: _PlainNames = ()


class HTTPAuthConfig(Model):
    """Where on an HTTP authorization server to ask, and which headers go there and come back."""

    path: URLPath | None = None
    allowed_headers: _PlainNames = ()
    allowed_response_headers: _PlainNames = ()


class ForwardBodyConfig(Model):
    """How many bytes of the body the authorization server gets; 0 is none of it."""

    max_size: Count = 0


class HTTPExternalAuthFilter(Model):
    """A server that is asked whether a request may pass."""

    protocol: Literal["HTTP", "GRPC"]
    backend_ref: BackendObjectReference
    grpc: GRPCAuthConfig | None = None
    http: HTTPAuthConfig | None = None
    forward_body: ForwardBodyConfig | None = None

    @model_validator(mode="after")
    def _field_of_protocol(self) -> Self:
        for protocol, value in (("HTTP", self.http), ("GRPC", self.grpc)):
            if protocol == self.protocol and value is None:
                raise refuse(f'required where protocol is "{protocol}"', protocol.lower())
            if protocol != self.protocol and value is not None:
                raise refuse(f'must not be set where protocol is "{self.protocol}"', protocol.lower())
        return self


#: The field that belongs to each filter type: its name here and in manifests.
FILTER_FIELDS: Final[dict[str, tuple[str, str]]] = {
    "RequestHeaderModifier": ("request_header_modifier", "requestHeaderModifier"),
    "ResponseHeaderModifier": ("response_header_modifier", "responseHeaderModifier"),
    "RequestMirror": ("request_mirror", "requestMirror"),
    "RequestRedirect": ("request_redirect", "requestRedirect"),
    "URLRewrite": ("url_rewrite", "urlRewrite"),
    "ExtensionRef": ("extension_ref", "extensionRef"),
    "CORS": ("cors", "cors"),
    "ExternalAuth": ("external_auth", "externalAuth"),
}
_REPEATABLE = frozenset({"RequestMirror", "ExtensionRef", "ExternalAuth"})


class HTTPRouteFilter(Model):
    """One step on a request's way; ``type`` says which of the other fields is set."""

    type: FilterType
    request_header_modifier: HTTPHeaderFilter | None = None
    response_header_modifier: HTTPHeaderFilter | None = None
    request_mirror: HTTPRequestMirrorFilter | None = None
    request_redirect: HTTPRequestRedirectFilter | None = None
    url_rewrite: HTTPURLRewriteFilter | None = None
    extension_ref: LocalObjectReference | None = None
    cors: HTTPCORSFilter | None = None
    external_auth: HTTPExternalAuthFilter | None = None

    @model_validator(mode="after")
    def _field_of_type(self) -> Self:
        wanted, spelling = FILTER_FIELDS[self.type]
        if getattr(self, wanted) is None:
            raise refuse(f'required where type is "{self.type}"', spelling)
        if len(self.model_fields_set) > 2:
            for type_, (name, other) in FILTER_FIELDS.items():
                if name != wanted and getattr(self, name) is not None:
                    raise refuse(f'must not be set where type is "{self.type}": it belongs to "{type_}"', other)
        return self

    @property
    def config(self) -> Model:
        """The field that belongs to the filter's type."""
        value: Model = getattr(self, FILTER_FIELDS[self.type][0])
        return value

    @property
    def path_modifier(self) -> HTTPPathModifier | None:
        """The new path that a redirect or rewrite asks for."""
        config = self.request_redirect or self.url_rewrite
        return config.path if config else None


def check_filters(filters: tuple[HTTPRouteFilter, ...]) -> tuple[HTTPRouteFilter, ...]:
    """Validator of a rule's or a backend's list of filters: which go together, and how often."""
    if len(filters) < 2:
        return filters
    types = [filter_.type for filter_ in filters]
    if "RequestRedirect" in types and "URLRewrite" in types:
        index = types.index("URLRewrite")
        raise refuse("a URLRewrite has no effect beside a RequestRedirect: keep one of them", index, "type")
    if repeat := first_repeat(type_ if type_ not in _REPEATABLE else index for index, type_ in enumerate(types)):
        again = types[repeat[1]]
        raise refuse(f"a second {again} is not allowed: merge it with the one at index {repeat[0]}", repeat[1], "type")
    return filters


#: The filters of a rule or of a backend.
HTTPRouteFilters = Annotated[tuple[HTTPRouteFilter, ...], Field(max_length=16), AfterValidator(check_filters)]
