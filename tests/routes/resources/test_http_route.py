from collections.abc import Callable
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from routes.resources.http import (
    HTTPBackendRef,
    HTTPPathMatch,
    HTTPRoute,
    HTTPRouteMatch,
    HTTPRouteRule,
    HTTPRouteSpec,
    ParentReference,
)
from routes.resources.meta import Key, ObjectMeta
from routes.resources.scheme import ManifestError, parse

Mistakes = Callable[[str], list[str]]


def route(spec: str) -> HTTPRoute:
    raw = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "app", "namespace": "shop"},
        "spec": yaml.safe_load(spec) or {},
    }
    value = parse(raw)
    assert isinstance(value, HTTPRoute)
    return value


def refusals(spec: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        route(spec)
    return [str(error).removeprefix("spec.") for error in caught.value.errors]


def rule_refusals(rule: str) -> list[str]:
    text = f"rules: [{yaml.safe_dump(yaml.safe_load(rule), default_flow_style=True, width=10_000).strip()}]"
    return [error.removeprefix("rules[0].") for error in refusals(text)]


def test_a_route_without_rules_sends_everything_to_one_rule_without_backends() -> None:
    assert route("{}").spec == HTTPRouteSpec(
        rules=(HTTPRouteRule(matches=(HTTPRouteMatch(path=HTTPPathMatch(type="PathPrefix", value="/")),)),)
    )


def test_a_rule_without_matches_or_with_an_empty_list_takes_every_path() -> None:
    rules = route("rules: [{backendRefs: [{name: a, port: 80}]}, {matches: []}]").spec.rules
    assert [rule.matches for rule in rules] == [(HTTPRouteMatch(),)] * 2


def test_a_match_without_path_takes_every_path() -> None:
    [match] = route("rules: [{matches: [{method: GET}]}]").spec.rules[0].matches
    assert match.path == HTTPPathMatch(type="PathPrefix", value="/")


def test_references_have_the_api_servers_defaults() -> None:
    spec = route("{parentRefs: [{name: web}], rules: [{backendRefs: [{name: app, port: 80}]}]}").spec
    assert spec.parent_refs == (
        ParentReference(
            group="gateway.networking.k8s.io", kind="Gateway", namespace=None, name="web", section_name=None, port=None
        ),
    )
    assert spec.rules[0].backend_refs == (
        HTTPBackendRef(group="", kind="Service", name="app", namespace=None, port=80, weight=1, filters=()),
    )


def test_a_route_knows_what_it_is_called() -> None:
    assert route("{}").key == Key("gateway.networking.k8s.io", "HTTPRoute", "shop", "app")


def test_every_field_of_the_experimental_channel_is_read() -> None:
    spec = route(
        """
        useDefaultGateways: All
        hostnames: ["*.example.com"]
        parentRefs: [{name: web, namespace: infra, sectionName: https, port: 443, group: gateway.networking.k8s.io}]
        rules:
        - name: checkout
          matches:
          - path: {type: RegularExpression, value: "^/v[0-9]+"}
            headers: [{type: RegularExpression, name: X-User, value: "a.*"}]
            queryParams: [{name: Q, value: "1"}]
            method: PATCH
          timeouts: {request: 1h30m, backendRequest: 500ms}
          retry: {codes: [500, 503], attempts: 2, backoff: 100ms}
          sessionPersistence:
            type: Cookie
            absoluteTimeout: 1h
            cookie: {name: sid, path: /shop, lifetimeType: Permanent}
          backendRefs: [{name: a, namespace: other, port: 80, weight: 0}]
        """
    ).spec
    [rule] = spec.rules
    assert (spec.use_default_gateways, spec.hostnames, rule.name) == ("All", ("*.example.com",), "checkout")
    assert rule.matches[0].query_params[0].name == "Q"
    assert rule.timeouts is not None
    assert rule.timeouts.backend_request == "500ms"
    assert rule.retry is not None
    assert (rule.retry.codes, rule.retry.attempts, rule.retry.backoff) == ((500, 503), 2, "100ms")
    assert rule.session_persistence is not None
    assert rule.session_persistence.cookie is not None
    assert rule.session_persistence.cookie.lifetime_type == "Permanent"
    assert rule.backend_refs[0].weight == 0


def test_a_route_is_made_in_python_with_pythons_names() -> None:
    made = HTTPRoute(
        metadata=ObjectMeta(name="app", namespace="shop"),
        spec=HTTPRouteSpec(
            parent_refs=(ParentReference(name="web", section_name="http"),),
            rules=(HTTPRouteRule(backend_refs=(HTTPBackendRef(name="app", port=80),)),),
        ),
    )
    assert made == route(
        "{parentRefs: [{name: web, sectionName: http}], rules: [{backendRefs: [{name: app, port: 80}]}]}"
    )


def test_a_mistake_in_python_is_told_in_the_same_words() -> None:
    with pytest.raises(ValidationError, match="must not have a port: write 'whoami' instead of 'whoami:8000'"):
        HTTPRouteSpec(hostnames=("whoami:8000",))


def test_routes_do_not_change() -> None:
    made: Any = route("{}")
    with pytest.raises(ValidationError, match="frozen"):
        made.spec = None


@pytest.mark.parametrize(
    ("hostname", "sentence"),
    [
        ("whoami:8000", "must not have a port: write 'whoami' instead of 'whoami:8000'"),
        ("WhoAmI", "must be lower case: write 'whoami' instead of 'WhoAmI'"),
        ("10.0.0.1", "must be a name, not an IP address: '10.0.0.1'"),
        ("10.0.0.1:80", "must be a name, not an IP address: '10.0.0.1:80'"),
        ("'[::1]:80'", "must be a name, not an IP address: '[::1]:80'"),
        ("'::1'", "must be a name, not an IP address: '::1'"),
        ("'*'", "must not be '*' alone: leave it out to take every host"),
        ("a.*.com", "may have '*' only as the whole leftmost label, as in '*.example.com': 'a.*.com'"),
        ("'*a.com'", "may have '*' only as the whole leftmost label, as in '*.example.com': '*a.com'"),
        ("http://whoami/x", "must be a host name without a scheme: write 'whoami' instead of 'http://whoami/x'"),
        ("whoami/x", "must not have a path: write 'whoami' instead of 'whoami/x'"),
        ("whoami.", "must not end with a dot: write 'whoami' instead of 'whoami.'"),
        ("''", "must not be empty: leave it out to take every host"),
        (
            "who_ami",
            "must be labels of a-z, 0-9 and '-' joined by dots, each with a letter or digit at its ends: 'who_ami'",
        ),
        ("a" * 254, "must have at most 253 characters"),
        ("80", "must be a string, not the number 80: put it in quotes"),
    ],
)
def test_a_host_name_that_is_none_is_refused(hostname: str, sentence: str) -> None:
    assert refusals(f"hostnames: [{hostname}]") == [f"hostnames[0]: {sentence}"]


@pytest.mark.parametrize(
    "hostname", ["whoami", "*.example.com", "a-b.example.com", "1.example", "xn--bcher-kva.example"]
)
def test_a_host_name_is_taken(hostname: str) -> None:
    assert route(f"hostnames: ['{hostname}']").spec.hostnames == (hostname,)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("foo", "must start with '/': write '/foo' instead of 'foo'"),
        ("/a//b", "must not contain '//': '/a//b'"),
        ("/a/./b", "must not contain '/./': '/a/./b'"),
        ("/a/../b", "must not contain '/../': '/a/../b'"),
        ("/a%2fb", "must not contain '%2f': '/a%2fb'"),
        ("/a%2Fb", "must not contain '%2F': '/a%2Fb'"),
        ("/a#b", "must not contain '#': '/a#b'"),
        ("/a/..", "must not end with '/..': '/a/..'"),
        ("/a/.", "must not end with '/.': '/a/.'"),
        ("/a?b=1", "must not have a query: write '/a' and match the rest by queryParams"),
        ("/a b", "must not contain ' ': write '%20' in its place"),
        ("/a%zz", "must not contain '%': write '%25' in its place"),
        ("/ä", "must not contain 'ä': write '%C3%A4' in its place"),
        ("/" + "a" * 1024, "must have at most 1024 characters, not 1025"),
    ],
)
@pytest.mark.parametrize("kind", ["Exact", "PathPrefix"])
def test_a_path_that_no_request_has_is_refused(kind: str, path: str, sentence: str) -> None:
    errors = rule_refusals(f"matches: [{{path: {{type: {kind}, value: '{path}'}}}}]")
    assert errors == [f"matches[0].path.value: {sentence}"]


