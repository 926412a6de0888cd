"""Which of several fitting matches wins.

HTTPRouteRule.matches says, in this order:

    Proxy or Load Balancer routing configuration generated from HTTPRoutes MUST prioritize matches based on the
    following criteria, continuing on ties. Across all rules specified on applicable Routes, precedence must be given to
    the match having:

1. "Exact" path match;
2. "Prefix" path match with largest number of characters;
3. method match;
4. largest number of header matches;
5. largest number of query param matches.

    If ties still exist across multiple Routes, matching precedence MUST be determined in order of the following
    criteria, continuing on ties:

6. the oldest Route based on creation timestamp;
7. the Route appearing first in alphabetical order by "{namespace}/{name}".

    If ties still exist within an HTTPRoute, matching precedence MUST be granted to

8. the FIRST matching rule (in list order) with a match meeting the above criteria.

"The precedence of RegularExpression path matches are implementation-specific." Here they stand between 1 and 2, the one
with the longest pattern first, as with Envoy Gateway and as nginx has it for its locations: who writes a pattern means
something special, and behind prefixes every "/" would hide it. A header or query match counts the same of either type.

1, 2 and the patterns are the order in which :class:`~routes.table.paths.PathMap` looks; the rest is the order of each
of its lists, made here.
"""

from collections.abc import Sized
from datetime import datetime
from typing import Protocol

from routes.graph.seniority import seniority
from routes.resources.http import HTTPRoute
from routes.resources.meta import Key


class Placed(Protocol):
    """What has a place: match number ``match`` of rule number ``rule`` of ``source``, and what it asks for."""

    @property
    def method(self) -> str | None: ...
    @property
    def headers(self) -> Sized: ...
    @property
    def query(self) -> Sized: ...
    @property
    def source(self) -> HTTPRoute: ...
    @property
    def rule(self) -> int: ...
    @property
    def match(self) -> int: ...


#: (no method, fewer headers, fewer parameters, younger, namespace/name, its key, rule, match): the smallest wins. Keys
#: tell apart the routes of one name in two versions of the API.
Precedence = tuple[bool, int, int, datetime, str, Key, int, int]


def precedence(entry: Placed) -> Precedence:
    """The place of ``entry`` among those of the same path."""
    return (
        entry.method is None,
        -len(entry.headers),
        -len(entry.query),
        *seniority(entry.source),
        entry.source.key,
        entry.rule,
        entry.match,
    )
