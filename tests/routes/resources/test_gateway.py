import pytest
import yaml

from routes.resources.gateway import (
    AllowedRoutes,
    Gateway,
    GatewayClass,
    GatewaySpec,
    Listener,
    RouteNamespaces,
    SecretObjectReference,
    SelectingListener,
)
from routes.resources.meta import LabelSelector, ObjectMeta
from routes.resources.policy import ReferenceGrant
from routes.resources.scheme import ManifestError, parse


def gateway(spec: str) -> Gateway:
    raw = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "web"},
        "spec": {"gatewayClassName": "moongate", **yaml.safe_load(spec)},
    }
    value = parse(raw)
    assert isinstance(value, Gateway)
    return value


def refusals(spec: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        gateway(spec)
    return [str(error).removeprefix("spec.") for error in caught.value.errors]


HTTP = "{name: http, port: 80, protocol: HTTP}"


def test_a_listener_takes_routes_of_every_kind_from_its_own_namespace() -> None:
    [listener] = gateway(f"listeners: [{HTTP}]").spec.listeners
    assert listener == Listener(
        name="http",
        hostname=None,
        port=80,
        protocol="HTTP",
        tls=None,
        allowed_routes=AllowedRoutes(namespaces=RouteNamespaces(from_="Same"), kinds=None),
    )


def test_a_listener_terminates_tls_with_secrets_of_its_own_namespace() -> None:
    [listener] = gateway(
        "listeners: [{name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}]"
    ).spec.listeners
    assert listener.tls is not None
    assert listener.tls.mode == "Terminate"
    assert listener.tls.certificate_refs == (
        SecretObjectReference(group="", kind="Secret", name="cert", namespace=None),
    )


def test_no_listener_set_is_allowed_unless_a_gateway_says_so() -> None:
    assert gateway(f"listeners: [{HTTP}]").spec.allowed_listeners.namespaces.from_ == "None"


def test_every_field_of_the_experimental_channel_is_read() -> None:
    spec = gateway(
        """
        defaultScope: All
        addresses: [{type: IPAddress, value: 10.0.0.1}, {type: Hostname, value: web.example.com}, {value: "::1"}]
        allowedListeners: {namespaces: {from: Selector, selector: {matchLabels: {team: a}}}}
        infrastructure:
          labels: {app: web, example.com/tier: front}
          annotations: {example.com/note: "a b"}
          parametersRef: {group: "", kind: ConfigMap, name: settings}
        tls:
          backend: {clientCertificateRef: {name: client}}
          frontend:
            default: {validation: {caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}]}}
            perPort:
            - port: 8443
              tls:
                validation:
                  mode: AllowInsecureFallback
                  caCertificateRefs: [{group: "", kind: ConfigMap, name: ca, namespace: pki}]
        listeners:
        - name: tls
          hostname: "*.example.com"
          port: 443
          protocol: TLS
          tls: {mode: Passthrough, options: {example.com/x: "y"}}
          allowedRoutes: {kinds: [{kind: TLSRoute}], namespaces: {from: All}}
        """
    ).spec
    assert spec.tls is not None
    assert spec.tls.frontend is not None
    assert spec.tls.frontend.per_port[0].tls.validation is not None
    assert spec.tls.frontend.per_port[0].tls.validation.mode == "AllowInsecureFallback"
    assert spec.listeners[0].allowed_routes.kinds is not None
    assert spec.listeners[0].allowed_routes.kinds[0].group == "gateway.networking.k8s.io"
    assert spec.infrastructure is not None
    assert spec.infrastructure.labels == {"app": "web", "example.com/tier": "front"}


def test_a_gateway_made_in_python_may_have_a_listener_that_selects() -> None:
    listener = SelectingListener(name="http", port=80, protocol="HTTP", route_selector=LabelSelector())
    made = Gateway(metadata=ObjectMeta(name="a"), spec=GatewaySpec(gateway_class_name="b", listeners=(listener,)))
    assert made.spec.listeners == (listener,)
    assert isinstance(made.spec.listeners[0], SelectingListener)


def test_no_manifest_of_v1_has_a_listener_that_selects() -> None:
    [error] = refusals("listeners: [{name: http, port: 80, protocol: HTTP, routeSelector: {}}]")
    assert error.startswith("listeners[0].routeSelector: unknown field")


@pytest.mark.parametrize(
    ("listener", "sentence"),
    [
        ("{name: a, port: 80}", "protocol: required"),
        ("{port: 80, protocol: HTTP}", "name: required"),
        (
            "{name: A_b, port: 80, protocol: HTTP}",
            'name: must be lower case letters, digits, "-" and ".", with a letter or digit at each end, not "A_b"',
        ),
        ("{name: a, port: 70000, protocol: HTTP}", "port: must be 65535 or less, not the number 70000"),
        (
            "{name: a, port: 80, protocol: 'a b'}",
            'protocol: must be a protocol such as "HTTP" or "HTTPS", or one with a domain such as "example.com/name", '
            'not "a b"',
        ),
        (
            "{name: a, port: 80, protocol: HTTP, hostname: 'whoami:80'}",
            "hostname: must not have a port: write 'whoami' instead of 'whoami:80'",
        ),
        (
            "{name: a, port: 80, protocol: HTTP, tls: {certificateRefs: [{name: c}]}}",
            "tls: must not be set where protocol is HTTP",
        ),
        ("{name: a, port: 443, protocol: TLS}", "tls: required where protocol is TLS"),
        (
            "{name: a, port: 443, protocol: HTTPS, tls: {mode: Passthrough}}",
            'tls.mode: must be "Terminate" where protocol is HTTPS; Passthrough goes with TLS',
        ),
        (
            "{name: a, port: 443, protocol: HTTPS, tls: {}}",
            'tls.certificateRefs: required where mode is "Terminate": name a Secret with a certificate',
        ),
        (
            "{name: a, port: 53, protocol: UDP, hostname: a.b}",
            "hostname: must not be set where protocol is UDP, which has no host names",
        ),
        (
            "{name: a, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: same}}}",
            'allowedRoutes.namespaces.from: must be All, Selector or Same, not "same"; did you mean "Same"?',
        ),
        (
            "{name: a, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {selector: "
            "{matchExpressions: [{key: a, operator: Equals}]}}}}",
            "allowedRoutes.namespaces.selector.matchExpressions[0].operator: "
            'must be In, NotIn, Exists or DoesNotExist, not "Equals"',
        ),
    ],
)
def test_a_listener_that_the_api_server_would_refuse_is_refused(listener: str, sentence: str) -> None:
    assert refusals(f"listeners: [{listener}]") == [f"listeners[0].{sentence}"]


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("{listeners: []}", "listeners: must have at least 1 entry"),
        ("{}", "listeners: required"),
        (
            f"{{listeners: [{HTTP}, {{name: http, port: 81, protocol: HTTP}}]}}",
            "listeners[1].name: 'http' is already in this list, at index 0",
        ),
        (
            f"{{listeners: [{HTTP}, {{name: again, port: 80, protocol: HTTP}}]}}",
            "listeners[1]: has the port, protocol and hostname of the listener 'http'",
        ),
        (
            f"{{listeners: [{HTTP}], addresses: [{{value: whoami}}]}}",
            "addresses[0].value: must be an IPv4 or IPv6 address, not 'whoami'",
        ),
        (
            f"{{listeners: [{HTTP}], addresses: [{{type: Hostname, value: A.b}}]}}",
            "addresses[0].value: must be lower case: write 'a.b' instead of 'A.b'",
        ),
        (
            f"{{listeners: [{HTTP}], addresses: [{{value: 10.0.0.1}}, {{value: 10.0.0.1}}]}}",
            "addresses[1]: '10.0.0.1' is already in this list, at index 0",
        ),
        (
            f"{{listeners: [{HTTP}], infrastructure: {{labels: {{'a b': c}}}}}}",
            "infrastructure.labels.a b: must be a key such as 'app' or 'example.com/app'",
        ),
        (
            f"{{listeners: [{HTTP}], infrastructure: {{labels: {{a: 'b c'}}}}}}",
            'infrastructure.labels.a: must be letters, digits, "-", "_" and ".", with a letter or digit at each end, '
            'not "b c"',
        ),
        (
            f"{{listeners: [{HTTP}], tls: {{frontend: {{default: {{}}, "
            "perPort: [{port: 1, tls: {}}, {port: 1, tls: {}}]}}}",
            "tls.frontend.perPort[1].port: the entry at index 0 has this port already",
        ),
    ],
)
def test_a_gateway_that_the_api_server_would_refuse_is_refused(spec: str, sentence: str) -> None:
    assert refusals(spec) == [sentence]


