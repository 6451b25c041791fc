"""Throughput and latency: SELECT 1 at several connection counts, q1 and q6. Subjects take turns within each
phase."""

import json

from .env import BenchError, checked

SELECT_1 = "SELECT 1"
CONNECTIONS = (1, 8, 32)
TPCH = {
    "q1": """SELECT l_returnflag, l_linestatus, sum(l_quantity) AS sum_qty,
 sum(l_extendedprice) AS sum_base_price,
 sum(l_extendedprice * (1 - l_discount)) AS sum_disc_price,
 sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS sum_charge, avg(l_quantity) AS avg_qty,
 avg(l_extendedprice) AS avg_price, avg(l_discount) AS avg_disc, count(*) AS count_order
 FROM lineitem WHERE l_shipdate <= DATE '1998-09-02'
 GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus""",
    "q6": """SELECT sum(l_extendedprice * l_discount) AS revenue FROM lineitem
 WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'
 AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24""",
}


def load_command(env, server, connections, seconds, *, sql=None, path="/v1/query", expect=None, warmup=0.3, requests=0, more=()):
    """The command line of bench_load."""
    command = [
        str(env.load),
        "127.0.0.1",
        str(server.port),
        "--connections",
        str(connections),
        "--path",
        path,
        "--seconds",
        str(seconds),
        "--warmup",
        str(warmup),
        "--requests",
        str(requests),
    ]
    if sql is not None:
        body = env.logs / "request.json"
        body.write_text(json.dumps({"sql": sql}))
        command += ["--method", "POST", "--header", "Content-Type: application/json", "--body", str(body)]
    if expect is not None:
        command += ["--expect", expect]
    if server.key:
        command += ["--header", f"Authorization: Bearer {server.key}"]
    return [*command, *more]


def load(env, server, connections, seconds, *, warmup=0.3, **how):
    """Runs bench_load against a server and returns its report; an answer that is not the right one is a failure."""
    command = load_command(env, server, connections, seconds, warmup=warmup, **how)
    what = f"{server.name}: load with {connections} connections"
    report = json.loads(checked(command, what, seconds + warmup + 60))
    if report["errors"] or report["broken"] or report["mismatches"] or not report["requests"]:
        raise BenchError(
            f"{what}: errors {report['errors']}, broken {report['broken']}, "
            f"wrong bodies {report['mismatches']}, good {report['requests']}"
        )
    return report


def select_1(env, rec, inproc, servers, seconds):
    """The in-process loop is measured again beside each connection count: the machine's mood changes."""
    for connections in CONNECTIONS:
        hot = inproc.run("hot", "--seconds", seconds)
        rec.add("inproc.hot.per_s", hot["per_s"])
        rates = {}
        for server in servers:
            report = load(env, server, connections, seconds, sql=SELECT_1, expect="[[1]]")
            rates[server.name] = report["per_s"]
            rec.add(f"{server.name}.select1.c{connections}.per_s", report["per_s"])
            rec.add(f"{server.name}.select1.c{connections}.p50_us", report["p50_us"])
            rec.add(f"{server.name}.select1.c{connections}.p99_us", report["p99_us"])
            rec.add(f"{server.name}.select1.c{connections}.ratio", report["per_s"] / hot["per_s"])
        pool = rates.get("FastAPI pool")
        for name, rate in rates.items():
            if pool and name != "FastAPI pool":
                rec.add(f"{name}.select1.c{connections}.over_pool", rate / pool)
    rec.add("inproc.hot_prepared.per_s", inproc.run("hot_prepared", "--seconds", seconds)["per_s"])


def latency(env, rec, inproc, servers, seconds):
    """p50 on one connection beside the engine's own p50 when it, too, rests between two queries."""
    paced = inproc.run("paced", "--seconds", seconds)["p50_us"]
    prepared = inproc.run("paced_prepared", "--seconds", seconds)["p50_us"]
    rec.add("inproc.paced.p50_us", paced)
    rec.add("inproc.paced_prepared.p50_us", prepared)
    for server in servers:
        p50 = load(env, server, 1, seconds, sql=SELECT_1, expect="[[1]]")["p50_us"]
        rec.add(f"{server.name}.p50_us", p50)
        rec.add(f"{server.name}.p50.ratio", p50 / paced)
        rec.add(f"{server.name}.p50.ratio_prepared", p50 / prepared)


def tpch(env, rec, inproc, servers, repeat, passes):
    """Medians of `repeat` runs; several short passes, so that a ratio compares neighbours in time."""
    for _ in range(passes):
        for query, sql in TPCH.items():
            own = inproc.run("query", "--sql", sql, "--repeat", repeat)
            rec.add(f"inproc.{query}.ms", own["p50_us"] / 1000)
            for server in servers:
                report = load(env, server, 1, 30, sql=sql, expect='"data":[[', warmup=1.0, requests=repeat)
                rec.add(f"{server.name}.{query}.ms", report["p50_us"] / 1000)
                rec.add(f"{server.name}.{query}.ratio", report["p50_us"] / own["p50_us"])
