"""``/api/gateways`` and ``/api/routes``: the objects of the Gateway API, with every condition, for which Traefik has no
words."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.admin.api.answers import failed, listed, whole
from app.admin.api.listing import Criterion, in_order, page
from app.admin.api.shapes import moment
from app.admin.api.traefik import checked
from app.admin.source import Source
from app.view.gateways import gateway, gateways
from app.view.model import GatewayView, RouteSummary
from app.view.routes import route, summaries

_ROUTES: Final[Mapping[str, Callable[[RouteSummary], Any]]] = {
    "namespace": attrgetter("namespace"),
    "status": attrgetter("health"),
    "rules": attrgetter("rules"),
}
#: The attributes of each class of views, and what they are called here.
_FIELDS: Final[dict[Any, tuple[tuple[str, str], ...]]] = {}


def routes(source: Source) -> list[BaseRoute]:
    """The endpoints of one run."""

    async def all_gateways(request: Request) -> Response:
        query = request.query_params
        wanted = Criterion.of(query)
        kept = (each for each in gateways(source) if wanted.finds(each.health, each.id, each.class_name))
        found, headers = page(in_order(kept, query, {"status": attrgetter("health")}), query)
        return listed(found, _without_routes, headers)

    async def one_gateway(request: Request) -> Response:
        return await _one(gateway(source, request.path_params["id"]), request, "gateway")

    async def all_routes(request: Request) -> Response:
        query = request.query_params
        wanted = Criterion.of(query)
        gateway_id = query.get("gateway", "")
        kept = (
            each
            for each in summaries(source)
            if (not gateway_id or gateway_id in each.gateways)
            and wanted.finds(each.health, each.id, each.problem, *each.hostnames)
        )
        found, headers = page(in_order(kept, query, _ROUTES), query)
        return listed(found, plain, headers)

    async def one_route(request: Request) -> Response:
        return await _one(route(source, request.path_params["id"]), request, "route")

    return [
        Route("/api/gateways", checked(all_gateways)),
        Route("/api/gateways/{id:path}", one_gateway),
        Route("/api/routes", checked(all_routes)),
        Route("/api/routes/{id:path}", one_route),
    ]


def plain(value: Any) -> Any:
    """A view as plain data, its fields in camelCase like those of Traefik and Kubernetes."""
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    return {name: plain(getattr(value, attribute)) for attribute, name in _fields(type(value))}


async def _one(found: Any, request: Request, kind: str) -> Response:
    if found is None:
        return failed(f"{kind} not found: {request.path_params['id']}", 404)
    # A Gateway may have thousands of routes.
    return whole(await asyncio.to_thread(plain, found))


def _without_routes(found: GatewayView) -> Any:
    """In the list of all, listeners tell how many routes they have; which these are is told of one Gateway."""
    listeners = tuple(replace(listener, routes=()) for listener in found.listeners)
    shape = plain(replace(found, listeners=listeners))
    for listener in shape["listeners"]:
        del listener["routes"]
    return shape


def _fields(type_: Any) -> tuple[tuple[str, str], ...]:
    if type_ not in _FIELDS:
        assert is_dataclass(type_), f"{type_} is no view"
        _FIELDS[type_] = tuple((each.name, to_camel(each.name)) for each in fields(type_))
    return _FIELDS[type_]
