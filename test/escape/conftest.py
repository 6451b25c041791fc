"""Servers with hostile workers, twice: as root, where every process has a user of its own, and as an ordinary user, where all share one."""

import os

import pytest

from lib.escape import PROGRAMS, Attacked, Home, ordinary_user


def pytest_collection_finish(session):
    if not session.config.option.collectonly and not (PROGRAMS / "bulkhead-worker").exists():
        pytest.exit(f"{PROGRAMS}/bulkhead-worker is missing: scripts/build build -- escape", returncode=2)


@pytest.fixture(scope="session")
def home():
    h = Home(ordinary_user())
    yield h
    h.close()


def pytest_generate_tests(metafunc):
    """Both modes, where they can be had; a module that says ONE_MODE tests what does not depend on the user."""
    if "hostile" in metafunc.fixturenames:
        modes = ["root", "user"] if os.getuid() == 0 else ["user"]
        metafunc.parametrize("hostile", modes[:1] if getattr(metafunc.module, "ONE_MODE", False) else modes, indirect=True, scope="module")


@pytest.fixture(scope="module")
def hostile(request, home):
    with Attacked(home, user=ordinary_user() if request.param == "user" else None) as s:
        s.mode = request.param
        # What the front opens when it first needs it is open before anybody counts.
        s.client.query("SELECT nonsense").problem(400, "sql_error")
        s.dies_of("null")
        yield s


@pytest.fixture
def attacked(hostile):
    """Before each test at full strength; after it the front is the same process, has as many descriptors, and answers."""
    before = hostile.note()
    yield hostile
    hostile.assert_unharmed(before)
