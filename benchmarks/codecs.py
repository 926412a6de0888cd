"""What reading a response costs: ``python -m benchmarks.codecs``. Nanoseconds of CPU, the least of many rounds."""

import time
from collections.abc import Callable

from app.upstream.codec import HttptoolsCodec, ResponseCodec, ResponseSink
from app.upstream.fields import Fields
from tests.wire.zttp_codec import ZttpCodec

CODECS: tuple[Callable[[ResponseSink], ResponseCodec], ...] = (HttptoolsCodec, ZttpCodec)
ROUNDS, TIMES = 60, 300

HEAD = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 17:00:00 GMT\r\nServer: nginx\r\nContent-Type: application/json\r\n"
    b"Connection: keep-alive\r\nCache-Control: no-store\r\n"
)
SMALL = HEAD + b"Content-Length: 200\r\n\r\n" + b"x" * 200
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\nc8\r\n" + b"x" * 200 + b"\r\n0\r\n\r\n"
PIECE = b"x" * 65536
CHUNKS = (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 16


class _Nobody:
    """A sink that does nothing."""

    def on_informational(self, status: int, fields: Fields) -> None: ...

    def on_head(self, status: int, fields: Fields) -> None: ...

    def on_switch(self, fields: Fields, behind: bytes) -> None: ...

    def on_data(self, data: bytes) -> None: ...

    def on_end(self, trailers: Fields, *, reusable: bool) -> None: ...


def _responses(codec: ResponseCodec, data: bytes) -> Callable[[], None]:
    def run() -> None:
        codec.expect("GET")
        codec.feed(data)

    return run


def _pieces(codec: ResponseCodec, head: bytes, piece: bytes) -> Callable[[], None]:
    codec.expect("GET")
    codec.feed(HEAD + head + b"\r\n\r\n")
    return lambda: codec.feed(piece)


def main() -> None:
    """Print a Markdown table."""
    work: dict[tuple[str, str], Callable[[], None]] = {}
    for codec in CODECS:
        name = codec.__name__
        work["200 bytes with a length", name] = _responses(codec(_Nobody()), SMALL)
        work["200 bytes in a chunk", name] = _responses(codec(_Nobody()), CHUNKED)
        work["64 KiB of a body", name] = _pieces(codec(_Nobody()), b"Content-Length: 999999999999", PIECE)
        work["64 KiB of a body in 16 chunks", name] = _pieces(codec(_Nobody()), b"Transfer-Encoding: chunked", CHUNKS)
    best = dict.fromkeys(work, float("inf"))
    for _ in range(ROUNDS):  # by turns, so that what else the machine does falls on all
        for key, run in work.items():
            started = time.process_time_ns()
            for _ in range(TIMES):
                run()
            best[key] = min(best[key], (time.process_time_ns() - started) / TIMES)
    names = [codec.__name__ for codec in CODECS]
    print("| ns of CPU |", " | ".join(names), "|")
    print("|---|" + "---:|" * len(names))
    for what in dict.fromkeys(key[0] for key in work):
        print(f"| {what} |", " | ".join(f"{best[what, name]:.0f}" for name in names), "|")


if __name__ == "__main__":
    main()
