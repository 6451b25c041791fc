"""The layers of the sandbox: what the server says of them is what the kernel says, as root and as an ordinary user; what is missing is told, and refused
where it is required. What holds against code in a worker: test/escape."""

import errno
import os
import re

import pytest

from lib.escape import Home, becomes, ordinary_user
from lib.older_kernel import install
from lib.server import BUILD, Server

FRONT = ["front_user", "front_capabilities", "front_no_new_privs", "front_not_dumpable", "front_landlock", "front_seccomp"]
WORKER = ["lifeline", "rlimits", "oom_score", "user", "capabilities", "no_new_privs", "not_dumpable", "network_namespace", "ipc_namespace", "uts_namespace", "landlock", "seccomp",
          "no_exec_memory"]
NO_SECCOMP = ("seccomp", "prctl:22")


@pytest.fixture(scope="module")
def home():
    h = Home(ordinary_user(), programs=BUILD)
    yield h
    h.close()


@pytest.fixture(scope="module", params=["root", "user"])
def mode(request):
    if request.param == "root" and os.getuid() != 0:
        pytest.skip("needs root")
    return request.param


def serve(home, mode, *missing, error=errno.ENOSYS, **how):
    become = becomes(ordinary_user()) if mode == "user" else None

    def prepare():
        if become:
            become()
        if missing:
            install(*missing, errno=error)
    return Server(home.database, binary=home.path / "bulkhead", preexec=prepare, **how)


@pytest.fixture(scope="module")
def there(home, mode):
    with serve(home, mode, env={"SECRET_OF_THE_OPERATOR": "s3cret", "LD_PRELOAD": "", "BULKHEAD_LOG_SQL": "off"}) as s:
        s.mode = mode
        yield s


def status_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f)


def state(server, name):
    return server.status()["sandbox"][name]["state"]


class TestWhatIsReported:
    def test_every_layer_that_can_be_had_is_in_force(self, there):
        layers = there.status()["sandbox"]
        missing = {name: layers[name]["detail"] for name in WORKER + FRONT if layers[name]["state"] != "in force"}
        if there.mode == "root":
            assert missing == {} and layers["user_namespace"]["state"] == "off"
        else:
            assert missing.keys() == {"user", "front_user"} and "not started as root" in missing["user"]
            assert layers["user_namespace"]["state"] == "in force"

    def test_the_log_says_it_once(self, there):
        entries = there.log_entries("sandbox")
        assert entries and entries[-1]["level"] == ("info" if not entries[-1]["missing"] else "warn")
        assert "landlock" in entries[-1]["in_force"] and len(entries) <= 3

    def test_readyz_tells(self, there):
        check = there.client.get("/readyz").json()["checks"]["sandbox"]
        assert check["ok"] and re.match(r"\d+ in force", check["detail"])


