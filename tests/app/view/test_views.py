"""What pages and API are made of: plain values of what is served, and nothing secret in them."""

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trustme

from app.admin.source import Source
from app.view.certificates import certificates
from app.view.gateways import gateway, gateways
from app.view.model import Counts, Health
from app.view.overview import overview
from app.view.routes import route, summaries
from tests.app.admin.running import Asked, running

T = TypeVar("T")

CLASS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: moongate}
spec: {controllerName: moongate.dev/gateway}
---
"""
GATEWAY = (
    CLASS
    + """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: infra}
spec:
  gatewayClassName: moongate
  listeners:
  - {name: web, protocol: HTTP, port: 8000, allowedRoutes: {namespaces: {from: All}}}
  - {name: own, protocol: HTTP, port: 8001}
---
apiVersion: v1
kind: Service
metadata: {name: whoami, namespace: default}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: whoami, namespace: default, labels: {kubernetes.io/service-name: whoami}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}]
---
"""
)


def http_route(name: str, rules: str, *, section: str = "web", hosts: str = "[a.example]") -> str:
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default}}
spec:
  parentRefs: [{{name: edge, namespace: infra, sectionName: {section}}}]
  hostnames: {hosts}
  rules: {rules}
---
"""


CANARY = "[{backendRefs: [{name: whoami, port: 80, weight: 3}, {name: absent, port: 80, weight: 1}]}]"
PLAIN = "[{backendRefs: [{name: whoami, port: 80}]}]"


def shown(folder: Path, manifests: str, look: Callable[[Source], T]) -> T:
    """What ``look`` sees of a run that serves ``manifests``."""
    folder.joinpath("all.yaml").write_text(manifests)
    with running(folder) as asked:
        return look(asked.source)


def test_a_gateway_shows_its_listeners_and_the_routes_on_them(tmp_path: Path) -> None:
    found = shown(tmp_path, GATEWAY + http_route("one", PLAIN), gateways)
    assert [each.name for each in found] == ["infra/edge"]
    web, own = found[0].listeners
    assert (web.name, web.port, web.port_name, web.attached_routes) == ("web", 8000, "infra/edge:8000", 1)
    assert [(each.name, each.hostnames) for each in web.routes] == [("default/one", ("a.example",))]
    assert own.routes == ()
    assert {each.type for each in web.conditions} >= {"Accepted", "Programmed", "ResolvedRefs"}


def test_a_gateway_shows_the_routes_that_it_refused_and_why(tmp_path: Path) -> None:
    found = shown(tmp_path, GATEWAY + http_route("one", PLAIN, section="own"), lambda each: gateway(each, "infra/edge"))
    assert found is not None
    assert [(each.name, each.refused.partition(":")[0]) for each in found.refused] == [
        ("default/one", "NotAllowedByListeners")
    ]


def test_a_gateway_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert shown(tmp_path, GATEWAY, lambda each: gateway(each, "infra/other")) is None
    assert shown(tmp_path, GATEWAY, lambda each: gateway(each, "nonsense")) is None


@pytest.mark.parametrize(
    ("text", "health"),
    [
        (http_route("one", PLAIN), Health.ENABLED),
        (http_route("one", CANARY), Health.WARNING),
        (http_route("one", "[{backendRefs: [{name: absent, port: 80}]}]"), Health.DISABLED),
        (http_route("one", PLAIN, section="own"), Health.DISABLED),
    ],
)
def test_a_route_does_as_well_as_what_is_served_of_it(tmp_path: Path, text: str, health: Health) -> None:
    (found,) = shown(tmp_path, GATEWAY + text, summaries)
    assert found.health is health
    assert bool(found.problem) == (health is not Health.ENABLED)


def test_a_summary_is_found_by_name_hostname_and_backend(tmp_path: Path) -> None:
    (found,) = shown(tmp_path, GATEWAY + http_route("One".lower(), PLAIN, hosts="[A.example]".lower()), summaries)
    assert all(part in found.text for part in ("default/one", "a.example", "default/whoami:80"))


def test_while_nothing_changes_summaries_are_the_same_object(tmp_path: Path) -> None:
    assert shown(tmp_path, GATEWAY + http_route("one", PLAIN), lambda each: summaries(each) is summaries(each))


