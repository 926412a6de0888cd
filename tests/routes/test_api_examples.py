"""The Gateway API's own examples, from its Go module v1.7.0: all load, and those for HTTP do what their names say.

What they leave to a cluster is made by :mod:`tests.routes.examples`.
"""

import asyncio
from pathlib import Path

import pytest

from app.inspect.explain import outcomes, ports_for, read_request
from app.providers.file import FileProvider
from routes.graph.build import build_graph
from routes.graph.nodes import Options
from routes.graph.review import review
from routes.problems import Severity
from routes.resources.http import HTTPRoute
from routes.snapshot import Snapshot
from routes.table.compile import compile_table
from routes.table.features import describe_filters
from routes.table.types import Rule
from tests.helpers.gatewayapi import files
from tests.routes.examples import completed, read

STANDARD = "examples/standard/"
EXPERIMENTAL = "examples/experimental/"

#: Examples of other things, which have HTTPRoutes that no Gateway serves.
FOR_OTHERS = {
    "examples/standard/multicluster/httproute-gamma.yaml": "a mesh: its parent is a Service, not a Gateway",
}

CORS = "http-cors/httproute-"
REDIRECT = "http-redirect-rewrite/httproute-"
SITE = ("cross-namespace-routing/0-namespaces", "cross-namespace-routing/gateway",
        "cross-namespace-routing/site-route", "cross-namespace-routing/store-route")  # fmt: skip
ROUTING = ("http-routing/gateway", "http-routing/foo-httproute", "http-routing/bar-httproute")
SHOP = ("simple-http-https/gateway", "simple-http-https/foo-route", "simple-http-https/bar-route",
        "simple-http-https/tls-redirect-route")  # fmt: skip
NOT_A_SERVICE = "500: {} of group 'multicluster.x-k8s.io': a backend is a Service of the core group"
SERVICE_IMPORT = NOT_A_SERVICE.format("ServiceImport")

