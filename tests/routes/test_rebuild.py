"""Whatever changes in whatever order: what is rebuilt equals what is built from scratch."""

from collections.abc import Iterable
from dataclasses import replace
from random import Random

import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st

from app.status.patches import statuses
from routes.graph.build import build_graph
from routes.graph.certificates import last_good
from routes.graph.nodes import CertificatePair, Options, Sockets
from routes.graph.rebuild import Rebuilding
from routes.graph.review import Reviewing, review
from routes.resources.meta import GATEWAY_GROUP, Key, Resource
from routes.resources.scheme import parse
from routes.snapshot import Snapshot
from routes.table.compile import Compiler, compile_table
from routes.table.describe import describe
from routes.table.types import Rule

OPTIONS = Options(extensions=frozenset({("example.com", "Limit")}))


def of(kind: str, name: str, body: str = "", *, version: str = "v1", namespace: str = "a", meta: str = "") -> Resource:
    """An object; ``meta`` and ``body`` are YAML in braces' content."""
    text = f"""
apiVersion: {version}
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}{meta}}}
{body}
"""
    found = parse(yaml.safe_load(text), extensions=OPTIONS.extensions)
    assert found is not None
    return found


def gateway_api(kind: str, name: str, spec: str, **other: str) -> Resource:
    return of(kind, name, f"spec: {{{spec}}}", version=f"{GATEWAY_GROUP}/v1", **other)


def listeners(*each: str) -> str:
    return f"listeners: [{', '.join(f'{{{one}}}' for one in each)}]"


WEB = "name: web, port: 80, protocol: HTTP"
EVERYWHERE = "allowedRoutes: {namespaces: {from: All}}"
LABELLED = "allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {x: 'y'}}}}"
TLS = "tls: {certificateRefs: [{name: certificate, namespace: b}]}"
SECURE = f"name: secure, port: 443, protocol: HTTPS, hostname: '*.a.com', {EVERYWHERE}, {TLS}"
ALLOWED = "allowedListeners: {namespaces: {from: All}}"


def gateway(name: str, *each: str) -> Resource:
    return gateway_api("Gateway", name, f"gatewayClassName: moongate, {ALLOWED}, {listeners(*each)}")


def route(name: str, spec: str, **other: str) -> Resource:
    return gateway_api("HTTPRoute", name, spec, **other)


def rules(*each: str) -> str:
    return f"rules: [{', '.join(f'{{{one}}}' for one in each)}]"


TO_ONE = "backendRefs: [{name: one, port: 80}]"
ACROSS = "backendRefs: [{name: two, namespace: b, port: 80}, {name: one, port: 80, weight: 3}]"
MIRROR = "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: one, port: 80}}}]"
LIMIT = "filters: [{type: ExtensionRef, extensionRef: {group: example.com, kind: Limit, name: slow}}]"
ON_A = "matches: [{path: {value: /a}}]"
ON_PATTERN = "matches: [{path: {type: RegularExpression, value: '/[ab]'}}, {path: {value: /a}, method: GET}]"
GW_2 = "parentRefs: [{name: second}]"
GW, SET = "parentRefs: [{name: gw}]", "parentRefs: [{kind: ListenerSet, name: more}, {name: gw, sectionName: web}]"

