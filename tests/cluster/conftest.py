"""Tests in a cluster; where there is none, all of them are skipped for one and the same reason."""

from collections.abc import Callable, Generator, Iterator
from functools import cache

import pytest

from tests.cluster.lab import Cluster, CommandError, NoCluster, Release, find, image_of

_RELEASES: list[Release] = []


@cache
def _found() -> Cluster | str:
    try:
        return find()
    except NoCluster as reason:
        return str(reason)


def pytest_runtest_setup() -> None:
    """Skip every test here in one place, which so is told in one line."""
    if isinstance(reason := _found(), str):
        pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster that there is."""
    found = _found()
    assert isinstance(found, Cluster), "no test gets here without one"
    return found


@pytest.fixture(scope="session")
def image(cluster: Cluster) -> str:
    """The gateway's image."""
    return image_of(cluster)


@pytest.fixture(scope="module")
def release(cluster: Cluster, image: str) -> Iterator[Callable[[str], Release]]:
    """Makes a :class:`Release` in a namespace, which is uninstalled in the end."""
    made = []

    def make(namespace: str) -> Release:
        one = Release(cluster, namespace, image)
        one.clear()
        made.append(one)
        _RELEASES.append(one)
        return one

    yield make
    for one in made:
        _RELEASES.remove(one)
        one.uninstall()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the replicas wrote."""
    report = yield
    if report.failed:
        for one in _RELEASES:
            try:
                report.sections.append((f"replicas in {one.namespace}", one.logs()))
            except CommandError as error:
                report.sections.append((f"replicas in {one.namespace}", str(error)))
    return report
