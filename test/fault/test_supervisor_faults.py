"""The supervisor dies: everything ends. It pauses: nothing else does."""

import signal

import pytest

from lib import proc
from lib.client import Cut, new_id
from lib.sql import CROSS_JOIN, ENDLESS_RESULT, LEVENSHTEIN
from lib.wait import wait_until

pytestmark = pytest.mark.fault


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT], ids=lambda s: s.name)
@pytest.mark.parametrize("sql", [None, LEVENSHTEIN, CROSS_JOIN, ENDLESS_RESULT], ids=["idle", "runaway", "running", "delivering"])
def test_its_death_ends_every_process(start, sig, sql):
    server = start()
    server.settle()
    c = None
    if sql:
        mine = new_id()
        c = server.client.start_query(sql, headers={"Bulkhead-Query-Id": mine}, timeout="120s", receive_buffer=4096)
        server.wait_running(mine)
    server.note_processes()
    server.send_signal(sig)
    assert server.wait_end() == -sig
    server.assert_nothing_left()
    if c:
        with pytest.raises((Cut, OSError)):
            c.read_response()
        c.close()


def test_a_stopped_worker_does_not_outlive_it_either(start):
    server = start()
    server.settle()
    server.note_processes()
    for pid in server.worker_pids():
        proc.kill(pid, signal.SIGSTOP)
    server.send_signal(signal.SIGKILL)
    server.wait_end()
    server.assert_nothing_left()


def test_a_stopped_front_does_not_outlive_it_either(start):
    server = start()
    server.settle()
    server.note_processes()
    proc.kill(server.front_pid, signal.SIGSTOP)
    server.send_signal(signal.SIGKILL)
    server.wait_end()
    server.assert_nothing_left()


def test_queries_are_answered_while_it_pauses(start):
    server = start()
    server.settle()
    front = server.front_pid
    server.send_signal(signal.SIGSTOP)
    wait_until(lambda: proc.state(server.pid) == "T", "not stopped")
    for i in range(20):
        assert server.client.rows("SELECT $1", [i]) == [[i]]
    server.send_signal(signal.SIGCONT)
    server.settle()
    assert server.front_pid == front


def test_a_pause_longer_than_the_heartbeat_is_not_held_against_the_front(start):
    """The supervisor wakes with an old heartbeat in its memory: it has to look again before it kills."""
    import time
    server = start()
    server.settle()
    front = server.front_pid
    server.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 2.5 and server.client.rows("SELECT 1"), "")
    server.send_signal(signal.SIGCONT)
    server.settle()
    assert server.client.rows("SELECT 1") == [[1]]
    assert server.front_pid == front, server.log_text()


def test_sigterm_ends_it_cleanly_with_workers_stopped_and_dead(start):
    server = start(set={"server.shutdown_grace": "500ms"})
    server.settle()
    pids = server.worker_pids()
    proc.kill(pids[0], signal.SIGSTOP)
    proc.kill(pids[1], signal.SIGKILL)
    server.send_signal(signal.SIGTERM)
    assert server.wait_end() == 0
    server.assert_nothing_left()


def test_sigterm_ends_it_cleanly_with_a_hung_front(start):
    server = start(set={"server.shutdown_grace": "500ms"})
    server.settle()
    proc.kill(server.front_pid, signal.SIGSTOP)
    server.send_signal(signal.SIGTERM)
    server.wait_end()
    server.assert_nothing_left()
