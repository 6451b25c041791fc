"""Single HTTP requests for the measurements of faults, where one answer's moment counts. Not for
throughput."""

import http.client
import json
import time
from dataclasses import dataclass


@dataclass
class Answer:
    status: int
    body: dict
    at: float  # time.monotonic() when it was read whole


class Client:
    """One keep-alive connection. OSError and http.client.HTTPException mean that it broke."""

    def __init__(self, port, timeout_s=30.0, key=None):
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        self.http.connect()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def fileno(self):
        return self.http.sock.fileno()

    def send_query(self, sql, timeout=None):
        body = {"sql": sql} if timeout is None else {"sql": sql, "timeout": timeout}
        headers = {"Content-Type": "application/json", **self.headers}
        self.http.request("POST", "/v1/query", json.dumps(body).encode(), headers)

    def send_get(self, path):
        self.http.request("GET", path, headers=self.headers)

    def read(self):
        response = self.http.getresponse()
        data = response.read()
        at = time.monotonic()
        try:
            body = json.loads(data)
        except ValueError:
            body = {}
        return Answer(response.status, body if isinstance(body, dict) else {}, at)

    def query(self, sql, timeout=None):
        self.send_query(sql, timeout)
        return self.read()

    def get(self, path):
        self.send_get(path)
        return self.read()

    def close(self):
        self.http.close()


BROKEN = (OSError, http.client.HTTPException)


def first_good(port, ask, timeout_s=10.0, key=None):
    """The first answer with status 200 to `ask(client)`; a fresh connection whenever one breaks. None if
    none came."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            with Client(port, max(0.05, end - time.monotonic()), key) as client:
                answer = ask(client)
                if answer.status == 200:
                    return answer
        except BROKEN:
            pass
        time.sleep(0.0005)
    return None