class TestWhatTheKernelSays:
    def pids(self, server):
        server.settle()
        return {"front": server.front_pid, **{f"worker {pid}": pid for pid in server.worker_pids()}}

    def test_of_rights(self, there):
        for who, pid in self.pids(there).items():
            s = status_of(pid)
            assert s["NoNewPrivs"] == "1" and s["Seccomp"] == "2", who
            assert int(s.get("Seccomp_filters", "2")) >= (2 if who != "front" else 1), who
            assert {int(s[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}, who
            if there.mode == "root":
                assert int(s["CapBnd"], 16) == 0, who
                assert "0" not in s["Uid"].split() and "0" not in s["Gid"].split() and not s["Groups"].split(), who
            assert all(status_of(f"{pid}/task/{t}")["Seccomp"] == "2" for t in os.listdir(f"/proc/{pid}/task")), who

    def test_of_users(self, there):
        users = [status_of(pid)["Uid"].split()[0] for pid in self.pids(there).values()]
        assert len(set(users)) == (len(users) if there.mode == "root" else 1)

    def test_of_memory_and_core_files(self, there):
        for who, pid in self.pids(there).items():
            assert os.stat(f"/proc/{pid}/mem").st_uid == 0 or os.getuid() != 0, f"{who} is dumpable"
            with open(f"/proc/{pid}/limits") as f:
                limits = {line[:26].strip(): line[26:].split()[:2] for line in f}
            assert limits["Max core file size"] == ["0", "0"], who
            if who != "front":
                assert int(limits["Max open files"][1]) <= 256 and limits["Max locked memory"] == ["0", "0"] and limits["Max file size"][1] != "unlimited"
        for pid in there.worker_pids():
            with open(f"/proc/{pid}/oom_score_adj") as f:
                assert f.read().strip() == "1000"

    def test_of_namespaces(self, there):
        there.settle()
        if os.getuid() != 0:
            pytest.skip("links of processes that are not dumpable are root's to read")
        ours = {name: os.readlink(f"/proc/self/ns/{name}") for name in ("net", "ipc", "uts", "user")}
        for pid in there.worker_pids():
            for name, link in ours.items():
                same = os.readlink(f"/proc/{pid}/ns/{name}") == link
                assert same == (name == "user" and there.mode == "root"), name
            with open(f"/proc/{pid}/net/dev") as f:
                assert [line.split(":")[0].strip() for line in f if ":" in line] == ["lo"]

    def test_of_mappings(self, there):
        if os.getuid() != 0:
            pytest.skip("not root")
        for who, pid in self.pids(there).items():
            with open(f"/proc/{pid}/maps") as f:
                assert [line for line in f if line.split()[1].startswith("rwx") or line.split()[1][1:3] == "wx"] == [], who

    def test_of_environments(self, there):
        if os.getuid() != 0:
            pytest.skip("not root")
        for who, pid in self.pids(there).items():
            with open(f"/proc/{pid}/environ", "rb") as f:
                names = {v.split(b"=")[0].decode() for v in f.read().split(b"\0") if v}
            assert names <= {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "SSL_CERT_FILE"}, (who, names)
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                assert b"s3cret" not in f.read()

    def test_of_descriptors(self, there):
        """A worker has its link, pipes, its database, eventfds, and no socket besides."""
        if os.getuid() != 0:
            pytest.skip("not root")
        there.settle()
        for pid in there.worker_pids():
            fds = {int(n): os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}
            assert fds[0] == "/dev/null" and fds[1].startswith("pipe:") and fds[2].startswith("pipe:")
            assert [n for n, to in fds.items() if to.startswith("socket:")] == [3]
            files = {to for to in fds.values() if to.startswith("/")} - {"/dev/null", str(there.database)}
            assert not files, files
            assert not [to for to in fds.values() if "memfd" in to], "the shared region's descriptor is still there"


MISSING = [
    (("landlock_create_ruleset",), errno.ENOSYS, {"landlock", "front_landlock"}, "the kernel has none"),
    (("landlock_create_ruleset",), errno.EOPNOTSUPP, {"landlock", "front_landlock"}, "switched off"),
    (("unshare",), errno.EPERM, {"network_namespace", "ipc_namespace", "uts_namespace"}, "Operation not permitted"),
    (("unshare",), errno.ENOSYS, {"network_namespace", "ipc_namespace", "uts_namespace"}, "Function not implemented"),
    (NO_SECCOMP, errno.EINVAL, {"seccomp", "front_seccomp", "no_exec_memory"}, "Invalid argument"),
]


@pytest.mark.parametrize("calls,error,layers,why", MISSING, ids=[f"{row[0][0]}-{errno.errorcode[row[1]]}" for row in MISSING])
class TestWhatIsMissing:
    def test_is_told_and_no_reason_not_to_serve(self, home, mode, calls, error, layers, why):
        with serve(home, mode, *calls, error=error) as s:
            assert s.client.rows("SELECT sum(i) FROM range(1000) t(i)") == [[499500]]
            s.settle()
            told = s.status()["sandbox"]
            assert {told[name]["state"] for name in layers} == {"missing"}, told
            assert any(why in told[name]["detail"] for name in layers), told
            in_force = [name for name in ("lifeline", "no_new_privs", "not_dumpable", "capabilities", "front_capabilities") if told[name]["state"] == "in force"]
            assert len(in_force) == 5, told
            (entry,) = s.log_entries("sandbox", level="warn")[-1:]
            assert all(name in entry["missing"] for name in layers)
            assert all(name in s.client.get("/readyz").json()["checks"]["sandbox"]["detail"] for name in layers)

    def test_is_refused_where_it_is_required(self, home, mode, calls, error, layers, why):
        for layer in sorted(layers)[:2]:
            s = serve(home, mode, *calls, error=error, set={"sandbox.require": f"lifeline, {layer}"}, wait_ready=False)
            try:
                assert s.wait_end() == 2
                s.assert_nothing_left()
                line, = [x for x in s.noise if "sandbox.require" in x]
                assert re.search(rf"bulkhead serve: sandbox.require: the layer {layer} is missing", line), line
                assert s.stdout_lines == []
            finally:
                s.destroy()


class TestRequire:
    def test_all_that_is_in_force_may_be_required(self, home, mode, there):
        layers = there.status()["sandbox"]
        required = [name for name in WORKER + FRONT if layers[name]["state"] == "in force"]
        with serve(home, mode, set={"sandbox.require": ", ".join(required)}) as s:
            assert s.client.rows("SELECT 1") == [[1]]

    def test_a_user_of_its_own_needs_root(self, home):
        s = serve(home, "user", set={"sandbox.require": "user"}, wait_ready=False)
        try:
            assert s.wait_end() == 2 and [x for x in s.noise if "the layer user is missing: not started as root" in x], s.noise
        finally:
            s.destroy()

    def test_a_layer_that_is_none(self, home, mode):
        s = serve(home, mode, set={"sandbox.require": "landlok"}, wait_ready=False)
        try:
            assert s.wait_end() == 2 and [x for x in s.noise if 'there is no layer "landlok"' in x and "landlock" in x], s.noise
        finally:
            s.destroy()


def test_a_filter_of_the_container_is_no_obstacle(home, mode):
    """One that was there before ours, as in every container: ours comes on top."""
    with serve(home, mode, "memfd_secret") as s:
        s.settle()
        assert s.client.rows("SELECT 1") == [[1]]
        assert state(s, "seccomp") == state(s, "front_seccomp") == "in force"
        assert int(status_of(s.worker_pids()[0]).get("Seccomp_filters", "3")) >= 3
