"""A rule's filters as ASGI middleware around what serves the rule."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from starlette.types import ASGIApp

from middleware.cors import CORSMiddleware
from middleware.extension import NO_EXTENSIONS, Extensions, extended
from middleware.externalauth import ExternalAuthMiddleware
from middleware.headers import RequestHeaderModifierMiddleware, ResponseHeaderModifierMiddleware
from middleware.invalid import InvalidFilterMiddleware
from middleware.mirror import RequestMirrorMiddleware
from middleware.pathmodifier import path_change
from middleware.redirect import RequestRedirectMiddleware
from middleware.rewrite import URLRewriteMiddleware
from middleware.scope import LISTENER_PORT, TARGET_PATH
from routes.resources.filters import (
    HTTPCORSFilter,
    HTTPExternalAuthFilter,
    HTTPHeaderFilter,
    HTTPRequestMirrorFilter,
    HTTPRequestRedirectFilter,
    HTTPURLRewriteFilter,
)
from routes.resources.meta import Model
from routes.table.types import Backend, Filter

__all__ = ["FILTERS", "LISTENER_PORT", "TARGET_PATH", "FilterFactory", "ProxyTo", "around"]

C = TypeVar("C", bound=Model)

#: Makes the application that sends requests to a backend: for filters that have one of their own.
ProxyTo = Callable[[Backend], ASGIApp]

#: Makes the middleware of a filter: the application behind it, the filter, the rule's matched prefix, and proxies.
FilterFactory = Callable[[ASGIApp, Filter, str | None, ProxyTo], ASGIApp]


def around(
    app: ASGIApp,
    filters: Sequence[Filter],
    prefix: str | None,
    proxy_to: ProxyTo,
    extensions: Extensions = NO_EXTENSIONS,
) -> ASGIApp:
    """``app`` behind ``filters``, which requests pass in the order of the list, and answers in the reverse order.

    ``extensions`` are the classes that ExtensionRefs lead to. A filter that cannot be run answers 500; this never
    raises for one.
    """
    for filter_ in reversed(filters):
        factory = FILTERS.get(filter_.type)
        if filter_.invalid:
            app = InvalidFilterMiddleware(app, detail=filter_.invalid)
        elif filter_.type == "ExtensionRef":
            app = extended(app, filter_.extension, extensions)
        elif factory is not None:
            app = factory(app, filter_, prefix, proxy_to)
        else:
            app = InvalidFilterMiddleware(app, detail=f"{filter_.type} is no type of filter")
    return app


def _request_headers(app: ASGIApp, filter_: Filter, prefix: str | None, proxy_to: ProxyTo) -> ASGIApp:
    return RequestHeaderModifierMiddleware(app, config=_config(filter_, HTTPHeaderFilter))


def _response_headers(app: ASGIApp, filter_: Filter, prefix: str | None, proxy_to: ProxyTo) -> ASGIApp:
    return ResponseHeaderModifierMiddleware(app, config=_config(filter_, HTTPHeaderFilter))


def _redirect(app: ASGIApp, filter_: Filter, prefix: str | None, proxy_to: ProxyTo) -> ASGIApp:
    config = _config(filter_, HTTPRequestRedirectFilter)
    path = path_change(config.path, prefix) if config.path is not None else None
    if config.path is not None and path is None:
        return InvalidFilterMiddleware(app, detail=_NO_PREFIX)
    return RequestRedirectMiddleware(app, config=config, path=path)


def _rewrite(app: ASGIApp, filter_: Filter, prefix: str | None, proxy_to: ProxyTo) -> ASGIApp:
    config = _config(filter_, HTTPURLRewriteFilter)
    path = path_change(config.path, prefix) if config.path is not None else None
    if config.path is not None and path is None:
        return InvalidFilterMiddleware(app, detail=_NO_PREFIX)
    return URLRewriteMiddleware(app, hostname=config.hostname, path=path)


def _mirror(app: ASGIApp, filter_: Filter, prefix: str | None, proxy_to: ProxyTo) -> ASGIApp:
    # A mirror that leads nowhere is left out, and the requests are served (HTTPRequestMirrorFilter).
    if filter_.backend is None or filter_.backend.invalid:
        return app
    return RequestMirrorMiddleware(
        app, mirror=proxy_to(filter_.backend), config=_config(filter_, HTTPRequestMirrorFilter)
    )


def _cors(app: ASGIApp, filter_: Filter, prefix: str | None, proxy_to: ProxyTo) -> ASGIApp:
    return CORSMiddleware(app, config=_config(filter_, HTTPCORSFilter))


def _external_auth(app: ASGIApp, filter_: Filter, prefix: str | None, proxy_to: ProxyTo) -> ASGIApp:
    config = _config(filter_, HTTPExternalAuthFilter)
    if config.protocol != "HTTP":
        return InvalidFilterMiddleware(app, detail=f"ExternalAuth over {config.protocol} is not served")
    if filter_.backend is None:
        return InvalidFilterMiddleware(app, detail="an ExternalAuth without a backend")
    return ExternalAuthMiddleware(app, server=proxy_to(filter_.backend), config=config)


_NO_PREFIX: Final = "ReplacePrefixMatch needs a rule with exactly one match, of type PathPrefix"

#: What makes the middleware of each of the API's own filters; ExtensionRef's is for :func:`around`.
FILTERS: Final[Mapping[str, FilterFactory]] = {
    "RequestHeaderModifier": _request_headers,
    "ResponseHeaderModifier": _response_headers,
    "RequestRedirect": _redirect,
    "URLRewrite": _rewrite,
    "RequestMirror": _mirror,
    "CORS": _cors,
    "ExternalAuth": _external_auth,
}


def _config(filter_: Filter, kind: type[C]) -> C:
    config = filter_.config
    assert isinstance(config, kind), f"{filter_.type} with a {type(config).__name__}"
    return config
