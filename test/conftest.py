"""Fixtures of the black-box and the fault suite. The tools behind them are in test/lib."""

import os
import subprocess

import pytest

from lib import proc
from lib.db import Db
from lib.server import BULKHEAD, WORKER, Server


def pytest_sessionstart():
    proc.become_subreaper()


def pytest_collection_finish(session):
    ours = any(part in ("blackbox", "escape", "fault", "publish", "sources") for item in session.items for part in item.path.parts)
    if not ours or session.config.option.collectonly:
        return
    for binary in (BULKHEAD, WORKER):
        if not binary.exists():
            pytest.exit(f"{binary} is missing: run `make build` first, or set BULKHEAD_BUILD", returncode=2)


@pytest.fixture(scope="session")
def items(tmp_path_factory):
    """A small, good database: see ITEMS in lib/db.py."""
    return Db(tmp_path_factory.mktemp("items")).make()


@pytest.fixture
def make_db(tmp_path):
    """`make_db()` gives a Db in a directory of this test."""
    return lambda name="data.duckdb": Db(tmp_path, name)


@pytest.fixture
def start(items):
    """`start(...)` gives a running Server of this test's own; each is ended, and checked to be gone, after the test."""
    servers = []

    def run(database=items, **how):
        servers.append(Server(database, **how))
        return servers[-1]

    yield run
    failures = []
    for s in servers:
        try:
            if s.process.returncode is None:
                s.stop()
            else:
                s.assert_nothing_left()
        except AssertionError as e:
            failures.append(str(e))
        finally:
            s.destroy()
    assert not failures, "\n".join(failures)


@pytest.fixture(scope="module")
def shared_server(items):
    with Server(items) as s:
        yield s


@pytest.fixture
def server(shared_server):
    """The module's server. Each test finds it at full strength and idle, and has to leave it able to become so again."""
    shared_server.settle()
    supervisor, front = shared_server.pid, shared_server.front_pid
    yield shared_server
    shared_server.settle()
    assert shared_server.pid == supervisor
    if not getattr(shared_server, "front_may_change", False):
        assert shared_server.front_pid == front, f"the front was replaced:\n{shared_server.log_text()}"


@pytest.fixture
def client(server):
    return server.client


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system that is full after a few megabytes."""
    where = tmp_path / "disk"
    where.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(where)], capture_output=True).returncode != 0:
        pytest.skip("no file system of our own can be mounted here")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)
