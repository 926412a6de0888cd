"""``moongate config`` and the options of ``moongate run``: what is set, where, and what could be."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, Final, get_args

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.configfile import VARIABLE as CONFIG
from app.configfile import config_file
from app.settings import Settings, variable

#: What is shown of a secret that is set.
MASK: Final = "********"

#: Settings that options have given.
_given: set[str] = set()


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting in force: its value as a variable would have it, and ``origin``, who said so."""

    name: str
    value: str
    origin: str


def with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """``function``, a command, with an option for each setting but the secret ones, which others would see in the list
    of processes, and ``--config``.

    An option is a variable that goes before the environment's: processes that the command starts have it as well.
    """
    own = signature(function)
    added = {
        "config": Annotated[
            str | None,
            typer.Option(
                metavar="FILE",
                help="A YAML file of settings by their names; variables go before it, options before these. Also "
                f"{CONFIG}.",
            ),
        ],
        **{
            name: Annotated[
                str | None,
                typer.Option(_flag(name), metavar="VALUE", help=f"{field.description} Also {variable(name)}."),
            ]
            for name, field in Settings.model_fields.items()
            if name not in own.parameters and not _is_secret(field)
        },
    }

    @wraps(function)
    def called(**arguments: Any) -> None:
        for name in added:
            value = arguments.pop(name)
            if value is not None:
                os.environ[variable(name)] = value
                _given.add(name)
        function(**arguments)

    parameters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=each) for name, each in added.items()
    ]
    called.__signature__ = own.replace(parameters=[*own.parameters.values(), *parameters])  # type: ignore[attr-defined]
    called.__annotations__ = {**function.__annotations__, **added}
    return called


def effective(settings: Settings) -> Iterator[Setting]:
    """Each setting with its value, secrets masked, and where it comes from."""
    file = config_file(frozenset(Settings.model_fields))
    for name in Settings.model_fields:
        origin = "default"
        if name in _given:
            origin = _flag(name)
        elif os.environ.get(variable(name)):
            origin = variable(name)
        elif place := file.place(name):
            origin = place
        yield Setting(name, written(getattr(settings, name)), origin)


def reference_page() -> str:
    """A page of all settings, in Markdown."""
    rows = [
        "# Settings",
        "",
        "Each is an option of `moongate run`, an environment variable, and a key of the YAML file that `--config` or",
        "`MOONGATE_CONFIG` names. An option goes before a variable, a variable before the file, and that before the",
        "default. `moongate config` prints what is in force and where it was said. This page is made by",
        "`moongate config --reference`.",
        "",
        "| key | option | variable | default | meaning |",
        "|---|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        option = "" if _is_secret(field) else f"`{_flag(name)}`"
        rows.append(f"| `{name}` | {option} | `{variable(name)}` | {default(field)} | {field.description} |")
    return "\n".join(rows) + "\n"


def default(field: FieldInfo) -> str:
    """The default of a setting as a person writes it, in Markdown; "" where there is none."""
    if field.default_factory or field.default in ("", (), None):
        return ""
    return f"`{written(field.default)}`"


def written(value: Any) -> str:
    """A value as a variable would have it, secrets masked."""
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ",".join(f"{key}={each}" for key, each in value.items())
    if isinstance(value, tuple | list):
        return ",".join(written(each) for each in value)
    if hasattr(value, "model_dump_json"):
        return str(value.model_dump_json(exclude_defaults=True, by_alias=True))
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _is_secret(field: FieldInfo) -> bool:
    return field.annotation is SecretStr or SecretStr in get_args(field.annotation)
