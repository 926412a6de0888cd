"""Why a request goes where it goes: the same look-up as :meth:`~routes.table.types.Port.find`, told step by step."""

import heapq
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar
from urllib.parse import unquote_plus

from routes.table.hostnames import HostMap
from routes.table.matches import Entry, Headers, field_value, first_values
from routes.table.paths import matched_path
from routes.table.precedence import precedence
from routes.table.types import ListenerTable, Port, Rule, VirtualHost

#: The API's words, HTTPRouteSpec.hostnames and HTTPRouteRule.matches, for each step of precedence.
HOSTNAME: Final = (
    "HTTPRouteSpec.hostnames: precedence is given to the route with the largest number of characters in a matching "
    "non-wildcard hostname, then of characters in a matching hostname"
)
_MATCHES: Final = "HTTPRouteRule.matches: precedence is given to the match having "
EXACT: Final = f'{_MATCHES}"Exact" path match'
REGEX: Final = (
    "HTTPRouteRule.matches: the precedence of RegularExpression path matches is implementation-specific; "
    "here they stand behind Exact and before PathPrefix, the longest pattern first"
)
PREFIX: Final = f'{_MATCHES}"Prefix" path match with largest number of characters'
_TIES: Final = "HTTPRouteRule.matches: if ties still exist, precedence is given to "
#: For each part of :data:`~routes.table.precedence.Precedence` the sentence that it stands for.
RANKS: Final = (
    f"{_MATCHES}method match",
    f"{_MATCHES}largest number of header matches",
    f"{_MATCHES}largest number of query param matches",
    f"{_TIES}the oldest Route based on creation timestamp",
    f'{_TIES}the Route appearing first in alphabetical order by "{{namespace}}/{{name}}"',
    "of two routes of one name, the one of the API group that comes first in alphabetical order has precedence",
    "HTTPRouteRule.matches: within an HTTPRoute, precedence is given to the FIRST matching rule (in list order)",
    "HTTPRouteRule.matches: of several matches of one rule any may be taken; both lead to the same rule",
)
ALONE: Final = "no other rule fits"
ISOLATION: Final = (
    "Listener.hostname: a request is for the most specific listener that its host fits, and for no other "
    "(GatewayHTTPListenerIsolation)"
)
MISDIRECTED: Final = (
    "Listener.tls: where the Host belongs to another listener than the TLS server name does, 421 is the answer "
    "(GatewayHTTPSListenerDetectMisdirectedRequests)"
)
#: How many that came close are told.
MOST: Final = 10

#: Names of fields and parameters whose values let somebody in: what a match asks of them is not repeated.
_SECRET: Final = re.compile(
    r"auth|cookie|token|secret|passw|passphrase|session|signature|credential|apikey|(?<![a-z])key(?![a-z])",
    re.IGNORECASE,
)

H = TypeVar("H")


