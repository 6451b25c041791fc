"""Code in a worker makes every system call there is: what the sandbox's table says of each is what the kernel does."""

import errno
import os
import platform
import signal

import pytest

from lib.escape import table

TABLE = table()
OUTCOME = {"DENY": errno.ENOSYS, "WRITER": errno.ENOSYS, "REFUSE": errno.EPERM, "NETWORK": errno.EPERM, "OPTION": errno.EPERM, "OPENING": errno.EPERM}
FATAL = sorted(name for name, verdict in TABLE.items() if verdict in ("KILL", "ASAN"))
ON_THIS_MACHINE = platform.machine() == "x86_64"


def test_injected_code_runs(attacked):
    """Everything below is worth something: a call that is allowed works, and its results come back."""
    pid, written = attacked.run("sys getpid", "sys getcwd buf:64 64")
    assert pid[0] in attacked.worker_pids() and written[0] > 1


def test_what_is_denied_fails(attacked):
    names = sorted(name for name, verdict in TABLE.items() if verdict in OUTCOME)
    assert len(names) > 100
    got = attacked.results(*(f"sys {name} -1 0 0 0 0 0" for name in names))
    unknown = {-1, -errno.ENOSYS} if not ON_THIS_MACHINE else set()  # of another architecture
    wrong = {n: r for n, r in zip(names, got) if r != -OUTCOME[TABLE[n]] and not (r in unknown)}
    # What libseccomp does not know on this architecture has no number, and fails as no call at all.
    assert {n: r for n, r in wrong.items() if r != -errno.ENOSYS} == {}


def test_what_is_in_no_table_fails(attacked):
    count, shown = attacked.run("sweep")[0]
    assert count == 0, shown


def test_what_only_an_attacker_asks_for_ends_the_worker(attacked):
    assert len(FATAL) > 50
    for name in FATAL if attacked.mode == "root" or os.getuid() != 0 else FATAL[::6]:  # the filter does not depend on the user
        response = attacked.try_steps(f"sys {name} -1 0 0 0 0 0", timeout="30s")
        if response.status == 200:  # no such call on this architecture
            assert response.json()["data"] == [[str(-errno.ENOSYS)]], name
        else:
            assert response.problem(502, "worker_crashed")["signal"] == "SIGSYS", name


class TestOtherArchitectures:
    def test_the_kernels_own_probes_end_it_at_most(self, attacked):
        for nr in (335, 336) if ON_THIS_MACHINE else ():
            response = attacked.try_steps(f"sys {nr}")
            assert response.status == 502 or int(response.json()["data"][0][0]) < 0

    @pytest.mark.skipif(not ON_THIS_MACHINE, reason="x86-64 only")
    @pytest.mark.parametrize("steps", [["int80 20"], ["int80 5"], ["sys 0x40000027"], ["sys 0x40000208"]], ids=["i386 getpid", "i386 open", "x32 getpid", "x32 execve"])
    def test_their_numbers_lead_past_nothing(self, attacked, steps):
        assert attacked.dies_of(*steps) in ("SIGSYS", "SIGSEGV")  # SIGSEGV: the kernel has no such entry


class TestProcesses:
    def test_none_is_made(self, attacked):
        newns, newuser, thread_without_sharing = 0x20000, 0x10000000, 0x10000 | 0x100
        for flags in (signal.SIGCHLD, 0, 0x4000 | 0x100 | signal.SIGCHLD, newns, newuser | signal.SIGCHLD, thread_without_sharing, 0x3d0f00 | newuser, 0x3d0f00 | 0x1000):
            assert attacked.results(f"sys clone {flags:#x} 0 0 0 0")[0] < 0
        assert attacked.results("sys clone3 buf:88 88", "sys fork", "sys vfork") == [-errno.ENOSYS, -errno.EPERM, -errno.EPERM]

    @pytest.mark.parametrize("call", ['execve "/bin/sh" 0 0', 'execve "/proc/self/exe" 0 0', 'execveat -100 "/bin/true" 0 0 0', 'execveat 3 "" 0 0 0x1000'])
    def test_no_program_is_run(self, attacked, call):
        assert attacked.dies_of(f"sys {call}") == "SIGSYS"


class TestMemory:
    """Nothing new becomes executable, by no way round."""

    def test_no_memory_is_executable(self, attacked):
        got = attacked.results(
            "sys mmap 0 4096 7 0x22 -1 0", "sys mmap 0 4096 5 0x22 -1 0", "sys mmap 0 4096 4 0x22 -1 0", "sys mmap 0 4096 3 0x22 -1 0", "sys mprotect $4 4096 5",
            "sys mprotect $4 4096 7", "sys mprotect $4 4096 4", "sys pkey_mprotect $4 4096 5 -1", "sys personality 0x0400000", 'sys memfd_create "x" 0', "sys memfd_secret 0",
            "sys mmap 0 4096 5 1 4 0", "sys shmget 0 4096 0x3ff", "sys remap_file_pages $4 4096 5 0 0")
        assert got[3] > 0
        assert {r for i, r in enumerate(got) if i != 3} <= {-errno.EPERM, -errno.ENOSYS, -errno.EACCES, -errno.EBADF}, got

    def test_a_file_of_its_own_is_no_code(self, attacked):
        fd, mapped, unlinked = attacked.results('sys openat -100 "code" 0x42 0x1ff', "sys mmap 0 4096 5 1 $1 0", 'sys unlink "code"')
        assert fd > 0 and mapped == -errno.EPERM and unlinked == 0

    def test_a_jump_into_data_ends_the_worker(self, attacked):
        assert attacked.dies_of("exec") == "SIGSEGV"
        assert attacked.dies_of("null") == "SIGSEGV"

    def test_no_mapping_is_writable_and_executable(self, attacked):
        """As the kernel shows it from outside; for root, since the worker is not dumpable."""
        try:
            for pid in attacked.worker_pids():
                with open(f"/proc/{pid}/maps") as f:
                    assert not [line for line in f if line.split()[1][1:3] == "wx"]
        except PermissionError:
            pytest.skip("not root")


