"""What everybody asks of a server around this engine, the same of each subject: does the engine stop when its client has gone, how much memory does a
query take that the engine does not count, what do slow readers cost, can SQL read the machine's files."""

import json
import socket
import threading
import time

from .client import Client
from .env import BenchError
from .procs import burning, descendants, status_bytes, wait_until
from .runaway import RUNAWAYS

# Two gigabytes of text in one vector, which the engine's memory limit does not see.
BOMB = "SELECT sum(length(repeat('x', 50000000 + i::INTEGER))) FROM range(40) t(i)"
FILE = "SELECT count(*) FROM read_text('/etc/passwd')"
SLOW_READERS = 3
SLOW_ROWS = 1_000_000
GONE_LIMIT_S = 5.0


class Peak(threading.Thread):
    """The most memory that a server's processes have together, from now until `end`."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.root = server.process.pid
        self.before = self.peak = self.now()
        self.over = threading.Event()
        self.start()

    def now(self):
        return status_bytes({self.root} | descendants(self.root), "RssAnon", "RssShmem")

    def run(self):
        while not self.over.wait(0.005):
            self.peak = max(self.peak, self.now())

    def end(self):
        """Bytes more than at the start."""
        self.over.set()
        self.join()
        return self.peak - self.before


def ask(port, body):
    """A request whose answer nobody reads yet."""
    s = socket.create_connection(("127.0.0.1", port), 30)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    data = json.dumps(body).encode()
    s.sendall(b"POST /v1/query HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
    return s


def client_gone(rec, server):
    for name, sql in RUNAWAYS.items():
        server.settle()
        pids = server.worker_pids()
        s = ask(server.port, {"sql": sql, "timeout": "60s"})
        hot = burning(pids)
        s.close()
        if not hot:
            raise BenchError(f"{server.name}: nobody works at the {name}")
        began = time.monotonic()
        stopped = wait_until(lambda pid=hot[0]: not burning([pid], want=1, timeout_s=0), GONE_LIMIT_S, 0)
        if stopped:
            rec.add(f"{server.name}.gone.{name}.ms", (time.monotonic() - began) * 1000)
        rec.note(f"{server.name}.gone.{name}", "stops" if stopped else f"runs on for {GONE_LIMIT_S:g} s and more")
        if not stopped:
            return False  # its workers are lost for what follows
    return True


def bomb(rec, server):
    server.settle()
    peak = Peak(server)
    with Client(server.port, 60) as client:
        status = client.query(BOMB, "30s").status
    rec.add(f"{server.name}.bomb_mb", peak.end() / 1e6)
    rec.note(f"{server.name}.bomb", f"status {status}")


def slow_readers(rec, server):
    server.settle()
    peak = Peak(server)
    readers = [ask(server.port, {"sql": f"SELECT * FROM lineitem LIMIT {SLOW_ROWS}", "timeout": "30s"}) for _ in range(SLOW_READERS)]
    time.sleep(10)
    rec.add(f"{server.name}.slow_mb", peak.end() / 1e6)
    for s in readers:
        s.close()


def reads_files(rec, server):
    server.settle()
    with Client(server.port, 30) as client:
        rec.note(f"{server.name}.file", "yes" if client.query(FILE).status == 200 else "no")


def measure(rec, make_server):
    """Each question on a server of its own, so that what one leaves behind is not counted to the next."""
    for question in (reads_files, bomb, slow_readers, client_gone):
        server = make_server()
        try:
            server.start()
            question(rec, server)
        finally:
            server.stop()
