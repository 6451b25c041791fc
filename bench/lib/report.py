"""Turns records into the table on the terminal and into docs/benchmarks.md. Measures nothing."""

import os
import platform
import re

from . import machine
from .subjects import MEMORY_LIMIT, THREADS, WORKERS
from .targets import REACH, show

SERVERS = ("bulkhead", "bulkhead without cache", "FastAPI pool")
METHOD = """\
Three subjects on the same database file (TPC-H, scale factor {scale}, read-only), each with {threads}
engine thread per worker and a memory limit of {memory}, the servers with {workers} workers: libduckdb
called in process through its C API (`bench/inproc.c`), bulkhead, and the usual alternative
(`bench/fastapi_pool`: FastAPI on uvicorn with uvloop and httptools, worker processes that are terminated
and respawned). Client, servers and engine share the machine's cores.

- Rounds: {rounds}. Every round starts each server anew; within a phase the subjects take turns, and the
  in-process figure is measured again beside them. A ratio compares neighbours of the same round. Shown
  are the median over all rounds, and in brackets the smallest and largest value.
- The hot in-process loop calls `duckdb_query` and fetches the row, again and again. The paced one sleeps
  100 us before each query, as a server's worker rests between two requests; only the query is timed.
- "Cache" is the statement cache by exact text; off means `pool.statement_cache=0`. The hot loop parses
  and plans each time.
- Load comes from `bench/load.c`: keep-alive, one thread, the next request of a connection after its
  answer. Every answer is checked for its status and its row; one wrong answer fails the run.
- q1 and q6: median time to the complete JSON answer, against the time to fetch every chunk in process.
- Runaway queries have a timeout of {deadline_s:g} s. "Graces used" are those before the step that ended
  the query: none for an interrupt, `interrupt_grace` for SIGTERM, both for SIGKILL. CPU time is read each
  millisecond from the worker's CPU clock; idle is the moment from which it uses less than a tenth of a
  core for 20 ms, or is dead (pidfd).
- SIGSEGV goes to a worker in the middle of a query; its client has to get a 502. Once with a stream of
  SELECT 1 on another connection, once with every worker busy, so that the answer needs a replacement.
- Front killed: fresh connections try at once and until they are answered, one by `/healthz`, one by
  SELECT 1.
- Cold start: from exec to the complete first answer, with the files in the page cache. Memory: private
  pages (smaps_rollup) of the idle processes after their first query.
- `/healthz`: one connection, one request after the other, alone and then with every worker in a runaway
  query. `/metrics` and a DELETE (of an id that is nobody's) likewise.
- Kept in the spool: an asynchronous query's time in its worker, against the time of the same result through the ring. Free: from
  the last row to the first look at `/v1/status` that shows no busy worker, with a client that takes 1 MB/s. 200 bulk readers
  ask for 4 MB each and read nothing; SELECT 1 is sent behind them, and again once all of them wait for their clients only.
- A key, and the query log: two servers that differ in just that, SELECT 1 on one connection in turns of 300 requests, with the same cores
  for both sides. What they cost is the difference of the fronts' CPU time, the mean of the middle half of the pairs; the log's part is
  that of what front and workers take together without it. The ratio of the rates is taken pair by pair.
- Refusals: one key may ask once per second and asks 2,000 times; another asks 500 times per second, with and
  without that neighbour, and with one that asks for /healthz as often: the rest of what is seen is the load generators' own, which
  share the cores with the server.
- Idle connections: each was answered once and is kept alive; the front's private memory with all of them."""


def spread_text(rec, key, unit):
    if not rec.has(key):
        return ""
    low, high = rec.spread(key)
    return f"{show(low, unit)} - {show(high, unit)}"


def reach_rows(rec):
    for target in REACH:
        value = rec.median(target.key)
        verdict = "not measured" if value is None else "met" if target.met(value) else "not met"
        yield (
            target.what,
            target.show_limit(),
            show(value, target.unit),
            spread_text(rec, target.key, target.unit),
            verdict,
        )


def print_table(rec, out):
    rows = [("reach", "target", "median", "spread", ""), *reach_rows(rec)]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip(), file=out)


def markdown_table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def cell(rec, key, unit="", digits=None):
    value = rec.median(key)
    if value is None:
        return "-"
    text = f"{value:,.{digits}f}" if digits is not None else show(value, unit)
    return f"{text} ({spread_text(rec, key, unit)})" if digits is None else text


