"""Bulkhead on other kernels, in virtual machines: each test of a guest is one test here. A guest is started once, when the first of its tests is
asked for, and tells outcomes as they come. A test that is skipped in a guest counts as failed, but for the reasons named here: a guest is there to
show what the host may not be able to. BULKHEAD_SOAK_MINUTES (make soak) takes all of it; otherwise a cut of it."""

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from lib import vm

SOAK = "BULKHEAD_SOAK_MINUTES" in os.environ
TEST_LIMIT_S = 900  # in a guest; no verdict about speed
CAPS = "test/blackbox/test_memory_cap.py"
GUEST = "test/vm/guest"


@dataclass(frozen=True)
class Kind:
    tests: tuple  # files or single tests, as pytest names them
    kernel: str = ""  # more boot parameters
    may_skip: tuple = ()  # words of a reason


KINDS = {
    "clock": Kind((f"{GUEST}/check_clock.py",)),
    # Control groups of version 2, and no others.
    "groups": Kind((f"{GUEST}/check_groups.py",)),
    # The list of security modules without Landlock; user namespaces are switched off there for some tests.
    "less": Kind((f"{GUEST}/check_less.py",), kernel="lsm=lockdown,yama,bpf"),
}
# What shows more of the same, and takes long.
SOAK_KINDS = {
    "more": Kind((CAPS, "test/blackbox/test_container.py", "test/blackbox/test_doctor.py"), may_skip=("no version 1 memory groups here",)),
}
ALL_KINDS = {**KINDS, **(SOAK_KINDS if SOAK else {})}


def collect(kind):
    """What pytest will run there."""
    r = subprocess.run([sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *kind.tests], cwd=vm.ROOT, capture_output=True, text=True)
    nodes = [line for line in r.stdout.splitlines() if "::" in line]
    assert r.returncode == 0 and nodes, r.stdout + r.stderr
    return nodes


def command(kind):
    patience = 1 if vm.has_kvm() else vm.PLAIN_PATIENCE
    soak = [f"BULKHEAD_SOAK_MINUTES={os.environ['BULKHEAD_SOAK_MINUTES']}"] if SOAK else []
    return ["env", *soak, f"BULKHEAD_BUILD={vm.BUILD}", f"BULKHEAD_GUEST_REPORT={vm.REPORT}", f"BULKHEAD_TEST_PATIENCE={patience}",
            str(vm.BUILD / "venv" / "bin" / "python"), "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "lib.guest_report",
            f"--timeout={TEST_LIMIT_S}", *kind.tests]


def pytest_generate_tests(metafunc):
    pairs = [(name, node) for name, kind in ALL_KINDS.items() for node in collect(kind)]
    metafunc.parametrize("name, node", pairs, ids=[f"{name}: {node.removeprefix('test/')}" for name, node in pairs])


@pytest.fixture(scope="module")
def guests(request, tmp_path_factory):
    """Gives the guest of a kind. While one is asked, the next one already runs: each is busy with one core for the most part."""
    order = list(dict.fromkeys(item.callspec.params["name"] for item in request.session.items if "name" in item.callspec.params))
    running = {}

    def of(name):
        at = order.index(name)
        for other in order[:at]:
            running[other].__exit__()
        for other in order[at:at + 2]:
            if other not in running:
                kind = ALL_KINDS[other]
                running[other] = vm.Guest(tmp_path_factory.mktemp(other), command(kind), kind.kernel).__enter__()
        return running[name]

    yield of
    for guest in running.values():
        guest.__exit__()


@pytest.mark.timeout(vm.LIFE_S + 60)
def test_in_a_guest(guests, name, node):
    assert not vm.missing(), f"no virtual machine can be started, so nothing is shown: {vm.missing()}"
    guest = guests(name)
    outcome = guest.outcome(node)
    assert outcome, f"the guest ended without an outcome of this test; its last words:\n{guest.tail()}"
    if outcome["outcome"] == "skipped" and any(words in outcome["why"] for words in ALL_KINDS[name].may_skip):
        pytest.skip(outcome["why"])
    assert outcome["outcome"] == "passed", outcome["why"]
