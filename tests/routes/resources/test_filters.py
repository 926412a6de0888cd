import pytest
import yaml

from routes.resources.filters import HTTPRouteFilter
from routes.resources.http import HTTPRoute
from routes.resources.scheme import ManifestError, parse


def filters(text: str, rule: str = "{}") -> tuple[HTTPRouteFilter, ...]:
    raw = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "app"},
        "spec": {"rules": [{"filters": yaml.safe_load(text), **yaml.safe_load(rule)}]},
    }
    value = parse(raw)
    assert isinstance(value, HTTPRoute)
    return value.spec.rules[0].filters


def refusals(text: str, rule: str = "{}") -> list[str]:
    with pytest.raises(ManifestError) as caught:
        filters(text, rule)
    return [str(error).removeprefix("spec.rules[0].") for error in caught.value.errors]


def test_every_kind_of_filter_is_read() -> None:
    read = filters(
        """
        - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}], add: [{name: c, value: d}]}}
        - {type: ResponseHeaderModifier, responseHeaderModifier: {remove: [x]}}
        - {type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}, fraction: {numerator: 1}}}
        - {type: RequestMirror, requestMirror: {backendRef: {name: b, port: 80}, percent: 5}}
        - {type: URLRewrite, urlRewrite: {hostname: a.b, path: {type: ReplaceFullPath, replaceFullPath: /x}}}
        - {type: ExtensionRef, extensionRef: {group: example.com, kind: Thing, name: a}}
        - {type: CORS, cors: {allowOrigins: ["https://*.example.com"], allowMethods: ["*"], allowCredentials: true}}
        - type: ExternalAuth
          externalAuth: {protocol: HTTP, backendRef: {name: auth, port: 80}, http: {path: /check}}
        """
    )
    assert read[2].request_mirror is not None
    assert read[2].request_mirror.fraction is not None
    assert read[2].request_mirror.fraction.denominator == 100
    assert read[6].cors is not None
    assert (read[6].cors.max_age, read[6].cors.allow_credentials) == (5, True)
    assert [one.type for one in read] == [
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestMirror",
        "URLRewrite",
        "ExtensionRef",
        "CORS",
        "ExternalAuth",
    ]


def test_a_redirect_is_302_unless_it_says_otherwise() -> None:
    [one] = filters("[{type: RequestRedirect, requestRedirect: {scheme: https}}]")
    assert one.request_redirect is not None
    assert (one.request_redirect.status_code, one.request_redirect.port) == (302, None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{type: URLRewrite}", 'urlRewrite: required where type is "URLRewrite"'),
        (
            "{type: URLRewrite, urlRewrite: {}, cors: {}}",
            'cors: must not be set where type is "URLRewrite": it belongs to "CORS"',
        ),
        (
            "{type: Redirect}",
            "type: must be RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, RequestRedirect, URLRewrite, "
            'ExtensionRef, CORS or ExternalAuth, not "Redirect"; did you mean "RequestRedirect"?',
        ),
        (
            "{type: RequestRedirect, requestRedirect: {statusCode: 304}}",
            "requestRedirect.statusCode: must be 301, 302, 303, 307 or 308, not the number 304",
        ),
        (
            "{type: RequestRedirect, requestRedirect: {hostname: '*.a'}}",
            "requestRedirect.hostname: must be one host's name, without the wildcard '*': '*.a'",
        ),
        (
            "{type: RequestRedirect, requestRedirect: {scheme: HTTPS}}",
            'requestRedirect.scheme: must be http or https, not "HTTPS"; did you mean "https"?',
        ),
        (
            "{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath}}}",
            'urlRewrite.path.replaceFullPath: required where type is "ReplaceFullPath"',
        ),
        (
            "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replaceFullPath: /a}}}",
            'urlRewrite.path.replacePrefixMatch: required where type is "ReplacePrefixMatch"',
        ),
        (
            "{type: URLRewrite, urlRewrite: "
            "{path: {type: ReplacePrefixMatch, replacePrefixMatch: /a, replaceFullPath: /a}}}",
            'urlRewrite.path.replaceFullPath: must not be set where type is "ReplacePrefixMatch"',
        ),
        (
            "{type: RequestMirror, requestMirror: {backendRef: {name: a}}}",
            "requestMirror.backendRef.port: required: say which port of the Service 'a'",
        ),
        (
            "{type: CORS, cors: {maxAge: 2147483648}}",
            "cors.maxAge: must be 2147483647 or less, not the number 2147483648",
        ),
        (
            "{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, percent: 101}}",
            "requestMirror.percent: must be 100 or less, not the number 101",
        ),
        (
            "{type: RequestMirror, requestMirror: "
            "{backendRef: {name: a, port: 1}, percent: 1, fraction: {numerator: 1}}}",
            "requestMirror.fraction: must not be set together with percent: choose one of them",
        ),
        (
            "{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, fraction: {numerator: 101}}}",
            "requestMirror.fraction.numerator: must not be greater than the denominator, 100",
        ),
        (
            "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}, {name: a, value: c}]}}",
            "requestHeaderModifier.set[1].name: 'a' is already in this list, at index 0",
        ),
        (
            "{type: RequestHeaderModifier, requestHeaderModifier: {remove: [a, a]}}",
            "requestHeaderModifier.remove[1]: 'a' is already in this list, at index 0",
        ),
        (
            "{type: CORS, cors: {allowOrigins: ['*', 'https://a.b']}}",
            "cors.allowOrigins[0]: '*' stands for all and must be the only entry",
        ),
        (
            "{type: CORS, cors: {allowOrigins: [example.com]}}",
            'cors.allowOrigins[0]: must be an origin such as "https://example.com" or "https://*.example.com", or "*", '
            'not "example.com"',
        ),
        (
            "{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: a, port: 1}}}",
            'externalAuth.grpc: required where protocol is "GRPC"',
        ),
        (
            "{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: a, port: 1}, grpc: {}, http: {}}}",
            'externalAuth.http: must not be set where protocol is "GRPC"',
        ),
    ],
)
def test_a_filter_that_the_api_server_would_refuse_is_refused(text: str, sentence: str) -> None:
    assert refusals(f"[{text}]") == [f"filters[0].{sentence}"]


