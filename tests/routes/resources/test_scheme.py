from collections.abc import Callable
from typing import Any

import pytest
import yaml

from routes.resources.core import Service
from routes.resources.gateway import GatewayClass
from routes.resources.http import HTTPRoute, SelectedHTTPRoute
from routes.resources.scheme import SUPPORTED, FieldError, ManifestError, parse

Mistakes = Callable[[str], list[str]]

ROUTE = "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: app}, spec: %s}"


def test_an_object_without_namespace_is_in_default() -> None:
    value = parse(yaml.safe_load(ROUTE % "{}"))
    assert value is not None
    assert value.key.namespace == "default"


def test_a_cluster_wide_object_loses_its_namespace() -> None:
    value = parse(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {"controllerName": "example.com/c"},
        }
    )
    assert isinstance(value, GatewayClass)
    assert value.metadata.namespace is None


def test_what_is_given_is_not_changed() -> None:
    raw = yaml.safe_load(ROUTE % "{rules: [{filters: null}]}")
    before = yaml.safe_dump(raw)
    parse(raw)
    assert yaml.safe_dump(raw) == before


def test_status_is_dropped() -> None:
    raw = {**yaml.safe_load(ROUTE % "{}"), "status": {"parents": "anything"}}
    assert parse(raw) == parse(yaml.safe_load(ROUTE % "{}"))


def test_a_field_that_is_null_counts_as_left_out() -> None:
    with_nulls = ROUTE % "{hostnames: null, rules: [{filters: null, backendRefs: [{name: a, port: 80, weight: null}]}]}"
    without = ROUTE % "{rules: [{backendRefs: [{name: a, port: 80}]}]}"
    assert parse(yaml.safe_load(with_nulls)) == parse(yaml.safe_load(without))


def test_a_required_field_that_is_null_is_missing(mistakes: Mistakes) -> None:
    assert mistakes(ROUTE % "{rules: [{backendRefs: [{name: null, port: 80}]}]}") == [
        "spec.rules[0].backendRefs[0].name: required"
    ]


def test_unknown_fields_are_passed_over_where_reading_is_not_strict() -> None:
    raw = yaml.safe_load(ROUTE % "{future: 1, rules: [{backendRefs: [{name: a, port: 80, future: 2}]}]}")
    assert isinstance(parse(raw, strict=False), HTTPRoute)


def test_pythons_names_are_no_manifest_fields(mistakes: Mistakes) -> None:
    assert mistakes(ROUTE % "{parent_refs: []}") == ['spec.parent_refs: unknown field; did you mean "parentRefs"?']


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("{host: [a]}", 'spec.host: unknown field; did you mean "hostnames"?'),
        ("{rules: [{backendRef: []}]}", 'spec.rules[0].backendRef: unknown field; did you mean "backendRefs"?'),
        ("{rules: [{match: []}]}", 'spec.rules[0].match: unknown field; did you mean "matches"?'),
        (
            "{rules: [{matches: [{path: {valu: /}}]}]}",
            'spec.rules[0].matches[0].path.valu: unknown field; did you mean "value"?',
        ),
        (
            "{rules: [{filters: [{type: CORS, cors: {maxage: 1}}]}]}",
            'spec.rules[0].filters[0].cors.maxage: unknown field; did you mean "maxAge"?',
        ),
        ("{zzz: 1}", "spec.zzz: unknown field"),
        (
            "{rules: [{forwardTo: []}]}",
            'spec.rules[0].forwardTo: unknown field; did you mean "backendRefs"? '
            '("forwardTo" belongs to another version of the API)',
        ),
    ],
)
def test_an_unknown_field_is_named_with_the_one_that_was_meant(mistakes: Mistakes, spec: str, sentence: str) -> None:
    assert mistakes(ROUTE % spec) == [sentence]


def test_an_unknown_field_of_the_metadata_is_named_as_well(mistakes: Mistakes) -> None:
    text = "{apiVersion: v1, kind: Service, metadata: {name: a, lables: {}}}"
    assert mistakes(text) == ['metadata.lables: unknown field; did you mean "labels"?']


