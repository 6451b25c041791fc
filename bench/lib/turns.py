"""Two servers asked in turns that are shorter than the machine's moods: what one costs more than the other."""

import json
import os
import subprocess
import time
from statistics import mean, median

from .env import BenchError
from .procs import cpu_seconds
from .speed import SELECT_1, load_command

REQUESTS = 300  # of one turn, some 20 ms: several times as long as what a front puts off (its log's lines go out in parts)
PAIRS = 80  # of one group; each group gives one value
GROUPS = 3
LIMIT_S = 600


def pin(pid, core):
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), {core})


class Asker:
    """One connection on which SELECT 1 is asked, a turn of requests at a time. The front has one core, worker and asker another, on both sides:
    where the kernel happens to put them costs more than what is measured here, and stays so for seconds."""

    def __init__(self, env, server):
        self.front, self.workers = server.status()["front"]["pid"], server.worker_pids()
        command = load_command(env, server, 1, LIMIT_S, sql=SELECT_1, expect="[[1]]", warmup=0, more=("--turn", str(REQUESTS)))
        self.name = server.name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        cores = sorted(os.sched_getaffinity(0))
        pin(self.front, cores[0])
        for pid in (*self.workers, self.process.pid):
            pin(pid, cores[-1])

    def turn(self):
        """Microseconds for one request: CPU of the front, CPU of front and workers, and by the clock."""
        before = cpu_seconds(self.front), sum(map(cpu_seconds, self.workers)), time.monotonic()
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "turn\n":
            raise BenchError(f"{self.name}: a turn of requests did not end")
        after = cpu_seconds(self.front), sum(map(cpu_seconds, self.workers)), time.monotonic()
        front, workers, clock = ((a - b) / REQUESTS * 1e6 for a, b in zip(after, before, strict=True))
        return front, front + workers, clock

    def close(self):
        """Every answer has to have been the right one."""
        self.process.stdin.close()
        report = json.loads(self.process.stdout.read())
        if self.process.wait(timeout=60) != 0 or report["errors"] or report["broken"] or report["mismatches"]:
            raise BenchError(f"{self.name}: {report}")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def middle(values):
    """The mean of the middle half: neither what else ran on the machine, nor only the cheapest turns."""
    values = sorted(values)
    quarter = len(values) // 4
    return mean(values[quarter : len(values) - quarter])


def group(plain, other):
    """The differences of each pair: CPU of the front, that as a share of all that a request costs on the plain one; and the ratio of the times."""
    more, ratios, whole = [], [], []
    for pair in range(PAIRS):
        first, second = (plain, other) if pair % 2 else (other, plain)
        took = {first: first.turn(), second: second.turn()}
        more.append(took[other][0] - took[plain][0])
        ratios.append(took[plain][2] / took[other][2])
        whole.append(took[plain][1])
    return middle(more), middle(more) / median(whole), middle(ratios)


def cost_of(env, rec, name, plain, other):
    """Both servers are up. Records the difference in the front's CPU time for a request, its share of all that a request costs in front and
    worker, and the ratio of the rates."""
    askers = [Asker(env, plain), Asker(env, other)]
    try:
        for _ in range(GROUPS):
            us, share, ratio = group(*askers)
            rec.add(f"tenants.{name}.us", us)
            rec.add(f"tenants.{name}.share", share)
            rec.add(f"tenants.{name}.ratio", ratio)
        for asker in askers:
            asker.close()
    finally:
        for asker in askers:
            asker.kill()
