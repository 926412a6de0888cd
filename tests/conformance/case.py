"""The cases: for each official conformance test the situation that it sets up, its requests, and what comes of them.

A case is a YAML file in ``cases``. Its objects are written as ``Kind/name`` or ``Kind/namespace/name`` with their spec;
those that come first are the older ones. The names, and what is asked for over and above, are ours; which request goes
where is what the official suite of Gateway API v1.7.0 asks.
"""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

FOLDER = Path(__file__).parent / "cases"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Location(_Strict):
    """Where a redirect leads. ``port`` None: none is named, or the scheme's own."""

    scheme: str = "http"
    host: str = "any.example"
    port: int | None = None
    path: str


class Seen(_Strict):
    """The request as the backend has it, where that is not as it was sent. Repeated fields are joined with commas."""

    path: str = ""
    host: str = ""
    fields: dict[str, str] = {}
    absent: tuple[str, ...] = ()
    server_name: str = Field(default="", alias="serverName")


class Row(_Strict):
    """A request, and the answer to it.

    ``to`` is ``gateway:port`` or ``namespace/gateway:port``, by default port 80 of the case's only Gateway. With
    ``serverName`` it is sent in TLS, with ``http: "2"`` over HTTP/2. What the echo backend does is in the query: see
    :mod:`tests.conformance.echo`; ``answers`` are fields that it puts into its answer.

    ``status``: one of these. ``fields``: of the answer, each with the values that are right. ``shares``: how many of
    ``times`` requests each backend gets. ``marked``: a field that names that backend. ``mirrored``: of how many per
    cent of the requests each gets a copy. ``tries``: how often the backend was asked. ``message``: is sent over a
    WebSocket, and comes back. ``refused``: there is no listener.
    """

    to: str = ""
    server_name: str = Field(default="", alias="serverName")
    http: Literal["1.1", "2"] = "1.1"
    method: str = "GET"
    host: str = "any.example"
    path: str
    headers: dict[str, str] = {}
    answers: dict[str, str] = {}
    times: int = 1
    message: str | tuple[int, ...] = ""

    status: int | tuple[int, ...] = 200
    backend: str = ""
    seen: Seen = Seen()
    fields: dict[str, str | tuple[str, ...]] = {}
    absent: tuple[str, ...] = ()
    location: Location | None = None
    shares: dict[str, int] = {}
    marked: str = ""
    mirrored: dict[str, int] = {}
    tries: int = 0
    refused: bool = False

    @property
    def statuses(self) -> tuple[int, ...]:
        return (self.status,) if isinstance(self.status, int) else self.status

    @property
    def title(self) -> str:
        """For the list of tests."""
        words = [f"[{self.server_name}]" if self.server_name else "", self.method, self.host + self.path]
        return " ".join(word for word in words if word)


#: Kind/name, by which objects are told apart in a case.
Title = str
Objects = dict[Title, dict[str, Any]]
Statuses = dict[Title, dict[str, Any]]


class Change(_Strict):
    """What happens to the objects while the gateway runs, and what holds from then on."""

    put: Objects = {}
    remove: tuple[Title, ...] = ()
    status: Statuses = {}
    requests: tuple[Row, ...] = ()


class Case(_Strict):
    """``backends`` are ``name`` or ``namespace/name``: Services on port 8080 with the echo of that name behind them."""

    name: str
    test: str
    backends: tuple[str, ...] = ()
    objects: Objects
    status: Statuses = {}
    requests: tuple[Row, ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def rows(self) -> int:
        """How many requests it lists."""
        return len(self.requests) + sum(len(change.requests) for change in self.changes)


def read(path: Path) -> Case:
    """Raises pydantic's ValidationError for what a case does not have."""
    return Case(name=path.stem, **yaml.safe_load(path.read_text(encoding="utf-8")))


CASES = tuple(read(path) for path in sorted(FOLDER.glob("*.yaml")))
