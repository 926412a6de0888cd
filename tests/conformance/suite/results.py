"""What a run of the suite says: the tests as they end, and the summary of log and report."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_ROOT = "TestConformance/"
#: How a test announces that it goes on, and how it ends (`-test.v`).
_MARK = re.compile(r"=== (RUN|PAUSE|CONT|NAME)\s+(\S+)")
_END = re.compile(r"\s*--- (PASS|FAIL|SKIP): (\S+) \(([\d.]+)s\)")
#: Where and when a line was logged.
_PLACE = re.compile(r"^\s*([\w-]+\.go:\d+: )?(\d{4}-\d\d-\d\dT\S+: )?")
#: The parts of what an assertion says, and how their further lines begin.
_LABEL = re.compile(r"\s+(Error Trace|Error|Test|Messages):\s*(.*)")
_MORE = " " * 8 + "\t "
#: Characters of a reason.
_REASON = 300
#: What is kept of what each test has logged.
_LINES = 2000


class Ended(NamedTuple):
    """A test of the suite that has ended; ``reason`` is the first one, where it failed."""

    name: str
    result: str
    seconds: float
    reason: str = ""


class Log:
    """Follows the output of a test binary, which has to run with ``-test.v=test2json``: only so does a line belong to
    the test that was named last, and does each end stand where it happened."""

    def __init__(self) -> None:
        self._current = ""
        self._lines: dict[str, list[str]] = defaultdict(list)
        self._failed: list[str] = []
        self.ended: list[Ended] = []

    def feed(self, line: str) -> Ended | None:
        """Take a line; the test of the suite that ends with it."""
        line = line.lstrip("\x16").rstrip("\n")
        if mark := _MARK.match(line):
            self._current = mark[2]
        elif end := _END.match(line):
            return self._end(end[1], end[2], float(end[3]))
        elif len(lines := self._lines[self._current]) < _LINES:
            lines.append(line)
        return None

    def _end(self, result: str, name: str, seconds: float) -> Ended | None:
        if result == "FAIL":
            self._failed.append(name)
        test = name.removeprefix(_ROOT)
        if name == test or "/" in test:
            return None
        ended = Ended(test, result, seconds, self._reason(name) if result == "FAIL" else "")
        self.ended.append(ended)
        return ended

    def _reason(self, name: str) -> str:
        """The first thing that went wrong in a test or its subtests, which fail before it."""
        of_it = [failed for failed in self._failed if failed == name or failed.startswith(f"{name}/")]
        said = [text for failed in of_it if (text := _first_error(self._lines[failed]))]
        last = [lines[-1] for failed in of_it if (lines := self._lines[failed])]
        first = said or [_PLACE.sub("", line) for line in last]
        where = of_it[0].removeprefix(name).lstrip("/")
        return ": ".join(filter(None, (where, *first[:1])))


def _first_error(lines: list[str]) -> str:
    """What an assertion (testify) says after "Error:" and "Messages:", in the first block of those."""
    found: dict[str, list[str]] = {}
    label = ""
    for line in lines:
        if part := _LABEL.match(line):
            label = part[1]
            if label in found:
                break
            found[label] = [part[2].rstrip()]
        elif label and line.startswith(_MORE):
            found[label].append(line.strip())
        else:
            label = ""
    said = [" ".join(filter(None, found[part])) for part in ("Error", "Messages") if part in found]
    return "; ".join(said)[:_REASON]


def summary(ended: list[Ended], report: Path, seconds: float) -> Iterator[str]:
    """The lines of the summary: counts by profile, from the report, and what failed."""
    counts = {result: sum(test.result == result for test in ended) for result in ("PASS", "FAIL", "SKIP")}
    yield f"{len(ended)} tests in {seconds:.0f} s: " + ", ".join(f"{n} {r.lower()}" for r, n in counts.items())
    if report.exists():
        document: dict[str, Any] = yaml.safe_load(report.read_text())
        api = f"Gateway API {document['gatewayAPIVersion']} ({document['gatewayAPIChannel']})"
        yield f"{api}, {document['implementation']['project']} {document['implementation']['version']}"
        yield f"{'profile':16}{'':10}{'passed':>8}{'failed':>8}{'skipped':>8}"
        for profile in document.get("profiles") or []:
            for part in ("core", "extended"):
                if found := profile.get(part):
                    numbers = found["statistics"]
                    row = "".join(f"{numbers[name]:>8}" for name in ("Passed", "Failed", "Skipped"))
                    yield f"{profile['name']:16}{part:10}{row}  {found['result']}"
                    for test in found.get("skippedTests") or []:
                        yield f"  skipped: {test}"
    else:
        yield "no report"
    for test in ended:
        if test.result == "FAIL":
            yield f"FAIL {test.name} ({test.seconds:.0f} s): {test.reason}"
