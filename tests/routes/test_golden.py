"""From manifests to problems, status and routing table: each pair of files in ``tests/golden`` shows one rule.

``NAME.in.yaml`` holds manifests, after a document ``options: {…}`` where the settings are not the usual ones, and
``sockets: {…}`` where something is known of them (``refused``: reasons by ``namespace/gateway:port``, ``addresses``:
lists by ``namespace/gateway``, ``unusable`` and ``unassigned``: reasons by the same, ``certificates``: those that
listeners had, as a Secret's data by ``namespace/secret``), and ``unread: {…}`` where something cannot be read (reasons
by ``kind.group`` or ``namespace/kind.group``);
``NAME.out.yaml`` is what comes of them. ``pytest --update-golden`` records the latter anew.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.providers.manifests import read_manifests
from app.status.patches import statuses
from app.tls.certificates import check_authorities, check_pair, dns_names
from routes.graph.build import build_graph
from routes.graph.nodes import CertificatePair, Graph, Options, Sockets
from routes.graph.review import review
from routes.problems import Problem
from routes.resources.gateway import SecretObjectReference
from routes.resources.meta import GATEWAY_GROUP, Key
from routes.snapshot import Snapshot
from routes.table.compile import compile_table
from routes.table.describe import describe
from routes.table.types import Rule

FOLDER = Path(__file__).parent.parent / "golden"
INPUTS = sorted(FOLDER.glob("*.in.yaml"))


def name_of(path: Path) -> str:
    return path.name.removesuffix(".in.yaml").removesuffix(".out.yaml")


def options_of(given: dict[str, Any]) -> Options:
    usual = Options(check_certificate=check_pair, check_authorities=check_authorities, certificate_names=dns_names)
    return Options(
        controller_name=given.pop("controllerName", usual.controller_name),
        app_label_selector=given.pop("appLabelSelector", usual.app_label_selector),
        certificates=tuple(SecretObjectReference.model_validate(each) for each in given.pop("certificates", ())),
        service_dns=given.pop("serviceDNS", usual.service_dns),
        check_certificate=usual.check_certificate,
        certificate_names=usual.certificate_names,
        check_authorities=usual.check_authorities,
        extensions=frozenset((each["group"], each["kind"]) for each in given.pop("extensions", ())),
        cluster=given.pop("cluster", False),
    )


def sockets_of(given: dict[str, Any]) -> Sockets:
    def gateway(name: str) -> Key:
        return Key(GATEWAY_GROUP, "Gateway", *name.split("/"))

    refused = {}
    for place, reason in given.pop("refused", {}).items():
        name, _, port = place.rpartition(":")
        refused[gateway(name), int(port)] = reason
    addresses = {gateway(name): tuple(each) for name, each in given.pop("addresses", {}).items()}
    pairs = [
        CertificatePair(Key("", "Secret", *name.split("/")), data["tls.crt"].encode(), data["tls.key"].encode())
        for name, data in given.pop("certificates", {}).items()
    ]
    unusable, unassigned = (
        {gateway(name): why for name, why in given.pop(field, {}).items()} for field in ("unusable", "unassigned")
    )
    return Sockets(refused, addresses, {pair.secret: pair for pair in pairs}, unusable, unassigned)


def unread_of(given: dict[str, str]) -> dict[tuple[str, str, str], str]:
    """Reasons by ``kind.group`` or ``namespace/kind.group``; the core group is without a point."""
    found = {}
    for place, why in given.items():
        namespace, _, named = place.rpartition("/")
        kind, _, group = named.partition(".")
        found[group, kind, namespace] = why
    return found


Head = tuple[Options, Sockets, dict[tuple[str, str, str], str]]


def split_options(text: str) -> tuple[Head, str]:
    """What a test's first document says, and the manifests on the lines on which they stand in the file."""
    first = re.search(r"^---$", text, re.MULTILINE)
    head = yaml.safe_load(text[: first.start()]) if first else None
    if first is None or not isinstance(head, dict) or not set(head) <= {"options", "sockets", "unread"}:
        return (options_of({}), Sockets(), {}), text
    given, opened = head.get("options", {}), head.get("sockets", {})
    options, sockets = options_of(given), sockets_of(opened)
    assert not given, f"unknown options: {', '.join(given)}"
    assert not opened, f"unknown of sockets: {', '.join(opened)}"
    unread = unread_of(head.get("unread", {}))
    return (options, sockets, unread), "\n" * text.count("\n", 0, first.start()) + text[first.start() :]


def graph_of(text: str) -> tuple[tuple[Problem, ...], Graph, Options]:
    (options, sockets, unread), manifests = split_options(text)
    read = read_manifests(manifests, "in.yaml", options.extensions)
    graph = build_graph(Snapshot((definition.resource for definition in read.objects), unread), options, sockets)
    return (*read.problems, *review(graph)), graph, options


