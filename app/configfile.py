"""Settings from a YAML file: the names of the settings, and values as YAML writes them."""

import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

#: The variable that names the file.
VARIABLE: Final = "MOONGATE_CONFIG"
_MAX_BYTES: Final = 1024 * 1024


class ConfigFileError(ValueError):
    """The file cannot be read, or has what is no setting; the message says where."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file says: values, and the line of each, by the names of settings."""

    path: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def place(self, name: str) -> str:
        """``file:line`` of a setting, "" where it says nothing of it."""
        return f"{self.path}:{self.lines[name]}" if name in self.lines else ""


def config_file(known: frozenset[str]) -> ConfigFile:
    """The file that MOONGATE_CONFIG names, if it does; ``known`` are the settings. Raises ConfigFileError."""
    path = os.environ.get(VARIABLE)
    return _read(path, os.stat(path).st_mtime_ns if os.path.exists(path) else 0, known) if path else ConfigFile()


@lru_cache(maxsize=4)
def _read(path: str, _changed: int, known: frozenset[str]) -> ConfigFile:
    try:
        with Path(path).open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise ConfigFileError(f"{path}: is longer than {_MAX_BYTES:,} bytes")
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        values = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if root is not None else {}  # noqa: S506
    except OSError as error:
        raise ConfigFileError(f"{path}: {error.strerror} (named by {VARIABLE})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark is not None else path
        raise ConfigFileError(f"{place}: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(values, dict):
        raise ConfigFileError(f"{path}:1: must be settings by their names, such as access_log: json")
    lines: dict[str, int] = {}
    faults: list[str] = []
    for key, _ in root.value if root is not None else ():
        name, line = str(key.value), key.start_mark.line + 1
        if name not in known:
            faults.append(f"{path}:{line}: {name}: there is no such setting")
        elif name in lines:
            faults.append(f"{path}:{line}: {name}: stands in line {lines[name]} already")
        lines.setdefault(name, line)
    if faults:
        raise ConfigFileError("; ".join(faults))
    return ConfigFile(path, {name: value for name, value in values.items() if value is not None}, lines)


class ConfigFileSource(PydanticBaseSettingsSource):
    """That file as a source of settings."""

    def __init__(self, settings: type[BaseSettings]) -> None:
        super().__init__(settings)
        self._file = config_file(frozenset(settings.model_fields))

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The value of one setting, its name, and that nothing of it is encoded."""
        return self._file.values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All values."""
        return dict(self._file.values)
