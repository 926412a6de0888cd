"""``/api/explain`` says of what is served what ``moongate explain`` says of manifests; ``/api/events`` what came."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from typer.testing import CliRunner

from app.cli import cli
from tests.app.admin.running import Asked, running

STORE = Path(__file__).parents[1] / "cli" / "store.yaml"


@pytest.fixture(scope="module")
def admin() -> Iterator[Asked]:
    with running(STORE) as asked:
        yield asked


def explained(*parameters: tuple[str, str]) -> str:
    return f"/api/explain?{urlencode(parameters)}"


@pytest.mark.parametrize(
    ("method", "url", "headers"),
    [
        ("POST", "http://www.shop.example/cart", []),
        ("GET", "http://www.shop.example/cart/x?q=1", ["X-Version: two", "X-Other: a:b"]),
        ("GET", "http://www.shop.example/health?deep=1", []),
        ("GET", "https://www.shop.example/cart", []),
        ("GET", "http://other.example/", []),
        ("GET", "http://www.shop.example/a/../b", []),
        ("GET", "http://www.shop.example:9/", []),
        ("GET", "http://127.0.0.1/", ["Host: www.shop.example"]),
    ],
)
def test_it_is_what_the_command_prints(admin: Asked, method: str, url: str, headers: list[str]) -> None:
    options = [part for header in headers for part in ("-H", header)]
    printed = CliRunner().invoke(cli, ["explain", method, url, "-m", str(STORE), "--output", "json", *options])
    parameters = [("method", method), ("url", url), *(("header", header) for header in headers)]
    assert admin.json(explained(*parameters)) == json.loads(printed.stdout)


def test_the_method_is_get_where_nothing_is_said(admin: Asked) -> None:
    url = "http://www.shop.example/cart"
    assert admin.json(explained(("url", url))) == admin.json(explained(("method", "GET"), ("url", url)))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([], "invalid request: url: required"),
        ([("url", "/cart")], "invalid request: url: '/cart' is no URL"),
        ([("url", "http://[::1/")], "invalid request: url: 'http://[::1/' is no URL"),
        ([("url", "http://a:99999/")], "invalid request: url: 'http://a:99999/' has no port"),
        ([("url", "http://a/"), ("url", "http://b/")], "invalid request: url: must be given once"),
        ([("url", "http://a/"), ("method", "G E T")], "invalid request: method: must be a word"),
        ([("url", "http://a/"), ("header", "no-colon")], "invalid request: header: 'no-colon' is no header"),
        ([("url", "http://a/"), *[("header", "a: b")] * 65], "invalid request: header: at most 64"),
        ([("url", "http://a/"), ("headers", "a: b")], "invalid request: headers: no such parameter"),
    ],
)
def test_what_cannot_be_read_is_named(admin: Asked, parameters: list[tuple[str, str]], message: str) -> None:
    answer = admin.get(explained(*parameters))
    assert answer.status == 400
    assert json.loads(answer.body)["message"].startswith(message)


def test_what_a_match_asks_of_a_secret_field_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(STORE.read_text().replace("X-Version", "X-Api-Key"))
    with running(tmp_path) as admin:
        answer = admin.json(explained(("url", "http://www.shop.example/cart"), ("header", "x-api-key: two")))
        assert answer[0]["taken"]["predicates"] == ["header x-api-key: (not shown)"]


def test_events_are_those_after_a_number_the_oldest_first(admin: Asked) -> None:
    journal = admin.source.journal
    first = journal.count
    for number in range(3):
        journal.note("changed", "HTTPRoute default/store", f"change {number}")
    found: list[dict[str, Any]] = admin.json(f"/api/events?after={first + 1}")
    assert [event["text"] for event in found] == ["change 1", "change 2"]
    assert [event["number"] for event in found] == [first + 2, first + 3]
    assert found[0].keys() == {"number", "at", "kind", "subject", "text"}
    assert admin.json(f"/api/events?after={first + 3}") == []
    assert len(admin.json("/api/events")) >= 3


@pytest.mark.parametrize("after", ["-1", "x", "1" * 30, "%D9%A3"])
def test_a_number_that_is_none_is_refused(admin: Asked, after: str) -> None:
    answer = admin.get(f"/api/events?after={after}")
    assert (answer.status, json.loads(answer.body)["message"].startswith("invalid request: after")) == (400, True)
