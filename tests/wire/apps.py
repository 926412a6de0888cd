"""Applications that answer as a test tells them to."""

from collections.abc import Callable
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from middleware.answer import CYCLE
from tests.wire.harness import Loop


def start(status: int = 200, *fields: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(fields)}


def body(data: bytes = b"", more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % size


class Script:
    """An application that sends ``messages`` and ends, however often it is called. ``errors``: what send raised."""

    def __init__(self, *messages: Message) -> None:
        self.messages = messages
        self.errors: list[BaseException] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            for message in self.messages:
                await send(message)
        except Exception as error:
            self.errors.append(error)
            raise


class Steps:
    """An application that sends ``messages`` and then does what the test tells it to, once for each request."""

    def __init__(self, *messages: Message) -> None:
        self.messages = messages
        self.calls: list[Call] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope, receive, send)
        self.calls.append(call)
        for message in self.messages:
            await send(message)
        await call.end


class Call:
    """A request that the test answers itself."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.left = 0
        cycle = scope[CYCLE]
        cycle.on_disconnect = self._on_disconnect
        self._loop: Loop = cycle.task.get_loop()
        self._receive = receive
        self._send = send
        self.end = self._loop.create_future()

    def _on_disconnect(self) -> None:
        self.left += 1

    def receive(self) -> Message:
        """The next message, which must be there."""
        return self._loop.run(_await(self._receive))

    def wants(self) -> Callable[[], Message]:
        """Ask for the next message; gives a way to get it when it has come."""
        task = self._loop.create_task(_await(self._receive))
        self._loop.settle()

        def result() -> Message:
            assert task.done(), "nothing has come"
            message: Message = task.result()
            return message

        return result

    def send(self, *messages: Message) -> None:
        """Send, and have it not wait."""
        for message in messages:
            self._loop.run(_await(self._send, message))

    def sends(self, message: Message) -> Callable[[], bool]:
        """Send something that may wait; gives a way to ask whether it was taken."""
        task = self._loop.create_task(_await(self._send, message))
        self._loop.settle()
        return task.done

    def answer(self, data: bytes = b"ok") -> None:
        """A whole answer, and the application's end."""
        self.send(start(200, length(len(data))), body(data))
        self.finish()

    def finish(self) -> None:
        self.end.set_result(None)
        self._loop.settle()


async def _await(function: Callable[..., Any], *args: Any) -> Any:
    return await function(*args)
