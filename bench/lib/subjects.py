"""The things compared: libduckdb in process, bulkhead, and the pool behind FastAPI. Knows how to start
each."""

import json
import os
import re
import selectors
import signal
import subprocess
import time

from .client import Client, first_good
from .env import BENCH, ROOT, BenchError, checked
from .procs import descendants, private_bytes, wait_until

THREADS = 1
WORKERS = 2
MEMORY_LIMIT = "512MB"
LOG_HINT = "its log is in bench-logs below the build directory"
READY = re.compile(r"ready http=127\.0\.0\.1:(\d+) workers=\d+")


class InProcess:
    name = "in process"

    def __init__(self, env):
        self.env = env

    def run(self, mode, *args):
        out = checked(
            [
                str(self.env.inproc),
                str(self.env.database),
                mode,
                "--threads",
                str(THREADS),
                "--memory-limit",
                MEMORY_LIMIT,
                *map(str, args),
            ],
            f"bench_inproc {mode}",
            120,
        )
        return json.loads(out)


class Server:
    """A started server: its process, port, and what /v1/status says about its own processes."""

    name = ""
    supervised = False  # a supervisor restarts its front
    key = None  # what it asks of its clients
    interrupt_grace_s = 0.0
    term_grace_s = 1.0

    def __init__(self, env):
        self.env = env
        self.process = None
        self.port = 0
        self.idle_status = None

    def command(self):
        raise NotImplementedError

    def start(self):
        """Starts it and returns the seconds from exec to the first good answer."""
        log = open(self.env.logs / (self.name.replace(" ", "-") + ".log"), "ab")
        begun = time.monotonic()
        self.process = subprocess.Popen(
            self.command(),
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=BENCH,
            start_new_session=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        log.close()
        self.port = self.read_port(30.0)
        answer = first_good(self.port, lambda c: c.query("SELECT 1"), key=self.key)
        if answer is None:
            raise BenchError(f"{self.name}: ready, but no good answer; {LOG_HINT}")
        return answer.at - begun

    def read_port(self, timeout_s):
        data = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in data:
                if not selector.select(timeout_s):
                    raise BenchError(f"{self.name}: no ready line within {timeout_s:.0f} s")
                part = os.read(self.process.stdout.fileno(), 4096)
                if not part:
                    raise BenchError(f"{self.name}: ended before it was ready; {LOG_HINT}")
                data += part
        match = READY.search(data.decode(errors="replace"))
        if match is None:
            raise BenchError(f"{self.name}: unexpected ready line")
        return int(match[1])

    def status(self):
        with Client(self.port, 5.0, self.key) as client:
            answer = client.get("/v1/status")
        if answer.status != 200:
            raise BenchError(f"{self.name}: /v1/status answers {answer.status}")
        return answer.body

    def worker_pids(self):
        return [w["pid"] for w in self.status()["workers"] if w.get("pid")]

    def shape(self):
        """What tells a full, idle pool from one that is being refilled."""
        return sorted(
            (w.get("kind", ""), w.get("state", ""), bool(w.get("pid"))) for w in self.status()["workers"]
        )

    def settle(self):
        """Waits until the pool is complete and idle; the first time, that is when it stops changing."""
        if self.idle_status is None:
            self.idle_status = wait_until(self.stable_shape, 15.0)
            done = self.idle_status is not None
        else:
            done = wait_until(lambda: self.shape() == self.idle_status, 15.0, 0.01)
        if not done:
            raise BenchError(f"{self.name}: its pool did not become complete and idle again within 15 s")

    def stable_shape(self):
        before = self.shape()
        time.sleep(0.3)
        return before if len(before) >= WORKERS and before == self.shape() else None

    def roles(self):
        raise NotImplementedError

    def memory(self):
        """Private bytes by role."""
        return {role: sum(private_bytes(pid) for pid in pids) for role, pids in self.roles().items()}

    def stop(self):
        """Ends it and everything it started."""
        if self.process is None:
            return
        family = {self.process.pid} | descendants(self.process.pid)
        self.process.terminate()
        try:
            self.process.wait(5.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.kill_leftovers(family)
        self.process = None

    def kill_leftovers(self, family):
        """Only those that live on in the session we started: a reused number is not ours."""
        for pid in family:
            try:
                if os.getsid(pid) == self.process.pid:
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


class Bulkhead(Server):
    supervised = True
    interrupt_grace_s = 0.25  # the contract's defaults
    term_grace_s = 1.0

    def __init__(self, env, cached=True, threads=THREADS, settings=()):
        super().__init__(env)
        self.cached = cached
        self.threads = threads
        self.settings = settings  # "section.key=value", more of them
        self.name = "bulkhead" if cached else "bulkhead without cache"

    def command(self):
        command = [
            str(self.env.bulkhead),
            "serve",
            str(self.env.database),
            "--listen",
            "127.0.0.1:0",
            "--set",
            f"pool.workers={WORKERS}",
            "--set",
            f"pool.threads={self.threads}",
            "--set",
            f"pool.memory_limit={MEMORY_LIMIT}",
        ]
        command += ["--set", "limits.quarantine=0"]  # the same runaway is sent again and again, on purpose
        for setting in self.settings:
            command += ["--set", setting]
        return command if self.cached else [*command, "--set", "pool.statement_cache=0"]

    def roles(self):
        status = self.status()
        return {
            "front": [status["front"]["pid"]],
            "supervisor": [status["supervisor"]["pid"]],
            "workers and spare": [w["pid"] for w in status["workers"] if w.get("pid")],
        }


class FastApiPool(Server):
    name = "FastAPI pool"

    def command(self):
        return [
            str(self.env.python),
            "-m",
            "fastapi_pool.app",
            str(self.env.database),
            "--workers",
            str(WORKERS),
            "--threads",
            str(THREADS),
            "--memory-limit",
            MEMORY_LIMIT,
        ]

    def roles(self):
        status = self.status()
        workers = [w["pid"] for w in status["workers"]]
        others = descendants(self.process.pid) - set(workers)
        return {"front": [self.process.pid], "helper": sorted(others), "workers": workers}


def require_binary(env):
    if not os.access(env.bulkhead, os.X_OK):
        where = env.bulkhead.relative_to(ROOT) if env.bulkhead.is_relative_to(ROOT) else env.bulkhead
        raise BenchError(f"{where} is missing: run `make build` first")
