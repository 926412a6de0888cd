"""ListenerSets as they are written, and what an API server would refuse of them."""

from typing import Any

import pytest
import yaml

from routes.resources.gateway import Gateway, ListenerSet
from routes.resources.meta import GATEWAY_GROUP, Key
from routes.resources.scheme import ManifestError, parse

HTTP = "{name: http, port: 80, protocol: HTTP}"
MANY = [f"{{name: p{port}, port: {port}, protocol: HTTP}}" for port in range(1, 66)]


def raw(spec: str, version: str = "v1") -> dict[str, Any]:
    return {
        "apiVersion": f"{GATEWAY_GROUP}/{version}",
        "kind": "ListenerSet",
        "metadata": {"name": "more", "namespace": "shop"},
        "spec": yaml.safe_load(spec),
    }


def refusals(spec: str, version: str = "v1") -> list[str]:
    with pytest.raises(ManifestError) as caught:
        parse(raw(spec, version))
    return [str(error) for error in caught.value.errors]


def test_a_listener_set_names_a_gateway_of_its_own_namespace_unless_it_says_otherwise() -> None:
    value = parse(raw(f"{{parentRef: {{name: a}}, listeners: [{HTTP}]}}"))
    assert isinstance(value, ListenerSet)
    assert value.key == Key(GATEWAY_GROUP, "ListenerSet", "shop", "more")
    ref = value.spec.parent_ref
    assert (ref.group, ref.kind, ref.namespace, ref.name) == (GATEWAY_GROUP, "Gateway", None, "a")


def test_its_listeners_are_those_of_a_gateway() -> None:
    listeners = """
    - {name: http, port: 80, protocol: HTTP, hostname: "*.example.com", allowedRoutes: {kinds: [{kind: HTTPRoute}]}}
    - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: a, namespace: certs}]}}
    """
    value = parse(raw(f"parentRef: {{name: a}}\nlisteners:{listeners}"))
    gateway = parse(raw(f"gatewayClassName: moongate\nlisteners:{listeners}") | {"kind": "Gateway"})
    assert isinstance(value, ListenerSet)
    assert isinstance(gateway, Gateway)
    assert value.spec.listeners == gateway.spec.listeners


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (f"{{listeners: [{HTTP}]}}", "spec.parentRef: required"),
        (f"{{parentRef: {{}}, listeners: [{HTTP}]}}", "spec.parentRef.name: required"),
        (
            f"{{parentRef: {{name: a, sectionName: b}}, listeners: [{HTTP}]}}",
            "spec.parentRef.sectionName: unknown field",
        ),
        ("{parentRef: {name: a}}", "spec.listeners: required"),
        ("{parentRef: {name: a}, listeners: []}", "spec.listeners: must have at least 1 entry"),
        (
            f"{{parentRef: {{name: a}}, listeners: [{', '.join(MANY)}]}}",
            "spec.listeners: must have at most 64 entries, not 65",
        ),
        (
            f"{{parentRef: {{name: a}}, listeners: [{HTTP}, {{name: http, port: 81, protocol: HTTP}}]}}",
            "spec.listeners[1].name: 'http' is already in this list, at index 0",
        ),
        (
            f"{{parentRef: {{name: a}}, listeners: [{HTTP}, {{name: b, port: 80, protocol: HTTP}}]}}",
            "spec.listeners[1]: has the port, protocol and hostname of the listener 'http'",
        ),
        (
            "{parentRef: {name: a}, listeners: [{name: b, port: 443, protocol: HTTPS, tls: {mode: Passthrough}}]}",
            'spec.listeners[0].tls.mode: must be "Terminate" where protocol is HTTPS; Passthrough goes with TLS',
        ),
        (
            "{parentRef: {name: a}, listeners: [{name: b, port: 443, protocol: TLS}]}",
            "spec.listeners[0].tls: required where protocol is TLS",
        ),
        (
            "{parentRef: {name: a}, listeners: [{name: b, port: 443, protocol: HTTPS, tls: {}}]}",
            "spec.listeners[0].tls.certificateRefs: "
            'required where mode is "Terminate": name a Secret with a certificate',
        ),
    ],
)
def test_what_an_api_server_refuses_is_refused_here(spec: str, sentence: str) -> None:
    assert refusals(spec) == [sentence]


def test_there_is_one_version() -> None:
    [sentence] = refusals(f"{{parentRef: {{name: a}}, listeners: [{HTTP}]}}", "v1beta1")
    assert sentence.startswith("apiVersion: ")
    assert sentence.endswith(f"write {GATEWAY_GROUP}/v1")


def test_listeners_of_one_port_and_hostname_may_differ_in_protocol() -> None:
    """Whether they can share the port is not for the schema to say."""
    https = "{name: b, port: 80, protocol: HTTPS, tls: {certificateRefs: [{name: a}]}}"
    assert isinstance(parse(raw(f"{{parentRef: {{name: a}}, listeners: [{HTTP}, {https}]}}")), ListenerSet)
