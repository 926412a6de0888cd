"""The Grafana dashboard asks for nothing that is not exported."""

import json
import re
from pathlib import Path
from typing import Any

from app.observability.counting import Counter
from app.observability.exposition import Builds, EndpointNow, Snapshot, families

BOARD: dict[str, Any] = json.loads(Path("deploy/grafana/moongate.json").read_text())


def exported() -> dict[str, set[str]]:
    """The labels of each series that one request leads to."""
    counter = Counter((0.1,))
    counter.load("default/edge:80", "default/shop/0", "default/shop:80").count("GET", "1.1", 200, 1, 1, 1)
    ends = {("default/shop:80", "http://10.0.0.1:80"): EndpointNow()}
    clients = {("default/edge:80", "HTTP/1.1"): 1}
    found: dict[str, set[str]] = {
        "moongate_tls_certs_not_after": {"cn", "serial", "sans"},
        "moongate_resources": {"kind", "accepted"},
        "moongate_attached_routes": {"gateway", "listener"},
    }
    snapshot = Snapshot((0.1,), counter.loads, Builds(), clients, ends, None)
    for family in families(snapshot, ()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def queries() -> list[str]:
    asked = [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())]
    asked += [each["definition"] for each in BOARD["templating"]["list"] if "definition" in each]
    return [*asked, *(each["expr"] for each in BOARD["annotations"]["list"])]


def test_every_query_asks_for_what_is_exported() -> None:
    known = exported()
    names = set()
    for query in queries():
        for name, labels in re.findall(r"(moongate_\w+)(?:\{([^}]*)\})?", query):
            assert name in known, query
            names.add(name)
            asked = set(re.findall(r'(\w+)\s*(?:=~|!=|!~|=)\s*"', labels))
            assert asked <= known[name] | {"job", "le"}, query
    assert len(names) > 20


def test_grafana_can_import_it() -> None:
    assert BOARD["schemaVersion"] >= 36  # Grafana 10's own is 38
    numbers = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in BOARD["panels"] if panel["type"] != "row")
