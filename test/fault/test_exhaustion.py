"""A worker that takes memory or disk without end, by its own instructions and not by SQL: its cap ends it, its query has a definite answer, and
nobody else notices."""

import pytest

from lib import proc
from lib.wait import wait_until

pytestmark = pytest.mark.fault

CAP = 200_000_000
SET = {"pool.workers": 1, "pool.memory_limit": "100MB", "pool.memory_cap": str(CAP) + "B", "limits.timeout": "60s"}


def second_job(start, action, **settings):
    """Each worker's second job takes without end: the first one and the next worker's show that all is well."""
    server = start(set={**SET, **settings}, env={"BULKHEAD_FAULT": f"run:{action}:2"})
    assert server.client.rows("SELECT 1") == [[1]]
    doomed = server.worker_pids("pool")
    others = [p for p in server.worker_pids() if p not in doomed] + [server.pid, server.front_pid]
    response = server.client.query("SELECT 2")
    assert server.client.rows("SELECT 3") == [[3]]
    wait_until(lambda: all(proc.is_gone(p) for p in doomed), "the worker that took too much still lives")
    assert all(proc.is_alive(p) for p in others), "a process died that had done nothing"
    return server, response


@pytest.mark.parametrize("cgroups", ["yes", "no"])
def test_memory_without_end(start, cgroups):
    server, response = second_job(start, "eat", **{"sandbox.cgroups": cgroups})
    problem = response.problem(507, "out_of_memory")
    assert problem["stopped_by"] == "kernel" and problem["limit_bytes"] == CAP, problem
    server.wait_metric("bulkhead_worker_deaths_total", 1, reason="memory")
    server.wait_log("worker_death", reason="memory", limit_bytes=CAP)
    assert server.metric("bulkhead_queries_total", code="out_of_memory") == 1
    assert server.metric("bulkhead_worker_deaths_total", reason="crash") == 0


@pytest.mark.parametrize("cgroups", ["yes", "no"])
def test_memory_without_end_while_it_starts(start, cgroups, items):
    """No query pays for it, and the server says why it has no workers."""
    server = start(items, set={**SET, "sandbox.cgroups": cgroups}, env={"BULKHEAD_FAULT": "ready:eat"}, wait_ready=False)
    server.wait_log("worker_death", reason="memory")
    server.wait_log("backoff")


def test_disk_without_end(start, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir(mode=0o777)
    server, response = second_job(start, "fill", **{"pool.scratch_directory": str(scratch), "pool.scratch_limit": "50MB", "spool.max_bytes": "100MB"})
    problem = response.problem(507, "out_of_memory")
    assert problem["stopped_by"] == "kernel" and problem["limit_bytes"] == 50_000_000, problem
    server.wait_metric("bulkhead_worker_deaths_total", 1, reason="scratch")
    server.wait_log("scratch_limit_passed", limit_bytes=50_000_000)
    wait_until(lambda: not list(scratch.rglob("fill-*")), "its files are still there")