def test_a_gateway_has_at_most_64_listeners() -> None:
    listeners = ", ".join(f"{{name: l{n}, port: {n}, protocol: HTTP}}" for n in range(1, 66))
    assert refusals(f"listeners: [{listeners}]") == ["listeners: must have at most 64 entries, not 65"]


def test_a_gateway_class_names_its_controller() -> None:
    value = parse(
        yaml.safe_load(
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: GatewayClass
            metadata: {name: moongate}
            spec:
              controllerName: example.com/gateway-controller
              description: a class
              parametersRef: {group: example.com, kind: Settings, name: a, namespace: b}
            """
        )
    )
    assert isinstance(value, GatewayClass)
    assert value.spec.controller_name == "example.com/gateway-controller"
    assert value.key.namespace == ""


def test_a_controller_is_a_domain_and_a_path() -> None:
    raw = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "a"}}
    with pytest.raises(ManifestError) as caught:
        parse({**raw, "spec": {"controllerName": "moongate"}})
    assert str(caught.value) == (
        'spec.controllerName: must be a domain and a path, such as "example.com/gateway-controller", not "moongate"'
    )


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_reference_grant_is_one_model_in_both_versions(version: str) -> None:
    value = parse(
        yaml.safe_load(
            f"""
            apiVersion: gateway.networking.k8s.io/{version}
            kind: ReferenceGrant
            metadata: {{name: a, namespace: pki}}
            spec:
              from: [{{group: gateway.networking.k8s.io, kind: Gateway, namespace: web}}]
              to: [{{group: "", kind: Secret}}]
            """
        )
    )
    assert isinstance(value, ReferenceGrant)
    assert value.spec.from_[0].namespace == "web"
    assert value.spec.to[0].name is None
    assert value.api_version.endswith(version)


def test_a_reference_grant_names_both_sides() -> None:
    raw = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "ReferenceGrant", "metadata": {"name": "a"}}
    with pytest.raises(ManifestError) as caught:
        parse({**raw, "spec": {"from": [], "to": [{"kind": "Secret"}]}})
    assert [str(error) for error in caught.value.errors] == [
        "spec.from: must have at least 1 entry",
        "spec.to[0].group: required",
    ]