def test_an_unknown_field_beside_the_spec_is_named_as_well(mistakes: Mistakes) -> None:
    text = "{apiVersion: v1, kind: Service, metadata: {name: a}, specs: {}}"
    assert mistakes(text) == ['specs: unknown field; did you mean "spec"?']


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("3", "spec: must be a mapping, not the number 3"),
        ("[]", "spec: must be a mapping, not a list"),
        ("{rules: all}", 'spec.rules: must be a list, not the string "all"'),
        ("{rules: [all]}", 'spec.rules[0]: must be a mapping, not the string "all"'),
        (
            "{parentRefs: [{name: true}]}",
            "spec.parentRefs[0].name: must be a string, not the boolean true: put it in quotes",
        ),
        (
            "{rules: [{on: 1}]}",
            "spec.rules[0]: a field's name must be a string, not the boolean true: put it in quotes",
        ),
        (
            "{rules: [{filters: [{type: CORS, cors: {allowCredentials: 'yes'}}]}]}",
            'spec.rules[0].filters[0].cors.allowCredentials: must be true or false, not the string "yes"',
        ),
    ],
)
def test_a_wrong_type_is_named_with_the_right_one(mistakes: Mistakes, spec: str, sentence: str) -> None:
    assert mistakes(ROUTE % spec) == [sentence]


def test_a_long_value_is_cut(mistakes: Mistakes) -> None:
    [error] = mistakes(ROUTE % f"{{rules: {'x' * 200}}}")
    assert error == f'spec.rules: must be a list, not the string "{"x" * 60}…"'


def test_a_time_that_is_none_is_refused(mistakes: Mistakes) -> None:
    text = "{apiVersion: v1, kind: Service, metadata: {name: a, creationTimestamp: noon}}"
    assert mistakes(text) == [
        'metadata.creationTimestamp: must be a time such as "2026-01-31T12:00:00Z", not the string "noon"'
    ]


def test_every_mistake_is_found_and_its_path_leads_through_the_document() -> None:
    raw: dict[str, Any] = yaml.safe_load(
        ROUTE
        % (
            "{hostnames: ['a:1'], "
            "rules: [{matches: [{path: {value: x}}], backendRefs: [{name: a, port: '80'}, {name: b}]}]}"
        )
    )
    with pytest.raises(ManifestError) as caught:
        parse(raw)
    assert caught.value.errors == (
        FieldError(("spec", "hostnames", 0), "must not have a port: write 'a' instead of 'a:1'"),
        FieldError(
            ("spec", "rules", 0, "matches", 0, "path", "value"), "must start with '/': write '/x' instead of 'x'"
        ),
        FieldError(("spec", "rules", 0, "backendRefs", 0, "port"), 'must be an integer, not the string "80"'),
        FieldError(("spec", "rules", 0, "backendRefs", 1, "port"), "required: say which port of the Service 'b'"),
    )
    assert raw["spec"]["rules"][0]["backendRefs"][0]["port"] == "80"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{a: 1}", "not a Kubernetes object: it has no apiVersion and kind"),
        ("{apiVersion: v1}", "not a Kubernetes object: it has no kind"),
        ("{kind: Service}", "not a Kubernetes object: it has no apiVersion"),
        ("[]", "not a Kubernetes object: it must be a mapping, not a list"),
        ("null", "not a Kubernetes object: it must be a mapping, not nothing"),
        ("text", 'not a Kubernetes object: it must be a mapping, not the string "text"'),
        ("{apiVersion: 1, kind: Service}", "apiVersion: must be a string, not the number 1: put it in quotes"),
        ("{apiVersion: v1, kind: Service}", "metadata.name: required: an object needs a name"),
        ("{apiVersion: v1, kind: Service, metadata: {}}", "metadata.name: required: an object needs a name"),
        ("{apiVersion: v1, kind: Service, metadata: a}", "metadata: must be a mapping, with a name at least"),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: My_App}}",
            'metadata.name: must be lower case letters, digits, "-" and ".", with a letter or digit at each end, '
            'not "My_App"',
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: 7}}",
            "metadata.name: must be a string, not the number 7: put it in quotes",
        ),
        (
            "{apiVersion: v1, kind: List, items: []}",
            "kind: a list is no object of its own: give its items one by one",
        ),
    ],
)
def test_what_is_no_object_is_refused(mistakes: Mistakes, text: str, sentence: str) -> None:
    assert mistakes(text) == [sentence]


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("networking.k8s.io/v1", "Ingress"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("v1", "ServiceAccount"),
        ("v1", "PersistentVolumeClaim"),
        ("apps/v1", "ControllerRevision"),
        ("batch/v1", "Job"),
        ("gateway.networking.k8s.io/v1", "GRPCRoute"),
        ("gateway.networking.k8s.io/v1alpha2", "TCPRoute"),
        ("gateway.networking.x-k8s.io/v1alpha1", "XBackend"),
        ("policy.linkerd.io/v1beta1", "HTTPRoute"),
        ("networking.istio.io/v1", "Gateway"),
    ],
)
def test_a_kind_that_no_gateway_reads_is_passed_over(api_version: str, kind: str) -> None:
    assert parse({"apiVersion": api_version, "kind": kind, "metadata": {"name": "system:a"}}) is None


