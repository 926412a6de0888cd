"""What holds for every route of the admin port, of other modules too: nothing writes, and nothing tells a secret."""

import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from starlette.routing import BaseRoute, Mount, Route

from app.admin.application import Admin
from tests.app.admin.running import Asked, running
from tests.helpers.manifests import backend, gateway_object, http_listener, https_listener, pair, route, secret, write

#: In everything that is secret.
MARK = "Wt7Secret"
CERTIFICATE, KEY = pair("www.example.com")
#: Lines of the private key itself, in PEM and once more in base64, as manifests have it.
KEY_LINES = [line for line in KEY.decode().splitlines() if not line.startswith("-----")]
SECRETS = [
    MARK,
    base64.b64encode(MARK.encode()).decode().rstrip("=")[:10],
    *KEY_LINES,
    base64.b64encode(KEY).decode()[60:120],
]


def header(name: str) -> dict[str, str]:
    return {"name": name, "value": f"Bearer {MARK}-{name}"}


def telling() -> dict[str, Any]:
    """A route with a secret wherever one may be written."""
    made = route("telling", "whoami", host="www.example.com", path="/a", gateway="edge")
    (rule,) = made["spec"]["rules"]
    made["metadata"]["annotations"] = {"example.com/password": f"{MARK}-annotation"}
    rule["matches"].append(
        {
            "path": {"value": "/b"},
            "headers": [header("Authorization"), header("X-Api-Key"), header("Cookie")],
            "queryParams": [{"name": "token", "value": f"{MARK}-token"}],
        }
    )
    rule["filters"] = [
        {
            "type": "RequestHeaderModifier",
            "requestHeaderModifier": {"set": [header("Authorization")], "add": [header("x-a")]},
        },
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [header("Set-Cookie")]}},
    ]
    rule["backendRefs"][0]["filters"] = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [header("Proxy-Token")]}}
    ]
    return made


def broken() -> list[dict[str, Any]]:
    """Objects with a fault in a secret value, or near one: their problems must not repeat it."""
    bad = route("bad", "whoami", host="www.example.com", path="/bad", gateway="edge")
    bad["spec"]["rules"][0]["filters"] = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-a", "value": f"{MARK}\n"}]}}
    ]
    long = route("long", "whoami", host="www.example.com", path="/long", gateway="edge")
    long["spec"]["rules"][0]["filters"] = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-a", "value": MARK * 1000}]}}
    ]
    return [
        secret("not-pem", MARK.encode(), MARK.encode()),
        secret("not-its-key", CERTIFICATE, pair("other.example.com")[1]),
        {**secret("not-base64", b"", b""), "data": {"tls.crt": f"{MARK}!", "tls.key": f"{MARK}!"}},
        bad,
        long,
    ]


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("manifests")
    write(
        folder / "a.yaml",
        gateway_object(
            "edge",
            http_listener(8000),
            https_listener(8443, "tls", hostname="www.example.com"),
            https_listener(8444, "not-pem", name="second"),
            https_listener(8445, "not-its-key", name="third"),
            https_listener(8446, "not-base64", name="fourth"),
        ),
        secret("tls", CERTIFICATE, KEY),
        *backend("whoami", 9001),
        telling(),
    )
    for number, each in enumerate(broken()):
        write(folder / f"broken-{number}.yaml", each)
    with running(folder, session_key=f"{MARK}-session-key") as asked:
        yield asked


def paths_of(app: Admin) -> list[str]:
    def walked(routes: list[BaseRoute], prefix: str) -> Iterator[str]:
        for each in routes:
            if isinstance(each, Mount):
                yield f"{prefix}{each.path}/"
                yield from walked(list(each.routes or ()), prefix + each.path)
            elif isinstance(each, Route):
                yield prefix + each.path

    return list(dict.fromkeys(walked(list(app.routes), "")))


def targets(admin: Asked) -> Iterator[str]:
    """Every path of the application, its parameters filled with all that lists name, and with what is not there."""
    lists = (
        "/api/http/routers",
        "/api/http/services",
        "/api/http/middlewares",
        "/api/entrypoints",
        "/api/certificates",
    )
    names = {path: [each["name"] for each in admin.json(path)] for path in lists}
    objects = ["default/edge", "default/telling", "default/bad"]
    for path in paths_of(admin.app):
        if "{" not in path:
            yield path
            continue
        base = path.partition("/{")[0]
        for name in (*names.get(base, objects), "none"):
            yield f"{base}/{quote(name)}"
    yield "/api/explain?url=http://www.example.com:8000/a"
    yield "/api/explain?url=http://www.example.com:8000/b&header=Authorization:%20x"
    yield "/api/http/routers?search=example&sortBy=rule"


def streams(target: str) -> bool:
    """Whether an answer has no end of its own: it follows events."""
    return target.endswith("/events") and target.startswith("/dashboard/")


def test_the_manifests_hold_secrets_that_could_be_told(admin: Asked) -> None:
    assert admin.state is not None
    assert MARK in repr(admin.state.graph.routes)
    assert len(admin.json("/api/http/routers")) > 1


def test_no_answer_tells_a_secret(admin: Asked) -> None:
    seen = 0
    for target in targets(admin):
        if streams(target):
            continue
        answer = admin.get(target)
        seen += answer.status == 200
        told = answer.body.decode("utf-8", "replace") + repr(answer.fields)
        for each in SECRETS:
            assert each not in told, f"{target} tells {each}"
    assert seen > 20


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"])
def test_no_route_writes(admin: Asked, method: str) -> None:
    before, count = admin.state, admin.source.journal.count
    table = admin.runtime.table
    for path in paths_of(admin.app):
        answer = admin.get(path.replace("{", "").replace("}", ""), method)
        assert (answer.status, answer.values(b"allow")) == (405, [b"GET, HEAD"])
    assert admin.state is before
    assert admin.runtime.table is table
    assert admin.source.journal.count == count


def test_every_route_is_for_reading_alone(admin: Asked) -> None:
    for each in admin.app.routes:
        assert not isinstance(each, Route) or each.methods == {"GET", "HEAD"}


@pytest.mark.parametrize("fields", [{"host": "evil.example"}, {"origin": "http://evil.example"}])
def test_every_route_refuses_strangers(admin: Asked, fields: dict[str, str]) -> None:
    for path in paths_of(admin.app):
        assert admin.get(path.replace("{", "").replace("}", ""), **fields).status in (403, 421)
