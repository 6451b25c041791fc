"""Control groups of version 2, wherever the server stands in their tree: caps that hold to the page, cores, no way out, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lib import cgroups, proc
from lib.client import new_id
from lib.escape import Attacked, Home, becomes, ordinary_user
from lib.server import BULKHEAD, Server, clean_environment
from lib.wait import PATIENCE, wait_until

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "escape")]
import test_files_and_others  # noqa: E402
from places import PLACES, ROOT, Place, make_group, remove_group  # noqa: E402

CAP = 200_000_000
PAGE = 4096
LIMITS = {"pool.memory_limit": "100MB", "pool.memory_cap": f"{CAP}B", "pool.scratch_limit": "0", "limits.timeout": "300s", "limits.queue_timeout": "300s",
          "pool.threads": 2, "pool.cpu_cap": 1, "session.max": 0}
BOMB = "SELECT length(repeat(repeat('x', 1000), 700000))"
SOAK = "BULKHEAD_SOAK_MINUTES" in os.environ
BUSY = "SELECT sum(sqrt(i::DOUBLE)) FROM range(100000000000) t(i)"


@pytest.fixture(scope="module")
def place(request, items):
    with Place(request.param, items.path) as p:
        yield p


@pytest.fixture(scope="class")
def served(place):
    with Server(**place.how(**LIMITS)) as s:
        yield s
    assert place.groups() == [], "groups are left at the server's end"


def members(group):
    return {int(p) for p in (group / "cgroup.procs").read_text().split()}


def killed_in(group):
    """How many processes the kernel killed for memory, in the group and below."""
    return sum(int(line.split()[1]) for p in (group, *group.rglob("*")) if (p / "memory.events.local").exists()
               for line in (p / "memory.events.local").read_text().splitlines() if line.startswith("oom_kill "))


@pytest.mark.parametrize("place", PLACES, indirect=True, scope="module")
class TestInItsPlace:
    def test_caps_are_by_control_groups(self, served):
        layers = served.status()["sandbox"]
        for name in ("memory_cap", "cpu_cap"):
            assert layers[name]["state"] == "in force" and layers[name]["detail"].startswith("control group, version 2"), layers[name]

    def test_each_worker_has_its_own_with_its_limits(self, served):
        served.settle()
        groups = {pid: cgroups.group_of(pid, "memory") for pid in served.worker_pids()}
        assert len(set(groups.values())) == len(groups) >= 3
        for pid, group in groups.items():
            assert members(group) == {pid}
            assert int(cgroups.read(group, "memory.max")) == CAP // PAGE * PAGE
            assert cgroups.read(group, "cpu.max") == "100000 100000"
            assert cgroups.read(group, "memory.oom.group") == "1"
            assert int(cgroups.read(group, "pids.max")) > 0
            if (group / "memory.swap.max").exists():
                assert cgroups.read(group, "memory.swap.max") == "0"

    def test_the_front_weighs_more_than_a_worker(self, served, place):
        served.settle()
        front, worker = (cgroups.group_of(pid, "cpu") for pid in (served.front_pid, served.worker_pids("pool")[0]))
        if place.group == ROOT:  # beside the server there are whole groups: that of all workers weighs as little as niceness would
            assert front == ROOT and int(cgroups.read(worker.parent, "cpu.weight")) < 40
        else:
            assert int(cgroups.read(front, "cpu.weight")) >= 5 * int(cgroups.read(worker, "cpu.weight"))

    def test_a_bomb_ends_at_its_cap_and_takes_nobody_along(self, served, place):
        served.settle()
        everybody = {served.pid, served.front_pid, *served.worker_pids()}
        mine, most = new_id(), 0
        with served.client.start_query(BOMB, headers={"Bulkhead-Query-Id": mine}) as c:
            worker = served.wait_running(mine)["pid"]
            group = cgroups.group_of(worker, "memory")
            while proc.is_alive(worker):
                try:
                    most = max(most, int(cgroups.read(group, "memory.peak", "memory.current")))
                except (OSError, ValueError):
                    break
            problem = c.read_response().problem(507, "out_of_memory")
        assert (problem["stopped_by"], problem["limit_bytes"]) == ("kernel", CAP), problem
        assert CAP // 4 < most <= CAP, f"{most} of {CAP}"
        assert served.client.rows("SELECT count(*) FROM items") == [[1000]]
        wait_until(lambda: proc.is_gone(worker), "the bomb's worker still lives")
        assert {p for p in everybody if proc.is_gone(p)} == {worker}
        served.wait_log("worker_death", pid=worker, reason="memory", limit_bytes=CAP)
        wait_until(lambda: not group.exists(), "its group is still there")
        assert killed_in(place.group if place.group != ROOT else group.parent) == 0, "somebody else was killed too"

    def test_a_worker_gets_its_cores_and_no_more(self, served):
        mine = new_id()
        with served.client.start_query(BUSY, headers={"Bulkhead-Query-Id": mine}) as c:
            worker = served.wait_running(mine)["pid"]
            group = cgroups.group_of(worker, "cpu")

            def used():
                return {k: int(v) for k, v in (line.split() for line in (group / "cpu.stat").read_text().splitlines())}

            before, began = used(), os.times().elapsed
            wait_until(lambda: used()["nr_periods"] - before["nr_periods"] >= 20, "the group does not run")
            share = (used()["usage_usec"] - before["usage_usec"]) / 1e6 / (os.times().elapsed - began)
            assert share < 1.35, f"{share:.2f} cores"
            c.close()

    def test_a_dead_workers_group_goes_with_it(self, served):
        served.settle()
        worker = served.worker_pids("pool")[0]
        group = cgroups.group_of(worker, "memory")
        proc.kill(worker)
        wait_until(lambda: not group.exists(), "a dead worker's group is still there")
        served.settle()


def test_injected_code_stays_in_its_group_whoever_owns_the_files(items):
    """The server's user owns every file of the tree below the handed-over group, and its workers are that user."""
    user = ordinary_user()
    home = Home(user)
    try:
        with Place("own group", items.path) as place:
            for file in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
                os.chown(place.group / file, user.pw_uid, user.pw_gid)

            def enter():
                place.enter()
                becomes(user)()

            with Attacked(home, user, preexec=enter) as s:
                assert s.status()["sandbox"]["memory_cap"]["detail"].startswith("control group, version 2")
                s.settle()
                assert cgroups.group_of(s.worker_pids()[0], "memory").stat().st_uid == user.pw_uid
                test_files_and_others.TestFiles().test_it_stays_in_its_control_group(s)
    finally:
        home.close()