def context_rows(rec, servers):
    def row(what, inproc, server_key, digits):
        yield (
            what,
            cell(rec, inproc, digits=digits) if inproc else "-",
            *(cell(rec, f"{s}.{server_key}", digits=digits) for s in servers),
        )

    for n in (1, 8, 32):
        yield from row(
            f"SELECT 1, {n} connection{'s' if n > 1 else ''}, requests/s",
            "inproc.hot.per_s" if n == 1 else None,
            f"select1.c{n}.per_s",
            0,
        )
    yield (
        "SELECT 1 prepared, hot loop, queries/s",
        cell(rec, "inproc.hot_prepared.per_s", digits=0),
        *("-" for _ in servers),
    )
    yield from row("SELECT 1 p50, 1 connection / paced, us", "inproc.paced.p50_us", "p50_us", 0)
    yield (
        "SELECT 1 p50, paced and prepared, us",
        cell(rec, "inproc.paced_prepared.p50_us", digits=0),
        *("-" for _ in servers),
    )
    for n in (1, 8, 32):
        yield from row(
            f"SELECT 1 p99, {n} connection{'s' if n > 1 else ''}, us", None, f"select1.c{n}.p99_us", 0
        )
    yield from row("q1, ms", "inproc.q1.ms", "q1.ms", 1)
    yield from row("q6, ms", "inproc.q6.ms", "q6.ms", 1)
    yield from row("CPU time of the front for a refusal (429), 2,000 per second, us", None, "refusal.us", 1)
    yield from row("/healthz p99, unloaded, us", None, "healthz.calm.p99_us", 0)
    yield from row("/healthz p99, every worker busy, us", None, "healthz.busy.p99_us", 0)


def comparison_rows(rec, servers):
    for n in (1, 8, 32):
        yield (
            f"SELECT 1, {n} connection{'s' if n > 1 else ''} / hot in-process loop",
            [cell(rec, f"{s}.select1.c{n}.ratio") for s in servers],
        )
    yield "p50 / paced in-process loop", [cell(rec, f"{s}.p50.ratio") for s in servers]
    yield "p50 / paced in-process loop, prepared", [cell(rec, f"{s}.p50.ratio_prepared") for s in servers]
    for query in ("q1", "q6"):
        yield f"{query} / in-process", [cell(rec, f"{s}.{query}.ratio") for s in servers]
    for name in ("cross join", "levenshtein"):
        yield f"{name}: ended by", [rec.seen(f"{s}.{name}") or "-" for s in servers]
        for key, what in (
            ("idle_after_deadline_ms", "CPU idle after the deadline"),
            ("answer_after_deadline_ms", "answer after the deadline"),
            ("answer_after_death_ms", "answer after the worker's death"),
        ):
            yield f"{name}: {what}", [cell(rec, f"{s}.{name}.{key}", "ms") for s in servers]
    for key, what in (
        ("segv.stream_ms", "SIGSEGV, next good answer on another connection"),
        ("segv.all_busy_ms", "SIGSEGV with every worker busy, next good answer"),
        ("front.accept_ms", "front killed, accepting again"),
        ("front.answer_ms", "front killed, first answer"),
        ("cold_ms", "cold start"),
    ):
        yield what, [cell(rec, f"{s}.{key}", "ms") for s in servers]
    yield "/healthz p99, busy / unloaded", [cell(rec, f"{s}.healthz.ratio") for s in servers]
    roles = sorted({key.split(".memory.")[1] for key in rec.values if ".memory." in key} - {"core_mb"})
    for role in roles:
        yield f"idle private memory: {role}", [cell(rec, f"{s}.memory.{role}", "MB") for s in servers]


def result_rows(rec):
    names = ("arrow", "csv", "json", "ndjson", "parquet", "csv gzip", "csv zstd", "json zstd", "arrow codecs=zstd")
    for name in names:
        key = f"results.{name}"
        yield (
            name,
            cell(rec, f"{key}.s", digits=2),
            cell(rec, f"{key}.mb", digits=0),
            cell(rec, f"{key}.ratio"),
            cell(rec, f"{key}.over_copy"),
            cell(rec, f"{key}.front_cpu_s_per_gb"),
        )


def result_facts(rec):
    if not rec.has("results.chunks.s"):
        return ""
    text = (
        f"In process the same rows take {cell(rec, 'results.chunks.s', digits=2)} s as chunks. Peak memory of a worker: "
        f"{cell(rec, 'results.worker_peak_mb', 'MB')}; private memory of the front: {cell(rec, 'results.front_private_mb', 'MB')}."
    )
    for name in ("bulkhead", "FastAPI pool"):
        if rec.seen(f"results.{name}.rows"):
            text += (
                f" One million of the rows as JSON, {name}: {cell(rec, f'results.{name}.rows_s', digits=2)} s "
                f"({rec.seen(f'results.{name}.rows')}), at most {cell(rec, f'results.{name}.rows_peak_mb', 'MB')} in all its processes."
            )
    return text


