"""Answers as JSON that hold the event loop only for moments, however much there is to say."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from starlette.responses import Response, StreamingResponse

T = TypeVar("T")

#: Entries that are made into text at a time, before anybody else has a turn: about a millisecond's worth.
SLICE: Final = 64

_JSON: Final = "application/json"


def whole(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """``value`` at once."""
    return Response(_text(value), status, headers, _JSON)


def failed(message: str, status: int) -> Response:
    """Why there is no answer, as Traefik says it."""
    return whole({"message": message}, status)


def listed(items: Sequence[T], shape: Callable[[T], Any], headers: dict[str, str] | None = None) -> Response:
    """A list of what ``shape`` makes of ``items``."""
    if len(items) <= SLICE:
        return whole([shape(item) for item in items], headers=headers)
    return StreamingResponse(_list(items, shape), headers=headers, media_type=_JSON)


def mapped(parts: Sequence[tuple[str, Sequence[T], Callable[[T], tuple[str, Any]]]]) -> Response:
    """An object that has, under the name of each part that has entries, an object of what its function makes of them:
    name and value."""
    return StreamingResponse(_object([part for part in parts if part[1]]), media_type=_JSON)


async def _list(items: Sequence[T], shape: Callable[[T], Any]) -> AsyncIterator[str]:
    separator = "["
    for piece in _slices(items):
        yield separator + ",".join(_text(shape(item)) for item in piece)
        separator = ","
        await asyncio.sleep(0)
    yield "]"


async def _object(parts: Sequence[tuple[str, Sequence[T], Callable[[T], tuple[str, Any]]]]) -> AsyncIterator[str]:
    yield "{"
    for index, (name, items, shape) in enumerate(parts):
        separator = f"{',' if index else ''}{_text(name)}:{{"
        for piece in _slices(items):
            entries = (shape(item) for item in piece)
            yield separator + ",".join(f"{_text(key)}:{_text(value)}" for key, value in entries)
            separator = ","
            await asyncio.sleep(0)
        yield "}"
    yield "}"


def _slices(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + SLICE] for start in range(0, len(items), SLICE))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
