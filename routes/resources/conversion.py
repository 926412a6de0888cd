"""networking.x-k8s.io/v1alpha1 as v1: the same traffic, said in the words of today.

Metadata and ``api_version`` stay as they were written, so that an object keeps its identity and its status can be told
in its own dialect. Two things v1 has no field for are kept in subclasses: a listener's label selector
(:class:`~routes.resources.gateway.SelectingListener`) and a route's say over its Gateways
(:class:`~routes.resources.http.SelectedHTTPRoute`), which stand in for parentRefs. What is left is refused with a
:class:`~routes.resources.errors.ConversionError`.

Wider in v1: a wildcard host name takes any number of labels, in v1alpha1 exactly one.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from routes.resources import v1alpha1
from routes.resources.errors import ConversionError, Path, describe_all
from routes.resources.filters import (
    BackendObjectReference,
    HTTPHeader,
    HTTPHeaderFilter,
    HTTPRequestMirrorFilter,
    HTTPRouteFilter,
    LocalObjectReference,
)
from routes.resources.gateway import (
    AllowedRoutes,
    Gateway,
    GatewayClass,
    GatewayClassSpec,
    GatewaySpec,
    GatewaySpecAddress,
    ListenerTLSConfig,
    ParametersReference,
    RouteGroupKind,
    RouteNamespaces,
    SecretObjectReference,
    SelectingListener,
)
from routes.resources.http import (
    HTTPBackendRef,
    HTTPHeaderMatch,
    HTTPPathMatch,
    HTTPRouteMatch,
    HTTPRouteRule,
    HTTPRouteSpec,
    SelectedHTTPRoute,
)
from routes.resources.meta import CORE_GROUP, GATEWAY_GROUP, V1ALPHA1_GROUP

_GROUPS = {"core": CORE_GROUP, V1ALPHA1_GROUP: GATEWAY_GROUP}
_TLS_PROTOCOLS = ("HTTPS", "TLS")
_NAMELESS_PROTOCOLS = ("TCP", "UDP")
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")


def _group(group: str) -> str:
    """The group as v1 spells it. A kind of v1alpha1's own group is, in the model, v1's kind of the same name."""
    return _GROUPS.get(group, group)


@contextmanager
def _at(*path: str | int) -> Iterator[None]:
    """What v1's own models refuse in here is told as a mistake at ``path`` of the v1alpha1 object."""
    try:
        yield
    except ValidationError as error:
        raise ConversionError(path, describe_all(error)) from None


def gateway_class(old: v1alpha1.GatewayClass) -> GatewayClass:
    """A GatewayClass in v1 form. Raises ConversionError where ``controller`` is not a domain and a path."""
    parameters = old.spec.parameters_ref
    with _at("spec", "parametersRef"):
        reference = (
            ParametersReference(group=_group(parameters.group), kind=parameters.kind, name=parameters.name)
            if parameters
            else None
        )
    with _at("spec", "controller"):
        spec = GatewayClassSpec(controller_name=old.spec.controller, parameters_ref=reference)
    return GatewayClass(api_version=old.api_version, metadata=old.metadata, spec=spec)


def gateway(old: v1alpha1.Gateway) -> Gateway:
    """A Gateway in v1 form, its listeners named ``<protocol>-<port>``, the second of a name ``…-2`` and so on.

    Listeners that differ only in their certificate become one with several: v1 tells listeners apart by host name,
    v1alpha1's gateways by the certificate's names. Raises ConversionError.
    """
    names: Counter[str] = Counter()
    merged: dict[tuple[int, str, str | None], tuple[int, SelectingListener]] = {}
    for index, listener in enumerate(old.spec.listeners):
        key = (listener.port, listener.protocol, listener.hostname)
        if key in merged:
            first, known = merged[key]
            merged[key] = first, _merge(known, _listener(listener, known.name, index), first, index)
            continue
        name = f"{_NOT_IN_A_NAME.sub('-', listener.protocol.lower()).strip('-')}-{listener.port}"
        names[name] += 1
        unique = f"{name}-{names[name]}" if names[name] > 1 else name
        merged[key] = index, _listener(listener, unique, index)
    with _at("spec", "addresses"):
        addresses = tuple(GatewaySpecAddress(type=address.type, value=address.value) for address in old.spec.addresses)
    with _at("spec"):
        spec = GatewaySpec(
            gateway_class_name=old.spec.gateway_class_name,
            listeners=tuple(listener for _, listener in merged.values()),
            addresses=addresses,
        )
    return Gateway(api_version=old.api_version, metadata=old.metadata, spec=spec)