VARIANTS: list[list[Resource]] = [
    [
        gateway("gw", WEB),
        gateway("gw", f"{WEB}, {EVERYWHERE}"),
        gateway("gw", f"{WEB}, {LABELLED}"),
        gateway("gw", f"{WEB}, hostname: '*.a.com'", SECURE),
        gateway("gw", f"{WEB}, allowedRoutes: {{kinds: [{{kind: GRPCRoute}}]}}"),
        gateway_api("Gateway", "gw", f"gatewayClassName: other, {listeners(WEB)}"),
        gateway_api("Gateway", "gw", f"gatewayClassName: moongate, defaultScope: All, {listeners(WEB)}"),
    ],
    [gateway("second", SECURE), gateway("second", WEB, "name: udp, port: 53, protocol: UDP")],
    [
        gateway_api(
            "ListenerSet", "more", f"parentRef: {{name: gw}}, {listeners('name: extra, port: 81, protocol: HTTP')}"
        ),
        gateway_api("ListenerSet", "more", f"parentRef: {{name: gw}}, {listeners(WEB, f'{SECURE}')}"),
        gateway_api("ListenerSet", "more", f"parentRef: {{name: second}}, {listeners(WEB)}"),
    ],
    [
        gateway_api("GatewayClass", "moongate", "controllerName: example.com/other", namespace='""'),
        gateway_api("GatewayClass", "moongate", f"controllerName: {OPTIONS.controller_name}", namespace='""'),
    ],
    [
        route("first", f"{GW}, {rules(TO_ONE)}"),
        route("first", f"{GW}, hostnames: [x.a.com, b.com], {rules(f'{ON_A}, {TO_ONE}', ACROSS)}"),
        route("first", f"{SET}, {rules(f'{ON_PATTERN}, {TO_ONE}, {MIRROR}', f'{ON_A}, {TO_ONE}')}"),
        route("first", f"parentRefs: [{{name: gw, port: 80}}, {{name: gw, port: 443}}], {rules(TO_ONE)}"),
    ],
    [
        route("second", f"{GW}, {rules(TO_ONE)}"),
        route("second", f"{GW}, {rules(TO_ONE)}", meta=", creationTimestamp: '2024-01-01T00:00:00Z'"),
        route(
            "second", f"parentRefs: [{{name: second}}], hostnames: ['*.a.com'], {rules(f'{ON_A}, {LIMIT}, {TO_ONE}')}"
        ),
        route("second", f"parentRefs: [{{name: nobody}}], {rules(TO_ONE)}"),
        route("second", f"{rules(TO_ONE)}"),
        route("second", f"useDefaultGateways: All, {rules(TO_ONE)}"),
    ],
    [
        route("third", f"parentRefs: [{{name: gw, namespace: a}}], {rules(ACROSS)}", namespace="b"),
        route("third", f"parentRefs: [{{name: gw, namespace: a}}], {rules(f'{ON_A}, {TO_ONE}')}", namespace="b"),
    ],
    [
        of(
            "HTTPRoute",
            "first",
            "spec: {gateways: {allow: All}, rules: [{forwardTo: [{serviceName: one, port: 80}]}]}",
            version="networking.x-k8s.io/v1alpha1",
            meta=", labels: {app: traefik}",
        ),
    ],
    [
        of("Service", "one", "spec: {ports: [{port: 80}]}"),
        of("Service", "one", "spec: {ports: [{port: 80, name: web, targetPort: web}], selector: {app: one}}"),
        of("Service", "one", "spec: {ports: [{port: 80, appProtocol: kubernetes.io/h2c}]}"),
        of("Service", "one", "spec: {ports: [{port: 81}]}"),
    ],
    [of("Service", "two", "spec: {ports: [{port: 80}]}", namespace="b")],
    [
        of(
            "EndpointSlice",
            "slice",
            f"addressType: IPv4\nendpoints: [{{addresses: [10.0.0.{last}]}}]\nports: [{{port: 8080{name}}}]",
            version="discovery.k8s.io/v1",
            meta=f", labels: {{kubernetes.io/service-name: {service}}}",
        )
        for last, service, name in ((1, "one", ""), (2, "one", ", name: web"), (3, "two", ""))
    ],
    [of("Endpoints", "one", "subsets: [{addresses: [{ip: 10.0.1.1}], ports: [{port: 9090}]}]")],
    [
        of(
            "Deployment",
            "one",
            "spec: {template: {metadata: {labels: {app: one}}, spec: {containers: "
            f"[{{name: c, ports: [{{name: web, containerPort: {port}}}]}}]}}}}}}",
            version="apps/v1",
        )
        for port in (8000, 8001)
    ],
    [
        of("Namespace", "b", namespace='""', meta=", labels: {x: 'y'}"),
        of("Namespace", "b", namespace='""', meta=", labels: {x: z}"),
    ],
    [
        gateway_api(
            "ReferenceGrant",
            "grant",
            f"from: [{{group: {GATEWAY_GROUP}, kind: {kind}, namespace: a}}], to: [{{group: '', kind: {to}}}]",
            namespace="b",
        )
        for kind, to in (("HTTPRoute", "Service"), ("Gateway", "Secret"))
    ],
    [
        of("Secret", "certificate", f"data: {{tls.crt: eA==, tls.key: {key}}}", namespace="b")
        for key in ("eA==", "eQ==", '""')
    ],
    [
        gateway_api(
            "BackendTLSPolicy",
            "policy",
            f"targetRefs: [{{group: '', kind: Service, name: one{port}}}], validation: {{hostname: a.com, {trust}}}",
        )
        for port, trust in (
            ("", "wellKnownCACertificates: System"),
            ("", "caCertificateRefs: [{group: '', kind: ConfigMap, name: authorities}]"),
            (", sectionName: web", "wellKnownCACertificates: System"),
        )
    ],
    [
        gateway_api(
            "BackendTLSPolicy",
            "older",
            "targetRefs: [{group: '', kind: Service, name: one}], "
            "validation: {hostname: b.com, wellKnownCACertificates: System}",
            meta=", creationTimestamp: '2024-01-01T00:00:00Z'",
        )
    ],
    [of("ConfigMap", "authorities", f"data: {{ca.crt: '{text}'}}") for text in ("", "one", "two")],
    [
        of(
            "CustomResourceDefinition",
            f"gateways.{GATEWAY_GROUP}",
            version="apiextensions.k8s.io/v1",
            meta=f", annotations: {{{GATEWAY_GROUP}/bundle-version: {release}}}",
        )
        for release in ("v1.7.0", "v1.99.0")
    ],
    [of("Limit", "slow", f"spec: {{rate: {rate}}}", version="example.com/v1") for rate in (1, 2)],
]

