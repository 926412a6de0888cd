"""``/metrics``, for Prometheus."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.admin.source import Source


def routes(source: Source) -> list[BaseRoute]:
    """``/metrics`` in the text format or as OpenMetrics, as ``Accept`` has it; nothing where nothing is counted."""
    metrics = source.metrics
    if metrics is None:
        return []

    async def answer(request: Request) -> Response:
        text, content_type = await metrics.render(source, request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type, "cache-control": "no-store"})

    return [Route("/metrics", answer)]
