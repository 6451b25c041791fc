"""Cancellation everywhere: by whatever a query's end comes, running or waiting, the engine really stops: its worker's CPU time stands still, or the
process is dead."""

import json
import signal
import socket
import time

import pytest

from lib import proc
from lib.client import new_id
from lib.keys import bearer, new_key
from lib.server import Server, run_cli
from lib.session import Session
from lib.sql import CROSS_JOIN, LEVENSHTEIN
from lib.wait import wait_until


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory):
    return tmp_path_factory.mktemp("keys") / "keys.ini"


@pytest.fixture(scope="module")
def shared_server(items, keys_file):
    root = new_key(keys_file, "root", "admin")
    with Server(items, set={"pool.workers": 1, "server.keys_file": keys_file, "session.max": 2}, key=root) as s:
        yield s


def is_flat(pid):
    """No CPU time is used any more, for as long as it takes to be sure; or the process has gone."""
    before = proc.cpu_ticks(pid)
    if before is None:
        return True
    time.sleep(0.25)
    return proc.cpu_ticks(pid) in (before, None)


def wait_flat(server, pid):
    wait_until(lambda: is_flat(pid), lambda: f"the engine goes on: {server.status()['workers']}\n{server.log_text()}", 30)


def post(server, sql, query_id=None, key=None, **fields):
    c = server.client.connect()
    body = json.dumps({"sql": sql, "timeout": "120s", **fields}).encode()
    c.send_request("POST", "/v1/query", body, [("Content-Type", "application/json"), ("Bulkhead-Query-Id", query_id or new_id()),
                                               ("Authorization", f"Bearer {key or server.client.key}")])
    return c


def start_running(server, sql, **how):
    """A connection whose query really burns CPU, its id, and the worker's pid."""
    mine = new_id()
    c = post(server, sql, mine, **how)
    pid = server.wait_running(mine)["pid"]
    before = proc.cpu_ticks(pid)
    wait_until(lambda: (proc.cpu_ticks(pid) or 0) > before + 10, "it does not work")
    return c, mine, pid


def known_key(server, keys_file, name):
    key = new_key(keys_file, name)
    server.send_signal(signal.SIGHUP)
    wait_until(lambda: server.client.request("GET", "/v1/queries", headers=bearer(key)).status == 200, "the key is not known")
    return key


def state(server, query_id):
    return server.client.get(f"/v1/queries/{query_id}").json()


SQLS = pytest.mark.parametrize("sql", [CROSS_JOIN, LEVENSHTEIN], ids=["obedient", "deaf"])


class TestRunning:
    @SQLS
    def test_delete(self, server, sql):
        c, mine, pid = start_running(server, sql)
        assert server.client.request("DELETE", f"/v1/queries/{mine}").status == 202
        c.read_response().problem(499, "cancelled")
        c.close()
        wait_flat(server, pid)
        assert state(server, mine)["state"] == "cancelled"

    @SQLS
    @pytest.mark.parametrize("how", ["close", "reset", "half-close"])
    def test_the_client_goes(self, server, sql, how):
        c, mine, pid = start_running(server, sql)
        if how == "close":
            c.close()
        elif how == "reset":
            c.abort()
        else:
            c.sock.shutdown(socket.SHUT_WR)
        wait_flat(server, pid)
        wait_until(lambda: state(server, mine)["state"] == "cancelled", lambda: str(state(server, mine)))
        c.close()

    @SQLS
    def test_its_key_is_revoked(self, server, keys_file, sql):
        alice = known_key(server, keys_file, "alice")
        c, mine, pid = start_running(server, sql, key=alice)
        assert run_cli("key", "revoke", "alice", "--keys", keys_file).returncode == 0
        server.send_signal(signal.SIGHUP)
        assert "key was revoked" in c.read_response().problem(499, "cancelled")["detail"]
        c.close()
        wait_flat(server, pid)

    @SQLS
    def test_its_session_is_ended(self, server, sql):
        session = Session(server.client)
        c, mine, pid = start_running(server, sql, session=session.id)
        assert server.client.request("DELETE", f"/v1/sessions/{session.id}").status == 204
        c.read_response().problem(499, "cancelled")
        c.close()
        wait_until(lambda: proc.is_gone(pid), "the session's worker stays")

    def test_its_session_s_time_is_over(self, server):
        session = Session(server.client, ttl="1s")
        c, mine, pid = start_running(server, LEVENSHTEIN, session=session.id)
        assert c.read_response().status in (499, 410)
        c.close()
        wait_until(lambda: proc.is_gone(pid), "the session's worker stays")

    @SQLS
    def test_the_server_drains(self, start, items, sql):
        server = start(items, set={"server.shutdown_grace": "300ms"})
        mine = new_id()
        c = server.client.start_query(sql, headers={"Bulkhead-Query-Id": mine}, timeout="60s")
        pid = server.wait_running(mine)["pid"]
        server.send_signal(signal.SIGTERM)
        wait_until(lambda: proc.is_gone(pid), "the worker outlives the grace")
        assert server.wait_end() == 0
        c.close()


class TestWaiting:
    """One worker, which somebody pins; what waits behind it never starts."""

    @pytest.fixture
    def pinned(self, server):
        c, mine, pid = start_running(server, CROSS_JOIN)
        yield mine
        c.close()
        wait_flat(server, pid)

    def waiting(self, server, **how):
        mine = new_id()
        c = post(server, "SELECT 1", mine, **how)
        wait_until(lambda: server.metric("bulkhead_queue_length") == 1, "it does not wait")
        return c, mine

    @pytest.mark.parametrize("how", ["close", "reset", "half-close"])
    def test_the_client_goes(self, server, pinned, how):
        c, mine = self.waiting(server)
        c.close() if how == "close" else c.abort() if how == "reset" else c.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: server.metric("bulkhead_queue_length") == 0, "it still waits")
        assert state(server, mine)["state"] == "cancelled" and state(server, mine)["worker"] is None
        c.close()

    def test_delete(self, server, pinned):
        c, mine = self.waiting(server)
        assert server.client.request("DELETE", f"/v1/queries/{mine}").status == 202
        c.read_response().problem(499, "cancelled")
        c.close()
        assert server.metric("bulkhead_queue_length") == 0

    def test_its_key_is_revoked(self, server, keys_file, pinned):
        bob = known_key(server, keys_file, "bob")
        c, mine = self.waiting(server, key=bob)
        assert run_cli("key", "revoke", "bob", "--keys", keys_file).returncode == 0
        server.send_signal(signal.SIGHUP)
        c.read_response().problem(499, "cancelled")
        c.close()
        assert server.metric("bulkhead_queue_length") == 0

