"""The filters that are installed: entry points of the group ``moongate.filters``.

A package offers a filter in its ``pyproject.toml``, by the kind and group of the objects that configure it::

    [project.entry-points."moongate.filters"]
    "RateLimit.example.com" = "ratelimit:RateLimit"
"""

import logging
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from starlette.types import ASGIApp

from middleware.extension import Extensions, FilterClass

logger = logging.getLogger(__name__)

GROUP: Final = "moongate.filters"


def installed(given: Extensions | None = None) -> Extensions:
    """The filter classes that there are, by group and kind; ``given`` ones take the place of installed ones.

    Nothing is imported until a route uses it. An entry point that cannot be one is told in the log and passed over; of
    two for the same kind the first counts.
    """
    found: dict[tuple[str, str], FilterClass] = {}
    for entry in entry_points(group=GROUP):
        kind, dot, group = entry.name.partition(".")
        if not (kind and dot and group):
            logger.error("%s: %r is passed over: its name must be Kind.group", GROUP, entry.name)
        elif (group, kind) in found:
            logger.error("%s: %r is passed over: there is another of its name", GROUP, f"{entry.name} = {entry.value}")
        else:
            found[group, kind] = _Installed(entry)
    return {**found, **(given or {})}


class _Installed:
    """A filter class that is imported when it is first called."""

    def __init__(self, entry: EntryPoint) -> None:
        self._entry = entry

    def __call__(self, app: ASGIApp, /, *args: Any, **spec: Any) -> ASGIApp:
        made: ASGIApp = self._entry.load()(app, *args, **spec)
        return made
