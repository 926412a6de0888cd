import pytest
import yaml
from pydantic import ValidationError

from routes.resources.core import (
    ConfigMap,
    CustomResourceDefinition,
    Endpoints,
    EndpointSlice,
    Namespace,
    Secret,
    Service,
    ServicePort,
    Workload,
)
from routes.resources.meta import Key, ObjectMeta, Resource
from routes.resources.scheme import ManifestError, parse


def read(text: str) -> Resource | None:
    return parse(yaml.safe_load(text))


def refusals(text: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        read(text)
    return [str(error) for error in caught.value.errors]


SERVICE = "{apiVersion: v1, kind: Service, metadata: {name: app}, spec: {%s}}"


def test_a_service_port_has_the_api_servers_defaults() -> None:
    value = read(SERVICE % "ports: [{port: 80}]")
    assert isinstance(value, Service)
    assert value.spec.type == "ClusterIP"
    assert value.spec.ports == (
        ServicePort(name="", port=80, protocol="TCP", target_port=None, app_protocol=None, node_port=None),
    )


def test_a_service_as_an_api_server_gives_it_is_read() -> None:
    value = read(
        """
        apiVersion: v1
        kind: Service
        metadata:
          name: app
          namespace: shop
          uid: 6a1c
          resourceVersion: "42"
          creationTimestamp: "2026-01-31T12:00:00Z"
          managedFields: [{manager: kubectl, operation: Update}]
          ownerReferences: [{kind: Thing, name: a}]
        spec:
          allocateLoadBalancerNodePorts: true
          clusterIP: 10.96.0.12
          clusterIPs: [10.96.0.12]
          externalIPs: [192.0.2.1]
          externalTrafficPolicy: Local
          healthCheckNodePort: 30000
          internalTrafficPolicy: Cluster
          ipFamilies: [IPv4]
          ipFamilyPolicy: SingleStack
          loadBalancerClass: example.com/lb
          loadBalancerIP: 192.0.2.2
          loadBalancerSourceRanges: [192.0.2.0/24]
          publishNotReadyAddresses: true
          sessionAffinity: ClientIP
          sessionAffinityConfig: {clientIP: {timeoutSeconds: 10}}
          trafficDistribution: PreferSameZone
          selector: {app: app}
          type: LoadBalancer
          ports:
          - {name: http, port: 80, targetPort: web, nodePort: 31080, appProtocol: kubernetes.io/h2c}
          - {name: metrics, port: 9090, targetPort: 9091, protocol: TCP}
        status: {loadBalancer: {ingress: [{ip: 192.0.2.2}]}}
        """
    )
    assert isinstance(value, Service)
    assert (value.spec.cluster_ip, value.spec.type) == ("10.96.0.12", "LoadBalancer")
    assert [port.target_port for port in value.spec.ports] == ["web", 9091]
    assert value.spec.ports[0].app_protocol == "kubernetes.io/h2c"
    assert value.metadata.creation_timestamp is not None


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (
            "ports: [{port: 80, targetPort: true}]",
            "ports[0].targetPort: must be a port number or a port's name, not the boolean true",
        ),
        ("ports: [{port: 80, targetPort: 0}]", "ports[0].targetPort: must be between 1 and 65535"),
        ("ports: [{port: 80, protocol: HTTP}]", 'ports[0].protocol: must be TCP, UDP or SCTP, not "HTTP"'),
        ("ports: [{port: 80}, {port: 81}]", "ports[0].name: required where a Service has several ports"),
        (
            "ports: [{port: 80, name: a}, {port: 81, name: a}]",
            "ports[1].name: the port at index 0 has this name already",
        ),
        ("type: ExternalName", 'externalName: required where type is "ExternalName"'),
        ("selectors: {a: b}", 'selectors: unknown field; did you mean "selector"?'),
        ("clusterIp: None", 'clusterIp: unknown field; did you mean "clusterIP"?'),
    ],
)
def test_a_service_that_the_api_server_would_refuse_is_refused(spec: str, sentence: str) -> None:
    assert refusals(SERVICE % spec) == [f"spec.{sentence}"]