def test_a_regular_expression_need_not_look_like_a_path() -> None:
    [rule] = route("rules: [{matches: [{path: {type: RegularExpression, value: 'a//b?'}}]}]").spec.rules
    assert rule.matches[0].path.value == "a//b?"


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("{backendRefs: [{name: a}]}", "backendRefs[0].port: required: say which port of the Service 'a'"),
        ("{backendRefs: [{name: a, port: '80'}]}", 'backendRefs[0].port: must be an integer, not the string "80"'),
        ("{backendRefs: [{name: a, port: 0}]}", "backendRefs[0].port: must be 1 or more, not the number 0"),
        ("{backendRefs: [{name: a, port: 65536}]}", "backendRefs[0].port: must be 65535 or less, not the number 65536"),
        (
            "{backendRefs: [{name: a, port: 80, weight: 1000001}]}",
            "backendRefs[0].weight: must be 1000000 or less, not the number 1000001",
        ),
        (
            "{backendRefs: [{name: a, port: 80, weight: -1}]}",
            "backendRefs[0].weight: must be 0 or more, not the number -1",
        ),
        (
            "{backendRefs: [{name: a, port: 80, namespace: A}]}",
            'backendRefs[0].namespace: must be lower case letters, digits and "-", with a letter or digit at each end, '
            'not "A"',
        ),
        ("{backendRefs: [{name: '', port: 80}]}", "backendRefs[0].name: must not be empty"),
        ("{backendRefs: {name: a}}", "backendRefs: must be a list, not a mapping"),
        (
            "{matches: [{method: get}]}",
            "matches[0].method: must be GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE or PATCH, "
            'not "get"; did you mean "GET"?',
        ),
        (
            "{matches: [{path: {type: Prefix}}]}",
            'matches[0].path.type: must be Exact, PathPrefix or RegularExpression, not "Prefix"; '
            'did you mean "PathPrefix"?',
        ),
        (
            "{matches: [{headers: [{name: 'a:', value: b}]}]}",
            "matches[0].headers[0].name: must be a name of letters, digits and !#$%&'*+-.^_`|~, "
            'without spaces or colons, not "a:"',
        ),
        (
            "{matches: [{headers: [{name: a, value: b}, {name: a, value: c}]}]}",
            "matches[0].headers[1].name: 'a' is already in this list, at index 0",
        ),
        (
            "{matches: [{queryParams: [{name: a, value: b}, {name: a, value: c}]}]}",
            "matches[0].queryParams[1].name: 'a' is already in this list, at index 0",
        ),
        (
            "{timeouts: {request: 1.5s}}",
            'timeouts.request: must be a duration of whole numbers and units, such as "500ms", "10s" or "1h30m", '
            'not "1.5s"',
        ),
        (
            "{timeouts: {request: 1s, backendRequest: 1001ms}}",
            "timeouts.backendRequest: must not be longer than request, 1s",
        ),
        ("{retry: {codes: [302]}}", "retry.codes[0]: must be 400 or more, not the number 302"),
        ("{retry: {codes: [500, 500]}}", "retry.codes[1]: 500 is already in this list, at index 0"),
        ("{retry: {attempts: -1}}", "retry.attempts: must be 0 or more, not the number -1"),
        (
            "{backendRefs: [{group: gateway.networking.x-k8s.io, kind: XBackend, name: a, port: 80}]}",
            "backendRefs[0].port: must not be set for an XBackend, which has its own",
        ),
        ("{sessionPersistence: {}}", 'sessionPersistence.cookie: required where type is "Cookie"'),
        (
            "{sessionPersistence: {type: Header, header: {name: a}, cookie: {}}}",
            'sessionPersistence.cookie: must not be set where type is "Header"',
        ),
        (
            "{sessionPersistence: {cookie: {lifetimeType: Permanent}}}",
            'sessionPersistence.absoluteTimeout: required where the cookie\'s lifetimeType is "Permanent"',
        ),
    ],
)
def test_a_rule_that_the_api_server_would_refuse_is_refused(rule: str, sentence: str) -> None:
    assert rule_refusals(rule) == [sentence]


