"""Plain `bulkhead serve` inside 1 GB of memory, 2 GB of swap and 2 CPUs, in a cgroup made for the test (version 1 or 2)."""

import errno
import json
import os
import subprocess
import uuid
from pathlib import Path

import pytest

from lib.server import BULKHEAD, clean_environment
from lib.wait import PATIENCE, wait_until

GIB = 1 << 30


class Cgroup:
    """A limited group for one process tree. Raises OSError where groups can't be made."""

    def __init__(self):
        name = f"bulkhead-test-{uuid.uuid4().hex[:8]}"
        self.paths = []
        try:
            self._make(name)
        except OSError:
            self.remove()
            raise

    def _make(self, name):
        if Path("/sys/fs/cgroup/cgroup.controllers").exists():
            path = self._directory(Path("/sys/fs/cgroup") / name)
            for controller, file, value in (("memory", "memory.max", GIB), ("memory", "memory.swap.max", 2 * GIB), ("cpu", "cpu.max", "200000 100000")):
                target = path / file
                if not target.exists():
                    Path("/sys/fs/cgroup/cgroup.subtree_control").write_text(f"+{controller}")
                target.write_text(str(value))
            return
        memory = self._directory(self._version_1("memory") / name)
        (memory / "memory.limit_in_bytes").write_text(str(GIB))
        swap = memory / "memory.memsw.limit_in_bytes"
        if swap.exists():
            swap.write_text(str(3 * GIB))
        cpu = self._directory(self._version_1("cpu") / name)
        (cpu / "cpu.cfs_period_us").write_text("100000")
        (cpu / "cpu.cfs_quota_us").write_text("200000")

    @staticmethod
    def _version_1(controller):
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, where, kind, options, *_ = line.split()
            if kind == "cgroup" and controller in options.split(","):
                return Path(where)
        raise OSError(f"no cgroup with the controller {controller} is mounted")

    def _directory(self, path):
        path.mkdir()
        self.paths.append(path)
        return path

    def enter(self):
        """In the child, before exec."""
        for path in self.paths:
            (path / "cgroup.procs").write_text("0")

    def read(self, *names):
        for path in self.paths:
            for name in names:
                if (path / name).exists():
                    return (path / name).read_text()
        return ""

    @staticmethod
    def _try_rmdir(path):
        try:
            path.rmdir()
        except OSError as e:
            if e.errno != errno.EBUSY:
                raise
            return False
        return True

    def members(self):
        return set((self.paths[0] / "cgroup.procs").read_text().split())

    def remove(self):
        for path in reversed(self.paths):
            for below in sorted((p for p in path.rglob("*") if p.is_dir()), reverse=True):
                below.rmdir()
            wait_until(lambda: self._try_rmdir(path), f"{path} is not empty")  # the last member's exit may not be booked yet
        self.paths = []


@pytest.fixture
def cgroup():
    """Tests name it before `start`, so that the server ends before its group is removed."""
    try:
        group = Cgroup()
    except OSError as e:
        pytest.skip(f"no cgroup can be made here ({e}): a container's limits can't be tested")
    yield group
    group.remove()


@pytest.mark.container
def test_it_starts_with_its_defaults_and_shows_the_arithmetic(cgroup, start, items):
    server = start(items, small=False, preexec=cgroup.enter)
    assert str(server.pid) in cgroup.members()
    assert server.ready_workers == min(2, os.cpu_count())
    assert server.client.rows("SELECT count(*) FROM items") == [[1000]]
    text = server.log_text(1000)
    # The whole: 1 GiB in bytes or in a unit. What is kept for supervisor and front: 128 MB.
    assert any(t in text for t in ("1073741824", "1GiB", "1024MiB", "1073.7", "1074MB", "1073MB")), text
    assert any(t in text for t in ("128MB", "128.0MB", "128000000", "134217728", "128MiB")), text
    limit = int(server.client.rows("SELECT replace(current_setting('memory_limit'), ' ', '')")[0][0].rstrip("iBKMGT.").split(".")[0])
    assert limit > 0
    # 2 workers, 1 spare: what they may use together, at the engine's limit, fits.
    for name in ("memory.events",):
        assert "oom_kill 0" in cgroup.read(name) or not cgroup.read(name)
    server.stop()


@pytest.mark.container
def test_workers_at_their_limit_fit_into_it(cgroup, start, items):
    server = start(items, small=False, preexec=cgroup.enter, set={"pool.scratch_limit": "0"})
    bomb = "SELECT count(*) FROM (SELECT md5(i::VARCHAR) AS h, count(*) FROM range(20000000) t(i) GROUP BY h)"
    connections = [server.client.start_query(bomb, timeout="60s") for _ in range(server.ready_workers)]
    for c in connections:
        response = c.read_response()
        assert response.status in (200, 502, 504, 507), response
        c.close()
    assert server.client.rows("SELECT count(*) FROM items") == [[1000]]
    assert server.is_up()


@pytest.mark.container
def test_the_doctor_compares_what_is_configured_with_the_container(cgroup, items):
    def doctor(*argv):
        command = [str(BULKHEAD), "doctor", str(items), "--set", "session.max=0", "--set", "pool.scratch_limit=0", "--format", "json", *argv]
        r = subprocess.run(command, capture_output=True, text=True, timeout=120 * PATIENCE, preexec_fn=cgroup.enter, env=clean_environment())
        return r.returncode, {c["name"]: c for c in json.loads(r.stdout)["checks"]}

    code, checks = doctor()
    assert code == 0 and checks["memory of the machine"]["verdict"] == "PASS"
    assert checks["memory of the machine"]["in_force"].startswith("1073.7MB (cgroup v"), checks["memory of the machine"]
    assert checks["memory cap"]["verdict"] in ("PASS", "WARN")  # a group below ours, or watched
    code, checks = doctor("--set", "pool.memory_cap=900MB")
    check = checks["memory of the machine"]
    assert code == 1 and check["verdict"] == "FAIL" and "does not fit" in check["configured"]
    assert "takes effect only after a redeploy" in check["hint"]
