"""v1alpha1 manifests and the v1 manifests that say the same."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from routes.resources import conversion, v1alpha1
from routes.resources.errors import ConversionError
from routes.resources.gateway import Gateway, GatewayClass, Listener, SelectingListener
from routes.resources.http import GatewayAllowance, GatewayReference, HTTPRoute, SelectedHTTPRoute
from routes.resources.meta import Key, LabelSelector, ObjectMeta, Resource
from routes.resources.scheme import parse

Mistakes = Callable[[str], list[str]]

OLD = "networking.x-k8s.io/v1alpha1"
NEW = "gateway.networking.k8s.io/v1"


def read(api_version: str, kind: str, spec: str) -> Resource:
    raw: dict[str, Any] = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}
    value = parse({**raw, "spec": yaml.safe_load(spec)})
    assert value is not None
    return value


def converted(spec: str) -> SelectedHTTPRoute:
    value = read(OLD, "HTTPRoute", spec)
    assert isinstance(value, SelectedHTTPRoute)
    return value


def gateway(spec: str) -> Gateway:
    value = read(OLD, "Gateway", spec)
    assert isinstance(value, Gateway)
    return value


def same_route(old: str, new: str) -> None:
    value = read(NEW, "HTTPRoute", new)
    assert isinstance(value, HTTPRoute)
    assert converted(old).spec == value.spec


def same_gateway(old: str, new: str) -> None:
    """Compares everything but what v1 has no field for."""
    left, right = gateway(old).spec, read(NEW, "Gateway", new)
    assert isinstance(right, Gateway)
    plain = tuple(Listener(**{field: getattr(one, field) for field in Listener.model_fields}) for one in left.listeners)
    assert left.model_copy(update={"listeners": plain}) == right.spec


def test_a_class_keeps_its_controller() -> None:
    old = read(
        OLD,
        "GatewayClass",
        "{controller: traefik.io/gateway-controller, parametersRef: {group: core, kind: ConfigMap, name: a}}",
    )
    new = read(
        NEW,
        "GatewayClass",
        "{controllerName: traefik.io/gateway-controller, parametersRef: {group: '', kind: ConfigMap, name: a}}",
    )
    assert isinstance(old, GatewayClass)
    assert isinstance(new, GatewayClass)
    assert old.spec == new.spec


def test_an_object_keeps_its_version_and_so_its_identity() -> None:
    value = converted("{rules: [{}]}")
    assert value.api_version == OLD
    assert value.key == Key("networking.x-k8s.io", "HTTPRoute", "default", "a")


def test_a_gateway_becomes_v1s() -> None:
    same_gateway(
        """
        gatewayClassName: traefik
        addresses: [{value: 10.0.0.1}, {type: NamedAddress, value: front}]
        listeners:
        - port: 8000
          protocol: HTTP
          hostname: "*"
          routes: {kind: HTTPRoute, selector: {matchLabels: {app: traefik}}}
        - port: 8443
          protocol: HTTPS
          hostname: "*.example.com"
          tls:
            certificateRef: {group: core, kind: Secret, name: mysecret}
            options: {example.com/min: "1.2"}
          routes: {kind: HTTPRoute, namespaces: {from: Selector, selector: {matchLabels: {team: a}}}}
        - {port: 9443, protocol: TLS, tls: {mode: Passthrough}, routes: {kind: TLSRoute, namespaces: {from: All}}}
        - {port: 53, protocol: UDP, hostname: ignored, routes: {kind: Custom, group: example.com}}
        """,
        """
        gatewayClassName: traefik
        addresses: [{value: 10.0.0.1}, {type: NamedAddress, value: front}]
        listeners:
        - {name: http-8000, port: 8000, protocol: HTTP, allowedRoutes: {kinds: [{kind: HTTPRoute}]}}
        - name: https-8443
          port: 8443
          protocol: HTTPS
          hostname: "*.example.com"
          tls: {certificateRefs: [{name: mysecret}], options: {example.com/min: "1.2"}}
          allowedRoutes:
            kinds: [{kind: HTTPRoute}]
            namespaces: {from: Selector, selector: {matchLabels: {team: a}}}
        - name: tls-9443
          port: 9443
          protocol: TLS
          tls: {mode: Passthrough}
          allowedRoutes: {kinds: [{kind: TLSRoute}], namespaces: {from: All}}
        - {name: udp-53, port: 53, protocol: UDP, allowedRoutes: {kinds: [{kind: Custom, group: example.com}]}}
        """,
    )


def test_a_listener_keeps_its_selector() -> None:
    [listener] = gateway(
        "{gatewayClassName: a, listeners: [{port: 80, protocol: HTTP, "
        "routes: {kind: HTTPRoute, selector: {matchLabels: {app: traefik}}}}]}"
    ).spec.listeners
    assert isinstance(listener, SelectingListener)
    assert listener.route_selector == LabelSelector(match_labels={"app": "traefik"})


def test_a_listener_without_selector_takes_every_label() -> None:
    [listener] = gateway(
        "{gatewayClassName: a, listeners: [{port: 80, protocol: HTTP, routes: {kind: HTTPRoute}}]}"
    ).spec.listeners
    assert isinstance(listener, SelectingListener)
    assert listener.route_selector.matches({"any": "thing"})


@pytest.mark.parametrize("hostname", ["'*'", "''", "null"])
def test_a_listener_for_every_host_has_no_hostname(hostname: str) -> None:
    [listener] = gateway(
        f"{{gatewayClassName: a, listeners: [{{hostname: {hostname}, port: 80, protocol: HTTP, "
        "routes: {kind: HTTPRoute}}]}"
    ).spec.listeners
    assert listener.hostname is None


def test_listeners_of_one_port_are_numbered() -> None:
    listeners = ", ".join(
        f"{{port: 80, protocol: HTTP, hostname: {host}, routes: {{kind: HTTPRoute}}}}" for host in ("a", "b", "c")
    )
    value = gateway(f"{{gatewayClassName: a, listeners: [{listeners}]}}")
    assert [one.name for one in value.spec.listeners] == ["http-80", "http-80-2", "http-80-3"]


def test_a_protocol_with_a_domain_makes_a_name_as_well() -> None:
    value = gateway(
        "{gatewayClassName: a, listeners: [{port: 80, protocol: example.com/Bar, routes: {kind: HTTPRoute}}]}"
    )
    assert [one.name for one in value.spec.listeners] == ["example-com-bar-80"]


CERTIFIED = (
    "{port: 8443, protocol: HTTPS, routes: {kind: %s}, tls: {certificateRef: {group: core, kind: Secret, name: %s}}}"
)


def test_listeners_that_differ_only_in_their_certificate_become_one() -> None:
    listeners = ", ".join(CERTIFIED % ("HTTPRoute", name) for name in ("one", "two", "three"))
    [listener] = gateway(f"{{gatewayClassName: a, listeners: [{listeners}]}}").spec.listeners
    assert isinstance(listener, SelectingListener)
    assert listener.name == "https-8443"
    assert listener.tls is not None
    assert [ref.name for ref in listener.tls.certificate_refs] == ["one", "two", "three"]


def test_listeners_of_one_port_and_host_that_differ_in_more_are_refused(mistakes: Mistakes) -> None:
    listeners = f"{CERTIFIED % ('HTTPRoute', 'one')}, {CERTIFIED % ('Other', 'two')}"
    assert mistakes(
        f"{{apiVersion: {OLD}, kind: Gateway, metadata: {{name: a}}, "
        f"spec: {{gatewayClassName: a, listeners: [{listeners}]}}}}"
    ) == [
        "spec.listeners[1]: has the port, protocol and hostname of listeners[0], "
        "and may then differ in its certificate only"
    ]


def test_tls_where_it_means_nothing_is_dropped() -> None:
    [listener] = gateway(
        "{gatewayClassName: a, listeners: [{port: 80, protocol: HTTP, routes: {kind: HTTPRoute}, "
        "tls: {certificateRef: {group: core, kind: Secret, name: a}}}]}"
    ).spec.listeners
    assert listener.tls is None


def test_a_route_becomes_v1s() -> None:
    same_route(
        """
        hostnames: [whoami, "*.example.com"]
        rules:
        - matches:
          - path: {type: Exact, value: /foo}
            headers: {values: {X-A: "1", X-B: "2"}}
          - path: {value: /bar}
            headers: {type: RegularExpression, values: {X-C: ".+"}}
          - path: {type: RegularExpression, value: "^/v[0-9]"}
          filters:
          - {type: RequestHeaderModifier, requestHeaderModifier: {add: {X-D: "4", X-E: "5"}, remove: [X-F]}}
          - {type: RequestMirror, requestMirror: {serviceName: shadow, port: 80}}
          - {type: ExtensionRef, extensionRef: {group: example.com, kind: Auth, name: basic}}
          forwardTo:
          - {serviceName: whoami, port: 80, weight: 3}
          - port: 81
            backendRef: {group: example.com, kind: Bucket, name: store}
            filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: {X-G: "7"}}}]
          - {port: 82, weight: 0, backendRef: {group: core, kind: Service, name: third}}
        """,
        """
        hostnames: [whoami, "*.example.com"]
        rules:
        - matches:
          - path: {type: Exact, value: /foo}
            headers: [{name: X-A, value: "1"}, {name: X-B, value: "2"}]
          - path: {type: PathPrefix, value: /bar}
            headers: [{type: RegularExpression, name: X-C, value: ".+"}]
          - path: {type: RegularExpression, value: "^/v[0-9]"}
          filters:
          - type: RequestHeaderModifier
            requestHeaderModifier: {add: [{name: X-D, value: "4"}, {name: X-E, value: "5"}], remove: [X-F]}
          - {type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 80}}}
          - {type: ExtensionRef, extensionRef: {group: example.com, kind: Auth, name: basic}}
          backendRefs:
          - {name: whoami, port: 80, weight: 3}
          - group: example.com
            kind: Bucket
            name: store
            port: 81
            filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: X-G, value: "7"}]}}]
          - {name: third, port: 82, weight: 0}
        """,
    )


def test_a_rule_without_matches_takes_every_path() -> None:
    same_route(
        "{rules: [{forwardTo: [{serviceName: a, port: 80}]}]}", "{rules: [{backendRefs: [{name: a, port: 80}]}]}"
    )


def test_a_match_without_path_takes_every_path() -> None:
    same_route(
        "{rules: [{matches: [{headers: {values: {a: b}}}]}]}",
        "{rules: [{matches: [{path: {type: PathPrefix, value: /}, headers: [{name: a, value: b}]}]}]}",
    )


def test_a_service_name_wins_over_a_backend_ref() -> None:
    same_route(
        """
        rules:
        - forwardTo: [{serviceName: a, port: 80, backendRef: {group: example.com, kind: Bucket, name: b}}]
          filters:
          - type: RequestMirror
            requestMirror: {serviceName: c, port: 81, backendRef: {group: example.com, kind: Bucket, name: d}}
        """,
        """
        rules:
        - backendRefs: [{name: a, port: 80}]
          filters: [{type: RequestMirror, requestMirror: {backendRef: {name: c, port: 81}}}]
        """,
    )


def test_a_mirror_may_be_another_kind() -> None:
    same_route(
        "{rules: [{filters: [{type: RequestMirror, "
        "requestMirror: {port: 81, backendRef: {group: example.com, kind: Bucket, name: d}}}]}]}",
        "{rules: [{filters: [{type: RequestMirror, "
        "requestMirror: {backendRef: {group: example.com, kind: Bucket, name: d, port: 81}}}]}]}",
    )


def test_a_route_lets_the_gateways_of_its_namespace_select_it() -> None:
    assert converted("{rules: [{}]}").gateways == GatewayAllowance(allow="SameNamespace")


def test_a_route_keeps_its_list_of_gateways() -> None:
    value = converted("{rules: [{}], gateways: {allow: FromList, gatewayRefs: [{name: a, namespace: b}]}}")
    assert value.gateways == GatewayAllowance(
        allow="FromList", gateway_refs=(GatewayReference(name="a", namespace="b"),)
    )
    assert value.spec.parent_refs == ()


def test_a_routes_certificate_is_passed_over_as_no_listener_takes_it() -> None:
    certified = "{tls: {certificateRef: {group: core, kind: Secret, name: a}}, rules: [{}]}"
    assert converted(certified).spec == converted("{rules: [{}]}").spec


ROUTE = f"{{apiVersion: {OLD}, kind: HTTPRoute, metadata: {{name: a}}, spec: {{rules: [%s]}}}}"
GATEWAY = f"{{apiVersion: {OLD}, kind: Gateway, metadata: {{name: a}}, spec: {{gatewayClassName: a, listeners: [%s]}}}}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            ROUTE % "{matches: [{extensionRef: {group: a, kind: b, name: c}}]}",
            "spec.rules[0].matches[0].extensionRef: v1 has no extensions of matches",
        ),
        (
            ROUTE % "{matches: [{path: {type: ImplementationSpecific, value: x}}]}",
            'spec.rules[0].matches[0].path.type: "ImplementationSpecific" means something else with every gateway '
            "and nothing in v1: write Exact, Prefix or RegularExpression",
        ),
        (
            ROUTE % "{matches: [{headers: {type: ImplementationSpecific, values: {a: b}}}]}",
            'spec.rules[0].matches[0].headers.type: "ImplementationSpecific" means something else with every gateway '
            "and nothing in v1: write Exact or RegularExpression",
        ),
        (
            ROUTE % "{matches: [{headers: {values: {X-A: b, x-a: c}}}]}",
            "spec.rules[0].matches[0].headers.values.x-a: is the header 'X-A' once more: case makes no difference",
        ),
        (
            ROUTE % "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: {X-A: b, x-a: c}}}]}",
            "spec.rules[0].filters[0].requestHeaderModifier.add.x-a: is the header 'X-A' once more: "
            "case makes no difference",
        ),
        (
            ROUTE % "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {}}, "
            "{type: RequestHeaderModifier, requestHeaderModifier: {}}]}",
            "spec.rules[0]: a second RequestHeaderModifier is not allowed: merge it with the one at index 0",
        ),
        (
            ROUTE % "{forwardTo: [{port: 80, backendRef: {group: a, kind: 'b c', name: d}}]}",
            'spec.rules[0].forwardTo[0].backendRef: must be a kind such as "Service", not "b c"',
        ),
        (
            GATEWAY
            % "{port: 443, protocol: HTTPS, routes: {kind: HTTPRoute}, tls: {routeOverride: {certificate: Allow}, "
            "certificateRef: {group: core, kind: Secret, name: a}}}",
            "spec.listeners[0].tls.routeOverride.certificate: v1 has no certificates of routes: "
            "write Deny and give the route's host a listener with its certificate",
        ),
        (
            GATEWAY % "{port: 443, protocol: HTTPS, routes: {kind: HTTPRoute}, tls: {}}",
            'spec.listeners[0].tls.certificateRef: required where mode is "Terminate": '
            "name a Secret with a certificate",
        ),
        (
            GATEWAY % "{port: 443, protocol: TLS, routes: {kind: TLSRoute}}",
            "spec.listeners[0]: required where protocol is TLS",
        ),
        (
            f"{{apiVersion: {OLD}, kind: GatewayClass, metadata: {{name: a}}, spec: {{controller: traefik}}}}",
            'spec.controller: must be a domain and a path, such as "example.com/gateway-controller", not "traefik"',
        ),
    ],
)
def test_what_v1_cannot_say_is_refused(mistakes: Mistakes, text: str, sentence: str) -> None:
    assert mistakes(text) == [sentence]


def test_a_conversion_says_where_it_failed() -> None:
    spec = {"rules": [{"matches": [{"path": {"type": "ImplementationSpecific", "value": "x"}}]}]}
    old = v1alpha1.HTTPRoute(metadata=ObjectMeta(name="a"), spec=v1alpha1.HTTPRouteSpec.model_validate(spec))
    with pytest.raises(ConversionError) as caught:
        conversion.http_route(old)
    assert caught.value.field == "spec.rules[0].matches[0].path.type"
    assert caught.value.path == ("spec", "rules", 0, "matches", 0, "path", "type")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (ROUTE % "", "spec.rules: must have at least 1 entry"),
        (
            ROUTE % "{backendRefs: []}",
            'spec.rules[0].backendRefs: unknown field; did you mean "forwardTo"? '
            '("backendRefs" belongs to another version of the API)',
        ),
        (ROUTE % "{forwardTo: [{serviceName: a}]}", "spec.rules[0].forwardTo[0].port: required"),
        (
            ROUTE % "{forwardTo: [{port: 80}]}",
            "spec.rules[0].forwardTo[0].serviceName: required where backendRef is not set",
        ),
        (
            ROUTE % "{filters: [{type: RequestMirror, requestMirror: {port: 80}}]}",
            "spec.rules[0].filters[0].requestMirror.serviceName: required where backendRef is not set",
        ),
        (
            ROUTE % "{filters: [{type: RequestMirror}]}",
            'spec.rules[0].filters[0].requestMirror: required where type is "RequestMirror"',
        ),
        (
            ROUTE % "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {}, "
            "extensionRef: {group: a, kind: b, name: c}}]}",
            "spec.rules[0].filters[0].extensionRef: must not be set where type is "
            '"RequestHeaderModifier": it belongs to "ExtensionRef"',
        ),
        (
            ROUTE % "{matches: [{path: {value: foo}}]}",
            "spec.rules[0].matches[0].path.value: must start with '/': write '/foo' instead of 'foo'",
        ),
        (
            ROUTE % "{matches: [{path: {type: PathPrefix, value: /}}]}",
            "spec.rules[0].matches[0].path.type: must be Exact, Prefix, RegularExpression or ImplementationSpecific, "
            'not "PathPrefix"; did you mean "Prefix"?',
        ),
        (
            ROUTE % "{matches: [{headers: {values: {}}}]}",
            "spec.rules[0].matches[0].headers.values: must have at least 1 entry",
        ),
        (
            ROUTE % "{forwardTo: [{serviceName: a, port: 80, weight: 1.5}]}",
            "spec.rules[0].forwardTo[0].weight: must be an integer, not the number 1.5",
        ),
        (
            f"{{apiVersion: {OLD}, kind: HTTPRoute, metadata: {{name: a}}, "
            "spec: {hostnames: ['whoami:80'], rules: [{}]}}",
            "spec.hostnames[0]: must not have a port: write 'whoami' instead of 'whoami:80'",
        ),
        (
            f"{{apiVersion: {OLD}, kind: HTTPRoute, metadata: {{name: a}}, "
            "spec: {gateways: {allow: FromList}, rules: [{}]}}",
            'spec.gateways.gatewayRefs: required where allow is "FromList"',
        ),
        (
            GATEWAY % "{port: 80, protocol: HTTP, hostname: A, routes: {kind: HTTPRoute}}",
            "spec.listeners[0].hostname: must be lower case: write 'a' instead of 'A'",
        ),
        (GATEWAY % "{port: 80, protocol: HTTP}", "spec.listeners[0].routes: required"),
        (
            GATEWAY % "{name: a, port: 80, protocol: HTTP, routes: {kind: HTTPRoute}}",
            "spec.listeners[0].name: unknown field",
        ),
    ],
)
def test_a_mistake_is_told_in_the_words_of_v1alpha1(mistakes: Mistakes, text: str, sentence: str) -> None:
    assert mistakes(text) == [sentence]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (
            "TLSRoute",
            "{gateways: {allow: All}, "
            "rules: [{matches: [{snis: [a.b, '*.c']}], forwardTo: [{serviceName: a, port: 1}]}]}",
        ),
        ("TCPRoute", "{rules: [{forwardTo: [{serviceName: a, port: 1, weight: 2}]}]}"),
        (
            "UDPRoute",
            "{rules: [{matches: [{extensionRef: {group: a, kind: b, name: c}}], "
            "forwardTo: [{serviceName: a, port: 1}]}]}",
        ),
        (
            "BackendPolicy",
            "{backendRefs: [{group: core, kind: Service, name: a, port: 1}], "
            "tls: {certificateAuthorityRef: {group: core, kind: Secret, name: ca}, options: {a: b}}}",
        ),
    ],
)
def test_kinds_that_are_served_later_are_checked_and_passed_over(mistakes: Mistakes, kind: str, spec: str) -> None:
    raw = yaml.safe_load(f"{{apiVersion: {OLD}, kind: {kind}, metadata: {{name: a}}, spec: {spec}}}")
    assert parse(raw) is None
    [error] = mistakes(f"{{apiVersion: {OLD}, kind: {kind}, metadata: {{name: a}}, spec: {spec[:-1]}, wrong: 1}}}}")
    assert error.startswith("spec.wrong: unknown field")


@pytest.mark.parametrize("kind", ["TLSRoute", "TCPRoute", "UDPRoute"])
def test_a_stream_route_goes_somewhere(mistakes: Mistakes, kind: str) -> None:
    text = f"{{apiVersion: {OLD}, kind: {kind}, metadata: {{name: a}}, spec: {{rules: [{{forwardTo: []}}]}}}}"
    assert mistakes(text) == ["spec.rules[0].forwardTo: must have at least 1 entry"]
