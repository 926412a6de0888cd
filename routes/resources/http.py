"""HTTPRoute, v1 experimental channel: which requests go where, and what happens to them on the way.

The API: https://gateway-api.sigs.k8s.io/reference/spec/#httproute. Models refuse what the API server's schema and its
rules (CEL) refuse; what takes a look at other objects is the graph's.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from routes.resources.fields import (
    Duration,
    GroupName,
    Hostname,
    HTTPHeaderName,
    HTTPHeaderValue,
    KindName,
    SectionName,
    Weight,
    check_path,
    duration_seconds,
    first_repeat,
    refuse,
    unique_names,
    unique_values,
)
from routes.resources.filters import BackendObjectReference, HTTPMethod, HTTPRouteFilter, HTTPRouteFilters
from routes.resources.meta import GATEWAY_GROUP, Int, Model, Namespace, ObjectName, PortNumber, Resource

_MOST_MATCHES = 128


class ParentReference(Model):
    """The Gateway, or ListenerSet, that a route wants to belong to; ``namespace`` None is the route's own.

    ``section_name`` is a listener's name, ``port`` a listener's port; with neither it is every listener that fits.
    """

    group: GroupName = GATEWAY_GROUP
    kind: KindName = "Gateway"
    namespace: Namespace | None = None
    name: ObjectName
    section_name: SectionName | None = None
    port: PortNumber | None = None


class HTTPPathMatch(Model):
    """``PathPrefix`` goes by whole path elements: "/foo" takes "/foo/bar" and not "/foobar"."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: Annotated[str, StringConstraints(max_length=1024)] = "/"

    @model_validator(mode="after")
    def _path_of_type(self) -> Self:
        if self.type != "RegularExpression":
            check_path(self.value, "value")
        return self


class HTTPHeaderMatch(Model):
    """A header a request must have. Names are compared without regard to case, values exactly or as a regex."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    name: HTTPHeaderName
    value: HTTPHeaderValue


class HTTPQueryParamMatch(Model):
    """A query parameter a request must have; name and value are compared with regard to case."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    name: HTTPHeaderName
    value: Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class HTTPRouteMatch(Model):
    """One way to match: everything in it must fit. Without ``path`` it is PathPrefix "/".

    Header names that differ only in case may stand side by side; of those the first counts (section HTTPRouteMatch).
    """

    path: HTTPPathMatch = HTTPPathMatch()
    headers: Annotated[tuple[HTTPHeaderMatch, ...], Field(max_length=16), AfterValidator(unique_names)] = ()
    query_params: Annotated[tuple[HTTPQueryParamMatch, ...], Field(max_length=16), AfterValidator(unique_names)] = ()
    method: HTTPMethod | None = None


class HTTPBackendRef(BackendObjectReference):
    """A backend and its share: ``weight`` of the sum of the rule's weights; 0 takes no traffic."""

    weight: Weight = 1
    filters: HTTPRouteFilters = ()


class HTTPRouteTimeouts(Model):
    """How long a whole request, and one attempt at a backend, may take. "0s" is no limit."""

    request: Duration | None = None
    backend_request: Duration | None = None

    @model_validator(mode="after")
    def _attempt_within_request(self) -> Self:
        if self.request and self.backend_request:
            limit = duration_seconds(self.request)
            if limit and duration_seconds(self.backend_request) > limit:
                raise refuse(f"must not be longer than request, {self.request}", "backendRequest")
        return self


class HTTPRouteRetry(Model):
    """Which status codes are tried again, how often, and after how long a pause.

    ``attempts`` come after the first try; 0 is no retry. ``backoff`` None leaves the pause to the gateway.
    """

    codes: Annotated[tuple[Annotated[Int, Field(ge=400, le=599)], ...], AfterValidator(unique_values)] = ()
    attempts: Annotated[Int, Field(ge=0)] = 1
    backoff: Duration | None = None


class SessionCookie(Model):
    """The cookie of a session; ``name`` None leaves the choice to the gateway."""

    name: HTTPHeaderName | None = None
    path: Annotated[str, StringConstraints(max_length=1024)] = "/"
    lifetime_type: Literal["Permanent", "Session"] = "Session"


class SessionHeader(Model):
    """The header of a session."""

    name: HTTPHeaderName


class SessionPersistence(Model):
    """Keeps a client's requests on one endpoint."""

    type: Literal["Cookie", "Header"] = "Cookie"
    cookie: SessionCookie | None = None
    header: SessionHeader | None = None
    absolute_timeout: Duration | None = None

    @model_validator(mode="after")
    def _field_of_type(self) -> Self:
        for type_, value in (("Cookie", self.cookie), ("Header", self.header)):
            if type_ == self.type and value is None:
                raise refuse(f'required where type is "{type_}"', type_.lower())
            if type_ != self.type and value is not None:
                raise refuse(f'must not be set where type is "{self.type}"', type_.lower())
        if self.cookie and self.cookie.lifetime_type == "Permanent" and self.absolute_timeout is None:
            raise refuse('required where the cookie\'s lifetimeType is "Permanent"', "absoluteTimeout")
        return self


_EVERYTHING = (HTTPRouteMatch(),)


