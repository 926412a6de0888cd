"""The lifespan of an application inside ours (ASGI lifespan protocol 2.0)."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from starlette.types import ASGIApp, Message

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def lifespan_of(app: ASGIApp, state: dict[str, Any]) -> AsyncIterator[None]:
    """Start ``app`` and stop it at the end; ``state`` is what it shares with its requests.

    An application that knows no lifespan is let be, as servers do. Raises RuntimeError where it says that its start
    or its stop failed.
    """
    told: asyncio.Queue[Message] = asyncio.Queue()
    heard: asyncio.Queue[Message] = asyncio.Queue()

    async def run() -> None:
        try:
            await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}, told.get, heard.put)
        except Exception:
            logger.debug("an inner application without lifespan", exc_info=True)
        finally:
            heard.put_nowait({"type": "ended"})

    task = asyncio.create_task(run())
    told.put_nowait({"type": "lifespan.startup"})
    answer = await heard.get()
    if answer["type"] == "lifespan.startup.failed":
        raise RuntimeError(answer.get("message") or "the inner application did not start")
    try:
        yield
    finally:
        if answer["type"] != "ended":
            told.put_nowait({"type": "lifespan.shutdown"})
            answer = await heard.get()
            if answer["type"] == "lifespan.shutdown.failed":
                raise RuntimeError(answer.get("message") or "the inner application did not stop")
        await task