class TestWhatHoldsItStaysOn:
    def test_it_takes_no_lock_off(self, attacked):
        set_ = {"pdeathsig": (1, 0), "dumpable": (4, 1), "ptracer": (0x59616d61, -1), "mdwe": (65, 0), "no_new_privs": (38, 0), "seccomp": (22, 2), "keepcaps": (8, 1), "mm": (35, 8),
                "child_subreaper": (36, 1), "securebits": (28, 0), "ambient": (47, 2), "io_flusher": (57, 1), "core_sched": (62, 1), "timerslack": (29, 1), "speculation": (53, 0)}
        got = dict(zip(set_, attacked.results(*(f"sys prctl {a} {b} 0 0 0" for a, b in set_.values()))))
        assert all(r in (-errno.EPERM, -errno.ENOSYS, -errno.EINVAL) for r in got.values()), got
        read = attacked.results("sys prctl 3 0 0 0 0", "sys prctl 39 0 0 0 0", "sys prctl 21 0 0 0 0", "sys prctl 2 buf:4 0 0 0")
        assert read == [0, 1, 2, 0]  # dumpable, no_new_privs, seccomp's mode; SIGKILL when the parent dies
        assert attacked.run("sys prctl 2 buf:4 0 0 0")[0][1].startswith("09")

    def test_it_raises_no_limit(self, attacked):
        unlimited = "hex:" + "ff" * 16
        for resource in range(16):
            assert attacked.results(f"sys setrlimit {resource} {unlimited}", f"sys prlimit64 0 {resource} {unlimited} 0") == [-errno.ENOSYS, -errno.ENOSYS]

    def test_it_has_no_capability(self, attacked):
        (result, shown), = attacked.run("sys capget hex:2205082000000000 buf:24")[:1]
        assert result == 0 and set(shown.replace(" ", "")) == {"0"}

    def test_its_descriptors_send_no_signals(self, attacked):
        fcntl = {"F_SETOWN": (8, 1), "F_SETSIG": (10, 9), "F_SETOWN_EX": (15, 0), "F_SETLEASE": (1024, 0), "F_NOTIFY": (1026, 1), "F_SETPIPE_SZ": (1031, 1 << 20), "F_ADD_SEALS": (1033, 1), "F_SET_RW_HINT": (1036, 1)}
        got = attacked.results(*(f"sys fcntl 3 {c} {a}" for c, a in fcntl.values()))
        assert set(got) == {-errno.ENOSYS}, dict(zip(fcntl, got))
        ioctl = {"FIOASYNC": 0x5452, "FIOSETOWN": 0x8901, "SIOCSPGRP": 0x8902, "TIOCSTI": 0x5412, "TIOCSCTTY": 0x540e, "SIOCGIFCONF": 0x8912, "FS_IOC_SETFLAGS": 0x40086602, "FICLONE": 0x40049409}
        got = attacked.results(*(f"sys ioctl 3 {c:#x} buf:64" for c in ioctl.values()))
        assert set(got) == {-errno.ENOSYS}, dict(zip(ioctl, got))


class TestNetwork:
    def test_no_socket_of_any_family(self, attacked):
        steps = [f"sys socket {family} {kind} {protocol}" for family in range(47) for kind, protocol in ((1, 0), (2, 0), (3, 255), (5, 0))]
        for i in range(0, len(steps), 200):
            assert set(attacked.results(*steps[i:i + 200])) == {-errno.EPERM}
        assert attacked.results("sys socketpair 1 1 0 buf:8") == [-errno.EPERM]

    def test_its_link_is_no_way_out(self, attacked):
        address = "hex:02000050 7f000001".replace(" ", "") + "00" * 8
        got = attacked.results(f"sys connect 3 {address} 16", f"sys bind 3 {address} 16", "sys listen 3 1", "sys accept 3 0 0", "sys accept4 3 0 0 0", f"sys sendto 3 \"x\" 1 0 {address} 16",
                               "sys sendmsg 3 buf:56 0", "sys sendmmsg 3 buf:64 1 0", "sys setsockopt 3 1 9 buf:4 4", "sys getsockopt 3 1 17 buf:12 buf:4", "sys getpeername 3 buf:64 buf:4", "sys shutdown 3 2")
        assert set(got) <= {-errno.EPERM, -errno.ENOSYS}, got

    def test_it_hands_no_descriptor_on(self, attacked):
        assert attacked.results("pass 3", "pass 0", "pass 7") == [-errno.EPERM] * 3
