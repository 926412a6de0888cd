"""``/metrics``, for Prometheus."""

from collections.abc import AsyncIterator, Iterable

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from app.admin.source import Source


def routes(source: Source) -> list[BaseRoute]:
    """``/metrics`` in the text format or as OpenMetrics, as ``Accept`` has it; nothing where nothing is counted."""
    metrics = source.metrics
    if metrics is None:
        return []

    async def answer(request: Request) -> Response:
        parts, content_type = await metrics.render(source, request.headers.get("accept", ""))
        return StreamingResponse(_each(parts), headers={"content-type": content_type, "cache-control": "no-store"})

    return [Route("/metrics", answer)]


async def _each(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
