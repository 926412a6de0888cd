"""The manifests of the article from 2021 that this gateway goes back to."""

from textwrap import dedent

import pytest
import yaml

from routes.resources.core import Secret, Service, Workload
from routes.resources.gateway import Gateway, GatewayClass, SelectingListener
from routes.resources.http import SelectedHTTPRoute
from routes.resources.meta import Resource
from routes.resources.scheme import ManifestError, parse


def read(text: str) -> list[Resource | None]:
    return [parse(document) for document in yaml.safe_load_all(dedent(text))]


def route(text: str) -> SelectedHTTPRoute:
    [value] = read(text)
    assert isinstance(value, SelectedHTTPRoute)
    assert str(value.key) == "HTTPRoute default/http-app-1"
    assert value.metadata.labels == {"app": "traefik"}
    assert value.spec.hostnames == ("whoami",)
    assert value.gateways.allow == "SameNamespace"
    return value


def rules(value: SelectedHTTPRoute) -> list[tuple[list[tuple[str, str]], list[tuple[str, int | None, int]]]]:
    return [
        (
            [(match.path.type, match.path.value) for match in rule.matches],
            [(backend.name, backend.port, backend.weight) for backend in rule.backend_refs],
        )
        for rule in value.spec.rules
    ]


def test_01_whoami() -> None:
    deployment, service = read(
        """
        # 01-whoami.yaml
        ---
        kind: Deployment
        apiVersion: apps/v1
        metadata:
          name: whoami
        spec:
          replicas: 2
          selector:
            matchLabels:
              app: whoami
          template:
            metadata:
              labels:
                app: whoami
            spec:
              containers:
                - name: whoami
                  image: traefik/whoami:v1.6.0
                  ports:
                    - containerPort: 80
                      name: http

        ---
        apiVersion: v1
        kind: Service
        metadata:
          name: whoami
        spec:
          ports:
            - protocol: TCP
              port: 80
              targetPort: http
          selector:
            app: whoami
        """
    )
    assert isinstance(deployment, Workload)
    assert isinstance(service, Service)
    assert str(service.key) == "Service default/whoami"
    assert service.spec.selector == deployment.pod_labels == {"app": "whoami"}
    assert deployment.port_named("http") == 80


def test_02_whoami_httproute() -> None:
    value = route(
        """
        kind: HTTPRoute
        apiVersion: networking.x-k8s.io/v1alpha1
        metadata:
          name: http-app-1
          namespace: default
          labels:
            app: traefik
        spec:
          hostnames:
            - "whoami"
          rules:
            - matches:
                - path:
                    type: Exact
                    value: /
              forwardTo:
                - serviceName: whoami
                  port: 80
                  weight: 1
        """
    )
    assert rules(value) == [([("Exact", "/")], [("whoami", 80, 1)])]


def test_03_whoami_httproute_paths() -> None:
    value = route(
        """
        apiVersion: networking.x-k8s.io/v1alpha1
        kind: HTTPRoute
        metadata:
          labels:
            app: traefik
          name: http-app-1
          namespace: default
        spec:
          hostnames:
            - whoami
          rules:
            -
              forwardTo:
                -
                  port: 80
                  serviceName: whoami
                  weight: 1
              matches:
                -
                  path:
                    type: Exact
                    value: /foo
        """
    )
    assert rules(value) == [([("Exact", "/foo")], [("whoami", 80, 1)])]


def test_04_tls_dummy_cert() -> None:
    # The article prints a whole certificate and its key; the form is what counts here.
    [secret] = read(
        """
        apiVersion: v1
        data:
          tls.crt: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==
          tls.key: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCg==
        kind: Secret
        metadata:
          name: mysecret
          namespace: default
        type: kubernetes.io/tls
        """
    )
    assert isinstance(secret, Secret)
    assert secret.type == "kubernetes.io/tls"
    assert secret.data["tls.crt"] == b"-----BEGIN CERTIFICATE-----\n"
    assert sorted(secret.data) == ["tls.crt", "tls.key"]


def test_05_values_are_no_manifest() -> None:
    with pytest.raises(ManifestError, match="not a Kubernetes object: it has no apiVersion and kind"):
        read(
            """
            experimental:
              kubernetesGateway:
                appLabelSelector: traefik
                certificates:
                  -
                    group: "core"
                    kind: "Secret"
                    name: "mysecret"
                enabled: true
            """
        )


NGINX = """
kind: Deployment
apiVersion: apps/v1
metadata:
  name: nginx
spec:
  replicas: 2
  selector:
    matchLabels:
      app: {selector}
  template:
    metadata:
      labels:
        app: nginx
    spec:
      containers:
        - name: {container}
          image: nginx
          ports:
            - containerPort: 80
              name: http

---
apiVersion: v1
kind: Service
metadata:
  name: {service}
spec:
  ports:
    - protocol: TCP
      port: 80
      targetPort: http
  selector:
    app: nginx
"""


@pytest.mark.parametrize(
    ("selector", "container", "service"),
    [("nginx", "nginx", "nginx"), ("whoami", "whoami", "whoami")],
    ids=["corrected", "as printed"],
)
def test_06_nginx(selector: str, container: str, service: str) -> None:
    workload, value = read(NGINX.format(selector=selector, container=container, service=service))
    assert isinstance(workload, Workload)
    assert isinstance(value, Service)
    assert value.metadata.name == service
    assert value.spec.selector == workload.pod_labels == {"app": "nginx"}


def test_07_whoami_nginx_canary() -> None:
    value = route(
        """
        apiVersion: networking.x-k8s.io/v1alpha1
        kind: HTTPRoute
        metadata:
          labels:
            app: traefik
          name: http-app-1
          namespace: default
        spec:
          hostnames:
            - whoami
          rules:
            - forwardTo:
                - port: 80
                  serviceName: whoami
                  weight: 3
                - port: 80
                  serviceName: nginx
                  weight: 1
        """
    )
    assert rules(value) == [([("PathPrefix", "/")], [("whoami", 80, 3), ("nginx", 80, 1)])]


def test_the_class_and_gateway_that_the_articles_chart_installs() -> None:
    class_, gateway = read(
        """
        apiVersion: networking.x-k8s.io/v1alpha1
        kind: GatewayClass
        metadata:
          name: traefik
        spec:
          controller: traefik.io/gateway-controller
        ---
        apiVersion: networking.x-k8s.io/v1alpha1
        kind: Gateway
        metadata:
          name: traefik-gateway
          namespace: default
        spec:
          gatewayClassName: traefik
          listeners:
            - port: 8000
              protocol: HTTP
              routes:
                kind: HTTPRoute
                selector:
                  matchLabels:
                    app: traefik
            - port: 8443
              protocol: HTTPS
              tls:
                certificateRef:
                  name: mysecret
                  group: core
                  kind: Secret
              routes:
                kind: HTTPRoute
                selector:
                  matchLabels:
                    app: traefik
        """
    )
    assert isinstance(class_, GatewayClass)
    assert class_.spec.controller_name == "traefik.io/gateway-controller"
    assert isinstance(gateway, Gateway)
    assert [one.name for one in gateway.spec.listeners] == ["http-8000", "https-8443"]
    for listener in gateway.spec.listeners:
        assert isinstance(listener, SelectingListener)
        assert listener.route_selector.matches({"app": "traefik"})
        assert not listener.route_selector.matches({"app": "whoami"})