#: Files (below standard/ where they name no channel), a request, and what comes of it: the filters on its way, then
#: backends with their weights, or the gateway's own answer.
REQUESTS: list[tuple[tuple[str, ...], str, str]] = [
    (("basic-http",), "GET http://foo.com/bar/1", "1×my-service1"),
    (("basic-http",), "GET http://foo.com/some/thing?great=example magic:foo", "1×my-service2"),
    (("basic-http",), "GET http://foo.com/some/thing?great=example", "404"),
    (("basic-http",), "POST http://foo.com/some/thing?great=example magic:foo", "404"),
    (("basic-http",), "GET http://bar.com/bar", "404"),
    (("default-match-http",), "GET http://default-match.com/example/exact", "1×my-service-2"),
    (("default-match-http",), "GET http://default-match.com/example/exact/", "404"),
    (
        ("default-match-http",),
        "GET http://default-match.com/any magic:default-match",
        "500: CustomBackend of group 'acme.io': a backend is a Service of the core group",
    ),
    (("http-filter",), "GET http://my.filter.com:8000/", "RequestHeaderModifier add: my-header > 1×my-filter-svc1"),
    (("http-redirect",), "GET http://my-filter.example.com/", "RequestRedirect statusCode: 302, scheme: https >"),
    (("http-redirect",), "GET https://my-filter.example.com/", "1×my-filter-svc1"),
    (
        ("http-redirect-path", "http-redirect"),
        "GET http://my-filter.example.com/",
        "RequestRedirect statusCode: 302, path: ReplaceFullPath /foo >",
    ),
    (("http-rewrite", "http-redirect"), "GET http://my-filter.example.com/", "500: the rule has no backends"),
    (
        ("http-request-header-add",),
        "GET http://a.example/add-a-request-header",
        "RequestHeaderModifier add: my-header-name > 1×echo",
    ),
    (
        ("http-request-header-remove",),
        "GET http://a.example/remove-a-request-header",
        "RequestHeaderModifier remove: x-request-id > 1×echo",
    ),
    (
        ("http-request-header-set",),
        "GET http://a.example/edit-a-request-header",
        "RequestHeaderModifier set: my-header-name > 1×echo",
    ),
    (("httproute",), "GET http://a.example:8000/mypath", "1×my-service-1"),
    (("httproute",), "GET http://a.example:8000/mypath-012", "1×my-service-2"),
    (("httproute",), "GET http://a.example:8000/my%20path/123/4", "1×my-service-3"),
    (("httproute",), "GET http://a.example:8000/mypath-0123", "404"),
    ((CORS + "all-fields-set",), "GET http://a.example/cors-behavior-creds-true", "CORS > 1×infra-backend-v1"),
    ((CORS + "credentials-true",), "GET http://a.example/cors-behavior-creds-true", "CORS > 1×infra-backend-v1"),
    ((CORS + "all-origins-no-creds",), "GET http://a.example/cors-behavior-creds-false", "CORS > 1×infra-backend-v1"),
    (
        (CORS + "origins-with-wildcards-no-creds",),
        "GET http://a.example/cors-behavior-creds-false",
        "CORS > 1×infra-backend-v1",
    ),
    (
        (CORS + "specific-origin-no-creds",),
        "GET http://a.example/cors-behavior-creds-false",
        "CORS > 1×infra-backend-v1",
    ),
    (
        (REDIRECT + "redirect-303",),
        "POST http://forms.example.com/submit-form",
        "RequestRedirect statusCode: 303, path: ReplaceFullPath /thank-you >",
    ),
    ((REDIRECT + "redirect-303",), "GET http://forms.example.com/submit-form", "404"),
    (
        (REDIRECT + "redirect-307",),
        "PUT http://api.example.com/api/v1/x",
        "RequestRedirect statusCode: 307, path: ReplaceFullPath /api/v2 >",
    ),
    (
        (REDIRECT + "redirect-308",),
        "POST http://api.example.com/old-api",
        "RequestRedirect statusCode: 308, path: ReplaceFullPath /new-api >",
    ),
    (
        (REDIRECT + "redirect-full",),
        "GET http://redirect.example:8000/cayenne/pot",
        "RequestRedirect statusCode: 302, path: ReplaceFullPath /paprika >",
    ),
    (
        (REDIRECT + "redirect-prefix",),
        "GET http://redirect.example:8000/cayenne/pot",
        "RequestRedirect statusCode: 302, path: ReplacePrefixMatch /paprika >",
    ),
    (
        (REDIRECT + "redirect-http", REDIRECT + "redirect-https", "http-redirect-rewrite/gateway-redirect-http-https"),
        "GET http://redirect.example/",
        "RequestRedirect statusCode: 301, scheme: https >",
    ),
    (
        (REDIRECT + "redirect-http", REDIRECT + "redirect-https", "http-redirect-rewrite/gateway-redirect-http-https"),
        "GET https://redirect.example/",
        "1×example-svc",
    ),
    (
        (REDIRECT + "rewrite",),
        "GET http://rewrite.example:8000/",
        "URLRewrite hostname: elsewhere.example > 1×example-svc",
    ),
    (
        (REDIRECT + "rewrite-full-path",),
        "GET http://rewrite.example:8000/cardamom/x",
        "URLRewrite hostname: elsewhere.example, path: ReplaceFullPath /fennel > 1×example-svc",
    ),
    (
        (REDIRECT + "rewrite-prefix-path",),
        "GET http://rewrite.example:8000/cardamom/x",
        "URLRewrite hostname: elsewhere.example, path: ReplacePrefixMatch /fennel > 1×example-svc",
    ),
    (
        ("http-request-mirroring/httproute-mirroring",),
        "GET http://mirror.example/",
        "RequestMirror to: default/foo-v2:8080 → 192.0.2.1:8000 > 1×foo-v1",
    ),
    (
        ("http-route-attachment/gateway-strict", "http-route-attachment/httproute", "0-namespaces"),
        "GET http://a.example/",
        "1×foo-svc",
    ),
    (("http-route-attachment/gateway-namespaces", "0-namespaces"), "GET http://a.example/", "404"),
    (ROUTING, "GET http://foo.example.com/login", "1×foo-svc"),
    (ROUTING, "GET http://foo.example.com/", "404"),
    (ROUTING, "GET http://bar.example.com/ env:canary", "1×bar-svc-canary"),
    (ROUTING, "GET http://bar.example.com/ env:production", "1×bar-svc"),
    (ROUTING, "GET http://example.com/", "1×example-svc"),
    (SITE, "GET https://foo.example.com/login", "90×login-v1, 10×login-v2"),
    (SITE, "GET https://foo.example.com/", "1×home"),
    (SITE, "GET https://foo.example.com/store", "1×store"),
    (("simple-gateway/gateway", "simple-gateway/httproute"), "GET http://a.example/", "1×foo-svc"),
    (SHOP, "GET http://foo.example.com/", "RequestRedirect statusCode: 302, scheme: https, port: 443 >"),
    (SHOP, "GET https://foo.example.com/", "1×foo-app"),
    (SHOP, "GET https://bar.example.com/", "1×bar-app"),
    (SHOP, "GET https://other.example.com/", "404"),
    (("traffic-splitting/simple-split",), "GET http://a.example:8000/", "90×foo-v1, 10×foo-v2"),
    (("traffic-splitting/traffic-split-1",), "GET http://foo.example.com:8000/", "1×foo-v1"),
    (("traffic-splitting/traffic-split-1",), "GET http://foo.example.com:8000/ traffic:test", "1×foo-v2"),
    (("traffic-splitting/traffic-split-2",), "GET http://foo.example.com:8000/", "90×foo-v1, 10×foo-v2"),
    (("traffic-splitting/traffic-split-3",), "GET http://foo.example.com:8000/", "0×foo-v1, 1×foo-v2"),
    (("multicluster/httproute-simple",), "GET http://a.example/", SERVICE_IMPORT),
    (("multicluster/httproute-location",), "GET http://a.example/west", SERVICE_IMPORT),
    (("multicluster/httproute-method",), "POST http://a.example/", SERVICE_IMPORT),
    (("multicluster/httproute-hybrid",), "GET http://a.example/", "90×store, 10×store-global"),
    (("multicluster/httproute-referencegrant",), "GET http://a.example:8000/bar", SERVICE_IMPORT),
    (
        (EXPERIMENTAL + "http-response-header",),
        "GET http://a.example/add-multiple-response-headers",
        "ResponseHeaderModifier add: X-Header-Add-1, X-Header-Add-2, X-Header-Add-3, Content-Disposition > 1×echo",
    ),
    ((EXPERIMENTAL + "http-route-rule-name",), "GET http://a.example/", "1×backend-mirror-svc"),
    ((EXPERIMENTAL + "http-route-rule-name",), "PATCH http://a.example/", "1×backend-svc"),
    ((EXPERIMENTAL + "http-route-timeouts/timeout-example",), "GET http://a.example/timeout", "1×timeout-svc"),
]