def field_rows(rec):
    """The rows by which servers of this kind are compared, each with what this run has of it."""
    names = ("bulkhead", "FastAPI pool")

    def row(what, key, unit="", digits=None, inproc="-"):
        return (what, inproc, *(cell(rec, f"{name}.{key}", unit, digits) for name in names))

    def seen(what, key, inproc="-"):
        return (what, inproc, *(rec.seen(f"{name}.{key}") or "-" for name in names))

    hot = cell(rec, "inproc.hot.per_s", digits=0)
    yield row("SELECT 1, 1 client, requests/s", "select1.c1.per_s", digits=0, inproc=hot)
    yield row("SELECT 1, 32 clients, requests/s", "select1.c32.per_s", digits=0)
    yield row("q1, ratio to in-process", "q1.ratio", inproc="1")
    yield row("q6, ratio to in-process", "q6.ratio", inproc="1")
    yield ("lineitem, 6 M rows, all columns", f"{cell(rec, 'results.chunks.s', digits=2)} s as chunks",
           f"{cell(rec, 'results.arrow.s', digits=2)} s Arrow, {cell(rec, 'results.json.s', digits=2)} s JSON", "-")
    yield ("1 M rows of it as JSON, most memory of all processes", "-", *(
        f"{rec.seen(f'results.{name}.rows') or '-'}; {cell(rec, f'results.{name}.rows_peak_mb', 'MB')}" for name in names))
    yield ("levenshtein after a limit of 1 s", rec.seen("inproc.levenshtein") or "-",
           *(f"{cell(rec, f'{name}.levenshtein.answer_after_deadline_ms', 'ms')}" for name in names))
    for name in ("cross join", "levenshtein"):
        yield seen(f"client gone in a {name}: the engine", f"gone.{name}")
    yield row("SIGSEGV in the engine: next good answer", "segv.stream_ms", "ms", inproc="all dead")
    yield row("2 GB in one vector at a memory limit of 512 MB: most memory", "bomb_mb", "MB")
    yield seen("the same: answer", "bomb")
    yield seen("reads /etc/passwd", "file")
    yield row("cold start", "cold_ms", "ms")
    yield row("3 slow readers of 1 M rows: memory", "slow_mb", "MB")


def in_process_facts(rec):
    if not rec.notes:
        return ""
    stuck = "; ".join(f"{name}: {rec.seen(f'inproc.{name}')}" for name in ("cross join", "levenshtein"))
    return (
        f"In process, after `duckdb_interrupt` at the deadline: {stuck}. "
        "A SIGSEGV there ends the whole program; "
        "the death of the FastAPI pool's front is the end of that server."
    )


def machine_facts(engine):
    with open("/proc/meminfo", encoding="ascii") as f:
        memory_gb = int(re.search(r"MemTotal:\s+(\d+)", f.read())[1]) / 1e6
    kernel = re.match(r"\d+\.\d+", platform.release())[0]
    return (
        f"{len(os.sched_getaffinity(0))} cores, "
        f"{memory_gb:.0f} GB of memory, {platform.machine()}, Linux {kernel}, "
        f"DuckDB {engine}, Python {platform.python_version()} for the FastAPI pool"
    )


def markdown(rec, engine, rounds, scale, deadline_s):
    servers = [s for s in SERVERS if rec.has(f"{s}.cold_ms")]
    parts = [
        "# Benchmarks",
        "Written by `make bench`; do not edit. " + machine_facts(engine) + ".",
        machine.sentence(rec),
        "## What is to be reached",
        "Ratios and delays. Not met is said as it is.",
        markdown_table(("what", "target", "median", "spread", ""), reach_rows(rec)),
        "## Side by side",
        "Median, and in brackets the spread.",
        markdown_table(("what", *servers), ((what, *cells) for what, cells in comparison_rows(rec, servers))),
        in_process_facts(rec),
        "## Large results",
        "lineitem, all 16 columns, through the server to one client on loopback that throws it away; two engine threads.",
        markdown_table(
            ("format", "seconds", "MB", "in-process chunks / this", "COPY to a pipe / this", "front CPU s/GB"), result_rows(rec)
        ),
        result_facts(rec),
        "## What is asked of every server in this field" if rec.has("bulkhead.bomb_mb") else "",
        "The figures by which servers around this engine are compared, on this machine and in this run; memory is what comes on top of the idle "
        "server's. Requests per second are this machine's, and so are seconds." if rec.has("bulkhead.bomb_mb") else "",
        markdown_table(("what", "in process", "bulkhead", "FastAPI pool"), field_rows(rec)) if rec.has("bulkhead.bomb_mb") else "",
        "## Absolute figures",
        "Context only: they are this machine's on one day, and say nothing about another one.",
        markdown_table(("what", "in process", *servers), context_rows(rec, servers)),
        "## Method",
        METHOD.format(
            scale=scale,
            threads=THREADS,
            memory=MEMORY_LIMIT,
            workers=WORKERS,
            rounds=rounds,
            deadline_s=deadline_s,
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