@pytest.mark.parametrize(("text", "attempts"), [("{}", 1), ("{attempts: 0}", 0), ("{attempts: 3}", 3)])
def test_a_retry_is_one_unless_it_says_otherwise(text: str, attempts: int) -> None:
    [rule] = route(f"rules: [{{retry: {text}}}]").spec.rules
    assert rule.retry is not None
    assert rule.retry.attempts == attempts


def test_an_attempt_may_take_any_time_where_the_request_has_no_limit() -> None:
    [rule] = route("rules: [{timeouts: {request: 0s, backendRequest: 10s}}]").spec.rules
    assert rule.timeouts is not None


def test_a_backend_that_is_no_service_needs_no_port() -> None:
    [rule] = route("rules: [{backendRefs: [{group: example.com, kind: Bucket, name: a}]}]").spec.rules
    assert rule.backend_refs[0].port is None


def test_header_names_that_differ_in_case_may_stand_side_by_side() -> None:
    [rule] = route("rules: [{matches: [{headers: [{name: A, value: x}, {name: a, value: y}]}]}]").spec.rules
    assert [header.name for header in rule.matches[0].headers] == ["A", "a"]


@pytest.mark.parametrize(
    ("field", "count", "most"),
    [("hostnames", 17, 16), ("parentRefs", 33, 32), ("rules", 17, 16)],
)
def test_a_list_has_an_end(field: str, count: int, most: int) -> None:
    entry = {"hostnames": "h{0}", "parentRefs": "{{name: p{0}}}", "rules": "{{name: r{0}}}"}[field]
    entries = ", ".join(entry.format(index) for index in range(count))
    assert refusals(f"{field}: [{entries}]") == [f"{field}: must have at most {most} entries, not {count}"]