def test_a_secrets_data_is_decoded_and_string_data_wins() -> None:
    value = read(
        """
        apiVersion: v1
        kind: Secret
        metadata: {name: cert}
        data: {tls.crt: Y2VydA==, tls.key: b2xk}
        stringData: {tls.key: new}
        """
    )
    assert isinstance(value, Secret)
    assert value.type == "Opaque"
    assert value.data == {"tls.crt": b"cert", "tls.key": b"new"}


def test_a_secret_may_have_string_data_alone() -> None:
    value = read("{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {token: x}}")
    assert isinstance(value, Secret)
    assert value.data == {"token": b"x"}


def test_base64_over_several_lines_is_decoded() -> None:
    value = read('{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {a: "Y2Vy\\ndA==\\n"}}')
    assert isinstance(value, Secret)
    assert value.data == {"a": b"cert"}


def test_a_secret_is_made_in_python_from_bytes() -> None:
    assert Secret(metadata=ObjectMeta(name="a"), data={"k": b"v"}).data == {"k": b"v"}


@pytest.mark.parametrize("text", ["hunter2!", "aHVudGVyMg", "aHVud GVyMg==", "hunter2-_="])
def test_what_is_not_base64_is_refused_by_its_key_and_never_shown(text: str) -> None:
    [error] = refusals(f"{{apiVersion: v1, kind: Secret, metadata: {{name: a}}, data: {{tls.key: '{text}'}}}}")
    assert error == ("data.tls.key: must be base64: the value of 'tls.key' is not (plain text goes into stringData)")


@pytest.mark.parametrize(
    "fields",
    [
        "data: hunter2",
        "data: [hunter2]",
        "stringData: {a: [hunter2]}",
        "type: [hunter2]",
        "data: {a: 77777}",
        "immutable: hunter2",
        "datum: hunter2",
        "metadata: hunter2",
        "stringData: {a: 77777}",
        "stringData: hunter2",
    ],
)
def test_no_mistake_in_a_secret_shows_its_content(fields: str) -> None:
    raw = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, **yaml.safe_load(f"{{{fields}}}")}
    with pytest.raises(ManifestError) as caught:
        parse(raw)
    assert "hunter2" not in str(caught.value)
    assert "77777" not in str(caught.value)


def test_pydantics_own_message_about_a_secret_shows_no_content() -> None:
    with pytest.raises(ValidationError) as caught:
        Secret.model_validate({"metadata": {"name": "a"}, "data": {"a": "hunter2!"}, "stringData": ["hunter3"]})
    assert "hunter" not in str(caught.value)


def test_printing_a_secret_shows_no_content() -> None:
    value = Secret(metadata=ObjectMeta(name="a"), data={"k": b"hunter2"}, string_data={"l": "hunter3"})
    assert "hunter" not in repr(value)
    assert "hunter" not in str(value)


def test_a_config_map_holds_text_and_bytes() -> None:
    value = read("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: b}, binaryData: {c: ZA==}}")
    assert isinstance(value, ConfigMap)
    assert (value.data, value.binary_data) == ({"a": "b"}, {"c": b"d"})


def test_a_namespace_has_no_namespace() -> None:
    value = read("{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a}}, spec: {finalizers: []}}")
    assert isinstance(value, Namespace)
    assert value.key == Key("", "Namespace", "", "shop")
    assert value.metadata.labels == {"team": "a"}


def test_an_endpoint_slice_is_read() -> None:
    value = read(
        """
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: app-x1, namespace: shop, labels: {kubernetes.io/service-name: app}}
        addressType: IPv4
        ports: [{name: "", port: 8080, protocol: TCP, appProtocol: http}]
        endpoints:
        - addresses: [10.0.0.1]
          conditions: {ready: true, serving: true, terminating: false}
          hostname: a
          nodeName: n
          zone: z
          hints: {forZones: [{name: z}]}
          targetRef: {kind: Pod, name: app-1}
          deprecatedTopology: {a: b}
        - addresses: [10.0.0.2]
        """
    )
    assert isinstance(value, EndpointSlice)
    assert [one.addresses for one in value.endpoints] == [("10.0.0.1",), ("10.0.0.2",)]
    assert [one.conditions.ready for one in value.endpoints] == [True, None]
    assert value.ports[0].port == 8080


