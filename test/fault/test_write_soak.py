"""Random kills of imports, admin writes and swaps, while readers ask without pause. In the end the database opens and has all or nothing of each
write, every write that was answered is there, and no reader saw an error. A cut of it runs with the other faults; `make soak` runs the whole."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from lib import proc
from lib.client import Cut
from lib.server import BULKHEAD, clean_environment
from lib.wait import wait_until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("BULKHEAD_WRITE_KILLS") or (500 if os.environ.get("BULKHEAD_SOAK_MINUTES") else 20))
SEED = int(os.environ.get("BULKHEAD_TEST_SEED", "0")) or (random.SystemRandom().randrange(1 << 32) if os.environ.get("BULKHEAD_SOAK_MINUTES") else 20)

EACH = 40  # rows that belong to one write
WRITE = "INSERT INTO a VALUES ({k}); INSERT INTO b SELECT {k}, i FROM range({n}) r(i); UPDATE total SET writes = writes + 1"
READ = "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b), (SELECT writes FROM total)"
SMALL = ["--set", "admin.memory_limit=128MB", "--set", "admin.threads=1"]


class Reader(threading.Thread):
    def __init__(self, server, stop):
        super().__init__(daemon=True)
        self.server, self.stop = server, stop
        self.reads, self.wrong, self.crashed = 0, [], 0

    def run(self):
        body = self.server.client.query_body(READ, {"timeout": "30s"})
        try:
            with self.server.client.connect() as c:
                while not self.stop.is_set():
                    r = c.request("POST", "/v1/query", body, [("Content-Type", "application/json")])
                    self.look(r)
        except (Cut, OSError, AssertionError) as e:
            self.wrong.append(f"{type(e).__name__}: {e}")

    def look(self, r):
        self.reads += 1
        if r.status == 502:  # a spare that got its slot, and this query, between our look and our kill
            self.crashed += 1
        elif r.status != 200:
            self.wrong.append(repr(r))
        else:
            writes, rows, total = r.json()["data"][0]
            if rows != writes * EACH or total != writes:
                self.wrong.append(f"half of a write: {writes} writes, {rows} rows, {total} counted")


class World:
    def __init__(self, server, db, dice):
        self.server, self.db, self.dice = server, db, dice
        self.next, self.acknowledged, self.done, self.outcomes = 0, set(), Counter(), Counter()

    def script(self):
        self.next += 1
        return self.next, WRITE.format(k=self.next, n=EACH)

    def kill(self, pid, what):
        if pid and proc.kill(pid):
            self.done[what] += 1

    # --- one each

    def import_killed(self):
        k, sql = self.script()
        p = subprocess.Popen([str(BULKHEAD), "import", str(self.db), "-", *SMALL], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, env=clean_environment(), text=True)
        p.stdin.write(sql)
        p.stdin.close()
        time.sleep(self.dice.uniform(0, 0.3))
        if self.dice.random() < 0.6:
            if p.poll() is None:
                self.kill(p.pid, "import")
        else:
            children = [s.pid for s in proc.descendants(p.pid) if s.state != "Z"]
            if children:
                self.kill(self.dice.choice(children), "import's worker")
        text = p.stderr.read()
        p.stderr.close()
        if p.wait() == 0:
            self.acknowledged.add(k)
        self.outcomes[f"import {p.returncode}"] += 1
        assert p.returncode in (0, 1, -9), text

    def admin_killed(self):
        k, sql = self.script()
        answer = []
        body = json.dumps({"sql": sql}).encode()
        t = threading.Thread(target=lambda: answer.append(self.server.client.request("POST", "/v1/admin/sql", body, [("Content-Type", "application/json")])))
        t.start()
        what = self.dice.choice(["publisher", "writer"])
        pid = None
        while t.is_alive() and not pid:
            pid = next((s.pid for s in proc.descendants(self.server.pid) if s.state != "Z" and self.is_a(what, s)), None)
        time.sleep(self.dice.uniform(0, 0.15))
        if t.is_alive():
            self.kill(pid, what)
        t.join(60)
        self.outcomes[f"admin {answer[0].status}"] += 1
        if answer[0].status == 200:
            self.acknowledged.add(k)
        else:
            assert answer[0].json()["code"] in ("worker_crashed", "unavailable", "conflict"), answer[0]

    def is_a(self, what, s):
        if what == "publisher":
            return s.name == "bulkhead-publ"
        return any(w["pid"] == s.pid and w["kind"] == "writer" for w in self.server.workers())

    def swap_killed(self):
        """A write that is let alone, and a kill of a worker that starts to take up what it published."""
        k, sql = self.script()
        body = json.dumps({"sql": sql}).encode()
        answer = []
        t = threading.Thread(target=lambda: answer.append(self.server.client.request("POST", "/v1/admin/sql", body, [("Content-Type", "application/json")])))
        t.start()
        while t.is_alive():
            if self.server.status()["database"]["state"] == "swapping":
                starting = [w["pid"] for w in self.server.workers("spare") if w["state"] == "starting"]
                if starting:
                    self.kill(self.dice.choice(starting), "swap")
                    break
        t.join(60)
        assert answer[0].status == 200, answer[0]
        self.acknowledged.add(k)
        self.outcomes["swap 200"] += 1


def facts(db):
    code = ("import duckdb, sys, json; c = duckdb.connect(sys.argv[1], read_only=True); "
            "print(json.dumps([c.execute('SELECT k FROM a ORDER BY k').fetchall(), c.execute('SELECT k, count(*), sum(i) FROM b GROUP BY k ORDER BY k').fetchall(), "
            "c.execute('SELECT writes FROM total').fetchall(), c.execute('SELECT count(*), sum(hash(x)::HUGEINT)::VARCHAR FROM ballast').fetchall()]))")
    r = subprocess.run([sys.executable, "-c", code, str(db)], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def test_all_or_nothing_of_each_write_and_no_reader_sees_it(start, make_db):
    print(f"seed {SEED} (BULKHEAD_TEST_SEED repeats it), {KILLS} kills")
    dice = random.Random(SEED)
    db = make_db().make("CREATE TABLE a(k INTEGER);;CREATE TABLE b(k INTEGER, i INTEGER);;CREATE TABLE total AS SELECT 0 AS writes;;"
                        "CREATE TABLE ballast AS SELECT hash(i) AS x FROM range(300000) r(i)")
    ballast = facts(db)[3]
    server = start(db, set={"server.keyless_admin": "yes", "admin.memory_limit": "128MB", "admin.threads": 1, "limits.queue_timeout": "60s"})
    server.settle()
    world, stop = World(server, db, dice), threading.Event()
    readers = [Reader(server, stop) for _ in range(2)]
    for r in readers:
        r.start()
    try:
        while sum(world.done.values()) < KILLS:
            dice.choices([world.import_killed, world.admin_killed, world.swap_killed], [45, 40, 15])[0]()
            proc.reap_strays()
            assert server.is_up(), server.log_text()
            assert not [w for r in readers for w in r.wrong], [r.wrong[:3] for r in readers]
    finally:
        stop.set()
        for r in readers:
            r.join(60)
    print("kills:", dict(world.done), "outcomes:", dict(world.outcomes), "reads:", sum(r.reads for r in readers), "of", world.next, "writes",
          len(world.acknowledged), "were answered")
    assert not any(r.is_alive() for r in readers) and not [w for r in readers for w in r.wrong]
    # Only a kill that met a reader's own worker is an excuse.
    slots = [e for e in server.log_entries("worker_death", reason="crash") if e["slot"] >= 0]
    assert sum(r.crashed for r in readers) <= len(slots)

    r = server.client.request("POST", "/v1/admin/sql", b'{"sql": "CREATE TABLE last AS SELECT 1 AS a"}', [("Content-Type", "application/json")])
    assert r.status == 200, r
    writes, rows, total, after = facts(db)
    seen = {k for [k] in writes}
    assert len(seen) == len(writes) == total[0][0]
    assert rows == [[k, EACH, EACH * (EACH - 1) // 2] for k in sorted(seen)]
    assert world.acknowledged <= seen, f"answered, and not there: {sorted(world.acknowledged - seen)}"
    assert after == ballast
    names = [n for n in os.listdir(db.path.parent) if ".bulkhead-new" in n]
    assert not names, names
    wait_until(lambda: server.client.rows("SELECT count(*) FROM a") == [[len(seen)]], "readers have another version")
    server.settle(60)