def _merge(known: SelectingListener, again: SelectingListener, first: int, index: int) -> SelectingListener:
    """``known`` with the certificate of ``again`` added, which must be all that they differ in."""
    if known.tls and again.tls:
        refs = known.tls.certificate_refs + again.tls.certificate_refs
        tls = again.tls.model_copy(update={"certificate_refs": refs})
        both = again.model_copy(update={"tls": tls})
        if both == known.model_copy(update={"tls": known.tls.model_copy(update={"certificate_refs": refs})}):
            return both
    raise ConversionError(
        ("spec", "listeners", index),
        f"has the port, protocol and hostname of listeners[{first}], and may then differ in its certificate only",
    )


def _listener(old: v1alpha1.Listener, name: str, index: int) -> SelectingListener:
    here = ("spec", "listeners", index)
    tls = _tls(old, here)
    kind = RouteGroupKind(group=_group(old.routes.group), kind=old.routes.kind)
    namespaces = RouteNamespaces(from_=old.routes.namespaces.from_, selector=old.routes.namespaces.selector)
    with _at(*here):
        return SelectingListener(
            name=name,
            hostname=None if old.protocol in _NAMELESS_PROTOCOLS else old.hostname,
            port=old.port,
            protocol=old.protocol,
            tls=tls,
            allowed_routes=AllowedRoutes(namespaces=namespaces, kinds=(kind,)),
            route_selector=old.routes.selector,
        )


def _tls(listener: v1alpha1.Listener, here: Path) -> ListenerTLSConfig | None:
    # v1alpha1 ignores tls with other protocols; v1 would refuse it.
    if listener.tls is None or listener.protocol not in _TLS_PROTOCOLS:
        return None
    old = listener.tls
    if old.route_override.certificate == "Allow":
        raise ConversionError(
            (*here, "tls", "routeOverride", "certificate"),
            "v1 has no certificates of routes: write Deny and give the route's host a listener with its certificate",
        )
    refs = (old.certificate_ref,) if old.certificate_ref and old.mode == "Terminate" else ()
    with _at(*here, "tls", "certificateRef"):
        certificates = tuple(SecretObjectReference(group=_group(r.group), kind=r.kind, name=r.name) for r in refs)
        return ListenerTLSConfig(mode=old.mode, certificate_refs=certificates, options=old.options)


def http_route(old: v1alpha1.HTTPRoute) -> SelectedHTTPRoute:
    """An HTTPRoute in v1 form, which names no parent.

    ``tls`` is read over: it counts only with listeners whose routeOverride is Allow, and :func:`gateway` refuses those.
    Raises ConversionError.
    """
    rules = tuple(_rule(rule, ("spec", "rules", index)) for index, rule in enumerate(old.spec.rules))
    with _at("spec", "rules"):
        spec = HTTPRouteSpec(hostnames=old.spec.hostnames, rules=rules)
    return SelectedHTTPRoute(api_version=old.api_version, metadata=old.metadata, spec=spec, gateways=old.spec.gateways)


def _rule(old: v1alpha1.HTTPRouteRule, here: Path) -> HTTPRouteRule:
    matches = tuple(_match(match, (*here, "matches", index)) for index, match in enumerate(old.matches))
    filters = _filters(old.filters, (*here, "filters"))
    backends = tuple(_backend(to, (*here, "forwardTo", index)) for index, to in enumerate(old.forward_to))
    with _at(*here):
        return HTTPRouteRule(matches=matches, filters=filters, backend_refs=backends)


