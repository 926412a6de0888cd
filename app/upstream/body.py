"""A request's body on its way to the backend."""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass

from app.upstream.fields import Fields
from middleware.errors import BadRequest


@dataclass(slots=True)
class Body:
    """A stream and its ``length``, which is None where nobody knows it.

    ``asks``: the client wants to hear that the backend agrees before it sends anything (``Expect: 100-continue``).
    ``trailers`` gives the fields behind the body when it has ended. ``begun``: a part of it may have been taken, so
    that it cannot be sent again.
    """

    stream: AsyncIterable[bytes]
    length: int | None
    asks: bool = False
    trailers: Callable[[], Fields] | None = None
    begun: bool = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes, without any framing. Raises BadRequest where the stream is not as long as it said."""
        self.begun = True
        left = self.length
        async for data in self.stream:
            if left is not None:
                left -= len(data)
                if left < 0:
                    break
            if data:
                yield data
        if left:
            raise BadRequest("the body is not as long as Content-Length says")
