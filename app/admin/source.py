"""What the admin port's pages are made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.journal import Journal
from app.observability.numbers import Numbers
from app.proxy import RuleProxy
from app.reconciler import State
from app.settings import Settings
from app.view.memory import Memory
from routes.resources.meta import Key
from routes.table.types import PortKey


@dataclass(frozen=True, slots=True)
class Source:
    """All of a run that there is to be seen, asked anew for each page.

    ``state`` is None before the first objects are there. ``proxies`` gives those that serve a route's rules, ``bound``
    the port of this machine that is open for a Gateway's, where there is one. ``serving``: see ``/ping``.
    ``memory`` keeps what was made of the present state.
    """

    settings: Settings
    serving: Callable[[], bool]
    state: Callable[[], State | None]
    proxies: Callable[[Key], Sequence[RuleProxy]]
    bound: Callable[[], Mapping[PortKey, int]]
    numbers: Numbers | None
    journal: Journal
    memory: Memory = field(default_factory=Memory)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
