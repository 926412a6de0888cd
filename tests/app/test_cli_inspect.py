"""The commands that look at manifests. What they print of ``tests/app/cli`` is recorded there, whole;
``pytest --update-golden`` records it anew."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from app.cli import cli

FOLDER = Path(__file__).parent / "cli"


@pytest.fixture(autouse=True)
def _in_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOONGATE_MANIFESTS", raising=False)
    monkeypatch.chdir(FOLDER)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def printed(*arguments: str) -> Any:
    """What a command prints for programs."""
    return json.loads(run(*arguments, "--output", "json").stdout)


RECORDED: dict[str, tuple[int, tuple[str, ...]]] = {
    "validate": (1, ("validate", ".")),
    "routes": (1, ("routes", ".")),
    "translate": (1, ("translate", ".")),
    "status": (1, ("status", ".")),
    "explain-forwarded": (
        0,
        ("explain", "POST", "http://www.shop.example/cart/1?a=b", "-H", "x-version: two", "--manifests", "."),
    ),
    "explain-redirected": (0, ("explain", "GET", "http://a.shop.example/cart", "-m", ".")),
    "explain-no-backend": (1, ("explain", "GET", "http://www.shop.example/cart", "-m", ".")),
    "explain-no-route": (1, ("explain", "GET", "http://a.shop.example/", "-m", ".")),
    "explain-no-host": (1, ("explain", "GET", "http://192.0.2.1/", "-H", "Host: other.example", "-m", ".")),
    "explain-doubtful-path": (1, ("explain", "POST", "http://www.shop.example/a;b/..;/cart", "-m", ".")),
    "explain-nobody-listens": (1, ("explain", "GET", "https://www.shop.example:8443/", "-m", ".")),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_command_prints_what_was_recorded(name: str, pytestconfig: pytest.Config) -> None:
    code, arguments = RECORDED[name]
    result = run(*arguments)
    said = "".join(f"stderr: {line}\n" for line in result.stderr.splitlines()) + result.stdout
    found = re.sub(r"'20(?!26-01-01)\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ'", "'(now)'", said)
    recorded = FOLDER / f"{name}.txt"
    if pytestconfig.getoption("--update-golden"):
        recorded.write_text(found, encoding="utf-8")
    assert found == recorded.read_text(encoding="utf-8")
    assert result.exit_code == code


def test_a_broken_object_is_told_and_hides_nothing_of_the_rest() -> None:
    result = run("routes", ".")
    assert "broken.yaml:7: error: HTTPRoute default/broken spec.rules[0].matches[0].path.value" in result.stderr
    assert "default/store/0" in result.stdout


def test_commands_exit_with_0_where_nothing_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("{apiVersion: v1, kind: Service, metadata: {name: some}, spec: {}}\n")
    for command in ("validate", "routes", "translate", "status"):
        result = run(command, str(tmp_path))
        assert (result.exit_code, result.stderr) == (0, ""), command


def test_a_path_that_is_not_there_is_an_error() -> None:
    for command in ("validate", "routes", "translate", "status"):
        assert run(command, "nowhere").exit_code == 1


def test_routes_for_programs_has_a_line_for_each_match() -> None:
    lines = printed("routes", ".")
    assert lines[0] == {
        "listener": "default/edge:80 shop",
        "host": "www.shop.example",
        "path": "= /health",
        "predicates": ["query deep=1"],
        "rule": "default/store/1",
        "filters": [],
        "backends": ["1×default/store:80"],
    }


def test_translate_for_programs_has_problems_status_and_table() -> None:
    found = printed("translate", ".")
    assert set(found) == {"problems", "status", "table"}
    assert found["problems"][0]["file"] == "./broken.yaml"
    assert list(found["table"]) == ["default/edge:80"]


def test_explain_for_programs_names_rule_sentence_and_what_came_close() -> None:
    (found,) = printed("explain", "GET", "http://www.shop.example/cart", "-m", ".")
    assert (found["gateway"], found["port"], found["listener"], found["status"]) == ("default/edge", 80, "shop", 500)
    assert found["taken"]["rule"] == "default/store/2"
    assert found["decided"].startswith("HTTPRouteSpec.hostnames: ")
    assert [each["failed"] for each in found["close"]][:2] == [
        "method is GET, not POST",
        "there is no header x-version",
    ]


def test_status_for_programs_is_a_list_of_objects() -> None:
    kinds = [(each["kind"], each["metadata"]["name"]) for each in printed("status", ".")]
    assert ("Gateway", "edge") in kinds
    assert ("HTTPRoute", "store") in kinds


def test_status_keeps_times_and_what_others_wrote() -> None:
    documents = yaml.safe_load_all(run("status", ".").stdout)
    status = next(each["status"] for each in documents if each["kind"] == "Gateway")
    found = {condition["type"]: condition for condition in status["conditions"]}
    assert found["example.com/Theirs"]["reason"] == "Some"
    assert found["Accepted"]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert found["Accepted"]["observedGeneration"] == 2
    assert found["Programmed"]["lastTransitionTime"] > "2026-01-01T00:00:00Z"


def test_status_can_be_read_as_manifests_again(tmp_path: Path) -> None:
    """As kubectl apply --subresource=status would take it: an object with its identity and a status."""
    for document in yaml.safe_load_all(run("status", ".").stdout):
        assert set(document) == {"apiVersion", "kind", "metadata", "status"}


@pytest.mark.parametrize(
    "arguments",
    [("GET", "www.shop.example"), ("GET", "ftp://www.shop.example/"), ("GET", "http://shop:99999/"),
     ("GET", "http://shop/", "-H", "no colon")],
)  # fmt: skip
def test_a_request_that_cannot_be_read_is_a_mistake_of_usage(arguments: tuple[str, ...]) -> None:
    result = run("explain", *arguments, "-m", ".")
    assert result.exit_code == 2
    assert result.stderr.startswith("moongate: ")


def test_explain_takes_the_port_that_a_listener_is_bound_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONGATE_PORTS", "80=8000")
    assert run("explain", "POST", "http://www.shop.example:8000/cart", "-m", ".").exit_code == 0


def test_status_takes_our_entries_from_a_route_that_is_ours_no_more(tmp_path: Path) -> None:
    """It names a Gateway that is not there. Entries of others stay."""
    entries: list[dict[str, Any]] = [
        {"parentRef": {"name": "gone"}, "controllerName": name, "conditions": []}
        for name in ("example.com/other", "moongate.dev/gateway")
    ]
    document = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"parentRefs": [{"name": "gone"}], "rules": [{}]},
        "status": {"parents": entries},
    }
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(document))
    [found] = yaml.safe_load_all(run("status", str(tmp_path)).stdout)
    assert found["status"] == {"parents": entries[:1]}
