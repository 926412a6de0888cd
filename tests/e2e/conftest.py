"""What the end-to-end tests share: the article's backends."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from tests.helpers import processes


class Backends(NamedTuple):
    """The ports of ``moongate whoami`` processes: two replicas of whoami, and one that stands in for nginx."""

    whoami: tuple[int, int]
    nginx: int


@pytest.fixture(scope="session")
def backends() -> Iterator[Backends]:
    """The article's backends, as processes of their own."""
    with ExitStack() as stack:
        names = ("whoami-1", "whoami-2", "nginx")
        started = [stack.enter_context(processes.moongate("whoami", "--port", "0", "--name", name)) for name in names]
        first, second, nginx = (int(each.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1]) for each in started)
        yield Backends((first, second), nginx)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the processes wrote that ran beside the test."""
    report = yield
    if report.failed:
        report.sections += [(running.command, running.log[-8000:]) for running in processes.RUNNING]
    return report
