"""The project's programs as processes of their own, which end with their test whatever comes of it."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.helpers.waiting import wait_until

ROOT = Path(__file__).parents[2]

#: Those that run now, for whoever reports a failure.
RUNNING: set["Process"] = set()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int, address: str = "127.0.0.1") -> bool:
    """Whether somebody takes connections on ``port`` of ``address``."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


class Process:
    """A running program, with what it wrote so far."""

    def __init__(self, command: str, popen: subprocess.Popen[bytes], out: Path, err: Path, port: int) -> None:
        self.command = command
        self.port = port
        self.pid = popen.pid
        self._popen = popen
        self._out = out
        self._err = err

    @property
    def log(self) -> str:
        """What it wrote to standard error."""
        return self._err.read_text(errors="replace")

    @property
    def output(self) -> str:
        """What it wrote to standard output."""
        return self._out.read_text(errors="replace")

    @property
    def ended(self) -> bool:
        return self._popen.poll() is not None

    def wait_for(self, pattern: str, *, seconds: float = 15.0) -> re.Match[str]:
        """The first place of the log that the regular expression ``pattern`` fits, as soon as there is one."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.log)
            assert found or not self.ended, f"ended with {self._popen.returncode} and without {pattern!r} in its log"
            return found

        found = wait_until(look, seconds=seconds, what=f"{pattern!r} in the log")
        assert found
        return found

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def wait(self, seconds: float = 15.0) -> int:
        """The exit code, once it has ended by itself."""
        return self._popen.wait(seconds)


def peak_memory(running: Process) -> int:
    """The most bytes of memory that the process had so far."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{running.pid}/status").read_text())[0]) * 1024


@contextmanager
def process(
    arguments: Sequence[str], environment: Mapping[str, str], *, port: int = 0, folder: Path | None = None
) -> Iterator[Process]:
    """Run ``python -m`` with ``arguments``, in ``folder`` or one of its own, and end it and its children at the end.

    None of the ``MOONGATE_…`` variables around us reach it, only those of ``environment``.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MOONGATE_")}
    with tempfile.TemporaryDirectory(prefix="moongate-test-") as own:
        out, err = Path(own, "out"), Path(own, "err")
        with out.open("wb") as out_file, err.open("wb") as err_file:
            popen = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
                cwd=folder or own,
                env={**inherited, "PYTHONPATH": str(ROOT), **environment},
                start_new_session=True,
            )
        running = Process(" ".join(arguments), popen, out, err, port)
        RUNNING.add(running)
        try:
            yield running
        except BaseException as error:
            error.add_note(f"{running.command}\n{running.log}{running.output}")
            raise
        finally:
            RUNNING.remove(running)
            _end(popen)


def _end(popen: subprocess.Popen[bytes]) -> None:
    popen.terminate()
    try:
        popen.wait(10)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # It leads a session of its own: whatever is left in that, workers and reloaded ones, is ours as well.
        with suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait(10)


def settings(**names: str) -> dict[str, str]:
    """``MOONGATE_…`` variables by the names of the settings, and no admin port unless it is asked for."""
    return {f"MOONGATE_{name.upper()}": value for name, value in {"admin": "off", **names}.items()}


@contextmanager
def gateway(manifests: Path, *arguments: str, port: int | None = None, **names: str) -> Iterator[Process]:
    """``uvicorn app:gateway`` on a free port, ready to serve. ``names`` are those of :func:`settings`."""
    port = port or free_port()
    environment = settings(manifests=str(manifests), **names)
    with process(["uvicorn", "app:gateway", "--port", str(port), *arguments], environment, port=port) as running:
        running.wait_for("Application startup complete")
        wait_until(lambda: is_listening(port), what=f"somebody listens on port {port}")
        yield running


@contextmanager
def moongate(*arguments: str, **names: str) -> Iterator[Process]:
    """``moongate`` with ``arguments``; ``names`` are those of :func:`settings`."""
    environment = settings(**names)
    with process(["app", *arguments], environment) as running:
        yield running
