"""What keeps an open page up to date: server-sent events, once a second, with the few numbers that it shows.

A page says what it shows (``overview``, ``events``, ``state`` or ``route:namespace/name``). Each message is an object:
``version`` is another one when the page itself should be read anew, ``texts`` are for the elements of these names, and
``states`` for those whose looks say how something does.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from app.admin.dashboard.words import duration, percent, rate
from app.admin.source import Source
from app.observability.numbers import Numbers, Totals
from app.view.model import RouteView
from app.view.routes import route

#: Pages that are kept up to date at a time.
MOST: Final = 50
#: Seconds between messages.
PERIOD: Final = 1.0
#: Seconds over which a split is measured.
WINDOW: Final = 60


class Live:
    """The events of one run."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._followers = 0
        # What all requests came to, and when that was summed: all first pages show the same.
        self._total = Totals()
        self._summed = -PERIOD

    async def answer(self, request: Request) -> Response:
        """Follow what ``page`` shows, until the client leaves."""
        if self._followers >= MOST:
            return PlainTextResponse(f"{MOST} pages are open already", 503, {"retry-after": "10"})
        page = request.query_params.get("page", "state")[:600]
        return StreamingResponse(self._messages(page), media_type="text/event-stream")

    async def _messages(self, page: str) -> AsyncIterator[str]:
        self._followers += 1
        news = asyncio.Event()
        self._source.journal.heard.add(news.set)
        sampler = Sampler(self._source, page, self._all)
        try:
            while self._source.serving():
                yield f"data: {json.dumps(sampler.message(), separators=(',', ':'))}\n\n"
                news.clear()
                try:
                    # News is shown at once, but a burst of it not more than ten times a second.
                    await asyncio.wait_for(news.wait(), PERIOD)
                    await asyncio.sleep(PERIOD / 10)
                except TimeoutError:
                    pass
        finally:
            self._source.journal.heard.discard(news.set)
            self._followers -= 1

    def _all(self, numbers: Numbers) -> Totals:
        """The sum of all that has been counted, no older than half a period: it takes milliseconds with many routes."""
        now = asyncio.get_running_loop().time()
        if now - self._summed >= PERIOD / 2:
            self._total, self._summed = numbers.total(), now
        return self._total


class Sampler:
    """Makes the messages of one page: rates are what has come since the message before. ``total`` sums all requests."""

    def __init__(self, source: Source, page: str, total: Callable[[Numbers], Totals]) -> None:
        self._source = source
        self._page = page
        self._total = total
        self._clock = asyncio.get_running_loop().time
        # Counts of the messages before, each with its time; the first is a window ago.
        self._before: deque[tuple[float, Mapping[str, Totals]]] = deque()

    def message(self) -> dict[str, Any]:
        """What the page shows now."""
        journal = self._source.journal
        found: dict[str, Any] = {"version": f"{journal.builds}.{journal.count}"}
        numbers = self._source.numbers
        if self._page == "overview" and numbers is not None:
            found["texts"] = overview_values(numbers, *self._since({"": self._total(numbers)}))
            found["spark"] = self._rate_of("")
        elif self._page.startswith("route:"):
            view = route(self._source, self._page.removeprefix("route:"))
            if view is not None:
                found["texts"], found["states"] = self._of_route(view)
        return found

    def _since(self, now: Mapping[str, Totals]) -> tuple[Mapping[str, Totals], float]:
        """Note ``now``; the counts of the message before, and the seconds since then."""
        at = self._clock()
        last = self._before[-1] if self._before else (at, now)
        self._before.append((at, now))
        while len(self._before) > 2 and self._before[1][0] < at - WINDOW:
            self._before.popleft()
        return last[1], at - last[0]

    def _rate_of(self, name: str) -> float:
        if len(self._before) < 2:
            return 0.0
        (then, old), (at, new) = self._before[-2], self._before[-1]
        return (new[name].requests - old[name].requests) / max(at - then, 0.001)

    def _of_route(self, view: RouteView) -> tuple[dict[str, str], dict[str, str]]:
        texts: dict[str, str] = {}
        states: dict[str, str] = {}
        now: dict[str, Totals] = {}
        for rule in view.rules:
            now[rule.name] = rule.totals
            for backend in rule.backends:
                now[f"{rule.name} {backend.name}"] = backend.totals
                for each in backend.endpoints:
                    now[f"{rule.name} {backend.name} {each.address}"] = Totals(
                        each.requests, duration_ns=each.duration_ns
                    )
        before, seconds = self._since(now)
        first = self._before[0][1]
        for rule in view.rules:
            recent = sum(_more(now, first, f"{rule.name} {each.name}") for each in rule.backends)
            ever = sum(each.totals.requests for each in rule.backends)
            texts |= _rates(rule.name, now, before, seconds)
            for backend in rule.backends:
                name = f"{rule.name} {backend.name}"
                texts |= _rates(name, now, before, seconds)
                texts[f"{name}#recent"] = percent(_more(now, first, name) / recent) if recent else "–"
                texts[f"{name}#ever"] = percent(backend.totals.requests / ever) if ever else "–"
                texts[f"{name}#count"] = f"{backend.totals.requests:,}"
                for each in backend.endpoints:
                    texts |= _rates(f"{name} {each.address}", now, before, seconds)
                    texts[f"{name} {each.address}#state"] = each.state
                    states[f"{name} {each.address}"] = each.state.replace(" ", "-")
        return texts, states


def overview_values(
    numbers: Numbers, before: Mapping[str, Totals] | None = None, seconds: float = 0.0
) -> dict[str, str]:
    """The numbers of the first page."""
    now = numbers.total()
    old = before[""] if before is not None else now
    errors = now.by_class.get(5, 0) - old.by_class.get(5, 0)
    return {
        "requests": f"{now.requests:,}",
        "rate": rate((now.requests - old.requests) / seconds) if seconds else "0",
        "errors": rate(errors / seconds) if seconds else "0",
        "in-flight": f"{now.in_flight:,}",
        "connections": f"{sum(numbers.connections().values()):,}",
        "latency": _mean(now, old),
    }


def _rates(name: str, now: Mapping[str, Totals], before: Mapping[str, Totals], seconds: float) -> dict[str, str]:
    more = _more(now, before, name)
    return {
        f"{name}#rate": rate(more / seconds) if seconds else "0",
        f"{name}#latency": _mean(now[name], before.get(name, now[name])),
    }


def _more(now: Mapping[str, Totals], before: Mapping[str, Totals], name: str) -> int:
    return now[name].requests - (before[name].requests if name in before else 0)


def _mean(now: Totals, old: Totals) -> str:
    """How long a request took of late; where there was none, of all that there were."""
    requests, spent = now.requests - old.requests, now.duration_ns - old.duration_ns
    if requests <= 0:
        requests, spent = now.requests, now.duration_ns
    return duration(spent / requests) if requests else "–"
