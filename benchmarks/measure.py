"""What a process and its children use, read from /proc, and the CPUs they run on."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_CPUS = sorted(os.sched_getaffinity(0))

#: Where the proxies run, and where everything else does: apart if there are two CPUs.
PROXY_CPUS, OTHER_CPUS = (set(_CPUS[:1]), set(_CPUS[1:])) if len(_CPUS) > 1 else (set(_CPUS), set(_CPUS))


def run_on(cpus: set[int]) -> None:
    """Keep this process, and what it starts, to ``cpus``."""
    os.sched_setaffinity(0, cpus)


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:  # grows as it is walked
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """CPU that a process and its children have used, in user and kernel mode; ended ones count when waited for."""
    return sum(sum(map(int, fields[11:15])) for fields in _stats(pid)) / _TICK


def resident(pid: int) -> float:
    """Memory of a process and its children in MiB, a share of what they share (PSS)."""
    return _sum(pid, "smaps_rollup", "Pss") / 1024


def peak(pid: int) -> float:
    """The most that was resident since :func:`reset_peak`, in MiB (RSS; one process each but for what forks)."""
    return _sum(pid, "status", "VmHWM") / 1024


def reset_peak(pid: int) -> None:
    """Begin a new peak at what is resident now (proc(5), clear_refs)."""
    for member in family(pid):
        with suppress(OSError):
            Path(f"/proc/{member}/clear_refs").write_text("5")


def _stats(pid: int) -> Iterator[list[str]]:
    for member in family(pid):
        with suppress(OSError):
            yield Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()


def _sum(pid: int, file: str, name: str) -> int:
    """A field that is given in kB, over the whole family."""
    total = 0
    for member in family(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{member}/{file}").read_text().splitlines():
                if line.startswith(name + ":"):
                    total += int(line.split()[1])
    return total
