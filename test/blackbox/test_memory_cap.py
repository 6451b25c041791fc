"""The kernel's caps: each worker in a control group of its own where groups can be had, watched where they can't; who passes the cap dies alone."""

import os
import signal
import subprocess
import uuid

import pytest

from lib import cgroups, proc
from lib.client import new_id
from lib.ordinary import UID, Stage, become_ordinary
from lib.server import BULKHEAD, Server, clean_environment, run_cli
from lib.wait import PATIENCE, wait_until

CAP = 300_000_000
SET = {"pool.memory_limit": "150MB", "pool.memory_cap": f"{CAP}B", "pool.scratch_limit": "0", "limits.timeout": "60s", "limits.queue_timeout": "120s"}
# The engine counts little of this; each is more than the cap.
BOMBS = ["SELECT length(repeat(repeat('x', 1000), 700000))", "SELECT length(list_sort(list_transform(range(60000000), lambda x: -x))::VARCHAR)",
         "SELECT max(length(s)) FROM (SELECT repeat(repeat(i::VARCHAR, 1000), 100000) AS s FROM range(10, 20) t(i))"]
SOFT = "SELECT count(*) FROM (SELECT md5(i::VARCHAR) AS h, count(*) FROM range(20000000) t(i) GROUP BY h)"

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


def layer(server, name):
    return server.status()["sandbox"][name]


def has_groups(server):
    return layer(server, "memory_cap")["detail"].startswith("control group")


@pytest.fixture(scope="module", params=["yes", "no"])
def shared_server(items, request):
    with Server(items, set={**SET, "sandbox.cgroups": request.param}) as s:
        if request.param == "yes" and not has_groups(s):
            pytest.skip("no control groups to be had here")
        assert has_groups(s) == (request.param == "yes")
        yield s


class TestABomb:
    @pytest.mark.parametrize("sql", BOMBS)
    def test_ends_with_its_own_worker_and_nobody_elses(self, server, sql):
        before = server.metrics()
        everybody = {server.pid, server.front_pid, *server.worker_pids()}
        mine = new_id()
        problem = server.client.query(sql, headers={"Bulkhead-Query-Id": mine}).problem(507, "out_of_memory")
        limits = {"kernel": CAP, "engine": 150_000_000}
        assert problem["limit_bytes"] == limits[problem["stopped_by"]], problem
        assert server.client.rows("SELECT count(*) FROM items") == [[1000]]
        wait_until(lambda: any(proc.is_gone(p) for p in everybody), "the bomb's worker still lives")
        gone = {p for p in everybody if proc.is_gone(p)}
        assert len(gone) == 1 and not gone & {server.pid, server.front_pid}, "the bomb took somebody along"
        if problem["stopped_by"] == "kernel" and has_groups(server):  # without, the kernel may have refused memory, and the engine said so
            server.wait_metric("bulkhead_worker_deaths_total", before.get("bulkhead_worker_deaths_total", reason="memory") + 1, reason="memory")
            server.wait_log("worker_death", pid=gone.pop(), reason="memory", limit_bytes=CAP)
        for reason in ("crash", "exit"):
            assert server.metric("bulkhead_worker_deaths_total", reason=reason) == before.get("bulkhead_worker_deaths_total", reason=reason)
        query = server.client.get(f"/v1/queries/{mine}").json()
        assert (query["code"], query["stopped_by"]) == ("out_of_memory", problem["stopped_by"])

    def test_that_the_engine_counts_is_the_engines(self, server):
        problem = server.client.query(SOFT).problem(507, "out_of_memory")
        assert problem["stopped_by"] in ("engine", "kernel")

    def test_in_every_worker_at_once_leaves_the_front_alone(self, server):
        front = server.front_pid
        connections = [server.client.start_query(BOMBS[0]) for _ in range(6)]
        assert server.client.get("/healthz").status == 200
        for c in connections:
            c.read_response().problem(507, "out_of_memory")
            c.close()
        assert server.client.rows("SELECT 1") == [[1]]
        assert server.front_pid == front