def path_of(name: str) -> str:
    return f"{name}.yaml" if name.startswith("examples/") else f"{STANDARD}{name}.yaml"


def outcome(names: tuple[str, ...], line: str) -> str:
    texts = files(STANDARD, EXPERIMENTAL)
    resources = {
        each.resource.key: each.resource
        for name in reversed(names)  # the first has the last word
        for each in read(name, texts[path_of(name)]).objects
    }
    table = compile_table(completed(resources.values()), _itself)
    method, url, *headers = line.split(" ")
    request, protocol, port, host = read_request(method, url, headers)
    found = list(outcomes(request, ports_for(table, protocol, port, host, lambda key: 0), _itself).values())
    assert len(found) == 1, f"not one Gateway on this port: {list(table.ports)}"
    explained = found[0]
    if explained.status == 404:
        return "404"
    if explained.status:
        return f"{explained.status}: {explained.reason}"
    assert explained.rule is not None
    return _described(explained.rule)


def _itself(rule: Rule) -> Rule:
    return rule


def _described(rule: Rule) -> str:
    parts = []
    for filter_ in describe_filters(rule.filters):
        for name, config in filter_.items():
            settings = ", ".join(f"{key}: {value}" for key, value in config.items()) if name != "CORS" else ""
            parts.append(f"{name} {settings}".strip())
    backends = ", ".join(f"{each.weight}×{each.name.partition('/')[2].rpartition(':')[0]}" for each in rule.backends)
    return " > ".join([*parts, backends]).strip()


@pytest.mark.parametrize(("names", "request_line", "expected"), REQUESTS)
def test_an_example_does_what_its_name_says(names: tuple[str, ...], request_line: str, expected: str) -> None:
    assert outcome(names, request_line) == expected


def test_every_http_example_has_a_request() -> None:
    asked = {path_of(name) for names, _, _ in REQUESTS for name in names}
    with_routes = {
        name
        for name, text in files(STANDARD, EXPERIMENTAL).items()
        if any(isinstance(each.resource, HTTPRoute) for each in read(name, text).objects)
    }
    assert with_routes - asked == set(FOR_OTHERS)


def test_all_examples_load_through_the_file_provider_without_an_error(tmp_path: Path) -> None:
    texts = files(STANDARD, EXPERIMENTAL)
    assert len(texts) > 80
    for number, text in enumerate(texts.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "example.yaml").write_text(text)
        change = asyncio.run(FileProvider([folder]).load())
        errors = [problem for problem in change.problems or () if problem.severity is Severity.ERROR]
        assert not errors


def test_all_examples_are_built_and_compiled_together() -> None:
    resources = {
        each.resource.key: each.resource
        for name, text in files(STANDARD, EXPERIMENTAL).items()
        for each in read(name, text).objects
    }
    graph = build_graph(Snapshot(resources.values()), Options())
    compile_table(graph, _itself)
    assert review(graph)
    assert compile_table(completed(resources.values()), _itself).ports


OTHER_KINDS = ("GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute")


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_kinds_that_are_not_served_are_said_not_to_be(kind: str) -> None:
    said = 0
    for name, text in files(STANDARD, EXPERIMENTAL).items():
        written = [line for line in text.splitlines() if line == f"kind: {kind}"]
        warnings = [
            problem for problem in read(name, text).problems if problem.key is not None and problem.key.kind == kind
        ]
        assert all(problem.severity is Severity.WARNING for problem in warnings)
        assert len(warnings) == len(written), name
        said += len(warnings)
    assert said
