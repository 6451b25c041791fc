"""Start, drain, new configuration, end."""

import os
import signal
import subprocess

import pytest

from lib import proc
from lib.client import Client, Cut, new_id
from lib.server import BULKHEAD, clean_environment, run_cli
from lib.sql import CROSS_JOIN, LEVENSHTEIN, SHORT_WORK
from lib.wait import stays, wait_until


def is_refused(client):
    """Whether a new connection is refused: one that is taken and never answered keeps its client waiting."""
    try:
        client.connect().close()
    except ConnectionRefusedError:
        return True
    return False


class TestStart:
    def test_the_ready_line_is_all_there_is_on_stdout(self, start, items):
        server = start()
        assert server.stdout_lines == [f"bulkhead ready http={server.address} workers=2 database={items}"]
        assert server.ready_workers == 2 and server.ready_database == str(items)
        assert server.address.startswith("127.0.0.1:") and not server.address.endswith(":0")

    def test_ready_means_that_the_first_query_is_answered(self, items):
        from lib.server import Server
        for _ in range(3):
            with Server(items) as server:
                assert server.client.rows("SELECT 1") == [[1]]

    def test_the_configuration_comes_from_file_environment_and_set_in_this_order(self, start, tmp_path, items):
        ini = tmp_path / "b.ini"
        ini.write_text(f"[database]\npath = {items}\n[limits]\ntimeout = 111ms\nqueue_length = 5\ninterrupt_grace = 50ms\n")
        server = start(None, config=ini, env={"BULKHEAD_LIMITS_TIMEOUT": "222ms", "BULKHEAD_LIMITS_QUEUE_LENGTH": "6"},
                       set={"limits.timeout": "333ms"})
        assert server.ready_database == str(items)
        assert server.client.query(CROSS_JOIN).problem(504, "timeout")["limit_ms"] == 333

    def test_the_log_shows_how_memory_was_divided(self, start):
        server = start(set={"pool.memory_limit": "auto"})
        assert server.log_contains("memory_limit|memory"), server.log_text()

    @pytest.mark.parametrize("set, words", [
        ({"pool.memory_limit": "100TB"}, ("memory",)),
        ({"pool.workers": "1000", "pool.memory_limit": "1GB"}, ("memory", "overcommit")),
    ])
    def test_more_memory_than_there_is_is_refused(self, items, set, words):
        argv = [x for k, v in set.items() for x in ("--set", f"{k}={v}")]
        result = run_cli("serve", items, "--listen", "127.0.0.1:0", *argv)
        assert result.returncode == 2, result
        assert all(w in result.stderr for w in words), result.stderr

    def test_overcommit_starts_all_the_same(self, start):
        server = start(set={"pool.memory_limit": "1TB", "pool.memory_cap": "2TB", "pool.overcommit": "yes"})
        assert server.client.rows("SELECT 1") == [[1]]


    def test_no_name_is_no_database(self):
        """An empty variable of a script is not the working directory."""
        result = run_cli("serve", "", "--listen", "127.0.0.1:0")
        assert result.returncode == 2 and "empty" in result.stderr and result.stdout == "", result

    def test_memory_is_the_empty_database(self, start):
        server = start(":memory:")
        assert server.ready_database == ":memory:" and server.client.rows("SELECT 42") == [[42]]


