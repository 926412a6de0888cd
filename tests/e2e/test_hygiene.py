"""The fields that every answer has, with uvicorn's own HTTP protocol and with ours."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.whoami import whoami
from tests.helpers.client import ask
from tests.helpers.manifests import backend, route, write
from tests.helpers.processes import Process, gateway
from tests.helpers.upstreams import serving


@pytest.fixture(scope="module", params=["auto", "h11", "app.listeners.http:GatewayProtocol"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A gateway that says its name, before a backend that says its date and its software."""
    folder: Path = tmp_path_factory.mktemp("hygiene")
    with serving(whoami("one")) as port:
        write(folder / "all.yaml", *backend("one", port), route("all", "one", path="/foo"))
        with gateway(folder, "--http", request.param, via="gw") as process:
            yield process


def test_a_backends_answer_has_its_date_and_its_server_and_our_via(running: Process) -> None:
    answer = ask(running.port, "/foo")
    assert answer.status == 200
    assert len(answer.values("date")) == 1
    assert answer.values("server") == ["uvicorn"]
    assert answer.values("via") == ["1.1 gw"]
    assert answer.echo["Via"] == "1.1 gw"


def test_our_own_answer_has_a_date_and_nothing_else_of_the_kind(running: Process) -> None:
    answer = ask(running.port, "/")
    assert answer.status == 404
    assert len(answer.values("date")) == 1
    assert answer.values("server") == answer.values("via") == []
