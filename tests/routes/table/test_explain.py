"""What is told of a request agrees with what is done with it, and names the sentence that decided."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from routes.graph.build import build_graph
from routes.graph.nodes import Options, ServiceTarget
from routes.resources.meta import Key
from routes.resources.scheme import parse
from routes.snapshot import Snapshot
from routes.table import explain as told
from routes.table.compile import compile_table
from routes.table.explain import Explanation, Request, explain
from routes.table.hostnames import HostMap
from routes.table.paths import matched_path
from routes.table.types import Backend, Port, Rule

GOLDEN = sorted((Path(__file__).parents[2] / "golden").glob("*.in.yaml"))


def ports_of(*documents: Any) -> list[Port[Rule]]:
    resources = [found for document in documents if (found := parse(document)) is not None]
    return list(compile_table(build_graph(Snapshot(resources), Options()), lambda rule: rule).ports.values())


def route(name: str, *rules: dict[str, Any], hostnames: tuple[str, ...] = (), **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, **metadata},
        "spec": {"hostnames": list(hostnames), "rules": list(rules)},
    }


def matching(**match: Any) -> dict[str, Any]:
    return {"matches": [match]}


def path(value: str, type_: str = "PathPrefix") -> dict[str, str]:
    return {"type": type_, "value": value}


def explained(request: Request, *documents: Any) -> Explanation:
    (port,) = ports_of(*documents)
    return explain(port, request)


GET = Request("GET", "some.example", "/a/b", "q=1", ((b"x-a", b"1"),))


@pytest.mark.parametrize(
    ("sentence", "winner", "loser"),
    [
        (told.HOSTNAME, route("a", {}, hostnames=("some.example",)), route("b", {}, hostnames=("*.example",))),
        (told.EXACT, route("a", matching(path=path("/a/b", "Exact"))), route("b", matching(path=path("/a/b")))),
        (told.PREFIX, route("b", matching(path=path("/a/b"))), route("a", matching(path=path("/a")))),
        (told.REGEX, route("b", matching(path=path("/a.*", "RegularExpression"))), route("a", {})),
        (told.RANKS[0], route("b", matching(method="GET")), route("a", {})),
        (told.RANKS[1], route("b", matching(headers=[{"name": "x-a", "value": "1"}])), route("a", {})),
        (told.RANKS[2], route("b", matching(queryParams=[{"name": "q", "value": "1"}])), route("a", {})),
        (told.RANKS[3], route("b", {}, creationTimestamp="2026-01-01T00:00:00Z"), route("a", {})),
        (told.RANKS[4], route("a", {}), route("b", {})),
    ],
)
def test_each_step_of_precedence_has_its_sentence(sentence: str, winner: Any, loser: Any) -> None:
    found = explained(GET, winner, loser)
    assert found.decided == sentence
    assert found.taken is not None
    assert found.taken.rule == f"default/{winner['metadata']['name']}/0"
    assert [each.rule for each in found.also] == [f"default/{loser['metadata']['name']}/0"]


def test_within_a_route_the_first_rule_is_taken() -> None:
    found = explained(GET, route("a", {}, {}))
    assert found.decided == told.RANKS[6]
    assert found.taken is not None
    assert found.taken.rule == "default/a/0"


def test_a_rule_that_fits_alone_needs_no_sentence() -> None:
    assert explained(GET, route("a", {})).decided == told.ALONE


@pytest.mark.parametrize(
    ("match", "failed"),
    [
        ({"method": "POST"}, "method is GET, not POST"),
        ({"headers": [{"name": "x-b", "value": "1"}]}, "there is no header x-b"),
        ({"headers": [{"name": "X-A", "value": "2"}]}, "header x-a has another value"),
        ({"queryParams": [{"name": "r", "value": "1"}]}, "there is no query parameter r"),
        ({"queryParams": [{"name": "q", "value": "2"}]}, "query parameter q has another value"),
        ({"path": path("/c")}, "path /a/b does not fit PathPrefix /c"),
        ({"path": path("/a/b/", "Exact")}, "path /a/b does not fit Exact /a/b/"),
    ],
)
def test_what_came_close_says_which_predicate_did_not_fit(match: dict[str, Any], failed: str) -> None:
    found = explained(GET, route("a", matching(**match)))
    assert (found.status, found.taken) == (404, None)
    assert [each.failed for each in found.close] == [failed]


def test_where_no_host_fits_those_that_are_there_are_named() -> None:
    found = explained(GET, route("a", {}, hostnames=("other.example",)))
    assert [each.failed for each in found.close] == ["host some.example is not other.example"]


def test_values_of_the_requests_fields_are_not_repeated() -> None:
    request = Request("GET", "some.example", "/", headers=((b"authorization", b"secret"),))
    match = matching(headers=[{"name": "authorization", "value": "other"}])
    assert "secret" not in str(explained(request, route("a", match)).close)


@pytest.mark.parametrize("target", ["/a/../b", "/a/%2e%2e/b", "/%00"])
def test_a_path_that_is_refused_is_told(target: str) -> None:
    found = explained(Request("GET", "some.example", target), route("a", {}))
    assert (found.status, found.taken) == (400, None)


def test_a_path_that_a_backend_may_read_as_another_rules_is_told() -> None:
    found = explained(Request("GET", "some.example", "//a"), route("a", matching(path=path("/a"))), route("b", {}))
    assert found.status == 400


def https(*hostnames: str) -> Port[Rule]:
    (port,) = ports_of(route("a", {}))
    listener = next(listener for _, listener in port.listeners.items())
    listeners = {name: type(listener)(name or "any", listener.hosts) for name in hostnames}
    return Port(port.key, "HTTPS", HostMap(listeners), HostMap({}))


@pytest.mark.parametrize(
    ("hostnames", "server_name", "host", "status"),
    [
        (("", "second.example"), "second.example", "unknown.example", 421),
        (("", "second.example"), "first.example", "unknown.example", 0),
        (("second.example", "third.example"), "second.example", "third.example", 421),
        (("second.example",), "second.example", "unknown.example", 404),
    ],
)
def test_a_host_of_another_listener_than_the_handshakes_is_misdirected(
    hostnames: tuple[str, ...], server_name: str, host: str, status: int
) -> None:
    found = explain(https(*hostnames), Request("GET", host, "/", server_name=server_name))
    outcome = 0 if found.taken is not None else found.status
    assert outcome == status


def test_a_handshake_for_nobody_fails() -> None:
    found = explain(https("second.example"), Request("GET", "x.example", "/", server_name="x.example"))
    assert "handshake fails" in found.reason


HOSTS = ("whoami", "some.example", "a.example.com", "example.com", "a.b.example.com", "canary", "other.example.net")
PATHS = ("/", "/foo", "/foo/bar", "/foobar", "/bar", "/v2", "/a", "/a/b", "/one", "/two")
HEADERS: tuple[tuple[tuple[bytes, bytes], ...], ...] = ((), ((b"version", b"two"), (b"x-a", b"1")))


@pytest.mark.parametrize("manifests", GOLDEN, ids=lambda path: path.name.removesuffix(".in.yaml"))
def test_the_rule_that_is_told_is_the_one_that_is_taken(manifests: Path) -> None:
    documents = []
    for document in yaml.safe_load_all(manifests.read_text()):
        try:
            documents.append(parse(document))
        except ValueError:
            continue
    graph = build_graph(Snapshot(each for each in documents if each is not None), Options())
    for port in compile_table(graph, lambda rule: rule).ports.values():
        for host, target, method, headers in product(HOSTS, PATHS, ("GET", "POST"), HEADERS):
            told_of = explain(port, Request(method, host, target, "q=1", headers))
            read = matched_path(target.encode())
            assert read is not None
            done = port.find(host, read, method, headers, b"q=1")
            assert told_of.rule is done


def test_the_sentence_is_about_another_rule_where_there_is_one() -> None:
    """That another match of the same rule fits as well has decided nothing."""
    one = route("a", {"matches": [{"path": path("/a/b")}, {"path": path("/a")}]}, matching(path=path("/a")))
    found = explained(GET, one)
    assert found.decided == told.PREFIX
    assert [each.rule for each in found.also] == ["default/a/0", "default/a/1"]
    two = route("a", {"matches": [{"path": path("/a"), "method": "GET"}, {"path": path("/a")}]}, matching())
    assert explained(GET, two).decided == told.PREFIX
    assert explained(GET, route("a", {"matches": [{}, {"method": "GET"}]})).decided == told.RANKS[0]


def test_a_filter_of_somebodys_own_may_answer_without_backends() -> None:
    reference = {"group": "example.com", "kind": "Answer", "name": "x"}
    extended = route("a", {"filters": [{"type": "ExtensionRef", "extensionRef": reference}]})
    answer = {"apiVersion": "example.com/v1", "kind": "Answer", "metadata": {"name": "x"}, "spec": {}}
    kinds = frozenset({("example.com", "Answer")})
    resources = [each for text in (extended, answer) if (each := parse(text, extensions=kinds)) is not None]
    graph = build_graph(Snapshot(resources), Options(extensions=kinds))
    [port] = compile_table(graph, lambda rule: rule).ports.values()
    found = explain(port, GET)
    assert found.status == 0
    assert "ExtensionRef" in found.reason


def test_a_service_of_a_cluster_has_endpoints_as_far_as_anybody_can_tell_here() -> None:
    service = Backend("b", 1, service=ServiceTarget("a", "one", "web"))
    rule = Rule(Key("gateway.networking.k8s.io", "HTTPRoute", "a", "r"), 0, (service,))
    assert told.outcome(rule) == (0, "forwarded")
    nobody = Rule(rule.route, 0, (Backend("b", 1),))
    assert told.outcome(nobody) == (503, "no backend has a ready endpoint")
