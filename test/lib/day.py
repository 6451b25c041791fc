"""A scripted day of many tenants: who asks what, in which phase, and the books. Every request has an id of its own, and must be accounted for by
an answer, by the server's log, and by both saying the same. bench/day runs ten minutes of it, test/fault a short cut."""

import random
import signal
import statistics
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass

from lib import proc
from lib.client import Cut, new_id
from lib.keys import bearer, fake_key, new_key
from lib.sql import CROSS_JOIN, LEVENSHTEIN
from lib.wait import wait_until

SMALL = "SELECT count(*), sum(id) FROM items WHERE kind = $1"
MEDIUM = "SELECT sum(a.i * b.i % 7) FROM range(1500) a(i), range(1000) b(i)"
# Name, share of the day, who is about besides those that always are.
PHASES = [("calm", 0.2), ("burst", 0.2), ("runaways", 0.2), ("crashes", 0.2), ("evening", 0.2)]
SETTINGS = {"pool.workers": 2, "pool.spares": 1, "limits.queue_timeout": "30s", "limits.queue_length": 64, "admin.memory_limit": "128MB", "admin.threads": 1,
            "session.max": 2, "limits.history": 1000}


@dataclass
class Request:
    key: str
    kind: str
    phase: str
    query_id: str
    began: float
    seconds: float = 0.0
    outcome: str = ""  # the code, `ok`, `cut`, `left`


