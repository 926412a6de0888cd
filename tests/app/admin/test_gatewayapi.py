"""What Traefik's API lacks: Gateways, listeners and routes with every condition."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.app.admin.running import Asked, running
from tests.helpers.manifests import backend, gateway_object, http_listener, route, write


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("manifests")
    only = {**http_listener(8001, "only"), "hostname": "only.example.com"}
    write(
        folder / "a.yaml",
        gateway_object("edge", http_listener(8000), only),
        gateway_object("inner", http_listener(8002)),
        *backend("whoami", 9001),
        route("shop", "whoami", host="shop.example.com", gateway="edge", section="web"),
        route("lost", "nowhere", host="lost.example.com", gateway="edge", section="web"),
        route("refused", "whoami", host="other.example.com", gateway="edge", section="only"),
        route("inner", "whoami", host="inner.example.com", gateway="inner"),
    )
    with running(folder) as asked:
        yield asked


def conditions(of: dict[str, Any]) -> dict[str, bool]:
    return {each["type"]: each["status"] for each in of["conditions"]}


def test_all_gateways_are_told_with_their_listeners(admin: Asked) -> None:
    edge, inner = admin.json("/api/gateways")
    assert (edge["name"], inner["name"]) == ("default/edge", "default/inner")
    web, only = edge["listeners"]
    assert (web["name"], web["port"], web["attachedRoutes"]) == ("web", 8000, 2)
    assert (only["name"], only["hostname"], only["attachedRoutes"]) == ("only", "only.example.com", 0)
    assert conditions(edge)["Accepted"]
    assert conditions(web)["Accepted"]
    assert "routes" not in web


def test_one_gateway_is_told_with_its_routes_and_why_one_is_refused(admin: Asked) -> None:
    edge = admin.json("/api/gateways/default/edge")
    told = {each["id"]: each["refused"] for listener in edge["listeners"] for each in listener["routes"]}
    told |= {each["id"]: each["refused"] for each in edge["refused"]}
    assert told.keys() == {"default/shop", "default/lost", "default/refused"}
    assert told["default/shop"] == ""
    assert "NoMatchingListenerHostname" in told["default/refused"]


def test_routes_are_listed_in_pages_and_searched(admin: Asked) -> None:
    assert [each["id"] for each in admin.json("/api/routes")] == [
        "default/inner",
        "default/lost",
        "default/refused",
        "default/shop",
    ]
    assert [each["id"] for each in admin.json("/api/routes?search=SHOP.example")] == ["default/shop"]
    assert [each["id"] for each in admin.json("/api/routes?gateway=default/inner")] == ["default/inner"]
    answer = admin.get("/api/routes?per_page=3")
    assert (len(json.loads(answer.body)), answer.values(b"x-next-page")) == (3, [b"2"])
    assert admin.get("/api/routes?page=x").status == 400


def test_a_route_that_is_served_is_enabled_and_one_that_is_not_says_why(admin: Asked) -> None:
    found = {each["name"].removeprefix("default/"): each for each in admin.json("/api/routes")}
    assert (found["shop"]["health"], found["shop"]["problem"]) == ("enabled", "")
    assert found["lost"]["health"] != "enabled"
    assert found["lost"]["problem"]


def test_one_route_is_told_with_its_parents_rules_and_endpoints(admin: Asked) -> None:
    shop = admin.json("/api/routes/default/shop")
    (parent,) = shop["parents"]
    assert conditions(parent) == {"Accepted": True, "ResolvedRefs": True}
    (rule,) = shop["rules"]
    assert rule["name"] == "default/shop/0"
    (target,) = rule["backends"]
    assert (target["weight"], target["share"]) == (1, 1.0)
    refused = admin.json("/api/routes/default/refused")
    assert not conditions(refused["parents"][0])["Accepted"]


@pytest.mark.parametrize("path", ["/api/gateways/default/none", "/api/routes/default/none", "/api/routes/none"])
def test_what_is_not_there_is_told(admin: Asked, path: str) -> None:
    answer = admin.get(path)
    assert answer.status == 404
    assert "not found" in json.loads(answer.body)["message"]
