"""What a run of the suite says: the tests as they end, and the summary of log and report."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_ROOT = "TestConformance/"
#: How a test announces that it goes on, and how it ends (`-test.v`).
_MARK = re.compile(r"=== (RUN|PAUSE|CONT|NAME)\s+(\S+)")
_END = re.compile(r"\s*--- (PASS|FAIL|SKIP): (\S+) \(([\d.]+)s\)")
#: What stands around a fault that a test reports, on one line or several.
_FAULT, _END_OF_FAULT = "\x0f", "\x0e"
#: Where and when a line was logged.
_PLACE = re.compile(r"^\s*([\w-]+\.go:\d+: )?(\d{4}-\d\d-\d\dT\S+: )?")
#: The parts of what an assertion says, and how their further lines begin.
_LABEL = re.compile(r"\s+(Error Trace|Error|Test|Messages):\s*(.*)")
_MORE = " " * 8 + "\t "
#: Characters of a reason, and names in a list.
_REASON, _NAMES = 300, 10


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
        # The lines of the first fault of each test that reports one, and whether its end is still to come.
        self._faults: dict[str, list[str]] = {}
        self._open = False
        self.ended: list[Ended] = []

    def feed(self, line: str) -> Ended | None:
        """Take a line; the test of the suite that ends with it."""
        line = line.lstrip("\x16").rstrip("\n")
        if mark := _MARK.match(line):
            self._current = mark[2]
        elif end := _END.match(line):
            return self._end(end[1], end[2], float(end[3]))
        else:
            self._fault(line)
        return None

    def _fault(self, line: str) -> None:
        begins = line.startswith(_FAULT)
        if begins and self._current not in self._faults:
            self._faults[self._current] = []
            self._open = True
        if self._open:
            self._faults[self._current].append(line.strip(_FAULT + _END_OF_FAULT))
        if line.endswith(_END_OF_FAULT):
            self._open = False

    def _end(self, result: str, name: str, seconds: float) -> Ended | None:
        test = name.removeprefix(_ROOT)
        if name == test or "/" in test:
            return None
        ended = Ended(test, result, seconds, self._reason(name) if result == "FAIL" else "")
        self.ended.append(ended)
        return ended

    def _reason(self, name: str) -> str:
        """The first fault of a test or its subtests."""
        for of, lines in self._faults.items():
            if of == name or of.startswith(f"{name}/"):
                where = of.removeprefix(name).lstrip("/")
                what = _assertion(lines) or _PLACE.sub("", lines[0])
                return ": ".join(filter(None, (where, what[:_REASON])))
        return ""


def _assertion(lines: list[str]) -> str:
    """What an assertion (testify) says after "Error:" and "Messages:"."""
    found: dict[str, list[str]] = {}
    label = ""
    for line in lines:
        if part := _LABEL.match(line):
            label = part[1]
            found[label] = [part[2].rstrip()]
        elif label and line.startswith(_MORE):
            found[label].append(line.strip())
    said = [" ".join(filter(None, found[part])) for part in ("Error", "Messages") if part in found]
    return "; ".join(said)


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
                    if skipped := found.get("skippedTests"):
                        more = f" and {len(skipped) - _NAMES} more" if len(skipped) > _NAMES else ""
                        yield f"  skipped: {', '.join(skipped[:_NAMES])}{more}"
    else:
        yield "no report"
    for test in ended:
        if test.result == "FAIL":
            yield f"FAIL {test.name} ({test.seconds:.0f} s): {test.reason}"