def test_an_endpoint_slice_without_endpoints_may_say_null() -> None:
    value = read(
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a}, "
        "addressType: IPv6, endpoints: null, ports: null}"
    )
    assert isinstance(value, EndpointSlice)
    assert (value.endpoints, value.ports) == ((), ())


def test_endpoints_are_read() -> None:
    value = read(
        """
        apiVersion: v1
        kind: Endpoints
        metadata: {name: app}
        subsets:
        - addresses: [{ip: 10.0.0.1, nodeName: n}]
          notReadyAddresses: [{ip: 10.0.0.2, hostname: h, targetRef: {kind: Pod}}]
          ports: [{name: http, port: 8080}]
        """
    )
    assert isinstance(value, Endpoints)
    [subset] = value.subsets
    assert [one.ip for one in subset.addresses + subset.not_ready_addresses] == ["10.0.0.1", "10.0.0.2"]
    assert subset.ports[0].port == 8080


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"])
def test_a_workload_is_its_pods_labels_and_named_ports(kind: str) -> None:
    value = read(
        f"""
        apiVersion: apps/v1
        kind: {kind}
        metadata: {{name: app, namespace: shop, nonsense: true}}
        spec:
          replicas: three
          template:
            metadata: {{labels: {{app: app, tier: front}}}}
            spec:
              initContainers: [{{name: proxy, restartPolicy: Always, ports: [{{name: admin, containerPort: 9000}}]}}]
              containers:
              - {{name: a, ports: [{{name: http, containerPort: 8080}}, {{containerPort: 1}}]}}
              - {{name: b, ports: [{{name: dns, containerPort: 53, protocol: UDP}}]}}
        """
    )
    assert isinstance(value, Workload)
    assert value.key == Key("apps", kind, "shop", "app")
    assert value.pod_labels == {"app": "app", "tier": "front"}
    assert (value.port_named("http"), value.port_named("admin")) == (8080, 9000)
    assert (value.port_named("dns"), value.port_named("dns", "UDP")) == (None, 53)
    assert len(value.ports) == 3


def test_a_pod_is_a_workload_of_its_own() -> None:
    value = read(
        "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: x}}, "
        "spec: {containers: [{ports: [{name: http, containerPort: 80}]}]}}"
    )
    assert isinstance(value, Workload)
    assert value.key == Key("", "Pod", "default", "a")
    assert (value.pod_labels, value.port_named("http")) == ({"app": "x"}, 80)


@pytest.mark.parametrize(
    "spec",
    [
        "null",
        "{template: []}",
        "{template: {spec: {containers: 3}}}",
        "{template: {metadata: {labels: {a: 1}}, spec: {containers: [{ports: [{name: a, containerPort: x}]}]}}}",
    ],
)
def test_a_workload_is_never_refused_for_its_pods(spec: str) -> None:
    value = read(f"{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: a}}, spec: {spec}}}")
    assert isinstance(value, Workload)
    assert (value.pod_labels, value.ports) == ({}, ())


def test_objects_that_differ_in_their_resource_version_alone_are_equal() -> None:
    one, same, other = (
        parse({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "resourceVersion": version, **more}})
        for version, more in (("1", {}), ("2", {}), ("2", {"labels": {"x": "y"}}))
    )
    assert one == same
    assert one != other


def test_metadata_alone_makes_a_namespace_and_a_definition() -> None:
    """What an API server gives who asks for PartialObjectMetadata, with the kind that was asked for."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "managedFields": [{}]}}
    found = parse(namespace, strict=False)
    assert isinstance(found, Namespace)
    assert found.key == Key("", "Namespace", "", "a")
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "gateways.gateway.networking.k8s.io",
            "annotations": {"gateway.networking.k8s.io/bundle-version": "v1.7.0"},
            "managedFields": [{}],
        },
    }
    partial = parse(definition, strict=False)
    assert isinstance(partial, CustomResourceDefinition)
    assert partial.metadata.annotations == {"gateway.networking.k8s.io/bundle-version": "v1.7.0"}
    assert partial == parse({**definition, "spec": {"group": "gateway.networking.k8s.io"}, "status": {}})


def test_definitions_of_other_apis_are_passed_over() -> None:
    for metadata in ({"name": "gateways.example.com"}, {}, None):
        definition = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": metadata,
        }
        assert parse(definition) is None