def test_rules_that_are_there_must_not_be_empty() -> None:
    assert refusals("rules: []") == ["rules: must have at least 1 entry"]


def test_a_route_has_at_most_128_matches() -> None:
    matches = ", ".join(["{method: GET}"] * 43)
    sentence = "rules: must have at most 128 matches over all rules: split the route"
    assert refusals(f"rules: [{', '.join([f'{{matches: [{matches}]}}'] * 3)}]") == [sentence]


def test_two_rules_must_not_have_one_name() -> None:
    errors = refusals("rules: [{name: a}, {}, {name: a}]")
    assert errors == ["rules[2].name: the rule at index 0 has this name already"]


@pytest.mark.parametrize(
    ("parents", "sentence"),
    [
        ("{name: a}, {name: a}", "parentRefs[1]: says the same as the entry at index 0"),
        (
            "{name: a, sectionName: x}, {name: a}",
            "parentRefs[1]: all entries for Gateway 'a' must set sectionName or port in the same way",
        ),
        (
            "{name: a, sectionName: x}, {name: a, port: 80}",
            "parentRefs[1]: all entries for Gateway 'a' must set sectionName or port in the same way",
        ),
    ],
)
def test_entries_for_one_parent_must_differ_in_one_way(parents: str, sentence: str) -> None:
    assert refusals(f"parentRefs: [{parents}]") == [sentence]


@pytest.mark.parametrize(
    "parents",
    [
        "{name: a, sectionName: x}, {name: a, sectionName: y}",
        "{name: a, port: 80}, {name: a, port: 81}",
        "{name: a}, {name: b}",
        "{name: a}, {name: a, namespace: n}",
    ],
)
def test_entries_for_several_parents_or_parts_are_taken(parents: str) -> None:
    assert len(route(f"parentRefs: [{parents}]").spec.parent_refs) == 2
