"""An event loop for each test, in which nothing may fail unseen."""

from collections.abc import Iterator

import pytest

from tests.wire.harness import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.finish()
