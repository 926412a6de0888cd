"""Which of several fitting matches wins.

HTTPRouteRule.matches says, in this order:

1. "Exact" path match;
2. "Prefix" path match with largest number of characters;
3. method match;
4. largest number of header matches;
5. largest number of query param matches;

and across routes "the oldest Route based on creation timestamp", then "the Route appearing first in alphabetical order
by {namespace}/{name}"; within one route "the FIRST matching rule (in list order)". The first two are the order in which
:class:`~routes.table.paths.PathMap` looks; the rest is the order of each of its lists, made here.
"""

from datetime import datetime

from routes.graph.seniority import seniority
from routes.resources.http import HTTPRoute
from routes.table.matches import Entry, H

#: (no method, fewer headers, fewer parameters, younger, namespace/name, rule, match): the smallest wins.
Precedence = tuple[bool, int, int, datetime, str, int, int]


def precedence(entry: Entry[H], route: HTTPRoute, rule: int, match: int) -> Precedence:
    """The place of match number ``match`` of rule number ``rule`` among those of the same path."""
    return (
        entry.method is None,
        -len(entry.headers),
        -len(entry.query),
        *seniority(route),
        rule,
        match,
    )
