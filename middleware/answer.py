"""The answer to one request, as the server's own connection knows it.

A middleware that only wants to know how an answer went need not listen to what passes by, and a proxy need not wrap in
ASGI messages what nobody on the way looks at. Both hold where the server's connection is ours and ``send`` is its own.
"""

from collections.abc import Sequence
from typing import Protocol

from starlette.types import Message, Scope, Send

CYCLE = "moongate.cycle"
"""Where a scope leads to the connection's own :class:`Answer`, on the server connections that have one."""


class Answer(Protocol):
    """What the server's connection knows of a request and its answer."""

    status: int
    """The status that was sent, 0 before."""
    fields: Sequence[tuple[bytes, bytes]]
    """The header fields that were sent, but for what frames the body and speaks of the connection."""
    adds: Sequence[tuple[bytes, bytes]]
    """Fields that it is to have, names in lower case, in the place of any others by these names."""
    received: int
    """Bytes of the request's body that the application has taken."""
    sent: int
    """Bytes of the answer's body that were handed to the connection."""
    started: bool
    """Whether the answer has begun."""
    complete: bool
    """Whether it has ended."""
    disconnected: bool
    """Whether the client left before."""

    async def send(self, message: Message) -> None:
        """ASGI's send, as the server gave it to the application."""


def answer_behind(scope: Scope, send: Send) -> Answer | None:
    """The answer that ``send`` fills, None where somebody stands between, or the server is another."""
    answer: Answer | None = scope.get(CYCLE)
    return answer if answer is not None and send == answer.send else None
