"""What can be kept of an API server's object of which a part cannot be read, since it is a newer version's, or since
its schema lets through what makes no sense, such as an operator of a selector that there is not.

A Gateway keeps its good listeners, a route its good rules, and a policy what it is for: passed over as wholes, they
would take down what can be served, say nothing of it in their status, and leave backends spoken to in clear.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from routes.resources.errors import FieldError
from routes.resources.gateway import (
    AllowedRoutes,
    Gateway,
    GatewayClass,
    ListenerSet,
    UnreadableGateway,
    UnreadableGatewayClass,
    UnreadableListener,
)
from routes.resources.http import HTTPRoute, UnreadableHTTPRoute, UnreadableRule
from routes.resources.meta import Resource
from routes.resources.policy import BackendTLSPolicy, UnreadableBackendTLSPolicy

R = TypeVar("R", bound=Resource)
S = TypeVar("S", Gateway, ListenerSet)


def _class(document: dict[str, Any], errors: Sequence[FieldError]) -> GatewayClass | None:
    """The class without the fields of its spec that have ``errors``, which is told and not served."""
    if not _all_under(errors, "spec") or any(error.path[1:2] in ((), ("controllerName",)) for error in errors):
        return None
    return _with_fault(UnreadableGatewayClass, document, _without_fields(document["spec"], errors), errors)


def _gateway(document: dict[str, Any], errors: Sequence[FieldError]) -> Gateway | None:
    """The Gateway with its good listeners; where another field has ``errors`` it is told, and not served."""
    others = [error for error in errors if error.path[:2] != ("spec", "listeners")]
    if not others:
        return _without_bad_listeners(Gateway, document, errors)
    if not _all_under(others, "spec") or any(error.path[1:2] in ((), ("gatewayClassName",)) for error in others):
        return None
    left = {**document, "spec": _without_fields(document["spec"], others), "fault": _sentence(others)}
    listeners = [error for error in errors if error not in others]
    return _without_bad_listeners(UnreadableGateway, left, listeners)


def _listener_set(document: dict[str, Any], errors: Sequence[FieldError]) -> ListenerSet | None:
    return _without_bad_listeners(ListenerSet, document, errors)


def _without_bad_listeners(model: type[S], document: dict[str, Any], errors: Sequence[FieldError]) -> S | None:
    """The object with no more than name, port and protocol of the listeners that have ``errors``; None where that is
    not where they are, or a name is not there."""
    faults = _by_entry(errors, "listeners")
    if faults is None:
        return None
    listeners = list(document["spec"]["listeners"])
    unreadable: dict[int, UnreadableListener] = {}
    for index, fault in faults.items():
        raw = listeners[index]
        name = raw.get("name") if isinstance(raw, Mapping) else None
        if not isinstance(name, str) or not name:
            return None
        port, protocol = raw.get("port"), raw.get("protocol")
        unreadable[index] = UnreadableListener.model_construct(
            name=name,
            hostname=None,
            port=port if type(port) is int else 0,
            protocol=protocol if isinstance(protocol, str) else "",
            tls=None,
            allowed_routes=AllowedRoutes(),
            filters=None,
            fault=fault,
        )
        # Something that can be read and is like no other, to hold the place.
        listeners[index] = {
            "name": f"unreadable-{index}",
            "port": 1,
            "protocol": "HTTP",
            "hostname": f"{index}.invalid",
        }
    value = _validated(model, {**document, "spec": {**document["spec"], "listeners": listeners}})
    if value is None:
        return None
    read = tuple(unreadable.get(index, listener) for index, listener in enumerate(value.spec.listeners))
    return value.model_copy(update={"spec": value.spec.model_copy(update={"listeners": read})})


def _route(document: dict[str, Any], errors: Sequence[FieldError]) -> HTTPRoute | None:
    """The route with what can be read of its rules; where another field has ``errors`` it is told, and not served."""
    if all(error.path[:2] == ("spec", "rules") and len(error.path) > 2 for error in errors):
        return _without_bad_rules(document, errors)
    if not _all_under(errors, "spec") or any(len(error.path) < 2 for error in errors):
        return None
    bad = {error.path[2] for error in errors if error.path[1] == "parentRefs" and len(error.path) > 2}
    parents = [each for index, each in enumerate(document["spec"].get("parentRefs", ())) if index not in bad]
    return _with_fault(UnreadableHTTPRoute, document, {"parentRefs": parents}, errors)


def _without_bad_rules(document: dict[str, Any], errors: Sequence[FieldError]) -> HTTPRoute | None:
    faults: dict[int, list[FieldError]] = {}
    for error in errors:
        match error.path:
            case ("spec", "rules", int(index), *rest):
                faults.setdefault(index, []).append(FieldError(tuple(rest), error.message))
            case _:
                return None
    rules = list(document["spec"]["rules"])
    for index, found in faults.items():
        bad = {error.path[1] for error in found if len(error.path) > 1 and error.path[0] == "matches"}
        whole = any(error.path in ((), ("matches",)) for error in found)
        matches = [] if whole else [each for at, each in enumerate(rules[index].get("matches", [{}])) if at not in bad]
        rules[index] = {"matches": matches}
    route = _validated(HTTPRoute, {**document, "spec": {**document["spec"], "rules": rules}})
    if route is None:
        return None
    read = list(route.spec.rules)
    for index, found in faults.items():
        # Not validated: no match at all would become one that takes everything.
        kept = read[index].matches if rules[index]["matches"] else ()
        fault = "; ".join(map(str, found))
        read[index] = UnreadableRule(fault=fault).model_copy(update={"matches": kept})
    return route.model_copy(update={"spec": route.spec.model_copy(update={"rules": tuple(read)})})


def _policy(document: dict[str, Any], errors: Sequence[FieldError]) -> BackendTLSPolicy | None:
    """The policy with its targets, so that it is not passed over and these not spoken to in clear."""
    if not _all_under(errors, "spec") or any(len(error.path) < 2 for error in errors):
        return None
    bad = {error.path[2] for error in errors if error.path[1] == "targetRefs" and len(error.path) > 2}
    targets = [each for index, each in enumerate(document["spec"].get("targetRefs", ())) if index not in bad]
    validation = {"hostname": "unreadable", "wellKnownCACertificates": "System"}
    spec = {"targetRefs": targets, "validation": validation}
    return _with_fault(UnreadableBackendTLSPolicy, document, spec, errors)


def _all_under(errors: Iterable[FieldError], field: str) -> bool:
    return all(error.path[:1] == (field,) for error in errors)


def _by_entry(errors: Iterable[FieldError], field: str) -> dict[int, str] | None:
    """What is wrong with each entry of a list of the spec; None where something is wrong with anything else."""
    faults: dict[int, list[str]] = {}
    for error in errors:
        match error.path:
            case ("spec", name, int(index), *rest) if name == field:
                faults.setdefault(index, []).append(str(FieldError(tuple(rest), error.message)))
            case _:
                return None
    return {index: "; ".join(found) for index, found in faults.items()}


def _without_fields(spec: Mapping[str, Any], errors: Iterable[FieldError]) -> dict[str, Any]:
    bad = {error.path[1] for error in errors}
    return {field: value for field, value in spec.items() if field not in bad}


def _sentence(errors: Iterable[FieldError]) -> str:
    return "; ".join(str(FieldError(error.path[1:], error.message)) for error in errors)


def _with_fault(
    model: type[R], document: Mapping[str, Any], spec: Mapping[str, Any], errors: Sequence[FieldError]
) -> R | None:
    return _validated(model, {**document, "spec": spec, "fault": _sentence(errors)})


def _validated(model: type[R], document: Mapping[str, Any]) -> R | None:
    try:
        return model.model_validate(document, extra="ignore", by_alias=True, by_name=False)
    except ValidationError:
        return None


#: What of an object that cannot be read as a whole is kept where reading is not strict.
SAVED_IN_PART: Final[Mapping[type[Resource], Callable[[dict[str, Any], Sequence[FieldError]], Resource | None]]] = {
    GatewayClass: _class,
    Gateway: _gateway,
    ListenerSet: _listener_set,
    HTTPRoute: _route,
    BackendTLSPolicy: _policy,
}
