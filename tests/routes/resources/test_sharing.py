"""Objects in less memory, and otherwise the same."""

from typing import Any

import pytest
from pydantic import ValidationError

from routes.resources.http import HTTPRoute
from routes.resources.meta import GATEWAY_GROUP
from routes.resources.scheme import parse
from routes.resources.sharing import shared


def raw(name: str, path: str) -> dict[str, Any]:
    rules = [{"matches": [{"path": {"value": path}}], "backendRefs": [{"name": "one", "port": 80}]}]
    return {
        "apiVersion": f"{GATEWAY_GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "default", "labels": {"a": "b"}},
        "spec": {"parentRefs": [{"name": "gateway"}], "hostnames": ["a.com"], "rules": rules},
    }


def read(name: str, path: str) -> HTTPRoute:
    found = parse(raw(name, path))
    assert isinstance(found, HTTPRoute)
    return found


def test_equal_parts_of_two_objects_are_one() -> None:
    one, other = read("one", "/a"), read("other", "/b")
    assert one.spec.parent_refs is other.spec.parent_refs
    assert one.spec.rules[0].backend_refs is other.spec.rules[0].backend_refs
    assert one.spec.rules[0].matches is read("third", "/a").spec.rules[0].matches
    assert one.spec.rules[0].matches != other.spec.rules[0].matches


def test_an_object_with_shared_parts_is_equal_to_one_without_and_behaves_as_it() -> None:
    plain = HTTPRoute.model_validate(raw("one", "/a"))
    lean = shared(plain)
    assert lean == plain
    assert lean.model_dump() == plain.model_dump()
    assert lean.model_dump(by_alias=True, exclude_defaults=True) == plain.model_dump(
        by_alias=True, exclude_defaults=True
    )
    assert hash(lean.spec) == hash(plain.spec)
    assert lean.model_copy(update={"spec": plain.spec}) == plain
    assert repr(lean) == repr(plain)
    with pytest.raises(ValidationError):
        setattr(lean, "spec", plain.spec)  # noqa: B010


def test_who_set_which_field_is_not_kept() -> None:
    """managedFields is as large as the object, and nothing here reads it."""
    manifest = raw("one", "/a")
    manifest["metadata"]["managedFields"] = [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]
    found = parse(manifest)
    assert found is not None
    assert found.metadata.managed_fields is None
