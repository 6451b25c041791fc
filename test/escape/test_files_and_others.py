"""Code in a worker reaches for files, and for the other processes: also those that run as the same user."""

import errno
import os
import socket
import subprocess

import pytest

from lib import proc

REFUSED = {-errno.EACCES, -errno.EPERM, -errno.ENOENT, -errno.ENOSYS, -errno.EROFS, -errno.ENOTDIR, -errno.ELOOP, -errno.ENXIO, -errno.EXDEV}
READ, WRITE, MAKE, DIRECTORY, PATH, TMPFILE = 0, 2, 0x42, 0x10000, 0x200000, 0x410002


def encoded(path):
    return '"' + str(path).replace("%", "%25").replace(" ", "%20") + '"'


def opens(path, flags):
    return f"sys openat -100 {encoded(path)} {flags:#x} 0x1b6"


def assert_refused(attacked, steps):
    got = dict(zip(steps, attacked.results(*steps)))
    assert {s: r for s, r in got.items() if r not in REFUSED} == {}


class TestFiles:
    def test_its_scratch_is_its_own(self, attacked):
        """What is allowed, so that the refusals below mean something."""
        fd, wrote, gone = attacked.results(opens("mine", MAKE), 'sys write $1 "x" 1', 'sys unlink "mine"')
        assert fd > 0 and wrote == 1 and gone == 0

    def test_no_file_of_the_machine_is_read(self, attacked, home):
        paths = ["/", "/etc", "/etc/passwd", "/etc/shadow", "/etc/hosts", "/etc/ssl/private", "/root", "/home", "/tmp", "/var/tmp", "/var/log", "/dev", "/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/urandom", "/dev/null",
                 "/dev/ptmx", "/dev/tty", "/dev/shm", "/run", "/sys", "/sys/kernel", "/sys/fs/cgroup", "/sys/fs/cgroup/cgroup.procs", "/boot", "/usr/bin/env", "/bin/sh", "/lib", "/proc", "/proc/sys/kernel/core_pattern",
                 "/proc/version", "/proc/kallsyms", "/proc/kcore", "/proc/sysrq-trigger", "/proc/cmdline", home.path, home.path / "bulkhead-worker", home.path / "data", home.path / "data" / "secret", home.database,
                 home.path / "data" / "fifo", "../..", "../../../etc/passwd", "..", "/./etc/../etc/passwd", "/proc/self/root/etc/passwd", "/proc/self/cwd/../../etc/passwd", "/proc/self/fd/3/etc/passwd"]
        assert_refused(attacked, [opens(p, READ | 0x800) for p in paths])

    def test_no_file_is_written_made_or_removed(self, attacked, home):
        places = ["/tmp", "/var/tmp", "/dev/shm", "/run", home.path, home.path / "data", "..", "/proc/self", "/sys/fs/cgroup"]
        assert_refused(attacked, [opens(f"{p}/new", MAKE) for p in places] + [opens(p, TMPFILE) for p in places]
                       + [opens(home.database, flags) for flags in (1, WRITE, WRITE | 0x200, 1 | 0x400)]
                       + [f"sys unlink {encoded(home.database)}", f"sys truncate {encoded(home.database)} 0", f"sys rename {encoded(home.database)} \"x\"", f"sys link {encoded(home.database)} \"x\"",
                          f"sys symlink {encoded(home.database)} \"x\"", f"sys chmod {encoded(home.database)} 0x1ff", f"sys chown {encoded(home.database)} 0 0", f"sys utimensat -100 {encoded(home.database)} 0 0",
                          f"sys mknod \"x\" 0x2180 0x103", 'sys mkdir "x" 0x1ff', f"sys setxattr {encoded(home.database)} \"user.x\" \"y\" 1 0", 'sys mkdirat -100 "x" 0x1ff', f"sys creat {encoded(home.path / 'data' / 'x')} 0x1ff"])
        assert home.database.stat().st_size > 0

    def test_it_stays_in_its_control_group(self, attacked):
        """Its own, the server's, the root: it can neither move nor raise a limit, nor read one."""
        pid = attacked.worker_pids()[0]
        with open(f"/proc/{pid}/cgroup") as f:
            own = {line.rstrip("\n").split(":", 2)[2] for line in f}
        roots = [line.split()[1] for line in open("/proc/self/mounts") if line.split()[2] in ("cgroup", "cgroup2")]
        groups = [place for root in roots for path in own for place in {root, root + path, os.path.dirname(root + path)} if os.path.isdir(place)]
        names = ("cgroup.procs", "cgroup.threads", "tasks", "memory.max", "memory.limit_in_bytes", "cpu.max", "cpu.cfs_quota_us", "cgroup.subtree_control", "cgroup.kill", "release_agent", "notify_on_release")
        steps = [opens(f"{place}/{name}", flags) for place in groups for name in names for flags in (1, READ)] + [f"sys mkdir {encoded(place + '/escape')} 0x1ff" for place in groups]
        for i in range(0, len(steps), 150):
            assert_refused(attacked, steps[i:i + 150])

    def test_a_path_alone_is_no_way_round(self, attacked, home):
        """O_PATH gives a descriptor for anything: no more than a name."""
        fd, again, read, directory = attacked.results(opens("/etc", PATH), 'sys openat $1 "passwd" 0', "sys read $1 buf:16 16", "sys getdents64 $1 buf:64 64")
        assert again in REFUSED | {-errno.EBADF} and read < 0 and directory < 0 or fd < 0
        assert attacked.results("sys chdir \"/\"", "sys fchdir 3", "sys chroot_ 0")[:2] == [-errno.ENOSYS] * 2

    def test_descriptors_end_at_their_number(self, attacked):
        """A worker that takes all it may have hurts itself only."""
        got = attacked.results(*["sys eventfd2 0 0"] * 250)
        assert -errno.EMFILE in got and max(got) < 256
        attacked.dies_of("null")  # nobody else gets this one
        attacked.dies_of("again", "sys eventfd2 0 0", "sys pipe2 buf:8 0", "null", then="SELECT sum(i) FROM range(200000000) t(i)")

    def test_the_disk_is_not_filled(self, attacked):
        """The largest file it may write is bounded; its end is an error, not a signal."""
        opened, past, gone = attacked.results(opens("big", MAKE), "sys ftruncate $1 0x7fffffffffff", 'sys unlink "big"')
        assert opened > 0 and past in (-errno.EFBIG, -errno.EINVAL) and gone == 0


