"""h2spec, the conformance test of HTTP/2 servers: found, or built where Go is there."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

#: Where to build it from, and what it says of itself.
MODULE = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"
#: Where Go is where it is not in PATH.
_GO = "/usr/local/go/bin/go"


def find(cache: Path) -> Path | None:
    """The program: the one in PATH, else one that is built into ``cache`` with Go; None where there is neither."""
    if found := shutil.which("h2spec"):
        return Path(found)
    built = cache / "h2spec"
    if built.exists():
        return built
    go = shutil.which("go") or (_GO if os.path.exists(_GO) else None)
    if go is None:
        return None
    cache.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOBIN": str(cache)}
    done = subprocess.run([go, "install", MODULE], env=environment, capture_output=True, timeout=600)
    return built if done.returncode == 0 else None


@dataclass(frozen=True)
class Result:
    """How many tests there were, and the names of those that failed."""

    tests: int
    failed: list[str]


def run(program: Path, port: int, *options: str) -> Result:
    """All of h2spec against a server on ``port`` of this machine."""
    done = subprocess.run(
        [program, "-h", "127.0.0.1", "-p", str(port), "-o", "5", *options], capture_output=True, text=True, timeout=300
    )
    summary = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
    assert summary, done.stdout + done.stderr
    # Each failed test is named once where it runs, and once more in the summary.
    names = dict.fromkeys(re.findall(r"× (.*?)$", done.stdout, re.MULTILINE))
    failed = [re.sub(r"^\d+: ", "", name).strip() for name in names]
    assert len(failed) == int(summary[4]), done.stdout
    assert summary[3] == "0", done.stdout
    return Result(int(summary[1]), failed)
