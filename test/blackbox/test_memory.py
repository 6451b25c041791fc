"""Queries that want more memory than there is: the query fails, the server does not notice, the worker is replaced."""

import pytest

from lib import proc
from lib.client import new_id
from lib.server import Server
from lib.wait import wait_until

GROUPS = "SELECT count(*) FROM (SELECT md5(i::VARCHAR) AS h, count(*) FROM range(20000000) t(i) GROUP BY h)"
SORT = "SELECT max(h) FROM (SELECT md5(i::VARCHAR) AS h, row_number() OVER (ORDER BY md5(i::VARCHAR)) AS r FROM range(20000000) t(i))"
LIST = "SELECT len(list(i)) FROM range(100000000) t(i)"
STRING = "SELECT length(string_agg(repeat('x', 1000), '')) FROM range(1000000)"
# Not counted by the engine's own limit, but by the kernel's cap.
UNCOUNTED = "SELECT length(repeat('x', 300000000) || repeat('y', 300000000))"


@pytest.fixture(scope="module")
def shared_server(items):
    with Server(items, set={"pool.memory_limit": "64MB", "pool.memory_cap": "400MB", "pool.scratch_limit": "0", "limits.timeout": "60s"}) as s:
        yield s


@pytest.mark.parametrize("sql", [GROUPS, SORT, LIST, STRING])
def test_a_bomb_is_out_of_memory_and_its_worker_is_replaced(server, sql):
    before = server.metric("bulkhead_queries_total", code="out_of_memory")
    mine = new_id()
    c = server.client.start_query(sql, headers={"Bulkhead-Query-Id": mine})
    pid = server.wait_running(mine)["pid"]
    response = c.read_response()
    c.close()
    fields = response.problem(507, "out_of_memory")
    assert fields["limit_bytes"] == {"engine": 64_000_000, "kernel": 400_000_000}[fields["stopped_by"]], fields
    wait_until(lambda: proc.is_gone(pid), "the spent worker is still there")
    wait_until(lambda: pid not in server.worker_pids(), "the dead worker is still listed")
    assert server.client.rows("SELECT count(*) FROM items") == [[1000]]
    server.settle()
    assert server.metric("bulkhead_queries_total", code="out_of_memory") == before + 1


def test_what_the_engine_does_not_count_has_a_definite_end_too(server):
    server.client.query(UNCOUNTED, timeout="30s").problem(507, "out_of_memory")
    assert server.client.rows("SELECT 1") == [[1]]


def test_no_worker_serves_a_second_query_after_running_out_of_memory(server):
    """All workers in turn: each answer after a bomb comes from a process that never ran one."""
    for _ in range(4):
        used = set()
        mine = new_id()
        c = server.client.start_query(LIST, headers={"Bulkhead-Query-Id": mine})
        used.add(server.wait_running(mine)["pid"])
        c.read_response().problem(507, "out_of_memory")
        c.close()
        assert server.client.rows("SELECT 1") == [[1]]
        assert not used & {w["pid"] for w in server.workers() if w["state"] != "dying"}


def test_with_scratch_space_a_large_sort_spills_and_succeeds(start, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir(mode=0o777)
    scratch.chmod(0o777)
    server = start(set={"pool.memory_limit": "100MB", "pool.scratch_directory": str(scratch), "limits.timeout": "120s"})
    rows = server.client.rows("SELECT count(*), min(h), max(r) FROM (SELECT md5(i::VARCHAR) AS h, row_number() OVER (ORDER BY md5(i::VARCHAR)) AS r "
                              "FROM range(3000000) t(i))")
    assert rows[0][0] == rows[0][2] == 3_000_000
    server.stop()
    left = [p for p in scratch.rglob("*") if p.is_file()]
    assert not left, f"scratch files left: {left}"


def test_the_scratch_of_a_killed_worker_is_removed(start, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    scratch.chmod(0o777)
    server = start(set={"pool.memory_limit": "100MB", "pool.scratch_directory": str(scratch), "limits.timeout": "120s"})
    server.settle()

    def files():
        return [p for p in scratch.rglob("*") if p.is_file() and p.name != "lock"]  # the lock is the living server's own

    mine = new_id()
    c = server.client.start_query("SELECT max(h) FROM (SELECT md5(i::VARCHAR) AS h, row_number() OVER (ORDER BY md5(i::VARCHAR)) FROM range(30000000) t(i))",
                                  headers={"Bulkhead-Query-Id": mine})
    pid = server.wait_running(mine)["pid"]
    wait_until(files, "nothing was spilled", 60)
    proc.kill(pid)
    c.read_response().problem(502, "worker_crashed")
    c.close()
    server.settle()
    wait_until(lambda: not files(), lambda: f"left: {files()}")
