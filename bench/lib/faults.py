"""Crashes on purpose: a worker by SIGSEGV, the front by SIGKILL; and the front's calm while every worker is
busy."""

import os
import signal
import threading
import time

from .client import BROKEN, Client, first_good
from .env import BenchError
from .procs import burning, wait_until
from .runaway import LEVENSHTEIN
from .speed import SELECT_1, load


class Pinned:
    """Clients whose queries keep workers busy until they are crashed, or their timeout comes."""

    def __init__(self, server, count, timeout_s):
        server.settle()
        self.clients = [Client(server.port, timeout_s + 10) for _ in range(count)]
        try:
            for client in self.clients:
                client.send_query(LEVENSHTEIN, f"{int(timeout_s * 1000)}ms")
            self.pids = burning(server.worker_pids(), want=count)
            if len(self.pids) != count:
                raise BenchError(
                    f"{server.name}: {len(self.pids)} of {count} workers busy with a runaway query"
                )
        except BaseException:
            self.close()
            raise

    def statuses(self):
        """The definite answer that each client gets; 0 where the connection was closed without one."""
        found = []
        for client in self.clients:
            try:
                found.append(client.read().status)
            except BROKEN:
                found.append(0)
        return found

    def close(self):
        for client in self.clients:
            client.close()


def crash(pid):
    at = time.monotonic()
    os.kill(pid, signal.SIGSEGV)
    return at


def expect_crash_answers(server, statuses):
    if any(status != 502 for status in statuses):
        raise BenchError(f"{server.name}: clients of crashed workers got {statuses} instead of 502")


def segv_beside_stream(rec, server):
    """A stream of SELECT 1 on one connection, the worker of another one crashes."""
    pinned = Pinned(server, 1, 20)
    stop, good, bad = threading.Event(), [], []

    def stream():
        try:
            with Client(server.port) as client:
                while not stop.is_set():
                    sent = time.monotonic()
                    answer = client.query(SELECT_1)
                    (good if answer.status == 200 else bad).append((sent, answer.at))
        except BROKEN as error:
            bad.append(error)

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        if not wait_until(lambda: len(good) > 50 or bad, 10):
            raise BenchError(f"{server.name}: no stream of answers beside one busy worker")
        at = crash(pinned.pids[0])
        wait_until(lambda: bad or (good and good[-1][0] > at), 10, 0.0005)
        expect_crash_answers(server, pinned.statuses())
    finally:
        stop.set()
        thread.join()
        pinned.close()
    if bad:
        raise BenchError(f"{server.name}: the stream beside a crash was disturbed: {bad[0]}")
    later = [t for sent, t in good if sent > at]
    if not later:
        raise BenchError(f"{server.name}: no good answer within 10 s of a crash")
    rec.add(f"{server.name}.segv.stream_ms", (later[0] - at) * 1000)


def segv_all_busy(rec, server, workers):
    """Every worker is busy when one crashes, so the next answer needs the replacement."""
    pinned = Pinned(server, workers, 20)
    try:
        with Client(server.port) as client:
            at = crash(pinned.pids[0])
            answer = client.query(SELECT_1)
        if answer.status != 200:
            answer = first_good(server.port, lambda c: c.query(SELECT_1))
        if answer is None:
            raise BenchError(f"{server.name}: no good answer within 10 s of a crash")
        rec.add(f"{server.name}.segv.all_busy_ms", (answer.at - at) * 1000)
        for pid in pinned.pids[1:]:
            crash(pid)
        expect_crash_answers(server, pinned.statuses())
    finally:
        pinned.close()
    server.settle()


def healthz(env, rec, server, workers, seconds):
    """p99 of /healthz alone and while every worker computes, one after the other."""
    server.settle()
    calm = load(env, server, 1, seconds, path="/healthz")
    pinned = Pinned(server, workers, seconds + 2)
    try:
        busy = load(env, server, 1, seconds, path="/healthz")
        if any(status != 504 for status in pinned.statuses()):
            raise BenchError(
                f"{server.name}: the runaway queries beside /healthz did not end by their timeout"
            )
    finally:
        pinned.close()
    for name, report in (("calm", calm), ("busy", busy)):
        rec.add(f"{server.name}.healthz.{name}.p50_us", report["p50_us"])
        rec.add(f"{server.name}.healthz.{name}.p99_us", report["p99_us"])
    rec.add(f"{server.name}.healthz.ratio", busy["p99_us"] / calm["p99_us"])
    server.settle()


def front_killed(rec, server):
    """SIGKILL of the front: when does a new one answer by itself, when does it answer a query?"""
    server.settle()
    old = server.status()["front"]["pid"]
    found = {}

    def probe(name, ask):
        found[name] = first_good(server.port, ask)

    at = time.monotonic()
    os.kill(old, signal.SIGKILL)
    threads = [
        threading.Thread(target=probe, args=("accept", lambda c: c.get("/healthz"))),
        threading.Thread(target=probe, args=("answer", lambda c: c.query(SELECT_1))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if None in found.values() or server.status()["front"]["pid"] == old:
        raise BenchError(f"{server.name}: its front did not come back within 10 s")
    rec.add(f"{server.name}.front.accept_ms", (found["accept"].at - at) * 1000)
    rec.add(f"{server.name}.front.answer_ms", (found["answer"].at - at) * 1000)
    server.settle()