def test_a_header_value_that_is_refused_is_not_repeated() -> None:
    text = "[{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Authorization, value: ' s3cret'}]}}]"
    assert refusals(text) == [
        "filters[0].requestHeaderModifier.set[0].value: "
        "must be printable ASCII without spaces at its ends and without two spaces in a row"
    ]


def test_a_filter_of_one_kind_comes_once() -> None:
    one = "{type: RequestHeaderModifier, requestHeaderModifier: {remove: [a]}}"
    sentence = "a second RequestHeaderModifier is not allowed: merge it with the one at index 0"
    assert refusals(f"[{one}, {one}]") == [f"filters[1].type: {sentence}"]


def test_a_rewrite_beside_a_redirect_is_refused() -> None:
    text = "[{type: RequestRedirect, requestRedirect: {}}, {type: URLRewrite, urlRewrite: {}}]"
    assert refusals(text) == ["filters[1].type: a URLRewrite has no effect beside a RequestRedirect: keep one of them"]


def test_backends_beside_a_redirect_are_refused() -> None:
    errors = refusals("[{type: RequestRedirect, requestRedirect: {}}]", "{backendRefs: [{name: a, port: 80}]}")
    assert errors == ["backendRefs: must not be set beside a RequestRedirect, which answers by itself"]


PREFIX = "path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}"


@pytest.mark.parametrize(
    "matches",
    ["{matches: [{path: {type: Exact, value: /a}}]}", "{matches: [{path: {value: /a}}, {path: {value: /b}}]}"],
)
@pytest.mark.parametrize(("kind", "field"), [("URLRewrite", "urlRewrite"), ("RequestRedirect", "requestRedirect")])
def test_a_prefix_is_replaced_only_where_there_is_one_prefix(kind: str, field: str, matches: str) -> None:
    sentence = "ReplacePrefixMatch needs a rule with exactly one match, of type PathPrefix"
    errors = refusals(f"[{{type: {kind}, {field}: {{{PREFIX}}}}}]", matches)
    assert errors == [f"filters[0].{field}.path.type: {sentence}"]


def test_a_backends_filters_follow_the_rules_prefix_as_well() -> None:
    backend = f"{{name: a, port: 80, filters: [{{type: URLRewrite, urlRewrite: {{{PREFIX}}}}}]}}"
    errors = refusals("[]", f"{{matches: [{{path: {{type: Exact, value: /a}}}}], backendRefs: [{backend}]}}")
    sentence = "ReplacePrefixMatch needs a rule with exactly one match, of type PathPrefix"
    assert errors == [f"backendRefs[0].filters[0].urlRewrite.path.type: {sentence}"]


def test_a_prefix_is_replaced_under_the_default_match() -> None:
    assert filters(f"[{{type: URLRewrite, urlRewrite: {{{PREFIX}}}}}]")
