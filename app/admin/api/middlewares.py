"""Filters in Traefik's words for its middlewares, without the values of header fields: they may be secret."""

import re
from collections.abc import Iterable
from typing import Any, Final

from routes.resources.filters import (
    HTTPCORSFilter,
    HTTPExternalAuthFilter,
    HTTPHeader,
    HTTPHeaderFilter,
    HTTPPathModifier,
    HTTPRequestRedirectFilter,
    HTTPURLRewriteFilter,
)
from routes.resources.meta import Model
from routes.table.types import Filter

#: In the place of values.
REDACTED: Final = "REDACTED"

_HEADERS: Final = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
}


def configuration(filter_: Filter, prefix: str | None) -> dict[str, Any]:
    """The one field of Traefik's middleware that ``filter_`` is. ``prefix`` is what ReplacePrefixMatch is about.

    A RequestMirror is none: Traefik mirrors by a service.
    """
    config: Model = filter_.config
    if isinstance(config, HTTPHeaderFilter):
        return {_HEADERS[filter_.type]: _headers(config)}
    if isinstance(config, HTTPRequestRedirectFilter):
        return {"requestRedirect": _redirect(config, prefix)}
    if isinstance(config, HTTPURLRewriteFilter):
        return {"URLRewrite": _set(hostname=config.hostname, **_path(config.path, prefix))}
    if isinstance(config, HTTPCORSFilter):
        return {"headers": _cors(config)}
    if isinstance(config, HTTPExternalAuthFilter):
        return {"forwardAuth": _external_auth(filter_, config)}
    key = filter_.extension.key if filter_.extension is not None else None
    name = f"{key.kind}.{key.group}" if key is not None else filter_.type
    return {"plugin": {name: {"object": key.qualified_name} if key is not None else {}}}


def type_of(configured: dict[str, Any]) -> str:
    """Traefik's ``type`` of such a middleware: its field's name in lower case, or the plugin's own name."""
    (field,) = configured
    return next(iter(configured[field])) if field == "plugin" else field.lower()


def _headers(config: HTTPHeaderFilter) -> dict[str, Any]:
    return _set(set=_names(config.set), add=_names(config.add), remove=list(config.remove))


def _names(headers: Iterable[HTTPHeader]) -> dict[str, str]:
    return {header.name: REDACTED for header in headers}


def _redirect(config: HTTPRequestRedirectFilter, prefix: str | None) -> dict[str, Any]:
    port = str(config.port) if config.port is not None else None
    found = _set(scheme=config.scheme, hostname=config.hostname, port=port, **_path(config.path, prefix))
    return found | {"statusCode": config.status_code}


def _path(modifier: HTTPPathModifier | None, prefix: str | None) -> dict[str, str | None]:
    if modifier is None:
        return {}
    if modifier.type == "ReplaceFullPath":
        return {"path": modifier.replace_full_path}
    return {"path": modifier.replace_prefix_match, "pathPrefix": prefix}


def _cors(config: HTTPCORSFilter) -> dict[str, Any]:
    plain = [origin for origin in config.allow_origins if "*" not in origin]
    patterns = [origin for origin in config.allow_origins if "*" in origin]
    return _set(
        accessControlAllowCredentials=config.allow_credentials,
        accessControlAllowOriginList=plain,
        accessControlAllowOriginListRegex=[f"^{'.*'.join(map(re.escape, each.split('*')))}$" for each in patterns],
        accessControlAllowMethods=list(config.allow_methods),
        accessControlAllowHeaders=list(config.allow_headers),
        accessControlExposeHeaders=list(config.expose_headers),
    ) | {"accessControlMaxAge": config.max_age}


def _external_auth(filter_: Filter, config: HTTPExternalAuthFilter) -> dict[str, Any]:
    scheme = "http" if config.protocol == "HTTP" else "grpc"
    asked = config.http or config.grpc
    path = (config.http.path or "") if config.http is not None else ""
    found = _set(
        address=f"{scheme}://{filter_.backend.name}{path}" if filter_.backend is not None else None,
        authRequestHeaders=list(asked.allowed_headers) if asked is not None else None,
        authResponseHeaders=list(config.http.allowed_response_headers) if config.http is not None else None,
    )
    if config.forward_body is not None and config.forward_body.max_size:
        found |= {"forwardBody": True, "maxBodySize": config.forward_body.max_size}
    return found


def _set(**fields: Any) -> dict[str, Any]:
    """Those that say something: Traefik leaves out the others."""
    return {name: value for name, value in fields.items() if value not in (None, False, [], {})}
