"""Manifests that are wrong: what `moongate validate` says of them, and what a gateway that runs does with them."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from typer.testing import CliRunner

from app import Gateway, Settings
from app.cli import cli
from app.whoami import whoami
from tests.helpers.manifests import backend, gateway_object, http_listener, https_listener, pair, replace, route, secret
from tests.helpers.manifests import write as write_file
from tests.helpers.processes import moongate
from tests.helpers.upstreams import serving

Reply = tuple[int, list[str]]


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    with serving(whoami("good")) as port:
        yield port


class Case:
    """A folder with a route that is good, ``route.yaml``, until the test makes something of it."""

    def __init__(self, folder: Path, upstream: int, caplog: pytest.LogCaptureFixture) -> None:
        self.folder = folder
        self.route = folder / "route.yaml"
        self._caplog = caplog
        write_file(folder / "backends.yaml", *backend("whoami", upstream))
        self.lay(good())

    def lay(self, *objects: dict[str, Any]) -> None:
        write_file(self.route, *objects)

    def validate(self) -> Reply:
        """The exit code of ``moongate validate`` and its lines, paths counted from the folder."""
        result = CliRunner().invoke(cli, ["validate", str(self.folder)])
        return result.exit_code, [line.removeprefix(f"{self.folder}/") for line in result.output.splitlines()]

    def change_while_it_runs(self, change: Callable[[], None]) -> Reply:
        """Start a gateway, let ``change`` happen, and when it has been seen: the status of / and what was logged."""
        self._caplog.set_level(logging.INFO)
        gateway = Gateway(Settings(manifests=(self.folder,)))

        async def main() -> int:
            async with gateway:
                transport = httpx2.ASGITransport(app=gateway)
                async with httpx2.AsyncClient(transport=transport, base_url="http://whoami") as client:
                    assert (await client.get("/")).status_code == 200
                    self._caplog.clear()
                    change()
                    async with asyncio.timeout(20):
                        while not self._seen():
                            await asyncio.sleep(0.005)
                    return (await client.get("/")).status_code

        status = asyncio.run(main())
        return status, [record.getMessage().removeprefix(f"{self.folder}/") for record in self._bad]

    def _seen(self) -> bool:
        """Whether something bad was found and what is good of it is served, of which a line tells afterwards."""
        levels = [record.levelno for record in self._caplog.records]
        first = next((index for index, level in enumerate(levels) if level >= logging.WARNING), len(levels))
        return any(message.startswith("serving ") for message in self._caplog.messages[first:])

    @property
    def _bad(self) -> list[logging.LogRecord]:
        return [record for record in self._caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def case(tmp_path: Path, upstream: int, caplog: pytest.LogCaptureFixture) -> Case:
    return Case(tmp_path, upstream, caplog)


def good(**changes: Any) -> dict[str, Any]:
    return route("good", "whoami") | changes


def with_backend(**fields: Any) -> dict[str, Any]:
    """The good route with other fields in its one backendRef."""
    changed = good()
    changed["spec"]["rules"][0]["backendRefs"][0].update(fields)
    return changed


def test_an_api_version_that_is_unknown(case: Case) -> None:
    message = (
        'route.yaml:1: error: HTTPRoute default/good apiVersion: "gateway.networking.k8s.io/v2" is not supported for '
        "HTTPRoute: write gateway.networking.k8s.io/v1, gateway.networking.k8s.io/v1beta1 "
        "or networking.x-k8s.io/v1alpha1"
    )

    def change() -> None:
        case.lay(good(apiVersion="gateway.networking.k8s.io/v2"))

    assert case.change_while_it_runs(change) == (200, [f"{message} (its last good version is kept)"])
    assert case.validate() == (1, [message, "1 error, 0 warnings"])


def test_a_service_that_does_not_exist(case: Case) -> None:
    message = (
        "route.yaml:10: error: HTTPRoute default/good spec.rules[0].backendRefs[0]: BackendNotFound: "
        "Service default/nobody does not exist; its share of the requests is answered 500"
    )
    assert case.change_while_it_runs(lambda: case.lay(with_backend(name="nobody"))) == (500, [message])
    assert case.validate() == (1, [message, "1 error, 0 warnings"])


def test_a_port_that_the_service_does_not_have(case: Case) -> None:
    message = (
        "route.yaml:10: error: HTTPRoute default/good spec.rules[0].backendRefs[0]: BackendNotFound: "
        "Service default/whoami has no TCP port 8080: it has 80; its share of the requests is answered 500"
    )
    assert case.change_while_it_runs(lambda: case.lay(with_backend(port=8080))) == (500, [message])
    assert case.validate() == (1, [message, "1 error, 0 warnings"])


def test_a_backend_that_is_missing_costs_no_other_rule(case: Case) -> None:
    other = route("other", "nobody", path="/other")
    status, log = case.change_while_it_runs(lambda: case.lay(good(), other))
    assert (status, len(log)) == (200, 1)


def test_a_negative_weight(case: Case) -> None:
    message = (
        "route.yaml:12: error: HTTPRoute default/good spec.rules[0].backendRefs[0].weight: "
        "must be 0 or more, not the number -1"
    )
    kept = f"{message} (its last good version is kept)"
    assert case.change_while_it_runs(lambda: case.lay(with_backend(weight=-1))) == (200, [kept])
    assert case.validate() == (1, [message, "1 error, 0 warnings"])


def test_weights_that_are_all_0(case: Case) -> None:
    message = (
        "route.yaml:9: warning: HTTPRoute default/good spec.rules[0]: all weights are 0: its requests are answered 500"
    )
    assert case.change_while_it_runs(lambda: case.lay(with_backend(weight=0))) == (500, [message])
    assert case.validate() == (0, [message, "0 errors, 1 warning"])


def test_two_routes_with_the_same_match(case: Case) -> None:
    second = route("later", "whoami")
    message = (
        "route.yaml:29: warning: HTTPRoute default/later spec.rules[0].matches[0]: "
        "never reached: rule 0 of HTTPRoute default/good has the same match and wins"
    )
    assert case.change_while_it_runs(lambda: case.lay(good(), second)) == (200, [message])
    assert case.validate() == (0, [message, "0 errors, 1 warning"])


@pytest.mark.parametrize(
    ("hostname", "sentence"),
    [
        ("whoami:80", "must not have a port: write 'whoami' instead of 'whoami:80'"),
        ("WhoAmI", "must be lower case: write 'whoami' instead of 'WhoAmI'"),
    ],
)
def test_a_hostname_with_a_port_or_in_upper_case(case: Case, hostname: str, sentence: str) -> None:
    message = f"route.yaml:7: error: HTTPRoute default/good spec.hostnames[0]: {sentence}"
    kept = f"{message} (its last good version is kept)"
    changed = good()
    changed["spec"]["hostnames"] = [hostname]
    assert case.change_while_it_runs(lambda: case.lay(changed)) == (200, [kept])
    assert case.validate() == (1, [message, "1 error, 0 warnings"])


def test_a_secret_that_is_not_base64(case: Case) -> None:
    message = (
        "secret.yaml:3: error: Secret default/bad data.tls.crt: must be base64: "
        "the value of 'tls.crt' is not (plain text goes into stringData)"
    )
    bad = secret("bad", *pair("whoami"))
    bad["data"]["tls.crt"] = "-----BEGIN CERTIFICATE-----"
    assert case.change_while_it_runs(lambda: write_file(case.folder / "secret.yaml", bad)) == (200, [message])
    assert case.validate() == (1, [message, "1 error, 0 warnings"])


def test_a_secret_is_quoted_nowhere(case: Case) -> None:
    bad = secret("bad", *pair("whoami"))
    bad["data"]["tls.key"] = "correct horse battery staple"
    status, log = case.change_while_it_runs(lambda: write_file(case.folder / "secret.yaml", bad))
    assert (status, len(log)) == (200, 1)
    assert "horse" not in log[0]
    assert "horse" not in "".join(case.validate()[1])


def test_a_secret_that_is_not_there(case: Case) -> None:
    message = (
        "route.yaml:11: error: Gateway default/some spec.listeners[1]: InvalidCertificateRef: "
        "Secret default/nothing does not exist"
    )
    listeners = http_listener(8000), https_listener(8443, "nothing")
    assert case.change_while_it_runs(lambda: case.lay(gateway_object("some", *listeners), good()))[1][0] == message
    assert case.validate()[1][0] == message


def test_a_file_that_is_empty(case: Case) -> None:
    message = "route.yaml: error: holds no objects; delete the file to take its objects away"
    kept = f"{message} (1 object from before kept)"
    assert case.change_while_it_runs(lambda: replace(case.route, "")) == (200, [kept])
    assert case.validate() == (1, [message, "1 error, 0 warnings"])


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    message = f"{missing}: error: no such file or folder; it is read as soon as it appears"
    result = CliRunner().invoke(cli, ["validate", str(missing)])
    assert (result.exit_code, result.output.splitlines()) == (1, [message, "1 error, 0 warnings"])


def test_a_folder_that_goes_away_takes_its_routes_with_it(case: Case) -> None:
    message = f"{case.folder}: error: no such file or folder; it is read as soon as it appears"

    def change() -> None:
        case.folder.rename(case.folder.with_name("away"))

    assert case.change_while_it_runs(change) == (404, [message])


def test_50_mb_of_yaml(case: Case) -> None:
    message = "route.yaml: error: has 50.0 MiB, and files above 32 MiB are not read: split it into several files"
    text = yaml.safe_dump(good()).encode()

    def change() -> None:
        replace(case.route, text + b"#" * (50 * 2**20 - len(text)))

    began = time.perf_counter()
    assert case.change_while_it_runs(change) == (200, [f"{message} (1 object from before kept)"])
    assert case.validate() == (1, [message, "1 error, 0 warnings"])
    assert time.perf_counter() - began < 10


def test_aliases_that_explode(case: Case) -> None:
    message = "route.yaml:6: error: holds aliases that stand for more than 1,000,000 values"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{depth}: &a{depth} [{', '.join([f'*a{depth - 1}'] * 10)}]" for depth in range(1, 30)]
    began = time.perf_counter()
    assert case.change_while_it_runs(lambda: replace(case.route, "\n".join(lines))) == (
        200,
        [f"{message} (1 object from before kept)"],
    )
    assert case.validate() == (1, [message, "1 error, 0 warnings"])
    assert time.perf_counter() - began < 10


def test_nesting_without_an_end(case: Case) -> None:
    message = "route.yaml:1: error: is nested deeper than 100 levels"
    assert case.change_while_it_runs(lambda: replace(case.route, "[" * 100_000)) == (
        200,
        [f"{message} (1 object from before kept)"],
    )
    assert case.validate() == (1, [message, "1 error, 0 warnings"])


def test_a_file_that_is_no_text(case: Case) -> None:
    message = "route.yaml:1: error: is not UTF-8: byte 0 is no part of a character"
    kept = f"{message} (1 object from before kept)"
    assert case.change_while_it_runs(lambda: replace(case.route, b"\x89PNG\r\n")) == (200, [kept])
    assert case.validate() == (1, [message, "1 error, 0 warnings"])


def test_a_field_that_is_misspelled(case: Case) -> None:
    message = (
        "route.yaml:12: error: HTTPRoute default/good spec.rules[0].backendRefs[0].wieght: "
        'unknown field; did you mean "weight"?'
    )
    kept = f"{message} (its last good version is kept)"
    assert case.change_while_it_runs(lambda: case.lay(with_backend(wieght=1))) == (200, [kept])
    assert case.validate() == (1, [message, "1 error, 0 warnings"])


def test_the_real_command_exits_with_1_and_tells_file_line_and_field(case: Case) -> None:
    case.lay(with_backend(weight=-1))
    with moongate("validate", str(case.folder)) as running:
        assert running.wait() == 1
        assert f"{case.route}:12: error: HTTPRoute default/good spec.rules[0].backendRefs[0].weight:" in running.output
