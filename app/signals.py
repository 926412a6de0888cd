"""Signals that ask a gateway for something, in a process that is its own."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def asking(name: str, action: Callable[[], None]) -> Iterator[None]:
    """Have the running loop do ``action`` on the signal ``name``, where there is one; a handler of others stays.

    Behind it the signal is ignored: whoever asks must not end a process that is about to end by itself.
    """
    number = getattr(signal, name, None)
    here = threading.current_thread() is threading.main_thread()
    if number is None or not here or callable(signal.getsignal(number)):
        yield
        return
    loop = asyncio.get_running_loop()

    def on_signal(*_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(action)

    # Not loop.add_signal_handler(): the end of the loop would have the signal end the process.
    signal.signal(number, on_signal)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_IGN)