#: What one change says of one object: its new value, or None that it goes.
Change = dict[int, Resource | None]
NOTHING_KNOWN = Sockets()
FEEDBACK = [
    *[NOTHING_KNOWN] * 4,
    Sockets({(Key(GATEWAY_GROUP, "Gateway", "a", "gw"), 80): "in use"}),
    Sockets({}, {Key(GATEWAY_GROUP, "Gateway", "a", "gw"): ("10.0.0.1",)}),
    Sockets(unusable={Key(GATEWAY_GROUP, "Gateway", "a", "gw"): "it is somebody else's"}),
]
#: What cannot be read, and why.
UNREAD: list[dict[tuple[str, str, str], str]] = [
    *[{}] * 4,
    {("", "Secret", ""): "forbidden", ("", "Service", "a"): "forbidden", ("", "ConfigMap", "a"): "forbidden"},
    {(GATEWAY_GROUP, "ReferenceGrant", "b"): "forbidden", ("", "Namespace", ""): "forbidden"},
]


def drawn(chance: Random, slots: Iterable[int]) -> Change:
    """Another value for the object of each of ``slots``; one in four goes."""
    return {slot: chance.choice(VARIANTS[slot]) if chance.random() < 0.75 else None for slot in slots}


class Follower:
    """Everything that is kept from one change to the next."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.snapshot = Snapshot()
        self.certificates: dict[Key, CertificatePair] = {}
        self.rebuilding = Rebuilding(options)
        self.reviewing = Reviewing()
        self.compiler = Compiler[Rule](lambda rule, before: before if rule == before else rule)

    def follow(self, change: Change, sockets: Sockets, unread: dict[tuple[str, str, str], str]) -> int:
        """Hold what is rebuilt against what is built, and give the number of routes whose nodes are other ones."""
        keys = {VARIANTS[slot][0].key for slot in change}
        self.snapshot = self.snapshot.without(
            VARIANTS[slot][0].key for slot, value in change.items() if value is None
        ).with_(value for value in change.values() if value is not None)
        self.snapshot = self.snapshot.knowing(unread)
        sockets = replace(sockets, certificates=self.certificates)
        step = self.rebuilding.build(self.snapshot, keys, sockets)
        self.certificates = last_good(step.graph)
        table = self.compiler.compile(step.graph, step.routes)
        problems = self.reviewing.follow(step.graph, step.routes, others=step.others)
        graph = build_graph(self.snapshot, self.options, sockets)
        assert step.graph == graph
        assert statuses(step.graph, "c") == statuses(graph, "c")
        assert sorted(map(str, problems)) == sorted(map(str, review(graph)))
        anew = compile_table(graph, lambda rule: rule)
        assert describe(table) == describe(anew)
        assert table.listeners == anew.listeners
        return len(step.routes)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 2**64))
def test_a_rebuilt_graph_equals_one_built_from_scratch(seed: int) -> None:
    """Graph, table, status and problems, after each of eight changes."""
    chance = Random(seed)
    follower = Follower(replace(OPTIONS, cluster=chance.random() < 0.5))
    follower.follow(drawn(chance, range(len(VARIANTS))), NOTHING_KNOWN, {})
    unread = UNREAD[0]
    for _ in range(8):
        change = drawn(chance, chance.sample(range(len(VARIANTS)), chance.choice([1, 1, 1, 2, 5])))
        if chance.random() < 0.2:
            unread = chance.choice(UNREAD)
        event(f"{follower.follow(change, chance.choice(FEEDBACK), unread)} routes are other ones")


def test_a_new_resource_version_alone_makes_nothing_anew() -> None:
    objects = [gateway("gw", WEB), route("first", f"{GW}, {rules(TO_ONE)}"), VARIANTS[8][0]]
    rebuilding = Rebuilding(OPTIONS)
    before = rebuilding.build(Snapshot(objects), [each.key for each in objects])
    written = [
        each.model_copy(update={"metadata": each.metadata.model_copy(update={"resource_version": "7"})})
        for each in objects
    ]
    after = rebuilding.build(Snapshot(written), [each.key for each in objects])
    assert not after.routes
    assert after.graph.routes is before.graph.routes
    for key, node in after.graph.gateways.items():
        assert node is before.graph.gateways[key]
