"""All of ``/api``."""

from starlette.routing import BaseRoute

from app.admin.api import explaining, gatewayapi, traefik
from app.admin.source import Source


def routes(source: Source) -> list[BaseRoute]:
    """The endpoints of one run."""
    return [*traefik.routes(source), *explaining.routes(source), *gatewayapi.routes(source)]
