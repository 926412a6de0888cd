"""All of h2spec against a gateway with a backend behind it: in plain text by prior knowledge, and over TLS."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Backends
from tests.helpers import h2spec
from tests.helpers.manifests import backend, gateway_object, http_listener, https_listener, pair, route, secret, write
from tests.helpers.processes import free_port, is_listening, moongate
from tests.helpers.waiting import wait_until

#: h2spec wants the connection closed without a word. A port that speaks HTTP/1.1 as well answers 400 before it closes:
#: https://github.com/summerwind/h2spec/issues/122 and 112.
SPEAKS_HTTP1 = "Sends invalid connection preface"


@pytest.fixture(scope="module")
def program(pytestconfig: pytest.Config) -> Path:
    found = h2spec.find(pytestconfig.rootpath / ".pytest_cache" / "h2spec")
    if found is None:
        pytest.skip("h2spec is not in PATH, and there is no Go to build it with")
    return found


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory, backends: Backends) -> Iterator[tuple[int, int]]:
    """A plain port and one with TLS, for any host."""
    folder = tmp_path_factory.mktemp("h2spec")
    plain, tls = free_port(), free_port()
    anywhere = route("anywhere", "whoami", gateway="g")
    del anywhere["spec"]["hostnames"]
    write(
        folder / "all.yaml",
        *backend("whoami", *backends.whoami),
        secret("one", *pair("127.0.0.1")),
        gateway_object("g", http_listener(plain), https_listener(tls, "one")),
        anywhere,
    )
    with moongate("run", manifests=str(folder)):
        wait_until(lambda: is_listening(plain) and is_listening(tls), what="the ports are open")
        yield plain, tls


@pytest.mark.timeout(900)
@pytest.mark.parametrize("strict", [(), ("--strict",)], ids=["usual", "strict"])
def test_in_plain_text(program: Path, ports: tuple[int, int], strict: tuple[str, ...]) -> None:
    result = h2spec.run(program, ports[0], *strict)
    assert result.failed == [SPEAKS_HTTP1]
    assert result.tests >= 145


@pytest.mark.timeout(900)
@pytest.mark.parametrize("strict", [(), ("--strict",)], ids=["usual", "strict"])
def test_over_tls(program: Path, ports: tuple[int, int], strict: tuple[str, ...]) -> None:
    result = h2spec.run(program, ports[1], "--tls", "--insecure", *strict)
    assert result.failed == []
    assert result.tests >= 145
