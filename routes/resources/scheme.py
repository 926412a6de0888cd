"""From a decoded manifest to its model: which API versions and kinds there are, and what each becomes.

Every version comes out as v1. Kinds that a cluster also holds and that no gateway reads are passed over.
"""

import re
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import ValidationError

from routes.resources import conversion, core, gateway, http, policy, v1alpha1
from routes.resources.errors import (
    ConversionError,
    FieldError,
    ManifestError,
    describe,
    either,
    field_errors,
    suggestion,
)
from routes.resources.extension import Extension
from routes.resources.meta import (
    CORE_GROUP,
    DEFINITIONS_GROUP,
    DNS_SUBDOMAIN,
    GATEWAY_GROUP,
    V1ALPHA1_GROUP,
    Resource,
)
from routes.resources.salvage import SAVED_IN_PART
from routes.resources.sharing import shared

__all__ = ["SUPPORTED", "ConversionError", "FieldError", "ManifestError", "parse"]

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")

#: What :func:`parse` gives for each (apiVersion, kind): the model's class.
SUPPORTED: Final[Mapping[tuple[str, str], type[Resource]]] = MappingProxyType(
    {
        **{
            (f"{GATEWAY_GROUP}/{version}", model.__name__): model
            for version in ("v1", "v1beta1")
            for model in (gateway.GatewayClass, gateway.Gateway, http.HTTPRoute, policy.ReferenceGrant)
        },
        (f"{GATEWAY_GROUP}/v1", "ListenerSet"): gateway.ListenerSet,
        (f"{GATEWAY_GROUP}/v1", "BackendTLSPolicy"): policy.BackendTLSPolicy,
        (f"{GATEWAY_GROUP}/v1alpha3", "BackendTLSPolicy"): policy.BackendTLSPolicy,
        (v1alpha1.API_VERSION, "GatewayClass"): gateway.GatewayClass,
        (v1alpha1.API_VERSION, "Gateway"): gateway.Gateway,
        (v1alpha1.API_VERSION, "HTTPRoute"): http.SelectedHTTPRoute,
        **{
            ("v1", model.__name__): model
            for model in (core.Service, core.Secret, core.ConfigMap, core.Namespace, core.Endpoints)
        },
        ("discovery.k8s.io/v1", "EndpointSlice"): core.EndpointSlice,
        **{("apps/v1", kind): core.Workload for kind in _WORKLOADS},
        ("v1", "Pod"): core.Workload,
        (f"{DEFINITIONS_GROUP}/v1", "CustomResourceDefinition"): core.CustomResourceDefinition,
    }
)

#: v1alpha1's models with their conversion; without one, the object is only checked.
_OLDER: Final[Mapping[str, tuple[type[Resource], Callable[[Any], Resource] | None]]] = {
    "GatewayClass": (v1alpha1.GatewayClass, conversion.gateway_class),
    "Gateway": (v1alpha1.Gateway, conversion.gateway),
    "HTTPRoute": (v1alpha1.HTTPRoute, conversion.http_route),
    "TLSRoute": (v1alpha1.TLSRoute, None),
    "TCPRoute": (v1alpha1.TCPRoute, None),
    "UDPRoute": (v1alpha1.UDPRoute, None),
    "BackendPolicy": (v1alpha1.BackendPolicy, None),
}

