"""What an API server's object may hold that this version of the API does not know."""

from typing import Any

import pytest

from routes.resources.extension import Extension
from routes.resources.http import HTTPRoute, HTTPRouteMatch, UnreadableHTTPRoute, UnreadableRule
from routes.resources.policy import UnreadableBackendTLSPolicy
from routes.resources.scheme import ManifestError, parse

GOOD = {"matches": [{"path": {"value": "/good"}}]}


def route(*rules: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "a"},
        "spec": {"rules": list(rules), **spec},
    }


def read(*rules: dict[str, Any]) -> HTTPRoute:
    value = parse(route(*rules), strict=False)
    assert isinstance(value, HTTPRoute)
    return value


def test_a_filter_of_a_type_that_nobody_knows_costs_its_rule_alone() -> None:
    first, second = read({**GOOD, "filters": [{"type": "Teleport", "teleport": {}}]}, GOOD).spec.rules
    assert isinstance(first, UnreadableRule)
    assert first.matches == second.matches
    assert first.fault.startswith("filters[0].type: must be RequestHeaderModifier, ")
    assert not isinstance(second, UnreadableRule)


def test_of_a_rule_only_the_matches_that_can_be_read_are_kept() -> None:
    [rule] = read({"matches": [{"path": {"type": "Glob", "value": "/*"}}, {"path": {"value": "/good"}}]}).spec.rules
    assert isinstance(rule, UnreadableRule)
    assert rule.matches == (HTTPRouteMatch.model_validate({"path": {"value": "/good"}}),)
    assert rule.fault == 'matches[0].path.type: must be Exact, PathPrefix or RegularExpression, not "Glob"'


def test_a_rule_without_a_match_that_can_be_read_takes_nothing() -> None:
    [rule] = read({"matches": [{"method": "BREW"}]}).spec.rules
    assert isinstance(rule, UnreadableRule)
    assert rule.matches == ()


def test_a_bad_rule_without_matches_is_still_for_everything() -> None:
    [rule] = read({"retry": {"attempts": -1}}).spec.rules
    assert isinstance(rule, UnreadableRule)
    assert rule.matches == (HTTPRouteMatch(),)


def test_of_a_route_with_a_mistake_outside_its_rules_the_parents_are_kept() -> None:
    """Without the hostname that cannot be read it would be for others, or for all."""
    parents = [{"name": "a"}, {"name": "b", "port": 0}]
    value = parse(route({"filters": [{"type": "Teleport"}]}, hostnames=["10.0.0.1"], parentRefs=parents), strict=False)
    assert isinstance(value, UnreadableHTTPRoute)
    assert [ref.name for ref in value.spec.parent_refs] == ["a"]
    assert value.spec.hostnames == ()
    for place in ("hostnames[0]: ", "parentRefs[1].port: ", "rules[0].filters[0].type: "):
        assert place in value.fault


def test_an_object_whose_name_cannot_be_read_is_refused() -> None:
    with pytest.raises(ManifestError):
        parse({**route(GOOD, hostnames=["10.0.0.1"]), "metadata": {"name": "A b"}}, strict=False)


def test_what_a_person_wrote_is_refused_as_a_whole() -> None:
    with pytest.raises(ManifestError):
        parse(route(GOOD, {"filters": [{"type": "Teleport"}]}))


def policy(validation: dict[str, Any], **spec: Any) -> dict[str, Any]:
    targets = [{"group": "", "kind": "Service", "name": "s"}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "BackendTLSPolicy",
        "metadata": {"name": "p"},
        "spec": {"targetRefs": targets, "validation": validation, **spec},
    }


NEWER_NAME = {"hostname": "a", "wellKnownCACertificates": "System", "subjectAltNames": [{"type": "IPAddress"}]}


def test_of_a_policy_that_asks_for_what_nobody_knows_the_targets_are_kept() -> None:
    """Passed over, it would leave its Services spoken to in clear."""
    value = parse(policy(NEWER_NAME), strict=False)
    assert isinstance(value, UnreadableBackendTLSPolicy)
    assert [target.name for target in value.spec.target_refs] == ["s"]
    assert value.fault.startswith("validation.subjectAltNames[0].type: must be Hostname or URI")


def test_a_policy_without_targets_that_can_be_read_is_refused() -> None:
    with pytest.raises(ManifestError):
        parse(policy(NEWER_NAME, targetRefs=[]), strict=False)
    with pytest.raises(ManifestError):
        parse(policy(NEWER_NAME))


EXTENSION = {"apiVersion": "example.com/v3", "kind": "RateLimit", "metadata": {"name": "a"}, "spec": {"any": [1, {}]}}
KINDS = frozenset({("example.com", "RateLimit")})


def test_an_object_of_somebody_elses_kind_is_read_where_it_is_asked_for() -> None:
    value = parse(EXTENSION, extensions=KINDS)
    assert isinstance(value, Extension)
    assert value.spec == {"any": [1, {}]}
    assert value.key == ("example.com", "RateLimit", "default", "a")


def test_it_is_passed_over_where_it_is_not() -> None:
    assert parse(EXTENSION) is None


def test_a_kind_that_is_known_stays_what_it_is() -> None:
    value = parse(route(GOOD), extensions=frozenset({("gateway.networking.k8s.io", "HTTPRoute")}))
    assert isinstance(value, HTTPRoute)
