"""Matches that say the same as one that wins over them on the same listener, and so are never reached."""

from collections.abc import Collection, Hashable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from routes.graph.nodes import RouteNode
from routes.graph.seniority import seniority
from routes.problems import Problem, Severity
from routes.resources.http import HTTPRouteMatch
from routes.resources.meta import Key


class _Place(NamedTuple):
    """What only one match can have: the object in which a listener stands, its name, a hostname and a match."""

    owner: Key
    listener: str
    hostname: str
    match: Hashable


class _Winner(NamedTuple):
    """Who has a place: the oldest route, then the first in alphabetical order, and its first rule."""

    age: tuple[datetime, str]
    key: Key
    rule: int


class Shadows:
    """Follows routes as they change, and tells of each match that is never reached."""

    def __init__(self) -> None:
        # The mutable state, changed by follow alone. Routes by the hash of their places, of which most have one:
        # the places themselves would be as large as the routes.
        self._routes: Mapping[Key, RouteNode] = {}
        self._claims: dict[int, Key | dict[Key, None]] = {}
        self._problems: dict[Key, tuple[Problem, ...]] = {}

    def follow(self, routes: Mapping[Key, RouteNode], changed: Collection[Key]) -> Mapping[Key, tuple[Problem, ...]]:
        """The problems of those routes that have some. Of all ``routes`` only ``changed`` differ from the last ones."""
        before, self._routes = self._routes, routes
        touched: dict[_Place, None] = {}
        affected = dict.fromkeys(changed)
        rivals: dict[_Place, tuple[Key, ...]] = {}
        for key in changed:
            for place, _, _ in _claims_of(before.get(key)):
                if place not in rivals and len(found := self._at(place)) > 1:
                    rivals[place] = found
        for key in changed:
            for place, _, _ in _claims_of(before.get(key)):
                self._leave(hash(place), key)
        for key in changed:
            for place, _, _ in _claims_of(routes.get(key)):
                touched[place] = None
                self._take(hash(place), key)
        winners: dict[_Place, _Winner | None] = {}
        for place in touched.keys() | rivals.keys():
            now = self._at(place)
            if len(now) < 2 and place not in rivals:
                continue
            winners[place] = winner = _winner(place, now, routes)
            # Whoever had it before is told of by no one, and whoever has it now tells of all others.
            if winner != _winner(place, rivals.get(place, ()), before):
                affected.update(dict.fromkeys((*now, *rivals.get(place, ()))))
        for key in affected:
            problems = tuple(self._shadowed(routes.get(key), winners))
            if problems:
                self._problems[key] = problems
            else:
                self._problems.pop(key, None)
        return self._problems

    def _at(self, place: _Place) -> tuple[Key, ...]:
        found = self._claims.get(hash(place), ())
        return (found,) if isinstance(found, Key) else tuple(found)

    def _take(self, place: int, key: Key) -> None:
        there = self._claims.setdefault(place, key)
        if isinstance(there, dict):
            there[key] = None
        elif there != key:
            self._claims[place] = {there: None, key: None}

    def _leave(self, place: int, key: Key) -> None:
        there = self._claims.get(place)
        if isinstance(there, dict):
            there.pop(key, None)
        if not isinstance(there, dict) or not there:
            self._claims.pop(place, None)

    def _shadowed(self, route: RouteNode | None, winners: dict[_Place, _Winner | None]) -> Iterator[Problem]:
        told: set[tuple[int, int]] = set()
        for place, rule, index in _claims_of(route):
            assert route is not None
            if place not in winners:
                winners[place] = _winner(place, self._at(place), self._routes)
            winner = winners[place]
            if winner is None or (winner.key, winner.rule) == (route.source.key, rule) or (rule, index) in told:
                continue
            told.add((rule, index))
            message = f"never reached: rule {winner.rule} of {winner.key} has the same match and wins"
            yield Problem(message, Severity.WARNING, route.source.key, f"spec.rules[{rule}].matches[{index}]")


def _claims_of(route: RouteNode | None) -> Iterator[tuple[_Place, int, int]]:
    """The places that a route wants, each with the number of rule and match."""
    if route is None:
        return
    for parent in route.parents:
        for attachment in parent.attachments:
            for hostname in route.source.spec.hostnames or ("",):
                for rule in route.rules:
                    for index, match in enumerate(rule.source.matches):
                        place = _Place(parent.owner, attachment.listener, hostname, _meaning(match))
                        yield place, rule.index, index


def _meaning(match: HTTPRouteMatch) -> Hashable:
    """Equal for matches that take the same requests: headers and parameters in any order, of a name only the first."""
    path = match.path.value.rstrip("/") if match.path.type == "PathPrefix" else match.path.value
    if not match.headers and not match.query_params:
        return match.path.type, path, match.method
    headers: dict[str, tuple[str, str]] = {}
    for header in match.headers:
        headers.setdefault(header.name.lower(), (header.type, header.value))
    parameters = frozenset((each.name, each.type, each.value) for each in match.query_params)
    return match.path.type, path, match.method, frozenset(headers.items()), parameters


def _winner(place: _Place, claimants: tuple[Key, ...], routes: Mapping[Key, RouteNode]) -> _Winner | None:
    candidates = (
        _Winner(seniority(routes[key].source), key, rule)
        for key in claimants
        for claimed, rule, _ in _claims_of(routes[key])
        if claimed == place
    )
    return min(candidates, default=None)