V1 = "gateway.networking.k8s.io/v1, gateway.networking.k8s.io/v1beta1 or networking.x-k8s.io/v1alpha1"


@pytest.mark.parametrize(
    ("api_version", "kind", "versions"),
    [
        ("gateway.networking.k8s.io/v2", "HTTPRoute", V1),
        ("gateway.networking.k8s.io/v1alpha2", "HTTPRoute", V1),
        ("gateway.networking.k8s.io", "HTTPRoute", V1),
        ("networking.k8s.io/v1", "HTTPRoute", V1),
        ("gateway.networking.x-k8s.io/v1", "GatewayClass", V1),
        ("gateway.k8s.io/v1", "ReferenceGrant", "gateway.networking.k8s.io/v1 or gateway.networking.k8s.io/v1beta1"),
        ("networking.x-k8s.io/v1", "TLSRoute", "networking.x-k8s.io/v1alpha1"),
        ("v1", "HTTPRoute", V1),
        ("v1", "Deployment", "apps/v1"),
        ("v2", "Service", "v1"),
        ("apps/v1beta1", "Deployment", "apps/v1"),
        ("discovery.k8s.io/v1beta1", "EndpointSlice", "discovery.k8s.io/v1"),
    ],
)
def test_a_wrong_api_version_is_refused_with_the_right_ones(
    mistakes: Mistakes, api_version: str, kind: str, versions: str
) -> None:
    assert mistakes(f"{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: a}}}}") == [
        f'apiVersion: "{api_version}" is not supported for {kind}: write {versions}'
    ]


@pytest.mark.parametrize(
    ("api_version", "kind", "wish"),
    [
        ("gateway.networking.k8s.io/v1", "HttpRoute", '; did you mean "HTTPRoute"?'),
        ("gateway.networking.k8s.io/v1", "Gatway", '; did you mean "Gateway"?'),
        ("gateway.networking.k8s.io/v1", "Banana", ""),
        ("networking.x-k8s.io/v1alpha1", "BackendPolice", '; did you mean "BackendPolicy"?'),
        ("v1", "Sevice", '; did you mean "Service"?'),
        ("apps/v1", "Deploymnet", '; did you mean "Deployment"?'),
    ],
)
def test_a_misspelled_kind_is_refused_with_the_one_that_was_meant(
    mistakes: Mistakes, api_version: str, kind: str, wish: str
) -> None:
    assert mistakes(f"{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: a}}}}") == [
        f'kind: {api_version} has no kind "{kind}"{wish}'
    ]


def test_a_kind_of_a_newer_api_is_passed_over_where_reading_is_not_strict() -> None:
    raw = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "FutureRoute", "metadata": {"name": "a"}}
    assert parse(raw, strict=False) is None


def test_a_version_is_kept_as_it_was_written() -> None:
    value = parse(yaml.safe_load((ROUTE % "{}").replace("/v1", "/v1beta1")))
    assert value is not None
    assert value.api_version == "gateway.networking.k8s.io/v1beta1"


def test_what_is_supported_can_be_asked() -> None:
    assert SUPPORTED["gateway.networking.k8s.io/v1", "HTTPRoute"] is HTTPRoute
    assert SUPPORTED["networking.x-k8s.io/v1alpha1", "HTTPRoute"] is SelectedHTTPRoute
    assert SUPPORTED["v1", "Service"] is Service
