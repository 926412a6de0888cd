"""Load on a port, with wrk, h2load or a client of our own, and the check that every answer was the right one."""

import contextlib
import http.client
import json
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import OTHER_CPUS, run_on
from benchmarks.rows import CONNECTIONS, IDLE, STREAMS, Front, Load, Row

ROOT = Path(__file__).parents[1]
#: Ends a client that holds connections, and gives what it says of them then.
End = Callable[[], dict[str, Any]]

UPLOADED = b"ok"  # what the backend answers to an upload
#: How long a generator may take beyond its time.
PATIENCE = 30.0
#: More than the head of an answer takes.
HEAD = 1024
#: TLS connections at a time: few, for a handshake costs our client more than any proxy.
SHAKING = 16

INSTALL = {"wrk": "apt-get install wrk", "h2load": "apt-get install nghttp2-client"}

_SCRIPT = """
local lookup, requests, count, at = wrk.lookup, {}, HOSTS, 0
function wrk.lookup(host, service)
  return lookup("127.0.0.1", service)
end
function init(args)
  for i = 0, count - 1 do
    requests[i] = wrk.format("METHOD", nil, {Host = "host-" .. i .. ".test"}, BODY)
  end
end
function request()
  at = (at + 7919) % count
  return requests[at]
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('\\n{"requests": %d, "microseconds": %d, "bytes": %d, "p50": %f, "p99": %f, "errors": %d}\\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


class WrongAnswerError(Exception):
    """Answers were not what they should be: no number is to be had."""


class NoAnswerError(WrongAnswerError):
    """There was none within the time."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a generator saw: right answers in so many seconds; latencies in ms."""

    requests: int
    seconds: float
    p50: float
    p99: float


def generate(row: Row, port: int, seconds: int, folder: Path) -> Answers:
    """Load for some ``seconds``. Raises WrongAnswerError."""
    match row.load, row.front:
        case Load.MESSAGES, _:
            return own("websocket", row, port, seconds)
        case Load.HANDSHAKES, _:
            return own("handshakes", row, port, seconds, SHAKING)
        case _, Front.HTTP1 | Front.HTTP1_TLS:
            return wrk(row, port, seconds, folder)
    return h2load(row, port, seconds, folder)


def wrk(row: Row, port: int, seconds: int, folder: Path, connections: int = CONNECTIONS) -> Answers:
    """HTTP/1.1."""
    upload = row.load is Load.UPLOAD
    script = folder / f"{row.load}-{row.hosts}.lua"
    body = f'string.rep("x", {row.size})' if upload else "nil"
    script.write_text(
        _SCRIPT.replace("METHOD", row.load).replace("BODY", body).replace("HOSTS", str(row.hosts)), encoding="utf-8"
    )
    scheme = "https" if row.front is Front.HTTP1_TLS else "http"
    url = f"{scheme}://host-0.test:{port}{row.path}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), url]
    output = _run(command, seconds)
    found = json.loads(output[output.rindex("\n{") :])
    size = len(UPLOADED) if upload else row.size
    requests = found["requests"]
    if not requests:
        raise NoAnswerError(f"no answer in {seconds} s")
    if found["errors"]:
        raise WrongAnswerError(f"{found['errors']} errors in {requests} answers")
    # wrk counts what it reads, heads included, and what was under way at the end.
    if not requests * size < found["bytes"] <= (requests + connections) * (size + HEAD):
        raise WrongAnswerError(f"{found['bytes'] / requests:.0f} bytes an answer")
    return Answers(requests, found["microseconds"] / 1e6, found["p50"] / 1e3, found["p99"] / 1e3)


