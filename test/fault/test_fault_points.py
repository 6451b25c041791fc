"""Faults inside the worker at named points (BULKHEAD_FAULT=phase:action): only in builds with -DBULKHEAD_FAULTS=ON."""

import os
import signal

import pytest

from lib import proc
from lib.client import Cut
from lib.server import WORKER
from lib.wait import wait_until

pytestmark = [pytest.mark.fault, pytest.mark.skipif(b"BULKHEAD_FAULT" not in (WORKER.read_bytes() if WORKER.exists() else b""),
                                                    reason="this build has no fault points (cmake -DBULKHEAD_FAULTS=ON)")]

SIGNALS = {"segv": signal.SIGSEGV, "abort": signal.SIGABRT, "kill": signal.SIGKILL, "exit": 0}


@pytest.mark.parametrize("action", ["segv", "abort", "kill", "exit"])
@pytest.mark.parametrize("phase", ["run", "started", "rows", "answer"])
def test_a_death_in_the_middle_of_a_query(start, phase, action):
    """Every process's second query dies at that point: the client gets one 502, or its whole answer when that had gone."""
    server = start(env={"BULKHEAD_FAULT": f"{phase}:{action}:2"}, set={"pool.workers": 1})
    codes = []
    for i in range(6):
        response = server.client.query("SELECT $1 AS i", [i])
        codes.append(response.status)
        if response.status == 200:
            assert response.data == [[i]]
        else:
            fields = response.problem(502, "worker_crashed")
            if action != "exit":
                assert fields["signal"] in (SIGNALS[action].value, SIGNALS[action].name)
    assert 200 in codes
    server.wait_metric("bulkhead_worker_deaths_total", 1, reason="exit" if action == "exit" else "crash")
    if phase in ("run", "started", "rows"):
        assert 502 in codes


@pytest.mark.parametrize("action", ["stop", "hang"])
@pytest.mark.parametrize("phase", ["run", "started", "rows"])
def test_a_hang_in_the_middle_of_a_query_ends_by_the_ladder(start, phase, action):
    server = start(env={"BULKHEAD_FAULT": f"{phase}:{action}:2"}, set={"pool.workers": 1, "limits.timeout": "400ms"})
    by = ("kill",) if action == "stop" else ("term", "kill")
    hung = 0
    for _ in range(4):
        try:
            response = server.client.query("SELECT 1")
        except Cut as e:  # behind the first row the head leaves after 200 ms
            assert phase == "rows" and e.response.status == 200
            hung += 1
            continue
        if response.status != 200:
            assert response.problem(504, "timeout")["stopped_by"] in by
            hung += 1
    assert hung
    server.wait_metric("bulkhead_queries_total", hung, code="timeout")
    assert sum(server.metric("bulkhead_stops_total", by=b) for b in by) == hung


@pytest.mark.parametrize("action", ["segv", "exit", "kill"])
@pytest.mark.parametrize("phase", ["open", "ready"])
def test_workers_that_die_while_they_start_are_no_storm(start, phase, action):
    server = start(env={"BULKHEAD_FAULT": f"{phase}:{action}"})
    if phase == "open" or server.ready_workers == 0:
        assert server.client.get("/readyz").status == 503
        server.client.query("SELECT 1").problem(503, "unavailable")
    assert server.client.get("/healthz").status == 200


@pytest.mark.parametrize("phase, slice_ns", [("open", 100_000_000), ("ready", 100_000)])
def test_a_worker_has_a_long_slice_until_its_engine_is_open(start, phase, slice_ns):
    """Whoever wakes goes before it meanwhile; then it gives way as the others that serve."""
    if proc.slices_ns(os.getpid()) is None:
        pytest.skip("this kernel has no slices of ordinary processes")
    server = start(env={"BULKHEAD_FAULT": f"{phase}:hang"}, wait_ready=False)
    seen = set()

    def all_wait():
        pids = [s.pid for s in proc.descendants(server.pid) if s.name == "bulkhead-worker"]
        seen.clear()
        for pid in pids:
            seen.update(proc.slices_ns(pid) or [0])
        return len(pids) >= 2 and seen == {slice_ns}
    wait_until(all_wait, lambda: f"slices {seen}, not {slice_ns}")


@pytest.mark.parametrize("action", ["hang", "stop"])
def test_a_worker_that_hangs_while_it_starts_is_given_up(start, action):
    """It is ended after start_timeout, by force if need be; the next try waits, and callers learn why there is no worker."""
    server = start(env={"BULKHEAD_FAULT": f"open:{action}"}, set={"pool.start_timeout": "300ms"})
    assert server.ready_workers == 0
    server.wait_log("worker_start_failed", why="a worker was not ready within the start_timeout of 300 ms")
    server.wait_log("backoff")
    server.wait_metric("bulkhead_worker_deaths_total", 4, reason="start")
    deaths = server.log_entries("worker_death", reason="start")
    assert {e["stopped_by"] for e in deaths} == {"kill" if action == "stop" else "term"}
    assert "start_timeout" in server.client.query("SELECT 1").problem(503, "unavailable")["detail"]
    readyz = server.client.get("/readyz")
    assert readyz.status == 503 and "start_timeout" in readyz.text
    # The first three at once, then one at a time with a growing pause.
    assert server.metric("bulkhead_worker_spawns_total") < 12
