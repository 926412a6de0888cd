"""What the README says of settings and commands is what the code has."""

import re
from pathlib import Path

from typer.main import get_command

from app.cli import cli
from app.effective import default, reference_page
from app.settings import Settings

FOLDER = Path(__file__).parents[1]
README = FOLDER.joinpath("README.md").read_text()


def settings_table() -> str:
    """The README's table of all settings, from their model."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `MOONGATE_{name.upper()}` | {default(field)} | {field.description} |")
    return "\n".join(rows)


def test_the_readme_lists_every_setting_with_its_default_and_meaning() -> None:
    assert settings_table() in README


def test_the_readme_names_every_command_and_no_other() -> None:
    named = set(re.findall(r"`moongate ([a-z]+)", README))
    commands = set(get_command(cli).list_commands(None))  # type: ignore[attr-defined]
    assert named == commands


def test_every_variable_that_the_readme_names_is_a_setting() -> None:
    settings = {f"MOONGATE_{name.upper()}" for name in (*Settings.model_fields, "config")}
    assert set(re.findall(r"MOONGATE_[A-Z_]*[A-Z]", README)) <= settings


def test_the_readme_shows_the_embedding_example_that_is_tested() -> None:
    example = Path(__file__).with_name("e2e").joinpath("embedding_example.py").read_text()
    assert example.split('"""', 2)[2].strip() in README


def test_the_page_of_settings_is_that_of_the_model() -> None:
    assert FOLDER.joinpath("docs", "settings.md").read_text() == reference_page()
