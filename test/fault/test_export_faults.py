"""An export's directory that hangs, and a process for it that dies: one export fails, the supervisor goes on keeping deadlines."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib import proc
from lib.asynchronous import submit, wait_over
from lib.client import new_id
from lib.server import BULKHEAD
from lib.sql import CROSS_JOIN
from lib.wait import wait_until

pytestmark = [pytest.mark.fault, pytest.mark.skipif(b"BULKHEAD_FAULT" not in (BULKHEAD.read_bytes() if BULKHEAD.exists() else b""),
                                                    reason="this build has no fault points (cmake -DBULKHEAD_FAULTS=ON)")]


@pytest.fixture
def drop(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path


def serve(start, drop, fault, **settings):
    return start(env={"BULKHEAD_FAULT": fault}, set={"source.drop.type": "files", "source.drop.path": drop, "source.drop.writable_prefix": "out", **settings})


DESTINATION = {"source": "drop", "path": "out/a.csv"}


@pytest.fixture
def thread():
    """Runs one call beside the test; result() is its value."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda call, *args, **how: pool.submit(call, *args, **how)


def export(server, query_id):
    """The answer to the request, which waits for the directory to be opened."""
    return submit(server.client, "SELECT 42 AS a", destination=DESTINATION, format="csv", headers={"Bulkhead-Query-Id": query_id})


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None


def steps_of(server):
    """The supervisor's children that are copies of it, and no other program."""
    own = command_line(server.pid)
    return [s.pid for s in proc.descendants(server.pid) if s.ppid == server.pid and proc.is_alive(s.pid) and command_line(s.pid) == own]


def test_a_directory_that_hangs_fails_the_export_and_nothing_else(start, drop, thread):
    server = serve(start, drop, "export_open:hang", **{"limits.timeout": "300ms"})
    waits = thread(export, server, new_id())
    wait_until(lambda: steps_of(server), "the step's process")
    for _ in range(3):
        server.client.query(CROSS_JOIN).problem(504, "timeout")
        assert server.client.query("SELECT 1").data == [[1]]
    assert "does not answer" in waits.result().problem(503, "unavailable")["detail"]
    server.wait_log("export_stuck", level="warn", step="open")
    wait_until(lambda: not steps_of(server), "the step's end")
    assert list((drop / "out").iterdir()) == []


def test_whose_export_is_cancelled_leaves_no_process(start, drop, thread):
    server, query_id = serve(start, drop, "export_open:hang"), new_id()
    waits = thread(export, server, query_id)
    wait_until(lambda: steps_of(server), "the step's process")
    assert server.client.request("DELETE", f"/v1/queries/{query_id}").status == 202
    waits.result().problem(499, "cancelled")
    wait_until(lambda: not steps_of(server), "the step's end")
    assert not server.log_entries("export_stuck")


def test_the_supervisors_end_is_the_steps_end(start, drop, thread):
    server = serve(start, drop, "export_open:hang")
    waits = thread(export, server, new_id())
    wait_until(lambda: steps_of(server), "the step's process")
    (pid,) = steps_of(server)
    server.send_signal(signal.SIGKILL)
    server.wait_end()
    wait_until(lambda: not proc.is_alive(pid), "the step's end")
    assert waits.exception() is not None


@pytest.mark.parametrize(("action", "status", "code"), [("segv", 503, "unavailable"), ("exit", 500, "internal")])
def test_a_step_that_dies_fails_its_export(start, drop, action, status, code):
    server = serve(start, drop, f"export_open:{action}")
    export(server, new_id()).problem(status, code)
    assert list((drop / "out").iterdir()) == []
    server = serve(start, drop, f"export_name:{action}")
    query_id = new_id()
    assert export(server, query_id).status == 202
    assert wait_over(server.client, query_id)["code"] == code
    assert list((drop / "out").iterdir()) == []
    assert server.client.query("SELECT 1").data == [[1]]
