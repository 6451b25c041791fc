"""Queries that run for ever, cut by a deadline: when does the CPU become idle, when does the client know?"""

import time

from .client import Client
from .env import BenchError
from .procs import CpuTrace

LEVENSHTEIN = "SELECT levenshtein(repeat('a',200000), repeat('b',200000))"
CROSS_JOIN = "SELECT max(hash(a.l_orderkey, b.l_orderkey)) FROM lineitem a, lineitem b"
RUNAWAYS = {"cross join": CROSS_JOIN, "levenshtein": LEVENSHTEIN}
SAMPLE_S = 0.001
AFTERMATH_S = 0.1


def in_process(rec, inproc, deadline_s, wait_ms):
    """The comparison: an embedding program can only interrupt and hope."""
    for name, sql in RUNAWAYS.items():
        report = inproc.run(
            "runaway", "--sql", sql, "--deadline-ms", int(deadline_s * 1000), "--wait-ms", wait_ms
        )
        if report["stopped"]:
            rec.add(f"inproc.{name}.idle_ms", report["after_ms"])
        rec.note(
            f"inproc.{name}", "stopped" if report["stopped"] else f"still running after {wait_ms / 1000:g} s"
        )


def grace_before(server, stopped_by):
    """From the deadline to the moment at which that step of the ladder is due."""
    if stopped_by == "kill":
        return server.interrupt_grace_s + server.term_grace_s
    if stopped_by == "term":
        return server.interrupt_grace_s
    return 0.0


def measure(rec, server, deadline_s):
    for name, sql in RUNAWAYS.items():
        server.settle()
        one(rec, server, name, sql, deadline_s)
    server.settle()


def one(rec, server, name, sql, deadline_s):
    trace = CpuTrace(server.worker_pids())
    try:
        with Client(server.port) as client:
            sent = time.monotonic()
            client.send_query(sql, f"{int(deadline_s * 1000)}ms")
            answer = follow(trace, client, sent + deadline_s)
        if answer is None:
            raise BenchError(f"{server.name}: no answer to a {name} long after its deadline")
        if answer.status != 504:
            raise BenchError(f"{server.name}: status {answer.status} instead of 504 for a {name}")
        store(rec, server, name, sent + deadline_s, answer, trace)
    finally:
        trace.close()


def follow(trace, client, deadline):
    """Samples until the answer has come and the worker is idle, plus a little; bounded."""
    answer = None
    end = deadline + 8.0
    while time.monotonic() < end:
        readable = trace.step(None if answer else client.fileno(), SAMPLE_S)
        if readable and answer is None:
            answer = client.read()
        now = time.monotonic()
        if answer and now > max(deadline, answer.at) + AFTERMATH_S:
            pid = trace.busiest(deadline)
            if trace.idle_at(pid, deadline) is not None:
                break
    return answer


def store(rec, server, name, deadline, answer, trace):
    pid = trace.busiest(deadline)
    idle = trace.idle_at(pid, deadline)
    died = trace.died.get(pid)
    stopped_by = str(answer.body.get("stopped_by"))
    key = f"{server.name}.{name}"
    rec.note(key, stopped_by if idle is not None else f"{stopped_by}, never idle")
    rec.add(f"{key}.answer_after_deadline_ms", (answer.at - deadline) * 1000)
    if idle is None:
        return
    rec.add(f"{key}.idle_after_deadline_ms", (idle - deadline) * 1000)
    rec.add(f"{key}.idle_lag_ms", (idle - deadline - grace_before(server, stopped_by)) * 1000)
    if died is not None and died <= answer.at + AFTERMATH_S and stopped_by != "interrupt":
        rec.add(f"{key}.answer_after_death_ms", (answer.at - died) * 1000)
