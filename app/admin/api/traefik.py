"""Traefik's own endpoints (v3.7): who has a tool for its API can use it here."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib.metadata import version
from operator import attrgetter
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.admin.api import shapes
from app.admin.api.answers import failed, listed, mapped, whole
from app.admin.api.certificates import Certificate, certificates
from app.admin.api.configuration import Configurations, Middleware, Router, Service
from app.admin.api.listing import Criterion, ParameterError, in_order, page
from app.admin.api.shapes import moment, section
from app.admin.source import Source
from app.view.model import Health

Answer = Callable[[Request], Awaitable[Response]]

_STATUS: Final = attrgetter("status")
#: What ``sortBy`` may be, beside ``name``. All have one provider.
_ROUTERS: Final[Mapping[str, Callable[[Router], Any]]] = {
    "priority": attrgetter("priority"),
    "status": _STATUS,
    "rule": attrgetter("rule"),
    "service": attrgetter("service"),
    "entryPoints": lambda router: 1,
}
_MIDDLEWARES: Final[Mapping[str, Callable[[Middleware], Any]]] = {"type": attrgetter("type"), "status": _STATUS}
_CERTIFICATES: Final[Mapping[str, Callable[[Certificate], Any]]] = {
    "status": _STATUS,
    "issuer": attrgetter("issuer"),
    "validUntil": attrgetter("not_after"),
    "name": attrgetter("common_name"),
    "cn": attrgetter("common_name"),
    "": attrgetter("common_name"),
}


def version_routes(source: Source) -> list[BaseRoute]:
    """``/version``, and the same where Traefik has it."""
    told = {"Version": version("moongate"), "Codename": "moongate", "startDate": moment(source.started)}

    async def answer(_: Request) -> Response:
        return whole(told)

    return [Route("/version", answer), Route("/api/version", answer)]


def routes(source: Source) -> list[BaseRoute]:
    """Everything that Traefik has under ``/api``. TCP and UDP are there, and empty."""
    traefik = _Traefik(source)
    return [
        *version_routes(source),
        Route("/api/overview", traefik.overview),
        Route("/api/rawdata", traefik.rawdata),
        *_list("/api/entrypoints", traefik.entry_points, traefik.entry_point),
        *_list("/api/http/routers", traefik.routers, traefik.router),
        *_list("/api/http/services", traefik.services, traefik.service),
        *_list("/api/http/middlewares", traefik.middlewares, traefik.middleware),
        *(
            route
            for protocol, kinds in {"tcp": ("router", "service", "middleware"), "udp": ("router", "service")}.items()
            for kind in kinds
            for route in _list(f"/api/{protocol}/{kind}s", _nothing, partial(_missing, kind))
        ),
        *_list("/api/certificates", traefik.certificates, traefik.certificate),
    ]


def checked(answer: Answer) -> Answer:
    """``answer``, with 400 for parameters that it cannot read."""

    async def tried(request: Request) -> Response:
        try:
            return await answer(request)
        except ParameterError as error:
            return failed(str(error), 400)

    return tried


class _Traefik:
    """The endpoints of one run."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._configurations = Configurations(source)

    async def overview(self, _: Request) -> Response:
        source = self._source
        made = await self._configurations.present()
        of = {"enabled": Health.ENABLED, "warning": Health.WARNING, "expired": Health.DISABLED}
        found = await certificates(source)
        none = section(())
        settings = source.settings
        return whole(
            {
                "http": {
                    "routers": section(each.status for each in made.routers.values()),
                    "services": section(each.status for each in made.services.values()),
                    "middlewares": section(each.status for each in made.middlewares.values()),
                },
                "tcp": {"routers": none, "services": none, "middlewares": none},
                "udp": {"routers": none, "services": none},
                "certificates": section(of[each.status] for each in found.values()),
                "features": {
                    "tracing": "OTLP" if settings.tracing == "otlp" else "",
                    "metrics": "Prometheus" if settings.metrics else "",
                    "accessLog": settings.access_log != "off",
                },
                "providers": ["KubernetesGateway"],  # by which all names here end, wherever objects are from
            }
        )

    async def rawdata(self, _: Request) -> Response:
        return mapped(shapes.parts(self._source, await self._configurations.present()))

    async def entry_points(self, request: Request) -> Response:
        found, headers = page(shapes.entry_points(self._source), request.query_params)
        return listed(found, _itself, headers)

    async def entry_point(self, request: Request) -> Response:
        name = request.path_params["id"]
        for found in shapes.entry_points(self._source):
            if found["name"] == name:
                return whole(found)
        return failed(f"entry point not found: {name}", 404)

    async def routers(self, request: Request) -> Response:
        made, query = await self._configurations.present(), request.query_params
        wanted = Criterion.of(query)
        kept = (
            each
            for each in made.routers.values()
            if wanted.finds(each.status, each.rule, each.name) and wanted.leads_to(each.service, each.middlewares)
        )
        found, headers = page(in_order(kept, query, _ROUTERS), query)
        return listed(found, shapes.router, headers)

    async def router(self, request: Request) -> Response:
        made = await self._configurations.present()
        return _one(made.routers, request, "router", shapes.router)

    async def services(self, request: Request) -> Response:
        made, query = await self._configurations.present(), request.query_params
        wanted = Criterion.of(query)
        keys: Mapping[str, Callable[[Service], Any]] = {
            "type": attrgetter("type"),
            "servers": lambda each: shapes.server_count(self._source, each),
            "status": _STATUS,
        }
        kept = (each for each in made.services.values() if wanted.finds(each.status, each.name))
        found, headers = page(in_order(kept, query, keys), query)
        return listed(found, self._service, headers)

    async def service(self, request: Request) -> Response:
        made = await self._configurations.present()
        return _one(made.services, request, "service", self._service)

    async def middlewares(self, request: Request) -> Response:
        made, query = await self._configurations.present(), request.query_params
        wanted = Criterion.of(query)
        kept = (each for each in made.middlewares.values() if wanted.finds(each.status, each.name))
        found, headers = page(in_order(kept, query, _MIDDLEWARES), query)
        return listed(found, shapes.middleware, headers)

    async def middleware(self, request: Request) -> Response:
        made = await self._configurations.present()
        return _one(made.middlewares, request, "middleware", shapes.middleware)

    async def certificates(self, request: Request) -> Response:
        query = request.query_params
        wanted = Criterion.of(query)
        all_ = await certificates(self._source)
        kept = (each for each in all_.values() if wanted.finds(each.status, *each.texts))
        found, headers = page(in_order(kept, query, _CERTIFICATES), query)
        return listed(found, Certificate.shape, headers)

    async def certificate(self, request: Request) -> Response:
        return _one(await certificates(self._source), request, "certificate", Certificate.shape)

    def _service(self, found: Service) -> dict[str, Any]:
        return shapes.service(self._source, found)


def _list(path: str, many: Answer, one: Answer) -> list[BaseRoute]:
    return [Route(path, checked(many)), Route(f"{path}/{{id:path}}", one)]


def _one(found: Mapping[str, Any], request: Request, kind: str, shape: Callable[[Any], Any]) -> Response:
    name = request.path_params["id"]
    return whole(shape(found[name])) if name in found else failed(f"{kind} not found: {name}", 404)


def _itself(shape: dict[str, Any]) -> dict[str, Any]:
    return shape


async def _nothing(request: Request) -> Response:
    none: list[dict[str, Any]] = []
    found, headers = page(none, request.query_params)
    return listed(found, _itself, headers)


async def _missing(kind: str, request: Request) -> Response:
    return failed(f"{kind} not found: {request.path_params['id']}", 404)
