"""Lines get to the stream from another thread, in order, and never in the way of a request."""

import io
import threading
import time

import pytest

from middleware.linewriter import LineWriter


class BlockedStream(io.StringIO):
    """A stream that takes nothing until it is released, as a full pipe."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.reached = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.released.wait(10)
        return super().write(text)


class BrokenStream(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError("no space left on device")


class CountingStream(io.StringIO):
    writes = flushes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)

    def flush(self) -> None:
        self.flushes += 1


def test_closing_writes_all_that_is_queued_in_order() -> None:
    stream = io.StringIO()
    writer = LineWriter(stream, interval=10)
    writer.start()
    for number in range(1000):
        writer.write(str(number))
    writer.close()
    assert stream.getvalue().splitlines() == [str(number) for number in range(1000)]


def test_lines_are_written_without_closing() -> None:
    stream = io.StringIO()
    writer = LineWriter(stream, interval=0.01)
    writer.write("one")
    deadline = time.monotonic() + 5
    while stream.getvalue() != "one\n" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stream.getvalue() == "one\n"
    writer.close()


def test_a_batch_is_written_and_flushed_at_once() -> None:
    stream = CountingStream()
    writer = LineWriter(stream, interval=10)
    for _ in range(100):
        writer.write("line")
    writer.close()
    assert (stream.writes, stream.flushes) == (1, 1)


def test_lines_over_capacity_are_dropped_and_counted() -> None:
    stream = BlockedStream()
    writer = LineWriter(stream, capacity=10, interval=0.001)
    writer.write("first")
    assert stream.reached.wait(5)
    for number in range(15):
        writer.write(str(number))
    assert writer.dropped == 5
    stream.released.set()
    writer.close()
    assert stream.getvalue().splitlines() == ["first", *map(str, range(10))]


def test_a_blocked_stream_does_not_keep_a_writer_from_closing() -> None:
    stream = BlockedStream()
    writer = LineWriter(stream, interval=0.001)
    writer.write("line")
    begun = time.monotonic()
    writer.close(timeout=0.05)
    assert time.monotonic() - begun < 5
    stream.released.set()


def test_a_broken_stream_costs_its_lines_and_nothing_else() -> None:
    writer = LineWriter(BrokenStream(), interval=0.001)
    writer.write("line")
    writer.close()
    assert writer.dropped == 1


def test_a_closed_writer_drops_what_comes_late() -> None:
    stream = io.StringIO()
    writer = LineWriter(stream)
    writer.close()
    writer.write("late")
    writer.close()
    assert (stream.getvalue(), writer.dropped) == ("", 1)


def test_drops_are_reported_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    writer = LineWriter(BrokenStream(), interval=0.001)
    writer.write("line")
    writer.close()
    assert "1 log lines were dropped" in caplog.text


def test_lines_over_the_size_are_dropped_and_counted() -> None:
    stream = BlockedStream()
    writer = LineWriter(stream, size=100, interval=0.001)
    writer.write("first")
    assert stream.reached.wait(5)
    for _ in range(5):
        writer.write("x" * 60)
    assert writer.dropped == 3
    stream.released.set()
    writer.close()
    assert stream.getvalue().count("x" * 60) == 2


def test_what_is_to_be_done_is_done_between_the_lines_before_and_behind() -> None:
    stream = io.StringIO()
    seen: list[str] = []
    writer = LineWriter(stream, interval=10)
    writer.write("before")
    writer.call(lambda: seen.append(stream.getvalue()))
    writer.write("behind")
    writer.close()
    assert seen == ["before\n"]
    assert stream.getvalue() == "before\nbehind\n"


def test_what_fails_between_lines_is_logged_and_costs_none(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("no")

    stream = io.StringIO()
    writer = LineWriter(stream, interval=10)
    writer.call(fail)
    writer.write("line")
    writer.close()
    assert stream.getvalue() == "line\n"
    assert "RuntimeError: no" in caplog.text
