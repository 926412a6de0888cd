"""Manifests as text in, mistakes as lines out."""

from collections.abc import Callable

import pytest
import yaml

from routes.resources.scheme import ManifestError, parse

Mistakes = Callable[[str], list[str]]


@pytest.fixture
def mistakes() -> Mistakes:
    """Reads a manifest and gives what was wrong with it, each as ``field: message``."""

    def read(text: str) -> list[str]:
        try:
            parse(yaml.safe_load(text))
        except ManifestError as error:
            return [str(one) for one in error.errors]
        return []

    return read