class Day:
    def __init__(self, server, keys, seconds, seed, config):
        self.server, self.keys, self.seconds, self.config = server, keys, seconds, config
        self.dice = random.Random(seed)
        self.lock, self.over = threading.Lock(), threading.Event()
        self.phase = PHASES[0][0]
        self.requests, self.odd, self.others = [], [], Counter()
        self.kills, self.fronts, self.written, self.reloads = 0, [], [], 0

    # --- the books

    def note(self, request, outcome):
        request.seconds = time.monotonic() - request.began
        request.outcome = outcome
        with self.lock:
            self.requests.append(request)

    def wrong(self, text):
        with self.lock:
            self.odd.append(text)

    def front_was_down(self, since):
        return any(began <= time.monotonic() and (ended is None or ended >= since) for began, ended in self.fronts)

    # --- asking

    def ask(self, key, kind, sql, target="/v1/query", leave_s=None, **fields):
        request = Request(key, kind, self.phase, new_id(), time.monotonic())
        headers = [("Content-Type", "application/json"), ("Bulkhead-Query-Id", request.query_id), *bearer(self.keys[key]).items()]
        try:
            with self.server.client.connect() as c:
                c.send_request("POST", target, self.server.client.query_body(sql, fields), headers)
                if leave_s is not None:
                    time.sleep(leave_s)
                    self.note(request, "left")
                    return None
                r = c.read_response()
        except (Cut, OSError) as e:
            if self.front_was_down(request.began):
                self.note(request, "cut")
            else:
                self.wrong(f"{kind}: cut without a reason: {e}")
            return None
        except AssertionError as e:
            self.wrong(f"{kind} in {request.phase}: {e}; the server says {self.server.client.get('/v1/queries/' + request.query_id).text}")
            return None
        self.note(request, "ok" if r.status == 200 else r.json()["code"])
        return r

    def until_over(self, pause_s, step, *phases):
        """Calls step again and again, in these phases (none: in all)."""
        while not self.over.is_set():
            if phases and self.phase not in phases:
                self.over.wait(0.05)
                continue
            try:
                step()
            except Exception as e:  # noqa: BLE001: whatever it is, somebody's request is not accounted for
                self.wrong(f"{type(e).__name__}: {e}")
            self.over.wait(pause_s)

    # --- who is about

    def dashboard(self):
        r = self.ask("dash", "small", SMALL, params=[3])
        if r is not None and r.status == 200 and r.json()["rows"] != 1:
            self.wrong(f"a wrong answer: {r.text}")

    def bulk_a(self):
        self.ask("bulk_a", "bulk", MEDIUM)

    def bulk_b(self):
        self.ask("bulk_b", "bulk", MEDIUM)

    def analyst(self):
        self.ask("ann", "medium", MEDIUM)

    def runaway(self):
        self.ask("wild", "runaway", self.dice.choice([CROSS_JOIN, LEVENSHTEIN]), timeout="300ms")

    def leaver(self):
        self.ask("wild", "leave", CROSS_JOIN, leave_s=self.dice.uniform(0, 0.2), timeout="20s")

    def intruder(self):
        try:
            r = self.server.client.request("GET", "/v1/queries", headers=bearer(fake_key(self.dice.randrange(1 << 60))))
            self.others[r.json()["code"]] += 1
            if r.status not in (401, 429):
                self.wrong(f"an intruder got {r!r}")
        except (Cut, OSError) as e:
            if not self.front_was_down(time.monotonic() - 5):
                self.wrong(f"intruder: {e}")

    def writer(self):
        n = len(self.written) + 1
        r = self.ask("root", "write", f"INSERT INTO written VALUES ({n})", target="/v1/admin/sql")
        with self.lock:
            self.written.append((n, r is not None and r.status == 200))

    def reloader(self):
        self.reloads += 1
        self.config.write_text(f"[limits]\ntimeout = {20 + self.reloads % 10}s\n")
        self.server.send_signal(signal.SIGHUP)

    def crasher(self):
        """Mostly a worker, once the front."""
        if not self.fronts and self.kills >= 3:
            front = self.server.front_pid
            self.fronts.append([time.monotonic(), None])
            proc.kill(front)
            wait_until(lambda: self.is_another_front(front), "no new front", 30)
            self.fronts[0][1] = time.monotonic() + 0.5
            return
        rows = [w for w in self.server.workers("pool")]
        if rows and proc.kill(self.dice.choice(rows)["pid"], signal.SIGSEGV):
            self.kills += 1

    def is_another_front(self, old):
        try:
            return self.server.front_pid != old
        except (OSError, Cut, AssertionError):
            return False

    def threads(self):
        everybody = [(self.dashboard, 0.02, 2, ()), (self.analyst, 0.1, 1, ()), (self.leaver, 0.3, 1, ()), (self.intruder, 0.2, 1, ()),
                     (self.writer, 2.0, 1, ()), (self.reloader, 3.0, 1, ()), (self.bulk_a, 0, 8, ("burst",)), (self.bulk_b, 0, 2, ("burst",)),
                     (self.runaway, 0, 4, ("runaways",)), (self.crasher, 1.0, 1, ("crashes",))]
        return [threading.Thread(target=self.until_over, args=(pause, step, *phases), daemon=True)
                for step, pause, count, phases in everybody for _ in range(count)]

    def run(self):
        threads = self.threads()
        for t in threads:
            t.start()
        for name, share in PHASES:
            self.phase = name
            time.sleep(self.seconds * share)
        self.over.set()
        for t in threads:
            t.join(90)
        assert not any(t.is_alive() for t in threads), "a request is without an answer"

    # --- afterwards

    def may_be_lost(self, r):
        """A front that is killed takes with it what it had not written yet: the lines of its last 10 ms, and those of queries that still ran."""
        ended = r.began + r.seconds + (1.0 if r.outcome == "left" else 0.1)
        return r.outcome == "cut" or any(r.began <= began <= ended for began, _ in self.fronts)

    def logged(self):
        lines = defaultdict(list)
        for e in self.server.log_entries("query"):
            lines[e["query_id"]].append(e["code"])
        return lines

    def check_books(self):
        """Each request once in the log, with the code that its client got."""
        assert not self.odd, self.odd[:5]
        expected = {r.query_id for r in self.requests if not self.may_be_lost(r)}
        wait_until(lambda: expected <= set(self.logged()), lambda: f"not in the log: {len(expected - set(self.logged()))}", 30)
        lines = self.logged()
        for r in self.requests:
            codes = lines.get(r.query_id, [])
            if self.may_be_lost(r):
                assert len(codes) <= 1, (r, codes)
            elif r.outcome == "left":
                assert codes[0] in ("cancelled", "ok", "worker_crashed") and len(codes) == 1, (r, codes)
            else:
                assert codes == [r.outcome], (r, codes)
        crashed = sum(r.outcome == "worker_crashed" for r in self.requests)
        assert crashed <= self.kills, f"{crashed} clients were told of a crash, {self.kills} workers were killed"
        allowed = {"small": {"ok"}, "medium": {"ok"}, "bulk": {"ok"}, "runaway": {"timeout"}, "leave": {"left"}, "write": {"ok"}}
        for r in self.requests:
            excused = {"cut", "worker_crashed"} | ({"overloaded", "unavailable", "timeout"} if r.phase == "crashes" else set())
            assert r.outcome in allowed[r.kind] | excused, r

    def check_writes(self):
        rows = {n for [n] in self.server.client.query("SELECT n FROM written", headers=bearer(self.keys["root"])).data}
        answered = {n for n, good in self.written if good}
        assert answered <= rows, f"answered, and not there: {answered - rows}"
        assert len(rows) <= len(self.written)

    def figures(self):
        """Per phase: the dashboard's p50 and p99; what the two bulk keys got done."""
        out = {}
        for name, _ in PHASES:
            times = sorted(r.seconds * 1000 for r in self.requests if r.key == "dash" and r.phase == name and r.outcome == "ok")
            if len(times) >= 2:
                cut = statistics.quantiles(times, n=100)
                out[name] = {"p50_ms": cut[49], "p99_ms": cut[98], "requests": len(times)}
        done = Counter(r.key for r in self.requests if r.kind == "bulk" and r.outcome == "ok")
        return out, done