class TestStandardDescriptors:
    @pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "2>&-", ">&-"])
    def test_closed_ones_are_held_so_that_nothing_else_is_printed_on(self, items, tmp_path, closed):
        """Else the first files that it opens, the page it shares with the front among them, would be standard output and the log."""
        path = tmp_path / "s"
        argv = [str(BULKHEAD), "serve", str(items), "--listen", f"unix:{path}", "--set", "pool.workers=1"]
        p = subprocess.Popen(["sh", "-c", f'exec "$@" {closed}', "sh", *argv], env=clean_environment(), start_new_session=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            client = Client(f"unix:{path}")

            def answers():
                try:
                    return path.exists() and client.get("/readyz").status == 200
                except ConnectionRefusedError:  # its name is there as soon as it is bound, before anybody listens
                    return False

            wait_until(answers, "does not answer", 30)
            assert client.rows("SELECT 1") == [[1]]
            for fd in range(3):
                assert "memfd" not in os.readlink(f"/proc/{p.pid}/fd/{fd}")
                assert "socket" not in os.readlink(f"/proc/{p.pid}/fd/{fd}")
        finally:
            p.terminate()
            p.communicate(timeout=60)
        assert p.returncode == 0

    def test_a_result_does_not_go_where_nobody_asked_for_it(self, items):
        done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", str(BULKHEAD), "query", str(items), "SELECT 1", "--format", "csv"],
                              env=clean_environment(), capture_output=True, timeout=60)
        assert done.returncode == 1 and done.stderr.count(b"\n") == 1 and b"standard output" in done.stderr, done


    def test_a_limit_of_file_sizes_is_told(self, items):
        """Not even the memory that the processes share can be had under it."""
        done = subprocess.run(["sh", "-c", 'ulimit -f 100; exec "$@"', "sh", str(BULKHEAD), "serve", str(items), "--listen", "127.0.0.1:0"],
                              env=clean_environment(), capture_output=True, timeout=60)
        assert done.returncode == 1 and done.stdout == b"" and b"File too large" in done.stderr.splitlines()[-1], done

    def test_a_taken_address_is_refused_with_the_way_out(self, server, items):
        result = run_cli("serve", items, "--listen", server.address)
        assert result.returncode == 1 and result.stdout == "" and "--listen" in result.stderr.splitlines()[-1], result


class TestProcesses:
    def test_workers_stand_behind_the_front_for_the_cpu(self, server):
        front = proc.stat(server.front_pid).nice
        for pid in server.worker_pids():
            assert proc.stat(pid).nice > front

    def test_whoever_answers_has_a_short_slice(self, server):
        """A worker that starts has a long one (test/fault), and lets them pass."""
        if proc.slices_ns(os.getpid()) is None:
            pytest.skip("this kernel has no slices of ordinary processes")
        for pid in [server.front_pid, *server.worker_pids()]:
            assert set(proc.slices_ns(pid)) == {100_000}

    def test_only_supervisor_front_and_workers_run(self, server):
        status = server.status()
        known = {status["front"]["pid"], *server.worker_pids()}
        assert {s.pid for s in proc.descendants(server.pid)} == known

    def test_no_process_holds_a_descriptor_it_has_no_use_for(self, server):
        """CLOEXEC at birth: a worker has no socket of a client, no listening socket, no other worker's link."""
        with server.client.connect() as c:
            c.request("GET", "/healthz")
            listening = {line.split()[9] for line in open("/proc/net/tcp").readlines()[1:]
                         if line.split()[1].endswith(":%04X" % int(server.address.rpartition(":")[2]))}
            assert listening
            for pid in server.worker_pids():
                for target in proc.fds(pid):
                    assert target.strip("socket:[]") not in listening, f"worker {pid} has {target}"

    def test_killing_the_supervisor_ends_every_process(self, start):
        server = start()
        c = server.client.start_query(LEVENSHTEIN, timeout="60s")
        wait_until(lambda: any(w["query_id"] for w in server.workers()), "does not run")
        server.note_processes()
        server.send_signal(signal.SIGKILL)
        assert server.wait_end() == -signal.SIGKILL
        server.assert_nothing_left()
        with pytest.raises((Cut, OSError)):
            c.read_response()
        with pytest.raises(OSError):
            server.client.get("/healthz")


