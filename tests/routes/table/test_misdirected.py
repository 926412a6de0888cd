"""Requests that come on a connection for another listener (Gateway.spec.listeners; GEP-3567)."""

import pytest

from routes.table.types import Port
from tests.routes.table.conftest import Compile

MANIFESTS = """
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: moongate
  listeners:
    - {name: any, port: 443, protocol: HTTPS, tls: &tls {certificateRefs: [{name: certificate}]}}
    - {name: second, port: 443, protocol: HTTPS, tls: *tls, hostname: second-example.org}
    - {name: wildcard, port: 443, protocol: HTTPS, tls: *tls, hostname: "*.wildcard.org"}
    - {name: fourth, port: 443, protocol: HTTPS, tls: *tls, hostname: fourth-example.wildcard.org}
---
apiVersion: v1
kind: Secret
metadata: {name: certificate}
data: {tls.crt: eA==, tls.key: eA==}
---
kind: HTTPRoute
metadata: {name: any}
spec: {parentRefs: [{name: gw, sectionName: any}], hostnames: [example.org]}
---
kind: HTTPRoute
metadata: {name: others}
spec:
  parentRefs: [{name: gw, sectionName: second}, {name: gw, sectionName: wildcard}, {name: gw, sectionName: fourth}]
"""


def answer(port: Port[str], server_name: str, host: str) -> int:
    if port.misdirected(server_name, host):
        return 421
    return 200 if port.find(host, "/", "GET", (), b"") else 404


@pytest.mark.parametrize(
    ("server_name", "host", "expected"),
    [
        ("example.org", "example.org", 200),
        ("example.org", "second-example.org", 421),
        ("example.org", "unknown-example.org", 404),
        ("second-example.org", "second-example.org", 200),
        ("second-example.org", "example.org", 421),
        ("second-example.org", "unknown-example.org", 421),
        ("third-example.wildcard.org", "third-example.wildcard.org", 200),
        ("third-example.wildcard.org", "fith-example.wildcard.org", 200),
        ("third-example.wildcard.org", "fourth-example.wildcard.org", 421),
        ("third-example.wildcard.org", "second-example.org", 421),
        ("third-example.wildcard.org", "unknown-example.org", 421),
        ("fourth-example.wildcard.org", "fourth-example.wildcard.org", 200),
        ("fourth-example.wildcard.org", "fith-example.wildcard.org", 421),
        ("unknown-example.org", "example.org", 200),
        ("unknown-example.org", "unknown-example.org", 404),
        # Beyond the table: case, the dot of the root, and a client that names nothing.
        ("Second-Example.ORG.", "second-example.org", 200),
        ("", "example.org", 200),
        ("", "second-example.org", 421),
    ],
)
def test_a_request_belongs_on_a_connection_for_its_own_listener(
    compiled: Compile, server_name: str, host: str, expected: int
) -> None:
    """HTTPRouteHTTPSListenerDetectMisdirectedRequests."""
    [port] = compiled(MANIFESTS).ports.values()
    assert answer(port, server_name, host) == expected


def test_without_another_listener_for_the_host_it_is_not_found_rather_than_misdirected(compiled: Compile) -> None:
    """There is no connection on which the request would be right."""
    table = compiled(MANIFESTS.replace("{name: any, port: 443", "{name: any, port: 444"))
    [port] = [port for key, port in table.ports.items() if key.port == 443]
    assert answer(port, "second-example.org", "example.org") == 404
    assert answer(port, "third-example.wildcard.org", "wildcard.org") == 404


def test_a_client_that_names_nothing_is_on_the_listener_whose_certificate_it_gets(compiled: Compile) -> None:
    """The first one, where none takes all names."""
    table = compiled(MANIFESTS.replace("{name: any, port: 443", "{name: any, port: 444"))
    [port] = [port for key, port in table.ports.items() if key.port == 443]
    assert answer(port, "", "second-example.org") == 200
    assert answer(port, "", "fourth-example.wildcard.org") == 421


def test_without_tls_nothing_is_misdirected(compiled: Compile) -> None:
    """Nothing was asked of the client before the request."""
    [port] = compiled(MANIFESTS).ports.values()
    assert not port.misdirected(None, "second-example.org")
