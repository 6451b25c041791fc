"""The figures to reach, as data: what, which record, which way, how much. `show` makes the text of one
value."""

from dataclasses import dataclass

CACHED, UNCACHED = "bulkhead", "bulkhead without cache"


@dataclass
class Target:
    what: str
    key: str
    at_least: bool
    limit: float
    unit: str = ""

    def met(self, value):
        return value >= self.limit if self.at_least else value <= self.limit

    def show_limit(self):
        return f"{'>=' if self.at_least else '<='} {show(self.limit, self.unit)}"


def show(value, unit):
    if value is None:
        return "not measured"
    if unit == "ms":
        return f"{value:.1f} ms" if abs(value) < 100 else f"{value:.0f} ms"
    if unit == "us":
        return f"{value:.1f} us"
    if unit == "MB":
        return f"{value:.1f} MB"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def at_least(what, key, limit, unit=""):
    return Target(what, key, True, limit, unit)


def at_most(what, key, limit, unit=""):
    return Target(what, key, False, limit, unit)


REACH = [
    at_least("SELECT 1, 1 connection, cache off / hot in-process loop", f"{UNCACHED}.select1.c1.ratio", 0.14),
    at_least("SELECT 1, 1 connection, cache on / hot in-process loop", f"{CACHED}.select1.c1.ratio", 0.25),
    at_least(
        "SELECT 1, 8 connections, cache off / hot in-process loop", f"{UNCACHED}.select1.c8.ratio", 0.30
    ),
    at_least("SELECT 1, 8 connections, cache on / hot in-process loop", f"{CACHED}.select1.c8.ratio", 0.65),
    at_least("SELECT 1, 1 connection / FastAPI pool", f"{CACHED}.select1.c1.over_pool", 4),
    at_least("SELECT 1, 32 connections / FastAPI pool", f"{CACHED}.select1.c32.over_pool", 10),
    at_most("p50, 1 connection, cache on / paced in-process loop", f"{CACHED}.p50.ratio", 2.5),
    at_most("p50, 1 connection, cache off / paced in-process loop", f"{UNCACHED}.p50.ratio", 2.5),
    at_most("q1 / in-process", f"{CACHED}.q1.ratio", 1.03),
    at_most("q6 / in-process", f"{CACHED}.q6.ratio", 1.08),
    at_most(
        "cross join: CPU idle after deadline + graces used", f"{CACHED}.cross join.idle_lag_ms", 30, "ms"
    ),
    at_most(
        "levenshtein: CPU idle after deadline + graces used", f"{CACHED}.levenshtein.idle_lag_ms", 30, "ms"
    ),
    at_most(
        "levenshtein: answer after the worker's death",
        f"{CACHED}.levenshtein.answer_after_death_ms",
        20,
        "ms",
    ),
    at_most(
        "SIGSEGV of a worker: next good answer on another connection", f"{CACHED}.segv.stream_ms", 10, "ms"
    ),
    at_most("SIGSEGV while every worker is busy: next good answer", f"{CACHED}.segv.all_busy_ms", 10, "ms"),
    at_most("front killed: accepting again", f"{CACHED}.front.accept_ms", 100, "ms"),
    at_most("front killed: first answer to a query", f"{CACHED}.front.answer_ms", 300, "ms"),
    at_most("cold start to first answer", f"{CACHED}.cold_ms", 100, "ms"),
    at_most("front + supervisor, private memory, idle", f"{CACHED}.memory.core_mb", 10, "MB"),
    at_least("lineitem as Arrow / in-process chunks", "results.arrow.ratio", 0.65),
    at_least("lineitem as CSV / in-process chunks", "results.csv.ratio", 0.45),
    at_least("lineitem as JSON / in-process chunks", "results.json.ratio", 0.42),
    at_least("lineitem as NDJSON / in-process chunks", "results.ndjson.ratio", 0.35),
    at_least("lineitem as Arrow / in-process Arrow arrays", "results.arrow.over_in_process", 1.0),
    at_least("lineitem as CSV / the engine's COPY to a pipe", "results.csv.over_copy", 2.5),
    at_least("lineitem as JSON / the engine's COPY to a pipe", "results.json.over_copy", 2.5),
    at_least("lineitem as NDJSON / the engine's COPY to a pipe", "results.ndjson.over_copy", 2.5),
    at_most("front CPU seconds per GB, CSV", "results.csv.front_cpu_s_per_gb", 0.3),
    at_most("front CPU seconds per GB, Arrow", "results.arrow.front_cpu_s_per_gb", 0.3),
    at_least("lineitem as CSV kept in the spool / through the ring", "results.kept csv.ratio", 0.6),
    at_least("lineitem as Arrow kept in the spool / through the ring", "results.kept arrow.ratio", 0.6),
    at_most("front CPU seconds per GB, kept CSV", "results.kept csv.front_cpu_s_per_gb", 0.6),
    at_most("a worker is free after the last row, client of 1 MB/s", "results.slow.free_ms", 50, "ms"),
    at_most("SELECT 1 with 200 bulk readers before it", "results.behind_slow.first_ms", 50, "ms"),
    at_most("SELECT 1 p99 beside 200 stalled readers", "results.behind_slow.p99_ms", 50, "ms"),
    at_most("front, private memory after all of them", "results.front_private_mb", 16, "MB"),
    at_most("worker, peak memory after all but Parquet's second engine", "results.worker_peak_mb", 512, "MB"),
    at_most("first byte of CSV after the engine's first chunk", "results.csv.first_lag_ms", 5, "ms"),
    at_most("/healthz p99, every worker busy / unloaded", f"{CACHED}.healthz.ratio", 3),
    at_most("/healthz p99, every worker busy with another key's / unloaded", "tenants.pinned.healthz.ratio", 3),
    at_most("/metrics p99, the same", "tenants.pinned.metrics.ratio", 3),
    at_most("DELETE of a query, p99, the same", "tenants.pinned.delete.ratio", 3),
    at_most("front, private memory with 10,000 idle connections", "tenants.idle.mb", 64, "MB"),
    at_most("SELECT 1 p99 beside 2,000 refusals per second / unloaded", "tenants.refusals.p99_ratio", 1.5),
    at_most("the same / beside 2,000 /healthz per second", "tenants.refusals.over_healthz", 1.5),
    at_most("a key, per request, CPU time of the front", "tenants.keys.us", 3, "us"),
    at_most("the query log, its part of a SELECT 1's CPU time in front and worker", "tenants.log.share", 0.03),
    at_least("SELECT 1 with the query log / without", "tenants.log.ratio", 0.97),
]