class TestDrain:
    @pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
    def test_a_running_query_is_finished_first(self, start, sig):
        server = start()
        mine = new_id()
        c = server.client.start_query(SHORT_WORK, headers={"Bulkhead-Query-Id": mine})
        server.wait_running(mine)
        server.send_signal(sig)
        assert c.read_response().status == 200
        assert server.wait_end() == 0

    def test_a_signal_to_the_whole_process_group_is_a_drain_too(self, start):
        """timeout(1), foreman and a terminal signal the group: front and workers are not in it."""
        server = start()
        mine = new_id()
        c = server.client.start_query(SHORT_WORK, headers={"Bulkhead-Query-Id": mine})
        server.wait_running(mine)
        os.killpg(server.pid, signal.SIGTERM)
        assert c.read_response().status == 200
        assert server.wait_end() == 0
        assert not server.log_contains("front_hung|worker_death.*crash"), server.log_text()

    def test_a_queued_query_is_finished_too(self, start):
        server = start(set={"pool.workers": 1})
        mine = new_id()
        first = server.client.start_query(SHORT_WORK, headers={"Bulkhead-Query-Id": mine})
        server.wait_running(mine)
        second = server.client.start_query("SELECT 2 AS two")
        wait_until(lambda: server.metric("bulkhead_queue_length") == 1, "is not queued")
        server.send_signal(signal.SIGTERM)
        assert first.read_response().status == 200
        response = second.read_response()
        assert response.status in (200, 503), response
        assert server.wait_end() == 0

    def test_new_connections_are_refused_while_it_drains(self, start):
        self.drains_behind_a_query(start(), is_refused)

    def test_the_next_server_starts_there_while_it_drains(self, start):
        first = start()

        def next_answers(client):
            return is_refused(client) and start(listen=first.address).client.rows("SELECT 1") == [[1]]
        self.drains_behind_a_query(first, next_answers)

    def test_a_unix_socket_goes_when_it_drains(self, start, tmp_path):
        self.drains_behind_a_query(start(listen=f"unix:{tmp_path}/s"), lambda _: not (tmp_path / "s").exists())

    @staticmethod
    def drains_behind_a_query(server, condition):
        mine = new_id()
        with server.client.start_query(CROSS_JOIN, headers={"Bulkhead-Query-Id": mine}, timeout="60s"):
            server.wait_running(mine)
            server.send_signal(signal.SIGTERM)
            wait_until(lambda: condition(server.client), "nothing shows outside that it drains")
            assert server.is_up(), "that is what the end looks like, not the drain"
        assert server.wait_end() == 0

    def test_an_idle_connection_does_not_hold_it_up(self, start):
        server = start(set={"server.shutdown_grace": "20s"})
        with server.client.connect() as c:
            assert c.request("GET", "/healthz").status == 200
            server.send_signal(signal.SIGTERM)
            wait_until(c.is_closed_by_peer, "the idle connection is still open", 10)
        assert server.wait_end(15) == 0

    def test_the_grace_has_an_end(self, start):
        server = start(set={"server.shutdown_grace": "400ms"})
        mine = new_id()
        c = server.client.start_query(LEVENSHTEIN, headers={"Bulkhead-Query-Id": mine}, timeout="120s")
        server.wait_running(mine)
        server.note_processes()
        server.send_signal(signal.SIGTERM)
        assert c.read_response().problem(503, "unavailable")["retry_after_s"] > 0
        assert server.wait_end() == 0
        server.assert_nothing_left()
        [line] = server.log_entries("query", query_id=mine)
        assert line["code"] == "unavailable" and line["stopped_by"] in ("term", "kill"), line
        assert server.log_contains("shutdown_grace_over")

    def test_what_waits_at_the_end_of_the_grace_is_answered_too(self, start):
        server = start(set={"server.shutdown_grace": "400ms", "pool.workers": 1})
        first, mine = server.client.start_query(CROSS_JOIN, timeout="120s"), new_id()
        wait_until(lambda: server.status()["workers"] and any(w["query_id"] for w in server.status()["workers"]), "does not run")
        second = server.client.start_query(CROSS_JOIN, headers={"Bulkhead-Query-Id": mine}, timeout="120s")
        wait_until(lambda: server.client.get(f"/v1/queries/{mine}").status == 200, "the second one is not there")
        server.send_signal(signal.SIGTERM)
        for c in (first, second):
            c.read_response().problem(503, "unavailable")
        assert server.wait_end() == 0
        assert [e["code"] for e in server.log_entries("query")] == ["unavailable"] * 2

    def test_a_second_signal_does_no_harm(self, start):
        server = start(set={"server.shutdown_grace": "5s"})
        mine = new_id()
        c = server.client.start_query(SHORT_WORK, headers={"Bulkhead-Query-Id": mine})
        server.wait_running(mine)
        server.send_signal(signal.SIGTERM)
        server.send_signal(signal.SIGTERM)
        try:
            c.read_response()
        except Cut:
            pass
        assert server.wait_end() == 0

    def test_a_bad_database_does_not_hold_it_up(self, start, make_db):
        server = start(make_db())
        server.send_signal(signal.SIGTERM)
        assert server.wait_end(15) == 0


