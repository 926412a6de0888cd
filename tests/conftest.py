"""The options of the test run."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``pytest --update-golden`` records what the golden tests see now; read every change before you commit it."""
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/*.out.yaml")
