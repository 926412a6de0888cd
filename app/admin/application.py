"""The application of the admin port."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from app.admin import exposition, health
from app.admin.api import endpoints
from app.admin.dashboard import pages
from app.admin.guard import Guard
from app.admin.source import Source
from app.settings import Settings

#: Where the article's picture is.
DASHBOARD = "/dashboard/"


class Admin(Starlette):
    """The admin port's pages. The guard is around all of Starlette's own layers, its error pages too."""

    def __init__(self, settings: Settings, routes: list[BaseRoute]) -> None:
        super().__init__(routes=routes)
        self._settings = settings
        self.router.redirect_slashes = (
            False  # it would say where to in full, and know neither a proxy's scheme nor port
        )

    def build_middleware_stack(self) -> ASGIApp:
        """Starlette's, with the guard around it."""
        return Guard(super().build_middleware_stack(), self._settings)


def admin_app(source: Source) -> Admin:
    """What is answered on the admin port, read-only throughout."""
    return Admin(
        source.settings,
        [
            *health.routes(source.serving),
            *exposition.routes(source),
            *endpoints.routes(source),
            *pages.routes(source),
            Route("/", _to_dashboard),
            Route(DASHBOARD.removesuffix("/"), _to_dashboard),
        ],
    )


async def _to_dashboard(_: Request) -> RedirectResponse:
    return RedirectResponse(DASHBOARD)