def test_readyz_and_status_tell_the_caps(server):
    check = server.client.get("/readyz").json()["checks"]["limits"]
    means = layer(server, "memory_cap")["detail"]
    assert check["ok"] and f"memory_cap in force: {means}" in check["detail"], check
    limits = {row["name"]: row["value"] for row in server.status()["limits"]}
    assert limits["memory_cap_bytes"] == CAP and limits["scratch_limit_bytes"] == 0 and limits["cpu_cap"] == 1


def test_workers_are_the_kernels_first_choice_when_memory_is_short(server):
    for pid in server.worker_pids():
        with open(f"/proc/{pid}/oom_score_adj") as f:
            assert f.read().strip() == "1000"
    for pid in (server.pid, server.front_pid):
        with open(f"/proc/{pid}/oom_score_adj") as f:
            assert int(f.read()) < 1000


@pytest.fixture
def grouped(start, items):
    server = start(items, set={**SET, "pool.cpu_cap": 1})
    if not has_groups(server):
        pytest.skip("no control groups to be had here")
    return server


@pytest.mark.parametrize("cgroups_on", ["yes", "no"])
def test_a_commands_worker_is_capped_as_well(items, cgroups_on):
    r = run_cli("query", items, BOMBS[0], "--set", "pool.memory_limit=150MB", "--set", f"pool.memory_cap={CAP}B", "--set", f"sandbox.cgroups={cgroups_on}")
    assert r.returncode == 1 and r.stdout == "" and "(out_of_memory, the limit is 300000000 bytes, stopped by k" in r.stderr, r.stderr


@pytest.mark.parametrize("cgroups_on", ["yes", "no"])
def test_a_sessions_cap_is_its_own(start, items, cgroups_on):
    s = start(items, set={**SET, "session.max": 2, "session.memory_limit": "100MB", "session.memory_cap": "200MB", "sandbox.cgroups": cgroups_on})
    opened = s.client.request("POST", "/v1/sessions", b"{}", [("Content-Type", "application/json")])
    assert opened.status == 201, opened
    session = opened.json()["id"]
    assert s.client.query("SELECT 1", session=session).status == 200
    problem = s.client.query(BOMBS[0], session=session).problem(507, "out_of_memory")
    assert (problem["stopped_by"], problem["limit_bytes"]) == ("kernel", 200_000_000), problem
    again = s.client.query("SELECT 2", session=session).json()
    assert again["data"] == [[2]] and again["session_reset"] is True


