"""A request's body on its way to the backend."""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

from middleware.errors import BadRequest


@dataclass(slots=True)
class Body:
    """A stream and how it is framed: by ``length``, or in chunks where that is None.

    ``asks``: the client wants to hear that the backend agrees before it sends anything (``Expect: 100-continue``).
    """

    stream: AsyncIterable[bytes]
    length: int | None
    asks: bool = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes to send. Raises BadRequest where the stream is not as long as it said."""
        if self.length is None:
            async for data in self.stream:
                if data:
                    yield b"%x\r\n%b\r\n" % (len(data), data)
            yield b"0\r\n\r\n"
            return
        left = self.length
        async for data in self.stream:
            left -= len(data)
            if left < 0:
                break
            yield data
        if left:
            raise BadRequest("the body is not as long as Content-Length says")