class TestReload:
    def write(self, path, items, **limits):
        lines = "".join(f"{k} = {v}\n" for k, v in limits.items())
        path.write_text(f"[database]\npath = {items}\n[limits]\n{lines}")

    def test_a_changed_limit_counts_from_now_on_and_is_logged(self, start, tmp_path, items):
        ini = tmp_path / "b.ini"
        self.write(ini, items, timeout="60s")
        server = start(None, config=ini)
        workers = server.worker_pids()
        since = server.log_mark()
        self.write(ini, items, timeout="345ms")
        server.send_signal(signal.SIGHUP)
        server.wait_log(r"timeout.*345ms", since=since)
        assert server.client.query(CROSS_JOIN).problem(504, "timeout")["limit_ms"] == 345
        assert server.worker_pids() == workers, "a limit of the front needs no new workers"

    @pytest.mark.parametrize("text", ["[limits]\ntimeout = soon\n", "[limits]\ntimeot = 1s\n", "rubbish\n", "[limits\n", "[nowhere]\na = 1\n"])
    def test_a_broken_file_keeps_the_old_values_and_says_so(self, start, tmp_path, items, text):
        ini = tmp_path / "b.ini"
        self.write(ini, items, timeout="345ms")
        server = start(None, config=ini)
        since = server.log_mark()
        ini.write_text(text)
        server.send_signal(signal.SIGHUP)
        wait_until(lambda: any(e["level"] == "error" and str(ini) in str(e) for e in server.log_entries(since=since)),
                   lambda: f"no error in the log:\n{server.log_text()}")
        assert server.client.query(CROSS_JOIN).problem(504, "timeout")["limit_ms"] == 345

    @pytest.mark.parametrize("pipe", [False, True], ids=["nothing", "a pipe"])
    def test_a_vanished_file_keeps_the_old_values(self, start, tmp_path, items, pipe):
        """Who opens a pipe that nobody writes to waits; the supervisor has deadlines to keep."""
        ini = tmp_path / "b.ini"
        self.write(ini, items, timeout="345ms")
        server = start(None, config=ini)
        since = server.log_mark()
        ini.unlink()
        if pipe:
            os.mkfifo(ini)
        server.send_signal(signal.SIGHUP)
        server.wait_log("config_refused", since=since)
        assert server.client.query(LEVENSHTEIN).problem(504, "timeout")["limit_ms"] == 345

    def test_a_new_address_needs_a_restart_and_says_so(self, start, tmp_path, items):
        ini = tmp_path / "b.ini"
        ini.write_text(f"[database]\npath = {items}\n[server]\nlisten = 127.0.0.1:0\n")
        server = start(None, config=ini, listen=None)
        since = server.log_mark()
        ini.write_text(f"[database]\npath = {items}\n[server]\nlisten = 127.0.0.1:1\n")
        server.send_signal(signal.SIGHUP)
        server.wait_log("restart", since=since)
        assert server.log_contains("listen", since=since)
        assert server.client.rows("SELECT 1") == [[1]]

    def test_auto_is_no_change_and_what_needs_a_restart_counts_as_it_was(self, start, tmp_path, items):
        """Sizes are worked out for the workers that there are, not for the number in the file."""
        ini = tmp_path / "b.ini"
        text = f"[database]\npath = {items}\n[pool]\nspares = %d\nmemory_limit = auto\n"
        ini.write_text(text % 1)
        server = start(None, config=ini, small=False)
        before, since = server.worker_pids(), server.log_mark()
        ini.write_text(text % 9)
        server.send_signal(signal.SIGHUP)
        server.wait_log("config_reloaded", since=since)
        assert [e["key"] for e in server.log_entries("config_changed", since=since)] == ["pool.spares"], server.log_text()
        assert server.log_contains("config_changed", since=since, **{"from": "1", "to": "9"})
        assert server.worker_pids() == before, "ten smaller workers were planned for"

    def test_what_is_refused_at_the_start_is_refused_here_too(self, start, tmp_path, items):
        text = "[source.system]\ntype = files\npath = /tmp\n"
        ini = tmp_path / "b.ini"
        self.write(ini, items, timeout="345ms")
        server = start(None, config=ini)
        since = server.log_mark()
        self.write(ini, items, timeout="99ms")
        ini.write_text(ini.read_text() + text)
        server.send_signal(signal.SIGHUP)
        server.wait_log("config_refused", since=since)
        assert server.log_contains("source.system", since=since)
        assert server.metric("bulkhead_reload_refused", what="config") == 1
        assert server.client.query(CROSS_JOIN).problem(504, "timeout")["limit_ms"] == 345
        self.write(ini, items, timeout="99ms")
        server.send_signal(signal.SIGHUP)
        wait_until(lambda: server.metric("bulkhead_reload_refused", what="config") == 0, "not taken")

    def test_a_lower_limit_for_statements_meets_a_longer_one_in_the_queue(self, start, tmp_path, items):
        """It was taken under the old limit, and the workers that come have less room: it is refused, and the front lives."""
        ini = tmp_path / "b.ini"
        text = f"[database]\npath = {items}\n[limits]\nmax_sql_bytes = %s\n"
        ini.write_text(text % "4MB")
        server = start(None, config=ini, set={"pool.workers": 1, "pool.spares": 0})
        front = server.front_pid
        mine = new_id()
        running = server.client.start_query(CROSS_JOIN, headers={"Bulkhead-Query-Id": mine}, timeout="2s")
        server.wait_running(mine)
        queued = server.client.start_query(f"SELECT length('{'x' * 3_000_000}')")
        server.wait_metric("bulkhead_queue_length", 1)
        ini.write_text(text % "100KB")
        since = server.log_mark()
        server.send_signal(signal.SIGHUP)
        server.wait_log("config_reloaded", since=since)
        assert running.read_response().status == 504
        assert queued.read_response().problem(413, "payload_too_large")["limit_bytes"] > 0
        assert server.client.query(f"SELECT length('{'x' * 150_000}')").problem(413, "payload_too_large")["limit_bytes"] == 100_000
        assert server.client.rows("SELECT 1") == [[1]] and server.front_pid == front

    def test_a_running_query_is_not_disturbed(self, start, tmp_path, items):
        ini = tmp_path / "b.ini"
        self.write(ini, items, timeout="60s")
        server = start(None, config=ini)
        mine = new_id()
        c = server.client.start_query(SHORT_WORK, headers={"Bulkhead-Query-Id": mine})
        server.wait_running(mine)
        self.write(ini, items, timeout="50s", queue_length="10")
        server.send_signal(signal.SIGHUP)
        assert c.read_response().status == 200
        c.close()

    def test_without_a_file_the_signal_does_no_harm(self, start):
        server = start()
        for _ in range(5):
            server.send_signal(signal.SIGHUP)
        stays(server.is_up, "ended", 0.3)
        assert server.client.rows("SELECT 1") == [[1]]

    def test_many_reloads_leave_nothing_behind(self, start, tmp_path, items):
        ini = tmp_path / "b.ini"
        self.write(ini, items, timeout="60s")
        server = start(None, config=ini)
        server.settle()
        before = (len(proc.fds(server.pid)), len(proc.fds(server.front_pid)))
        for i in range(30):
            self.write(ini, items, timeout=f"{i + 1}s")
            since = server.log_mark()
            server.send_signal(signal.SIGHUP)
            server.wait_log(rf"\b{i + 1}s\b", since=since)
        server.settle()
        assert len(proc.fds(server.pid)) <= before[0] + 1
        wait_until(lambda: len(proc.fds(server.front_pid)) <= before[1] + 1, lambda: f"{proc.fds(server.front_pid)}")


def test_workers_are_replaced_after_so_many_queries(start):
    server = start(set={"pool.workers": 1, "pool.recycle_after": 5})
    first = server.worker_pids("pool")[0]
    for i in range(30):
        assert server.client.rows("SELECT $1", [i]) == [[i]]
    wait_until(lambda: proc.is_gone(first), "the first worker still serves")
    assert os.path.exists("/proc")
