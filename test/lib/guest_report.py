"""A pytest plug-in for the inside of a virtual machine: each test's outcome as a line of JSON, as soon as it is known, into BULKHEAD_GUEST_REPORT."""

import json
import os

_parts = {}


def pytest_runtest_logreport(report):
    """A test has three reports: the worst of them counts."""
    outcome, why, seconds = _parts.get(report.nodeid, ("passed", "", 0.0))
    if report.outcome != "passed" and outcome == "passed":
        outcome = report.outcome
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    _parts[report.nodeid] = (outcome, why, seconds + report.duration)
    if report.when != "teardown":
        return
    outcome, why, seconds = _parts.pop(report.nodeid)
    with open(os.environ["BULKHEAD_GUEST_REPORT"], "a", encoding="utf-8") as f:
        f.write(json.dumps({"node": report.nodeid, "outcome": outcome, "why": why, "seconds": seconds}) + "\n")
