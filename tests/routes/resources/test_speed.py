from time import perf_counter
from typing import Any

import yaml

from routes.resources.scheme import parse

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: app, namespace: shop, labels: {app: app}}
spec:
  parentRefs: [{name: web, sectionName: http}]
  hostnames: [app.example.com]
  rules:
  - matches: [{path: {type: PathPrefix, value: /foo}, headers: [{name: X-User, value: a}]}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}]}}]
    backendRefs: [{name: a, port: 80}, {name: b, port: 80, weight: 3}]
"""


def test_a_thousand_routes_are_read_in_well_under_a_second() -> None:
    # Some 50 ms; the limit is for a slow machine and still finds a validator that got ten times as dear.
    routes: list[Any] = [yaml.safe_load(ROUTE) for _ in range(1000)]
    started = perf_counter()
    for raw in routes:
        parse(raw)
    assert perf_counter() - started < 0.7
