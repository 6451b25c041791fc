"""Results that leave by a file: kept ones at what speed, and what slow readers cost everybody else."""

import json
import socket
import threading
import time

from .client import Client
from .env import BenchError
from .procs import cpu_seconds, wait_until
from .results import MEDIA, SQL, THREADS, fetch
from .speed import SELECT_1, load
from .subjects import Bulkhead

SLOW_READERS = 200
SLOW_SQL = "SELECT i, md5(i::VARCHAR) FROM range(100000) t(i)"
SLOW_BYTES_PER_S = 1_000_000


def request(port, body, accept="text/csv"):
    data = json.dumps(body).encode()
    head = f"POST /v1/query HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nAccept: {accept}\r\n"
    return head.encode() + f"Content-Length: {len(data)}\r\n\r\n".encode() + data


def slow_socket(port, body):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    s.settimeout(60)
    s.connect(("127.0.0.1", port))
    s.sendall(request(port, body))
    return s


def kept(rec, env, server, name):
    """An asynchronous result is made and then fetched; beside it the same one through the ring."""
    front = server.status()["front"]["pid"]
    ring = fetch(env, server.port, MEDIA[name])
    with Client(server.port, 600) as client:
        client.http.request("POST", "/v1/queries", json.dumps({"sql": SQL, "format": name, "timeout": "300s"}), {"Content-Type": "application/json"})
        accepted = client.read()
        if accepted.status != 202:
            raise BenchError(f"POST /v1/queries: {accepted.status} {accepted.body}")
        target = f"/v1/queries/{accepted.body['id']}"
        record = {}
        while record.get("state") not in ("done", "failed", "cancelled"):
            record = client.get(f"{target}?wait=10s").body
        if record["state"] != "done":
            raise BenchError(f"the kept result: {record}")
        before = cpu_seconds(front)
        client.send_get(f"{target}/result")
        response = client.http.getresponse()
        space, got = bytearray(1 << 20), 0
        while n := response.readinto(space):
            got += n
        front_cpu = cpu_seconds(front) - before
        client.http.request("DELETE", target)  # the next one finds memory that was just free, as the ring is (bench/README.md)
        client.read()
    if got != record["bytes"]:
        raise BenchError(f"the kept result: {got} of {record['bytes']} bytes")
    rec.add(f"results.kept {name}.ratio", ring["seconds"] / (record["exec_ms"] / 1000))
    rec.add(f"results.kept {name}.front_cpu_s_per_gb", front_cpu / (got / 1e9))


def read_slowly(s, stop):
    while not stop.is_set():
        if not s.recv(SLOW_BYTES_PER_S // 20):
            return
        stop.wait(0.05)


def worker_is_free(rec, server, rows):
    """A client that takes 1 MB/s: from the last row (exec_ms of the record) to the moment at which no worker is busy."""
    stop = threading.Event()
    server.settle()
    with Client(server.port) as client:
        begun = time.monotonic()
        s = slow_socket(server.port, {"sql": f"{SQL} LIMIT {rows}", "timeout": "300s"})
        reader = threading.Thread(target=read_slowly, args=(s, stop))
        reader.start()
        try:
            busy = wait_until(lambda: any(w["state"] == "busy" for w in client.get("/v1/status").body["workers"]), 10, 0)
            free = busy and wait_until(lambda: not any(w.get("query_id") for w in client.get("/v1/status").body["workers"]), 60, 0.001)
            at = time.monotonic()
            record = client.get("/v1/queries?limit=1").body["queries"][0]
        finally:
            stop.set()
            s.close()
            reader.join()
    if not free or record["state"] != "delivering":
        raise BenchError(f"no free worker while a slow client reads: {record}")
    rec.add("results.slow.free_ms", (at - begun) * 1000 - record["queue_ms"] - record["exec_ms"])


def behind_slow_readers(env, rec, server, seconds):
    """SELECT 1 while 200 clients have a result each of which they read nothing."""
    readers = []
    try:
        readers = [slow_socket(server.port, {"sql": SLOW_SQL, "timeout": "300s"}) for _ in range(SLOW_READERS)]
        begun = time.monotonic()
        with Client(server.port, 120) as client:
            if client.query(SELECT_1).status != 200:
                raise BenchError("SELECT 1 behind slow readers was refused")
        rec.add("results.behind_slow.first_ms", (time.monotonic() - begun) * 1000)
        wait_until(lambda: not any(w.get("query_id") for w in server.status()["workers"]), 120)
        rec.add("results.behind_slow.p99_ms", load(env, server, 1, seconds, sql=SELECT_1, expect="[[1]]")["p99_us"] / 1000)
    finally:
        for s in readers:
            s.close()


def measure(env, rec, quick, seconds):
    server = Bulkhead(env, threads=THREADS, settings=(f"limits.queue_length={SLOW_READERS + 10}", "limits.queue_timeout=300s"))
    try:
        server.start()
        server.settle()
        fetch(env, server.port, MEDIA["csv"])
        for name in ("csv", "arrow"):
            kept(rec, env, server, name)
        worker_is_free(rec, server, 400_000 if quick else 3_000_000)
        behind_slow_readers(env, rec, server, seconds)
    finally:
        server.stop()
