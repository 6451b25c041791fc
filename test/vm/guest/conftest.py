"""These tests set the machine's clock and switch parts of its kernel off: only in a machine that was started for it."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def in_a_guest():
    if "bulkhead.guest" not in Path("/proc/cmdline").read_text().split():
        pytest.exit("test/vm/guest is for virtual machines: run test/vm", returncode=2)
