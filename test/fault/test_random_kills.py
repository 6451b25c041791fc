"""Random kills under load. Every request is accounted for; nothing leaks. BULKHEAD_KILLS (200) sets how many."""

import os
import random
import signal
import threading
import time
from collections import Counter

import pytest

from lib import proc
from lib.client import Cut, new_id
from lib.sql import CROSS_JOIN
from lib.wait import wait_until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(1800)]

KILLS = int(os.environ.get("BULKHEAD_KILLS", "200"))
SEED = int(os.environ.get("BULKHEAD_TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 32)

SMALL = "SELECT $1::BIGINT AS i, 'abc' AS s"
MEDIUM = "SELECT sum(a.i * b.i % 7) AS s, $1::BIGINT AS i FROM range(3000) a(i), range(1000) b(i)"
LARGE = "SELECT j, $1::BIGINT + j AS v FROM range(60000) t(j)"


class Kills:
    """What was done to whom, and when: the only excuse for an answer that is not 200."""

    def __init__(self):
        self.lock = threading.Lock()
        self.fronts = []  # [begin, end]: while the front was down; end None until a new one answered

    def front_down(self):
        with self.lock:
            self.fronts.append([time.monotonic(), None])

    def front_up(self):
        with self.lock:
            self.fronts[-1][1] = time.monotonic()

    def excuses_cut(self, began, ended):
        with self.lock:
            return any(b <= ended and (e is None or e >= began) for b, e in self.fronts)


class Caller(threading.Thread):
    """One client that asks without pause and keeps the books."""

    def __init__(self, server, kills, seed, stop, total):
        super().__init__(daemon=True)
        self.server, self.kills, self.stop, self.total = server, kills, stop, total
        self.random = random.Random(seed)
        self.outcomes, self.wrong = Counter(), []
        self.connection, self.connected = None, 0.0

    def run(self):
        n = 0
        while not self.stop.is_set():
            n += 1
            try:
                self.one(n)
            except Exception as e:  # noqa: BLE001: whatever it is, it is an unaccounted request
                self.wrong.append(f"request {n}: {type(e).__name__}: {e}")
                self.drop()
        self.drop()

    def drop(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def one(self, n):
        kind = self.random.choices(["small", "medium", "large", "runaway", "leave", "error"], [60, 15, 10, 5, 5, 5])[0]
        sql = {"small": SMALL, "medium": MEDIUM, "large": LARGE, "runaway": CROSS_JOIN, "leave": CROSS_JOIN, "error": "SELEC"}[kind]
        fields = {"timeout": "300ms" if kind == "runaway" else "20s"}
        if "$1" in sql:
            fields["params"] = [n]
        body = self.server.client.query_body(sql, fields)
        began = time.monotonic()
        reused = self.connection is not None
        try:
            if not self.connection:
                self.connection, self.connected = self.server.client.connect(), began
            self.connection.send_request("POST", "/v1/query", body, [("Content-Type", "application/json")])
            if kind == "leave":
                self.drop()
                self.outcomes["left"] += 1
                return
            response = self.connection.read_response()
        except (Cut, ConnectionError) as e:
            connected = self.connected if reused else began
            self.drop()
            self.account_cut(kind, e, began, connected, reused)
            return
        self.account(kind, n, response)
        if response.headers.get("Connection", "").lower() == "close":
            self.drop()

    def account_cut(self, kind, e, began, connected, reused):
        head = getattr(e, "response", None)
        # A kept connection ends with the front that took it, also when its next request comes only after the new one is there.
        if self.kills.excuses_cut(min(began, connected), time.monotonic()):
            self.outcomes["cut with the front"] += 1
        elif kind == "large" and head is not None and head.status == 200:
            # The head was out when the worker died: the body is cut short, visibly.
            self.outcomes["cut after the head"] += 1
        else:
            self.wrong.append(f"{kind}: cut without a reason: {e} (connection {'kept' if reused else 'new'})")

    def expected(self, kind, n):
        if kind == "small":
            return [[n, "abc"]]
        if kind == "medium":
            return [[self.total, n]]
        return [[j, n + j] for j in range(60000)] if kind == "large" else "no rows at all"

    def account(self, kind, n, response):
        if response.status == 200:
            data = response.json()["data"]
            if data != self.expected(kind, n):
                self.wrong.append(f"{kind} {n}: wrong content: {str(data)[:200]}")
        elif kind == "error" and response.status == 400:
            response.problem(400, "sql_error")
        elif kind == "runaway" and response.status == 504:
            response.problem(504, "timeout")
        else:
            code = response.json()["code"]
            if (response.status, code) not in [(502, "worker_crashed"), (503, "overloaded"), (503, "unavailable"), (504, "timeout")]:
                self.wrong.append(f"{kind}: {response!r}")
            response.problem(response.status, code)
        self.outcomes[response.status] += 1


def front_of(server, old):
    def other():
        try:
            pid = server.front_pid
        except (OSError, Cut, AssertionError):
            return None
        return pid if pid != old else None
    return wait_until(other, lambda: f"no new front:\n{server.log_text()}", 30)


def rows(server):
    try:
        return server.workers()
    except (OSError, Cut):
        return []


def strike(server, kills, dice, done):
    """One kill: mostly a worker, sometimes the spare, rarely the front; mostly at once, sometimes after a stop."""
    target = dice.choices(["pool", "spare", "front"], [80, 12, 8])[0]
    if target == "front":
        front = server.front_pid
        kills.front_down()
        proc.kill(front, dice.choice([signal.SIGKILL, signal.SIGSEGV]))
        done["front"] += 1
        front_of(server, front)
        kills.front_up()
        return
    candidates = [w for w in rows(server) if w["kind"] == target]
    if not candidates:
        return
    # Prefer one that is busy: that is where it hurts.
    busy = [w for w in candidates if w["query_id"]]
    worker = dice.choice(busy or candidates)
    sig = dice.choices([signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM], [60, 25, 10, 5])[0]
    if dice.random() < 0.05:
        proc.kill(worker["pid"], signal.SIGSTOP)
    if not proc.kill(worker["pid"], sig):
        return
    if sig == signal.SIGTERM:
        proc.kill(worker["pid"], signal.SIGCONT)
    elif sig != signal.SIGKILL:
        proc.kill(worker["pid"], signal.SIGCONT)
    wait_until(lambda: not proc.is_alive(worker["pid"]), lambda: f"{worker} survives {sig.name}\n{server.log_text()}")
    done[target] += 1


def test_every_request_is_accounted_for_and_nothing_leaks(start):
    print(f"seed {SEED} (BULKHEAD_TEST_SEED repeats it), {KILLS} kills")
    dice = random.Random(SEED)
    server = start(set={"limits.queue_length": 64, "limits.queue_timeout": "20s"})
    server.settle()
    for _ in range(50):
        server.client.rows(SMALL, [1])
    total_of_medium = server.client.rows(MEDIUM, [1])[0][0]
    server.settle()
    fds = {"supervisor": len(proc.fds(server.pid)), "front": len(proc.fds(server.front_pid))}
    memory = {"supervisor": proc.private_bytes(server.pid), "front": proc.private_bytes(server.front_pid)}

    kills, stop, done = Kills(), threading.Event(), Counter()
    callers = [Caller(server, kills, dice.random(), stop, total_of_medium) for _ in range(4)]
    for c in callers:
        c.start()
    try:
        while sum(done.values()) < KILLS:
            answered = sum(sum(c.outcomes.values()) for c in callers)
            strike(server, kills, dice, done)
            assert server.is_up(), server.log_text()
            # The load has to go on between two kills: wait for a few answers, not for a time.
            wait_until(lambda: sum(sum(c.outcomes.values()) for c in callers) >= answered + dice.randint(1, 6) or any(c.wrong for c in callers),
                       lambda: f"no answers any more: {rows(server)}\n{server.log_text()}", 45)
            assert not any(c.wrong for c in callers), [c.wrong[:3] for c in callers]
    finally:
        stop.set()
        for c in callers:
            c.join(60)
    total = sum((c.outcomes for c in callers), Counter())
    print("kills:", dict(done), "answers:", dict(total))
    assert not any(c.is_alive() for c in callers), "a request is still without an answer"
    assert not [w for c in callers for w in c.wrong]
    assert total[200] > KILLS

    # As many crashes as kills at most: one death never costs two answers.
    assert total[502] + total["cut after the head"] <= done["pool"] + done["spare"], (total, done)

    server.settle(60)
    for role, pid in (("supervisor", server.pid), ("front", server.front_pid)):
        wait_until(lambda: len(proc.fds(pid)) <= fds[role] + 1, lambda: f"{role}: {fds[role]} descriptors before, now {proc.fds(pid)}")
        grown = proc.private_bytes(pid) - memory[role]
        assert grown < 3_000_000, f"{role} has grown by {grown} bytes"
    status = server.status()
    expected = {status["front"]["pid"], *server.worker_pids()}
    assert {s.pid for s in proc.descendants(server.pid)} == expected
    assert not [s for s in proc.descendants(server.pid) if s.state == "Z"]
    for i in range(20):
        mine = new_id()
        assert server.client.query("SELECT $1", [i], headers={"Bulkhead-Query-Id": mine}).data == [[i]]
