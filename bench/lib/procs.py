"""Processes seen from outside: CPU time, memory, death. Knows Linux, not what the processes do."""

import os
import select
import time

CPUCLOCK_SCHED = 2


def cpu_seconds(pid):
    """CPU time of all threads to the nanosecond, or None if the process is gone.

    This is the process's CPU clock: /proc/PID/stat counts in steps of 10 ms, too coarse for a limit of 30 ms.
    """
    try:
        return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)
    except OSError:
        return None


def private_bytes(pid):
    """Memory that this process alone costs."""
    total = 0
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        for line in f:
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                total += int(line.split()[1]) * 1024
    return total


def status_bytes(pids, *fields):
    """The sum of these fields of /proc/PID/status ("VmHWM", "RssAnon") over all of the processes that are still there."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
                total += sum(int(line.split()[1]) * 1024 for line in f if line.partition(":")[0] in fields)
        except OSError:
            continue
    return total


def descendants(root):
    """All living processes below `root`, without itself."""
    parents = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as f:
                parents[int(name)] = int(f.read().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found, frontier = set(), {root}
    while frontier:
        frontier = {pid for pid, parent in parents.items() if parent in frontier} - found
        found |= frontier
    return found


def wait_until(condition, timeout_s, step_s=0.002):
    """The first true value of `condition()`, or None when the time is up."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value or time.monotonic() >= end:
            return value or None
        time.sleep(step_s)


def burning(pids, want=1, window_s=0.05, share=0.3, timeout_s=5.0):
    """Those of `pids` that are busy for a good part of a core; waits until there are `want` of them (fewer
    when time is up)."""
    end = time.monotonic() + timeout_s
    while True:
        before, start = {pid: cpu_seconds(pid) for pid in pids}, time.monotonic()
        time.sleep(window_s)
        took = time.monotonic() - start
        hot = []
        for pid, cpu in before.items():
            after = cpu_seconds(pid)
            if cpu is not None and after is not None and after - cpu >= share * took:
                hot.append(pid)
        if len(hot) >= want or time.monotonic() >= end:
            return hot


class CpuTrace:
    """Samples the CPU time of some processes and notes the moment of each death (by pidfd)."""

    def __init__(self, pids):
        self.samples = {pid: [] for pid in pids}
        self.died = {}
        self.fds = {}
        for pid in pids:
            try:
                self.fds[os.pidfd_open(pid)] = pid
            except ProcessLookupError:
                continue

    def step(self, other_fd, wait_s):
        """Waits at most `wait_s` for `other_fd` or a death, then takes one sample. True if `other_fd` is
        readable."""
        watched = [*self.fds] + ([other_fd] if other_fd is not None else [])
        readable, _, _ = select.select(watched, [], [], wait_s)
        now = time.monotonic()
        for fd in readable:
            if fd in self.fds:
                self.died[self.fds.pop(fd)] = now
                os.close(fd)
        for pid, samples in self.samples.items():
            cpu = None if pid in self.died else cpu_seconds(pid)
            if cpu is not None:
                samples.append((time.monotonic(), cpu))
        return other_fd in readable

    def close(self):
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()

    def busiest(self, until):
        """The process that used most CPU before `until`."""

        def used(samples):
            part = [cpu for t, cpu in samples if t <= until]
            return part[-1] - part[0] if part else 0.0

        return max(self.samples, key=lambda pid: used(self.samples[pid]))

    def idle_at(self, pid, after, window_s=0.02, share=0.1):
        """When `pid` died, or from when on it used less than `share` of a core for `window_s`; None if
        neither."""
        samples = [s for s in self.samples[pid] if s[0] >= after]
        last = 0
        for t, cpu in samples:
            while last < len(samples) - 1 and samples[last][0] < t + window_s:
                last += 1
            whole = samples[last][0] >= t + window_s
            if whole and samples[last][1] - cpu < share * (samples[last][0] - t):
                return t
        return self.died.get(pid)
