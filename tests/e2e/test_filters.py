"""Rules with filters, from a client's socket to the backend's."""

import importlib.util
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest
import yaml
from starlette.types import Receive, Scope, Send

from app import Gateway, Settings
from tests.helpers.manifests import backend, route, write
from tests.helpers.upstreams import serving
from tests.helpers.waiting import wait_until

EXAMPLE = Path(__file__).parents[2] / "examples" / "ratelimit"


class Echo:
    """Answers with the request that it got, and keeps it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        fields = [[name.decode(), value.decode()] for name, value in scope["headers"]]
        got = {
            "backend": self.name,
            "method": scope["method"],
            "path": scope["raw_path"].decode(),
            "query": scope["query_string"].decode(),
            "fields": fields,
            "body": body.decode(),
        }
        self.requests.append(got)
        given = dict(fields)
        status = int(given.get("x-answer", 200))
        headers = [(b"content-type", b"application/json"), (b"x-a", b"theirs"), (b"x-user", b"alice")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(got).encode()})


def ratelimit() -> ModuleType:
    """The module of the example."""
    spec = importlib.util.spec_from_file_location("ratelimit_example", EXAMPLE / "ratelimit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def filtered(path: str, *filters: dict[str, Any]) -> dict[str, Any]:
    """A route below ``path`` through ``filters``, and to the backend where they do not answer themselves."""
    backends = [] if filters[0]["type"] == "RequestRedirect" else ["main"]
    made = route(path.strip("/"), *backends, host="", path=path)
    del made["spec"]["hostnames"]
    made["spec"]["rules"][0]["filters"] = list(filters)
    return made


HEADERS = {"set": [{"name": "X-Set", "value": "ours"}], "add": [{"name": "X-Add", "value": "b"}], "remove": ["X-Gone"]}
MIRROR = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "copy", "port": 80}}}
ROUTES = (
    filtered("/headers", {"type": "RequestHeaderModifier", "requestHeaderModifier": HEADERS}),
    filtered(
        "/answer",
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "X-A", "value": "ours"}]}},
    ),
    filtered(
        "/redirect",
        {
            "type": "RequestRedirect",
            "requestRedirect": {"scheme": "https", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/to"}},
        },
    ),
    filtered(
        "/rewrite",
        {
            "type": "URLRewrite",
            "urlRewrite": {
                "hostname": "one.example.org",
                "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"},
            },
        },
    ),
    filtered("/mirror", {"type": "RequestHeaderModifier", "requestHeaderModifier": HEADERS}, MIRROR),
    filtered("/cors", {"type": "CORS", "cors": {"allowOrigins": ["https://*.bar.com"], "allowMethods": ["PUT"]}}),
    filtered(
        "/auth",
        {
            "type": "ExternalAuth",
            "externalAuth": {
                "protocol": "HTTP",
                "backendRef": {"name": "auth", "port": 80},
                "http": {"path": "/check", "allowedHeaders": ["X-Answer"], "allowedResponseHeaders": ["X-User"]},
                "forwardBody": {"maxSize": 10},
            },
        },
    ),
    filtered(
        "/framing",
        {
            "type": "RequestHeaderModifier",
            "requestHeaderModifier": {"set": [{"name": "Content-Length", "value": "3"}]},
        },
    ),
    filtered(
        "/broken",
        {"type": "ExtensionRef", "extensionRef": {"group": "example.com", "kind": "RateLimit", "name": "broken"}},
    ),
)


@pytest.fixture(scope="module")
def echoes() -> dict[str, Echo]:
    return {name: Echo(name) for name in ("main", "copy", "auth")}


@pytest.fixture(scope="module")
def client(echoes: dict[str, Echo], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    folder = tmp_path_factory.mktemp("manifests")
    example = list(yaml.safe_load_all((EXAMPLE / "manifests.yaml").read_text()))
    limited = example[1]
    limited["spec"]["rules"][0]["matches"] = [{"path": {"value": "/limited"}}]
    limited["spec"]["rules"][0]["backendRefs"][0]["name"] = "main"
    broken = {**example[0], "metadata": {"name": "broken"}, "spec": {"requestsPerSecond": 0}}
    with ExitStack() as stack:
        services = []
        for name, echo in echoes.items():
            services += backend(name, stack.enter_context(serving(echo)))
        write(folder / "all.yaml", *services, *ROUTES, *example, broken)
        filters = {("example.com", "RateLimit"): ratelimit().RateLimit}
        gateway = Gateway(Settings(manifests=(folder,)), filters=filters)
        port = stack.enter_context(serving(gateway, http="app.listeners.http:GatewayProtocol", lifespan="on"))
        yield stack.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers={"host": "example.org"}))


def values(got: dict[str, Any], name: str) -> list[str]:
    return [value for field, value in got["fields"] if field == name]


def test_a_requests_fields_are_set_added_and_removed(client: httpx2.Client) -> None:
    asked = {"x-set": "a", "x-add": "a", "x-gone": "a", "connection": "x-set, x-add"}
    got = client.get("/headers", headers=asked).json()
    assert (values(got, "x-set"), values(got, "x-add"), values(got, "x-gone")) == (["ours"], ["b"], [])


def test_an_answers_fields_are_set(client: httpx2.Client) -> None:
    assert client.get("/answer").headers["x-a"] == "ours"


def test_a_redirect_leads_elsewhere(client: httpx2.Client) -> None:
    answer = client.get("/redirect/a%2Fb?c=d")
    assert (answer.status_code, answer.headers["location"]) == (302, "https://example.org/to/a%2Fb?c=d")


def test_a_rewrite_changes_what_the_backend_sees(client: httpx2.Client) -> None:
    got = client.get("/%72ewrite/a%2Fb//?c=d").json()
    assert (got["path"], got["query"], values(got, "host")) == ("/a%2Fb//", "c=d", ["one.example.org"])
    assert values(got, "x-forwarded-host") == ["example.org"]
    assert client.get("/rewrite").json()["path"] == "/"


@pytest.mark.parametrize("body", [None, b"x" * 300_000])
def test_a_mirror_gets_what_the_backend_gets(
    client: httpx2.Client, echoes: dict[str, Echo], body: bytes | None
) -> None:
    copies = echoes["copy"].requests
    copies.clear()
    answer = client.request("POST" if body else "GET", "/mirror/x?y=z", content=body)
    got = answer.json()
    assert got["backend"] == "main"
    assert got["body"] == (body or b"").decode()
    wait_until(lambda: copies, what="the mirror has its copy")
    assert {**copies[0], "backend": "main"} == got


def test_a_preflight_is_answered_and_an_answer_may_be_read(client: httpx2.Client, echoes: dict[str, Echo]) -> None:
    before = len(echoes["main"].requests)
    asked = {"origin": "https://foo.bar.com", "access-control-request-method": "PUT"}
    answer = client.options("/cors", headers=asked)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "https://foo.bar.com"
    assert answer.headers["access-control-allow-methods"] == "PUT"
    assert len(echoes["main"].requests) == before
    answer = client.get("/cors", headers={"origin": "https://foo.bar.com"})
    assert answer.headers["access-control-allow-origin"] == "https://foo.bar.com"
    assert answer.headers["vary"] == "origin"


def test_who_is_authorized_passes_with_what_the_server_says(client: httpx2.Client, echoes: dict[str, Echo]) -> None:
    answer = client.post("/auth/x?y=z", content=b"0123456789", headers={"x-user": "mallory"})
    got = answer.json()
    assert (got["backend"], got["body"], values(got, "x-user")) == ("main", "0123456789", ["alice"])
    asked = echoes["auth"].requests[-1]
    assert (asked["method"], asked["path"], asked["query"]) == ("POST", "/check/auth/x", "y=z")
    assert (asked["body"], values(asked, "content-length")) == ("0123456789", ["10"])


def test_who_is_not_gets_the_servers_answer(client: httpx2.Client) -> None:
    answer = client.get("/auth", headers={"x-answer": "401"})
    assert (answer.status_code, answer.json()["backend"]) == (401, "auth")
    assert client.post("/auth", content=b"0123456789a").status_code == 413


def test_the_rate_limit_of_the_examples_counts_by_key(client: httpx2.Client) -> None:
    def statuses(key: str) -> list[int]:
        return [client.get("/limited", headers={"x-api-key": key}).status_code for _ in range(5)]

    assert statuses("a") == [200] * 5
    answer = client.get("/limited", headers={"x-api-key": "a"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert statuses("b") == [200] * 5


def test_a_filter_that_cannot_be_made_costs_its_own_rule_alone(client: httpx2.Client) -> None:
    assert client.get("/broken").status_code == 500
    assert client.get("/answer").status_code == 200


def test_a_filter_that_would_break_the_framing_costs_its_own_rule_alone(client: httpx2.Client) -> None:
    assert client.post("/framing", content=b"abcdef").status_code == 500
    assert client.get("/answer").status_code == 200