class TestGroups:
    def test_a_bomb_is_told_as_one_even_when_the_front_sees_its_end_first(self, start, items):
        """The front has a worker killed whose link has ended. The supervisor, busy elsewhere, may kill it for that before it knows of the death."""
        s = start(items, set={**SET, "limits.term_grace": "0ms", "session.max": 1, "session.memory_limit": "100MB"})
        if not has_groups(s):
            pytest.skip("no control groups to be had here")
        s.settle()
        pool = s.worker_pids("pool")
        with s.client.connect() as opening:
            s.send_signal(signal.SIGSTOP)
            try:
                opening.send_request("POST", "/v1/sessions", b"{}", [("Content-Type", "application/json")])  # what the supervisor will read first
                assert s.client.get("/healthz").status == 200
                with s.client.start_query(BOMBS[0]) as c:
                    wait_until(lambda: any(not proc.is_alive(pid) for pid in pool), "the bomb's worker still lives")
                    assert s.client.rows("SELECT 1") == [[1]]  # the front has turned since
                    s.send_signal(signal.SIGCONT)
                    problem = c.read_response().problem(507, "out_of_memory")
            finally:
                s.send_signal(signal.SIGCONT)
            assert opening.read_response().status == 201
        assert problem["stopped_by"] == "kernel" and problem["limit_bytes"] == CAP, problem

    def test_each_worker_has_its_own_with_its_limits(self, grouped):
        grouped.settle()
        seen = set()
        for pid in grouped.worker_pids():
            group = cgroups.group_of(pid, "memory")
            seen.add(group)
            assert int(cgroups.read(group, "memory.max", "memory.limit_in_bytes")) == CAP // 4096 * 4096
            assert cgroups.read(group, "cgroup.procs").split() == [str(pid)]
        assert len(seen) == 3

    def test_they_go_with_the_worker_and_with_the_server(self, grouped):
        grouped.settle()
        group, pid = cgroups.group_of(grouped.pid, "memory"), grouped.pid
        worker = grouped.worker_pids("pool")[0]
        its = cgroups.group_of(worker, "memory")
        proc.kill(worker)
        wait_until(lambda: not its.exists(), "a dead worker's group is still there")
        grouped.stop()
        assert not cgroups.of_server(group, pid)

    @staticmethod
    def left_by_a_kill(server):
        """The groups that it leaves, once all its processes are gone."""
        group, pid = cgroups.group_of(server.pid, "memory"), server.pid
        everybody = server.note_processes()
        server.send_signal(signal.SIGKILL)
        server.wait_end()
        wait_until(lambda: proc.reap_strays() is not None and all(proc.is_gone(p) for p in everybody), "not all of the killed server's processes are gone")
        return cgroups.of_server(group, pid)

    def test_what_a_killed_server_left_is_removed_by_the_next(self, grouped, start, items):
        left = self.left_by_a_kill(grouped)
        assert left, "there was nothing to remove"
        other = start(items, set=SET)
        other.wait_log("groups_removed")
        assert not any(p.exists() for p in left)

    def test_what_is_still_dying_when_the_next_starts_is_removed_later(self, grouped, start, items):
        """A supervisor that is started again at once meets the last one's workers, which the kernel is still taking apart."""
        left = self.left_by_a_kill(grouped)
        slow = subprocess.Popen(["sleep", "600"])
        try:
            for directory in left:
                inside = [d for d in directory.iterdir() if d.is_dir() and d.name.startswith("w")]
                (inside[0] / "cgroup.procs").write_text(str(slow.pid))
            other = start(items, set=SET)
            assert other.client.rows("SELECT 1") == [[1]]
            assert all(p.exists() for p in left)
        finally:
            slow.kill()
            slow.wait()
        wait_until(lambda: not any(p.exists() for p in left), "a killed server's group is still there")
        wait_until(lambda: {str(p) for p in left} <= {e["directory"] for e in other.log_entries("groups_removed")}, "nobody told of it")

    def test_a_commands_is_removed_too(self, grouped, items):
        command = [str(BULKHEAD), "query", str(items), BOMBS[0], "--set", "pool.memory_limit=150MB", "--set", f"pool.memory_cap={CAP}B"]
        p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment())
        _, errors = p.communicate(timeout=60 * PATIENCE)
        assert p.returncode == 1 and "memory cap of 300000000 bytes" in errors, errors
        assert not cgroups.of_server(cgroups.group_of(os.getpid(), "memory"), p.pid)


