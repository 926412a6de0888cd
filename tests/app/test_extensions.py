"""Filters that are installed beside the gateway, and the one of the examples."""

import asyncio
import logging
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app import Gateway, Settings
from app.extensions import installed
from app.runtime import Runtime
from middleware.errors import ErrorMiddleware
from middleware.extension import FilterClass
from tests.helpers.asgi import Backend, ask, handshake, request

EXAMPLE = Path(__file__).parents[2] / "examples" / "ratelimit"

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution with the entry points given, for the test: what pip would leave of one."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, **entries: str) -> None:
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{entry} = {value}" for entry, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(["[moongate.filters]", *lines, ""]))

    yield make
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def example(install: Install, monkeypatch: pytest.MonkeyPatch) -> FilterClass:
    """The example's filter, found as it says that it is."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install(project["name"], **project["entry-points"]["moongate.filters"])
    monkeypatch.syspath_prepend(EXAMPLE)
    return installed()["example.com", "RateLimit"]


def test_a_filter_is_known_by_the_kind_and_group_that_its_entry_point_names(install: Install) -> None:
    install("one", **{"RateLimit.example.com": "ratelimit:RateLimit", "Auth.corp.example.com": "auth:Auth"})
    assert {("example.com", "RateLimit"), ("corp.example.com", "Auth")} <= set(installed())


def test_nothing_is_imported_before_a_rule_has_the_filter(install: Install, tmp_path: Path) -> None:
    (tmp_path / "only_when_used.py").write_text("from starlette.middleware.gzip import GZipMiddleware as Filter\n")
    install("one", **{"Used.example.com": "only_when_used:Filter"})
    made = installed()["example.com", "Used"]
    assert "only_when_used" not in sys.modules
    made(Backend(), minimum_size=5)
    assert "only_when_used" in sys.modules


def test_a_name_that_is_no_kind_and_group_is_told_and_passed_over(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("one", **{"RateLimit": "a:B", ".example.com": "a:B", "Kind.": "a:B", "Good.example.com": "a:B"})
    found = {key for key, made in installed().items()}
    assert ("example.com", "Good") in found
    assert len([record for record in caplog.records if "must be Kind.group" in record.getMessage()]) == 3


def test_of_two_filters_for_a_kind_one_counts_and_the_other_is_told(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("one", **{"Same.example.com": "one:Filter"})
    install("two", **{"Same.example.com": "two:Filter"})
    assert ("example.com", "Same") in installed()
    assert "Same.example.com" in caplog.text
    assert "there is another of its name" in caplog.text


def test_a_program_gives_its_own_filters_and_they_come_before_installed_ones(install: Install) -> None:
    install("one", **{"Same.example.com": "one:Filter"})

    class Filter(ErrorMiddleware): ...

    gateway = Gateway(Settings(manifests=()), filters={("example.com", "Same"): Filter, ("example.com", "B"): Filter})

    async def extensions() -> Any:
        async with gateway:
            return gateway.runtime.extensions

    found = asyncio.run(extensions())
    assert found["example.com", "Same"] is found["example.com", "B"] is Filter


def test_the_graph_knows_which_kinds_there_are_filters_for(install: Install) -> None:
    install("one", **{"RateLimit.example.com": "a:B"})
    assert ("example.com", "RateLimit") in Settings(manifests=()).options(installed()).extensions
    assert Settings(manifests=()).options().extensions == frozenset()


def test_a_broken_package_breaks_nothing_before_a_rule_uses_it(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("one", **{"Gone.example.com": "there_is_no_such_module:Filter"})

    async def start() -> bool:
        runtime = Runtime(Settings(manifests=()))
        async with runtime:
            return ("example.com", "Gone") in runtime.extensions

    assert asyncio.run(start())
    with pytest.raises(ModuleNotFoundError):
        installed()["example.com", "Gone"](Backend())
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# The example


class Clock:
    """Time that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_example_lets_a_burst_through_and_then_as_many_as_come_anew(example: FilterClass) -> None:
    clock, backend = Clock(), Backend()
    app = example(backend, requests_per_second=2, burst=3, clock=clock)
    assert [ask(app, request()).status for _ in range(4)] == [200, 200, 200, 429]
    clock.now += 0.5
    assert [ask(app, request()).status for _ in range(2)] == [200, 429]
    clock.now += 3600
    assert [ask(app, request()).status for _ in range(4)] == [200, 200, 200, 429]


def test_the_example_says_when_to_come_again(example: FilterClass) -> None:
    clock, backend = Clock(), Backend()
    app = example(backend, requests_per_second=0.1, clock=clock)
    ask(app, request())
    answer = ask(app, request())
    assert (answer.status, answer.values(b"retry-after")) == (429, [b"10"])
    clock.now = 7.5
    assert ask(app, request()).values(b"retry-after") == [b"3"]
    clock.now = 10.0
    assert ask(app, request()).status == 200


def test_the_example_counts_each_key_for_itself(example: FilterClass) -> None:
    app = example(Backend(), requests_per_second=1, header="X-Api-Key", clock=Clock())

    def status(key: bytes | None) -> int:
        return ask(app, request(fields=[(b"x-api-key", key)] if key is not None else [])).status

    assert [status(key) for key in (b"a", b"b", None, b"a", b"b", None)] == [200, 200, 200, 429, 429, 429]


def test_the_examples_key_is_the_clients_address_where_no_header_is_given(example: FilterClass) -> None:
    app = example(Backend(), requests_per_second=1, clock=Clock())
    clients = [("192.0.2.1", 1), ("192.0.2.1", 2), ("192.0.2.2", 1)]
    assert [ask(app, request(client=client)).status for client in clients] == [200, 429, 200]


def test_the_example_remembers_a_bounded_number_of_keys(example: FilterClass, monkeypatch: pytest.MonkeyPatch) -> None:
    app: Any = example(Backend(), requests_per_second=1, header="k", clock=Clock())
    monkeypatch.setattr(sys.modules["ratelimit"], "MAX_KEYS", 3)
    for number in range(100):
        ask(app, request(fields=[(b"k", b"%d" % number)]))
    assert list(app._buckets) == [b"97", b"98", b"99"]


def test_the_example_refuses_websockets_too(example: FilterClass) -> None:
    app = example(Backend(), requests_per_second=1, clock=Clock())
    assert ask(app, handshake()).messages[0]["type"] == "websocket.accept"
    assert ask(app, handshake()).messages == [{"type": "websocket.close"}]


@pytest.mark.parametrize("spec", [{"requests_per_second": 0}, {"requests_per_second": 1, "burst": 0}, {}])
def test_the_example_is_not_made_of_numbers_that_let_nothing_pass(example: FilterClass, spec: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        example(Backend(), **spec)
