"""Kernels that have less: one that was started without Landlock, and user namespaces switched off. It starts, says what is missing wherever that is
told, and refuses where it is required. (test/blackbox/test_sandbox.py plays the same with a filter over system calls.)"""

import json
import subprocess
from pathlib import Path

import pytest

from lib.escape import Home, becomes, ordinary_user
from lib.server import BUILD, Server, clean_environment
from lib.wait import PATIENCE

USER_NAMESPACES = Path("/proc/sys/user/max_user_namespaces")
LANDLOCK = {"landlock", "front_landlock"}
SMALL = {"pool.memory_limit": "64MB", "pool.threads": 1, "pool.workers": 1, "session.max": 0, "limits.interrupt_grace": "100ms", "limits.term_grace": "100ms",
         "spool.max_bytes": 0, "pool.scratch_limit": 0}


@pytest.fixture(scope="module")
def home():
    h = Home(ordinary_user(), programs=BUILD)
    yield h
    h.close()


@pytest.fixture(params=["root", "user"])
def mode(request):
    return request.param


@pytest.fixture
def no_user_namespaces():
    before = USER_NAMESPACES.read_text()
    USER_NAMESPACES.write_text("0")
    yield
    USER_NAMESPACES.write_text(before)


def become(mode):
    return becomes(ordinary_user()) if mode == "user" else None


def serve(home, mode, **how):
    return Server(home.database, binary=home.path / "bulkhead", preexec=become(mode), **how)


def missing(server):
    return {name for name, layer in server.status()["sandbox"].items() if layer["state"] == "missing"}


def doctor(home, mode, *argv):
    command = [str(home.path / "bulkhead"), "doctor", str(home.database), "--format", "json", *argv]
    for key, value in SMALL.items():
        command += ["--set", f"{key}={value}"]
    r = subprocess.run(command, capture_output=True, text=True, timeout=120 * PATIENCE, preexec_fn=become(mode), env=clean_environment())
    return r.returncode, {c["name"]: c for c in json.loads(r.stdout)["checks"]}


def assert_told(server, layers):
    """Everywhere where it belongs, and it serves."""
    assert server.client.rows("SELECT sum(i) FROM range(1000) t(i)") == [[499500]]
    server.settle()
    assert layers <= missing(server), server.status()["sandbox"]
    entry = server.log_entries("sandbox", level="warn")[-1]
    assert all(name in entry["missing"] for name in layers), entry
    told = server.client.get("/readyz").json()["checks"]["sandbox"]
    assert all(name in told["detail"] for name in layers), told


def assert_refused(home, mode, layer):
    s = serve(home, mode, set={"sandbox.require": layer}, wait_ready=False)
    try:
        assert s.wait_end() == 2
        assert [x for x in s.noise if f"sandbox.require: the layer {layer} is missing" in x], s.noise
        assert s.stdout_lines == []
        s.assert_nothing_left()
    finally:
        s.destroy()


class TestWithoutLandlock:
    def test_it_serves_and_says_so(self, home, mode):
        with serve(home, mode) as s:
            assert_told(s, LANDLOCK)
            assert missing(s) <= LANDLOCK | {"user", "front_user"}
            assert "switched off" in s.status()["sandbox"]["landlock"]["detail"]

    def test_the_doctor_says_so(self, home, mode):
        code, checks = doctor(home, mode)
        assert code == 0, {n: c for n, c in checks.items() if c["verdict"] == "FAIL"}
        assert {checks[f"layer {name}"]["verdict"] for name in LANDLOCK} == {"WARN"}
        assert all(checks[f"layer {name}"]["hint"] for name in LANDLOCK)
        # What else holds, holds: other users' files by the worker's own user, programs and sockets by the filter.
        for name in ("connect by TCP", "run a program", "make processes", "signal other processes", "become root", "reach more of the kernel"):
            assert checks[name]["verdict"] == "PASS", checks[name]

    @pytest.mark.parametrize("layer", sorted(LANDLOCK))
    def test_it_is_refused_where_it_is_required(self, home, mode, layer):
        assert_refused(home, mode, layer)


@pytest.mark.usefixtures("no_user_namespaces")
class TestWithoutUserNamespaces:
    NAMESPACES = {"user_namespace", "network_namespace", "ipc_namespace", "uts_namespace"}

    def test_an_ordinary_users_server_serves_and_says_so(self, home):
        with serve(home, "user") as s:
            assert_told(s, {"network_namespace", "ipc_namespace", "uts_namespace"})

    def test_roots_needs_none(self, home):
        with serve(home, "root") as s:
            s.settle()
            assert not missing(s) & self.NAMESPACES

    def test_the_doctor_says_so(self, home):
        code, checks = doctor(home, "user")
        assert code == 0, {n: c for n, c in checks.items() if c["verdict"] == "FAIL"}
        assert checks["layer network_namespace"]["verdict"] == "WARN"
        assert checks["connect by TCP"]["verdict"] == "PASS", "the filter holds it without a namespace"

    def test_it_is_refused_where_it_is_required(self, home):
        assert_refused(home, "user", "network_namespace")
