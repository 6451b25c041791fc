"""Large results: lineitem, all columns, in every format, through the server to a client that throws them away; beside it the engine in
process: chunks, Arrow arrays, and its own COPY to a pipe."""

import json
import os

from .env import BenchError, checked
from .procs import cpu_seconds, descendants, private_bytes, status_bytes
from .subjects import MEMORY_LIMIT, Bulkhead, FastApiPool

SQL = "SELECT * FROM lineitem"
THREADS = 2
MEDIA = {
    "arrow": "application/vnd.apache.arrow.stream",
    "csv": "text/csv",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
# The engine's COPY of the same kind, if it has one.
COPY = {"csv": "csv", "ndjson": "json", "json": "json", "parquet": "parquet"}
CODED = {"csv gzip": ("csv", "gzip"), "csv zstd": ("csv", "zstd"), "json zstd": ("json", "zstd")}


def in_process(env, mode):
    out = checked(
        [str(env.stream), str(env.database), mode, SQL, str(THREADS), MEMORY_LIMIT], f"bench_stream {mode}", 600
    )
    return json.loads(out)


def ask(env, port, media, encoding="identity", sql=SQL, timeout="300s"):
    body = json.dumps({"sql": sql, "timeout": timeout})
    return json.loads(checked([str(env.drain), str(port), media, encoding, body], f"bench_drain {media}", 600))


def fetch(env, port, media, encoding="identity"):
    out = ask(env, port, media, encoding)
    if out["status"] != 200 or not out["whole"]:
        raise BenchError(f"{media}: status {out['status']}, {'whole' if out['whole'] else 'cut short'}")
    return out


def peak_bytes(pids):
    """The most memory that these processes ever had resident, together."""
    return status_bytes(pids, "VmHWM")


class Results:
    """One round on a server of its own, with the default's two threads."""

    def __init__(self, env, rec):
        self.env = env
        self.rec = rec

    def formats(self, server):
        front = server.status()["front"]["pid"]
        for name, media in MEDIA.items():
            chunks = in_process(self.env, "chunks")
            before = cpu_seconds(front)
            got = fetch(self.env, server.port, media)
            front_cpu = cpu_seconds(front) - before
            self.rec.add("results.chunks.s", chunks["seconds"])
            self.rec.add(f"results.{name}.s", got["seconds"])
            self.rec.add(f"results.{name}.mb_per_s", got["bytes"] / 1e6 / got["seconds"])
            self.rec.add(f"results.{name}.mb", got["bytes"] / 1e6)
            self.rec.add(f"results.{name}.ratio", chunks["seconds"] / got["seconds"])
            self.rec.add(f"results.{name}.first_lag_ms", got["first_ms"] - chunks["first_ms"])
            self.rec.add(f"results.{name}.front_cpu_s_per_gb", front_cpu / (got["bytes"] / 1e9))
            if name == "arrow":
                own = in_process(self.env, "arrow")
                self.rec.add("results.arrow.over_in_process", own["seconds"] / got["seconds"])
            if name in COPY:
                own = in_process(self.env, COPY[name])
                self.rec.add(f"results.{name}.copy_s", own["seconds"])
                self.rec.add(f"results.{name}.over_copy", own["seconds"] / got["seconds"])
        self.rec.add("results.front_private_mb", private_bytes(front) / 1e6)
        workers = [w["pid"] for w in server.status()["workers"] if w.get("pid")]
        self.rec.add("results.worker_peak_mb", max(peak_bytes([pid]) for pid in workers) / 1e6)

    def codings(self, server):
        for name, (form, encoding) in CODED.items():
            got = fetch(self.env, server.port, MEDIA[form], encoding)
            self.rec.add(f"results.{name}.s", got["seconds"])
            self.rec.add(f"results.{name}.mb", got["bytes"] / 1e6)
        got = fetch(self.env, server.port, MEDIA["arrow"] + "; codecs=zstd")
        self.rec.add("results.arrow codecs=zstd.s", got["seconds"])
        self.rec.add("results.arrow codecs=zstd.mb", got["bytes"] / 1e6)

    def beside_the_pool(self, rows):
        """The same rows as JSON from the usual alternative: time, and the most memory of all its processes."""
        for server in (Bulkhead(self.env, threads=THREADS), FastApiPool(self.env)):
            try:
                server.start()
                got = ask(self.env, server.port, MEDIA["json"], sql=f"{SQL} LIMIT {rows}", timeout="20s")
                good = got["status"] == 200 and got["whole"]
                if good:
                    self.rec.add(f"results.{server.name}.rows_s", got["seconds"])
                elif server.supervised:
                    raise BenchError(f"{rows} rows as JSON: status {got['status']}")
                self.rec.note(f"results.{server.name}.rows", "answered" if good else f"status {got['status']} after {got['seconds']:.0f} s")
                family = {server.process.pid} | descendants(server.process.pid)
                self.rec.add(f"results.{server.name}.rows_peak_mb", peak_bytes(family) / 1e6)
            finally:
                server.stop()


def measure(env, rec, quick):
    results = Results(env, rec)
    server = Bulkhead(env, threads=THREADS)
    try:
        server.start()
        server.settle()
        fetch(env, server.port, MEDIA["csv"])  # the file is in memory now, and the worker warm
        results.formats(server)
        results.codings(server)
    finally:
        server.stop()
    if os.access(env.python, os.X_OK):
        results.beside_the_pool(20_000 if quick else 1_000_000)
