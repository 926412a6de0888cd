"""Where settings come from, which source goes first, and what is said of a bad one."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app import Settings
from app import effective as effective_module
from app.cli import cli
from app.configfile import ConfigFileError
from app.healthcheck import check
from tests.helpers.processes import free_port, moongate
from tests.helpers.waiting import wait_until


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of ours before a test, nor what a command left behind."""
    for name in [name for name in os.environ if name.startswith("MOONGATE_")]:
        monkeypatch.delenv(name)
    yield
    for name in [name for name in os.environ if name.startswith("MOONGATE_")]:
        del os.environ[name]
    effective_module._given.clear()


def file(folder: Path, text: str) -> Path:
    path = folder / "moongate.yaml"
    path.write_text(text)
    return path


def command(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def shown(*arguments: str) -> dict[str, dict[str, str]]:
    """The settings that ``moongate config`` prints."""
    result = command("config", "--output", "json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, dict[str, str]] = json.loads(result.stdout)
    return found


def test_an_option_goes_before_a_variable_a_variable_before_the_file_and_that_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file(tmp_path, "via: from-file\naccess_log: json\nrequest_id: X-File\n")
    monkeypatch.setenv("MOONGATE_VIA", "from-variable")
    monkeypatch.setenv("MOONGATE_ACCESS_LOG", "common")
    found = shown("--config", str(path), "--via", "from-option")
    assert found["via"] == {"value": "from-option", "origin": "--via"}
    assert found["access_log"] == {"value": "common", "origin": "MOONGATE_ACCESS_LOG"}
    assert found["request_id"] == {"value": "X-File", "origin": f"{path}:3"}
    assert found["tracing"] == {"value": "off", "origin": "default"}


def test_a_file_has_values_as_yaml_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
trusted_proxies: [10.0.0.0/8, "fd00::/8"]
ports: {80: 8000}
metrics: false
metrics_buckets: [0.1, 1]
manifests: [a, b/c.yaml]
certificates: [{name: mysecret}]
access_log_header: {user-agent: keep}
drain_delay: 2.5
"""
    monkeypatch.setenv("MOONGATE_CONFIG", str(file(tmp_path, text)))
    found = Settings()
    assert [str(each) for each in found.trusted_proxies] == ["10.0.0.0/8", "fd00::/8"]
    assert found.ports == {80: 8000}
    assert found.metrics is False
    assert found.metrics_buckets == (0.1, 1.0)
    assert found.manifests == (Path("a"), Path("b/c.yaml"))
    assert found.certificates[0].name == "mysecret"
    assert found.access_log_header == {"user-agent": "keep"}
    assert found.drain_delay == 2.5


def test_arguments_go_before_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONGATE_CONFIG", str(file(tmp_path, "via: file")))
    assert Settings(via="argument").via == "argument"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("\nacces_log: json", ":2: acces_log: there is no such setting"),
        ("via: a\nvia: b", ":2: via: stands in line 1 already"),
        ("- a", ":1: must be settings by their names, such as access_log: json"),
        ("via: a: b", ":1: mapping values are not allowed"),
        ("\n\nadmin: nonsense", ":3: admin: must be host:port or off, not 'nonsense'"),
        ("access_log_status: 99", ":1: access_log_status"),
    ],
)
def test_a_fault_of_the_file_is_told_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = file(tmp_path, text)
    result = command("config", "--config", str(path))
    assert result.exit_code == 2
    assert f"{path}{sentence}" in result.stderr


def test_all_that_is_no_setting_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONGATE_CONFIG", str(file(tmp_path, "one: 1\ntwo: 2")))
    with pytest.raises(ConfigFileError, match=r"one: there is no such setting; .*two: there is no such setting"):
        Settings()


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = command("config", "--config", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert "none.yaml: No such file or directory (named by MOONGATE_CONFIG)" in result.stderr


def test_a_bad_option_is_told_by_the_name_of_its_variable() -> None:
    result = command("config", "--admin", "nonsense")
    assert result.exit_code == 2
    assert "MOONGATE_ADMIN: must be host:port or off" in result.stderr


def test_a_secret_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONGATE_SESSION_KEY", "this is a very secret key")
    result = command("config")
    assert "secret key" not in result.output
    assert shown()["session_key"]["value"] == "********"


def test_no_option_takes_a_secret() -> None:
    assert "--session-key" not in command("run", "--help").stdout


def test_a_gateway_reads_the_file_and_workers_do_as_well(tmp_path: Path) -> None:
    admin = free_port()
    path = file(tmp_path, f"admin: 127.0.0.1:{admin}\nmanifests: [{tmp_path}]\n")
    path.rename(tmp_path / "config.yml.txt")  # it is no manifest
    with moongate("run", "--workers", "2", "--config", str(tmp_path / "config.yml.txt"), admin="") as running:
        running.wait_for("Application startup complete")
        wait_until(lambda: check(f"127.0.0.1:{admin}") == "", what="the admin port of the file")


def test_a_gateway_that_serves_is_well() -> None:
    admin = f"127.0.0.1:{free_port()}"
    assert "refused" in check(admin)
    with moongate("run", admin=admin) as running:
        running.wait_for("Application startup complete")
        assert check(admin) == ""
        assert check(f"0.0.0.0:{admin.rpartition(':')[2]}") == ""
        assert command("healthcheck").exit_code == 1  # there is none where it is by default
        os.environ["MOONGATE_ADMIN"] = admin
        assert command("healthcheck").stdout == "OK\n"


def test_without_an_admin_port_nobody_can_be_asked() -> None:
    assert "MOONGATE_ADMIN is off" in check("off")
