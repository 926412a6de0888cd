"""What can be kept of an API server's object of which a part cannot be read, since it is a newer version's.

A route keeps its good rules, and a policy what it is for: passed over as wholes, the one would take down what can be
served, and the other leave backends spoken to in clear.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from routes.resources.errors import FieldError
from routes.resources.http import HTTPRoute, UnreadableRule
from routes.resources.meta import Resource
from routes.resources.policy import BackendTLSPolicy, UnreadableBackendTLSPolicy


def _without_bad_rules(document: dict[str, Any], errors: Sequence[FieldError]) -> HTTPRoute | None:
    """The route with what can be read of the rules that have ``errors``; None where they are not in rules alone."""
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
    spec = {**document["spec"], "rules": rules}
    try:
        route = HTTPRoute.model_validate({**document, "spec": spec}, extra="ignore", by_alias=True, by_name=False)
    except ValidationError:
        return None
    read = list(route.spec.rules)
    for index, found in faults.items():
        # Not validated: no match at all would become one that takes everything.
        kept = read[index].matches if rules[index]["matches"] else ()
        fault = "; ".join(map(str, found))
        read[index] = UnreadableRule(fault=fault).model_copy(update={"matches": kept})
    return route.model_copy(update={"spec": route.spec.model_copy(update={"rules": tuple(read)})})


def _without_bad_validation(document: dict[str, Any], errors: Sequence[FieldError]) -> BackendTLSPolicy | None:
    """The policy with its targets, so that it is not passed over and these not spoken to in clear."""
    if any(error.path[:2] != ("spec", "validation") for error in errors):
        return None
    validation = {"hostname": "unreadable", "wellKnownCACertificates": "System"}
    spec = {**document["spec"], "validation": validation}
    fault = "; ".join(str(FieldError(error.path[1:], error.message)) for error in errors)
    return UnreadableBackendTLSPolicy.model_validate(
        {**document, "spec": spec, "fault": fault}, extra="ignore", by_alias=True, by_name=False
    )


#: What of an object that cannot be read as a whole is kept where reading is not strict.
SAVED_IN_PART: Final[Mapping[type[Resource], Callable[[dict[str, Any], Sequence[FieldError]], Resource | None]]] = {
    HTTPRoute: _without_bad_rules,
    BackendTLSPolicy: _without_bad_validation,
}
