"""Processes that serve on a port: waiting for them to come and to go."""

import socket
import subprocess
import time
from pathlib import Path

#: Seconds that a proxy may take to serve; 10,000 hosts take some a while.
PATIENCE = 90.0


class StartError(Exception):
    """A process does not serve."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_served(
    port: int, process: subprocess.Popen[bytes], log: Path | None = None, patience: float = PATIENCE
) -> None:
    """Wait for so many seconds until somebody listens. Raises StartError with the last word of the log if not."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines() if log else []
            raise StartError(f"ended at its start: {lines[-1] if lines else process.returncode}")
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise StartError(f"did not listen within {patience:.0f} s")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, and wait until it is gone."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