def _itself(rule: Any) -> Any:
    return rule


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it reaches a port. ``host`` is in lower case and without port, as is the TLS ``server_name``, which
    is None in clear; names of ``headers`` are in lower case; ``target`` is the path as it is sent."""

    method: str
    host: str
    target: str
    query: str = ""
    headers: Headers = ()
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A match of a rule, and why it is not taken: ``failed`` is the predicate that does not fit, "" where all do."""

    hostname: str
    path: str
    rule: str
    predicates: tuple[str, ...]
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What comes of a request on one port.

    ``status`` 0 is the rule's to answer; else it is the gateway's own answer, and ``reason`` says why. ``decided`` is
    the sentence of the API by which ``taken`` was found. ``also`` fit as well and have lost; ``close`` do not fit.
    """

    status: int
    reason: str
    listener: str = ""
    taken: Candidate | None = None
    decided: str = ""
    also: tuple[Candidate, ...] = ()
    close: tuple[Candidate, ...] = ()
    rule: Rule | None = None


def explain(port: Port[H], request: Request, rule_of: Callable[[H], Rule] = _itself) -> Explanation:
    """Find the rule that takes ``request`` on ``port``, and all that could have been thought to.

    ``rule_of`` gives the rule that a handler serves; by default handlers are the rules.
    """
    listener = port.listeners.best(request.host)
    if request.server_name is not None:
        shaken = port.listeners.best(request.server_name)
        if shaken is None:
            return Explanation(0, f"the TLS handshake fails: no listener is for {request.server_name}")
        if listener is not None and listener is not shaken:
            reason = f"{request.host} belongs to listener {listener.name}, the connection to listener {shaken.name}"
            return Explanation(421, reason, shaken.name, decided=MISDIRECTED)
    if listener is None:
        known = ", ".join(f"{each.name} ({name})" for name, each in port.listeners.items())
        return Explanation(404, f"no listener is for the host {request.host or '(none)'}; there is {known}")
    path = matched_path(request.target.encode("latin-1", "replace"))
    if path is None:
        reason = "the path has dot segments, %00 or an encoded slash in a parameter: backends read it in several ways"
        return Explanation(400, reason, listener.name)
    fitting, close = _sorted_out(listener, request, path, rule_of)
    if not fitting:
        return Explanation(
            404, _nothing(listener, request), listener.name, decided=ISOLATION, close=tuple(close[:MOST])
        )
    if port.in_doubt(request.host, path):
        reason = "a backend may read the path as one that other rules claim, by slashes, parameters or escapes"
        return Explanation(400, reason, listener.name, close=tuple(close[:MOST]))
    first, *rest = fitting
    # Another match of the same rule has decided nothing, as long as another rule was in question.
    rivals = [each for each in rest if each.entry.handler is not first.entry.handler] or rest
    status, reason = outcome(first.rule)
    return Explanation(
        status,
        reason,
        listener.name,
        first.candidate(request),
        _decision(first, rivals[0]) if rivals else ALONE,
        tuple(each.candidate(request) for each in rest[:MOST]),
        tuple(close[:MOST]),
        first.rule,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    hostname: str
    type: str
    value: str
    entry: Entry[Any]
    rule: Rule

    def candidate(self, request: Request, failed: str = "") -> Candidate:
        entry = self.entry
        return Candidate(
            self.hostname or "*",
            f"{self.type} {self.value}",
            self.rule.name,
            tuple(predicates(entry)),
            failed or _failure(entry, request),
        )


def _sorted_out(
    listener: ListenerTable[H], request: Request, path: str, rule_of: Callable[[H], Rule]
) -> tuple[list[_Found], list[Candidate]]:
    """What fits, the best first, and of what does not :data:`MOST`, the nearest first."""
    fitting: list[_Found] = []
    near: list[Candidate] = []
    elsewhere: list[tuple[str, str, str, Sequence[Entry[H]]]] = []
    hosts = {id(host): name for name, host in listener.hosts.items()}
    reached = listener.hosts.candidates(request.host)
    query = request.query.encode("latin-1", "replace")
    for host in reached:
        name = hosts[id(host)]
        lists = {id(entries): (type_, value) for type_, value, entries in host.items()}
        candidates = host.candidates(path)
        taken = {id(entries) for entries in candidates}
        for entries in candidates:
            for entry in entries:
                found = _Found(name, *lists[id(entries)], entry, rule_of(entry.handler))
                if entry.accepts(request.method, request.headers, query):
                    fitting.append(found)
                elif len(near) < MOST:
                    near.append(found.candidate(request))
        elsewhere += (
            (name, type_, value, entries) for type_, value, entries in host.items() if id(entries) not in taken
        )
    nearest = heapq.nsmallest(MOST, elsewhere, key=lambda each: -_common(each[2], path))
    others: Iterator[Candidate] = (
        _Found(name, type_, value, entry, rule_of(entry.handler)).candidate(
            request, f"path {path} does not fit {type_} {value}"
        )
        for name, type_, value, entries in nearest
        for entry in entries
    )
    if not (fitting or near or elsewhere):
        others = _other_hosts(listener.hosts, reached, request, rule_of)
    return fitting, near + list(islice(others, MOST - len(near)))


def _other_hosts(
    hosts: HostMap[VirtualHost[H]],
    reached: Sequence[VirtualHost[H]],
    request: Request,
    rule_of: Callable[[H], Rule],
) -> Iterator[Candidate]:
    for name, host in hosts.items():
        if all(host is not each for each in reached):
            for type_, value, entries in host.items():
                for entry in entries:
                    found = _Found(name, type_, value, entry, rule_of(entry.handler))
                    yield found.candidate(request, f"host {request.host} is not {name}")


def _common(one: str, other: str) -> int:
    """How many characters two paths begin with in common."""
    return next((index for index, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 10_000)


def _decision(first: _Found, second: _Found) -> str:
    """The sentence by which ``first`` comes before ``second``."""
    if first.hostname != second.hostname:
        return HOSTNAME
    if (first.type, first.value) != (second.type, second.value):
        return {"Exact": EXACT, "RegularExpression": REGEX, "PathPrefix": PREFIX}[first.type]
    ranks = zip(precedence(first.entry), precedence(second.entry), strict=True)
    return next((RANKS[index] for index, pair in enumerate(ranks) if pair[0] != pair[1]), RANKS[-1])


def outcome(rule: Rule) -> tuple[int, str]:
    """Status 0 where the rule has somebody to answer; else the gateway's answer and why."""
    broken = next((each for each in rule.filters if each.invalid), None)
    if rule.invalid:
        return 500, rule.invalid
    if broken is not None:
        return 500, f"{broken.type}: {broken.invalid}"
    if any(each.type == "RequestRedirect" for each in rule.filters):
        return 0, "answered with a redirect"
    if not rule.backends:
        if any(each.type == "ExtensionRef" for each in rule.filters):
            return 0, "left to the filter of an ExtensionRef; what it does not answer is 500, for want of backends"
        return 500, "the rule has no backends"
    served = [backend for backend in rule.backends if backend.weight]
    if not served:
        return 500, "all weights are 0"
    good = [backend for backend in served if not backend.invalid]
    if not good:
        return 500, "; ".join(dict.fromkeys(backend.invalid for backend in served))
    if not any(backend.addresses or backend.dns or backend.service for backend in good):
        return 503, "no backend has a ready endpoint"
    return 0, "forwarded"


