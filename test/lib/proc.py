"""What /proc says about processes. A process is named by (pid, start time), so that a reused pid is never mistaken for it."""

import ctypes
import os
import signal
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def become_subreaper():
    """Orphans of a killed server become children of the test process: none can hide, and none stays a zombie."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


@dataclass(frozen=True)
class Stat:
    pid: int
    name: str
    state: str
    ppid: int
    session: int
    cpu_ticks: int
    nice: int
    start: int

    @property
    def key(self):
        return (self.pid, self.start)


def stat(pid):
    """The process's state, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    f = text[text.rindex(")") + 2 :].split()
    return Stat(pid, name, f[0], int(f[1]), int(f[3]), int(f[11]) + int(f[12]), int(f[16]), int(f[19]))


def all_processes():
    found = (stat(int(entry)) for entry in os.listdir("/proc") if entry.isdigit())
    return [s for s in found if s]


def is_alive(pid):
    """Running, sleeping or stopped; a zombie is dead."""
    s = stat(pid)
    return s is not None and s.state not in "ZX"


def is_gone(pid):
    """Not even a zombie is left."""
    return stat(pid) is None


def descendants(pid):
    """Every process below pid, zombies included."""
    below, everything = set(), all_processes()
    grown = True
    while grown:
        grown = False
        for s in everything:
            if s.pid not in below and (s.ppid == pid or s.ppid in below):
                below.add(s.pid)
                grown = True
    return [s for s in everything if s.pid in below]


def cpu_ticks(pid):
    """CPU time used so far, all threads, in clock ticks; None when the process is gone."""
    s = stat(pid)
    return s.cpu_ticks if s else None


def slices_ns(pid):
    """The scheduler's slice of each thread; None where the kernel does not tell (before Linux 6.12)."""
    number = {"x86_64": 315, "aarch64": 275}.get(os.uname().machine)  # sched_getattr, which the C library has no name for
    libc = ctypes.CDLL(None, use_errno=True)
    found = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        attributes = ctypes.create_string_buffer(48)
        if number is None or libc.syscall(number, int(tid), attributes, 48, 0) != 0:
            return None
        found.append(int.from_bytes(attributes.raw[24:32], "little"))  # sched_runtime
    return found if all(found) else None


def fds(pid):
    """What the process has open: list of link targets."""
    out = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            out.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass
    return out


def private_bytes(pid):
    """Memory that only this process holds."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            total += int(line.split()[1]) * 1024
    return total


def rss_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def state(pid):
    s = stat(pid)
    return s.state if s else None


def kill(pid, sig=signal.SIGKILL):
    """True when the signal was sent, False when the process had gone already."""
    try:
        os.kill(pid, sig)
        return True
    except ProcessLookupError:
        return False


def reap_strays(except_pids=()):
    """Collects orphans that were handed to the test process. Returns the pids of those that had died."""
    reaped = []
    me = os.getpid()
    for s in all_processes():
        if s.ppid == me and s.pid not in except_pids and s.state == "Z":
            try:
                os.waitpid(s.pid, os.WNOHANG)
                reaped.append(s.pid)
            except ChildProcessError:
                pass
    return reaped