class TestAKilledServer:
    def kill(self, place):
        s = Server(**place.how(**LIMITS))
        everybody = {s.pid, *s.note_processes()}
        s.send_signal(signal.SIGKILL)
        s.wait_end()
        wait_until(lambda: proc.reap_strays() is not None and all(proc.is_gone(p) for p in everybody), "not all of the killed server's processes are gone")
        s.destroy()
        return place.groups()

    def test_leaves_groups_that_the_next_removes(self, items):
        with Place("root of the tree", items.path) as place:
            left = self.kill(place)
            assert left, "there was nothing to remove"
            with Server(**place.how(**LIMITS)) as other:
                other.wait_log("groups_removed")
                assert not any(p.exists() for p in left)
            assert place.groups() == []

    def test_leaves_its_group_empty_for_who_made_it(self, items):
        with Place("ordinary user", items.path) as place:
            assert self.kill(place)
            wait_until(lambda: "populated 0" in (place.group / "cgroup.events").read_text(), "somebody is left in the group")


@pytest.mark.parametrize("place", PLACES if SOAK else PLACES[1:2], indirect=True, scope="module")
def test_doctor_tries_it_and_finds_no_way_out(place):
    """As root every check passes."""
    command = [str(place.binary or BULKHEAD), "doctor", str(place.database), "--format", "json"]
    for key, value in {**LIMITS, **place.settings, "pool.workers": 1, "limits.interrupt_grace": "100ms", "limits.term_grace": "100ms", "spool.max_bytes": "0"}.items():
        command += ["--set", f"{key}={value}"]
    r = subprocess.run(command, capture_output=True, text=True, timeout=120 * PATIENCE, preexec_fn=place.enter, env=clean_environment())
    checks = {c["name"]: c for c in json.loads(r.stdout)["checks"]}
    assert r.returncode == 0, checks
    assert checks["memory cap"]["verdict"] == "PASS" and checks["memory cap"]["in_force"].startswith("control group, version 2"), checks["memory cap"]
    assert checks["leave its control group"]["verdict"] == "PASS", checks["leave its control group"]
    if place.name != "ordinary user":
        assert {n: c for n, c in checks.items() if c["verdict"] != "PASS"} == {}


