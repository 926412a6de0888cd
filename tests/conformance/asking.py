"""Sends a case's requests and holds the answers against what is right."""

import json
import re
from dataclasses import dataclass
from functools import cache
from math import comb
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from tests.conformance.case import Location, Row
from tests.conformance.echo import Echoes
from tests.conformance.situation import Place
from tests.helpers.client import Connection, insecure
from tests.helpers.http2 import Http2Client
from tests.helpers.processes import is_listening
from tests.helpers.waiting import wait_until
from tests.helpers.websocket import dialled

#: How likely a right gateway may fail a test that counts what is left to chance.
CHANCE = 1e-9

WELL_KNOWN = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Answer:
    """An answer, with repeated fields joined and no space after the commas of any."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def report(self) -> dict[str, Any]:
        """What the backend had to say; empty where the answer is the gateway's own."""
        if self.fields.get("content-type") != "application/json":
            return {}
        told: dict[str, Any] = json.loads(self.body)
        return told


def joined(fields: list[tuple[str, str]]) -> dict[str, str]:
    """Fields by lower-case name, repeated ones joined as RFC 9110 §5.3 has it, without space after commas."""
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault(name.lower(), []).append(value)
    return {name: squeezed(",".join(values)) for name, values in found.items()}


def squeezed(value: str) -> str:
    return re.sub(r",\s+", ",", value)


class Client:
    """A connection on which a row is asked as often as it says."""

    def __init__(self, row: Row, place: Place) -> None:
        self._row = row
        tls = insecure() if row.server_name else None
        name = row.server_name
        self._one = self._two = None
        if row.http == "1.1":
            self._one = Connection(place.port, tls=tls, server_name=name or None, address=place.address)
        else:
            self._two = Http2Client(place.port, tls=tls, host=row.host, server_name=name, address=place.address)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        if self._one is not None:
            self._one.close()
        if self._two is not None:
            self._two.__exit__()

    def ask(self, path: str) -> Answer:
        """The answer for the row's request, to ``path``."""
        fields = dict(self._row.headers)
        if self._row.answers:
            fields["Echo-Answer"] = ",".join(f"{name}:{value}" for name, value in self._row.answers.items())
        if self._one is not None:
            got = self._one.ask(path, self._row.host, method=self._row.method, fields=tuple(fields.items()))
            return Answer(got.status, joined(list(got.fields)), got.body)
        assert self._two is not None
        pairs = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
        _, stream = self._two.open(path, *pairs, method=self._row.method)
        self._two.finish(stream)
        texts = [(name.decode(), value.decode()) for name, value in stream.head]
        return Answer(stream.status, joined(texts), bytes(stream.body))


def check(row: Row, place: Place, echoes: Echoes) -> None:
    """Ask as often as ``row`` says. Raises AssertionError for the first answer that is not right."""
    if row.refused:
        assert not is_listening(place.port, place.address)
        return
    if row.message:
        check_websocket(row, place)
        return
    marked = bool(row.mirrored or "fail=" in row.path)
    mark = ("&" if "?" in row.path else "?") + f"id={uuid4()}" if marked else ""
    served: list[str] = []
    with Client(row, place) as client:
        for _ in range(row.times):
            answer = client.ask(row.path + mark)
            check_answer(row, answer, mark)
            served.append(answer.report.get("backend", ""))
    if row.shares:
        assert {name: served.count(name) for name in row.shares} == row.shares
    if row.tries:
        assert echoes.by_name[row.backend].tries[mark.partition("=")[2]] == row.tries
    for name, percent in row.mirrored.items():
        check_copies(echoes, name, (row.seen.path or row.path) + mark, row.times, percent)


def check_websocket(row: Row, place: Place) -> None:
    """What is sent over a WebSocket comes back, as text or as bytes."""
    message = row.message if isinstance(row.message, str) else bytes(row.message)
    with dialled("ws", place.port, row.path, row.host, address=place.address) as socket:
        socket.send(message)
        assert socket.recv() == message


def check_answer(row: Row, answer: Answer, mark: str = "") -> None:
    """One answer, and the request that the backend says it got."""
    assert answer.status in row.statuses, f"{answer.status} instead of {row.status}: {answer.fields} {answer.body!r}"
    for name, right in row.fields.items():
        values = (right,) if isinstance(right, str) else right
        assert answer.fields.get(name.lower()) in {squeezed(value) for value in values}, (name, answer.fields)
    for name in row.absent:
        assert name.lower() not in answer.fields, (name, answer.fields)
    if row.location is not None:
        check_location(row.location, answer.fields["location"])
    report = answer.report
    if row.backend or row.shares:
        assert report, answer
        assert report["backend"] in (row.shares or {row.backend}), report
        check_seen(row, report, mark)
    else:
        # Nothing that a backend sent, and nothing that could be taken for it.
        assert not report, report


def check_seen(row: Row, report: dict[str, Any], mark: str) -> None:
    """The request as the backend has it."""
    seen = row.seen
    assert report["method"] == row.method
    assert report["path"] == (seen.path or row.path) + mark
    assert report["host"] == (seen.host or row.host)
    fields = joined([(name, value) for name, value in report["fields"]])
    for name, value in seen.fields.items():
        assert fields.get(name.lower()) == squeezed(value), (name, fields)
    if row.marked:
        assert fields.get(row.marked.lower()) == report["backend"]
    for name in seen.absent:
        assert name.lower() not in fields, (name, fields)
    if seen.server_name:
        assert report["serverName"] == seen.server_name


def check_location(right: Location, text: str) -> None:
    """Where a redirect leads; the scheme's own port may be named or not."""
    found = urlsplit(text)
    assert (found.scheme, found.hostname, found.path) == (right.scheme, right.host, right.path), text
    own = WELL_KNOWN[right.scheme]
    assert (found.port or own) == (right.port or own), text


@cache
def bounds(times: int, percent: int) -> tuple[int, int]:
    """The least and the greatest count of something that happens in ``percent`` of ``times`` cases by chance, but for
    CHANCE."""
    if percent == 100:
        return times, times
    share = percent / 100
    odds = [comb(times, count) * share**count * (1 - share) ** (times - count) for count in range(times + 1)]
    low = next(count for count in range(times) if sum(odds[: count + 1]) > CHANCE / 2)
    high = next(count for count in range(times, 0, -1) if sum(odds[count:]) > CHANCE / 2)
    return low, high


def check_copies(echoes: Echoes, name: str, target: str, times: int, percent: int) -> None:
    """The copies that the mirror ``name`` has got of ``target``, which may come after the answers."""
    low, high = bounds(times, percent)

    def copies() -> int:
        return echoes.by_name[name].targets.count(target)

    wait_until(lambda: copies() >= low, what=f"at least {low} copies of {target} at {name}")
    assert copies() <= high
