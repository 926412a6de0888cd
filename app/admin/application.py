"""The application of the admin port."""

from starlette.applications import Starlette

from app.admin import health
from app.admin.source import Source


def admin_app(source: Source) -> Starlette:
    """What is answered on the admin port, read-only throughout."""
    return Starlette(routes=[*health.routes(source.serving)])
