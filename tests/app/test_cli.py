"""The command line."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from tests.helpers.manifests import backend, route, write
from tests.helpers.processes import moongate


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOONGATE_MANIFESTS", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    write(tmp_path / "good.yaml", *backend("whoami", 8080), route("good", "whoami"))
    return tmp_path


@pytest.fixture
def bad(good: Path) -> Path:
    """One error and one warning."""
    write(good / "bad.yaml", route("bad", "nobody", host="bad"), route("worse", "whoami", gateway="nowhere"))
    return good


def test_help_lists_every_command_with_what_it_does() -> None:
    told = run("--help").output
    for name, begins in {
        "run": "Serve the manifests",
        "validate": "Print every problem of the manifests",
        "demo": "Serve the article's manifests",
        "whoami": "Run the little backend",
        "version": "Print the version",
    }.items():
        assert f"{name} " in told
        assert begins in told


def test_without_a_command_help_is_shown() -> None:
    result = run()
    assert result.exit_code == 2
    assert "Commands:" in result.output


def test_version_is_that_of_the_package() -> None:
    assert run("version").output == f"moongate {version('moongate')}\n"


def test_validate_says_that_there_is_nothing_to_say(good: Path) -> None:
    result = run("validate", str(good))
    assert (result.exit_code, result.output) == (0, "no problems\n")


def test_validate_prints_each_problem_with_its_place_and_how_many_there_are(bad: Path) -> None:
    result = run("validate", str(bad))
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f"{bad}/bad.yaml:10: error: HTTPRoute default/bad spec.rules[0].backendRefs[0]: BackendNotFound: "
        "Service default/nobody does not exist; its share of the requests is answered 500",
        f"{bad}/bad.yaml:25: warning: HTTPRoute default/worse spec.parentRefs[0]: "
        "Gateway default/nowhere does not exist",
        "1 error, 1 warning",
    ]


def test_validate_exits_with_0_where_there_are_only_warnings(good: Path) -> None:
    write(good / "worse.yaml", route("worse", "whoami", gateway="nowhere"))
    assert run("validate", str(good)).exit_code == 0


def test_validate_prints_json_for_programs(bad: Path) -> None:
    result = run("validate", "--output", "json", str(bad))
    assert result.exit_code == 1
    assert json.loads(result.output)[0] == {
        "message": "BackendNotFound: Service default/nobody does not exist; "
        "its share of the requests is answered 500",
        "severity": "error",
        "key": "HTTPRoute default/bad",
        "field": "spec.rules[0].backendRefs[0]",
        "file": f"{bad}/bad.yaml",
        "line": 10,
    }  # fmt: skip


def test_validate_prints_an_empty_list_where_there_is_nothing_to_say(good: Path) -> None:
    assert json.loads(run("validate", "--output", "json", str(good)).output) == []


def test_validate_takes_files_and_folders(good: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write(other / "route.yaml", route("other", "whoami", host="other"))
    assert run("validate", str(good / "good.yaml"), str(other)).exit_code == 0
    assert run("validate", str(other)).exit_code == 1


def test_validate_needs_to_be_told_what(good: Path) -> None:
    result = run("validate")
    assert result.exit_code == 2
    assert "Missing argument" in result.output


@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_bad_setting_is_told_in_one_line(command: str, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONGATE_ACCESS_LOG", "xml")
    result = run(command, *([str(good)] if command == "validate" else []))
    assert result.exit_code == 2
    assert result.output == "moongate: MOONGATE_ACCESS_LOG: Input should be 'off', 'common' or 'json'\n"


def test_python_m_app_is_the_same_command() -> None:
    with moongate("version") as running:
        assert running.wait() == 0
        assert running.output == f"moongate {version('moongate')}\n"
