"""Many callers: what a key, a log line, an idle connection, a refusal and a neighbour who takes every worker
cost the others."""

import json
import resource
import socket
import subprocess
import uuid

from .env import BenchError, checked
from .faults import Pinned
from .procs import cpu_seconds, private_bytes
from .speed import SELECT_1, load
from .subjects import WORKERS, Bulkhead
from .turns import cost_of

IDLE_CONNECTIONS = 10_000
REFUSALS_PER_S = 2_000
FLOODED_TURNS = 2
CALM_RATE = 500  # requests per second: far from what a worker can do, so that p99 is no queue of one's own


class Keyed(Bulkhead):
    """A server that wants keys. `key` is an admin's without limits; `limited` may ask once per second."""

    def __init__(self, env, settings=()):
        keys = env.logs / "keys.ini"
        keys.unlink(missing_ok=True)
        new = [str(env.bulkhead), "key", "new", "--keys", str(keys)]
        self.key = checked([*new, "calm", "--role", "admin"], "making a key", 10).strip()
        self.limited = checked([*new, "loud", "--role", "reader", "--rate", "1"], "making a key", 10).strip()
        super().__init__(env, settings=(f"server.keys_file={keys}", *settings))
        self.name = "bulkhead with keys"


def keys_and_log(env, rec):
    """Two servers that differ in one thing are up together."""
    for name, plain, other in (
        ("keys", Bulkhead(env), Keyed(env)),
        ("log", Bulkhead(env, settings=("log.level=error",)), Bulkhead(env)),
    ):
        servers = (plain, other)
        try:
            for server in servers:
                server.start()
                server.settle()
            cost_of(env, rec, name, plain, other)
        finally:
            for server in servers:
                server.stop()


def idle_connections(rec, server, count):
    """Keep-alive connections that have been answered once and wait."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    front = server.status()["front"]["pid"]
    before, connections = private_bytes(front), []
    request = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    try:
        for _ in range(count):
            c = socket.create_connection(("127.0.0.1", server.port), 10)
            connections.append(c)
            c.sendall(request)
            if not c.recv(4096).startswith(b"HTTP/1.1 200"):
                raise BenchError(f"connection {len(connections)} was not answered")
        rec.add("tenants.idle.mb", private_bytes(front) / 1e6)
        rec.add("tenants.idle.kb_each", (private_bytes(front) - before) / count / 1e3)
    finally:
        for c in connections:
            c.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def paced(env, server, seconds):
    return load(env, server, 1, seconds, sql=SELECT_1, expect="[[1]]", more=("--rate", str(CALM_RATE)))


class Flood:
    """A neighbour's paced requests; `asked` is what bench_load wants to know of them."""

    def __init__(self, env, server, seconds, *asked):
        self.seconds = seconds
        self.process = subprocess.Popen(
            [str(env.load), "127.0.0.1", str(server.port), "--rate", str(REFUSALS_PER_S), "--seconds", str(seconds), *asked],
            stdout=subprocess.PIPE,
        )

    def report(self):
        """Waits for its end."""
        report = json.loads(self.process.communicate(timeout=self.seconds + 60)[0])
        if report["requests"] == 0 or sum(report["errors"].values()) > self.seconds + 5:
            raise BenchError(f"the flood was not answered as it should be: {report}")
        return report

    def stop(self):
        self.process.kill()
        self.process.wait()


def flooded(env, server, seconds, asked):
    """The calm key's load, and the flood's report."""
    flood = Flood(env, server, seconds + 1.5, *asked)
    try:
        return paced(env, server, seconds), flood.report()
    finally:
        flood.stop()


def beside_refusals(env, rec, server, seconds):
    """p99 of a calm key, alone, while another key is refused 2,000 times per second, and beside as many requests that cost next to nothing: the
    generators of load share the machine with the server."""
    body = env.logs / "refused.json"
    body.write_text(json.dumps({"sql": SELECT_1}))
    refused = ("--method", "POST", "--path", "/v1/query", "--body", str(body), "--header", "Content-Type: application/json")
    refused += ("--header", f"Authorization: Bearer {server.limited}", "--status", "429")
    for _ in range(FLOODED_TURNS):
        alone = paced(env, server, seconds)
        beside, report = flooded(env, server, seconds, refused)
        healthy, _ = flooded(env, server, seconds, ("--path", "/healthz"))
        rec.add("tenants.refusals.per_s", report["per_s"])
        rec.add("tenants.refusals.p99_ratio", beside["p99_us"] / alone["p99_us"])
        rec.add("tenants.refusals.over_healthz", beside["p99_us"] / healthy["p99_us"])
    front = server.status()["front"]["pid"]
    before = cpu_seconds(front)
    report = Flood(env, server, seconds, *refused).report()
    answered = report["requests"] + sum(report["errors"].values())
    rec.add("bulkhead.refusal.us", (cpu_seconds(front) - before) / answered * 1e6)


def beside_pinned(env, rec, server, seconds):
    """p99 of what has places of its own, while every worker is busy with another caller's runaways."""
    asked = {
        "healthz": {"path": "/healthz"},
        "metrics": {"path": "/metrics"},
        "delete": {"path": f"/v1/queries/{uuid.uuid4()}", "more": ("--method", "DELETE", "--status", "404")},
    }
    calm = {name: load(env, server, 1, seconds, **how) for name, how in asked.items()}
    pinned = Pinned(server, WORKERS, 3 * (seconds + 1) + 2)
    try:
        for name, how in asked.items():
            busy = load(env, server, 1, seconds, **how)
            rec.add(f"tenants.pinned.{name}.ratio", busy["p99_us"] / calm[name]["p99_us"])
    finally:
        pinned.close()
    server.settle()


def measure(env, rec, quick, seconds):
    keys_and_log(env, rec)
    server = Keyed(env)
    try:
        server.start()
        server.settle()
        beside_refusals(env, rec, server, seconds)
    finally:
        server.stop()
    server = Bulkhead(env)
    try:
        server.start()
        server.settle()
        idle_connections(rec, server, IDLE_CONNECTIONS // 20 if quick else IDLE_CONNECTIONS)
        beside_pinned(env, rec, server, seconds)
    finally:
        server.stop()
