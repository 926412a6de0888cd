"""What a rule does besides sending requests to its backends, as plain data: for people, for golden files."""

from collections.abc import Iterable
from typing import Any

from routes.graph.nodes import BackendProtocol
from routes.resources.filters import (
    HTTPCORSFilter,
    HTTPHeaderFilter,
    HTTPRequestMirrorFilter,
    HTTPRequestRedirectFilter,
)
from routes.resources.http import SessionPersistence
from routes.resources.meta import Model
from routes.table.types import Backend, Filter, Rule


def describe_features(rule: Rule) -> dict[str, Any]:
    """Filters, timeouts, retry and session persistence of ``rule``, as far as it has them."""
    described: dict[str, Any] = {}
    if rule.filters:
        described["filters"] = describe_filters(rule.filters)
    if rule.timeouts is not None:
        described["timeouts"] = _settings(rule.timeouts)
    if rule.retry is not None:
        described["retry"] = {"attempts": rule.retry.attempts} | _settings(rule.retry)
    if rule.session_persistence is not None:
        described["session"] = _session(rule.session_persistence)
    return described


def describe_filters(filters: Iterable[Filter]) -> list[dict[str, Any]]:
    """Each filter by its type, in the order in which they are passed, without header values: they may be secret."""
    return [{each.type: f"500, {each.invalid}" if each.invalid else _config(each)} for each in filters]


def describe_backend(backend: Backend) -> str | dict[str, Any]:
    """Weight, name and where requests go, and under it the filters that only they pass."""
    way = f"{backend.weight} × {_way(backend)}"
    return {way: describe_filters(backend.filters)} if backend.filters else way


def _way(backend: Backend) -> str:
    if backend.invalid:
        where = f"500, {backend.invalid}"
    elif backend.dns is not None:
        where = f"dns {backend.dns}"
    elif backend.service is not None:
        where = f"endpoints of {backend.service}"
    else:
        where = ", ".join(map(str, backend.addresses)) or "503, no ready endpoint"
    if backend.tls is not None:
        names = (*backend.tls.hostnames, *backend.tls.uris) or (backend.tls.server_name,)
        signed = "its authorities" if backend.tls.authorities else "the system's authorities"
        asked = f" asked for {backend.tls.server_name}" if names != (backend.tls.server_name,) else ""
        where = f"TLS{asked} as {' or '.join(names)} by {signed} {where}"
    if backend.protocol != BackendProtocol.HTTP:
        where = f"{backend.protocol} {where}"
    return f"{backend.name} → {where}"


def _config(filter_: Filter) -> Any:
    config = filter_.config
    if isinstance(config, HTTPHeaderFilter):
        names = {
            "set": [header.name for header in config.set],
            "add": [header.name for header in config.add],
            "remove": config.remove,
        }
        return {verb: ", ".join(headers) for verb, headers in names.items() if headers}
    if filter_.extension is not None:
        return str(filter_.extension.key)
    if filter_.backend is not None:
        asked = {"to": _way(filter_.backend)} | _settings(config, "backend_ref")
        if isinstance(config, HTTPRequestMirrorFilter) and config.fraction is not None:
            asked["fraction"] = f"{config.fraction.numerator} of {config.fraction.denominator}"
        return asked
    if isinstance(config, HTTPRequestRedirectFilter):
        return {"statusCode": config.status_code} | _settings(config)
    if isinstance(config, HTTPCORSFilter):
        return _settings(config) | {"maxAge": config.max_age}
    return _settings(config)


def _settings(model: Model, *leave_out: str) -> dict[str, Any]:
    """What ``model`` sets, a value a field: lists joined, and of a model within it the values alone."""
    dumped = model.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True, exclude=set(leave_out))
    return {name: _value(value) for name, value in dumped.items() if value != {}}


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return " ".join(str(_value(each)) for each in value.values())
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else value


def _session(session: SessionPersistence) -> dict[str, Any]:
    return {"type": session.type} | _settings(session)
