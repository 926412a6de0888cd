"""The pages of ``/dashboard/``: each is the present state, read when it is asked for."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.templating import Jinja2Templates

from app.admin.api.explaining import MOST_HEADERS, explained
from app.admin.dashboard import live
from app.admin.dashboard.drawing import Curve, arcs, curves
from app.admin.dashboard.words import age, bars, duration, percent, soon
from app.admin.source import Source
from app.inspect.explain import UsageError, as_data
from app.inspect.printing import flat
from app.view.certificates import certificates
from app.view.gateways import gateway, gateways
from app.view.model import Health, RouteSummary, RuleView
from app.view.overview import overview
from app.view.routes import route, summaries

#: Lines on a page of a list.
PER_PAGE: Final = 50
#: Attached routes that a Gateway's page names; the list of routes has all.
NAMED: Final = 50
#: Characters of a search or a field of a form.
MAX_TEXT: Final = 2000

_HERE: Final = Path(__file__).parent
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_STATIC: Final = {path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in sorted((_HERE / "static").iterdir())}
_HASHES: Final = {name: hashlib.sha256(content).hexdigest()[:12] for name, (content, _) in _STATIC.items()}


def asset(name: str) -> str:
    """The URL of a static file, which is another one when its content is: so it may be kept for good."""
    return f"/dashboard/static/{_HASHES[name]}/{name}"


def _templates() -> Jinja2Templates:
    environment = Environment(
        loader=PackageLoader("app.admin.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(asset=asset, arcs=arcs, curves=curves, NAMED=NAMED)
    environment.filters.update(flat=flat, age=age, percent=percent, duration=duration, soon=soon, bars=bars)
    return Jinja2Templates(env=environment)


def routes(source: Source) -> list[BaseRoute]:
    """All pages, their static files, and the events that keep them up to date."""
    pages = Pages(source)
    return [
        Route("/dashboard/", pages.overview),
        Route("/dashboard/gateways", pages.gateways),
        Route("/dashboard/gateways/{namespace}/{name}", pages.gateway),
        Route("/dashboard/routes", pages.routes),
        Route("/dashboard/routes/{namespace}/{name}", pages.route),
        Route("/dashboard/certificates", pages.certificates),
        Route("/dashboard/events-log", pages.events),
        Route("/dashboard/explain", pages.explain),
        Route("/dashboard/static/{hash}/{name}", _static),
        Route("/dashboard/live/events", live.Live(source).answer),
    ]


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if _HASHES.get(name) != request.path_params["hash"]:
        return PlainTextResponse("Not Found", 404)
    content, type_ = _STATIC[name]
    return Response(content, media_type=type_, headers={"cache-control": "public, max-age=31536000, immutable"})


class Pages:
    """The pages of one run."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._templates = _templates()

    def _page(self, request: Request, name: str, status: int = 200, **values: Any) -> Response:
        source = self._source
        context = {"counting": source.numbers is not None, "serving": source.serving(), "live": "", **values}
        return self._templates.TemplateResponse(request, f"{name}.html", context, status_code=status)

    def _lost(self, request: Request, what: str) -> Response:
        return self._page(request, "lost", 404, what=what, at="")

    async def overview(self, request: Request) -> Response:
        """How everything does."""
        source = self._source
        found = overview(source)
        return self._page(
            request,
            "overview",
            at="overview",
            live="overview",
            view=found,
            gateways=gateways_in_short(source),
            events=list(source.journal.latest(8)),
            now=datetime.now(UTC),
            numbers=live.overview_values(source.numbers) if source.numbers is not None else {},
        )

    async def gateways(self, request: Request) -> Response:
        """All Gateways with their listeners."""
        return self._page(request, "gateways", at="gateways", live="state", gateways=gateways(self._source, 0))

    async def gateway(self, request: Request) -> Response:
        """One of them with everything that is on it, or is not."""
        id = _id(request)
        found = gateway(self._source, id, NAMED)
        if found is None:
            return self._lost(request, f"There is no Gateway {id}")
        return self._page(request, "gateway", at="gateways", live="state", gateway=found)

    async def routes(self, request: Request) -> Response:
        """The routes that a search finds, a page of them."""
        query = request.query_params
        words = query.get("search", "")[:MAX_TEXT]
        state = query.get("state", "")
        every = summaries(self._source)
        found = search(every, words, state)
        pages = max(1, -(-len(found) // PER_PAGE))
        number = min(max(_number(query.get("page", "1")), 1), pages)
        return self._page(
            request,
            "routes",
            at="routes",
            live="state",
            words=words,
            state=state,
            states=[each.value for each in Health],
            every=len(every),
            found=len(found),
            shown=found[(number - 1) * PER_PAGE : number * PER_PAGE],
            number=number,
            pages=pages,
        )

    async def route(self, request: Request) -> Response:
        """One of them, drawn."""
        id = _id(request)
        found = route(self._source, id)
        if found is None:
            return self._lost(request, f"There is no HTTPRoute {id}")
        drawn = [(rule, curves_of(rule)) for rule in found.rules]
        return self._page(request, "route", at="routes", live=f"route:{id}", route=found, rules=drawn)

    async def certificates(self, request: Request) -> Response:
        """What is served with TLS, and how long."""
        found = certificates(self._source)
        return self._page(
            request, "certificates", at="certificates", live="state", certificates=found, now=datetime.now(UTC)
        )

    async def events(self, request: Request) -> Response:
        """What has changed."""
        query = request.query_params
        words, kind = query.get("search", "")[:MAX_TEXT].lower(), query.get("kind", "")
        found = [
            event
            for event in self._source.journal.latest()
            if (not kind or event.kind == kind) and words in f"{event.subject} {event.text}".lower()
        ]
        kinds = ["added", "changed", "removed", "problem", "mended", "gateway"]
        return self._page(
            request,
            "events",
            at="events",
            live="events",
            events=found,
            kinds=kinds,
            kind=kind,
            words=query.get("search", "")[:MAX_TEXT],
            journal=self._source.journal,
        )

    async def explain(self, request: Request) -> Response:
        """What would become of a request."""
        query = request.query_params
        method = query.get("method", "GET")[:20] or "GET"
        url = query.get("url", "")[:MAX_TEXT]
        text = query.get("headers", "")[: 8 * MAX_TEXT]
        headers = [line for line in text.splitlines() if line.strip()][:MOST_HEADERS]
        found: Sequence[Mapping[str, Any]] = ()
        error = ""
        if url:
            try:
                found = as_data(await asyncio.to_thread(explained, self._source, method.upper(), url, headers))
            except UsageError as fault:
                error = str(fault)
            else:
                error = "" if found else "No listener is for this port and protocol."
        return self._page(
            request, "explain", at="explain", method=method, url=url, headers=text, found=found, error=error
        )


def gateways_in_short(source: Source) -> list[dict[str, Any]]:
    """The listeners as entry points, for the first page."""
    return [
        {
            "id": each.id,
            "name": each.name,
            "health": each.health,
            "listeners": each.listeners[:8],
            "more": max(0, len(each.listeners) - 8),
        }
        for each in gateways(source, 0)[:12]
    ]


def search(every: Sequence[RouteSummary], words: str, state: str) -> Sequence[RouteSummary]:
    """Those that have all of ``words`` in their text, and do as ``state`` says."""
    wanted = words.lower().split()
    if not wanted and not state:
        return every
    return [each for each in every if state in ("", each.health) and all(word in each.text for word in wanted)]


def curves_of(rule: RuleView) -> list[Curve]:
    """The lines from a rule to its backends."""
    return curves([backend.share for backend in rule.backends])


def _id(request: Request) -> str:
    return f"{request.path_params['namespace']}/{request.path_params['name']}"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1
