"""What is served in the shapes of Traefik's API, of which tests keep a list (``traefik_shapes.yaml``)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from app.admin.api.configuration import Configuration, Middleware, Router, Service, url
from app.admin.api.naming import PROVIDER
from app.admin.source import Source
from app.backend import BackendProxy
from app.listeners.places import as_set
from app.settings import Settings
from app.upstream.health import Endpoint
from app.view.model import Health
from app.view.words import counted
from routes.table.types import PortKey

_UP: Final = "UP"
_DOWN: Final = "DOWN"


def router(found: Router) -> dict[str, Any]:
    """A router as it stands in a list."""
    return _described(found.name) | {"priorityStr": str(found.priority)} | _router(found)


def service(source: Source, found: Service) -> dict[str, Any]:
    """A service as it stands in a list."""
    return _described(found.name) | {"type": found.type} | _service(source, found)


def middleware(found: Middleware) -> dict[str, Any]:
    """A middleware as it stands in a list."""
    return _described(found.name) | {"type": found.type.lower()} | _middleware(found)


def parts(source: Source, made: Configuration) -> list[tuple[str, Sequence[Any], Any]]:
    """Everything by name, as in ``/api/rawdata``."""
    return [
        ("routers", list(made.routers.values()), lambda each: (each.name, _router(each))),
        ("middlewares", list(made.middlewares.values()), lambda each: (each.name, _middleware(each))),
        ("services", list(made.services.values()), lambda each: (each.name, _service(source, each))),
    ]


def servers(source: Source, found: Service) -> dict[str, str]:
    """Where a service of one backend sends requests, and whether it does so at the moment: what is known of its
    endpoints without asking, else the addresses or the host name that it was given."""
    proxy = _proxy(source, found)
    endpoints = proxy.known_endpoints if proxy is not None else ()
    if proxy is None or not endpoints:
        return dict.fromkeys(found.urls, _UP)
    return {url(proxy.backend, endpoint.name): _state(endpoint) for endpoint in endpoints}


def server_count(source: Source, found: Service) -> int:
    """How many :func:`servers` there are."""
    proxy = _proxy(source, found)
    return len((proxy.known_endpoints if proxy is not None else ()) or found.urls)


def entry_points(source: Source) -> list[dict[str, Any]]:
    """The Gateways' ports, by name."""
    state = source.state()
    if state is None:
        return []
    bound, asked = source.bound(), as_set(source.settings.ports)
    return sorted(
        (_entry_point(source.settings, key, bound.get(key) or asked(key)) for key in state.table.ports),
        key=lambda each: str(each["name"]),
    )


def section(statuses: Iterable[Health]) -> dict[str, int]:
    """How many there are, and how many of them do not do well."""
    return asdict(counted(statuses))


def moment(at: datetime) -> str:
    """RFC 3339, in UTC."""
    return at.isoformat().replace("+00:00", "Z")


def _described(name: str) -> dict[str, Any]:
    return {"name": name, "provider": PROVIDER}


def _router(found: Router) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "entryPoints": [found.entry_point],
        "service": found.service,
        "rule": found.rule,
        "ruleSyntax": "default",
        "priority": found.priority,
        "status": found.status,
        "using": [found.entry_point],
    }
    if found.middlewares:
        shape["middlewares"] = found.middlewares
    if found.tls:
        shape["tls"] = {"options": "default"}
    return _with_errors(shape, found.errors)


def _service(source: Source, found: Service) -> dict[str, Any]:
    shape: dict[str, Any] = {"status": found.status}
    if found.used_by:
        shape["usedBy"] = found.used_by
    if found.middlewares:
        shape["middlewares"] = found.middlewares
    if found.type == "weighted":
        shape["weighted"] = (
            {"services": [{"name": name, "weight": weight} for name, weight in found.weighted]}
            if found.weighted
            else {}
        )
    elif found.type == "mirroring":
        shape["mirroring"] = {
            "service": found.main,
            "mirrorBody": True,
            "mirrors": [{"name": name, "percent": percent} for name, percent in found.mirrors],
        }
    else:
        known = servers(source, found)
        balancer: dict[str, Any] = {"strategy": "p2c", "passHostHeader": True}
        if known:
            balancer["servers"] = [{"url": each} for each in known]
            shape["serverStatus"] = known
        shape["loadBalancer"] = balancer
    return _with_errors(shape, found.errors)


def _middleware(found: Middleware) -> dict[str, Any]:
    shape: dict[str, Any] = {**found.configured, "status": found.status}
    if found.used_by:
        shape["usedBy"] = found.used_by
    return _with_errors(shape, found.errors)


def _with_errors(shape: dict[str, Any], errors: Sequence[str]) -> dict[str, Any]:
    return shape | {"error": errors} if errors else shape


def _proxy(source: Source, found: Service) -> BackendProxy | None:
    """What serves the backend at the moment, which may be another already where the configuration is being read."""
    if found.backend is None:
        return None
    route, rule, index = found.backend
    for served in source.proxies(route):
        if served.rule.index == rule and index < len(served.backends):
            return served.backends[index]
    return None


def _state(endpoint: Endpoint) -> str:
    return _DOWN if endpoint.ejected_until or not endpoint.reachable else _UP


def _entry_point(settings: Settings, key: PortKey, port: int) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "name": str(key),
        "address": f"{settings.host}:{port}",
        "transport": {
            "lifeCycle": {
                "requestAcceptGraceTimeout": _duration(settings.drain_delay),
                "graceTimeOut": _duration(settings.drain_timeout),
            }
        },
        "http": {},
    }
    trusted: Mapping[str, list[str]] = {"trustedIPs": [str(network) for network in settings.trusted_proxies]}
    return shape | {"forwardedHeaders": trusted if settings.trusted_proxies else {}}


def _duration(seconds: float) -> str:
    return f"{seconds:g}s"
