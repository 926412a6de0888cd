"""``/api/explain`` and ``/api/events``: what would become of a request, and what has become of the objects."""

import asyncio
from operator import attrgetter
from typing import Any, Final

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.admin.api.answers import listed, whole
from app.admin.api.listing import ParameterError, count
from app.admin.api.shapes import moment
from app.admin.api.traefik import checked
from app.admin.source import Source
from app.inspect.explain import UsageError, as_data, outcomes, ports_for, read_request
from app.journal import CAPACITY, Event
from app.listeners.places import as_set
from routes.table.explain import Explanation
from routes.table.types import PortKey

#: Header fields of a request to explain.
MOST_HEADERS: Final = 64
_EXPLAINED: Final = frozenset({"method", "url", "header"})


def explained(source: Source, method: str, url: str, headers: list[str]) -> dict[PortKey, Explanation]:
    """What becomes of a request by the table that is served now: ``moongate explain`` of what runs.

    May take milliseconds where hosts have thousands of paths; it only reads what never changes, in any thread. Raises
    UsageError.
    """
    request, protocol, number, host = read_request(method, url, headers)
    state = source.state()
    if state is None:
        return {}
    bound, asked = source.bound(), as_set(source.settings.ports)
    ports = ports_for(state.table, protocol, number, host, lambda key: bound.get(key) or asked(key))
    return outcomes(request, ports, attrgetter("rule"))


def routes(source: Source) -> list[BaseRoute]:
    """Both endpoints."""

    async def explain(request: HTTPRequest) -> Response:
        query = request.query_params
        for name in query.keys() - _EXPLAINED:
            raise ParameterError(f"invalid request: {name[:100]}: no such parameter: there are method, url, header")
        for name in ("method", "url"):
            if len(query.getlist(name)) > 1:
                raise ParameterError(f"invalid request: {name}: must be given once")
        method, url, headers = query.get("method", "GET"), query.get("url", ""), query.getlist("header")
        if not url:
            raise ParameterError("invalid request: url: required, such as http://example.com/path")
        if not (method.isascii() and method.isalpha()):
            raise ParameterError("invalid request: method: must be a word such as GET")
        if len(headers) > MOST_HEADERS:
            raise ParameterError(f"invalid request: header: at most {MOST_HEADERS} of them")
        try:
            found = await asyncio.to_thread(explained, source, method, url, headers)
        except UsageError as error:
            raise ParameterError(f"invalid request: {error.parameter}: {error}") from None
        return whole(as_data(found))

    async def events(request: HTTPRequest) -> Response:
        after = count(request.query_params, "after", 0)
        journal = source.journal
        # From the oldest on: who asks again, with the last one's number, gets what came meanwhile.
        found = [event for event in journal.latest(CAPACITY) if event.number > after]
        return listed(found[::-1], _event, {"X-Last-Event": str(journal.count)})

    return [Route("/api/explain", checked(explain)), Route("/api/events", checked(events))]


def _event(event: Event) -> dict[str, Any]:
    return {
        "number": event.number,
        "at": moment(event.at),
        "kind": event.kind,
        "subject": event.subject,
        "text": event.text,
    }