@as_root
class TestAnOrdinaryUser:
    def test_is_told_that_memory_is_watched_and_its_bomb_dies_all_the_same(self, start, items):
        with Stage() as stage:
            s = start(stage.take(items.path), set={**SET, "pool.scratch_directory": str(stage.directory("scratch")), "spool.directory": str(stage.directory("spool"))},
                      binary=stage.binary, preexec=become_ordinary)
            memory = layer(s, "memory_cap")
            assert memory["state"] == "in force" and memory["detail"].startswith("watchdog: "), memory
            for bomb in BOMBS:
                s.client.query(bomb).problem(507, "out_of_memory")
                assert s.client.rows("SELECT count(*) FROM items") == [[1000]]
            s.stop()

    def test_uses_the_group_that_is_its_own(self, start, items):
        """As after systemd's Delegate=yes, or in a container."""
        where = cgroups.mount_of("memory")
        if not where or (where / "cgroup.controllers").exists():
            pytest.skip("no version 1 memory groups here")
        own = cgroups.group_of(os.getpid(), "memory") / f"bulkhead-test-{uuid.uuid4().hex[:8]}"
        own.mkdir()
        try:
            for p in (own, own / "cgroup.procs"):
                os.chown(p, UID, UID)

            def enter():
                (own / "cgroup.procs").write_text("0")
                become_ordinary()

            with Stage() as stage:
                s = start(stage.take(items.path), set={**SET, "spool.max_bytes": "0"}, binary=stage.binary, preexec=enter)
                assert layer(s, "memory_cap")["detail"].startswith("control group, version 1")
                problem = s.client.query(BOMBS[0]).problem(507, "out_of_memory")
                assert problem["stopped_by"] == "kernel" and problem["limit_bytes"] == CAP, problem
                s.stop()
                assert [p for p in own.iterdir() if p.is_dir()] == []
        finally:
            wait_until(lambda: not (own / "cgroup.procs").read_text(), "the group is not empty")
            own.rmdir()


class TestCores:
    @pytest.mark.parametrize("cgroups_on", ["yes", "no"])
    def test_a_worker_gets_so_many_and_no_more(self, start, items, cgroups_on):
        if (os.cpu_count() or 1) < 2:
            pytest.skip("there is one core only")
        s = start(items, set={"pool.threads": 4, "pool.cpu_cap": 1, "pool.workers": 1, "limits.timeout": "60s", "sandbox.cgroups": cgroups_on})
        assert layer(s, "cpu_cap")["state"] == "in force"
        pid = s.worker_pids("pool")[0]
        mine = new_id()
        with s.client.start_query("SELECT sum(sqrt(i::DOUBLE)) FROM range(100000000000) t(i)", headers={"Bulkhead-Query-Id": mine}) as c:
            s.wait_running(mine)
            share = proc_share(pid)
            assert share < 1.35, f"{share:.2f} cores"


def test_workers_groups_of_cores_weigh_as_little_as_their_niceness(start, items):
    """Between groups niceness counts for nothing: with the usual weight, workers beside the front would have as much as it."""
    s = start(items, set={"pool.cpu_cap": 1, "pool.workers": 1})
    layer(s, "cpu_cap")
    front, worker = (cgroups.group_of(pid, "cpu") for pid in (s.front_pid, s.worker_pids("pool")[0]))
    if worker is None or worker == front:
        pytest.skip("workers have no control groups of cores here")

    def weight(group):  # version 1: of 1024; version 2: of 100
        return int(cgroups.read(group, "cpu.shares", "cpu.weight"))

    if front.parent == worker.parent:  # version 2, and the server has a group of its own
        assert weight(front) >= 5 * weight(worker), (front, worker)
    else:
        usual = 1024 if (worker / "cpu.shares").exists() else 100
        assert weight(worker.parent) < 0.4 * usual, worker


def proc_share(pid, for_s=2.0):
    """How many cores it uses, by the kernel's clocks."""
    import time

    ticks, began = proc.cpu_ticks(pid), time.monotonic()
    wait_until(lambda: time.monotonic() - began > for_s, "time stands still")
    return (proc.cpu_ticks(pid) - ticks) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)


def test_a_layer_that_is_required_and_not_there_is_refused(items):
    s = Server(items, set={**SET, "pool.cpu_cap": 0, "sandbox.require": "cpu_cap"}, wait_ready=False)
    try:
        assert s.wait_end() == 2
        assert s.log_contains("cpu_cap") or any("cpu_cap" in line for line in s.noise), s.log_text()
    finally:
        s.destroy()
