"""Lines to a text stream without ever keeping the event loop waiting for it."""

import atexit
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)


class Stream(Protocol):
    """What lines are written to. OSError and ValueError say that it did not take them."""

    def write(self, text: str, /) -> object:
        """Take whole lines, each with its end."""

    def flush(self) -> object:
        """Let go of what was kept back."""


class LineWriter:
    """Hands lines to one thread, which writes them to ``stream`` in batches and flushes each batch.

    At most ``capacity`` lines and ``size`` characters wait; what comes on top is dropped and counted in ``dropped``: a
    log that nobody takes must cost neither memory nor requests. A line reaches the stream about ``interval`` seconds
    after it was written, as far as the stream keeps up. The stream is not closed: it belongs to the caller.
    """

    def __init__(
        self, stream: Stream, *, capacity: int = 65_536, size: int = 64 * 1024 * 1024, interval: float = 0.1
    ) -> None:
        self.dropped = 0
        """Lines lost so far: the queue was full, the writer closed or the stream broken."""
        self._stream = stream
        self._capacity = capacity
        self._size = size
        self._interval = interval
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        # The mutable state between the threads: lines are added on the right and taken from the left.
        self._lines: deque[str | Callable[[], None]] = deque()
        # Their characters since the last batch: added to by whoever writes, and set back by the thread.
        self._waiting_size = 0
        self._waiting = threading.Event()
        self._closing = threading.Event()
        self._closed = False  # as _closing, cheaper to ask

    def start(self) -> None:
        """Start the thread; :meth:`write` does so too when it has to. Once closed, a writer stays closed."""
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="moongate-lines", daemon=True)
                self._thread.start()
                atexit.register(self.close)

    def write(self, line: str) -> None:
        """Queue ``line``, given without its line end. Never waits, never raises; may be called from any thread."""
        if self._closed or len(self._lines) >= self._capacity or self._waiting_size > self._size:
            self._drop(1)
            return
        size = len(line)
        self._waiting_size += size
        self._put(line)

    def call(self, action: Callable[[], None]) -> None:
        """Have the thread do ``action`` between the lines that were written before and those that come after."""
        if not self._closed:
            self._put(action)

    def _put(self, item: str | Callable[[], None]) -> None:
        self._lines.append(item)
        # Setting an event takes a lock and wakes the thread: once for a batch is enough.
        if not self._waiting.is_set():
            self._waiting.set()
        if self._thread is None:
            self.start()

    def close(self, timeout: float = 5.0) -> None:
        """Write what is queued and stop, waiting at most ``timeout`` seconds for a stream that takes nothing more."""
        with self._lock:
            self._closed = True
            self._closing.set()
            self._waiting.set()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)
            atexit.unregister(self.close)

    def _run(self) -> None:
        reported = 0
        while True:
            self._waiting.wait()
            # Let a batch gather. Closing ends the wait, and then this is the last one.
            closing = self._closing.wait(self._interval)
            self._waiting.clear()
            self._write_batch()
            if self.dropped != reported:
                logger.warning("%d log lines were dropped, %d in all", self.dropped - reported, self.dropped)
                reported = self.dropped
            if closing:
                return

    def _write_batch(self) -> None:
        self._waiting_size = 0
        batch: list[str] = []
        for _ in range(len(self._lines)):
            item = self._lines.popleft()
            if isinstance(item, str):
                batch.append(item)
                continue
            self._write_lines(batch)
            batch = []
            try:
                item()
            except Exception:
                logger.exception("%s failed", item)
        self._write_lines(batch)

    def _write_lines(self, batch: list[str]) -> None:
        if not batch:
            return
        try:
            self._stream.write("\n".join(batch) + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream was closed under us
            self._drop(len(batch))

    def _drop(self, count: int) -> None:
        with self._lock:
            self.dropped += count
