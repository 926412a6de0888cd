"""One gateway that serves all cases at once, each with Gateways of its own, and the backends of all."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.conformance.asking import check
from tests.conformance.authority import Authority, server_context
from tests.conformance.case import CASES, Case, Change, Row
from tests.conformance.echo import Echoes, echoes
from tests.conformance.situation import Ports, Situation
from tests.helpers import processes
from tests.helpers.manifests import write
from tests.helpers.waiting import wait_until

#: What the backend in TLS can prove to be.
VAULT = ("abc.example.com", "other.example.com", "spiffe://abc.example.com/test-identity")


class World:
    """All situations, served."""

    def __init__(self, folder: Path, backends: Echoes, authorities: dict[str, Authority]) -> None:
        self._folder = folder
        self._backends = backends
        self.ports = Ports()
        self.situations = {case.name: Situation(case, backends.ports, self.ports, authorities) for case in CASES}
        for name in self.situations:
            self.write(name)

    def write(self, name: str) -> None:
        """Serve a case's objects as they are now."""
        write(self._folder / f"{name}.yaml", *self.situations[name].manifests())

    def check(self, case: Case, row: Row) -> None:
        """Ask, and raise AssertionError where the answer is not right."""
        check(row, self.situations[case.name].reach(row.to), self._backends)

    def settle(self, case: Case, change: Change) -> None:
        """Make ``change``, and wait until its first request, if it has one, is answered as it then must be."""
        self.situations[case.name].apply(change)
        self.write(case.name)
        if change.requests:
            wait_until(lambda: self._answered(case, change.requests[0]), what=f"the change of {case.name} is served")

    def _answered(self, case: Case, row: Row) -> bool:
        try:
            self.check(case, row)
        except (AssertionError, OSError):
            return False
        return True


@pytest.fixture(scope="session")
def authorities() -> dict[str, Authority]:
    """One that has issued all certificates, and one that has issued none."""
    return {name: Authority(f"{name}.example") for name in ("trusted", "stranger")}


@pytest.fixture(scope="session")
def backends(authorities: dict[str, Authority]) -> Iterator[Echoes]:
    with echoes(server_context(*authorities["trusted"].issue(*VAULT))) as found:
        yield found


@pytest.fixture(scope="session")
def world(
    tmp_path_factory: pytest.TempPathFactory, backends: Echoes, authorities: dict[str, Authority]
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("conformance")
    made = World(folder, backends, authorities)
    mapping = ",".join(f"{port}={bound}" for port, bound in made.ports.bound.items())
    with processes.moongate("run", "-m", str(folder), ports=mapping) as running:
        running.wait_for("Application startup complete")
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the gateway wrote last."""
    report = yield
    if report.failed:
        report.sections += [(running.command, running.log[-2000:]) for running in processes.RUNNING]
    return report
