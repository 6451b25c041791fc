"""The server under test: started as a user would start it, watched from outside, and never left behind.

    with Server(db, set={"pool.workers": 2}) as server:
        server.client.rows("SELECT 42")

Leaving the block sends SIGTERM and asserts a clean end: exit code 0, no process left, nothing on stderr but log lines."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from lib import proc
from lib.client import Client
from lib.prom import Metrics
from lib.wait import PATIENCE, wait_until

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BULKHEAD_BUILD", "build"))
if not BUILD.is_absolute():
    BUILD = ROOT / BUILD
BULKHEAD = BUILD / "bulkhead"
WORKER = BUILD / "bulkhead-worker"

READY = re.compile(r"bulkhead ready http=(\S+) workers=(\d+) database=(.*)\Z")
START_LIMIT_S = 30.0
END_LIMIT_S = 30.0

# Small, so that no test waits for the defaults' graces and that two servers fit beside each other.
# quarantine: most tests end workers under one statement again and again; test/fault/test_quarantine.py turns it on.
SMALL = {
    "limits.quarantine": "0",
    "pool.workers": 2,
    "pool.spares": 1,
    "pool.threads": 1,
    "pool.memory_limit": "128MB",
    "limits.interrupt_grace": "100ms",
    "limits.term_grace": "100ms",
}


def clean_environment(**extra):
    """The caller's environment without anything the server would take for configuration."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("BULKHEAD_")}
    env["TZ"] = "UTC"
    env.update(extra)
    return env


