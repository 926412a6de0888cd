"""One measurement: load on a port for some seconds, and what the process behind it used meanwhile."""

import os
import re
import subprocess
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Result:
    """``rate`` in requests/s, ``cpu`` of the process in µs a request, ``p50`` and ``p99`` in ms, ``memory`` in MiB."""

    rate: float
    cpu: float
    p50: float
    p99: float
    memory: float
    errors: int


def wait_until_served(port: int, host: str, path: str, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Wait for the first 200. Raises RuntimeError where none comes or the process ends."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode}")
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path, headers={"Host": host})
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise RuntimeError("does not answer")


def load(pid: int, port: int, path: str, script: Path, *, connections: int, seconds: float) -> Result:
    """Send requests as ``script`` (Lua, for wrk) makes them."""
    before = _cpu(pid)
    output = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds:g}s",
            "--latency",
            "-s",
            script,
            f"http://127.0.0.1:{port}{path}",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    used = _cpu(pid) - before
    requests = int(_found(r"(\d+) requests in", output))
    errors = sum(int(number) for number in re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", output))
    return Result(
        rate=float(_found(r"Requests/sec:\s+([\d.]+)", output)),
        cpu=used / max(requests, 1) * 1e6,
        p50=_milliseconds(_found(r"\n +50% +(\S+)", output)),
        p99=_milliseconds(_found(r"\n +99% +(\S+)", output)),
        memory=_memory(pid),
        errors=errors,
    )


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has used, in user and kernel mode, with the children it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICK


def _memory(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"wrk said: {text}")
    return match[1]


def _milliseconds(text: str) -> float:
    for unit, factor in (("us", 1e-3), ("ms", 1.0), ("s", 1e3)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise RuntimeError(text)