def make_day(server_class, db, directory, seconds, seed):
    """A server with its keys, and the day for it."""
    keys_file, config = directory / "keys.ini", directory / "day.ini"
    config.write_text("[limits]\ntimeout = 20s\n")
    keys = {name: new_key(keys_file, name, role) for name, role in
            (("root", "admin"), ("dash", "reader"), ("ann", "analyst"), ("bulk_a", "reader"), ("bulk_b", "reader"), ("wild", "reader"))}
    server = server_class(db, set={**SETTINGS, "server.keys_file": keys_file}, config=config, key=keys["root"])
    return Day(server, keys, seconds, seed, config)


def live_through(day):
    """The day, from a settled server to a settled server; nothing may have grown."""
    server = day.server
    server.settle()
    fds, memory = len(proc.fds(server.pid)), proc.private_bytes(server.pid)
    front_at_noon = []

    def look_at_noon():  # a front that comes after the crashes has had its first requests by the evening
        wait_until(lambda: day.phase == "evening", "no evening", day.seconds + 60)
        time.sleep(min(2.0, day.seconds * 0.05))
        front_at_noon.append((server.front_pid, proc.private_bytes(server.front_pid)))
    watcher = threading.Thread(target=look_at_noon, daemon=True)
    watcher.start()
    day.run()
    watcher.join(60)
    server.settle(90)
    day.check_books()
    day.check_writes()
    wait_until(lambda: len(proc.fds(server.pid)) <= fds + 2, lambda: f"supervisor: {fds} descriptors before, now {proc.fds(server.pid)}")
    assert proc.private_bytes(server.pid) - memory < 3_000_000
    pid, before = front_at_noon[0]
    assert server.front_pid == pid and proc.private_bytes(pid) - before < 8_000_000, (before, proc.private_bytes(pid))
    status = server.status()
    assert {s.pid for s in proc.descendants(server.pid)} == {status["front"]["pid"], *server.worker_pids()}
    assert server.metric("bulkhead_queue_length") == 0 and server.metric("bulkhead_sessions") == 0
    return day.figures()