class Server:
    def __init__(self, database=None, set=None, config=None, listen="127.0.0.1:0", env=None, start=True, preexec=None,
                 small=True, wait_ready=True, key=None, tls=None,
                 binary=BULKHEAD):
        self.database = os.fspath(database) if database is not None else None
        self.settings = {**(SMALL if small else {}), **(set or {})}
        self.config, self.listen, self.env, self.preexec = config, listen, env or {}, preexec
        self.binary = binary
        self.tls = tls  # an ssl.SSLContext for the client, when the server speaks TLS
        self.client_key = key  # what the client shows; of role admin, or status and metrics can't be read
        self.process = None
        self.lines, self.logs, self.noise, self.stdout_lines = [], [], [], []
        self._lock = threading.Lock()
        self._known = {}  # (pid, start time) -> Stat of every process ever seen below the supervisor
        if start:
            self.start(wait_ready)

    # --- life

    def command(self):
        argv = [str(self.binary), "serve"]
        if self.database is not None:
            argv.append(self.database)
        if self.config is not None:
            argv += ["--config", os.fspath(self.config)]
        if self.listen is not None:
            argv += ["--listen", self.listen]
        for key, value in self.settings.items():
            argv += ["--set", f"{key}={value}"]
        return argv

    def start(self, wait_ready=True):
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=clean_environment(**self.env), start_new_session=True, preexec_fn=self.preexec,
        )
        self._readers = [
            threading.Thread(target=self._read_stderr, daemon=True),
            threading.Thread(target=self._read_stdout, daemon=True),
        ]
        for t in self._readers:
            t.start()
        if not wait_ready:
            return
        try:
            wait_until(lambda: self.stdout_lines or self.process.poll() is not None, "the ready line", START_LIMIT_S)
            assert self.stdout_lines, f"ended with {self.process.returncode} before it was ready:\n{self.log_text()}"
            m = READY.match(self.stdout_lines[0])
            assert m, f"not a ready line: {self.stdout_lines[0]!r}"
            self.address, self.ready_workers, self.ready_database = m[1], int(m[2]), m[3]
            self.client = Client(self.address, key=self.client_key, tls=self.tls)
            self.note_processes()
        except BaseException:
            self.destroy()
            raise

    def _read_stderr(self):
        for raw in self.process.stderr:
            line = raw.decode(errors="replace").rstrip("\n")
            try:
                entry = json.loads(line)
                assert isinstance(entry, dict) and {"ts", "level", "role", "event"} <= entry.keys()
            except (ValueError, AssertionError):
                entry = None
            with self._lock:
                self.lines.append(line)
                (self.noise if entry is None else self.logs).append(line if entry is None else entry)

    def _read_stdout(self):
        for raw in self.process.stdout:
            self.stdout_lines.append(raw.decode(errors="replace").rstrip("\n"))

    @property
    def pid(self):
        """The supervisor's."""
        return self.process.pid

    def is_up(self):
        return self.process.poll() is None

    def send_signal(self, sig):
        self.process.send_signal(sig)

    def note_processes(self):
        """Remembers every process of this server, so that one which outlives it can be named."""
        below = {s.pid for s in proc.descendants(self.pid)}
        for s in proc.all_processes():
            if s.pid != self.pid and (s.pid in below or s.session == self.pid):
                self._known[s.key] = s
        return below

    def survivors(self):
        """Processes of this server that still run (the supervisor not counted)."""
        self.note_processes()
        proc.reap_strays()
        return [s for key, s in self._known.items() if (now := proc.stat(s.pid)) and now.key == key and now.state != "Z"]

    def wait_end(self, limit_s=END_LIMIT_S):
        """Waits for the supervisor's end and returns its exit code (negative: the signal)."""
        try:
            code = self.process.wait(limit_s * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {limit_s:g} s:\n{self.log_text()}") from None
        for t in self._readers:
            t.join(END_LIMIT_S)
        return code

    def stop(self, sig=signal.SIGTERM, expect=0):
        """Ends the server in the ordinary way and asserts that nothing is left of it."""
        try:
            self.note_processes()
            if self.is_up():
                self.send_signal(sig)
            code = self.wait_end()
            self.assert_nothing_left()
            assert code == expect, f"exit code {code}, expected {expect}:\n{self.log_text()}"
            assert not self.noise, f"lines on stderr that are no log lines: {self.noise[:20]}"
            assert len(self.stdout_lines) <= 1, f"more than the ready line on stdout: {self.stdout_lines}"
        finally:
            self.destroy()

    def assert_nothing_left(self):
        wait_until(lambda: not self.survivors(), lambda: f"processes left: {self.survivors()}\n{self.log_text()}")

    def destroy(self):
        """Kills whatever is left, by pid. Asserts nothing."""
        if self.process is None:
            return
        left = self.survivors() if self.process.poll() is None else []
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for s in left + self.survivors():
            proc.kill(s.pid)
        for t in self._readers:
            t.join(5)
        proc.reap_strays()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        # A failing test needs its own message, not that of the clean-up.
        self.stop() if kind is None else self.destroy()

    # --- what it says

    def log_text(self, last=60):
        with self._lock:
            return "\n".join(self.lines[-last:])

    def log_mark(self):
        """A position in the log, for `since`."""
        with self._lock:
            return len(self.logs)

    def log_entries(self, event=None, since=0, **fields):
        """Log lines of an event (a regular expression that matches the whole name) with these fields."""
        with self._lock:
            entries = self.logs[since:]
        out = []
        for e in entries:
            if event is not None and not re.fullmatch(event, e["event"]):
                continue
            if all(e.get(k) == v for k, v in fields.items()):
                out.append(e)
        return out

    def log_contains(self, pattern, times=None, since=0, **fields):
        """Is there a line (exactly `times` lines) whose event or text matches?"""
        with self._lock:
            entries = self.logs[since:]
        hits = [
            e for e in entries
            if (re.fullmatch(pattern, e["event"]) or re.search(pattern, json.dumps(e, ensure_ascii=False)))
            and all(e.get(k) == v for k, v in fields.items())
        ]
        return len(hits) == times if times is not None else bool(hits)

    def wait_log(self, pattern, since=0, **fields):
        wait_until(lambda: self.log_contains(pattern, since=since, **fields),
                   lambda: f"no log line {pattern!r} {fields}:\n{self.log_text()}")

    def metrics(self):
        response = self.client.get("/metrics")
        assert response.status == 200, response
        return Metrics(response.text)

    def metric(self, name, **labels):
        return self.metrics().get(name, **labels)

    def wait_metric(self, name, least, **labels):
        """For counters that are raised a moment after the answer has left."""
        wait_until(lambda: self.metric(name, **labels) >= least,
                   lambda: f"{name}{labels} is {self.metric(name, **labels)}, not {least}")

    def status(self):
        response = self.client.get("/v1/status")
        assert response.status == 200, response
        return response.json()

    # --- its processes

    @property
    def front_pid(self):
        return self.status()["front"]["pid"]

    def workers(self, kind=None):
        """Rows of /v1/status for workers that have a process; kind `pool` or `spare`."""
        rows = [w for w in self.status()["workers"] if w.get("pid")]
        return [w for w in rows if kind is None or w["kind"] == kind]

    def worker_pids(self, kind=None):
        return [w["pid"] for w in self.workers(kind)]

    def worker_of(self, query_id):
        for w in self.workers():
            if w["query_id"] == query_id:
                return w
        return None

    def wait_running(self, query_id):
        """The worker's row once it runs that query."""
        return wait_until(lambda: self.worker_of(query_id), lambda: f"{query_id} does not run: {self.status()}")

    def is_settled(self):
        """Full strength and nothing to do: every slot filled and idle, the spares warm, the queue empty."""
        if not self.is_up():
            raise AssertionError(f"the server has ended with {self.process.poll()}:\n{self.log_text()}")
        try:
            rows = [w for w in self.workers() if w["kind"] in ("pool", "spare")]  # a session may stay open from test to test
            queued = self.metric("bulkhead_queue_length")
        except OSError:
            return False
        pool = [w for w in rows if w["kind"] == "pool" and w["state"] == "idle"]
        spare = [w for w in rows if w["kind"] == "spare" and w["state"] == "spare"]
        return (len(pool) == int(self.settings["pool.workers"]) and len(spare) == int(self.settings["pool.spares"])
                and len(rows) == len(pool) + len(spare) and not any(w["query_id"] for w in rows) and not queued
                and all(proc.is_alive(w["pid"]) for w in rows))

    def settle(self, limit_s=30.0):
        wait_until(self.is_settled, lambda: f"not at full strength: {self.status()['workers']}\n{self.log_text(30)}", limit_s)
        self.note_processes()

    def wait_one_more_death(self, before, **labels):
        self.wait_metric("bulkhead_worker_deaths_total", before + 1, **labels)


def run_cli(*argv, input=None, env=None, limit_s=60.0, cwd=None, binary=False):
    """Runs `bulkhead ...` to its end."""
    return subprocess.run([str(BULKHEAD), *map(str, argv)], input=input, capture_output=True, timeout=limit_s * PATIENCE, cwd=cwd,
                          env=clean_environment(**(env or {})), text=not binary)


def measure(function):
    """(seconds, result)"""
    began = time.monotonic()
    result = function()
    return time.monotonic() - began, result
