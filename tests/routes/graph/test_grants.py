"""ReferenceGrants, sentence by sentence."""

from typing import Any

import pytest

from routes.graph.grants import Grants
from routes.resources.meta import GATEWAY_GROUP, Key
from routes.resources.policy import ReferenceGrant

ROUTE = Key(GATEWAY_GROUP, "HTTPRoute", "default", "a")
SERVICE = Key("", "Service", "shop", "a")
FROM = {"group": GATEWAY_GROUP, "kind": "HTTPRoute", "namespace": "default"}
TO = {"group": "", "kind": "Service"}


def grant(from_: list[dict[str, str]], to: list[dict[str, str]], namespace: str = "shop") -> ReferenceGrant:
    raw: dict[str, Any] = {"metadata": {"name": "a", "namespace": namespace}, "spec": {"from": from_, "to": to}}
    return ReferenceGrant.model_validate(raw)


def test_inside_a_namespace_no_grant_is_needed() -> None:
    """Needed when from.namespace ≠ to.namespace."""
    assert Grants([]).permit(ROUTE, SERVICE._replace(namespace="default"))


def test_without_a_grant_nothing_crosses_a_namespace() -> None:
    """The default is no."""
    assert not Grants([]).permit(ROUTE, SERVICE)


def test_a_grant_lives_in_the_namespace_of_what_is_pointed_at() -> None:
    """A grant in the namespace of the one who points permits nothing."""
    assert Grants([grant([FROM], [TO])]).permit(ROUTE, SERVICE)
    assert not Grants([grant([FROM], [TO], namespace="default")]).permit(ROUTE, SERVICE)


@pytest.mark.parametrize(
    "wrong", [{"group": "example.com"}, {"kind": "GRPCRoute"}, {"kind": "httproute"}, {"namespace": "other"}]
)
def test_group_kind_and_namespace_of_from_must_equal_exactly(wrong: dict[str, str]) -> None:
    """A grant for HTTPRoutes doesn't allow GRPCRoutes."""
    assert not Grants([grant([FROM | wrong], [TO])]).permit(ROUTE, SERVICE)


@pytest.mark.parametrize("wrong", [{"group": "example.com"}, {"kind": "Secret"}, {"name": "b"}])
def test_group_kind_and_name_of_to_must_equal_exactly(wrong: dict[str, str]) -> None:
    """``name`` absent = all of the kind."""
    assert not Grants([grant([FROM], [TO | wrong])]).permit(ROUTE, SERVICE)


def test_a_name_in_to_allows_that_one_only() -> None:
    """``name`` narrows a grant to one object."""
    grants = Grants([grant([FROM], [TO | {"name": "a"}])])
    assert grants.permit(ROUTE, SERVICE)
    assert not grants.permit(ROUTE, SERVICE._replace(name="b"))


def test_one_entry_of_each_list_must_fit() -> None:
    """OR inside each list."""
    others = [FROM | {"kind": "TCPRoute"}, FROM, FROM | {"namespace": "x"}]
    assert Grants([grant(others, [TO | {"name": "b"}, TO])]).permit(ROUTE, SERVICE)


def test_several_grants_add_up_but_never_half_of_one_and_half_of_another() -> None:
    """Each grant stands by itself."""
    from_fits, to_fits = grant([FROM], [TO | {"name": "b"}]), grant([FROM | {"namespace": "x"}], [TO])
    assert not Grants([from_fits, to_fits]).permit(ROUTE, SERVICE)
    assert Grants([from_fits, to_fits, grant([FROM], [TO])]).permit(ROUTE, SERVICE)
