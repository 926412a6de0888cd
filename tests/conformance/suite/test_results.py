"""The suite's output is understood: which tests ended how, and why."""

from pathlib import Path

from tests.conformance.suite.results import Ended, Log, summary

_OUTPUT = """\
\x16=== RUN   TestConformance
\x16=== RUN   TestConformance/GatewayInvalid
\x16=== PAUSE TestConformance/GatewayInvalid
\x16=== RUN   TestConformance/HTTPRouteWeight
    apply.go:286: 2026-11-24T00:08:24.038993639Z: Creating weighted-backends HTTPRoute
\x16=== RUN   TestConformance/HTTPRouteWeight/Requests_should_be_spread
    weight.go:50: 2026-11-24T00:08:25.038993639Z: attempt 1
\x0f    httproute-weight.go:70:\x20
        \tError Trace:\t/go/httproute-weight.go:70
        \t            \t\t\t\t/go/suite.go:409
        \tError:      \tNot equal:\x20
        \t            \texpected: 70
        \t            \tactual  : 50
        \tTest:       \tTestConformance/HTTPRouteWeight/Requests_should_be_spread
        \tMessages:   \tweights are off\x0e
\x0f    httproute-weight.go:80: 2026-11-24T00:08:25.038993639Z: another\x0e
\x16--- FAIL: TestConformance/HTTPRouteWeight/Requests_should_be_spread (1.25s)
\x16=== NAME  TestConformance/HTTPRouteWeight
    apply.go:294: 2026-11-24T00:08:26.038993639Z: Deleting weighted-backends HTTPRoute
\x16--- FAIL: TestConformance/HTTPRouteWeight (2.50s)
\x16=== RUN   TestConformance/HTTPRouteMethodMatching
\x16--- SKIP: TestConformance/HTTPRouteMethodMatching (0.00s)
\x16=== CONT  TestConformance/GatewayInvalid
\x0f    gateway-invalid.go:55: 2026-11-24T00:08:26.038993639Z: no such Gateway\x0e
    apply.go:294: 2026-11-24T00:08:26.038993639Z: Deleting invalid Gateway
\x16--- FAIL: TestConformance/GatewayInvalid (0.75s)
\x16=== NAME  TestConformance
\x16--- FAIL: TestConformance (9.00s)
"""

_REPORT = """\
gatewayAPIChannel: experimental
gatewayAPIVersion: v1.7.0
implementation: {project: moongate, version: v0.1.0}
profiles:
- core:
    result: failure
    statistics: {Failed: 2, Passed: 38, Skipped: 0}
  extended:
    result: partial
    skippedTests: [HTTPRouteCORS]
    statistics: {Failed: 0, Passed: 44, Skipped: 1}
  name: GATEWAY-HTTP
"""


def _read() -> list[Ended | None]:
    log = Log()
    return [log.feed(line) for line in _OUTPUT.splitlines(keepends=True)]


def test_a_test_ends_with_its_result_once_its_subtests_have() -> None:
    ended = [one for one in _read() if one]
    assert [(one.name, one.result, one.seconds) for one in ended] == [
        ("HTTPRouteWeight", "FAIL", 2.5),
        ("HTTPRouteMethodMatching", "SKIP", 0.0),
        ("GatewayInvalid", "FAIL", 0.75),
    ]


def test_the_reason_is_the_first_fault_of_a_test_or_its_subtests() -> None:
    weight = next(one for one in _read() if one)
    assert weight.reason == "Requests_should_be_spread: Not equal: expected: 70 actual  : 50; weights are off"


def test_a_fault_need_not_be_an_assertion() -> None:
    *_, invalid = (one for one in _read() if one)
    assert invalid.reason == "no such Gateway"


def test_the_summary_has_the_counts_of_the_report_and_every_failed_test(tmp_path: Path) -> None:
    report = tmp_path / "report.yaml"
    report.write_text(_REPORT)
    assert list(summary([one for one in _read() if one], report, 9.0)) == [
        "3 tests in 9 s: 0 pass, 2 fail, 1 skip",
        "Gateway API v1.7.0 (experimental), moongate v0.1.0",
        "profile                     passed  failed skipped",
        "GATEWAY-HTTP    core            38       2       0  failure",
        "GATEWAY-HTTP    extended        44       0       1  partial",
        "  skipped: HTTPRouteCORS",
        "FAIL HTTPRouteWeight (2 s): Requests_should_be_spread: Not equal: expected: 70 actual  : 50; weights are off",
        "FAIL GatewayInvalid (1 s): no such Gateway",
    ]


def test_without_a_report_the_summary_says_so(tmp_path: Path) -> None:
    assert list(summary([], tmp_path / "report.yaml", 1.0)) == ["0 tests in 1 s: 0 pass, 0 fail, 0 skip", "no report"]