def targets(attacked):
    """Whom it might be after."""
    me = attacked.client.rows("SELECT 1") and attacked.results("sys getpid")[0]
    others = [pid for pid in attacked.worker_pids() if pid != me]
    assert others
    return {"front": attacked.front_pid, "supervisor": attacked.pid, "another worker": others[0], "a process of its user": attacked.bystander.pid}


@pytest.fixture
def bystander(attacked):
    """A process of the server's user that has nothing to do with it."""
    def become():
        if attacked.user:
            os.setgid(attacked.user.pw_gid)
            os.setuid(attacked.user.pw_uid)
    attacked.bystander = subprocess.Popen(["sleep", "600"], preexec_fn=become, stdin=subprocess.DEVNULL)
    yield attacked.bystander
    alive = attacked.bystander.poll() is None
    attacked.bystander.kill()
    attacked.bystander.wait()
    assert alive, "the process that only stood by was ended"


class TestOthers:
    def test_it_signals_nobody(self, attacked, bystander):
        for who, pid in {**targets(attacked), "all": -1, "its group": 0, "init": 1}.items():
            got = attacked.results(*(f"sys kill {pid} {sig}" for sig in (0, 9, 15, 19, 10)), f"sys tkill {pid} 9", f"sys tgkill {pid} {pid} 9", f"sys tgkill {pid} {pid} 0", f"sys rt_sigqueueinfo {pid} 9 buf:128",
                                   f"sys rt_tgsigqueueinfo {pid} {pid} 9 buf:128")
            assert set(got) <= {-errno.EPERM, -errno.ENOSYS}, (who, got)

    def test_it_reads_nobody(self, attacked, bystander):
        for who, pid in {**targets(attacked), "itself": "self", "its parent's thread": f"{attacked.pid}/task/{attacked.pid}"}.items():
            names = ["mem", "environ", "maps", "smaps", "fd", "fd/3", "fd/0", "fdinfo/3", "root", "cwd", "exe", "cmdline", "status", "stat", "io", "auxv", "syscall", "stack", "ns/net", "ns/user", "attr/current", "map_files", "task", "oom_score_adj",
                     "clear_refs", "pagemap", "timerslack_ns", "uid_map", "setgroups", "cgroup"]
            if pid == "self":  # its own directory, and namespaces, which it can neither enter nor ask anything of
                names = [n for n in names if n not in ("cwd", "ns/net", "ns/user")]
            steps = [opens(f"/proc/{pid}/{name}", READ) for name in names] + [opens(f"/proc/{pid}/{name}", WRITE) for name in ("mem", "clear_refs", "oom_score_adj", "uid_map", "attr/exec")]
            got = dict(zip(steps, attacked.results(*steps)))
            assert {s: r for s, r in got.items() if r not in REFUSED} == {}, who

    def test_it_changes_nobody(self, attacked, bystander):
        for who, pid in targets(attacked).items():
            got = attacked.results(f"sys prlimit64 {pid} 7 hex:{'00' * 16} 0", f"sys prlimit64 {pid} 7 0 buf:16", f"sys sched_setaffinity {pid} 8 hex:0100000000000000", f"sys sched_setattr {pid} buf:48 0", f"sys sched_setscheduler {pid} 5 buf:4",
                                   f"sys setpriority 0 {pid} 19", f"sys ioprio_set 1 {pid} 0x6000", f"sys get_robust_list {pid} buf:8 buf:8", f"sys migrate_pages {pid} 1 buf:8 buf:8", f"sys move_pages {pid} 0 0 0 0 0", f"sys setpgid {pid} 0", "sys setsid",
                                   f"sys waitid 1 {pid} buf:128 4 0")
            assert set(got) <= {-errno.EPERM, -errno.ENOSYS}, (who, got)

    @pytest.mark.parametrize("call", ["ptrace 16 {} 0 0", "ptrace 0x4206 {} 0 0", "process_vm_readv {} buf:16 1 buf:16 1 0", "process_vm_writev {} buf:16 1 buf:16 1 0", "pidfd_open {} 0", "pidfd_send_signal 3 9 0 0", "pidfd_getfd 3 0 0", "kcmp {} {} 0 0 0",
                                      "perf_event_open buf:128 {} -1 -1 0", "process_madvise 3 buf:16 1 4 0", "setns 3 0", "ptrace 0 0 0 0"])
    def test_it_traces_nobody(self, attacked, bystander, call):
        """Ends the worker at once, whoever it was after."""
        for pid in targets(attacked).values() if "ptrace 16" in call else (attacked.pid,):
            assert attacked.dies_of("sys " + call.replace("{}", str(pid))) == "SIGSYS"

    def test_the_others_are_who_they_should_be(self, attacked):
        """As an ordinary user all of them share that one; as root each has its own."""
        users = {}
        for name, pid in {"front": attacked.front_pid, **{f"worker {p}": p for p in attacked.worker_pids()}}.items():
            with open(f"/proc/{pid}/status") as f:
                users[name] = next(line.split()[1] for line in f if line.startswith("Uid:"))
        if attacked.mode == "root":
            assert len(set(users.values())) == len(users) and "0" not in users.values(), users
        else:
            assert len(set(users.values())) == 1, users

    def test_a_listener_of_this_machine_is_not_reached(self, attacked):
        with socket.create_server(("127.0.0.1", 0)) as there:
            there.settimeout(0.2)
            port = there.getsockname()[1]
            address = f"hex:0200{port:04x}7f000001" + "00" * 8
            attacked.results("sys socket 2 1 0", f"sys connect 3 {address} 16", f"sys sendto 3 \"x\" 1 0x20000000 {address} 16")
            with pytest.raises(TimeoutError):
                there.accept()


class TestAfterwards:
    def test_a_worker_that_hangs_is_stopped_all_the_same(self, attacked):
        """It ignores SIGTERM, blocks every signal and sleeps: the ladder ends at SIGKILL."""
        ignore = "hex:01" + "00" * 31
        problem = attacked.try_steps(f"sys rt_sigaction 15 {ignore} 0 8", "sys rt_sigprocmask 0 hex:" + "ff" * 8 + " 0 8", "sys pause", timeout="300ms").problem(504, "timeout")
        assert problem["stopped_by"] == "kill"

    def test_no_process_is_left_behind(self, attacked):
        attacked.dies_of("null")
        attacked.settle()
        assert len([s for s in proc.descendants(attacked.pid) if "worker" in s.name]) == len(attacked.worker_pids())
