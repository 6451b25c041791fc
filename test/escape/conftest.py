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


@pytest.fixture(scope="module", params=["root", "user"])
def hostile(request, home):
    if request.param == "root" and os.getuid() != 0:
        pytest.skip("needs root")
    with Attacked(home, user=ordinary_user() if request.param == "user" else None) as s:
        s.mode = request.param
        yield s


@pytest.fixture
def attacked(hostile):
    """Before each test at full strength; after it the front is the same process, has as many descriptors, and answers."""
    before = hostile.note()
    yield hostile
    hostile.assert_unharmed(before)
