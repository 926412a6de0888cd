"""Large bodies: a backend that sends and takes them, and the same done by curl, both at a rate that can be held down.
It sends events as well, each with the time of its sending.

Nothing is kept of a body but its hash. A body is a run of pieces that are all different, so that none can be lost,
doubled or moved unseen.
"""

import hashlib
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO
from urllib.parse import parse_qs, urlsplit

from benchmarks.rows import Front

PIECE = 256 * 1024
_NOISE = random.Random(0).randbytes(PIECE - 8)
_CURL = {
    Front.HTTP1: "--http1.1",
    Front.HTTP1_TLS: "--http1.1",
    Front.HTTP2_TLS: "--http2",
    Front.H2C: "--http2-prior-knowledge",
}


def pieces(size: int) -> Iterator[bytes]:
    """A body of ``size`` bytes, which must be a multiple of :data:`PIECE`."""
    for number in range(size // PIECE):
        yield number.to_bytes(8, "big") + _NOISE


def body_hash(size: int) -> str:
    """The hash of a body."""
    return _hash(pieces(size))


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def at_rate(parts: Iterable[bytes], rate: float) -> Iterator[bytes]:
    """``parts`` at no more than ``rate`` MiB/s; 0 is as fast as it goes."""
    start, done = time.monotonic(), 0
    for part in parts:
        yield part
        done += len(part)
        if rate and (ahead := done / 2**20 / rate - (time.monotonic() - start)) > 0:
            time.sleep(ahead)


class Handler(BaseHTTPRequestHandler):
    """``GET /down?size=N&rate=R`` sends a body, ``POST /up?rate=R`` answers with the hash of the one it gets.

    ``GET /events?count=N`` sends as many server-sent events, 50 ms apart: nanoseconds of the system's monotonic clock.
    """

    protocol_version = "HTTP/1.1"
    rbufsize = PIECE

    def do_GET(self) -> None:
        if self.path.startswith("/events"):
            self._send_events(int(self._option("count")))
            return
        size, rate = int(self._option("size")), float(self._option("rate"))
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        for piece in at_rate(pieces(size), rate):
            self.wfile.write(piece)

    def _send_events(self, count: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(count):
            time.sleep(0.05)
            event = f"data: {time.monotonic_ns()}\n\n".encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def do_POST(self) -> None:
        answer = _hash(at_rate(self._body(), float(self._option("rate")))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _option(self, name: str) -> str:
        return parse_qs(urlsplit(self.path).query)[name][0]

    def _body(self) -> Iterator[bytes]:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            yield from self._read(int(self.headers["Content-Length"]))
            return
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            yield from self._read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers

    def _read(self, size: int) -> Iterator[bytes]:
        while size:
            part = self.rfile.read(min(size, PIECE))
            if not part:
                raise ConnectionError("the body ended before its time")
            size -= len(part)
            yield part


class Server(ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128


def download(front: Front, port: int, size: int, client_rate: float, backend_rate: float) -> str:
    """Have curl get a body, read it at ``client_rate``, and give its hash; in place of it what curl complained of."""
    process = _curl(front, port, f"/down?size={size}&rate={backend_rate}")
    assert process.stdout
    found = _hash(at_rate(_parts(process.stdout), client_rate))
    return _complaint(process) or found


def upload(front: Front, port: int, size: int, client_rate: float, backend_rate: float) -> str:
    """Have curl send a body, given to it at ``client_rate``, and give the hash that the backend answers with."""
    process = _curl(front, port, f"/up?rate={backend_rate}", "--request", "POST", "--upload-file", "-", "-H", "Expect:")
    assert process.stdin
    assert process.stdout
    try:
        for piece in at_rate(pieces(size), client_rate):
            process.stdin.write(piece)
        process.stdin.close()
    except BrokenPipeError:
        pass  # curl says why
    process.stdin = None
    found = process.stdout.read().decode()
    return _complaint(process) or found


def events(front: Front, port: int, count: int) -> list[float]:
    """Milliseconds that each of ``count`` events was on its way to curl."""
    process = _curl(front, port, f"/events?count={count}", "--no-buffer")
    assert process.stdout
    found = []
    while line := process.stdout.readline():
        if line.startswith(b"data: "):
            found.append((time.monotonic_ns() - int(line[6:])) / 1e6)
    if complaint := _complaint(process):
        raise ConnectionError(complaint)
    return found


def unable(front: Front, port: int) -> str:
    """Why ``front`` is not to be had; empty if it is."""
    process = _curl(
        front, port, f"/down?size={PIECE}&rate=0", "--output", "/dev/null", "--write-out", "%{http_version}"
    )
    assert process.stdout
    version = process.stdout.read().decode()
    expected = "1.1" if _CURL[front] == "--http1.1" else "2"
    return _complaint(process) or ("" if version == expected else f"answers in HTTP/{version}")


def _curl(front: Front, port: int, path: str, *options: str) -> subprocess.Popen[bytes]:
    scheme = "https" if front in (Front.HTTP1_TLS, Front.HTTP2_TLS) else "http"
    where = ["--connect-to", f"::127.0.0.1:{port}", f"{scheme}://host-0.test{path}"]
    command = ["curl", "-sS", "--fail", "--insecure", _CURL[front], *options, *where]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _parts(stream: IO[bytes]) -> Iterator[bytes]:
    while part := stream.read(PIECE):
        yield part


def _complaint(process: subprocess.Popen[bytes]) -> str:
    _, errors = process.communicate()
    return errors.decode().strip() if process.returncode else ""


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