def _or_everything(matches: tuple[HTTPRouteMatch, ...]) -> tuple[HTTPRouteMatch, ...]:
    # No match and an empty list of matches mean the same, so that nobody behind this has to ask.
    return matches or _EVERYTHING


class HTTPRouteRule(Model):
    """What to do with requests that fit one of ``matches``; there is always at least one, PathPrefix "/" by default."""

    name: SectionName | None = None
    matches: Annotated[tuple[HTTPRouteMatch, ...], Field(max_length=64), AfterValidator(_or_everything)] = _EVERYTHING
    filters: HTTPRouteFilters = ()
    backend_refs: Annotated[tuple[HTTPBackendRef, ...], Field(max_length=16)] = ()
    timeouts: HTTPRouteTimeouts | None = None
    retry: HTTPRouteRetry | None = None
    session_persistence: SessionPersistence | None = None

    @model_validator(mode="after")
    def _filters_fit(self) -> Self:
        for index, filter_ in enumerate(self.filters):
            if filter_.type == "RequestRedirect" and self.backend_refs:
                raise refuse("must not be set beside a RequestRedirect, which answers by itself", "backendRefs")
            self._check_prefix(filter_, "filters", index)
        for place, backend in enumerate(self.backend_refs):
            for index, filter_ in enumerate(backend.filters):
                self._check_prefix(filter_, "backendRefs", place, "filters", index)
        return self

    def _check_prefix(self, filter_: HTTPRouteFilter, *at: str | int) -> None:
        path = filter_.path_modifier
        if path is None or path.type != "ReplacePrefixMatch":
            return
        if len(self.matches) != 1 or self.matches[0].path.type != "PathPrefix":
            field = "requestRedirect" if filter_.request_redirect else "urlRewrite"
            sentence = "ReplacePrefixMatch needs a rule with exactly one match, of type PathPrefix"
            raise refuse(sentence, *at, field, "path", "type")


class UnreadableRule(HTTPRouteRule):
    """A rule of a newer version of the API, or one that this API server's rules let through and ours do not.

    ``matches`` are those that can be read, perhaps none; ``fault`` is what is wrong with the rest.
    """

    fault: str


def _check_parents(parents: tuple[ParentReference, ...]) -> tuple[ParentReference, ...]:
    """Entries for one parent must say which part of it they mean, all in the same way, and no part twice."""
    if len(parents) < 2:
        return parents
    if repeat := first_repeat(parents):
        raise refuse(f"says the same as the entry at index {repeat[0]}", repeat[1])
    forms: dict[tuple[str, str, str | None, str], tuple[bool, bool]] = {}
    for index, parent in enumerate(parents):
        form = (parent.section_name is not None, parent.port is not None)
        if forms.setdefault((parent.group, parent.kind, parent.namespace, parent.name), form) != form:
            sentence = f"all entries for {parent.kind} {parent.name!r} must set sectionName or port in the same way"
            raise refuse(sentence, index)
    return parents


def _check_rules(rules: tuple[HTTPRouteRule, ...]) -> tuple[HTTPRouteRule, ...]:
    if len(rules) > 1:
        if sum(len(rule.matches) for rule in rules) > _MOST_MATCHES:
            raise refuse(f"must have at most {_MOST_MATCHES} matches over all rules: split the route")
        if repeat := first_repeat(rule.name or index for index, rule in enumerate(rules)):
            raise refuse(f"the rule at index {repeat[0]} has this name already", repeat[1], "name")
    return rules


class HTTPRouteSpec(Model):
    """``hostnames`` empty is every host of the listener; ``rules`` left out is one rule that matches everything."""

    parent_refs: Annotated[tuple[ParentReference, ...], Field(max_length=32), AfterValidator(_check_parents)] = ()
    use_default_gateways: Literal["All", "None"] | None = None
    hostnames: Annotated[tuple[Hostname, ...], Field(max_length=16)] = ()
    rules: Annotated[tuple[HTTPRouteRule, ...], Field(min_length=1, max_length=16), AfterValidator(_check_rules)] = (
        HTTPRouteRule(),
    )


class HTTPRoute(Resource):
    """Requests of some host names and what becomes of them."""

    group: ClassVar[str] = GATEWAY_GROUP

    api_version: str = f"{GATEWAY_GROUP}/v1"
    kind: Literal["HTTPRoute"] = "HTTPRoute"
    spec: HTTPRouteSpec


class UnreadableHTTPRoute(HTTPRoute):
    """A route of which ``fault`` says what cannot be read; only parents that can be are known of it."""

    fault: str


class GatewayReference(Model):
    """A Gateway by name and namespace."""

    name: ObjectName
    namespace: ObjectName


class GatewayAllowance(Model):
    """Which Gateways may select a route (v1alpha1's ``gateways``); ``gateway_refs`` counts only with FromList."""

    allow: Literal["All", "FromList", "SameNamespace"] = "SameNamespace"
    gateway_refs: tuple[GatewayReference, ...] = ()

    @model_validator(mode="after")
    def _list_is_there(self) -> Self:
        if self.allow == "FromList" and not self.gateway_refs:
            raise refuse('required where allow is "FromList"', "gatewayRefs")
        return self


class SelectedHTTPRoute(HTTPRoute):
    """A route that names no parent: Gateways select it by its labels, and ``gateways`` says which of them may."""

    gateways: GatewayAllowance = GatewayAllowance()