def _match(old: v1alpha1.HTTPRouteMatch, here: Path) -> HTTPRouteMatch:
    if old.extension_ref is not None:
        raise ConversionError((*here, "extensionRef"), "v1 has no extensions of matches")
    if old.path.type == "ImplementationSpecific":
        raise ConversionError((*here, "path", "type"), _no_type("Exact, Prefix or RegularExpression"))
    path = HTTPPathMatch(type="PathPrefix" if old.path.type == "Prefix" else old.path.type, value=old.path.value)
    if old.headers is None:
        return HTTPRouteMatch(path=path)
    kind = old.headers.type
    if kind == "ImplementationSpecific":
        raise ConversionError((*here, "headers", "type"), _no_type("Exact or RegularExpression"))
    values = (*here, "headers", "values")
    _check_names(old.headers.values, values)
    headers = (HTTPHeaderMatch(type=kind, name=name, value=value) for name, value in old.headers.values.items())
    with _at(*values):
        return HTTPRouteMatch(path=path, headers=tuple(headers))


def _no_type(others: str) -> str:
    return f'"ImplementationSpecific" means something else with every gateway and nothing in v1: write {others}'


def _check_names(names: Iterable[str], here: Path) -> None:
    """In a list only the first of several equal names counts; in a map, where case tells keys apart, all would."""
    known: dict[str, str] = {}
    for name in names:
        if other := known.get(name.lower()):
            raise ConversionError((*here, name), f"is the header {other!r} once more: case makes no difference")
        known[name.lower()] = name


def _filters(old: Iterable[v1alpha1.HTTPRouteFilter], here: Path) -> tuple[HTTPRouteFilter, ...]:
    return tuple(_filter(filter_, (*here, index)) for index, filter_ in enumerate(old))


def _filter(old: v1alpha1.HTTPRouteFilter, here: Path) -> HTTPRouteFilter:
    if old.request_header_modifier is not None:
        added = old.request_header_modifier.add
        _check_names(added, (*here, "requestHeaderModifier", "add"))
        with _at(*here, "requestHeaderModifier"):
            headers = HTTPHeaderFilter(
                add=tuple(HTTPHeader(name=name, value=value) for name, value in added.items()),
                remove=old.request_header_modifier.remove,
            )
        return HTTPRouteFilter(type=old.type, request_header_modifier=headers)
    if old.request_mirror is not None:
        mirror = old.request_mirror
        with _at(*here, "requestMirror", *_named_by(mirror.service_name)):
            group, kind, name = _target(mirror.service_name, mirror.backend_ref)
            backend = BackendObjectReference(group=group, kind=kind, name=name, port=mirror.port)
        return HTTPRouteFilter(type=old.type, request_mirror=HTTPRequestMirrorFilter(backend_ref=backend))
    assert old.extension_ref is not None, "the model has one field for each type"
    with _at(*here, "extensionRef"):
        extension = old.extension_ref
        reference = LocalObjectReference(group=_group(extension.group), kind=extension.kind, name=extension.name)
    return HTTPRouteFilter(type=old.type, extension_ref=reference)


def _named_by(service_name: str | None) -> tuple[str]:
    return ("serviceName",) if service_name else ("backendRef",)


def _target(service_name: str | None, reference: v1alpha1.LocalObjectReference | None) -> tuple[str, str, str]:
    """Group, kind and name of a backend: the Service's name wins."""
    if service_name or reference is None:
        return CORE_GROUP, "Service", service_name or ""
    return _group(reference.group), reference.kind, reference.name


def _backend(old: v1alpha1.HTTPRouteForwardTo, here: Path) -> HTTPBackendRef:
    filters = _filters(old.filters, (*here, "filters"))
    group, kind, name = _target(old.service_name, old.backend_ref)
    with _at(*here, *_named_by(old.service_name)):
        BackendObjectReference(group=group, kind=kind, name=name, port=old.port)
    with _at(*here, "filters"):
        return HTTPBackendRef(group=group, kind=kind, name=name, port=old.port, weight=old.weight, filters=filters)
