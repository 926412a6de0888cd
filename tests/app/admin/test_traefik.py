"""Traefik's API, held against a list of its shapes in both directions."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from app.admin.api.configuration import Configurations
from app.admin.source import Source
from tests.app.admin.running import Asked, running
from tests.helpers.manifests import (
    backend,
    gateway_object,
    http_listener,
    https_listener,
    pair,
    replace,
    route,
    secret,
    service,
    write,
)

TRAEFIK = yaml.safe_load(Path(__file__).with_name("traefik_shapes.yaml").read_text())
SHAPES: dict[str, Any] = TRAEFIK["shapes"]
OURS: dict[str, Any] = TRAEFIK["ours"]

_WORDS: dict[str, Any] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "time": lambda value: datetime.fromisoformat(value).tzinfo is not None,
    "duration": lambda value: re.fullmatch(r"[0-9.]+(ns|us|ms|s|m|h)", value) is not None,
    "state": lambda value: value in ("enabled", "warning", "disabled"),
    "validity": lambda value: value in ("enabled", "warning", "expired"),
    "up": lambda value: value in ("UP", "DOWN"),
}


def differences(value: Any, shape: Any, at: str = "", ours: Any = None) -> Iterator[str]:
    """Where ``value`` is not of ``shape``, or says what is neither in it nor in ``ours``."""
    match shape:
        case str() if shape[0].isupper():
            yield from differences(value, SHAPES[shape], at, OURS.get(shape))
        case str():
            if not _WORDS[shape](value):
                yield f"{at}: {value!r} is no {shape}"
        case [of]:
            if not isinstance(value, list):
                yield f"{at}: no list"
            else:
                for index, each in enumerate(value):
                    yield from differences(each, of, f"{at}[{index}]")
        case {"*": of}:
            for name, each in value.items():
                yield from differences(each, of, f"{at}.{name}")
        case _:
            known = {name.removesuffix("~"): of for name, of in shape.items()} | (ours or {})
            for name, each in value.items():
                if name in known:
                    yield from differences(each, known[name], f"{at}.{name}")
                else:
                    yield f"{at}: {name} is not Traefik's"
            for name in (*shape, *(ours or ())):
                if not name.endswith("~") and name not in value:
                    yield f"{at}: {name} is missing"


FILTERS: list[dict[str, Any]] = [
    {
        "type": "RequestHeaderModifier",
        "requestHeaderModifier": {"set": [{"name": "x-a", "value": "1"}], "add": [], "remove": ["x-b"]},
    },
    {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "x-a", "value": "1"}]}},
    {"type": "CORS", "cors": {"allowOrigins": ["https://a.example", "https://*.b.example"], "allowMethods": ["GET"]}},
    {
        "type": "URLRewrite",
        "urlRewrite": {"hostname": "b.example", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}},
    },
    {
        "type": "ExternalAuth",
        "externalAuth": {
            "protocol": "HTTP",
            "backendRef": {"name": "auth", "port": 80},
            "http": {"path": "/check", "allowedHeaders": ["x-a"], "allowedResponseHeaders": ["x-user"]},
            "forwardBody": {"maxSize": 100},
        },
    },
    {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "copy", "port": 80}, "percent": 10}},
    {
        "type": "RequestMirror",
        "requestMirror": {
            "backendRef": {"name": "copy", "port": 80},
            "fraction": {"numerator": 1, "denominator": 1000},
        },
    },
]


def canary() -> dict[str, Any]:
    """A route with two backends, one of which has a filter of its own, and with every filter."""
    made = route("canary", "whoami", host="www.example.com", path="/a", gateway="edge")
    (rule,) = made["spec"]["rules"]
    rule["filters"] = FILTERS
    rule["backendRefs"] = [
        {"name": "whoami", "port": 80, "weight": 3},
        {"name": "copy", "port": 80, "filters": FILTERS[:1]},
    ]
    return made


def redirect() -> dict[str, Any]:
    made = route("redirect", host="*.example.com", gateway="edge", section="web")
    (rule,) = made["spec"]["rules"]
    del rule["backendRefs"]
    rule["filters"] = [
        {
            "type": "RequestRedirect",
            "requestRedirect": {"scheme": "https", "port": 8443, "statusCode": 301},
        }
    ]
    return made


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("manifests")
    write(
        folder / "a.yaml",
        gateway_object("edge", http_listener(8000), https_listener(8443, "tls", hostname="*.example.com")),
        secret("tls", *pair("www.example.com")),
        *backend("whoami", 9001, 9002),
        *backend("copy", 9003),
        *backend("auth", 9004),
        service("empty"),
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "empty", "labels": {"kubernetes.io/service-name": "empty"}},
            "addressType": "IPv4",
            "ports": [{"port": 80}],
            "endpoints": [],
        },
        canary(),
        redirect(),
        route("lost", "nowhere", host="lost.example.com", gateway="edge", section="web"),
        route("idle", "empty", host="idle.example.com", gateway="edge", section="web"),
        *(
            route(f"many-{number}", "whoami", host=f"m{number}.example.com", gateway="edge", section="web")
            for number in range(5)
        ),
    )
    with running(folder) as asked:
        yield asked


@pytest.mark.parametrize("path", [path for path in TRAEFIK["endpoints"] if "{" not in path])
def test_every_answer_has_traefiks_shape(admin: Asked, path: str) -> None:
    value = admin.json(path)
    assert list(differences(value, TRAEFIK["endpoints"][path])) == []
    assert value or "/tcp/" in path or "/udp/" in path


@pytest.mark.parametrize("path", [path.removesuffix("/{id}") for path in TRAEFIK["endpoints"] if "{" in path])
def test_what_stands_in_a_list_can_be_asked_for_by_its_name(admin: Asked, path: str) -> None:
    for value in admin.json(path):
        assert admin.json(f"{path}/{quote(value['name'], safe='')}") == value


@pytest.mark.parametrize("path", [path.removesuffix("/{id}") for path in TRAEFIK["endpoints"] if "{" in path])
def test_what_is_not_there_is_told_as_traefik_does(admin: Asked, path: str) -> None:
    answer = admin.get(f"{path}/none%2Fsuch")
    assert answer.status == 404
    assert list(differences(json.loads(answer.body), TRAEFIK["error"])) == []
    assert json.loads(answer.body)["message"].endswith("not found: none/such")


def test_raw_data_are_what_the_lists_say_by_name(admin: Asked) -> None:
    raw = admin.json("/api/rawdata")
    for kind in ("routers", "services", "middlewares"):
        listed = {each.pop("name"): each for each in admin.json(f"/api/http/{kind}")}
        for each in listed.values():
            for field in ("provider", "type", "priorityStr"):
                each.pop(field, None)
        assert raw[kind] == listed


def test_the_overview_counts_what_the_lists_say(admin: Asked) -> None:
    overview = admin.json("/api/overview")
    for kind in ("routers", "services", "middlewares"):
        states = [each["status"] for each in admin.json(f"/api/http/{kind}")]
        counted = {"total": len(states), "warnings": states.count("warning"), "errors": states.count("disabled")}
        assert overview["http"][kind] == counted
    assert overview["certificates"]["total"] == len(admin.json("/api/certificates")) == 1
    assert overview["providers"] == ["KubernetesGateway"]


def routers_of(admin: Asked, name: str) -> list[dict[str, Any]]:
    return [each for each in admin.json("/api/http/routers") if f"-default-{name}-" in each["name"]]


def test_a_router_is_a_match_of_a_rule_on_a_listener(admin: Asked) -> None:
    plain, tls = routers_of(admin, "canary")
    assert plain["entryPoints"] == ["default/edge:8000"]
    assert tls["entryPoints"] == ["default/edge:8443"]
    assert tls["tls"] == {"options": "default"}
    assert "tls" not in plain
    assert plain["rule"] == tls["rule"] == "Host(`www.example.com`) && (Path(`/a`) || PathPrefix(`/a/`))"


def test_a_name_says_what_it_is_of_and_is_no_others(admin: Asked) -> None:
    names = [each["name"] for each in admin.json("/api/http/routers")]
    assert len(set(names)) == len(names)
    plain, _ = routers_of(admin, "canary")
    pattern = r"httproute-default-canary-gw-default-edge-ep-8000-0-[0-9a-f]{20}@kubernetesgateway"
    assert re.fullmatch(pattern, plain["name"])


def test_names_that_would_be_the_same_but_for_dashes_are_told_apart(tmp_path: Path) -> None:
    def placed(namespace: str, name: str) -> dict[str, Any]:
        made = route(name, "whoami", gateway="edge")
        made["metadata"]["namespace"] = namespace
        made["spec"]["parentRefs"][0]["namespace"] = "default"
        return made

    edge = gateway_object("edge", {**http_listener(8000), "allowedRoutes": {"namespaces": {"from": "All"}}})
    write(tmp_path / "a.yaml", edge, placed("a-b", "c"), placed("a", "b-c"))
    with running(tmp_path) as admin:
        for kind in ("routers", "services"):
            names = [each["name"] for each in admin.json(f"/api/http/{kind}")]
            assert len(names) == len(set(names)) > 1


def test_names_stay_when_a_match_is_edited(tmp_path: Path) -> None:
    names = []
    for path in ("/a", "/b"):
        write(
            tmp_path / "a.yaml", gateway_object("edge", http_listener(8000)), route("a", "b", path=path, gateway="edge")
        )
        with running(tmp_path) as admin:
            names.append([each["name"] for each in admin.json("/api/http/routers")])
    assert names[0] == names[1]


def test_weights_lead_to_services_of_one_backend_each(admin: Asked) -> None:
    plain, _ = routers_of(admin, "canary")
    services = {each["name"]: each for each in admin.json("/api/http/services")}
    mirroring = services[plain["service"]]
    assert [each["percent"] for each in mirroring["mirroring"]["mirrors"]] == [10, 1]
    weighted = services[mirroring["mirroring"]["service"]]["weighted"]["services"]
    assert [each["weight"] for each in weighted] == [3, 1]
    whoami = services[weighted[0]["name"]]
    assert whoami["type"] == "loadbalancer"
    assert whoami["loadBalancer"]["servers"] == [{"url": "http://127.0.0.1:9001"}, {"url": "http://127.0.0.1:9002"}]
    assert set(whoami["serverStatus"].values()) == {"UP"}
    assert plain["name"] in whoami["usedBy"]


def test_filters_are_middlewares_without_the_values_of_fields(admin: Asked) -> None:
    plain, _ = routers_of(admin, "canary")
    middlewares = {each["name"]: each for each in admin.json("/api/http/middlewares")}
    first, second, cors, rewrite, auth = (middlewares[name] for name in plain["middlewares"])
    assert first["requestHeaderModifier"] == {"set": {"x-a": "REDACTED"}, "remove": ["x-b"]}
    assert second["type"] == "responseheadermodifier"
    assert cors["headers"]["accessControlAllowOriginListRegex"] == ["^https://.*\\.b\\.example$"]
    assert rewrite["URLRewrite"] == {"hostname": "b.example", "path": "/b", "pathPrefix": "/a"}
    assert auth["forwardAuth"]["address"] == "http://default/auth:80/check"


def test_a_backends_filter_is_its_services(admin: Asked) -> None:
    (own,) = [each for each in admin.json("/api/http/services") if "middlewares" in each]
    assert "svc-default-copy" in own["name"]
    assert admin.json(f"/api/http/middlewares/{quote(own['middlewares'][0])}")["type"] == "requestheadermodifier"


def test_a_redirect_is_a_middleware_before_a_service_of_nobody(admin: Asked) -> None:
    (found,) = routers_of(admin, "redirect")
    assert found["rule"] == "HostRegexp(`^[a-z0-9-\\.]+\\.example\\.com$`) && PathPrefix(`/`)"
    configured = admin.json(f"/api/http/middlewares/{quote(found['middlewares'][0])}")
    assert configured["requestRedirect"] == {"scheme": "https", "port": "8443", "statusCode": 301}
    assert admin.json(f"/api/http/services/{quote(found['service'])}")["weighted"] == {}


def test_what_answers_errors_alone_is_disabled_and_says_why(admin: Asked) -> None:
    (lost,) = routers_of(admin, "lost")
    assert lost["status"] == "disabled"
    assert "nowhere" in lost["error"][0]
    (idle,) = routers_of(admin, "idle")
    assert (idle["status"], idle["error"]) == ("warning", ["no backend has a ready endpoint"])


def test_a_certificate_says_what_stands_in_it_and_where_it_is_served(admin: Asked) -> None:
    (found,) = admin.json("/api/certificates")
    assert found["sans"] == ["www.example.com"]
    assert found["status"] == "enabled"
    assert found["secrets"] == ["default/tls"]
    assert found["listeners"] == ["default/edge/websecure"]
    assert found["keyType"] == "ECDSA"
    assert found["signatureAlgorithm"] == "ECDSA-SHA256"
    assert found["name"] == found["certFingerprint"]


# Pages


def names(admin: Asked, target: str) -> list[str]:
    return [each["name"] for each in admin.json(target)]


def test_pages_together_are_the_whole_list(admin: Asked) -> None:
    everything = names(admin, "/api/http/routers")
    page, found = "1", []
    while True:
        answer = admin.get(f"/api/http/routers?page={page}&per_page=4")
        found += [each["name"] for each in json.loads(answer.body)]
        (page,) = (value.decode() for value in answer.values(b"x-next-page"))
        if page == "1":
            break
    assert found == everything


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("page=0", "invalid request: page: 0"),
        ("page=-2", "invalid request: page: -2"),
        ("page=abc", "invalid request: page: 0"),
        ("per_page=0", "invalid request: per_page: 0"),
        ("page=99&per_page=7", "invalid request: page: 99, per_page: 7"),
        ("per_page=10001", "invalid request: per_page: 10001: at most 10000"),
        ("page=99999999999999999999", "invalid request: page: 0"),
        ("page=%D9%A3", "invalid request: page: 0"),
    ],
)
@pytest.mark.parametrize("path", ["/api/http/routers", "/api/http/services", "/api/entrypoints", "/api/certificates"])
def test_a_page_that_cannot_be_is_refused_as_traefik_does(admin: Asked, path: str, query: str, message: str) -> None:
    answer = admin.get(f"{path}?{query}")
    assert (answer.status, json.loads(answer.body)) == (400, {"message": message})


def test_the_first_page_of_nothing_is_empty(admin: Asked) -> None:
    assert admin.json("/api/http/routers?search=no-such-thing") == []
    assert admin.json("/api/tcp/routers?page=1") == []


# Search and order


def test_a_search_looks_into_names_and_rules_whatever_the_case(admin: Asked) -> None:
    found = admin.json("/api/http/routers?search=M3.EXAMPLE")
    assert [each["rule"] for each in found] == ["Host(`m3.example.com`) && PathPrefix(`/`)"]
    assert len(admin.json("/api/http/routers?search=many-")) == 5


def test_a_status_keeps_what_has_it(admin: Asked) -> None:
    assert {each["status"] for each in admin.json("/api/http/routers?status=Disabled")} == {"disabled"}
    assert [each["commonName"] for each in admin.json("/api/certificates?status=expired")] == []


def test_routers_are_found_by_what_they_lead_to(admin: Asked) -> None:
    plain, tls = routers_of(admin, "canary")
    by_service = admin.json(f"/api/http/routers?serviceName={quote(plain['service'])}")
    by_middleware = admin.json(f"/api/http/routers?middlewareName={quote(plain['middlewares'][0])}")
    assert by_service == by_middleware == [plain, tls]
    assert admin.json("/api/http/routers?serviceName=none@kubernetesgateway") == []


@pytest.mark.parametrize(("path", "key"), [(path, key) for path, keys in TRAEFIK["sorted"].items() for key in keys])
def test_every_order_of_traefiks_is_one_forwards_and_backwards(admin: Asked, path: str, key: str) -> None:
    forwards = names(admin, f"{path}?sortBy={key}")
    assert sorted(forwards) == sorted(names(admin, path))
    assert names(admin, f"{path}?sortBy={key}&direction=desc") == forwards[::-1]


def test_the_order_is_that_of_the_key_and_then_of_the_name(admin: Asked) -> None:
    found = admin.json("/api/http/routers?sortBy=priority")
    assert [(each["priority"], each["name"]) for each in found] == sorted(
        (each["priority"], each["name"]) for each in found
    )
    found = admin.json("/api/http/services?sortBy=servers&direction=desc")
    assert len(found[0]["loadBalancer"]["servers"]) == 2


# Changes


def test_a_change_is_in_the_next_answer(tmp_path: Path) -> None:
    write(
        tmp_path / "a.yaml",
        gateway_object("edge", http_listener(8000)),
        route("a", "b", host="a.example", gateway="edge"),
    )
    with running(tmp_path) as admin:
        assert [each["rule"] for each in admin.json("/api/http/routers")] == ["Host(`a.example`) && PathPrefix(`/`)"]
        before = admin.state
        replace(tmp_path / "a.yaml", (tmp_path / "a.yaml").read_text().replace("a.example", "c.example"))
        while admin.state is before:
            admin.get("/ping")
        assert [each["rule"] for each in admin.json("/api/http/routers")] == ["Host(`c.example`) && PathPrefix(`/`)"]


def test_a_list_that_is_sent_in_slices_is_one_list(tmp_path: Path) -> None:
    many = [route(f"r{number}", "b", host=f"h{number}.example", gateway="edge") for number in range(200)]
    write(tmp_path / "a.yaml", gateway_object("edge", http_listener(8000)), *many)
    with running(tmp_path) as admin:
        assert len(admin.json("/api/http/routers?per_page=1000")) == 200
        assert len(admin.json("/api/rawdata")["routers"]) == 200


def test_what_nobody_asks_for_any_more_is_forgotten_and_made_again(tmp_path: Path) -> None:
    async def main(source: Source) -> None:
        configurations = Configurations(source)
        made = await configurations.present()
        assert await configurations.present() is made
        configurations._forget()
        assert (await configurations.present()).routers.keys() == made.routers.keys() != set()
        assert await configurations.present() is not made

    write(tmp_path / "a.yaml", gateway_object("edge", http_listener(8000)), route("a", "b", gateway="edge"))
    with running(tmp_path) as admin:
        admin.run(main(admin.source))