def h2load(row: Row, port: int, seconds: int, folder: Path, requests: int = 0) -> Answers:
    """HTTP/2; a number of ``requests`` one after the other in place of a time."""
    log = folder / "h2load.log"
    log.unlink(missing_ok=True)
    amount = (
        ["-n", str(requests), "-c1", "-m1"]
        if requests
        else [f"-D{seconds}", "--warm-up-time=0", f"-c{CONNECTIONS // STREAMS}", f"-m{STREAMS}"]
    )
    scheme = "http" if row.front is Front.H2C else "https"
    command = ["h2load", "-t1", *amount, f"--connect-to=127.0.0.1:{port}", f"--log-file={log}"]
    if row.front is Front.HTTP2_TLS:
        command.append("--npn-list=h2")
    size = row.size
    if row.load is Load.UPLOAD:
        body = folder / str(row.size)
        body.write_bytes(b"x" * row.size)
        command += ["-d", str(body)]
        size = len(UPLOADED)
    output = _run([*command, f"{scheme}://host-0.test{row.path}"], seconds)
    spoken = re.search(r"Application protocol: (\S+)", output)
    if spoken is None or spoken[1] != ("h2c" if row.front is Front.H2C else "h2"):
        raise WrongAnswerError(f"{row.front} was not agreed upon" + (f", but {spoken[1]}" if spoken else ""))
    done, failed = (int(found) for found in _find(r" (\d+) succeeded, (\d+) failed", output))
    right, other = int(_find(r"(\d+) 2xx", output)[0]), sum(map(int, re.findall(r"(\d+) [345]xx", output)))
    if not done and not failed:
        raise NoAnswerError(f"no answer in {seconds} s")
    if failed or other or right < done:  # of some, only the head was there at the end
        raise WrongAnswerError(f"{done} answers, {right} with 2xx, {other} with others, {failed} failed")
    data = int(_find(r"\((\d+)\) data", output)[0])
    if not done * size <= data <= (done + CONNECTIONS) * size:
        raise WrongAnswerError(f"{data / done:.0f} bytes an answer")
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    if any(status != "200" for _, status, _ in lines):
        raise WrongAnswerError("not only 200")
    ranked = sorted(int(latency) for _, _, latency in lines)
    return Answers(done, seconds, ranked[len(ranked) // 2] / 1e3, ranked[len(ranked) * 99 // 100] / 1e3)


def own(kind: str, row: Row, port: int, seconds: float, connections: int = CONNECTIONS) -> Answers:
    """A client of :mod:`benchmarks.clients` that ends by itself."""
    output = _run([*client(kind, row.path, port, connections, row.size), "--seconds", str(seconds)], seconds)
    found: dict[str, Any] = json.loads(output)
    return Answers(**found)


@contextlib.contextmanager
def held(row: Row, port: int, connections: int = IDLE) -> Iterator[Answers]:
    """Idle connections, open until the end of the block. Raises WrongAnswerError if any did not stay open."""
    with holding(client("idle", row.path, port, connections, row.size)) as (found, end):
        yield Answers(**found)
        end()


@contextlib.contextmanager
def holding(command: list[str]) -> Iterator[tuple[dict[str, Any], End]]:
    """A client that holds connections: what it said when all were open, and a function that ends it and gives what it
    says of them then. Raises WrongAnswerError."""
    pin = partial(run_on, OTHER_CPUS)
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=pin, cwd=ROOT
    )

    def said() -> dict[str, Any]:
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            raise WrongAnswerError(_last_line(process.communicate()[1].decode()))
        return dict(json.loads(line))

    def end() -> dict[str, Any]:
        assert process.stdin
        process.stdin.close()
        process.stdin = None
        return said()

    try:
        yield said(), end
    finally:
        process.terminate()
        process.communicate()


def client(kind: str, path: str, port: int, connections: int, size: int) -> list[str]:
    """The command of a client of our own."""
    options = {"port": port, "host": "host-0.test", "path": path, "connections": connections, "size": size}
    named = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-m", "benchmarks.clients", kind, *named]


def probe(row: Row, port: int, folder: Path) -> None:
    """One answer, held against what it should be. Raises WrongAnswerError."""
    if row.front in (Front.HTTP2_TLS, Front.H2C):
        h2load(row, port, 1, folder, requests=1)
    elif row.load is Load.MESSAGES:
        own("websocket", row, port, 0.05, connections=1)
    else:
        _probe_http1(row, port)


def _probe_http1(row: Row, port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    if row.front is Front.HTTP1_TLS:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    upload = row.load is Load.UPLOAD
    with contextlib.closing(connection):
        try:
            body = b"x" * row.size if upload else None
            connection.request(row.load if upload else "GET", row.path, body, {"Host": f"host-{row.hosts - 1}.test"})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise WrongAnswerError(f"{type(error).__name__}: {error}") from None
    if answer.status != 200 or content != (UPLOADED if upload else b"x" * row.size):
        raise WrongAnswerError(f"status {answer.status} with {len(content)} bytes")


def missing() -> Iterator[str]:
    """What is not here that rows need, with the command that installs it."""
    for program, command in INSTALL.items():
        if shutil.which(program) is None:
            yield f"{program} is missing: {command}"


def _run(command: list[str], seconds: float) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            preexec_fn=partial(run_on, OTHER_CPUS),
            cwd=ROOT,
            timeout=seconds + PATIENCE,
            check=False,
        )
    except FileNotFoundError:
        raise WrongAnswerError(f"{command[0]} is missing: {INSTALL.get(command[0])}") from None
    except subprocess.TimeoutExpired:
        raise WrongAnswerError(f"no end in {seconds + PATIENCE:.0f} s") from None
    if done.returncode:
        raise WrongAnswerError(_last_line(done.stderr))
    return done.stdout


def _find(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    if match is None:
        raise WrongAnswerError(_last_line(text))
    return match.groups()


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["ended without a word"])[-1]