def _nothing(listener: ListenerTable[Any], request: Request) -> str:
    if not listener.hosts.candidates(request.host):
        return f"no route of listener {listener.name} is for the host {request.host or '(none)'}"
    return f"no rule of listener {listener.name} fits the request"


def predicates(entry: Entry[Any]) -> Iterator[str]:
    """What ``entry`` asks for beside host and path, in words; of secret values only that there is one."""
    if entry.method is not None:
        yield f"method {entry.method}"
    for field, wanted in entry.headers:
        value = wanted.decode("latin-1") if isinstance(wanted, bytes) else f"~ {wanted.text}"
        yield f"header {field.decode()}: {shown(field.decode(), value)}"
    for name, pattern in entry.query:
        yield f"query {name}={shown(name, pattern if isinstance(pattern, str) else f'~ {pattern.text}')}"


def shown(name: str, value: str) -> str:
    """``value``, unless the field or parameter ``name`` is one whose values let somebody in."""
    return "(not shown)" if _SECRET.search(name) else value


def _failure(entry: Entry[Any], request: Request) -> str:
    """The first predicate that does not fit, in words; "" where all do. Values of the request are not repeated."""
    if entry.method is not None and entry.method != request.method:
        return f"method is {request.method}, not {entry.method}"
    for field, wanted in entry.headers:
        value = field_value(request.headers, field)
        if value is None:
            return f"there is no header {field.decode()}"
        if value != wanted and (isinstance(wanted, bytes) or not wanted.matches(value)):
            return f"header {field.decode()} has another value"
    parameters = first_values(request.query.encode("latin-1", "replace")) if entry.query else {}
    for name, pattern in entry.query:
        given = parameters.get(name)
        if given is None:
            return f"there is no query parameter {unquote_plus(name)}"
        if given != pattern and (isinstance(pattern, str) or not pattern.matches(given.encode())):
            return f"query parameter {name} has another value"
    return ""
