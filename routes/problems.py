"""What is wrong with what somebody wrote, in a form that a person can act on."""

from dataclasses import dataclass
from enum import StrEnum

from routes.resources.meta import Key


class Severity(StrEnum):
    """An error keeps an object or a part of it from being served; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend. ``file`` and ``line`` (from 1; 0 is unknown) are set where the object came from a file.

    ``field`` is written as in manifests: ``spec.rules[0].backendRefs[1].port``.
    """

    message: str
    severity: Severity = Severity.ERROR
    key: Key | None = None
    field: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        subject = " ".join(part for part in (str(self.key) if self.key else "", self.field) if part)
        return ": ".join(part for part in (place, self.severity.value, subject, self.message) if part)