def test_a_change_of_one_route_leaves_the_others_summaries_as_they_are(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tmp_path.joinpath(f"{name}.yaml").write_text(http_route(name, PLAIN))
    tmp_path.joinpath("all.yaml").write_text(GATEWAY)
    with running(tmp_path) as asked:
        before = {each.name: each for each in summaries(asked.source)}
        change(asked, tmp_path / "two.yaml", http_route("two", CANARY))
        after = {each.name: each for each in summaries(asked.source)}
    assert after["default/one"] is before["default/one"]
    assert after["default/two"].health is Health.WARNING


def test_a_route_shows_shares_endpoints_and_what_is_answered_500(tmp_path: Path) -> None:
    found = shown(tmp_path, GATEWAY + http_route("one", CANARY), lambda each: route(each, "default/one"))
    assert found is not None
    (rule,) = found.rules
    assert rule.name == "default/one/0"
    good, bad = rule.backends
    assert (good.name, good.share, [each.address for each in good.endpoints]) == (
        "default/whoami:80", 0.75, ["10.0.0.1:8080", "10.0.0.2:8080"],
    )  # fmt: skip
    assert {each.state for each in good.endpoints} == {"healthy"}
    assert bad.share == 0.25
    assert "absent" in bad.invalid
    (parent,) = found.parents
    assert (parent.gateway_id, parent.section, parent.listeners) == ("infra/edge", "web", ("web",))
    assert [each.reason for each in parent.conditions if not each.good] == ["BackendNotFound"]


def test_matches_are_told_in_words_and_secret_values_are_not(tmp_path: Path) -> None:
    rules = """
  - matches:
    - path: {type: Exact, value: /a}
      method: GET
      headers: [{name: X-A, value: b}, {name: Authorization, value: Bearer hidden}]
      queryParams: [{name: q, type: RegularExpression, value: "c+"}]
    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Authorization, value: Bearer hidden}]}}
    backendRefs: [{name: whoami, port: 80}]
"""
    found = shown(tmp_path, GATEWAY + http_route("one", rules), lambda each: route(each, "default/one"))
    assert found is not None
    (match,) = found.rules[0].matches
    assert match.path == "Exact /a"
    assert match.predicates[:2] == ("method GET", "header X-A: b")
    assert match.predicates[3] == "query q=~ c+"
    assert found.rules[0].filters == ("RequestHeaderModifier set: Authorization",)
    assert "hidden" not in repr(found)


def test_certificates_tell_names_times_and_listeners_and_no_key(tmp_path: Path) -> None:
    pair = trustme.CA().issue_cert("a.example", common_name="a")
    certificate = pair.cert_chain_pems[0].bytes()
    key = pair.private_key_pem.bytes()
    secret = f"""
apiVersion: v1
kind: Secret
metadata: {{name: cert, namespace: infra}}
type: kubernetes.io/tls
data: {{tls.crt: {base64.b64encode(certificate).decode()}, tls.key: {base64.b64encode(key).decode()}}}
---
"""
    listener = "  - {name: tls, protocol: HTTPS, port: 8443, tls: {certificateRefs: [{name: cert}]}}\n---\n"
    text = GATEWAY.replace("---\n", listener, 2).replace(listener, "---\n", 1) + secret
    (found,) = shown(tmp_path, text, certificates)
    assert found.names == ("a.example",)
    assert found.secret == "infra/cert"
    assert found.listeners == ("infra/edge/tls",)
    assert found.not_before < found.not_after
    body = key.decode().splitlines()[1]
    assert body not in repr(found)


def test_the_overview_counts_by_state(tmp_path: Path) -> None:
    text = GATEWAY + http_route("one", PLAIN) + http_route("two", CANARY) + http_route("three", PLAIN, section="own")
    found = shown(tmp_path, text, overview)
    assert found.providers == ("File",)
    assert found.routes == Counts(3, 1, 1)
    assert found.gateways.total == 1
    assert found.services == Counts(2, 0, 1)
    assert any("absent" in each for each in found.problems)


def change(asked: Asked, file: Path, text: str) -> None:
    """Write a manifest, and go on when it is served."""
    state = asked.state
    reconciler = asked.runtime._reconciler
    assert reconciler is not None
    file.write_text(text)
    asked.run(until(lambda: asked.state is not state))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)