class TestAContainer:
    """A limit two groups up, as a pod's around its containers."""

    @pytest.fixture
    def container(self):
        pod = make_group(ROOT / "pod")
        (pod / "memory.max").write_text(str(1 << 30))
        (pod / "cpu.max").write_text("100000 100000")
        inner = make_group(pod / "container")
        yield inner
        remove_group(pod)

    @staticmethod
    def entering(group):
        return lambda: (group / "cgroup.procs").write_text("0")

    def test_the_limit_around_it_is_what_there_is(self, container, items):
        with Server(items, small=False, preexec=self.entering(container)) as s:
            line = s.log_entries("sizing")[0]["arithmetic"]
            assert "limit 1073.7MB (cgroup v2" in line, line
            assert s.ready_workers == 1, "one core's worth of workers"
            assert s.client.rows("SELECT count(*) FROM items") == [[1000]]
            assert s.status()["sandbox"]["memory_cap"]["detail"].startswith("control group, version 2")

    def test_what_does_not_fit_into_it_is_refused_with_the_arithmetic(self, container, items):
        s = Server(items, set={"pool.memory_cap": "900MB", "session.max": 0}, preexec=self.entering(container), wait_ready=False)
        assert s.wait_end() == 2
        text = "\n".join(s.lines)
        assert "does not fit" in text and "limit 1073.7MB (cgroup v2 /pod memory.max)" in text and "overcommit = yes" in text, text
        s.destroy()

    def test_the_doctor_sees_it(self, container, items):
        command = [str(BULKHEAD), "doctor", str(items), "--set", "session.max=0", "--set", "pool.scratch_limit=0", "--format", "json", "--set", "pool.memory_cap=900MB"]
        r = subprocess.run(command, capture_output=True, text=True, timeout=120 * PATIENCE, preexec_fn=self.entering(container), env=clean_environment())
        check = {c["name"]: c for c in json.loads(r.stdout)["checks"]}["memory of the machine"]
        assert r.returncode == 1 and check["verdict"] == "FAIL" and check["in_force"].startswith("1073.7MB (cgroup v2"), check


class TestOthersInItsGroup:
    def test_memory_is_watched_then_and_the_server_says_so(self, items):
        """Version 2 gives no limits to children of a group with processes, and ours moves nobody else."""
        with Place("own group", items.path) as place:
            other = subprocess.Popen(["/bin/sleep", "1000"], preexec_fn=place.enter)
            try:
                # A limit on the server's group: workers may not go beside it, out of it.
                (place.group / "memory.max").write_text(str(2 << 30))
                with Server(**place.how(**{**LIMITS, "pool.cpu_cap": 0})) as s:
                    cap = s.status()["sandbox"]["memory_cap"]
                    assert cap["detail"].startswith("watchdog: ") and "other processes are in the server's group" in cap["detail"], cap
                    s.client.query(BOMB).problem(507, "out_of_memory")
                    assert s.client.rows("SELECT 1") == [[1]]
                    assert proc.is_alive(other.pid)
                assert place.groups() == []
            finally:
                other.kill()
                other.wait()