def table_of(graph: Graph) -> dict[str, Any]:
    def identity(rule: Rule) -> Rule:
        return rule

    return describe(compile_table(graph, identity))


def status_of(graph: Graph, options: Options) -> dict[str, Any]:
    """Without the features, which are the same in every outcome."""
    return {
        title(key): {field: value for field, value in status.items() if field != "supportedFeatures"}
        for key, status in statuses(graph, options.controller_name).items()
    }


def title(key: Key) -> str:
    return str(key) if key.group == GATEWAY_GROUP else f"{key} of {key.group}"


class Dumper(yaml.SafeDumper):
    """Writes conditions and the like on a line each, and nothing as a reference to something else."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def mapping(self, data: dict[str, Any]) -> yaml.Node:
        flat = bool(data) and not any(isinstance(value, dict | list) for value in data.values())
        return self.represent_mapping("tag:yaml.org,2002:map", data, flow_style=flat)


Dumper.add_representer(dict, Dumper.mapping)


def outcome(text: str) -> str:
    problems, graph, options = graph_of(text)
    found = {
        "problems": [str(problem) for problem in problems],
        "status": status_of(graph, options),
        "table": table_of(graph),
    }
    written: str = yaml.dump(found, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return written


@pytest.mark.parametrize("manifests", INPUTS, ids=name_of)
def test_manifests_come_to_what_was_recorded(manifests: Path, pytestconfig: pytest.Config) -> None:
    expected = manifests.with_name(f"{name_of(manifests)}.out.yaml")
    found = outcome(manifests.read_text(encoding="utf-8"))
    if pytestconfig.getoption("--update-golden"):
        expected.write_text(found, encoding="utf-8")
    assert expected.exists(), f"{expected.name} is not there: write it, or record it with --update-golden"
    assert found == expected.read_text(encoding="utf-8")


def test_every_recorded_outcome_has_its_manifests() -> None:
    recorded = {name_of(path) for path in FOLDER.glob("*.out.yaml")}
    assert recorded <= {name_of(path) for path in INPUTS}


@pytest.mark.parametrize("manifests", INPUTS, ids=name_of)
def test_every_input_says_which_rule_it_shows(manifests: Path) -> None:
    assert manifests.read_text(encoding="utf-8").startswith("# ")


def test_a_route_of_either_api_version_gives_the_same_table() -> None:
    texts = ((FOLDER / f"the-same-route-in-{version}.in.yaml").read_text() for version in ("v1", "v1alpha1"))
    first, second = (table_of(graph_of(text)[1]) for text in texts)
    assert first == second
    assert first


def test_every_reason_that_status_can_give_is_in_a_recorded_outcome() -> None:
    """The constructors' own, and those that they are given."""
    source = (Path(__file__).parents[2] / "routes" / "graph" / "conditions.py").read_text()
    reasons = set(re.findall(r'Condition\("\w+", \w+, "(\w+)"', source))
    reasons |= {"ProtocolConflict", "HostnameConflict", "OverlappingHostnames", "OverlappingCertificates"}
    reasons |= {"BackendNotFound", "InvalidKind", "RefNotPermitted", "UnsupportedProtocol"}
    recorded = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.out.yaml"))
    missing = {reason for reason in reasons if f"reason: {reason}," not in recorded}
    assert not missing


OFFICIAL = yaml.safe_load((Path(__file__).parent / "official.yaml").read_text(encoding="utf-8"))


def test_the_outcome_of_every_official_test_has_the_conditions_that_the_test_looks_for() -> None:
    missing = []
    for test, (pair, *conditions) in (OFFICIAL["shown"] | OFFICIAL["refused"]).items():
        recorded = (FOLDER / f"{pair}.out.yaml").read_text(encoding="utf-8")
        for condition in conditions:
            type_, status, reason = condition.split()
            if f"{{type: {type_}, status: '{status}', reason: {reason}," not in recorded:
                missing.append(f"{test}: {pair} has no {condition}")
    assert not missing, "\n".join(missing)


def test_every_official_test_has_its_place() -> None:
    """GatewayClass 1, Gateway 24, ListenerSet 13, HTTPRoute 61, BackendTLSPolicy 9."""
    placed = [test for part in OFFICIAL.values() for test in part]
    assert len(set(placed)) == len(placed) == 108


@pytest.mark.parametrize("manifests", INPUTS, ids=name_of)
def test_the_order_of_the_manifests_says_nothing(manifests: Path) -> None:
    """What comes first in a folder, or is told first by a cluster, is chance."""
    (options, sockets, unread), text = split_options(manifests.read_text(encoding="utf-8"))
    objects = [each.resource for each in read_manifests(text, "in.yaml", options.extensions).objects]
    one, other = (build_graph(Snapshot(each, unread), options, sockets) for each in (objects, objects[::-1]))
    assert one == other
    assert table_of(one) == table_of(other)
