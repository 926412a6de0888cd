from collections.abc import Callable

import pytest
import yaml

from routes.resources.policy import BackendTLSPolicy
from routes.resources.scheme import parse

Mistakes = Callable[[str], list[str]]

POLICY = """
apiVersion: gateway.networking.k8s.io/%s
kind: BackendTLSPolicy
metadata: {name: p}
spec: {targetRefs: [%s], validation: {%s}, options: {%s}}
"""
TARGET = '{group: "", kind: Service, name: a}'
SYSTEM = "hostname: a.example.com, wellKnownCACertificates: System"


def policy(targets: str = TARGET, validation: str = SYSTEM, options: str = "", version: str = "v1") -> str:
    return POLICY % (version, targets, validation, options)


@pytest.mark.parametrize("version", ["v1", "v1alpha3"])
def test_a_policy_is_read_in_either_version(version: str) -> None:
    value = parse(yaml.safe_load(policy(version=version)))
    assert isinstance(value, BackendTLSPolicy)
    assert value.key.qualified_name == "default/p"
    assert value.spec.target_refs[0].section_name is None
    assert value.spec.validation.well_known_ca_certificates == "System"


def test_a_policy_of_another_version_is_told_which_there_are(mistakes: Mistakes) -> None:
    assert mistakes(policy(version="v1alpha2")) == [
        'apiVersion: "gateway.networking.k8s.io/v1alpha2" is not supported for BackendTLSPolicy: '
        "write gateway.networking.k8s.io/v1 or gateway.networking.k8s.io/v1alpha3"
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (policy(targets=""), "spec.targetRefs: must have at least 1 entry"),
        (
            policy(targets=", ".join(f'{{group: "", kind: Service, name: a{number}}}' for number in range(17))),
            "spec.targetRefs: must have at most 16 entries, not 17",
        ),
        (policy(targets="{kind: Service, name: a}"), "spec.targetRefs[0].group: required"),
        (policy(targets='{group: "", name: a}'), "spec.targetRefs[0].kind: required"),
        (
            policy(targets=f"{TARGET}, {TARGET}"),
            "spec.targetRefs[1]: says the same as the entry at index 0",
        ),
        (
            policy(targets=f'{TARGET}, {{group: "", kind: Service, name: a, sectionName: web}}'),
            "spec.targetRefs[1]: all entries for Service 'a' must set sectionName",
        ),
        (
            policy(validation="wellKnownCACertificates: System"),
            "spec.validation.hostname: required",
        ),
        (
            policy(validation="hostname: '*.example.com', wellKnownCACertificates: System"),
            "spec.validation.hostname: must be one host's name, without the wildcard '*': '*.example.com'",
        ),
        (
            policy(validation="hostname: a.example.com"),
            "spec.validation.caCertificateRefs: required: set caCertificateRefs or wellKnownCACertificates",
        ),
        (
            policy(validation=f'{SYSTEM}, caCertificateRefs: [{{group: "", kind: ConfigMap, name: ca}}]'),
            "spec.validation.wellKnownCACertificates: must not be set beside caCertificateRefs: choose one of them",
        ),
        (
            policy(validation="hostname: a.example.com, caCertificateRefs: []"),
            "spec.validation.caCertificateRefs: must have at least 1 entry",
        ),
        (
            policy(validation="hostname: a.example.com, wellKnownCACertificates: Mine"),
            'spec.validation.wellKnownCACertificates: must be "System", or a set of certificates with a domain such as '
            '"example.com/name", not "Mine"',
        ),
        (
            policy(validation=f"{SYSTEM}, subjectAltNames: [{{type: Hostname}}]"),
            'spec.validation.subjectAltNames[0].hostname: required where type is "Hostname"',
        ),
        (
            policy(validation=f"{SYSTEM}, subjectAltNames: [{{type: URI}}]"),
            'spec.validation.subjectAltNames[0].uri: required where type is "URI"',
        ),
        (
            policy(validation=f"{SYSTEM}, subjectAltNames: [{{type: Hostname, hostname: a.b, uri: 'a://b'}}]"),
            'spec.validation.subjectAltNames[0].uri: must not be set where type is "Hostname"',
        ),
        (
            policy(validation=f"{SYSTEM}, subjectAltNames: [{{type: URI, uri: no-uri}}]"),
            'spec.validation.subjectAltNames[0].uri: must be a URI such as "spiffe://example.com/ns/default", '
            'not "no-uri"',
        ),
        (
            policy(validation=f"{SYSTEM}, subjectAltNames: [{', '.join(['{type: URI, uri: a://b}'] * 6)}]"),
            "spec.validation.subjectAltNames: must have at most 5 entries, not 6",
        ),
        (
            policy(options=", ".join(f"example.com/{number}: a" for number in range(17))),
            "spec.options: must have at most 16 entries, not 17",
        ),
        (
            policy(options=f"example.com/a: {'a' * 4097}"),
            "spec.options.example.com/a: must have at most 4096 characters, not 4097",
        ),
    ],
)
def test_a_policy_that_the_api_server_would_refuse_is_refused(text: str, mistake: str, mistakes: Mistakes) -> None:
    assert mistakes(text) == [mistake]


def test_ports_of_one_service_may_be_told_apart(mistakes: Mistakes) -> None:
    ports = ", ".join(f'{{group: "", kind: Service, name: a, sectionName: {name}}}' for name in ("one", "two"))
    assert mistakes(policy(targets=ports)) == []


GRANT = """
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: g}
spec: {from: [%s], to: [%s]}
"""
FROM = "{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}"
TO = '{group: "", kind: Service}'


@pytest.mark.parametrize(
    ("peers", "targets", "mistake"),
    [
        ("", TO, "spec.from: must have at least 1 entry"),
        (FROM, "", "spec.to: must have at least 1 entry"),
        (", ".join([FROM] * 17), TO, "spec.from: must have at most 16 entries, not 17"),
        (FROM, ", ".join([TO] * 17), "spec.to: must have at most 16 entries, not 17"),
        ("{group: '', kind: HTTPRoute}", TO, "spec.from[0].namespace: required"),
        (FROM, "{group: '', kind: Service, name: ''}", "spec.to[0].name: must not be empty"),
    ],
)
def test_a_grant_that_the_api_server_would_refuse_is_refused(
    peers: str, targets: str, mistake: str, mistakes: Mistakes
) -> None:
    assert mistakes(GRANT % (peers, targets)) == [mistake]