#: Versions that exist of the groups read here; others are typing errors.
_VERSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    GATEWAY_GROUP: ("v1", "v1beta1", "v1alpha3", "v1alpha2"),
    V1ALPHA1_GROUP: ("v1alpha1",),
    CORE_GROUP: ("v1",),
    "apps": ("v1",),
    "discovery.k8s.io": ("v1",),
}
#: Kinds of the Gateway API's own group that exist and are not served.
_NOT_SERVED = frozenset({"GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "BackendLBPolicy", "ReferencePolicy"})
#: Kinds that nobody else's API has: with them, a group that is nearly right is a typing error.
_UNMISTAKABLE = frozenset({"HTTPRoute", "ReferenceGrant", "GatewayClass", "ListenerSet", "BackendTLSPolicy"})

_NAME = re.compile(DNS_SUBDOMAIN)


#: Groups and kinds of other people's objects, which an ExtensionRef may name.
ExtensionKinds = frozenset[tuple[str, str]]


def parse(raw: Mapping[str, Any], *, strict: bool = True, extensions: ExtensionKinds = frozenset()) -> Resource | None:
    """The model of a decoded manifest, in v1 form, or None for a kind that is passed over.

    ``strict`` refuses unknown fields, as is right for what a person wrote; an API server's objects may come from a
    newer version and are read with ``strict=False``, in part where that makes sense
    (:mod:`routes.resources.salvage`). ``status`` is dropped, a field that is null counts as left out, and namespaces
    are as kubectl would have them: "default" where one is missing, none on a cluster-wide kind.

    Objects of the groups and kinds in ``extensions``, in whatever version, become an
    :class:`~routes.resources.extension.Extension`, unless the kind is one that is known here.

    v1alpha1's TLSRoute, TCPRoute, UDPRoute and BackendPolicy are checked and passed over.

    Raises ManifestError with every mistake that was found.
    """
    api_version, kind = _identity(raw)
    older = _OLDER.get(kind) if api_version == v1alpha1.API_VERSION else None
    model = older[0] if older else model_of(api_version, kind, extensions)
    if model is None:
        _pass_over(api_version, kind, strict=strict)
        return None
    if model is core.CustomResourceDefinition and not core.defines_gateway_kind(raw):
        return None
    document = _document(raw, model)
    value = _validated(model, document, strict=strict)
    convert = older[1] if older else None
    if convert is None:
        return None if older else shared(value)
    try:
        return shared(convert(value))
    except ConversionError as error:
        raise ManifestError([FieldError(error.path, error.message)]) from None


def model_of(api_version: str, kind: str, extensions: ExtensionKinds) -> type[Resource] | None:
    """The model of an object, v1alpha1's aside; None where there is none in this version."""
    model = SUPPORTED.get((api_version, kind))
    if model is None and extensions:
        group, slash, _ = api_version.rpartition("/")
        if (group if slash else CORE_GROUP, kind) in extensions:
            return Extension
    return model


def _refused(message: str, *path: str | int) -> ManifestError:
    return ManifestError([FieldError(path, message)])


def _identity(raw: Any) -> tuple[str, str]:
    if not isinstance(raw, Mapping):
        raise _refused(f"not a Kubernetes object: it must be a mapping, not {describe(raw)}")
    absent = [field for field in ("apiVersion", "kind") if raw.get(field) in (None, "")]
    if absent:
        raise _refused(f"not a Kubernetes object: it has no {' and '.join(absent)}")
    for field in ("apiVersion", "kind"):
        if not isinstance(raw[field], str):
            raise _refused(f"must be a string, not {describe(raw[field])}: put it in quotes", field)
    if raw["kind"].endswith("List") and "items" in raw:
        raise _refused("a list is no object of its own: give its items one by one", "kind")
    return raw["apiVersion"], raw["kind"]


def not_served(raw: Mapping[str, Any]) -> bool:
    """Whether :func:`parse` passes over ``raw`` though it is meant for a gateway: a kind of the Gateway API that is
    not served here."""
    api_version, kind = str(raw.get("apiVersion")), str(raw.get("kind"))
    if api_version == v1alpha1.API_VERSION:
        return kind in _OLDER and _OLDER[kind][1] is None
    return api_version.rpartition("/")[0] == GATEWAY_GROUP and kind in _NOT_SERVED


def _pass_over(api_version: str, kind: str, *, strict: bool) -> None:
    """Refuses what was meant for this gateway and is misspelled; says nothing about all that was not."""
    group, slash, version = api_version.rpartition("/")
    group = group if slash else CORE_GROUP
    if group not in _VERSIONS:
        near = any(SequenceMatcher(None, group, known).ratio() > 0.7 for known in (GATEWAY_GROUP, V1ALPHA1_GROUP))
        if near and kind in _UNMISTAKABLE:
            raise _refused(_supported(api_version, kind), "apiVersion")
        return
    kinds = {known for known_version, known in SUPPORTED if known_version.rpartition("/")[0] == group}
    if group == V1ALPHA1_GROUP:
        kinds |= set(_OLDER)
    if version not in _VERSIONS[group] or any(kind == known for _, known in SUPPORTED) or kind in kinds:
        raise _refused(_supported(api_version, kind), "apiVersion")
    if strict and (group != GATEWAY_GROUP or kind not in _NOT_SERVED):
        # Far enough from Kubernetes' own kinds: ServiceAccount is no misspelled Service.
        wish = suggestion(kind, kinds, cutoff=0.8)
        if wish or group in (GATEWAY_GROUP, V1ALPHA1_GROUP):
            raise _refused(f'{api_version} has no kind "{kind}"{wish}', "kind")


def _supported(api_version: str, kind: str) -> str:
    versions = [known_version for known_version, known in SUPPORTED if known == kind]
    if not versions:
        group = api_version.rpartition("/")[0]
        versions = [f"{group}/{version}".lstrip("/") for version in _VERSIONS[group]]
    return f'"{api_version}" is not supported for {kind}: write {either(versions)}'


def _document(raw: Mapping[str, Any], model: type[Resource]) -> dict[str, Any]:
    """What is validated: without status, and with the namespace that the object has in a cluster."""
    metadata = raw.get("metadata")
    if metadata is None or (isinstance(metadata, Mapping) and metadata.get("name") in (None, "")):
        raise _refused("required: an object needs a name", "metadata", "name")
    if not isinstance(metadata, Mapping):
        raise _refused("must be a mapping, with a name at least", "metadata")
    name = metadata["name"]
    if isinstance(name, str) and not _NAME.fullmatch(name):
        raise _refused(
            f'must be lower case letters, digits, "-" and ".", with a letter or digit at each end, not "{name}"',
            "metadata",
            "name",
        )
    if model is core.Workload or model is core.CustomResourceDefinition:
        document = core.workload_parts(raw) if model is core.Workload else core.definition_parts(raw)
        metadata = document["metadata"]
    else:
        document = {field: value for field, value in raw.items() if field != "status"}
    if not model.namespaced:
        document["metadata"] = {field: value for field, value in metadata.items() if field != "namespace"}
    elif not metadata.get("namespace"):
        document["metadata"] = {**metadata, "namespace": "default"}
    if "managedFields" in document["metadata"]:
        # Who set which field, as large as the object, and read by nobody here.
        document["metadata"] = {**document["metadata"], "managedFields": None}
    return document


def _validated(model: type[Resource], document: dict[str, Any], *, strict: bool) -> Resource:
    extra: Literal["forbid", "ignore"] = "forbid" if strict else "ignore"
    try:
        return model.model_validate(document, extra=extra, by_alias=True, by_name=False)
    except ValidationError as error:
        # Looking for nulls only now keeps the usual case, a document without mistakes, fast.
        pruned = _without_nulls(document)
        if pruned is document and (strict or model not in SAVED_IN_PART):
            raise ManifestError(_errors(error, model, document)) from None
    try:
        return model.model_validate(pruned, extra=extra, by_alias=True, by_name=False)
    except ValidationError as error:
        errors = _errors(error, model, pruned)
        saved = SAVED_IN_PART[model](pruned, errors) if not strict and model in SAVED_IN_PART else None
        if saved is None:
            raise ManifestError(errors) from None
        return saved


def _errors(error: ValidationError, model: type[Resource], document: dict[str, Any]) -> tuple[FieldError, ...]:
    return field_errors(error, model, document, confidential=model is core.Secret)


def _without_nulls(value: Any) -> Any:
    """``value`` without fields that are null, which an API server takes as left out; itself where there are none."""
    if isinstance(value, Mapping):
        kept = {key: _without_nulls(item) for key, item in value.items() if item is not None}
        same = len(kept) == len(value) and all(kept[key] is item for key, item in value.items())
        return value if same else kept
    if isinstance(value, list):
        items = [_without_nulls(item) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    return value
